import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { StartError } from '../base/start-error.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { topicFilterError } from '../mqtt/topics.ts'
import type { Logger } from '../process/log.ts'
import { type Message, messageOf } from '../process/messages.ts'
import type { RunningInside } from '../process/roost.ts'
import { optionsOf, qosOf, typeName } from './arguments.ts'
import { type Client, type ClientDetail, clientIn, clientsIn, disconnectIn } from './clients.ts'
import { drain } from './drain.ts'
import { RoostError } from './error.ts'
import type { EventQueue, RoostEvents } from './events.ts'
import { type Figures, figuresOf } from './figures.ts'
import { LocalClient } from './local-client.ts'
import { LocalPublisher } from './local-publisher.ts'
import { inKeys } from './options.ts'
import { type PublishOptions, publishingOf } from './publish.ts'
import { stackOf } from './stack-of.ts'
import {
  HandledSubscription,
  IteratedSubscription,
  type LocalSubscription,
  type MessageHandler,
  type MessageIterator,
  type Subscription,
} from './subscription.ts'

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
}

const MAX_QUEUED = 10_000_000

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

/** A running broker and gateway, as `start` returns it. Its events are those of `RoostEvents`. */
export class Roost extends EventEmitter<RoostEvents> {
  readonly urls: Urls
  readonly ports: Ports
  readonly #running: RunningInside
  readonly #log: Logger
  readonly #events: EventQueue
  readonly #publisher: LocalPublisher
  readonly #subscriptions = new Set<LocalSubscription>()
  /** The handlers have had their time. */
  #isDrained = false
  #stopped: Promise<void> | undefined

  /** @internal */
  constructor(running: RunningInside, log: Logger, events: EventQueue) {
    super()
    this.#running = running
    this.#log = log
    this.#events = events
    events.emitTo(this)
    this.#publisher = new LocalPublisher(running.inside)
    const { mqtt, sn, http } = running
    const allMqtt = mqtt.map(({ url }) => url.replace(/^tcp:/, 'mqtt:').replace(/^tls:/, 'mqtts:'))
    const allSn = sn.map(({ url }) => url)
    this.urls = { mqtt: allMqtt[0]!, sn: allSn[0]!, http: http?.url, allMqtt, allSn }
    const [mqttPorts, snPorts] = [mqtt.map(({ port }) => port), sn.map(({ port }) => port)]
    this.ports = { mqtt: mqttPorts[0]!, sn: snPorts[0]!, http: http?.port, allMqtt: mqttPorts, allSn: snPorts }
  }

