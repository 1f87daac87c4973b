import type { Instant } from '../base/machine.ts'
import type { Memory } from '../base/memory.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { Inbound } from './inbound.ts'

/** Milliseconds between two notices of the same. */
const TOLD_EVERY_MS = 60_000

/** Decides when a stream is not read for a while, so that what its far side has to send waits there. */
export class Backpressure {
  readonly #memory: Memory
  readonly #notice: NoticeSink
  #tellAt: Instant = Number.NEGATIVE_INFINITY

  constructor(memory: Memory, notice: NoticeSink) {
    this.#memory = memory
    this.#notice = notice
  }

  /**
   * `octets` have been read. True if too much waits for the owner of the link, or anything at all while there is no memory for as
   * much again.
   */
  isTooMuch(now: Instant, { isFull, waiting }: Inbound, octets: number): boolean {
    if (isFull || waiting === 0) return isFull
    const over = this.#memory.refusal(undefined, octets)
    if (over === undefined) return false
    if (now >= this.#tellAt) {
      this.#tellAt = now + TOLD_EVERY_MS
      const reason = `${over.reason}: connections to other brokers whose messages wait here are not read`
      this.#notice({ code: 'limit-reached', level: 'warn', limit: over.limit, reason })
    }
    return true
  }
}
