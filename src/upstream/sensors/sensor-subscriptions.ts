import { COST, stringBytes } from '../../base/memory-costs.ts'
import { SmallMap } from '../../base/small-map.ts'
import {
  PacketType,
  type Suback,
  type Subscribe,
  type SubscriptionRequest,
  type Unsuback,
  type Unsubscribe,
} from '../../mqtt/packets.ts'
import type { QoS } from '../../mqtt/publish.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import type { Lsn } from '../../store/store.ts'
import type { SessionHost } from './session-host.ts'

/** A request that the cluster has not answered. */
interface Asked {
  readonly packetId: number
  readonly filter: string
  /** undefined: UNSUBSCRIBE. */
  readonly qos: QoS | undefined
}

/**
 * The topic filters of a sensor at the cluster, as the store has them. CONNACK of MQTT-SN has no Session Present: when the cluster has
 * lost the session, the gateway subscribes again, because the sensor never would.
 */
export class SensorSubscriptions {
  /** The cluster may have lost them, and the CONNACK that says so has not come, or has not led to anything. */
  areUnsure = false
  readonly #host: SessionHost
  #filters: SmallMap<string, QoS> | undefined = undefined
  /** In the order in which they were made. */
  #asked: Asked[] | undefined = undefined

  constructor(host: SessionHost) {
    this.#host = host
  }

  get size(): number {
    return this.#filters?.size ?? 0
  }

  /** Whether they are to be made again in any case; a link is about to see to it. */
  takeUnsure(): boolean {
    const { areUnsure } = this
    this.areUnsure = false
    return areUnsure
  }

  /** For a SUBSCRIBE that makes them again. */
  *all(): Generator<SubscriptionRequest> {
    // Retained messages do not come again where nothing was lost.
    for (const [filter, qos] of this.#filters ?? [])
      yield { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 1 }
  }

  /**
   * Restores a subscription from the store. The previous process may have ended after the cluster lost the session, and before it
   * subscribed again; CONNACK on the next connection then says that there is a session.
   */
  restore(filter: string, qos: QoS | undefined): void {
    this.areUnsure = true
    this.#set(filter, qos)
  }

  #set(filter: string, qos: QoS | undefined): void {
    const { filterBytes } = this.#host
    const before = this.size
    if (qos !== undefined) {
      this.#filters ??= new SmallMap()
      this.#filters.set(filter, qos)
    } else {
      this.#filters?.delete(filter)
      if (this.#filters?.size === 0) this.#filters = undefined
    }
    filterBytes.sum += (this.size - before) * bytesOf(filter)
  }

  /** The gateway's packets have one filter each. */
  asked(packet: Subscribe | Unsubscribe): void {
    this.#asked ??= []
    const { packetId } = packet
    if (packet.type === PacketType.UNSUBSCRIBE) this.#asked.push({ packetId, filter: packet.filters[0]!, qos: undefined })
    else this.#asked.push({ packetId, filter: packet.subscriptions[0]!.filter, qos: packet.subscriptions[0]!.qos })
  }

  /**
   * The cluster has answered. Returns the record with which that is durable, or 'full', also where there is no memory; then the
   * sensor must not be told, and asks again.
   */
  answered(clientId: string, { type, packetId, reasonCodes }: Suback | Unsuback): Lsn | 'full' {
    const isSubscribe = type === PacketType.SUBACK
    const at = this.#asked?.findIndex((each) => each.packetId === packetId && (each.qos !== undefined) === isSubscribe) ?? -1
    if (at < 0) return 0
    const [{ filter, qos }] = this.#asked!.splice(at, 1) as [Asked]
    if (this.#asked!.length === 0) this.#asked = undefined
    const known = this.#filters?.get(filter)
    if (known === qos || (isSubscribe && (reasonCodes[0] ?? ReasonCode.UNSPECIFIED_ERROR) >= 0x80)) return 0
    const { store, memory, notice } = this.#host
    const over = known === undefined ? memory.refusal(undefined, bytesOf(filter)) : undefined
    if (over !== undefined) {
      notice({ code: 'limit-reached', level: 'warn', client: `sn:${clientId}`, ...over })
      return 'full'
    }
    const lsn = store.append(
      qos === undefined ? { type: 'sn-subscription-end', clientId, filter } : { type: 'sn-subscription', clientId, filter, qos },
    )
    if (lsn !== 'full') this.#set(filter, qos)
    return lsn
  }

  /** Requests of a conversation that is over are not answered any more. */
  abandon(): void {
    this.#asked = undefined
  }

  clear(): void {
    for (const [filter] of this.#filters ?? []) this.#host.filterBytes.sum -= bytesOf(filter)
    this.#filters = undefined
    this.#asked = undefined
  }
}

const bytesOf = (filter: string): number => COST.subscription + stringBytes(filter)
