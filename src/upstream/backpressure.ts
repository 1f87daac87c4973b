import type { Instant } from '../base/machine.ts'
import type { Memory } from '../base/memory.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { StreamOutput } from '../mqtt/stream-output.ts'
import type { Inbound } from './inbound.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** Milliseconds between two notices of this kind. */
const NOTICE_INTERVAL_MS = 60_000
/** Bytes that one read of a socket returns at most. */
const READ_BYTES = 64 * 1024
/** Milliseconds after which a paused stream is read once more while messages to its far side are unanswered. */
const ANSWERS_INTERVAL_MS = 1_000

/** Pauses reading from a far side while its messages wait here. */
export class Backpressure {
  readonly #memory: Memory
  readonly #notice: NoticeSink
  readonly #output: StreamOutput
  /** Streams that were read in this turn while messages waited. */
  readonly #read: UpstreamStream[] = []
  #noticeAt: Instant = Number.NEGATIVE_INFINITY

  constructor(memory: Memory, notice: NoticeSink, output: StreamOutput) {
    this.#memory = memory
    this.#notice = notice
    this.#output = output
  }

  /** A chunk has been read. Whether its messages wait is known once the owner of the link has had its turn: `pause`. */
  read(stream: UpstreamStream): void {
    if (!stream.paused && stream.link.inbound.waiting > 0) this.#read.push(stream)
  }

  /** The owners of all links have had their turn. Returns whether a stream was paused. */
  pause(now: Instant): boolean {
    let any = false
    for (let stream = this.#read.pop(); stream !== undefined; stream = this.#read.pop()) {
      const { link, paused } = stream
      if (paused || link.stream !== stream || !this.#isTooMuch(now, link.inbound)) continue
      stream.paused = true
      this.#output.pause(stream)
      any = true
    }
    return any
  }

  /** Reads a stream again if nothing waits, or little and there is memory for another read or it is time for answers. */
  resume(now: Instant, stream: UpstreamStream): void {
    if (!stream.paused || !this.#mayResume(now, stream)) return
    stream.paused = false
    stream.lastReceived = now
    this.#output.resume(stream)
  }

  #mayResume(now: Instant, { link, lastReceived }: UpstreamStream): boolean {
    const { waiting, isDrained } = link.inbound
    if (waiting === 0 || !isDrained) return isDrained
    // The queue of a bridge may be what takes the memory, and the answers to its messages are not read either.
    if (link.inFlight > 0 && now >= lastReceived + ANSWERS_INTERVAL_MS) return true
    // Asked at each write: no caches are emptied for that.
    return this.#memory.used + READ_BYTES <= this.#memory.limits.memoryLimit
  }

  /** True if too much waits for the owner of the link, or anything at all while there is no memory for another read. */
  #isTooMuch(now: Instant, { isFull, waiting }: Inbound): boolean {
    if (isFull || waiting === 0) return isFull
    const over = this.#memory.refusal(undefined, READ_BYTES)
    if (over === undefined) return false
    if (now >= this.#noticeAt) {
      this.#noticeAt = now + NOTICE_INTERVAL_MS
      const reason = `${over.reason}: connections to other brokers whose messages wait here are not read`
      this.#notice({ code: 'limit-reached', level: 'warn', limit: over.limit, reason })
    }
    return true
  }
}
