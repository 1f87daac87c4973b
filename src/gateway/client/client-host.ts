import type { Instant } from '../../base/machine.ts'
import type { Memory } from '../../base/memory.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { Pauses } from '../../base/pauses.ts'
import type { Timers } from '../../base/timers.ts'
import type { Link } from '../../mqtt/link.ts'
import type { Traffic } from '../../mqtt/traffic.ts'
import type { Message } from '../../mqttsn/messages.ts'
import type { Lsn, Store, WallClock } from '../../store/store.ts'
import type { GatewayOptions } from '../options.ts'
import type { Ports } from '../ports/ports.ts'
import type { RouteKey } from '../ports/route.ts'
import type { PredefinedTopics } from '../topics/registry.ts'
import type { GatewayClient } from './client.ts'

/** What a timer of a client is about. */
export interface ClientTimer {
  readonly client: GatewayClient
  readonly about: 'retry' | 'dialogue' | 'ids'
}

/** What clients need of the gateway around them. */
export interface ClientHost {
  readonly options: GatewayOptions
  readonly predefined: PredefinedTopics
  readonly store: Store
  readonly clock: WallClock
  readonly notice: NoticeSink
  readonly timers: Timers<ClientTimer>
  /** When clients have been silent for too long. What follows is recorded, and waits for room in the store. */
  readonly silences: Timers<GatewayClient>
  readonly pauses: Pauses
  readonly traffic: Traffic
  readonly ports: Ports
  readonly memory: Memory
  /** What the topic ids of all clients take, and their QoS 2 message ids. */
  readonly topicIdBytes: { sum: number }
  /** Bytes of wills: of sensors without a conversation, and topics of those that are asked for the message. */
  readonly wills: { kept: number; asked: number }
  /** In [0, 1). */
  chance(): number
  /** False if it will never leave. */
  transmit(route: RouteKey, message: Message): boolean
  /**
   * A message id for a REGISTER or a PUBLISH with QoS 1 of so many octets, by which the address there proves itself; `undefined` where any id will do
   * (ruling A20). `before`: the id that the message had when it was sent before.
   */
  challenge(route: RouteKey, octets: number, before: number, isTaken: (msgId: number) => boolean): number | undefined
  isProven(route: RouteKey): boolean
  /** REGACK or PUBACK has come from there. True if its message id proves the address. */
  acknowledged(route: RouteKey, msgId: number): boolean
  /** REGACK or PUBACK has come from there for nothing that was sent. */
  guessed(route: RouteKey): void
  /** Call `durable` on this client when more is durable. */
  awaitDurable(client: GatewayClient): void
  /** The store had no room for what this client is by now: it is recorded as soon as there is some. */
  recordLater(client: GatewayClient): void
  /** A new conversation with the broker, as the client's user; the one before is forgotten. `isRestored`: it goes on after a restart. */
  openLink(now: Instant, client: GatewayClient, isRestored?: boolean): Link
  /** The conversation is over. */
  closeLink(client: GatewayClient): void
  /** The client's session is over and nothing of it is left to remember. */
  forget(client: GatewayClient): void
  /** Tells a sender that it is not connected, within the budget for such answers. */
  tellStranger(now: Instant, route: RouteKey, why: string): void
}

/** A record that was appended, or the reason why it was not. */
export type Recorded = Lsn | 'full'
