import type { EventEmitter } from 'node:events'
import type { QoS } from '../mqtt/publish.ts'
import type { Message } from '../process/messages.ts'
import type { Client, ClientDetail } from './client.ts'
import type { RoostEvents } from './events.ts'
import type { Figures } from './figures.ts'
import type { PublishOptions } from './publish.ts'

export interface SubscribeOptions {
  /** Highest QoS of its messages; 0 if absent. */
  readonly qos?: QoS | undefined
  /**
   * Messages that may wait while the program does not take them, from 1 to 10000000; max_queued_messages if absent. Beyond that they
   * are dropped, with a notice (queue-full).
   */
  readonly maxQueued?: number | undefined
  /** A condition in CEL that messages have to meet: `json.celsius > 25.0` (docs/filters.md). All of them if absent. */
  readonly filter?: string | undefined
  /**
   * Makes the subscription durable, for QoS 1 and 2: its session has this client id, never expires, and is resumed by the next
   * subscription with this `clientId`, also after a restart with the same `dataDir`. No client can have the id meanwhile.
   */
  readonly clientId?: string | undefined
}

/** URLs of what is open: the first of each kind, and all of them in the order of the configuration. */
export interface Urls {
  /** `mqtt://127.0.0.1:1883`, or with `mqtts:`, `ws:`, `wss:` or `unix:`. */
  readonly mqtt: string
  /** `udp://127.0.0.1:1884`, or of a serial device. */
  readonly sn: string
  /** undefined without the HTTP service. */
  readonly http: string | undefined
  readonly allMqtt: readonly string[]
  readonly allSn: readonly string[]
}

/** Ports of what is open, as in `Urls`; 0 for Unix sockets and serial devices. */
export interface Ports {
  readonly mqtt: number
  readonly sn: number
  readonly http: number | undefined
  readonly allMqtt: readonly number[]
  readonly allSn: readonly number[]
}

/**
 * Called with one message at a time, in order: the next follows when this has returned or its promise has resolved, and then this
 * one is acknowledged. An exception is logged, and the message counts as handled; not so after `stop` was called, if the subscription is
 * durable: the message comes again after the next start.
 */
export type MessageHandler = (message: Message) => unknown

/** A subscription with a handler. */
export interface Subscription extends AsyncDisposable {
  /** As it was given to `subscribe`. */
  readonly filter: string
  /** Ends it, with the session of one that is durable. What waits for it is discarded. Further calls do nothing. */
  unsubscribe(): Promise<void>
}

/**
 * A subscription without a handler: `for await (const message of subscription)`. The end of the
 * loop ends it; the session of one that is durable stays.
 */
export interface MessageIterator extends Subscription, AsyncIterableIterator<Message> {
  /**
   * The next message; the one before is acknowledged. Done after `unsubscribe`, `return` or `stop`. Rejects with a RoostError if the
   * broker has ended the subscription.
   */
  next(): Promise<IteratorResult<Message, undefined>>
  return(): Promise<IteratorResult<Message, undefined>>
  [Symbol.asyncIterator](): this
}

/** A running broker and gateway, as `start` returns it. Its events are those of `RoostEvents`. */
export interface Roost extends EventEmitter<RoostEvents>, AsyncDisposable {
  readonly urls: Urls
  readonly ports: Ports

  /**
   * Publishes a message. Resolves when everything that has to be stored of it is durable, and the queues of its receivers have room
   * again, if it found them nearly full (as long as a client would have to wait: about a second).
   *
   * Rejects with a RoostError with `reasonCode` if it is refused: 0x90 invalid topic, 0x87 not allowed, 0x97 beyond a limit or the
   * store is full, 0x9a nothing is retained here, 0x8b the broker has stopped. Rejects with a TypeError if an argument is of the wrong
   * type.
   */
  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void>

  /**
   * Subscribes, as a client of the broker that access rules do not apply to. Two subscriptions to one filter are two clients: each
   * gets every message. `$share/<group>/<filter>` is a shared subscription. Retained messages follow at once.
   *
   * With a handler: it is called with one message at a time. Without: returns an iterator of the messages. While the program takes
   * none, up to `maxQueued` messages wait, and publishers of QoS 1 and 2 are slowed down as for any client that reads slowly.
   *
   * Rejects with a RoostError with `reasonCode`: 0x8f invalid topic filter, 0x83 invalid condition, 0x85 the client id is in use, 0x97
   * beyond a limit, 0x8b the broker has stopped. Rejects with a TypeError if an argument is of the wrong type.
   */
  subscribe(filter: string, handler: MessageHandler, options?: SubscribeOptions): Promise<Subscription>
  subscribe(filter: string, handler?: undefined, options?: SubscribeOptions): Promise<MessageIterator>
  subscribe(filter: string, options: SubscribeOptions): Promise<MessageIterator>

  /**
   * All clients with a session, connected or not; sensors too. An iterable that looks at each client when it comes to it: about a
   * microsecond each, so spread it (`[...roost.clients()]`) only where there are not hundreds of thousands.
   */
  clients(): Generator<Client, undefined>

  /**
   * One client, by its client id, or by `mqtt:` or `sn:` and its client id; undefined if it has no session. Throws a RoostError if
   * both an MQTT client and a sensor have the client id.
   */
  client(id: string): ClientDetail | undefined

  /**
   * Disconnects a client: MQTT 5 clients get reason code 0x98, administrative action. Its will is published, and its session stays.
   * Returns false if it is not connected. `id` as for `client`.
   */
  disconnect(id: string): boolean

  /**
   * The retained messages that a topic filter matches, in no particular order; all but those of topics that begin with `$` if it is
   * absent. Their `qos` is that of their publisher. An iterable, as `clients`. Throws a RoostError with reason code 0x8f for an invalid
   * filter.
   */
  retained(filter?: string): Generator<Message, undefined>

  /** Totals of this moment. */
  figures(): Figures

  /**
   * Reads password files, access lists, keys and certificates again, and applies them to connected clients, as SIGHUP does for
   * `roost serve`. Resolves to warnings about their contents. Rejects with a StartError, and changes nothing, if one is invalid.
   */
  reload(): Promise<readonly string[]>

  /**
   * Waits until the handlers of subscriptions have dealt with what is queued for them, for at most 5 seconds: what is left then is
   * dropped, with a notice. Then ends all subscriptions, publishes the wills of connected MQTT clients and disconnects them, closes all listeners and ports, and
   * keeps the state. Rejects if something could not be stored. Further calls return the same promise.
   *
   * A handler may call it, too; `stop` does not wait for that one if it does so before its first `await`.
   */
  stop(): Promise<void>
}
