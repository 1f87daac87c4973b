import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { assert } from '../../src/base/assert.ts'
import type { Notice } from '../../src/base/notice.ts'
import { Broker } from '../../src/broker/broker.ts'
import type { BrokerOptions } from '../../src/broker/broker-options.ts'
import type { ClientLink } from '../../src/broker/client-link.ts'
import type { ClientKind, LinkInfo } from '../../src/mqtt/link.ts'
import { type Connect, type Packet, PacketType, type SubscriptionRequest, type Will } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../../src/mqtt/properties.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { MemoryStore, type Store } from '../../src/store/store.ts'

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
export const bytes = (value: string): Uint8Array => Buffer.from(value)

export const will = (topic: string, payload: string, qos: QoS = 0, properties: Properties = {}, retain = false): Will => ({
  topic,
  payload: bytes(payload),
  qos,
  retain,
  properties,
})

/** A broker with virtual time, and clients that speak to it through links. */
export class TestBroker {
  now = 0
  readonly notices: Notice[] = []
  readonly broker: Broker
  readonly store: Store

  constructor(options: Partial<BrokerOptions> = {}, store: Store = new MemoryStore(), epoch = 0) {
    this.store = store
    this.broker = new Broker({
      store,
      clock: { epoch },
      notice: (notice) => this.notices.push(notice),
      random: () => 0.5,
      ...options,
    })
  }

  /** A new process on what the store of the old one has kept, of which so many records were folded into rows. */
  static restarted(store: DelayedStore, epoch: number, folded = store.durable, options: Partial<BrokerOptions> = {}): TestBroker {
    const again = new TestBroker(options, store.crash({ folded }), epoch)
    for (const record of again.store.replay()) if (!record.type.startsWith('sn-')) again.broker.apply(record as never)
    again.broker.recover(0)
    again.broker.runDownRecovered(0)
    return again
  }

  advance(ms: number): void {
    const until = this.now + ms
    for (let at = this.broker.nextTimeout(); at !== undefined && at <= until; at = this.broker.nextTimeout()) {
      this.now = Math.max(this.now, at)
      this.turn()
    }
    this.now = until
  }

  /** One turn of the event loop, in which nothing comes in. */
  turn(): void {
    this.broker.endTurn()
    this.broker.handleTimeout(this.now)
  }

  /** Everything appended so far becomes durable. */
  commit(): void {
    ;(this.store as DelayedStore).commit()
    this.broker.handleDurable()
  }

  codes(): string[] {
    return this.notices.map(({ code }) => code)
  }

  open(more: Partial<LinkInfo> = {}): TestClient {
    return new TestClient(this, this.broker.open(this.now, { kind: 'mqtt', peer: 'test', listener: 'mqtt', ...more }))
  }

  /** A client whose CONNECT was accepted, with CONNACK taken. */
  connect(clientId: string, options: Partial<Connect> = {}, kind: ClientKind = 'mqtt'): TestClient {
    const client = this.open({ kind })
    client.send(connectPacket(clientId, options))
    if (this.store instanceof DelayedStore) this.commit()
    const connack = client.link.poll(this.now)
    assert(connack?.type === PacketType.CONNACK, `CONNACK for ${clientId}`)
    return client
  }
}

export const connectPacket = (clientId: string, options: Partial<Connect> = {}): Connect => ({
  type: PacketType.CONNECT,
  protocolVersion: 5,
  bridge: false,
  clientId,
  cleanStart: true,
  keepAlive: 0,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: NO_PROPERTIES,
  ...options,
})

export const PERSISTENT: Partial<Connect> = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }

export class TestClient {
  readonly world: TestBroker
  readonly link: ClientLink

  constructor(world: TestBroker, link: ClientLink) {
    this.world = world
    this.link = link
  }

  send(packet: Packet): 'go' | 'pause' {
    // Each packet has a turn of its own.
    this.world.broker.endTurn()
    return this.link.send(this.world.now, packet)
  }

  publish(
    topic: string,
    payload: string,
    qos: QoS = 0,
    packetId = qos === 0 ? 0 : 1,
    more: { retain?: boolean; properties?: Properties } = {},
  ): void {
    this.send(Publish.of(topic, bytes(payload), qos, more.retain ?? false, packetId, more.properties ?? NO_PROPERTIES))
  }

  subscribe(filter: string, qos: QoS = 0, more: Partial<SubscriptionRequest> = {}, properties: Properties = NO_PROPERTIES): void {
    const request = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const, ...more }
    this.send({ type: PacketType.SUBSCRIBE, packetId: 100, subscriptions: [request], properties })
  }

  unsubscribe(filter: string): void {
    this.send({ type: PacketType.UNSUBSCRIBE, packetId: 101, filters: [filter], properties: NO_PROPERTIES })
  }

  ack(type: 4 | 5 | 6 | 7, packetId: number, reasonCode = 0): void {
    this.send({ type, packetId, reasonCode, properties: NO_PROPERTIES })
  }

  disconnect(reasonCode = 0, properties: Properties = NO_PROPERTIES): void {
    this.send({ type: PacketType.DISCONNECT, reasonCode, properties })
  }

  lost(): void {
    this.link.lost(this.world.now, 'test')
  }

  /** Everything that may leave now, a line each: `PUBLISH a/b=x q1 #1 dup retain`, `PUBACK #1`, `CLOSE 142`. */
  poll(): string[] {
    const lines: string[] = []
    for (let out = this.link.poll(this.world.now); out !== undefined; out = this.link.poll(this.world.now))
      lines.push(line(out as never))
    return lines
  }
}

const NAMES = ['DELIVERY', ...Object.keys(PacketType), 'CLOSE']

function line(out: Record<string, unknown> & { type: number }): string {
  if (out.type === 0) {
    const { message, qos, packetId, dup, retain, subscriptionIdentifiers } = out as never as {
      message: Publish
      qos: number
      packetId: number
      dup: boolean
      retain: boolean
      subscriptionIdentifiers?: number[]
    }
    const id = packetId === 0 ? '' : ` #${packetId}`
    const ids = subscriptionIdentifiers === undefined ? '' : ` ids ${subscriptionIdentifiers.join(',')}`
    return `${message.topic}=${text(message.payload)} q${qos}${id}${dup ? ' dup' : ''}${retain ? ' retain' : ''}${ids}`
  }
  const id = 'packetId' in out ? ` #${out.packetId}` : ''
  const codes = 'reasonCodes' in out ? out.reasonCodes : 'reasonCode' in out ? out.reasonCode : ''
  const code = String(codes) === '' || String(codes) === '0' ? '' : ` ${String(codes)}`
  return `${NAMES[out.type]}${id}${code}${out.sessionPresent === true ? ' present' : ''}`
}
