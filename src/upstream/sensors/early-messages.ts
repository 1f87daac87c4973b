import { Fifo } from '../../base/fifo.ts'
import type { Instant } from '../../base/machine.ts'
import type { Publish } from '../../mqtt/publish.ts'
import type { ByteCount } from '../../mqtt/topic-names.ts'
import type { HeldLimits } from '../inbound.ts'
import type { UpstreamLink } from '../upstream-link.ts'

/**
 * Messages with QoS -1 from before the link for them is connected. Their senders are never answered and do not repeat them: they are
 * kept for a while, and the oldest are dropped with a notice.
 */
export class EarlyMessages {
  readonly #limits: HeldLimits
  readonly #held: ByteCount
  readonly #dropped: (count: number) => void
  readonly #messages = new Fifo<Publish>()
  #bytes = 0

  constructor(limits: HeldLimits, held: ByteCount, dropped: (count: number) => void) {
    this.#limits = limits
    this.#held = held
    this.#dropped = dropped
  }

  keep(message: Publish): void {
    message.own()
    this.#messages.push(message)
    this.#weigh(message.weight)
    let dropped = 0
    while (this.#messages.length > this.#limits.heldMessages || this.#bytes > this.#limits.heldBytes) {
      this.#weigh(-this.#messages.shift()!.weight)
      dropped++
    }
    if (dropped > 0) this.#dropped(dropped)
  }

  /** The link is connected. */
  send(now: Instant, link: UpstreamLink): void {
    for (let message = this.#messages.shift(); message !== undefined; message = this.#messages.shift()) {
      this.#weigh(-message.weight)
      link.send(now, message)
    }
  }

  clear(): void {
    this.#messages.clear()
    this.#weigh(-this.#bytes)
  }

  #weigh(bytes: number): void {
    this.#bytes += bytes
    this.#held.sum += bytes
  }
}
