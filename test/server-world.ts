import type { DelayedStore } from '../fuzz/sim/delayed-store.ts'
import type { Notice } from '../src/base/notice.ts'
import { MqttClient, type MqttClientOptions } from '../src/mqtt/client.ts'
import type { SubscriptionRequest } from '../src/mqtt/packets.ts'
import { decodeMessage, isMalformed } from '../src/mqttsn/decode.ts'
import { encodedMessage } from '../src/mqttsn/encode.ts'
import { type Message, MsgType } from '../src/mqttsn/messages.ts'
import { Server, type ServerOptions } from '../src/server.ts'
import { MemoryStore, type Store } from '../src/store/store.ts'
import { OPTIONS, say } from './gateway/harness.ts'

export const TOPIC = 'roost/sensors/%c'
/** 2027-01-15T08:00:00Z. */
export const EPOCH = 1_800_000_000_000

export interface Got {
  readonly topic: string
  readonly text: string
  readonly qos: number
  readonly retain: boolean
}

export interface Connected {
  readonly client: MqttClient
  got: Got[]
  /** Reason codes of what was subscribed, published or refused. */
  readonly codes: number[]
}

/** The whole server in virtual time, with MQTT clients and sensors that are nothing but routes. */
export class World {
  now = 0
  readonly notices: Notice[] = []
  readonly server: Server
  readonly store: Store
  /** Number of polls until everything was said. */
  turns = 0
  /** Routes of sensors that acknowledge whatever they are sent. */
  readonly answering = new Set<string>()
  /** When they last did. */
  readonly answered = new Map<string, number>()
  readonly #connected = new Map<number, Connected>()
  #next = 1

  constructor(options: Partial<ServerOptions> = {}, store: Store = new MemoryStore()) {
    this.store = store
    this.server = new Server({
      gateway: OPTIONS,
      store,
      clock: { epoch: EPOCH },
      notice: (notice) => this.notices.push(notice),
      random: () => 0.5,
      sysInterval: 10,
      version: 'roost version 1.2.3',
      presence: { topic: TOPIC, discoveryPrefix: 'homeassistant' },
      ...options,
    })
    this.server.gateway.mostIdle = 0
    this.server.recover(this.now)
    this.run()
  }

  connect(clientId: string, options: Partial<MqttClientOptions> = {}): Connected {
    const connected = { client: new MqttClient({ clientId, keepAliveSeconds: 0, ...options }), got: [], codes: [] }
    const connection = this.#next++
    this.#connected.set(connection, connected)
    this.server.handle(this.now, { kind: 'opened', connection, from: { peer: '127.0.0.1:1', listener: 'mqtt' } })
    connected.client.connect(this.now)
    this.run()
    return connected
  }

  disconnect({ client }: Connected): void {
    client.disconnect(this.now)
    this.run()
  }

  /** The stream of the client is over. */
  breakOff(connected: Connected): void {
    for (const [connection, each] of this.#connected) {
      if (each !== connected) continue
      this.#connected.delete(connection)
      this.server.handle(this.now, { kind: 'closed', connection, reason: 'test' })
    }
    this.run()
  }

  subscribe({ client }: Connected, filter: string, more: Omit<SubscriptionRequest, 'filter'> | object = {}): void {
    client.subscribe(this.now, [{ filter, ...more }])
    this.run()
  }

  publish({ client }: Connected, topic: string, text: string, more: { qos?: 0 | 1 | 2; retain?: boolean } = {}): void {
    client.publish(this.now, { topic, payload: Buffer.from(text), ...more })
    this.run()
  }

  /** What a sensor sends, from its route. */
  send(route: string, ...messages: Message[]): void {
    for (const message of messages) {
      this.server.handle(this.now, { kind: 'datagram', route, bytes: encodedMessage(message) })
      this.run()
    }
  }

  /** Lets so much time pass, and everything happen that is due. */
  advance(ms: number): void {
    const until = this.now + ms
    for (let at = this.server.nextTimeout(); at !== undefined && at <= until; at = this.server.nextTimeout()) {
      this.now = Math.max(this.now, at)
      this.server.handleTimeout(this.now)
      this.run()
    }
    this.now = until
  }

  run(): void {
    for (let again = true; again; ) {
      again = false
      this.turns++
      for (const [connection, connected] of this.#connected) if (this.#runClient(connection, connected)) again = true
      for (let out = this.server.poll(this.now); out !== undefined; out = this.server.poll(this.now)) {
        if (out.kind === 'write') this.#connected.get(out.connection)?.client.handleChunk(this.now, Uint8Array.from(out.bytes))
        if (out.kind === 'close') this.#connected.get(out.connection)?.client.handleClosed()
        if (out.kind === 'datagram' && this.answering.has(out.route)) this.#answer(out.route, out.bytes)
        again = true
      }
    }
  }

  #answer(route: string, bytes: Uint8Array): void {
    const message = decodeMessage(bytes)
    if (isMalformed(message)) throw new Error(message.reason)
    let answer: Message | undefined
    if (message.type === MsgType.REGISTER) answer = say.regack(message.topicId, message.msgId)
    else if (message.type === MsgType.PUBLISH && message.qos === 1) answer = say.puback(message.topicId, message.msgId)
    if (answer === undefined) return
    this.answered.set(route, this.now)
    this.server.handle(this.now, { kind: 'datagram', route, bytes: encodedMessage(answer) })
  }

  /** Everything appended so far becomes durable, and what is appended because of that. */
  commit(store: DelayedStore): void {
    do {
      store.commit()
      this.server.handle(this.now, { kind: 'durable' })
      this.run()
    } while (store.durable < store.appended)
  }

  #runClient(connection: number, connected: Connected): boolean {
    let any = false
    for (let out = connected.client.poll(); out !== undefined; out = connected.client.poll()) {
      any = true
      if (out.kind === 'bytes') this.server.handle(this.now, { kind: 'chunk', connection, bytes: out.bytes })
      else if (out.kind === 'close') this.server.handle(this.now, { kind: 'closed', connection, reason: 'test' })
      else if (out.event === 'message') {
        const { topic, payload, qos, retain } = out.message
        connected.got.push({ topic, text: Buffer.from(payload).toString(), qos, retain })
      } else if (out.event === 'refused' || out.event === 'published') connected.codes.push(out.reasonCode)
      else if (out.event === 'subscribed') connected.codes.push(...out.reasonCodes)
    }
    return any
  }
}

/** What has come since this was asked last. */
export function taken(connected: Connected): Got[] {
  const { got } = connected
  connected.got = []
  return got
}

/** `topic state`, `topic -` without a payload, each with `retain` if it is set. */
export const states = (got: readonly Got[]): string[] =>
  got.map(({ topic, text, retain }) => `${topic} ${text === '' ? '-' : JSON.parse(text).state}${retain ? ' retain' : ''}`)
