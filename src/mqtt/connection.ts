import type { FiguresPlace } from '../base/client-figures.ts'
import type { Instant } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import { Timer } from '../base/timers.ts'
import type { SessionKey } from '../store/store.ts'
import type { ConnectionLimits, ListenerLimits } from './connection-limits.ts'
import { PacketDecoder } from './decode.ts'
import { Framer } from './framer.ts'
import type { Link, LinkInfo } from './link.ts'
import type { Connack, Connect } from './packets.ts'
import type { Properties } from './properties.ts'
import type { Publish } from './publish.ts'
import { ReasonCode } from './reason-codes.ts'
import { resolveAlias, TopicAliases } from './topic-aliases.ts'
import type { Remembered } from './topic-names.ts'

/** Bytes of WebSocket framing around a CONNECT in many parts. */
const FRAMES_MAX = 16 * 1024

/** Assigned by the opener of the stream. */
export type ConnectionId = number

/** Where a byte stream comes from, as its listener knows it. */
export type StreamInfo = Pick<LinkInfo, 'peer' | 'listener' | 'identity'>

/** Milliseconds of silence per second of keep alive: one and a half times the agreed interval (MQTT-3.1.2-22). */
const KEEP_ALIVE_FACTOR = 1500

export interface ConnectionTimer {
  readonly connection: Connection
  readonly about: 'silence' | 'rate'
}

/** The state of one byte stream to a client. */
export class Connection {
  readonly id: ConnectionId
  readonly peer: string
  readonly link: Link
  readonly settings: ListenerLimits
  readonly framer: Framer
  readonly decoder: PacketDecoder
  /** The deadline for CONNECT first, keep alive after it. */
  readonly timer: Timer<ConnectionTimer> = new Timer<ConnectionTimer>({ connection: this, about: 'silence' })
  /** Ends a pause for max_publish_rate; created with the first. */
  rateTimer: Timer<ConnectionTimer> | undefined = undefined
  lastReceived: Instant = 0
  /** When CONNACK was sent. */
  connectedAt: Instant = 0
  /** Packets read so far. */
  packets = 0
  /** Bytes of an incomplete packet, as counted by `ReceiveBuffers`. */
  buffered = 0
  /** `packets` when they were counted. */
  packetsWhenBuffered = 0
  /** Of those bytes, the ones that have not reached the framer: an incomplete WebSocket message. */
  bufferedInFront = 0
  /** Counters of this connection; they are added to those of the session when the connection ends. */
  readonly counted = { messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0, retransmissions: 0 }
  /** Place of the session's counters; undefined before CONNACK, or if clients are not counted. */
  figures: FiguresPlace | undefined = undefined
  /** 0: off. */
  keepAliveMs = 0
  /** The first byte has arrived. */
  started = false
  isConnected = false
  /** The client id of a CONNECT that is not answered yet. */
  joining: string | undefined = undefined
  /** Maximum Packet Size of the client. */
  maxPacketSize = Number.POSITIVE_INFINITY
  /** The broker accepts no packets for now. */
  paused = false
  /** The socket accepts no bytes for now. */
  congested = false
  gone = false
  /** The reason for which the stream is gone; received packets may still be unread. */
  ended: string | undefined = undefined
  /** It has used its share of this turn, and continues after the others. */
  resting = false
  /** Cost of its packets in the turn numbered `turn`. */
  spent = 0
  turn = 0
  /** It exceeds max_publish_rate, and is not read for a moment. */
  throttled = false
  /** PUBLISH packets that it may send without a pause, as of `#tokensAt`; at most those of a second. */
  #tokens = Number.POSITIVE_INFINITY
  #tokensAt: Instant = 0
  /** Request Problem Information: the client wants reason strings and user properties with every answer (MQTT-3.1.2-29). */
  wantsProblemInformation = true
  aliases: TopicAliases | undefined = undefined
  outgoingAliases: TopicAliases | undefined = undefined
  readonly #remembered: Remembered
  #connectSeen = false

  constructor(
    id: ConnectionId,
    peer: string,
    link: Link,
    settings: ListenerLimits,
    limits: ConnectionLimits,
    remembered: Remembered,
  ) {
    this.#remembered = remembered
    this.settings = settings
    this.decoder = new PacketDecoder('client', 4, limits, limits.maxFilters, remembered)
    this.id = id
    this.peer = peer
    this.link = link
    this.framer = new Framer(limits.maxConnectPacketSize)
    this.framer.sizeLimit = 'max_connect_packet_size'
    this.framer.maxSubscribeSize = limits.maxSubscribePacketSize
  }

