import { Fifo } from '../../base/fifo.ts'
import type { Instant } from '../../base/machine.ts'
import type { Waiting } from '../../mqtt/link.ts'
import type { Publish } from '../../mqtt/publish.ts'
import type { HeldLimits } from '../inbound.ts'
import type { LinkHost } from '../link-host.ts'
import { messageBytes } from '../message-bytes.ts'
import type { UpstreamLink } from '../upstream-link.ts'

const REASON = 'messages with QoS -1: the cluster is away, and too many are held (max_held_messages, max_held_bytes)'

/**
 * Messages with QoS -1 from before the link for them is connected. Their senders are never answered and do not repeat them: they are
 * kept for a while, and the oldest are dropped with a notice.
 */
export class EarlyMessages {
  readonly #limits: HeldLimits
  readonly #link: UpstreamLink
  readonly #host: LinkHost
  readonly #messages = new Fifo<Publish>()
  #bytes = 0

  constructor(limits: HeldLimits, link: UpstreamLink, host: LinkHost) {
    this.#limits = limits
    this.#link = link
    this.#host = host
  }

  get held(): Waiting {
    return { messages: this.#messages.length, bytes: this.#bytes }
  }

  keep(message: Publish): void {
    message.own()
    this.#messages.push(message)
    this.#waits(message, 1)
    let dropped = 0
    while (this.#messages.length > this.#limits.heldMessages || this.#bytes > this.#limits.heldBytes) {
      this.#waits(this.#messages.shift()!, -1)
      dropped++
    }
    if (dropped > 0) this.#host.notices.dropped(this.#link, REASON, dropped)
  }

  /** The link is connected. */
  send(now: Instant): void {
    for (let message = this.#messages.shift(); message !== undefined; message = this.#messages.shift()) {
      this.#waits(message, -1)
      this.#link.send(now, message)
    }
  }

  clear(): void {
    for (let message = this.#messages.shift(); message !== undefined; message = this.#messages.shift()) this.#waits(message, -1)
  }

  /** A message more or less waits. */
  #waits(message: Publish, sign: 1 | -1): void {
    this.#bytes += sign * message.weight
    this.#host.held.sum += sign * messageBytes(message)
  }
}
