import type { Instant } from '../base/machine.ts'
import {
  PacketType,
  type Suback,
  type Subscribe,
  type SubscriptionRequest,
  type Unsuback,
  type Unsubscribe,
} from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'

/** What a far side says in CONNACK that it does not have. */
export type SubscriptionFeatures = Pick<
  Properties,
  'wildcardSubscriptionAvailable' | 'sharedSubscriptionAvailable' | 'subscriptionIdentifiersAvailable'
>

/** A SUBSCRIBE or UNSUBSCRIBE that the far side has not answered. */
interface Request {
  readonly packet: Subscribe | Unsubscribe
  /** The packet id on the stream; 0 if it is not sent. */
  wireId: number
  sentAt: Instant
  /** Reason codes of filters that the far side was not asked for, because it does not have the like; undefined for the others. */
  spared: readonly (number | undefined)[]
  /** Sent by the link itself, to make a subscription again: the owner does not wait for the answer. */
  readonly isRenewal: boolean
}

/** What comes of a request. */
export interface Answered {
  readonly forOwner: Suback | Unsuback | undefined
  readonly refused: readonly (readonly [filter: string, reasonCode: number])[]
}

/** Topic filters in one SUBSCRIBE of the link itself: AWS IoT Core takes no more. */
const FILTERS_MAX = 8

/**
 * The subscriptions of a link at the far side. They are kept here as well, and made again when the far side has lost the session.
 * Requests have packet ids of their own on the stream, because those of the owner may belong to its messages.
 */
export class Subscriptions {
  readonly #wanted = new Map<string, { readonly request: SubscriptionRequest; readonly properties: Properties }>()
  readonly #keeps: boolean
  #requests: Request[] = []

  /** `keeps`: subscriptions are kept here, and not by the owner of the link. */
  constructor(keeps = true) {
    this.#keeps = keeps
  }

  /** Filters. */
  get size(): number {
    return this.#wanted.size
  }

  /** When the oldest request was sent that is not answered. */
  get waitsSince(): Instant | undefined {
    return this.#requests.find(({ wireId }) => wireId > 0)?.sentAt
  }

  get hasUnsent(): boolean {
    return this.#requests.some(({ wireId }) => wireId === 0)
  }

  /** Whether a request has this packet id on the stream. */
  has(wireId: number): boolean {
    return this.#requests.some((each) => each.wireId === wireId)
  }

  add(packet: Subscribe | Unsubscribe): void {
    if (this.#keeps && packet.type === PacketType.UNSUBSCRIBE) for (const filter of packet.filters) this.#wanted.delete(filter)
    else if (this.#keeps && packet.type === PacketType.SUBSCRIBE)
      for (const request of packet.subscriptions) this.#wanted.set(request.filter, { request, properties: packet.properties })
    this.#request(packet, false)
  }

  #request(packet: Subscribe | Unsubscribe, isRenewal: boolean): void {
    this.#requests.push({ packet, wireId: 0, sentAt: 0, spared: [], isRenewal })
  }

  /**
   * Takes the requests that are not sent, for a far side with these features: those to send, with packet ids for the stream, and
   * those that are answered here.
   */
  unsent(
    now: Instant,
    features: SubscriptionFeatures,
    freeId: () => number,
  ): { send: (Subscribe | Unsubscribe)[]; done: Answered[] } {
    const send: (Subscribe | Unsubscribe)[] = []
    const done: Answered[] = []
    for (const each of [...this.#requests]) {
      if (each.wireId > 0) continue
      each.wireId = freeId()
      each.sentAt = now
      const packet = feasible(each, features)
      if (packet !== undefined) send.push({ ...packet, packetId: each.wireId })
      else {
        const none: Suback = { type: PacketType.SUBACK, packetId: each.wireId, reasonCodes: [], properties: NO_PROPERTIES }
        done.push(this.answered(none)!)
      }
    }
    return { send, done }
  }

  /** The answer of the far side; undefined if it answers nothing. */
  answered(answer: Suback | Unsuback): Answered | undefined {
    const of = answer.type === PacketType.SUBACK ? PacketType.SUBSCRIBE : PacketType.UNSUBSCRIBE
    const at = this.#requests.findIndex(({ wireId, packet }) => wireId === answer.packetId && packet.type === of)
    if (at < 0) return undefined
    const [{ packet, spared, isRenewal }] = this.#requests.splice(at, 1) as [Request]
    if (packet.type === PacketType.UNSUBSCRIBE) return { forOwner: { ...answer, packetId: packet.packetId }, refused: [] }
    const told = [...answer.reasonCodes]
    const reasonCodes = packet.subscriptions.map((_, i) => spared[i] ?? told.shift() ?? ReasonCode.UNSPECIFIED_ERROR)
    const refused = packet.subscriptions.flatMap(({ filter }, i) =>
      reasonCodes[i]! < 0x80 ? [] : [[filter, reasonCodes[i]!] as const],
    )
    return { forOwner: isRenewal ? undefined : { ...answer, packetId: packet.packetId, reasonCodes }, refused }
  }

  /**
   * A stream is up: requests without an answer are sent again, and all subscriptions if the far side has lost the session. `theirs`:
   * those that the owner keeps.
   */
  resume(sessionPresent: boolean, theirs?: Iterable<SubscriptionRequest>): void {
    for (const each of this.#requests) each.wireId = 0
    if (sessionPresent) return
    this.#requests = this.#requests.filter(({ isRenewal }) => !isRenewal)
    const asked = new Set<string>()
    for (const { packet } of this.#requests)
      if (packet.type === PacketType.SUBSCRIBE) for (const { filter } of packet.subscriptions) asked.add(filter)
    const parts = new Map<Properties, SubscriptionRequest[]>()
    const full = (properties: Properties, subscriptions: readonly SubscriptionRequest[]): void =>
      this.#request({ type: PacketType.SUBSCRIBE, packetId: 0, subscriptions, properties }, true)
    const wanted = theirs === undefined ? this.#wanted.values() : withoutProperties(theirs)
    for (const { request, properties } of wanted) {
      if (asked.has(request.filter)) continue
      const part = parts.get(properties) ?? []
      part.push(request)
      if (part.length === FILTERS_MAX) {
        full(properties, part)
        parts.delete(properties)
      } else parts.set(properties, part)
    }
    for (const [properties, part] of parts) full(properties, part)
  }
}

function* withoutProperties(requests: Iterable<SubscriptionRequest>) {
  for (const request of requests) yield { request, properties: NO_PROPERTIES }
}

/** The part of a request that the far side can do; undefined if there is none. Notes the rest in `spared`. */
function feasible(request: Request, features: SubscriptionFeatures): Subscribe | Unsubscribe | undefined {
  const { packet } = request
  if (packet.type === PacketType.UNSUBSCRIBE) return packet
  request.spared = packet.subscriptions.map(({ filter }) => unavailable(filter, features))
  const subscriptions = packet.subscriptions.filter((_, i) => request.spared[i] === undefined)
  if (subscriptions.length === 0) return undefined
  if (features.subscriptionIdentifiersAvailable !== false) return { ...packet, subscriptions }
  const { subscriptionIdentifiers: _identifiers, ...properties } = packet.properties
  return { ...packet, subscriptions, properties }
}

function unavailable(filter: string, features: SubscriptionFeatures): number | undefined {
  if (features.sharedSubscriptionAvailable === false && filter.startsWith('$share/'))
    return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
  if (features.wildcardSubscriptionAvailable === false && /[+#]/.test(filter))
    return ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
  return undefined
}
