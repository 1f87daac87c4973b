import type { Instant } from '../../base/machine.ts'
import type { Memory } from '../../base/memory.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { Pauses } from '../../base/pauses.ts'
import type { RowTimers } from '../../base/row-timers.ts'
import type { Timers } from '../../base/timers.ts'
import type { Link, SensorUplink } from '../../mqtt/link.ts'
import type { Message } from '../../mqttsn/messages.ts'
import type { Lsn, Store, WallClock } from '../../store/store.ts'
import type { GatewayOptions } from '../gateway-options.ts'
import type { Ports } from '../ports/ports.ts'
import type { RouteKey } from '../ports/route.ts'
import type { PredefinedTopics } from '../topics/predefined.ts'
import type { TopicIdTotals } from '../topics/registry.ts'
import type { GatewayClient } from './client.ts'
import type { SensorStates } from './sensor-states.ts'
import type { SensorTraffic } from './sensor-traffic.ts'

/** The purpose of a client's timer. */
export interface ClientTimer {
  readonly client: GatewayClient
  readonly about: 'retry' | 'dialogue' | 'ids'
}

/** What a client needs from the gateway around it. */
export interface ClientHost {
  readonly options: GatewayOptions
  readonly predefined: PredefinedTopics
  readonly store: Store
  readonly clock: WallClock
  readonly notice: NoticeSink
  readonly timers: Timers<ClientTimer>
  /** Keep-alive and sleep timers of the clients, by seat. Handling a timeout appends a record, so it waits for room in the store. */
  readonly silences: RowTimers
  readonly sensorStates: SensorStates
  readonly pauses: Pauses
  readonly traffic: SensorTraffic
  readonly ports: Ports
  readonly memory: Memory
  /** Bytes of memory taken by the topic ids and QoS 2 message ids of all clients, and the number of topic ids, also of clients at rest. */
  readonly topicIdTotals: TopicIdTotals
  /**
   * Bytes of memory taken by wills. `kept`: wills of clients without a link. `asked`: will topics of dialogues that still wait
   * for WILLMSG.
   */
  readonly wills: { kept: number; asked: number }
  readonly uplink: Pick<SensorUplink, 'place' | 'owesWill'>
  /** Returns a random number in [0, 1). */
  chance(): number
  /** Queues a message at the port of `route`. Returns false if it will never be sent. */
  transmit(route: RouteKey, message: Message): boolean
  /**
   * Returns a message id for a REGISTER or a QoS 1 PUBLISH of `octets` octets whose acknowledgement validates the address, or
   * `undefined` if any id will do (ruling A20). `before`: the id under which the message was sent previously.
   */
  challenge(route: RouteKey, octets: number, before: number, isTaken: (msgId: number) => boolean): number | undefined
  isProven(route: RouteKey): boolean
  /** REGACK or PUBACK was received from this address. Returns true if its message id validates the address. */
  acknowledged(route: RouteKey, msgId: number): boolean
  /** REGACK or PUBACK was received from this address, but matches no message that was sent to it. */
  guessed(route: RouteKey): void
  /** Calls `durable` on this client when more records are durable. */
  awaitDurable(client: GatewayClient): void
  /** The store had no room for the client's current state: records it as soon as there is room. */
  recordLater(client: GatewayClient): void
  /**
   * Opens a link to the broker as the client's user, and drops the previous one. `isRestored`: the link continues a session
   * after a restart.
   */
  openLink(now: Instant, client: GatewayClient, isRestored?: boolean): Link
  /** The client sleeps: it rests at the end of the current input, if nothing is under way for it then. */
  settle(client: GatewayClient): void
  /** The client's link to the broker has ended. */
  closeLink(client: GatewayClient): void
  /**
   * The client's session is over: removes the client with everything the gateway keeps for it. Returns a record with which that is
   * durable, or 'full' if it follows later.
   */
  forget(client: GatewayClient): Lsn | 'full'
  /** Sends DISCONNECT to a sender that is not connected, within the rate limit for such replies. */
  answerUnknownSender(now: Instant, route: RouteKey, why: string): void
}

/** The Lsn of an appended record, or 'full' if the store had no room for it. */
export type Recorded = Lsn | 'full'
