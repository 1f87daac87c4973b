import { ByteWriter } from '../base/bytes.ts'
import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import type { NoticeSink } from '../base/notice.ts'
import { Timers } from '../base/timers.ts'
import { Connection, type ConnectionId, KEEP_ALIVE_FACTOR } from './connection.ts'
import { encodePacket } from './encode.ts'
import { writeDelivery } from './encode-delivery.ts'
import { type Delivery, type LinkId, type LinkInfo, OutgoingType, type Uplink } from './link.ts'
import { type Connack, type Packet, PacketType } from './packets.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'
import type { Publish } from './publish.ts'
import { ReasonCode } from './reason-codes.ts'
import { Slab } from './slab.ts'

export interface ConnectionLimits {
  /** Bytes of one packet, fixed header included. */
  readonly maxPacketSize: number
  /** The same for CONNECT, while nobody knows who is there. */
  readonly maxConnectPacketSize: number
  readonly connectTimeoutMs: number
  readonly maxConnections: number
  /** Seconds; a 5.0 client that asks for more is told this instead (MQTT-3.1.2-21). */
  readonly maxKeepAlive: number
  /** Topic aliases a 5.0 client may use; its connection's memory for them. */
  readonly topicAliasMaximum: number
}

export const DEFAULT_CONNECTION_LIMITS: ConnectionLimits = {
  maxPacketSize: 1024 * 1024,
  maxConnectPacketSize: 64 * 1024,
  connectTimeoutMs: 10_000,
  maxConnections: 10_000,
  maxKeepAlive: 65_535,
  topicAliasMaximum: 10,
}

/** Where a byte stream comes from, as its listener knows it. */
export type StreamInfo = Omit<LinkInfo, 'kind'>

