import type { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Memory } from '../../src/base/memory.ts'
import type { Notice } from '../../src/base/notice.ts'
import { type Access, OPEN_ACCESS } from '../../src/broker/access.ts'
import { Broker } from '../../src/broker/broker.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { ANONYMOUS_SENSORS, type GatewayOptions } from '../../src/gateway/gateway-options.ts'
import { carrierOf, nodeIdOf, nodeRoute } from '../../src/gateway/ports/route.ts'
import { OWN_REQUEST } from '../../src/gateway/translate.ts'
import type { Link, SensorUplink } from '../../src/mqtt/link.ts'
import { type Packet, PacketType, type Will } from '../../src/mqtt/packets.ts'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { unwrap, wrap } from '../../src/mqttsn/forwarder.ts'
import { type Message, MsgType, type SnPublish, type SnQoS, type TopicIdType } from '../../src/mqttsn/messages.ts'
import { isGatewayRecord } from '../../src/server.ts'
import { MemoryStore, type Store } from '../../src/store/store.ts'
import { TestClient } from '../broker/harness.ts'

export const OPTIONS: GatewayOptions = {
  gatewayId: 7,
  tRetryMs: 10_000,
  nRetry: 3,
  sessionExpirySeconds: Number.POSITIVE_INFINITY,
  maxSessions: 100,
  maxIdleMs: 0,
  topicsPerClient: 100,
  sleepMargin: 1.5,
  wakeMessages: 100,
  tWaitMs: 300_000,
  maxClientIdLength: 64,
  inflightMessages: 1,
  wakeBytes: Number.POSITIVE_INFINITY,
  roam: 'asleep',
  register: 'lazy',
  strictSleep: false,
  qosM1InlineTopic: false,
  forwarders: true,
  users: ANONYMOUS_SENSORS,
  qos2HoldDownMs: 60_000,
  unknownSenderPerSecond: 100,
  predefinedTopics: [{ pattern: '*', topics: new Map([[1, 'predefined/one']]) }],
  maxDatagram: 65_535,
}

/** What the gateway stands in. */
export interface Surroundings {
  /** Wall time at the beginning. */
  readonly epoch?: number
  readonly access?: Access
  readonly limits?: Partial<BrokerLimits>
  readonly memory?: Memory
  /** The number of clients that sleep and stay objects: none by default. */
  readonly mostIdle?: number
  /** Notes what the broker is told, for `up`. */
  readonly spies?: boolean
}

/** The gateway in front of the real broker, with virtual time and sensors that are nothing but routes. */
export class TestGateway {
  now = 0
  /** What chance decides. */
  chance = 0
  /** Takes its place, where ids must not be guessed. */
  draw: () => number = () => this.chance
  readonly notices: Notice[] = []
  readonly broker: Broker
  readonly gateway: Gateway
  readonly store: Store
  #sent = new Map<string, Message[]>()
  #up: string[] = []
  /** What was sent to sleepers outside their awake periods, and is no answer. */
  readonly disturbances: string[] = []