  /**
   * Publishes a message. Resolves when everything that has to be stored of it is durable, and the queues of its receivers have room
   * again, if it found them nearly full (as long as a client would have to wait: about a second).
   *
   * Rejects with a RoostError with `reasonCode` if it is refused: 0x90 invalid topic, 0x87 not allowed, 0x97 beyond a limit or the
   * store is full, 0x9a nothing is retained here, 0x8b the broker has stopped. Rejects with a TypeError if an argument is of the wrong
   * type.
   */
  async publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void> {
    const publishing = publishingOf(topic, payload, options)
    // Handlers that `stop` waits for may publish.
    if (this.#isDrained) this.#refuseStopped('publish')
    await this.#publisher.publish(publishing)
  }

  /**
   * Subscribes, as a client of the broker that access rules do not apply to. Two subscriptions to one filter are two clients: each
   * gets every message. `$share/<group>/<filter>` is a shared subscription. Retained messages follow at once.
   *
   * With a handler: it is called with one message at a time. Without: returns an iterator of the messages. While the program takes
   * none, up to `maxQueued` messages wait, and publishers of QoS 1 and 2 are slowed down as for any client that reads slowly.
   *
   * Rejects with a RoostError with `reasonCode`: 0x8f invalid topic filter, 0x83 invalid condition, 0x97 beyond a limit, 0x8b the broker has stopped. Rejects with
   * a TypeError if an argument is of the wrong type.
   */
  subscribe(filter: string, handler: MessageHandler, options?: SubscribeOptions): Promise<Subscription>
  subscribe(filter: string, handler?: undefined, options?: SubscribeOptions): Promise<MessageIterator>
  subscribe(filter: string, options: SubscribeOptions): Promise<MessageIterator>
  async subscribe(
    filter: string,
    second?: MessageHandler | SubscribeOptions,
    third?: SubscribeOptions,
  ): Promise<Subscription | MessageIterator> {
    if (typeof filter !== 'string') throw new TypeError(`subscribe: filter: expected a string, got ${typeName(filter)}`)
    const handler = typeof second === 'function' ? second : undefined
    const where = `subscribe ${filter}`
    const given = optionsOf(where, typeof second === 'object' ? second : third, ['qos', 'maxQueued', 'filter'])
    const { maxQueued, filter: condition } = given
    if (typeof second === 'object' && third !== undefined) throw new TypeError(`${where}: options are given twice`)
    if (second !== undefined && handler === undefined && typeof second !== 'object')
      throw new TypeError(`${where}: expected a function as handler, got ${typeName(second)}`)
    if (maxQueued !== undefined && !(Number.isInteger(maxQueued) && maxQueued >= 1 && maxQueued <= MAX_QUEUED))
      throw new TypeError(`${where}: maxQueued: expected a whole number from 1 to ${MAX_QUEUED}, got ${String(maxQueued)}`)
    if (condition !== undefined && typeof condition !== 'string')
      throw new TypeError(`${where}: filter: expected a string, got ${typeName(condition)}`)
    this.#refuseStopped('subscribe')
    let ready = (): void => {}
    const client = await LocalClient.open(this.#running.inside, {
      // Whoever knows the id of a client can take its session over.
      clientId: `local-${randomBytes(12).toString('base64url')}`,
      filter,
      qos: qosOf(where, given.qos),
      condition,
      maxQueued,
      onReady: () => ready(),
    })
    const onEnd = (): unknown => this.#subscriptions.delete(subscription)
    const subscription =
      handler === undefined
        ? new IteratedSubscription(filter, client, onEnd)
        : new HandledSubscription(filter, client, onEnd, handler, {
            failed: (error) => this.#log.error(`the handler of ${filter} has failed: ${stackOf(error)}`),
            ended: ({ message }) => this.#log.error(message),
          })
    ready = () => subscription.ready()
    this.#subscriptions.add(subscription)
    ready()
    // stop() may have come in between.
    if (this.#stopped !== undefined) await subscription.unsubscribe()
    return subscription
  }

  /**
   * All clients with a session, connected or not; sensors too. An iterable that looks at each client when it comes to it: about a
   * microsecond each, so spread it (`[...roost.clients()]`) only where there are not hundreds of thousands.
   */
  clients(): Generator<Client, undefined> {
    return clientsIn(this.#running.inside.server)
  }

  /**
   * One client, by its client id, or by `mqtt:` or `sn:` and its client id; undefined if it has no session. Throws a RoostError if
   * both an MQTT client and a sensor have the client id.
   */
  client(id: string): ClientDetail | undefined {
    return clientIn(this.#running.inside.server, id)
  }

  /**
   * Disconnects a client: MQTT 5 clients get reason code 0x98, administrative action. Its will is published, and its session stays.
   * Returns false if it is not connected. `id` as for `client`.
   */
  disconnect(id: string): boolean {
    this.#refuseStopped('disconnect')
    const { loop, server } = this.#running.inside
    return loop.run((now) => disconnectIn(server, now, id))
  }

  /**
   * The retained messages that a topic filter matches, in no particular order; all but those of topics that begin with `$` if it is
   * absent. Their `qos` is that of their publisher. An iterable, as `clients`. Throws a RoostError with reason code 0x8f for an invalid
   * filter.
   */
  retained(filter = '#'): Generator<Message, undefined> {
    if (typeof filter !== 'string') throw new TypeError(`retained: filter: expected a string, got ${typeName(filter)}`)
    const wrong = topicFilterError(filter)
    if (wrong !== '') throw new RoostError(`retained ${filter}: ${wrong}`, ReasonCode.TOPIC_FILTER_INVALID)
    return messagesOf(this.#running.inside.server.broker.retained.search(filter))
  }

  /** Totals of this moment. */
  figures(): Figures {
    return figuresOf(this.#running.inside.server)
  }

  /**
   * Reads password files, access lists, keys and certificates again, and applies them to connected clients, as SIGHUP does for
   * `roost serve`. Resolves to warnings about their contents. Rejects with a StartError, and changes nothing, if one is invalid.
   */
  async reload(): Promise<readonly string[]> {
    this.#refuseStopped('reload')
    const result = await this.#running.inside.reload()
    if ('error' in result) throw new StartError(inKeys(result.error))
    return result.warnings
  }

  /**
   * Waits until the handlers of subscriptions have dealt with what is queued for them, for at most 5 seconds: what is left then is
   * dropped, with a notice. Then ends all subscriptions, publishes the wills of connected MQTT clients and disconnects them, closes all listeners and ports, and
   * keeps the state. Rejects if something could not be stored. Further calls return the same promise.
   *
   * A handler may call it, too; `stop` does not wait for that one if it does so before its first `await`.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const { notice } = this.#running.inside.server
    await drain(this.#subscriptions, { notice, warn: (line) => this.#log.warn(line) })
    this.#isDrained = true
    this.#publisher.stop()
    await Promise.all([...this.#subscriptions].map((each) => each.unsubscribe()))
    try {
      await this.#running.stop()
    } finally {
      this.#events.stop()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #refuseStopped(what: string): void {
    if (this.#stopped !== undefined) throw new RoostError(`${what}: the broker has stopped`, ReasonCode.SERVER_SHUTTING_DOWN)
  }
}

function* messagesOf(found: Iterable<Publish | undefined>): Generator<Message, undefined> {
  for (const message of found) if (message !== undefined) yield messageOf(message, message.qos, true)
}
