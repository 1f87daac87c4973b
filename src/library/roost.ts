import { randomUUID } from 'node:crypto'
import { didYouMean } from '../base/nearest.ts'
import { Publish, type QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { Logger } from '../process/log.ts'
import { type MessageProperties, propertiesOf, topicError } from '../process/messages.ts'
import type { RunningInside } from '../process/roost.ts'
import { RoostError } from './error.ts'
import { LocalClient } from './local-client.ts'
import {
  HandledSubscription,
  IteratedSubscription,
  type MessageHandler,
  type MessageIterator,
  type Subscription,
} from './subscription.ts'

/** In whose name a message is published. At least one of them. */
export interface PublishIdentity {
  readonly clientId?: string | undefined
  readonly username?: string | undefined
  /** Name of the listener whose access rules apply; those of the whole configuration if absent. */
  readonly listener?: string | undefined
}

export interface PublishOptions {
  /** 0 if absent. */
  readonly qos?: QoS | undefined
  /** Whether it is retained; an empty payload deletes the retained message. */
  readonly retain?: boolean | undefined
  readonly properties?: MessageProperties | undefined
  /**
   * Publishes as this client would, with its access rules. Absent: access rules do not apply.
   */
  readonly as?: PublishIdentity | undefined
}

export interface SubscribeOptions {
  /** Highest QoS of its messages; 0 if absent. */
  readonly qos?: QoS | undefined
  /** Messages that may wait while the program does not take them, from 1 to 10000000; max_queued_messages if absent. */
  readonly maxQueued?: number | undefined
}

/** Of each kind of listener the first URL, and all of them in the order of the configuration. */
export interface Urls {
  /** `mqtt://127.0.0.1:1883`, `mqtts:`, `ws:`, `wss:` or `unix:`. */
  readonly mqtt: string
  /** `udp://127.0.0.1:1884`, or of a serial device. */
  readonly sn: string
  /** undefined without the HTTP service. */
  readonly http: string | undefined
  readonly allMqtt: readonly string[]
  readonly allSn: readonly string[]
}

/** Ports as in `Urls`; 0 for Unix sockets and serial devices. */
export interface PortNumbers {
  readonly mqtt: number
  readonly sn: number
  readonly http: number | undefined
  readonly allMqtt: readonly number[]
  readonly allSn: readonly number[]
}

/** A running broker and gateway. `start` returns one. */
export class Roost {
  readonly urls: Urls
  readonly ports: PortNumbers
  readonly #running: RunningInside
  readonly #log: Logger
  readonly #subscriptions = new Set<Subscription>()
  #stopped: Promise<void> | undefined

  /** @internal */
  constructor(running: RunningInside, log: Logger) {
    this.#running = running
    this.#log = log
    const { mqtt, sn, http } = running
    const allMqtt = mqtt.map(({ url }) => url.replace(/^tcp:/, 'mqtt:').replace(/^tls:/, 'mqtts:'))
    const allSn = sn.map(({ url }) => url)
    this.urls = { mqtt: allMqtt[0]!, sn: allSn[0]!, http: http?.url, allMqtt, allSn }
    const mqttPorts = mqtt.map(({ port }) => port)
    const snPorts = sn.map(({ port }) => port)
    this.ports = { mqtt: mqttPorts[0]!, sn: snPorts[0]!, http: http?.port, allMqtt: mqttPorts, allSn: snPorts }
  }

  /**
   * Publishes a message. Resolves when everything that has to be stored of it is durable. Rejects with a RoostError that has a
   * `reasonCode` if it is refused, and with a TypeError if an argument is of the wrong type.
   */
  async publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<void> {
    const message = messageToPublish(topic, payload, options)
    this.#refuseStopped('publish')
    const { server, loop, durable } = this.#running.inside
    const { operator } = server.broker
    const { as } = options
    const published = loop.run((now) =>
      as === undefined
        ? operator.publishLocally(now, message)
        : operator.publishAs(now, { clientId: as.clientId ?? '', username: as.username, listener: as.listener ?? '' }, message),
    )
    if (published.kind === 'refused') {
      const { reasonCode, reason, limit } = published
      const why = limit === undefined ? reason : `${reason} (${limit})`
      throw new RoostError(`publish ${topic}: ${why}`, reasonCode, limit)
    }
    await durable(published.lsn)
  }

  /** Subscribes, and hands each message to `handler`. */
  subscribe(filter: string, handler: MessageHandler, options?: SubscribeOptions): Promise<Subscription>
  /** Subscribes, and returns an iterator of the messages. */
  subscribe(filter: string, handler?: undefined, options?: SubscribeOptions): Promise<MessageIterator>
  subscribe(filter: string, options: SubscribeOptions): Promise<MessageIterator>
  async subscribe(
    filter: string,
    second?: MessageHandler | SubscribeOptions,
    third?: SubscribeOptions,
  ): Promise<Subscription | MessageIterator> {
    const handler = typeof second === 'function' ? second : undefined
    const { qos = 0, maxQueued } = (typeof second === 'object' ? second : third) ?? {}
    this.#refuseStopped('subscribe')
    let subscription: HandledSubscription | IteratedSubscription | undefined
    const client = await LocalClient.open(this.#running.inside, {
      clientId: `local-${randomUUID()}`,
      filter,
      qos,
      maxQueued,
      onReady: () => subscription?.ready(),
    })
    const onEnd = (): void => {
      if (subscription !== undefined) this.#subscriptions.delete(subscription)
    }
    subscription =
      handler === undefined
        ? new IteratedSubscription(filter, client, onEnd)
        : new HandledSubscription(filter, client, onEnd, handler, (error) => this.#failed(`handler of ${filter}`, error))
    this.#subscriptions.add(subscription)
    subscription.ready()
    return subscription
  }

  /** Stops broker and gateway, and keeps the state. Further calls return the same promise. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    await Promise.all([...this.#subscriptions].map((each) => each.unsubscribe()))
    await this.#running.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #refuseStopped(what: string): void {
    if (this.#stopped !== undefined) throw new RoostError(`${what}: the broker has stopped`, ReasonCode.SERVER_SHUTTING_DOWN)
  }

  #failed(where: string, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#log.error(`${where} has failed: ${text}`)
  }
}

const PUBLISH_KEYS = ['qos', 'retain', 'properties', 'as'] as const

function messageToPublish(topic: string, payload: string | Uint8Array, options: PublishOptions): Publish {
  const { qos = 0, retain = false, properties: given } = options
  const wrong = topicError(topic)
  if (wrong !== '') {
    if (typeof topic !== 'string') throw new TypeError(`publish: topic: ${wrong}`)
    throw new RoostError(`publish ${JSON.stringify(topic)}: ${wrong}`, ReasonCode.TOPIC_NAME_INVALID)
  }
  for (const key of Object.keys(options))
    if (!PUBLISH_KEYS.includes(key as 'qos'))
      throw new TypeError(`publish: ${key}: unknown option${didYouMean(key, PUBLISH_KEYS)}`)
  if (typeof payload !== 'string' && !(payload instanceof Uint8Array))
    throw new TypeError(`publish: payload: expected a string or a Uint8Array, got ${payload === null ? 'null' : typeof payload}`)
  if (qos !== 0 && qos !== 1 && qos !== 2) throw new TypeError(`publish: qos: expected 0, 1 or 2, got ${String(qos)}`)
  const properties = propertiesOf(given)
  if (typeof properties === 'string') throw new TypeError(`publish: ${properties}`)
  // A copy: the program may change its own while the message waits.
  return Publish.of(topic, Buffer.from(payload as string), qos, retain, 0, properties)
}