  constructor(options: Partial<GatewayOptions> = {}, store: Store = new MemoryStore(), around: Surroundings = {}) {
    this.store = store
    const { epoch = 0, access = OPEN_ACCESS, limits = {}, memory = new Memory(), spies = false, mostIdle = 0 } = around
    const clock = { epoch }
    const notice = (entry: Notice): void => {
      this.notices.push(entry)
    }
    this.broker = new Broker({ access, limits, memory, store, clock, notice, random: () => 0.5 })
    const uplink = spies ? spied(this.broker, (line) => this.#up.push(line)) : this.broker
    this.gateway = new Gateway({ ...OPTIONS, ...options }, uplink, store, clock, notice, () => this.draw(), memory)
    // Clients rest at every chance.
    this.gateway.mostIdle = mostIdle
    for (const record of store.replay()) {
      if (isGatewayRecord(record)) this.gateway.apply(record)
      else if (record.type !== 'clock') this.broker.apply(record)
    }
    this.broker.recover(0)
    this.gateway.recover(0)
    this.broker.runDownRecovered(0, (clientId) => this.gateway.sensors.isLost(clientId))
    this.#run()
  }

  /** A new process on what the store has kept, of which so many records were folded into rows. */
  restarted(epoch = 0, folded = (this.store as DelayedStore).durable, options: Partial<GatewayOptions> = {}): TestGateway {
    return new TestGateway(options, (this.store as DelayedStore).crash({ folded }), { epoch })
  }

  send(route: string, ...messages: Message[]): void {
    for (const message of messages) this.sendBytes(route, encodedMessage(message))
  }

  sendBytes(route: string, bytes: Uint8Array): void {
    const nodeId = nodeIdOf(route)
    this.gateway.handleDatagram(this.now, carrierOf(route), nodeId === undefined ? bytes : wrap(nodeId, bytes))
    this.#run()
  }

  /** Through a forwarder; what comes back is `sent(nodeRoute(forwarder, nodeId))`. */
  sendVia(forwarder: string, nodeId: Uint8Array, ...messages: Message[]): void {
    for (const message of messages) this.sendBytes(forwarder, wrap(nodeId, encodedMessage(message)))
  }

  /** What the gateway has sent there since this was asked last, a line each. */
  sent(route: string): string[] {
    const messages = this.#sent.get(route) ?? []
    this.#sent.delete(route)
    return messages.map(line)
  }

  /** What the gateway has told the broker since this was asked last, a line each; for a world that spies. */
  up(): string[] {
    return this.#up.splice(0)
  }

  /** The same as messages. */
  messages(route: string): Message[] {
    const messages = this.#sent.get(route) ?? []
    this.#sent.delete(route)
    return messages
  }

  advance(ms: number): void {
    const until = this.now + ms
    for (;;) {
      const at = [this.broker.nextTimeout(), this.gateway.nextTimeout()]
        .filter((next) => next !== undefined)
        .sort((a, b) => a - b)[0]
      if (at === undefined || at > until) break
      this.now = Math.max(this.now, at)
      this.broker.handleTimeout(this.now)
      this.gateway.handleTimeout(this.now)
      this.#run()
    }
    this.now = until
  }

  /** Everything appended so far becomes durable. */
  commit(): void {
    ;(this.store as DelayedStore).commit()
    this.broker.handleDurable()
    this.gateway.durable(this.now)
    this.#run()
  }

  /** Commits until nothing new is appended. */
  settle(): void {
    const store = this.store as DelayedStore
    do this.commit()
    while (store.durable < store.appended)
  }

  /** A client at the broker, as over TCP. */
  client(clientId: string): TestClient {
    const client = new TestClient(this as never, this.broker.open(this.now, { kind: 'mqtt', peer: 'test', listener: 'mqtt' }))
    client.send({
      type: 1,
      protocolVersion: 5,
      bridge: false,
      clientId,
      cleanStart: true,
      keepAlive: 0,
      will: undefined,
      username: undefined,
      password: undefined,
      properties: {},
    })
    client.poll()
    return client
  }

  /** Publishes at the broker, and lets the gateway do what follows. */
  publish(topic: string, payload: string, qos: 0 | 1 | 2 = 1): void {
    const client = this.client(`p${this.#publishers++}`)
    client.publish(topic, payload, qos)
    this.#run()
  }
  #publishers = 0

  codes(): string[] {
    return this.notices.map(({ code }) => code)
  }

  #run(): void {
    while (this.#runOnce());
    this.broker.endTurn()
  }

  #listenForDisturbance(route: string, message: Message): void {
    const isCall = message.type === MsgType.REGISTER || message.type === MsgType.PUBREL
    if (!isCall && !(message.type === MsgType.PUBLISH && message.qos > 0)) return
    const sleeper = ['s', 't'].find(
      (id) => this.gateway.client(id)?.route === route && this.gateway.client(id)?.state === 'asleep',
    )
    if (sleeper !== undefined) this.disturbances.push(`${sleeper}: ${line(message)}`)
  }

