import type { ClientFigures } from '../base/client-figures.ts'
import { foreignProtocol } from '../base/foreign-protocol.ts'
import type { Instant } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import { Memory } from '../base/memory.ts'
import type { NoticeSink } from '../base/notice.ts'
import { STEPS_PER_TURN } from '../store/pace.ts'
import { Connection, type ConnectionId, type StreamInfo } from './connection.ts'
import { ConnectionAdmission } from './connection-admission.ts'
import { type ConnectionLimits, DEFAULT_CONNECTION_LIMITS, limitsOfListener } from './connection-limits.ts'
import { Deadlines, whyLate } from './deadlines.ts'
import { PACKET_MAX } from './encode.ts'
import { writeDelivery } from './encode-delivery.ts'
import { type Delivery, type LinkId, OutgoingType, type Uplink } from './link.ts'
import { MountedLink } from './mounted-link.ts'
import { type Connack, type Connect, PacketType } from './packets.ts'
import { NO_PROPERTIES } from './properties.ts'
import type { Publish } from './publish.ts'
import { disconnectCode, hasReturnCode, ReasonCode } from './reason-codes.ts'
import { ReceiveBuffers } from './receive-buffers.ts'
import { type ConnectionOutput, StreamOutput } from './stream-output.ts'
import type { StreamTap } from './stream-tap.ts'
import { Remembered, SHARED_SLOTS } from './topic-names.ts'
import { Traffic } from './traffic.ts'
import { costOf, PROPERTIES_PER_TURN, Turns } from './turns.ts'

const CONNECT_HEADER = PacketType.CONNECT << 4

/**
 * All MQTT byte streams, over any transport: chunks in, packets to the broker's links, packets back, one write per connection and
 * turn. Owns what belongs to a connection and not to a session: framing, version, keep alive, topic aliases.
 */
export class Connections {
  readonly traffic = new Traffic(PacketType.PUBLISH)
  readonly output: StreamOutput
  /** The buffer of the output. The caller of `poll` reports with `slab.written` when the sockets have taken it. */
  readonly slab: StreamOutput['slab']
  /** Where each client is counted. */
  figures: ClientFigures | undefined = undefined
  readonly #uplink: Uplink
  readonly #limits: ConnectionLimits
  readonly #notice: NoticeSink
  readonly #connections = new Map<ConnectionId, Connection>()
  readonly #byLink = new Map<LinkId, Connection>()
  readonly #admission: ConnectionAdmission
  readonly #deadlines: Deadlines
  readonly #turns = new Turns()
  readonly #buffers: ReceiveBuffers
  /** Bytes of topics and aliases that the connections remember. */
  readonly #remembered = new Remembered(SHARED_SLOTS)

