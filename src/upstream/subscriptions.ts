import {
  PacketType,
  type Suback,
  type Subscribe,
  type SubscriptionRequest,
  type Unsuback,
  type Unsubscribe,
} from '../mqtt/packets.ts'
import type { Properties } from '../mqtt/properties.ts'

/** A SUBSCRIBE or UNSUBSCRIBE of the owner that the far side has not answered. */
interface Request {
  readonly packet: Subscribe | Unsubscribe
  /** The packet id on the stream; 0 if it is not sent. */
  wireId: number
  /** Sent by the link itself, to renew a subscription: the owner does not wait for the answer. */
  readonly isRenewal: boolean
}

interface Wanted {
  readonly request: SubscriptionRequest
  readonly properties: Properties
}

/** Topic filters in one SUBSCRIBE of the link: AWS IoT Core takes no more. */
const FILTERS_MAX = 8

/**
 * The subscriptions of a link at the far side. They are kept here as well, and made again when the far side has lost the session.
 * Requests have packet ids of their own on the stream, because those of the owner may belong to its messages.
 */
export class Subscriptions {
  readonly #wanted = new Map<string, Wanted>()
  #requests: Request[] = []

  get size(): number {
    return this.#wanted.size
  }

  has(wireId: number): boolean {
    return this.#requests.some((each) => each.wireId === wireId)
  }

  add(packet: Subscribe | Unsubscribe): void {
    if (packet.type === PacketType.UNSUBSCRIBE) for (const filter of packet.filters) this.#wanted.delete(filter)
    else for (const request of packet.subscriptions) this.#wanted.set(request.filter, { request, properties: packet.properties })
    this.#requests.push({ packet, wireId: 0, isRenewal: false })
  }

  /** Yields the requests that are not sent, each with the packet id for the stream. */
  *unsent(freeId: () => number): Generator<Subscribe | Unsubscribe> {
    for (const each of this.#requests) {
      if (each.wireId > 0) continue
      each.wireId = freeId()
      yield { ...each.packet, packetId: each.wireId }
    }
  }

  /** The answer of the far side; undefined if it answers nothing. `refused`: filters with their reason codes. */
  answered(answer: Suback | Unsuback): { forOwner: Suback | Unsuback | undefined; refused: [string, number][] } | undefined {
    const of = answer.type === PacketType.SUBACK ? PacketType.SUBSCRIBE : PacketType.UNSUBSCRIBE
    const at = this.#requests.findIndex(({ wireId, packet }) => wireId === answer.packetId && packet.type === of)
    if (at < 0) return undefined
    const { packet, isRenewal } = this.#requests.splice(at, 1)[0]!
    const refused: [string, number][] = []
    if (packet.type === PacketType.SUBSCRIBE) {
      packet.subscriptions.forEach(({ filter }, i) => {
        const code = answer.reasonCodes[i] ?? 0x80
        if (code < 0x80) return
        refused.push([filter, code])
      })
    }
    return { forOwner: isRenewal ? undefined : { ...answer, packetId: packet.packetId }, refused }
  }

  /** A stream is up: requests without an answer are sent again, and all subscriptions if the far side has lost the session. */
  resume(sessionPresent: boolean): void {
    for (const each of this.#requests) each.wireId = 0
    if (sessionPresent) return
    this.#requests = this.#requests.filter(({ isRenewal }) => !isRenewal)
    const requested = new Set(
      this.#requests.flatMap(({ packet }) =>
        packet.type === PacketType.SUBSCRIBE ? packet.subscriptions.map(({ filter }) => filter) : [],
      ),
    )
    const groups = new Map<Properties, SubscriptionRequest[][]>()
    for (const { request, properties } of this.#wanted.values()) {
      if (requested.has(request.filter)) continue
      const parts = groups.get(properties) ?? [[]]
      groups.set(properties, parts)
      if (parts.at(-1)!.length === FILTERS_MAX) parts.push([])
      parts.at(-1)!.push(request)
    }
    for (const [properties, parts] of groups)
      for (const subscriptions of parts) {
        const packet: Subscribe = { type: PacketType.SUBSCRIBE, packetId: 0, subscriptions, properties }
        this.#requests.push({ packet, wireId: 0, isRenewal: true })
      }
  }
}
