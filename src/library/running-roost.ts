import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { StartError } from '../base/start-error.ts'
import type { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { topicFilterError } from '../mqtt/topics.ts'
import type { Logger } from '../process/log.ts'
import { type Message, messageOf, textError } from '../process/messages.ts'
import type { RunningInside } from '../process/roost.ts'
import { optionsOf, qosOf, typeName } from './arguments.ts'
import type { Client, ClientDetail } from './client.ts'
import { clientIn, clientsIn, disconnectIn } from './clients.ts'
import { drain } from './drain.ts'
import { RoostError } from './error.ts'
import type { EventQueue, RoostEvents } from './events.ts'
import { type Figures, figuresOf } from './figures.ts'
import { LocalClient } from './local-client.ts'
import { LocalPublisher } from './local-publisher.ts'
import { inKeys } from './options.ts'
import { type PublishOptions, publishingOf } from './publish.ts'
import type { MessageHandler, MessageIterator, Ports, Roost, SubscribeOptions, Subscription, Urls } from './roost.ts'
import { stackOf } from './stack-of.ts'
import { HandledSubscription, IteratedSubscription, type LocalSubscription } from './subscription.ts'

const MAX_QUEUED = 10_000_000

/** `Roost` around the process that `startProcess` has started. */
export class RunningRoost extends EventEmitter<RoostEvents> implements Roost {
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

  async publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void> {
    const publishing = publishingOf(topic, payload, options)
    // Handlers that `stop` waits for may publish.
    if (this.#isDrained) this.#refuseStopped('publish')
    await this.#publisher.publish(publishing)
  }

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
    const given = optionsOf(where, typeof second === 'object' ? second : third, ['qos', 'maxQueued', 'filter', 'clientId'])
    const { maxQueued, filter: condition, clientId } = given
    if (typeof second === 'object' && third !== undefined) throw new TypeError(`${where}: options are given twice`)
    if (second !== undefined && handler === undefined && typeof second !== 'object')
      throw new TypeError(`${where}: expected a function as handler, got ${typeName(second)}`)
    if (maxQueued !== undefined && !(Number.isInteger(maxQueued) && maxQueued >= 1 && maxQueued <= MAX_QUEUED))
      throw new TypeError(`${where}: maxQueued: expected a whole number from 1 to ${MAX_QUEUED}, got ${String(maxQueued)}`)
    if (condition !== undefined && typeof condition !== 'string')
      throw new TypeError(`${where}: filter: expected a string, got ${typeName(condition)}`)
    const qos = qosOf(where, given.qos)
    if (clientId !== undefined) {
      const wrong = clientId === '' ? 'expected at least one character' : textError(clientId)
      if (wrong !== '') throw new TypeError(`${where}: clientId: ${wrong}`)
      if (qos === 0)
        throw new TypeError(`${where}: clientId: expected qos 1 or 2 with it, because messages of QoS 0 are not kept`)
    }
    this.#refuseStopped('subscribe')
    let ready = (): void => {}
    const client = await LocalClient.open(this.#running.inside, {
      // Whoever knows the id of a client can take its session over.
      clientId: clientId ?? `local-${randomBytes(12).toString('base64url')}`,
      isDurable: clientId !== undefined,
      filter,
      qos,
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
            kept: (error) =>
              this.#log.info(`stop: the handler of ${filter} leaves its message for the next start: ${String(error)}`),
            ended: ({ message }) => this.#log.error(message),
          })
    ready = () => subscription.ready()
    this.#subscriptions.add(subscription)
    ready()
    // stop() may have come in between.
    if (this.#stopped !== undefined) subscription.leave()
    return subscription
  }

  clients(): Generator<Client, undefined> {
    return clientsIn(this.#running.inside.server)
  }

  client(id: string): ClientDetail | undefined {
    return clientIn(this.#running.inside.server, id)
  }

  disconnect(id: string): boolean {
    this.#refuseStopped('disconnect')
    const { loop, server } = this.#running.inside
    return loop.run((now) => disconnectIn(server, now, id))
  }

  retained(filter = '#'): Generator<Message, undefined> {
    if (typeof filter !== 'string') throw new TypeError(`retained: filter: expected a string, got ${typeName(filter)}`)
    const wrong = topicFilterError(filter)
    if (wrong !== '') throw new RoostError(`retained ${filter}: ${wrong}`, ReasonCode.TOPIC_FILTER_INVALID)
    return messagesOf(this.#running.inside.server.broker.retained.search(filter))
  }

  figures(): Figures {
    return figuresOf(this.#running.inside.server)
  }

  async reload(): Promise<readonly string[]> {
    this.#refuseStopped('reload')
    const result = await this.#running.inside.reload()
    if ('error' in result) throw new StartError(inKeys(result.error))
    return result.warnings
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const { notice } = this.#running.inside.server
    await drain(this.#subscriptions, {
      notice,
      isKept: !this.#running.config.memory,
      info: (line) => this.#log.info(line),
      warn: (line) => this.#log.warn(line),
    })
    this.#isDrained = true
    this.#publisher.stop()
    for (const each of this.#subscriptions) each.leave()
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