  constructor(uplink: Uplink, limits: Partial<ConnectionLimits>, notice: NoticeSink, memory = new Memory()) {
    this.#uplink = uplink
    this.#limits = { ...DEFAULT_CONNECTION_LIMITS, ...limits }
    this.#notice = notice
    this.#admission = new ConnectionAdmission(this.#limits, memory, notice)
    this.#deadlines = new Deadlines(this.#limits.connectTimeoutMs)
    this.output = new StreamOutput(this.traffic, notice)
    this.#buffers = new ReceiveBuffers(this.#limits.maxReceiveBufferBytes, memory.limits.memoryLimit)
    this.slab = this.output.slab
    memory.count('connections', () => this.#admission.bytes + this.#remembered.sum)
    memory.count('receive_buffers', () => this.#buffers.total)
    memory.count('wire_forms', () => this.slab.forms.bytes)
    memory.cache(() => this.slab.forms.clear())
    memory.cache(() => this.#remembered.clear())
  }

  get size(): number {
    return this.#connections.size
  }

  /** Sees every packet; undefined while no trace is on. */
  set tap(tap: StreamTap | undefined) {
    this.output.tap = tap
  }

  /** The process cannot keep up: no new connections for now. */
  set overloaded(on: boolean) {
    this.#admission.overloaded = on
  }

  /** A pause has yet to be passed on to a socket. */
  get urgent(): boolean {
    return this.output.urgent
  }

  of(link: LinkId): Connection | undefined {
    return this.#byLink.get(link)
  }

  /**
   * A stream is being set up, by a TLS handshake or an upgrade, and counts as a connection until `arrived`. Returns the bound
   * that forbids it: then it does not count.
   */
  arriving(now: Instant, from: StreamInfo): string | undefined {
    const limit = this.#admission.refusal(now, from.peer)
    if (limit === undefined) this.#countStream(from, 1)
    return limit
  }

  /** A stream of this peer has been ended, and its socket is not closed yet: it counts as a connection until `arrived`. */
  lingering(from: StreamInfo): void {
    this.#countStream(from, 1)
  }

  /** The stream is gone, or about to be opened. */
  arrived(from: StreamInfo): void {
    this.#countStream(from, -1)
  }

  #countStream({ peer, listener }: StreamInfo, more: 1 | -1): void {
    this.#admission.count(peer, limitsOfListener(this.#limits, listener).streamBytes, more)
  }

  open(now: Instant, id: ConnectionId, from: StreamInfo): void {
    const { peer, listener } = from
    if (this.#admission.refusal(now, peer) !== undefined) {
      this.output.close(id, false)
      return
    }
    const settings = limitsOfListener(this.#limits, listener)
    const link = this.#uplink.open(now, { kind: 'mqtt', ...from, settings })
    const mounted = settings.mountPoint === '' ? link : new MountedLink(link, settings.mountPoint)
    const connection = new Connection(id, peer, mounted, settings, this.#limits, this.#remembered)
    this.#connections.set(id, connection)
    this.#byLink.set(link.id, connection)
    this.#admission.count(peer, settings.streamBytes, 1)
    this.traffic.opened++
    this.#deadlines.awaitConnect(now, connection)
  }

  chunk(now: Instant, id: ConnectionId, bytes: Uint8Array): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    this.traffic.bytesReceived += bytes.length
    connection.counted.bytesReceived += bytes.length
    if (!connection.started) {
      connection.started = true
      // Rejected by its first bytes, so that nothing is buffered. A TLS handshake begins like CONNECT with reserved flags.
      const foreign = bytes[0] === CONNECT_HEADER ? undefined : foreignProtocol(bytes)
      // [MQTT-3.1.0-1]
      if (foreign !== undefined || bytes[0]! >> 4 !== PacketType.CONNECT) {
        const reason =
          foreign === undefined ? 'the first packet is not CONNECT' : `this is ${foreign}, and plain MQTT is spoken here`
        this.#notice({ code: 'protocol-error', level: 'info', peer: connection.peer, reason })
        this.#end(connection, undefined)
        connection.link.lost(now, reason)
        return
      }
    }
    connection.bufferedInFront = 0
    connection.framer.push(bytes)
    if (!connection.paused) {
      if (this.#turns.admits(now, connection)) this.#read(now, connection)
      else {
        connection.paused = true
        this.output.pause(connection)
      }
    }
    this.#boundBuffers(now, connection)
  }

  /** So many bytes of the stream are buffered before the framer, as an incomplete WebSocket message. */
  buffering(now: Instant, id: ConnectionId, bytes: number): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    connection.bufferedInFront = bytes
    const tooLarge = connection.tooLargeInFront(bytes)
    if (tooLarge !== undefined) this.#malformed(now, connection, tooLarge)
    else this.#boundBuffers(now, connection)
  }

  #boundBuffers(now: Instant, connection: Connection): void {
    this.#buffers.update(connection)
    for (let oldest = this.#buffers.excess(); oldest !== undefined; oldest = this.#buffers.excess()) {
      const limit = 'max_receive_buffer_bytes'
      const reason = `a packet of which ${oldest.buffered} bytes have arrived is given up`
      this.#notice({ code: 'limit-reached', level: 'warn', ...oldest.who, reason, limit })
      this.#end(oldest, ReasonCode.QUOTA_EXCEEDED, `packets that are not whole take too much (${limit})`)
      oldest.link.lost(now, reason)
    }
  }

  /** The peer's socket is full, or accepts bytes again: a full socket is a link that does not listen. */
  congested(now: Instant, id: ConnectionId, on: boolean): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    if (connection.congested === on) return
    connection.congested = on
    connection.link.listen(now, !on)
    // A client that does not read is not read either: its requests would pile up answers.
    if (on) this.output.pause(connection)
    else {
      connection.lastReceived = now
      if (!connection.paused) this.output.resume(connection)
    }
  }

  /** The socket has accepted nothing for `write_timeout_seconds`. */
  stuck(now: Instant, id: ConnectionId): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    const reason = 'the socket takes nothing'
    this.#notice({ code: 'limit-reached', level: 'warn', ...connection.who, reason, limit: 'write_timeout_seconds' })
    this.#end(connection, undefined)
    connection.link.lost(now, reason)
  }

