import type { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Access } from '../../src/broker/access.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import type { ConnectionLimits } from '../../src/mqtt/connection-limits.ts'
import { type Connect, type Packet, PacketType, type SubscriptionRequest } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { packetLine } from './packet-line.ts'
import { Wire } from './wire.ts'

export interface WorldOptions {
  readonly connections?: Partial<ConnectionLimits>
  readonly broker?: Partial<BrokerLimits>
  readonly access?: Access
  /** Nothing is durable before `commit`; without one, everything is at once. */
  readonly store?: DelayedStore
  readonly epoch?: number
}

/** Asks for a session that stays, in the way of each version. */
export const STAYS: Partial<Connect> = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }
export const STAYS_OLD: Partial<Connect> = { cleanStart: false, protocolVersion: 4 }
export const OLD: Partial<Connect> = { protocolVersion: 4 }

/** A real broker behind real bytes, in virtual time, and clients that a test plays packet by packet. */
export class World extends Wire {
  readonly #options: WorldOptions

  constructor(options: WorldOptions = {}) {
    const { connections = {}, broker = {}, access, store, epoch = 0 } = options
    super(connections, { limits: broker, clock: { epoch }, ...(access && { access }), ...(store && { store }) })
    this.#options = options
    this.commitsAtOnce = store === undefined
  }

  override restarted(downMs = 0): World {
    const { store, epoch = 0 } = this.#options
    const kept = store!.crash()
    const again = new World({ ...this.#options, store: kept, epoch: epoch + this.now + downMs })
    for (const record of kept.replay()) again.broker.apply(record as never)
    again.broker.recover(0)
    again.broker.runDownRecovered(0)
    return again
  }

  /** A client whose CONNECT was answered. */
  peer(clientId: string, options: Partial<Connect> = {}): Peer {
    const connection = this.connect({ clientId, ...options })
    this.commit()
    return new Peer(this, connection)
  }
}

export interface PublishOptions {
  readonly qos?: QoS
  readonly id?: number
  readonly retain?: boolean
  readonly dup?: boolean
  readonly properties?: Properties
}

const ACKS = { PUBACK: 4, PUBREC: 5, PUBREL: 6, PUBCOMP: 7 } as const

export class Peer {
  readonly world: World
  readonly connection: number
  /** CONNACK and what came right behind it. */
  readonly greeting: string
  /** The PUBLISH packets behind CONNACK. */
  readonly greeted: readonly Publish[]

  constructor(world: World, connection: number) {
    this.world = world
    this.connection = connection
    const seen = world.packets(connection)
    this.greeting = seen.map((each) => (typeof each === 'string' ? each : packetLine(each))).join()
    this.greeted = seen.filter((each) => each instanceof Publish)
  }

  send(packet: Packet): void {
    this.world.send(this.connection, packet)
  }

  sendHex(hex: string): void {
    this.world.sendHex(this.connection, hex)
  }

  publish(
    topic: string,
    payload: string,
    { qos = 0, id = 1, retain = false, dup = false, properties = {} }: PublishOptions = {},
  ): void {
    const packet = Publish.of(topic, Buffer.from(payload), qos, retain, qos === 0 ? 0 : id, properties)
    packet.dup = dup
    this.send(packet)
  }

  subscribe(filter: string, qos: QoS = 0, options: Partial<SubscriptionRequest> = {}, properties: Properties = {}): void {
    const request = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const, ...options }
    this.send({ type: PacketType.SUBSCRIBE, packetId: 99, subscriptions: [request], properties })
  }

  /** Subscribes, and takes the SUBACK. */
  subscribed(...request: Parameters<Peer['subscribe']>): this {
    this.subscribe(...request)
    this.read()
    return this
  }

  ack(type: keyof typeof ACKS, packetId: number, reasonCode = 0): void {
    this.send({ type: ACKS[type], packetId, reasonCode, properties: {} })
  }

  /** The stream ends without a word. */
  lost(): void {
    this.world.close(this.connection)
  }

  /** The PUBLISH packets that came since the last `read`; other packets are lost. */
  published(): Publish[] {
    return this.world.packets(this.connection).filter((seen) => seen instanceof Publish)
  }

  /** What came since this was asked last, a line each: `a/b=x q1 #1 dup retain`, `PUBREC #1 0x10`, `DISCONNECT 0x93`, `close`. */
  read(): string[] {
    return this.world.lines(this.connection)
  }
}
