import { ByteWriter } from '../base/bytes.ts'
import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import { PacketDecoder } from './decode.ts'
import { encodePacket } from './encode.ts'
import { Framer } from './framer.ts'
import { type Packet, PacketType, type PublishResponse, type SubscriptionRequest, type Will } from './packets.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'
import type { ProtocolVersion, QoS } from './publish.ts'
import { Publish } from './publish.ts'
import { ReasonCode } from './reason-codes.ts'

export interface MqttClientOptions {
  readonly clientId: string
  readonly version?: ProtocolVersion
  /** Sets the bridge bit in CONNECT, as Mosquitto's bridges do, before 5.0. */
  readonly bridge?: boolean
  readonly cleanStart?: boolean
  readonly keepAliveSeconds?: number
  readonly will?: Will
  readonly username?: string
  readonly password?: Uint8Array
  readonly properties?: Properties
  /** Maximum size of an incoming packet in bytes. */
  readonly maxPacketSize?: number
}

export type MqttEvent =
  | { readonly event: 'connected'; readonly sessionPresent: boolean; readonly properties: Properties }
  | { readonly event: 'refused'; readonly reasonCode: number }
  /** A QoS 1 or 2 message is fully acknowledged, or refused with this reason code. */
  | { readonly event: 'published'; readonly packetId: number; readonly reasonCode: number }
  | { readonly event: 'subscribed'; readonly packetId: number; readonly reasonCodes: readonly number[] }
  | { readonly event: 'unsubscribed'; readonly packetId: number; readonly reasonCodes: readonly number[] }
  | { readonly event: 'message'; readonly message: Publish }
  | { readonly event: 'disconnected'; readonly reasonCode: number; readonly reason: string }

export type MqttClientOutput =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** End the stream, after everything written so far has been sent. */
  | { readonly kind: 'close' }
  | ({ readonly kind: 'event' } & MqttEvent)

export interface PublishRequest {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos?: QoS
  readonly retain?: boolean
  readonly properties?: Properties
}

/** QoS 1 and 2 messages that may be queued for the server's window or for a connection. */
const QUEUE_MAX = 10_000

/** A message in flight. */
interface OutgoingPublish {
  readonly message: Publish
  /** PUBREC has arrived. */
  released: boolean
}

/**
 * An MQTT client without a socket, for tests, the simulator and the command line; 3.1, 3.1.1 and 5.0. The session outlives the
 * stream: after `connect` over a new one, unacknowledged messages are sent again in order (MQTT-4.4.0-1), or as new ones if the
 * server has no session.
 */
export class MqttClient {
  readonly clientId: string
  state: 'closed' | 'connecting' | 'connected' = 'closed'
  readonly #options: MqttClientOptions
  readonly #version: ProtocolVersion
  readonly #outputs = new Fifo<MqttClientOutput>()
  readonly #writer = new ByteWriter()
  #framer: Framer
  #decoder: PacketDecoder
  readonly #inflight = new Map<number, OutgoingPublish>()
  readonly #queue = new Fifo<Publish>()
  readonly #received = new Set<number>()
  readonly #requests = new Set<number>()
  #receiveMaximum = 0xffff
  #lastPacketId = 0
  #keepAliveMs = 0
  #pingAt: Instant | undefined = undefined
  #pongBy: Instant | undefined = undefined

  constructor(options: MqttClientOptions) {
    this.#options = options
    this.clientId = options.clientId
    this.#version = options.version ?? 5
    this.#framer = this.#newFramer()
    this.#decoder = new PacketDecoder('server', this.#version)
  }

  /** Whether all messages and requests have been acknowledged. */
  get idle(): boolean {
    return this.#inflight.size === 0 && this.#queue.length === 0 && this.#requests.size === 0
  }

  // --- Commands

