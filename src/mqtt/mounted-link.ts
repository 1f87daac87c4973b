import type { Instant } from '../base/machine.ts'
import { type Delivery, type Link, type LinkId, type Outgoing, OutgoingType } from './link.ts'
import { type Packet, PacketType, type Will } from './packets.ts'
import type { Publish } from './publish.ts'
import { sharedFilter } from './topics.ts'

/**
 * A link with a topic prefix (`mount_point`): added to every topic from the client, removed from every topic to it, so that it
 * sees nothing else. Costs a copy per delivery, only for clients of such a listener.
 */
export class MountedLink implements Link {
  readonly #link: Link
  readonly #mountPoint: string

  constructor(link: Link, mountPoint: string) {
    this.#link = link
    this.#mountPoint = mountPoint
  }

  get id(): LinkId {
    return this.#link.id
  }

  get session(): string | undefined {
    return this.#link.session
  }

  get backlog(): number {
    return this.#link.backlog
  }

  get state(): Link['state'] {
    return this.#link.state
  }

  get holder(): Link['holder'] {
    return this.#link.holder
  }

  get figuresAt(): number {
    return this.#link.figuresAt
  }

  keeps(bytes: number): void {
    this.#link.keeps(bytes)
  }

  send(now: Instant, packet: Packet): 'go' | 'pause' {
    return this.#link.send(now, this.#mounted(packet))
  }

  listen(now: Instant, on: boolean): void {
    this.#link.listen(now, on)
  }

  poll(now: Instant): Outgoing | undefined {
    const out = this.#link.poll(now)
    if (out?.type !== OutgoingType.DELIVERY) return out
    const { message } = out
    const unmounted: Publish = message.copy()
    unmounted.topic = message.topic.slice(this.#mountPoint.length)
    const { type, qos, packetId, retain, dup, subscriptionIdentifiers } = out
    return { type, message: unmounted, qos, packetId, retain, dup, subscriptionIdentifiers } satisfies Delivery
  }

  setWill(now: Instant, will: Will | undefined): number {
    return this.#link.setWill(now, will && this.#mountedWill(will))
  }

  lost(now: Instant, reason: string): void {
    this.#link.lost(now, reason)
  }

  #mounted(packet: Packet): Packet {
    switch (packet.type) {
      case PacketType.PUBLISH:
        packet.topic = this.#mountPoint + packet.topic
        // The received frame has another topic.
        packet.frameStart = -1
        return packet
      case PacketType.CONNECT:
        return packet.will === undefined ? packet : { ...packet, will: this.#mountedWill(packet.will) }
      case PacketType.SUBSCRIBE: {
        const subscriptions = packet.subscriptions.map((asked) => ({ ...asked, filter: this.#mountedFilter(asked.filter) }))
        return { ...packet, subscriptions }
      }
      case PacketType.UNSUBSCRIBE:
        return { ...packet, filters: packet.filters.map((filter) => this.#mountedFilter(filter)) }
      default:
        return packet
    }
  }

  #mountedWill(will: Will): Will {
    return { ...will, topic: this.#mountPoint + will.topic }
  }

  #mountedFilter(filter: string): string {
    const shared = sharedFilter(filter)
    if (shared === 'invalid') return filter
    return shared === undefined ? this.#mountPoint + filter : `$share/${shared.group}/${this.#mountPoint}${shared.filter}`
  }
}