  /** Gives whether anything happened. */
  #runOnce(): boolean {
    let any = false
    for (let link = this.broker.nextReadyLink(); link !== undefined; link = this.broker.nextReadyLink()) {
      any = true
      if (this.gateway.owns(link)) this.gateway.linkReady(this.now, link)
    }
    for (let out = this.gateway.poll(this.now); out !== undefined; out = this.gateway.poll(this.now)) {
      any = true
      const inner = unwrap(out.bytes)
      if (inner !== undefined && 'kind' in inner) throw new Error(`the gateway sent nonsense: ${inner.reason}`)
      const message = decodeMessage(out.bytes, inner?.start, inner?.end)
      if (isMalformed(message)) throw new Error(`the gateway sent nonsense: ${message.reason}`)
      const route = inner === undefined ? out.route : nodeRoute(out.route, inner.nodeId)
      const sent = this.#sent.get(route) ?? []
      sent.push(message)
      this.#listenForDisturbance(route, message)
      this.#sent.set(route, sent)
    }
    return any
  }
}

/** Tells all that is said to the broker. */
function spied(broker: Broker, tell: (line: string) => void): SensorUplink {
  return {
    place: broker.place,
    resting: {
      get needed() {
        return broker.resting.needed
      },
      set needed(wake) {
        broker.resting.needed = wake
      },
      stateOf: (id, will) => broker.resting.stateOf(id, will),
      rest: (id) => broker.resting.rest(id),
      waiting: (key) => broker.resting.waiting(key),
      resume: (session, link) => spiedLink(broker.resting.resume(session, link), tell),
    },
    get work() {
      return broker.work
    },
    get hasRoom() {
      return broker.hasRoom
    },
    nextReadyLink: () => broker.nextReadyLink(),
    endUnused: (now, key) => broker.endUnused(now, key),
    open: (now, info) => spiedLink(broker.open(now, info), tell, info.peer === 'QoS -1' ? 'QoS -1: ' : ''),
  }
}

function spiedLink(link: Link, tell: (line: string) => void, who = ''): Link {
  let over = false
  const { send, setWill, lost } = link
  link.send = (at, packet) => {
    tell(who + packetLine(packet))
    over ||= packet.type === PacketType.DISCONNECT
    return send.call(link, at, packet)
  }
  link.setWill = (at, will) => {
    tell(`${who}will ${willLine(will)}`)
    return setWill.call(link, at, will)
  }
  link.lost = (at, reason) => {
    if (!over) tell(`${who}lost`)
    over = true
    lost.call(link, at, reason)
  }
  return link
}

const PACKETS = new Map(Object.entries(PacketType).map(([name, type]) => [type as number, name]))
const willLine = (will: Will | undefined): string =>
  will === undefined ? 'none' : `${will.topic}=${Buffer.from(will.payload).toString()}`

/** `CONNECT clean`, `CONNECT will gone=bye`, `PUBLISH a=x q1 #7`, `SUBSCRIBE a q1 #7`, `PUBREC #1 0x83`. */
function packetLine(packet: Packet): string {
  const words = [PACKETS.get(packet.type)!]
  if (packet.type === PacketType.CONNECT) {
    if (packet.cleanStart) words.push('clean')
    if (packet.will !== undefined) words.push(`will ${willLine(packet.will)}`)
  } else if (packet.type === PacketType.PUBLISH)
    words.push(`${packet.topic}=${Buffer.from(packet.payload).toString()}`, `q${packet.qos}`)
  else if (packet.type === PacketType.SUBSCRIBE) words.push(...packet.subscriptions.map(({ filter, qos }) => `${filter} q${qos}`))
  else if (packet.type === PacketType.UNSUBSCRIBE) words.push(...packet.filters)
  if ('packetId' in packet && packet.packetId !== 0 && packet.packetId !== OWN_REQUEST) words.push(`#${packet.packetId}`)
  if ('reasonCode' in packet && packet.reasonCode !== 0) words.push(`0x${packet.reasonCode.toString(16)}`)
  return words.join(' ')
}

const NAMES = new Map(Object.entries(MsgType).map(([name, type]) => [type as number, name]))

