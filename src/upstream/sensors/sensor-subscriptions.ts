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
import type { Lsn, Store } from '../../store/store.ts'

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
  #filters: SmallMap<string, QoS> | undefined = undefined
  /** In the order in which they were made. */
  #asked: Asked[] | undefined = undefined

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
    if (qos !== undefined) {
      this.#filters ??= new SmallMap()
      this.#filters.set(filter, qos)
    } else {
      this.#filters?.delete(filter)
      if (this.#filters?.size === 0) this.#filters = undefined
    }
  }

  /** The gateway's packets have one filter each. */
  asked(packet: Subscribe | Unsubscribe): void {
    this.#asked ??= []
    const { packetId } = packet
    if (packet.type === PacketType.UNSUBSCRIBE) this.#asked.push({ packetId, filter: packet.filters[0]!, qos: undefined })
    else this.#asked.push({ packetId, filter: packet.subscriptions[0]!.filter, qos: packet.subscriptions[0]!.qos })
  }

  /**
   * The cluster has answered. Returns the record with which that is durable, or 'full'; then the sensor must not be told, and asks
   * again.
   */
  answered(store: Store, clientId: string, { type, packetId, reasonCodes }: Suback | Unsuback): Lsn | 'full' {
    const isSubscribe = type === PacketType.SUBACK
    const at = this.#asked?.findIndex((each) => each.packetId === packetId && (each.qos !== undefined) === isSubscribe) ?? -1
    if (at < 0) return 0
    const [{ filter, qos }] = this.#asked!.splice(at, 1) as [Asked]
    if (this.#asked!.length === 0) this.#asked = undefined
    const known = this.#filters?.get(filter)
    if (known === qos || (isSubscribe && (reasonCodes[0] ?? ReasonCode.UNSPECIFIED_ERROR) >= 0x80)) return 0
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
    this.#filters = undefined
    this.#asked = undefined
  }
}
