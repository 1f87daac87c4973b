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

type SubscribeOptions = Omit<SubscriptionRequest, 'filter' | 'qos'>

/** Requests on one side of a bridge that are not answered yet. */
export class PendingRequests {
  /** Of those without an answer, by packet id. */
  readonly #filters = new Map<number, readonly string[]>()
  readonly #unsent = new Fifo<Subscribe | Unsubscribe>()
  #last = 0

  get isOver(): boolean {
    return this.#filters.size === 0
  }

  /** The session is closed: nothing will be answered. */
  clear(): void {
    this.#filters.clear()
    this.#unsent.clear()
  }

  subscribe(filters: readonly BridgeFilter[], options: SubscribeOptions): void {
    for (const part of parts(filters))
      this.#unsent.push({
        type: PacketType.SUBSCRIBE,
        packetId: this.#begin(part.map(({ filter }) => filter)),
        subscriptions: part.map(({ filter, qos }) => ({ filter, qos, ...options })),
        properties: NO_PROPERTIES,
      })
  }

  unsubscribe(filters: readonly string[]): void {
    for (const part of parts(filters))
      this.#unsent.push({
        type: PacketType.UNSUBSCRIBE,
        packetId: this.#begin(part),
        filters: part,
        properties: NO_PROPERTIES,
      })
  }

  /** Sends what the link takes: the broker has one request of a link under way at a time, and drops what comes meanwhile. */
  send(now: Instant, link: Link, mayWait = true): void {
    for (let next = this.#unsent.peek(); next !== undefined; next = this.#unsent.peek()) {
      if (mayWait && (link.session === undefined || link.state !== 'open')) return
      this.#unsent.shift()
      link.send(now, next)
    }
  }

  /** The filters of an answered request; empty for one that is not known. */
  answered({ packetId }: Suback | Unsuback): readonly string[] {
    const filters = this.#filters.get(packetId) ?? []
    this.#filters.delete(packetId)
    return filters
  }

  #begin(filters: readonly string[]): number {
    this.#last = (this.#last % 0xffff) + 1
    this.#filters.set(this.#last, filters)
    return this.#last
  }
}

/** The filters that a SUBACK refuses, with their reason codes. */
export const refusedIn = (filters: readonly string[], { reasonCodes }: Suback): (readonly [string, number])[] =>
  filters.flatMap((filter, i) => {
    const reasonCode = reasonCodes[i] ?? ReasonCode.UNSPECIFIED_ERROR
    return reasonCode < 0x80 ? [] : [[filter, reasonCode] as const]
  })

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