/** `PUBLISH 0401=x q1 #1 dup`, `REGISTER 0401=a/b #1`, `SUBACK 0401 #4 q1`, `CONNACK 3`. */
export function line(message: Message): string {
  const fields = message as unknown as Record<string, unknown>
  const words = [NAMES.get(message.type) ?? '?']
  const id = (value: unknown): string => (value as number).toString(16).padStart(4, '0')
  if (message.type === MsgType.PUBLISH) {
    const kind = message.topicIdType === 'normal' ? '' : `${message.topicIdType}:`
    words.push(`${kind}${id(message.topicId)}=${Buffer.from(message.data).toString()}`)
  } else if (message.type === MsgType.REGISTER) words.push(`${id(message.topicId)}=${message.topicName}`)
  else if (typeof fields.topicId === 'number') words.push(id(fields.topicId))
  if (typeof fields.msgId === 'number' && fields.msgId !== 0) words.push(`#${fields.msgId}`)
  if (typeof fields.qos === 'number') words.push(`q${fields.qos}`)
  if (fields.dup === true) words.push('dup')
  if (fields.retain === true) words.push('retain')
  if (typeof fields.returnCode === 'number' && fields.returnCode !== 0) words.push(`rc${fields.returnCode}`)
  return words.join(' ')
}

// --- What sensors say

const bytes = (text: string): Uint8Array => Buffer.from(text)

export const say = {
  connect: (clientId: string, { will = false, clean = true, duration = 60, protocolId = 1 } = {}): Message => ({
    type: MsgType.CONNECT,
    will,
    cleanSession: clean,
    protocolId,
    duration,
    clientId,
  }),
  willTopic: (topic: string | undefined, qos: 0 | 1 | 2 = 0): Message => ({ type: MsgType.WILLTOPIC, topic, qos, retain: false }),
  willMsg: (text: string): Message => ({ type: MsgType.WILLMSG, message: bytes(text) }),
  willTopicUpdate: (topic: string | undefined): Message => ({ type: MsgType.WILLTOPICUPD, topic, qos: 0, retain: false }),
  willMsgUpdate: (text: string): Message => ({ type: MsgType.WILLMSGUPD, message: bytes(text) }),
  register: (topicName: string, msgId = 1): Message => ({ type: MsgType.REGISTER, topicId: 0, msgId, topicName }),
  regack: (topicId: number, msgId: number, returnCode = 0): Message => ({ type: MsgType.REGACK, topicId, msgId, returnCode }),
  publish: (
    topicId: number,
    text: string,
    qos: SnQoS = 0,
    msgId = qos > 0 ? 1 : 0,
    topicIdType: TopicIdType = 'normal',
  ): SnPublish => ({
    type: MsgType.PUBLISH,
    dup: false,
    qos,
    retain: false,
    topicIdType,
    topicId,
    msgId,
    data: bytes(text),
  }),
  puback: (topicId: number, msgId: number, returnCode = 0): Message => ({ type: MsgType.PUBACK, topicId, msgId, returnCode }),
  pubrec: (msgId: number): Message => ({ type: MsgType.PUBREC, msgId }),
  pubrel: (msgId: number): Message => ({ type: MsgType.PUBREL, msgId }),
  pubcomp: (msgId: number): Message => ({ type: MsgType.PUBCOMP, msgId }),
  subscribe: (topicName: string, qos: SnQoS = 1, msgId = 9): Message => ({
    type: MsgType.SUBSCRIBE,
    dup: false,
    qos,
    msgId,
    topicIdType: 'normal',
    topicName,
    topicId: 0,
  }),
  subscribeId: (topicIdType: 'predefined' | 'short', topicId: number, qos: SnQoS = 1, msgId = 9): Message => ({
    type: MsgType.SUBSCRIBE,
    dup: false,
    qos,
    msgId,
    topicIdType,
    topicName: '',
    topicId,
  }),
  unsubscribe: (topicName: string, msgId = 9): Message => ({
    type: MsgType.UNSUBSCRIBE,
    dup: false,
    qos: 0,
    msgId,
    topicIdType: 'normal',
    topicName,
    topicId: 0,
  }),
  ping: (clientId?: string): Message => ({ type: MsgType.PINGREQ, clientId }),
  disconnect: (duration?: number): Message => ({ type: MsgType.DISCONNECT, duration }),
}