  /** The client, once CONNECT is accepted, and its address, for Notices. */
  get who(): { readonly client?: SessionKey; readonly peer: string } {
    const { session } = this.link
    return { ...(session !== undefined && { client: session }), peer: this.peer }
  }

  /** Releases the aliases that were remembered for it. */
  forget(): void {
    this.aliases?.forget()
    this.outgoingAliases?.forget()
  }

  /**
   * Sets the topic of an incoming message from its alias; returns what is wrong with the alias, if anything. Aliases last as long
   * as the connection (MQTT-3.3.2-7).
   */
  resolveAlias(packet: Publish, maxBytes: number): Malformed | undefined {
    return resolveAlias(this, packet, this.settings.topicAliasMaximum, maxBytes, this.#remembered)
  }

  /** Applies a CONNECT: from here on packets may be larger, and lengths must be minimal in 5.0 (MQTT-1.5.5-1). */
  connecting(connect: Connect, { maxPacketSize, maxTopicAliasBytes }: ConnectionLimits): void {
    const { properties } = connect
    this.#connectSeen = true
    if (!this.isConnected) this.joining = connect.clientId
    this.framer.maxPacketSize = maxPacketSize
    this.framer.sizeLimit = 'max_packet_size'
    this.framer.minimalLength = connect.protocolVersion === 5
    this.maxPacketSize = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY
    this.wantsProblemInformation = properties.requestProblemInformation !== false
    // [MQTT-3.2.2-22]
    this.keepAliveMs = connect.keepAlive * KEEP_ALIVE_FACTOR
    // [MQTT-3.1.2-26] [MQTT-3.1.2-27]
    const most = Math.min(properties.topicAliasMaximum ?? 0, this.settings.topicAliasMaximum)
    if (most > 0 && !this.isConnected) this.outgoingAliases = new TopicAliases(most, maxTopicAliasBytes, this.#remembered)
  }

  /** The CONNACK of an accepted client, with the limits of this connection, which apply from now on. */
  accepted(now: Instant, connack: Connack, { maxPacketSize: maximumPacketSize, maxKeepAlive }: ConnectionLimits): Connack {
    this.joining = undefined
    this.connectedAt = now
    // CONNACK had no properties before.
    if (this.decoder.version !== 5) return connack
    const { topicAliasMaximum } = this.settings
    const properties: Properties = { ...connack.properties, maximumPacketSize }
    if (topicAliasMaximum > 0) properties.topicAliasMaximum = topicAliasMaximum
    const most = maxKeepAlive * KEEP_ALIVE_FACTOR
    const tooLong = this.keepAliveMs > most || (this.keepAliveMs === 0 && maxKeepAlive < 65_535)
    if (tooLong) {
      properties.serverKeepAlive = maxKeepAlive
      this.keepAliveMs = most
    }
    return { ...connack, properties }
  }

  /** Whether there is a reason not to read it, other than answers that are not sent yet. */
  get isWaiting(): boolean {
    const { throttled, resting, gone, ended, link } = this
    return throttled || resting || gone || ended !== undefined || link.state !== 'open'
  }

  /**
   * Before CONNECT, bytes that have not reached the framer are limited to what the framer itself accepts, plus the framing around
   * it.
   */
  tooLargeInFront(bytes: number): Malformed | undefined {
    const most = this.framer.maxPacketSize
    if (this.#connectSeen || bytes <= most + FRAMES_MAX) return undefined
    const limit = 'max_connect_packet_size'
    return { kind: 'malformed', reason: `more than ${most} bytes before CONNECT`, reasonCode: ReasonCode.PACKET_TOO_LARGE, limit }
  }

  /**
   * Counts a PUBLISH against the rate limit. Returns the milliseconds that the client has to pause; this message is accepted
   * anyway.
   */
  published(now: Instant, perSecond: number): number {
    const earned = ((now - this.#tokensAt) * perSecond) / 1000
    this.#tokens = Math.min(perSecond, this.#tokens + earned) - 1
    this.#tokensAt = now
    return this.#tokens >= 0 ? 0 : (-this.#tokens * 1000) / perSecond
  }

  /**
   * Whether a CONNECT that cannot be decoded is answered: 5.0 may give the reason (MQTT-3.1.4-1), 3.x only that the version is
   * not supported (3.1.1 MQTT-3.1.2-2); otherwise the stream is closed without an answer (3.1.1 MQTT-3.1.4-1).
   */
  refusesWithConnack(reasonCode: number): boolean {
    if (this.#connectSeen) return false
    // [3.1.1 MQTT-3.1.2-2] [3.1.1 MQTT-3.1.4-1]
    return reasonCode === ReasonCode.UNSUPPORTED_PROTOCOL_VERSION || this.decoder.version === 5
  }
}
