import type { Instant } from '../base/machine.ts'
import { SmallMap } from '../base/small-map.ts'
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

/** A subscription of the owner. */
interface Wanted {
  readonly request: SubscriptionRequest
  readonly properties: Properties
}

/** What comes of a request. */
export interface Answered {
  readonly forOwner: Suback | Unsuback | undefined
  readonly refused: readonly (readonly [filter: string, reasonCode: number])[]
  /** The QoS that was granted where 2 was asked for. */
  readonly grantedFor2?: number | undefined
}

/** Topic filters in one SUBSCRIBE of the link itself: AWS IoT Core takes no more. */
const FILTERS_MAX = 8

/**
 * Codes of SUBACK that may be another one later: the far side has no room (Roost: its store is full), or does not say why. 3.1.1 has
 * no other than the first.
 */
const MAY_PASS: ReadonlySet<number> = new Set([
  ReasonCode.UNSPECIFIED_ERROR,
  ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  ReasonCode.QUOTA_EXCEEDED,
])

/**
 * The subscriptions of a link at the far side. They are kept here as well, and made again when the far side has lost the session. What
 * it refuses is asked for again: over the same stream if the reason may pass, and otherwise over the next. Requests have packet ids of their own on the stream, because those of the owner may belong to its messages.
 */
export class Subscriptions {
  /** undefined: they are kept by the owner of the link. */
  readonly #wanted: Map<string, Wanted> | undefined
  #requests: Request[] = []
  /** What the far side has refused, by filter, and whether the reason may pass. */
  #refused = new SmallMap<string, Wanted & { readonly mayPass: boolean }>()
  /** Answers in a row with a refusal that may pass. */
  #refusals = 0
  /** When to ask again for what was refused; undefined while there is nothing of that kind, or it is under way. */
  againAt: Instant | undefined = undefined

  /** `keeps`: subscriptions are kept here, and not by the owner of the link. */
  constructor(keeps = true) {
    this.#wanted = keeps ? new Map() : undefined
  }

  /** Filters. */
  get size(): number {
    return this.#wanted?.size ?? 0
  }

  /** When the oldest request was sent that is not answered. */
  get waitsSince(): Instant | undefined {
    return this.#requests.find(({ wireId }) => wireId > 0)?.sentAt
  }

  /** No request waits for an answer. */
  get isIdle(): boolean {
    return this.#requests.length === 0
  }

  get hasUnsent(): boolean {
    return this.#requests.some(({ wireId }) => wireId === 0)
  }

  /** Whether a request has this packet id on the stream. */
  has(wireId: number): boolean {
    return this.#requests.some((each) => each.wireId === wireId)
  }

  add(packet: Subscribe | Unsubscribe): void {
    for (const filter of filtersOf(packet)) this.#refused.delete(filter)
    if (packet.type === PacketType.UNSUBSCRIBE) for (const filter of packet.filters) this.#wanted?.delete(filter)
    else for (const request of packet.subscriptions) this.#wanted?.set(request.filter, { request, properties: packet.properties })
    this.#request(packet, false)
  }

  /** Forgets all subscriptions and requests: the owner starts a new session, and subscribes again. */
  clear(): void {
    this.#wanted?.clear()
    this.#requests = []
    this.#refused = new SmallMap()
    this.#refusals = 0
    this.againAt = undefined
  }

  /** Makes a request of the link itself, whose answer the owner does not get. */
  ask(packet: Subscribe | Unsubscribe): void {
    this.#request(packet, true)
  }

  /** Takes back requests of the link itself. */
  withdraw(filter: string): void {
    if (this.#requests.length === 0) return
    this.#requests = this.#requests.filter(({ packet, isRenewal }) => !isRenewal || !filtersOf(packet).includes(filter))
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
    if (packet.type === PacketType.UNSUBSCRIBE)
      return { forOwner: isRenewal ? undefined : { ...answer, packetId: packet.packetId }, refused: [] }
    const told = [...answer.reasonCodes]
    const reasonCodes = packet.subscriptions.map((_, i) => spared[i] ?? told.shift() ?? ReasonCode.UNSPECIFIED_ERROR)
    const refused = packet.subscriptions.flatMap(({ filter }, i) =>
      reasonCodes[i]! < 0x80 ? [] : [[filter, reasonCodes[i]!] as const],
    )
    for (const [i, request] of packet.subscriptions.entries()) {
      const { filter } = request
      const code = reasonCodes[i]!
      if (code < 0x80) this.#refused.delete(filter)
      else if (this.#wanted?.has(filter) ?? (isRenewal && !this.#isGivenUp(filter)))
        this.#refused.set(filter, { request, properties: packet.properties, mayPass: MAY_PASS.has(code) })
    }
    this.#refusals = refused.some(([, code]) => MAY_PASS.has(code)) ? this.#refusals + 1 : 0
    const grantedFor2 = packet.subscriptions.findIndex(({ qos }, i) => qos === 2 && reasonCodes[i]! < 0x80)
    const forOwner = isRenewal ? undefined : { ...answer, packetId: packet.packetId, reasonCodes }
    return { forOwner, refused, grantedFor2: reasonCodes[grantedFor2] }
  }

  /** Whether its owner unsubscribes from it, and the far side has not answered that. */
  #isGivenUp(filter: string): boolean {
    return this.#requests.some(({ packet }) => packet.type === PacketType.UNSUBSCRIBE && packet.filters.includes(filter))
  }

  /** After an answer: when to ask again, if something was refused. `at`: by the number of refusals in a row. */
  postpone(at: (refusals: number) => Instant): void {
    if (this.#refusals > 0) this.againAt ??= at(this.#refusals)
  }

  /** Asks again for what was refused, when it is time. */
  askAgain(now: Instant): void {
    if (this.againAt === undefined || now < this.againAt) return
    this.againAt = undefined
    this.#renew([...this.#refused.values()].filter(({ mayPass }) => mayPass))
  }

  /**
   * A stream is up: requests without an answer are sent again, and all subscriptions if the far side has lost the session. `theirs`:
   * those that the owner keeps.
   */
  resume(sessionPresent: boolean, theirs?: Iterable<SubscriptionRequest>): void {
    this.againAt = undefined
    for (const each of this.#requests) each.wireId = 0
    if (sessionPresent) {
      this.#renew(this.#refused.values())
      return
    }
    this.#requests = this.#requests.filter(({ isRenewal }) => !isRenewal)
    this.#renew(theirs === undefined ? (this.#wanted?.values() ?? []) : withoutProperties(theirs))
  }

  /** Makes subscriptions again, but those that are asked for already. */
  #renew(wanted: Iterable<Wanted>): void {
    const asked = new Set(this.#requests.flatMap(({ packet }) => (packet.type === PacketType.SUBSCRIBE ? filtersOf(packet) : [])))
    const parts = new Map<Properties, SubscriptionRequest[]>()
    const full = (properties: Properties, subscriptions: readonly SubscriptionRequest[]): void =>
      this.#request({ type: PacketType.SUBSCRIBE, packetId: 0, subscriptions, properties }, true)
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

const filtersOf = (packet: Subscribe | Unsubscribe): readonly string[] =>
  packet.type === PacketType.UNSUBSCRIBE ? packet.filters : packet.subscriptions.map(({ filter }) => filter)

function* withoutProperties(requests: Iterable<SubscriptionRequest>): Iterable<Wanted> {
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
