import type { BrokerOptions } from '../../src/broker/broker-options.ts'
import type { StreamInfo } from '../../src/mqtt/connection.ts'
import { type Connect, type Packet, PacketType, type SubscriptionRequest } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import type { ProtocolVersion, QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { packetLine } from './packet-line.ts'
import { Wire } from './wire.ts'

export const VERSIONS = [3, 4, 5] as const

/** A session that stays when its connection is gone, in every version. */
export const persistent = (version: ProtocolVersion): Partial<Connect> => ({
  protocolVersion: version,
  cleanStart: false,
  ...(version === 5 && { properties: { sessionExpiryInterval: 3600 } }),
})

/** CONNACK for a session that was there: 3.1 cannot say so. */
export const resumed = (version: ProtocolVersion): string => (version === 3 ? 'CONNACK' : 'CONNACK present')

/** Requests of one SUBSCRIBE: `a/b`, or with options. */
export type Asked = string | (Partial<SubscriptionRequest> & { readonly filter: string })

/** A client at the end of a `Wire`, in any version; what it hears is a line for each packet. */
export class WireClient {
  readonly wire: Wire
  readonly connection: number
  #nextPacketId = 1

  /** Connects; CONNACK is left to be heard. */
  constructor(wire: Wire, options: Partial<Connect> = {}, from: Partial<StreamInfo> = {}) {
    this.wire = wire
    this.connection = wire.connect(options, from)
  }

  /** Connects, and has heard CONNACK. */
  static connect(wire: Wire, options: Partial<Connect> = {}, from: Partial<StreamInfo> = {}): WireClient {
    const client = new WireClient(wire, options, from)
    const [connack] = client.hears()
    if (connack !== 'CONNACK' && connack !== 'CONNACK present') throw new Error(`refused: ${connack}`)
    return client
  }

  send(packet: Packet): void {
    this.wire.send(this.connection, packet)
  }

  sendHex(hex: string): void {
    this.wire.sendHex(this.connection, hex)
  }

  subscribe(asked: Asked | readonly Asked[], qos: QoS = 0, properties: Properties = {}, packetId = 100): void {
    const list = (Array.isArray(asked) ? asked : [asked]) as Asked[]
    const subscriptions = list.map((one) => ({
      qos,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
      ...(typeof one === 'string' ? { filter: one } : one),
    }))
    this.send({ type: PacketType.SUBSCRIBE, packetId, subscriptions, properties })
  }

  /** Subscribes, and has heard SUBACK and what came with it. */
  subscribed(asked: Asked | readonly Asked[], qos: QoS = 0, properties: Properties = {}): this {
    this.subscribe(asked, qos, properties)
    this.hears()
    return this
  }

  unsubscribe(filters: string | readonly string[], packetId = 101): void {
    const list = (Array.isArray(filters) ? filters : [filters]) as string[]
    this.send({ type: PacketType.UNSUBSCRIBE, packetId, filters: list, properties: {} })
  }

  publish(topic: string, payload = 'x', qos: QoS = 0, more: { retain?: boolean; properties?: Properties } = {}): void {
    const packetId = qos === 0 ? 0 : this.#nextPacketId++
    this.send(Publish.of(topic, Buffer.from(payload), qos, more.retain ?? false, packetId, more.properties ?? {}))
  }

  /** PUBACK 4, PUBREC 5, PUBREL 6, PUBCOMP 7. */
  ack(type: 4 | 5 | 6 | 7, packetId: number, reasonCode = 0): void {
    this.send({ type, packetId, reasonCode, properties: {} })
  }

  disconnect(reasonCode = 0, properties: Properties = {}): void {
    this.send({ type: PacketType.DISCONNECT, reasonCode, properties })
  }

  auth(reasonCode: number, properties: Properties): void {
    this.send({ type: PacketType.AUTH, reasonCode, properties })
  }

  /** The connection goes without a word. */
  lost(): void {
    this.wire.close(this.connection)
  }

  /** What came since this was asked last: `a/b=x q1 #1 dup retain ids 3,9`, `SUBACK #100 0x00 0x8f`, `DISCONNECT 0x82`, `close`. */
  hears(): string[] {
    return this.packets().map((seen) => (seen === 'close' ? seen : packetLine(seen)))
  }

  /** The same as packets. */
  packets(): (Packet | 'close')[] {
    return this.wire.packets(this.connection).filter((seen) => seen !== 'pause' && seen !== 'resume')
  }
}

export const world = (options: Partial<BrokerOptions> = {}): Wire => new Wire({}, options)
