import { PacketType, type PublishResponse } from '../mqtt/packets.ts'
import type { LinkHost } from './link-host.ts'
import { responseOf } from './outbound.ts'
import type { OutboundOwner } from './outbound-owner.ts'
import type { OutgoingMessage } from './outgoing-message.ts'
import type { UpstreamLink } from './upstream-link.ts'

/** What comes of the messages of one link. */
export class OutboundEvents implements OutboundOwner {
  readonly #link: UpstreamLink
  readonly #host: LinkHost

  constructor(link: UpstreamLink, host: LinkHost) {
    this.#link = link
    this.#host = host
  }

  get recordsGivenUp(): boolean {
    return this.#link.settings.ofSensor === undefined
  }

  answer(type: PublishResponse['type'], packetId: number, reasonCode: number): void {
    this.#link.answer(responseOf(type, packetId, reasonCode))
  }

  givenUp({ message, givenQos }: OutgoingMessage, reason: string): void {
    this.#link.dropped(`message on ${message.topic} with QoS ${givenQos} is given up: ${reason}`)
  }

  releases(packetId: number): void {
    if (this.#link.isUp) this.#link.write(responseOf(PacketType.PUBREL, packetId))
  }

  limited(what: string): void {
    this.#host.notices.limited(this.#link, 'upstream-limited', what)
  }

  holds(refusals: number, reason: string): number {
    this.#link.status.lastError = `a message waits: ${reason}`
    this.limited(`messages wait, ${reason}`)
    return this.#host.backoff(this.#link, refusals - 1)
  }
}
