import { ByteWriter } from '../../src/base/bytes.ts'
import type { ConnectionId } from '../../src/mqtt/connection.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import { type Connect, type Packet, PacketType } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../../src/mqtt/properties.ts'
import { type ProtocolVersion, Publish, type QoS } from '../../src/mqtt/publish.ts'
import type { Target } from '../../src/upstream/target.ts'
import { type Dialling, type Far, response } from './pair.ts'

/** What a broker answers to a packet; undefined: nothing. 'close': it closes the stream. */
export type Answer = Packet | readonly Packet[] | 'close' | undefined

export interface Stream {
  readonly connection: ConnectionId
  readonly url: string
  readonly framer: Framer
  readonly decoder: PacketDecoder
  /** Of this stream. */
  readonly got: Packet[]
  connect: Connect | undefined
}

/** A far side that does what a test tells it, and otherwise acknowledges everything. */
export class ScriptedFar implements Far {
  readonly streams: Stream[] = []
  /** Of all streams. */
  readonly got: Packet[] = []
  /** Targets that nobody listens on. */
  readonly away = new Set<string>()
  /** What it has sent and has not arrived; undefined: everything arrives at once. */
  onItsWay: (() => void)[] | undefined = undefined
  sessionPresent = false
  connack: Properties = NO_PROPERTIES
  /** The version that it speaks; others are refused, by 3.1.1 in its own words. */
  speaks: readonly ProtocolVersion[] = [3, 4, 5]
  /** Overrides what is usual; 'usual' leaves it. */
  script: (packet: Packet, stream: Stream) => Answer | 'usual' = () => 'usual'
  readonly #near: Dialling

  constructor(near: Dialling) {
    this.#near = near
    near.far = this
  }

  get stream(): Stream {
    return this.streams.at(-1)!
  }

  opened(connection: ConnectionId, target: Target): boolean {
    if (this.away.has(target.url)) return false
    const framer = new Framer(Number.POSITIVE_INFINITY)
    this.streams.push({ connection, url: target.url, framer, decoder: new PacketDecoder('client'), got: [], connect: undefined })
    return true
  }

  wrote(connection: ConnectionId, bytes: Uint8Array): void {
    const stream = this.streams.find((each) => each.connection === connection)!
    const { framer, decoder } = stream
    framer.push(bytes)
    while (framer.next()) {
      const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      if (packet === undefined) throw new Error(`the link sends what is malformed: ${decoder.error!.reason}`)
      if (packet.type === PacketType.PUBLISH) packet.own()
      stream.got.push(packet)
      this.got.push(packet)
      if (packet.type === PacketType.CONNECT) stream.connect = packet
      const scripted = this.script(packet, stream)
      const answer = scripted === 'usual' ? this.usual(packet) : scripted
      if (answer === 'close') {
        this.#near.break(connection, 'closed by the far side')
        return
      }
      for (const each of [answer ?? []].flat()) this.send(each, stream)
    }
  }

  closed(): void {}

  usual(packet: Packet): Answer {
    switch (packet.type) {
      case PacketType.CONNECT:
        if (!this.speaks.includes(packet.protocolVersion)) return this.accept(0x84)
        return this.accept(0)
      case PacketType.PUBLISH:
        if (packet.qos === 0) return undefined
        return response(packet.qos === 1 ? PacketType.PUBACK : PacketType.PUBREC, packet.packetId)
      case PacketType.PUBREC:
        return response(PacketType.PUBREL, packet.packetId)
      case PacketType.PUBREL:
        return response(PacketType.PUBCOMP, packet.packetId)
      case PacketType.SUBSCRIBE:
        return {
          ...{ type: PacketType.SUBACK, packetId: packet.packetId, properties: NO_PROPERTIES },
          reasonCodes: packet.subscriptions.map(({ qos }) => qos),
        }
      case PacketType.UNSUBSCRIBE:
        return {
          type: PacketType.UNSUBACK,
          packetId: packet.packetId,
          reasonCodes: packet.filters.map(() => 0),
          properties: NO_PROPERTIES,
        }
      case PacketType.PINGREQ:
        return { type: PacketType.PINGRESP }
      default:
        return undefined
    }
  }

  accept(reasonCode: number, more: Properties = NO_PROPERTIES): Packet {
    const properties = { ...this.connack, ...more }
    return { type: PacketType.CONNACK, sessionPresent: reasonCode === 0 && this.sessionPresent, reasonCode, properties }
  }

  /** In the words of the version that it speaks, if the client's is another. */
  send(packet: Packet, stream = this.stream): void {
    const writer = new ByteWriter()
    const asked = stream.connect?.protocolVersion ?? 5
    encodePacket(writer, packet, this.speaks.includes(asked) ? asked : this.speaks[0]!)
    this.raw(writer.toBytes(), stream)
  }

  raw(bytes: Uint8Array, stream = this.stream): void {
    if (this.onItsWay === undefined) this.#near.chunk(stream.connection, bytes)
    else this.onItsWay.push(() => this.#near.chunk(stream.connection, bytes))
  }

  publish(topic: string, text: string, qos: QoS, packetId: number, properties: Properties = NO_PROPERTIES, dup = false): void {
    const message = Publish.of(topic, Buffer.from(text), qos, false, packetId, properties)
    message.dup = dup
    this.send(message)
    this.#near.run()
  }

  close(): void {
    this.#near.break(this.stream.connection, 'closed by the far side')
    this.#near.run()
  }

  /** Packets of this type, as `id`, or `id dup`, or the topic of QoS 0. */
  of(type: number, of = this.got): string[] {
    return of.flatMap((packet) => {
      if (packet.type !== type) return []
      if (packet.type === PacketType.PUBLISH) return `${packet.packetId || packet.topic}${packet.dup ? ' dup' : ''}`
      return 'packetId' in packet ? `${packet.packetId}` : ''
    })
  }
}
