import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Link } from '../mqtt/link.ts'
import {
  PacketType,
  type Suback,
  type Subscribe,
  type SubscriptionRequest,
  type Unsuback,
  type Unsubscribe,
} from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { BridgeFilter } from './topic-map.ts'

/** Filters in one packet: AWS IoT Core takes no more than eight. */
const FILTERS_PER_PACKET = 8

/** Milliseconds until a subscription that found no room here is asked for again: twice as many each time. */
const AGAIN_MS = 1_000
const AGAIN_MS_MAX = 60_000

type SubscribeOptions = Omit<SubscriptionRequest, 'filter' | 'qos'>

/** Requests on one side of a bridge that are not answered yet. */
export class PendingRequests {
  /** Those without an answer, by packet id. */
  readonly #open = new Map<number, Subscribe | Unsubscribe>()
  /** Subscriptions for which there was no room, and when they are asked for again. */
  #refused: SubscriptionRequest[] = []
  #againMs = AGAIN_MS
  againAt: Instant | undefined = undefined
  readonly #unsent = new Fifo<Subscribe | Unsubscribe>()
  #last = 0

  get isOver(): boolean {
    return this.#open.size === 0
  }

  /** The session is closed: nothing will be answered. */
  clear(): void {
    this.#open.clear()
    this.#unsent.clear()
    this.#refused = []
    this.againAt = undefined
  }

  subscribe(filters: readonly BridgeFilter[], options: SubscribeOptions): void {
    this.#subscribe(filters.map(({ filter, qos }) => ({ filter, qos, ...options })))
  }

  #subscribe(subscriptions: readonly SubscriptionRequest[]): void {
    for (const part of parts(subscriptions))
      this.#begin({ type: PacketType.SUBSCRIBE, packetId: this.#nextId(), subscriptions: part, properties: NO_PROPERTIES })
  }

  unsubscribe(filters: readonly string[]): void {
    for (const part of parts(filters))
      this.#begin({ type: PacketType.UNSUBSCRIBE, packetId: this.#nextId(), filters: part, properties: NO_PROPERTIES })
  }

  /** Sends what the link takes: the broker has one request of a link under way at a time, and drops what comes meanwhile. */
  send(now: Instant, link: Link, mayWait = true): void {
    for (let next = this.#unsent.peek(); next !== undefined; next = this.#unsent.peek()) {
      if (mayWait && (link.session === undefined || link.state !== 'open')) return
      this.#unsent.shift()
      link.send(now, next)
    }
  }

  /** The request that this answers; undefined if it is not known. */
  answered({ packetId }: Suback | Unsuback): Subscribe | Unsubscribe | undefined {
    const request = this.#open.get(packetId)
    this.#open.delete(packetId)
    return request
  }

  /** The filters that are refused, with their reason codes. For those that found no room it is asked again at `againAt`. */
  subscribed(now: Instant, suback: Suback): (readonly [filter: string, reasonCode: number])[] {
    const request = this.answered(suback)
    if (request?.type !== PacketType.SUBSCRIBE) return []
    const refused = request.subscriptions.flatMap((subscription, i) => {
      const reasonCode = suback.reasonCodes[i] ?? ReasonCode.UNSPECIFIED_ERROR
      return reasonCode < 0x80 ? [] : [{ subscription, reasonCode }]
    })
    for (const { subscription, reasonCode } of refused)
      if (reasonCode === ReasonCode.QUOTA_EXCEEDED && subscription.filter !== NEW) this.#refused.push(subscription)
    if (this.#refused.length === 0) this.#againMs = AGAIN_MS
    else this.againAt ??= now + this.#againMs
    return refused.flatMap(({ subscription: { filter }, reasonCode }) => (filter === NEW ? [] : [[filter, reasonCode] as const]))
  }

  /** Asks again for what was refused, if it is time. */
  handleTimeout(now: Instant): void {
    if (this.againAt === undefined || now < this.againAt) return
    this.againAt = undefined
    this.#againMs = Math.min(2 * this.#againMs, AGAIN_MS_MAX)
    const refused = this.#refused
    this.#refused = []
    this.#subscribe(refused)
  }

  #begin(request: Subscribe | Unsubscribe): void {
    this.#open.set(request.packetId, request)
    this.#unsent.push(request)
  }

  #nextId(): number {
    this.#last = (this.#last % 0xffff) + 1
    return this.#last
  }
}

function parts<T>(all: readonly T[]): T[][] {
  const found: T[][] = []
  for (let at = 0; at < all.length; at += FILTERS_PER_PACKET) found.push(all.slice(at, at + FILTERS_PER_PACKET))
  return found
}

const MARK = '$bridge/in/'

/**
 * A subscription of the local session that matches nothing and stands for one at the remote broker: it is stored, so that the bridge
 * knows after a restart what it has subscribed to there, and can unsubscribe from a topic that is no longer configured.
 */
export const markOf = (filter: string): string =>
  MARK + filter.replaceAll(/[%+#]/g, (wildcard) => `%${wildcard.charCodeAt(0).toString(16)}`)

/** The filter of such a mark; `undefined` for any other filter. */
export const markedBy = (mark: string): string | undefined =>
  mark.startsWith(MARK)
    ? mark.slice(MARK.length).replaceAll(/%(25|2b|23)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    : undefined

/** Such a subscription of a local session whose packet ids may be in use at the remote broker, in a session from before it was new. */
const NEW = '$bridge/new'

/**
 * Whether the bridge has started a new session at the remote broker since the local session is new. Until it has, a mark is stored with
 * the local session, because the process may end first. No message passes while the mark is there: after a restart the bridge would
 * start the remote session once more, and messages that had passed would come twice.
 */
export class Beginning {
  /** The local session has no subscription yet. */
  #isBare = false
  /** It had the mark when it was opened. */
  #wasMarked = false
  #isMarked = false
  /** The remote session has begun while this process was there. */
  #hasBegun = false

  /** Nothing may pass yet. */
  get isPending(): boolean {
    return this.#isMarked
  }

  /** The local session is open, and has these subscriptions. Returns them without the mark. */
  opened(filters: readonly string[]): readonly string[] {
    this.#isBare = filters.length === 0
    this.#wasMarked = filters.includes(NEW)
    this.#isMarked = this.#wasMarked
    return filters.filter((filter) => filter !== NEW)
  }

  /** The mark, if it is to be made. */
  mark(): readonly BridgeFilter[] {
    if (!this.#isBare) return []
    this.#isMarked = true
    return [{ filter: NEW, qos: 0 }]
  }

  /** After CONNACK of the local session. Returns true if the bridge must start a new session at the remote broker. */
  isNew(sessionPresent: boolean): boolean {
    if (!sessionPresent) this.#hasBegun = false
    return !sessionPresent || (this.#wasMarked && !this.#hasBegun)
  }

  /** The remote session has begun, or goes on. Returns what is to be unsubscribed from. */
  begun(): readonly string[] {
    this.#hasBegun = true
    return this.#isMarked ? [NEW] : []
  }

  /** The local session has answered a request. */
  answered(request: Subscribe | Unsubscribe | undefined): void {
    if (request?.type === PacketType.UNSUBSCRIBE && request.filters.includes(NEW)) this.#isMarked = false
  }
}