export type ConnectionOutput =
  | { readonly kind: 'write'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /** Everything written before goes out first; then the stream ends, whether the peer reads or not. */
  | { readonly kind: 'close'; readonly connection: ConnectionId }
  /** Read nothing more from this peer for now. */
  | { readonly kind: 'pause' | 'resume'; readonly connection: ConnectionId }

/**
 * All byte streams that speak MQTT, whatever carries them: chunks in, packets to the broker's links, packets back, one write per
 * connection and turn. Owns what belongs to a connection and not to a session: framing, version, keep alive, topic aliases.
 */
export class Connections {
  readonly #uplink: Uplink
  readonly #limits: ConnectionLimits
  readonly #notice: NoticeSink
  readonly #connections = new Map<ConnectionId, Connection>()
  readonly #byLink = new Map<LinkId, Connection>()
  readonly #timers = new Timers<Connection>()
  readonly #outputs = new Fifo<ConnectionOutput>()
  readonly #slab = new Slab()
  readonly #writer = new ByteWriter(256)

  constructor(uplink: Uplink, limits: Partial<ConnectionLimits>, notice: NoticeSink) {
    this.#uplink = uplink
    this.#limits = { ...DEFAULT_CONNECTION_LIMITS, ...limits }
    this.#notice = notice
  }

  get size(): number {
    return this.#connections.size
  }

  owns(link: LinkId): boolean {
    return this.#byLink.has(link)
  }

  open(now: Instant, id: ConnectionId, from: StreamInfo): void {
    const { peer } = from
    if (this.#connections.size >= this.#limits.maxConnections) {
      this.#notice({ code: 'limit-reached', level: 'warn', peer, reason: 'max_connections' })
      this.#outputs.push({ kind: 'close', connection: id })
      return
    }
    const link = this.#uplink.open(now, { kind: 'mqtt', ...from })
    const connection = new Connection(id, peer, link, this.#limits.maxConnectPacketSize)
    this.#connections.set(id, connection)
    this.#byLink.set(link.id, connection)
    this.#timers.arm(connection.timer, now + this.#limits.connectTimeoutMs)
  }

  chunk(now: Instant, id: ConnectionId, bytes: Uint8Array): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    if (!connection.started) {
      connection.started = true
      if (bytes[0]! >> 4 !== PacketType.CONNECT) {
        // Known from the first byte, so nothing of it is buffered (MQTT-3.1.0-1).
        this.#notice({ code: 'protocol-error', level: 'info', peer: connection.peer, reason: 'the first packet is not CONNECT' })
        this.#end(connection, undefined)
        connection.link.lost(now, 'the first packet is not CONNECT')
        return
      }
    }
    connection.framer.push(bytes)
    if (!connection.paused) this.#read(now, connection)
  }

  /** The peer's socket takes no more, or takes again: a full socket is a link that does not listen. */
  congested(now: Instant, id: ConnectionId, on: boolean): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    connection.congested = on
    connection.link.listen(now, !on)
    // Who does not read is not read either: its own requests would pile up answers.
    if (on) this.#outputs.push({ kind: 'pause', connection: id })
    else if (!connection.paused) this.#outputs.push({ kind: 'resume', connection: id })
  }

  /** The stream is gone. */
  closed(now: Instant, id: ConnectionId, reason: string): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    // What had come before the end counts, DISCONNECT above all; nobody is left to answer, so a pause means nothing any more.
    while (connection.paused && !connection.gone) {
      connection.paused = false
      this.#read(now, connection)
    }
    if (connection.gone) return
    this.#forget(connection)
    connection.link.lost(now, reason)
  }

  /** The broker has something for this link: writes all it can take. */
  linkReady(now: Instant, link: LinkId): void {
    const connection = this.#byLink.get(link)
    if (connection === undefined || !this.#writeAll(now, connection)) return
    this.#flush(connection)
    if (connection.paused) this.#resume(now, connection)
  }

  /** Writes everything that the link gives; false if it gave its end. */
  #writeAll(now: Instant, connection: Connection): boolean {
    const { version } = connection.decoder
    const slab = this.#slab
    for (let out = connection.link.poll(now); out !== undefined; out = connection.link.poll(now)) {
      if (out.type === OutgoingType.DELIVERY) {
        if (!writeDelivery(slab, out, version, now, connection.maxPacketSize)) this.#tooLarge(now, connection, out)
      } else if (out.type === OutgoingType.CLOSE) {
        this.#end(connection, out.disconnect ? out.reasonCode : undefined)
        return false
      } else if (out.type === PacketType.CONNACK) this.#connack(now, connection, out)
      else this.#write(out, connection)
    }
    return true
  }

  handleTimeout(now: Instant): void {
    for (let timer = this.#timers.expired(now); timer !== undefined; timer = this.#timers.expired(now)) {
      this.#timedOut(now, timer.owner)
    }
  }

  nextTimeout(): Instant | undefined {
    return this.#timers.next()
  }

  poll(): ConnectionOutput | undefined {
    return this.#outputs.shift()
  }

  #read(now: Instant, connection: Connection): void {
    const { framer, decoder, link } = connection
    while (framer.next()) {
      const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      if (packet === undefined) {
        this.#malformed(now, connection, decoder.error!)
        return
      }
      connection.lastReceived = now
      if (packet.type === PacketType.PUBLISH) {
        if (packet.properties !== NO_PROPERTIES && !this.#resolveAlias(now, connection, packet)) return
      } else if (packet.type === PacketType.CONNECT) connection.connecting(packet, this.#limits.maxPacketSize)
      if (link.send(now, packet) === 'pause') {
        connection.paused = true
        this.#outputs.push({ kind: 'pause', connection: connection.id })
        return
      }
      if (connection.gone) return
    }
    if (framer.error !== undefined) this.#malformed(now, connection, framer.error)
  }

  /** The client does not take packets of this size: as if it had been sent and acknowledged (MQTT-3.1.2-25), but not in silence. */
  #tooLarge(now: Instant, { link, peer, maxPacketSize }: Connection, { message, qos, packetId }: Delivery): void {
    const client = link.session
    const reason = `message on ${message.topic} is above the client's Maximum Packet Size of ${maxPacketSize}`
    this.#notice({ code: 'message-dropped', level: 'info', ...(client !== undefined && { client }), peer, reason })
    if (qos === 1) link.send(now, { type: PacketType.PUBACK, packetId, reasonCode: 0, properties: NO_PROPERTIES })
    // A PUBREC that refuses ends the exchange at once.
    else if (qos === 2)
      link.send(now, { type: PacketType.PUBREC, packetId, reasonCode: ReasonCode.PACKET_TOO_LARGE, properties: NO_PROPERTIES })
  }

  #resume(now: Instant, connection: Connection): void {
    connection.paused = false
    this.#read(now, connection)
    if (!connection.paused && !connection.congested) this.#outputs.push({ kind: 'resume', connection: connection.id })
  }

  /** Topic aliases live and die with the connection (MQTT-3.3.2-7). */
  #resolveAlias(now: Instant, connection: Connection, packet: Publish): boolean {
    const alias = packet.properties.topicAlias
    if (alias === undefined) return true
    if (alias > this.#limits.topicAliasMaximum) {
      const reason = `topic alias ${alias} is above ${this.#limits.topicAliasMaximum}`
      this.#malformed(now, connection, {
        kind: 'malformed',
        reason,
        rule: 'MQTT-3.3.2-9',
        reasonCode: ReasonCode.TOPIC_ALIAS_INVALID,
      })
      return false
    }
    connection.aliases ??= new Map()
    if (packet.topic !== '') {
      connection.aliases.set(alias, packet.topic)
      return true
    }
    const topic = connection.aliases.get(alias)
    if (topic === undefined) {
      const reason = `topic alias ${alias} was never set`
      this.#malformed(now, connection, {
        kind: 'malformed',
        reason,
        rule: '5.0 section 3.3.4',
        reasonCode: ReasonCode.PROTOCOL_ERROR,
      })
      return false
    }
    packet.topic = topic
    return true
  }

  #connack(now: Instant, connection: Connection, connack: Connack): void {
    if (connack.reasonCode !== 0) {
      this.#write(connack, connection)
      return
    }
    connection.isConnected = true
    const { topicAliasMaximum, maxPacketSize: maximumPacketSize, maxKeepAlive } = this.#limits
    const properties: Properties = { ...connack.properties, topicAliasMaximum, maximumPacketSize }
    if (connection.decoder.version === 5 && connection.keepAliveMs > maxKeepAlive * KEEP_ALIVE_FACTOR) {
      properties.serverKeepAlive = maxKeepAlive
      connection.keepAliveMs = maxKeepAlive * KEEP_ALIVE_FACTOR
    }
    if (connection.keepAliveMs > 0) this.#timers.arm(connection.timer, now + connection.keepAliveMs)
    else this.#timers.disarm(connection.timer)
    this.#write({ ...connack, properties }, connection)
  }

  #write(packet: Packet, connection: Connection): void {
    const writer = this.#writer
    writer.length = 0
    encodePacket(writer, packet, connection.decoder.version)
    this.#slab.reserve(writer.length)
    this.#slab.copy(writer.bytes, 0, writer.length)
  }

  #flush(connection: Connection): void {
    for (const bytes of this.#slab.take()) this.#outputs.push({ kind: 'write', connection: connection.id, bytes })
  }

  #timedOut(now: Instant, connection: Connection): void {
    if (connection.isConnected) {
      // A packet only notes the time; the deadline moves when it comes.
      const due = connection.lastReceived + connection.keepAliveMs
      if (due > now) {
        this.#timers.arm(connection.timer, due)
        return
      }
      this.#end(connection, ReasonCode.KEEP_ALIVE_TIMEOUT)
      connection.link.lost(now, 'keep alive')
      return
    }
    this.#notice({
      code: 'client-refused',
      level: 'info',
      peer: connection.peer,
      reason: 'no CONNECT in time (connect_timeout_seconds)',
    })
    this.#end(connection, undefined)
    connection.link.lost(now, 'no CONNECT in time')
  }

  #malformed(now: Instant, connection: Connection, { reason, rule, reasonCode }: Malformed): void {
    const { session } = connection.link
    const who = session === undefined ? {} : { client: session }
    const told = rule === undefined ? reason : `${reason} (${rule})`
    this.#notice({ code: 'malformed-packet', level: 'info', ...who, peer: connection.peer, reason: told })
    // The answers to what came before it in the same chunk, CONNACK above all.
    if (!this.#writeAll(now, connection)) return
    if (!connection.isConnected && connection.refusesWithConnack(reasonCode)) {
      this.#write({ type: PacketType.CONNACK, sessionPresent: false, reasonCode, properties: NO_PROPERTIES }, connection)
    }
    this.#end(connection, connection.isConnected ? reasonCode : undefined)
    connection.link.lost(now, told)
  }

  /** Ends the stream; a connected 5.0 peer is told why (MQTT-3.14.0-1 forbids it before CONNACK). */
  #end(connection: Connection, reasonCode: number | undefined): void {
    if (reasonCode !== undefined && connection.isConnected && connection.decoder.version === 5) {
      this.#write({ type: PacketType.DISCONNECT, reasonCode, properties: NO_PROPERTIES }, connection)
    }
    this.#flush(connection)
    this.#outputs.push({ kind: 'close', connection: connection.id })
    this.#forget(connection)
  }

  #forget(connection: Connection): void {
    connection.gone = true
    this.#timers.disarm(connection.timer)
    this.#connections.delete(connection.id)
    this.#byLink.delete(connection.link.id)
  }
}

export type { ConnectionId }