  /** Sends CONNECT over a stream that has just been opened. */
  connect(now: Instant): void {
    const {
      clientId,
      bridge = false,
      cleanStart = true,
      keepAliveSeconds = 60,
      will,
      username,
      password,
      properties = NO_PROPERTIES,
    } = this.#options
    this.#framer = this.#newFramer()
    this.#decoder = new PacketDecoder('server', this.#version)
    this.#requests.clear()
    this.state = 'connecting'
    this.#keepAliveMs = keepAliveSeconds * 1000
    this.#pongBy = undefined
    this.#send(now, {
      type: PacketType.CONNECT,
      protocolVersion: this.#version,
      bridge,
      clientId,
      cleanStart,
      keepAlive: keepAliveSeconds,
      will,
      username,
      password,
      properties,
    })
  }

  /** Returns the packet id: 0 for QoS 0, `undefined` if the queue is full. A QoS 0 message without a connection is lost. */
  publish(
    now: Instant,
    { topic, payload, qos = 0, retain = false, properties = NO_PROPERTIES }: PublishRequest,
  ): number | undefined {
    if (qos === 0) {
      if (this.state === 'connected') this.#send(now, Publish.of(topic, payload, 0, retain, 0, properties))
      return 0
    }
    if (this.#queue.length >= QUEUE_MAX) return undefined
    const message = Publish.of(topic, payload, qos, retain, this.#nextPacketId(), properties)
    this.#queue.push(message)
    this.#sendQueued(now)
    return message.packetId
  }

  subscribe(
    now: Instant,
    filters: readonly (Partial<SubscriptionRequest> & { filter: string })[],
    properties: Properties = NO_PROPERTIES,
  ): number {
    const packetId = this.#nextPacketId()
    this.#requests.add(packetId)
    const subscriptions = filters.map((request) => ({
      qos: 0 as QoS,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
      ...request,
    }))
    this.#send(now, { type: PacketType.SUBSCRIBE, packetId, subscriptions, properties })
    return packetId
  }

  unsubscribe(now: Instant, filters: readonly string[]): number {
    const packetId = this.#nextPacketId()
    this.#requests.add(packetId)
    this.#send(now, { type: PacketType.UNSUBSCRIBE, packetId, filters, properties: NO_PROPERTIES })
    return packetId
  }

  disconnect(now: Instant, reasonCode = 0, properties: Properties = NO_PROPERTIES): void {
    if (this.state === 'closed') return
    this.#send(now, { type: PacketType.DISCONNECT, reasonCode, properties })
    this.#end(0, 'disconnected by us')
  }

  // --- Inputs

  handleChunk(now: Instant, bytes: Uint8Array): void {
    if (this.state === 'closed') return
    const framer = this.#framer
    framer.push(bytes)
    while (framer.next()) {
      const packet = this.#decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      if (packet === undefined) {
        this.#end(this.#decoder.error!.reasonCode, this.#decoder.error!.reason)
        return
      }
      this.#packet(now, packet)
      if ((this.state as string) === 'closed') return
    }
    if (framer.error !== undefined) this.#end(framer.error.reasonCode, framer.error.reason)
  }

  /** The stream is gone. The session waits for the next `connect`. */
  handleClosed(): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.#pingAt = undefined
    this.#pongBy = undefined
    this.#tell({ event: 'disconnected', reasonCode: 0, reason: 'stream closed' })
  }

  handleTimeout(now: Instant): void {
    if (this.#pongBy !== undefined && this.#pongBy <= now) {
      this.#end(0x8d, 'no PINGRESP')
      return
    }
    if (this.#pingAt === undefined || this.#pingAt > now) return
    this.#send(now, { type: PacketType.PINGREQ })
    this.#pongBy ??= now + this.#keepAliveMs
  }

  nextTimeout(): Instant | undefined {
    if (this.state !== 'connected') return undefined
    if (this.#pingAt === undefined) return this.#pongBy
    return this.#pongBy === undefined ? this.#pingAt : Math.min(this.#pingAt, this.#pongBy)
  }

  poll(): MqttClientOutput | undefined {
    return this.#outputs.shift()
  }

  // --- Inside

  #packet(now: Instant, packet: Packet): void {
    switch (packet.type) {
      case PacketType.CONNACK:
        if (packet.reasonCode !== 0) {
          this.#tell({ event: 'refused', reasonCode: packet.reasonCode })
          this.#end(packet.reasonCode, 'refused')
        } else this.#connected(now, packet.sessionPresent, packet.properties)
        return
      case PacketType.PUBLISH:
        this.#message(now, packet)
        return
      case PacketType.PUBREL:
        this.#received.delete(packet.packetId)
        this.#send(now, response(PacketType.PUBCOMP, packet.packetId))
        return
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#acknowledged(now, packet)
        return
      case PacketType.SUBACK:
        if (this.#requests.delete(packet.packetId))
          this.#tell({ event: 'subscribed', packetId: packet.packetId, reasonCodes: packet.reasonCodes })
        return
      case PacketType.UNSUBACK:
        if (this.#requests.delete(packet.packetId))
          this.#tell({ event: 'unsubscribed', packetId: packet.packetId, reasonCodes: packet.reasonCodes })
        return
      case PacketType.PINGRESP:
        this.#pongBy = undefined
        return
      case PacketType.DISCONNECT:
        this.#end(packet.reasonCode, 'disconnected by the server')
        return
      default:
    }
  }

  #connected(now: Instant, said: boolean, properties: Properties): void {
    this.state = 'connected'
    // CONNACK of 3.1 has no Session Present: a session without Clean Session is taken to be present.
    const sessionPresent = said || (this.#version === 3 && this.#options.cleanStart === false)
    this.#receiveMaximum = properties.receiveMaximum ?? 0xffff
    if (properties.serverKeepAlive !== undefined) this.#keepAliveMs = properties.serverKeepAlive * 1000
    if (!sessionPresent) this.#received.clear()
    this.#tell({ event: 'connected', sessionPresent, properties })
    for (const [packetId, inflight] of this.#inflight) {
      if (inflight.released && sessionPresent) this.#send(now, response(PacketType.PUBREL, packetId))
      else if (inflight.released) {
        // The server lost the session, and with it its receipt of this message: it counts as delivered.
        this.#inflight.delete(packetId)
        this.#tell({ event: 'published', packetId, reasonCode: 0 })
      } else {
        inflight.message.dup = sessionPresent
        this.#send(now, inflight.message)
      }
    }
    this.#sendQueued(now)
  }

  #message(now: Instant, message: Publish): void {
    const { qos, packetId } = message
    if (qos === 2) {
      const again = this.#received.has(packetId)
      this.#received.add(packetId)
      this.#send(now, response(PacketType.PUBREC, packetId))
      if (again) return
    } else if (qos === 1) this.#send(now, response(PacketType.PUBACK, packetId))
    message.own()
    this.#tell({ event: 'message', message })
  }

  #acknowledged(now: Instant, { type, packetId, reasonCode }: PublishResponse): void {
    const inflight = this.#inflight.get(packetId)
    if (inflight !== undefined && isWrongKind(inflight, type)) {
      this.#send(now, { type: PacketType.DISCONNECT, reasonCode: ReasonCode.PROTOCOL_ERROR, properties: NO_PROPERTIES })
      this.#end(ReasonCode.PROTOCOL_ERROR, 'acknowledgement of the wrong kind')
      return
    }
    if (type === PacketType.PUBREC && reasonCode < 0x80) {
      if (inflight !== undefined) inflight.released = true
      this.#send(now, response(PacketType.PUBREL, packetId))
      return
    }
    if (inflight === undefined) return
    this.#inflight.delete(packetId)
    this.#tell({ event: 'published', packetId, reasonCode: type === PacketType.PUBCOMP ? 0 : reasonCode })
    this.#sendQueued(now)
  }

  #sendQueued(now: Instant): void {
    while (this.state === 'connected' && this.#queue.length > 0 && this.#inflight.size < this.#receiveMaximum) {
      const message = this.#queue.shift()!
      this.#inflight.set(message.packetId, { message, released: false })
      this.#send(now, message)
    }
  }

  #send(now: Instant, packet: Packet): void {
    const writer = this.#writer
    writer.length = 0
    encodePacket(writer, packet, this.#version)
    this.#outputs.push({ kind: 'bytes', bytes: writer.toBytes() })
    this.#pingAt = this.#keepAliveMs > 0 ? now + this.#keepAliveMs : undefined
  }

  #end(reasonCode: number, reason: string): void {
    this.state = 'closed'
    this.#pingAt = undefined
    this.#pongBy = undefined
    this.#outputs.push({ kind: 'close' })
    this.#tell({ event: 'disconnected', reasonCode, reason })
  }

  #tell(event: MqttEvent): void {
    this.#outputs.push({ kind: 'event', ...event })
  }

  #newFramer(): Framer {
    return new Framer(this.#options.maxPacketSize ?? 1024 * 1024)
  }

  #nextPacketId(): number {
    do this.#lastPacketId = this.#lastPacketId === 0xffff ? 1 : this.#lastPacketId + 1
    while (this.#inflight.has(this.#lastPacketId) || this.#requests.has(this.#lastPacketId))
    return this.#lastPacketId
  }
}

/** PUBACK answers QoS 1 alone, PUBREC and PUBCOMP answer QoS 2, and PUBCOMP answers PUBREL. */
function isWrongKind({ message, released }: { message: Publish; released: boolean }, type: PublishResponse['type']): boolean {
  if (message.qos === 1) return type !== PacketType.PUBACK
  return type === PacketType.PUBACK || (type === PacketType.PUBCOMP && !released)
}

const response = (type: PublishResponse['type'], packetId: number): PublishResponse => ({
  type,
  packetId,
  reasonCode: 0,
  properties: NO_PROPERTIES,
})