  /** The stream is gone. */
  closed(now: Instant, id: ConnectionId, reason: string): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) return
    connection.ended = reason
    this.#turns.last(connection)
    this.#finish(now, connection)
  }

  /**
   * Packets received before the end count, DISCONNECT above all. No answer can be sent, so only the share of the turn limits the
   * reading.
   */
  #finish(now: Instant, connection: Connection): void {
    while (connection.paused && !connection.resting && !connection.gone && connection.link.state !== 'verifying') {
      connection.paused = false
      this.#read(now, connection)
    }
    if (connection.gone || connection.resting) return
    this.#forget(connection)
    connection.link.lost(now, connection.ended!)
  }

  /** The broker has something for this link: writes as much as possible. */
  linkReady(now: Instant, link: LinkId): void {
    const connection = this.#byLink.get(link)
    if (connection === undefined || connection.ended !== undefined || !this.#writeAll(now, connection)) return
    this.output.flush(connection)
    if (connection.paused && !connection.isWaiting) this.#resume(now, connection)
  }

  /** The process was paused for so many milliseconds. */
  paused(now: Instant, ms: number): void {
    this.#deadlines.paused(now, ms)
  }

  handleTimeout(now: Instant): void {
    for (const connection of this.#turns.take()) {
      if (connection.ended !== undefined) this.#finish(now, connection)
      else if (connection.paused && !connection.isWaiting) this.#resume(now, connection)
    }
    for (const { link } of this.#turns.takeUnwritten()) this.linkReady(now, link.id)
    for (let left = STEPS_PER_TURN; left > 0; left--) {
      const timer = this.#deadlines.expired(now)
      if (timer === undefined) break
      const { connection, about } = timer
      if (about === 'silence') {
        if (this.#deadlines.isSilent(now, connection, this.#uplink.hasRoom)) this.#silent(now, connection)
      } else {
        connection.throttled = false
        if (!connection.isWaiting) this.#resume(now, connection)
      }
    }
  }

  nextTimeout(): Instant | undefined {
    return this.#turns.next() ?? this.#deadlines.next()
  }

  /** `undefined`: everything has been written, and the turn is over unless it `continues`. */
  poll(continues = false): ConnectionOutput | undefined {
    const output = this.output.poll()
    if (output !== undefined) return output
    this.#turns.end(continues)
    this.output.endTurn()
    return undefined
  }

  #read(now: Instant, connection: Connection): void {
    this.#readPackets(now, connection)
    connection.framer.release()
    connection.decoder.release()
  }

  #readPackets(now: Instant, connection: Connection): void {
    const { framer, decoder, link } = connection
    const { traffic } = this
    let { work } = this.#uplink
    while (framer.next()) {
      const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      if (this.output.tap !== undefined) this.output.tap.packetReceived(connection, packet ?? decoder.error!)
      if (packet === undefined) {
        this.#malformed(now, connection, decoder.error!)
        return
      }
      connection.lastReceived = now
      traffic.received[packet.type]!++
      connection.packets++
      let throttled = false
      if (packet.type === PacketType.PUBLISH) {
        traffic.publishBytesReceived += packet.payloadEnd - packet.payloadStart
        connection.counted.messagesReceived++
        if (packet.properties !== NO_PROPERTIES && !this.#resolveAlias(now, connection, packet)) return
        if (this.#limits.maxPublishRate < Number.POSITIVE_INFINITY) throttled = this.#isTooFast(now, connection)
      } else if (packet.type === PacketType.CONNECT) {
        if (!this.#connecting(now, connection, packet)) return
      }
      const before = work
      const goOn = link.send(now, packet) === 'go'
      work = this.#uplink.work
      const isOver = this.#turns.spend(now, connection, costOf(packet, work - before))
      if (!goOn || throttled || isOver) {
        connection.paused = true
        if (!connection.gone) this.output.pause(connection)
        return
      }
      if (connection.gone) return
    }
    if (framer.error === undefined) return
    this.output.tap?.packetReceived(connection, framer.error)
    this.#malformed(now, connection, framer.error)
  }

  /** False if the client was refused. */
  #connecting(now: Instant, connection: Connection, packet: Connect): boolean {
    const { maxKeepAlive } = this.#limits
    const { keepAlive, protocolVersion } = packet
    connection.connecting(packet, this.#limits)
    if (protocolVersion === 5 || maxKeepAlive === 65_535 || (keepAlive > 0 && keepAlive <= maxKeepAlive)) return true
    // 3.x has no way to state the limit.
    this.#notice({
      code: 'client-refused',
      level: 'info',
      client: `mqtt:${packet.clientId}`,
      ...(packet.username !== undefined && { user: packet.username }),
      peer: connection.peer,
      reason: `keep alive ${keepAlive} is above ${maxKeepAlive}`,
      limit: 'max_keepalive',
    })
    const reasonCode = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    this.output.write({ type: PacketType.CONNACK, sessionPresent: false, reasonCode, properties: NO_PROPERTIES }, connection)
    this.#end(connection, undefined)
    connection.link.lost(now, 'refused')
    return false
  }

  /** Whether the client has to pause before its next PUBLISH; this one is accepted anyway. */
  #isTooFast(now: Instant, connection: Connection): boolean {
    const wait = connection.published(now, this.#limits.maxPublishRate)
    if (wait === 0) return false
    connection.throttled = true
    this.#deadlines.throttle(now, connection, wait)
    const reason = 'not read for a moment'
    this.#notice({ code: 'limit-reached', level: 'info', ...connection.who, reason, limit: 'max_publish_rate' })
    return true
  }

  /** Writes everything that the link has to send; false if that ended the connection. */
  #writeAll(now: Instant, connection: Connection): boolean {
    const { version } = connection.decoder
    const { traffic, slab } = this
    const most = this.#turns.writable
    let deliveries = 0
    for (let out = connection.link.poll(now); out !== undefined; out = connection.link.poll(now)) {
      if (out.type === OutgoingType.DELIVERY) {
        if (writeDelivery(slab, out, version, now, connection.maxPacketSize, connection.outgoingAliases)) {
          traffic.sent[PacketType.PUBLISH]!++
          if (out.dup) connection.counted.retransmissions++
          traffic.publishBytesSent += out.message.payloadEnd - out.message.payloadStart
        } else this.#tooLarge(now, connection, out)
        if (++deliveries === most || slab.forms.properties > PROPERTIES_PER_TURN) break
      } else if (out.type === OutgoingType.CLOSE) {
        connection.counted.messagesSent += deliveries
        this.#end(connection, out.disconnect ? out.reasonCode : undefined, out.reason, out.reasonCode === ReasonCode.SUCCESS)
        return false
      } else if (out.type === PacketType.CONNACK) {
        if (!this.#connack(now, connection, out)) return false
      } else this.output.write(out, connection)
    }
    connection.counted.messagesSent += deliveries
    this.#turns.wrote(now, connection, deliveries, deliveries < most && slab.forms.properties <= PROPERTIES_PER_TURN)
    return true
  }

  /** The packet exceeds the client's Maximum Packet Size: treated as sent and acknowledged (MQTT-3.1.2-25), and reported. */
  #tooLarge(now: Instant, { link, peer, maxPacketSize, counted }: Connection, { message, qos, packetId }: Delivery): void {
    this.traffic.publishDropped++
    counted.messagesSent--
    const most =
      maxPacketSize > PACKET_MAX
        ? `in the form for this client above ${PACKET_MAX} bytes, the largest packet of MQTT`
        : `above the client's Maximum Packet Size of ${maxPacketSize}`
    const reason = `message on ${message.topic} is ${most}`
    this.#notice({ code: 'message-dropped', level: 'info', client: link.session!, peer, reason })
    // [MQTT-3.1.2-25]
    if (qos === 1) link.send(now, { type: PacketType.PUBACK, packetId, reasonCode: 0, properties: NO_PROPERTIES })
    // A PUBREC with an error code ends the exchange.
    else if (qos === 2)
      link.send(now, { type: PacketType.PUBREC, packetId, reasonCode: ReasonCode.PACKET_TOO_LARGE, properties: NO_PROPERTIES })
  }

  #resume(now: Instant, connection: Connection): void {
    connection.paused = false
    connection.lastReceived = now
    this.#read(now, connection)
    this.#boundBuffers(now, connection)
    if (!connection.gone && !connection.paused && !connection.congested) this.output.resume(connection)
  }

  #resolveAlias(now: Instant, connection: Connection, packet: Publish): boolean {
    const wrong = connection.resolveAlias(packet, this.#limits.maxTopicAliasBytes)
    if (wrong !== undefined) this.#malformed(now, connection, wrong)
    return wrong === undefined
  }

  /** False if that ended the connection. */
  #connack(now: Instant, connection: Connection, connack: Connack): boolean {
    if (connack.reasonCode !== 0) {
      // [3.1.1 MQTT-3.2.2-6]
      if (connection.decoder.version === 5 || hasReturnCode(connack.reasonCode)) this.output.write(connack, connection)
      return true
    }
    const answer = connection.accepted(now, connack, this.#limits)
    connection.figures = this.figures?.placeOf(connection.link.figuresAt)
    this.#deadlines.keepAlive(now, connection)
    connection.isConnected = this.output.write(answer, connection)
    if (connection.isConnected) return true
    // Without CONNACK nothing else can be sent (MQTT-3.2.0-1).
    this.#end(connection, undefined)
    connection.link.lost(now, 'CONNACK is above its Maximum Packet Size')
    return false
  }

  /** Disconnects a client that has been silent for too long, or whose login has taken too long. */
  #silent(now: Instant, connection: Connection): void {
    if (connection.isConnected) {
      this.#end(connection, ReasonCode.KEEP_ALIVE_TIMEOUT)
      connection.link.lost(now, 'keep alive')
      return
    }
    const { state, session } = connection.link
    const reason = whyLate(connection)
    const client = session ?? (connection.joining === undefined ? undefined : `mqtt:${connection.joining}`)
    const who = { ...(client !== undefined && { client }), peer: connection.peer }
    this.#notice({ code: 'client-refused', level: 'info', ...who, reason, limit: 'connect_timeout_seconds' })
    const waits = session === undefined && state !== 'open'
    if (waits) {
      const reasonCode = ReasonCode.SERVER_BUSY
      this.output.write({ type: PacketType.CONNACK, sessionPresent: false, reasonCode, properties: NO_PROPERTIES }, connection)
    }
    this.#end(connection, undefined)
    connection.link.lost(now, reason)
  }

  #malformed(now: Instant, connection: Connection, { reason, rule, reasonCode, limit }: Malformed): void {
    const who = { ...connection.who, ...(limit !== undefined && { limit }) }
    const told = rule === undefined ? reason : `${reason} (${rule})`
    const isTooLarge = reasonCode === ReasonCode.PACKET_TOO_LARGE
    // Before CONNECT no message is lost.
    const level = isTooLarge && limit !== 'max_connect_packet_size' ? 'warn' : 'info'
    const code = isTooLarge ? 'packet-too-large' : 'malformed-packet'
    this.#notice({ code, level, ...who, reason: told })
    // First the answers to earlier packets of the same chunk, CONNACK above all.
    if (!this.#writeAll(now, connection)) return
    // [MQTT-3.2.0-2]
    if (!connection.isConnected && connection.refusesWithConnack(reasonCode)) {
      // A client of another version may not know reason strings.
      const properties = reasonCode === ReasonCode.UNSUPPORTED_PROTOCOL_VERSION ? NO_PROPERTIES : { reasonString: told }
      this.output.write({ type: PacketType.CONNACK, sessionPresent: false, reasonCode, properties }, connection)
    }
    // [MQTT-4.13.1-1]
    this.#end(connection, reasonCode, told)
    connection.link.lost(now, told)
  }

  /** Ends the stream; a connected 5.0 client gets DISCONNECT with the reason (MQTT-3.14.0-1 forbids it before CONNACK). */
  #end(connection: Connection, reasonCode: number | undefined, reasonString?: string, saidGoodbye = false): void {
    // [MQTT-3.14.0-1]
    if (reasonCode !== undefined && connection.isConnected && connection.decoder.version === 5) {
      // [MQTT-3.14.2-2]
      const properties = reasonString === undefined ? NO_PROPERTIES : { reasonString }
      this.output.write({ type: PacketType.DISCONNECT, reasonCode: disconnectCode(reasonCode), properties }, connection)
    }
    this.output.flush(connection)
    // [MQTT-3.14.4-2]
    this.output.close(connection.id, saidGoodbye)
    // [MQTT-3.14.4-1]
    this.#forget(connection)
  }

  #forget(connection: Connection): void {
    connection.gone = true
    if (connection.figures !== undefined) this.figures?.addAll(connection.figures, connection.counted)
    this.#buffers.update(connection)
    this.#deadlines.forget(connection)
    this.#connections.delete(connection.id)
    this.output.tap?.streamClosed(connection.id)
    connection.forget()
    this.#byLink.delete(connection.link.id)
    this.#admission.count(connection.peer, connection.settings.streamBytes, -1)
  }
}
