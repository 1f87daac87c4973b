import type { Instant } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import { COST } from '../base/memory-costs.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import { PacketDecoder } from '../mqtt/decode.ts'
import { Framer } from '../mqtt/framer.ts'
import type { Connack } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { ProtocolVersion, Publish, QoS } from '../mqtt/publish.ts'
import { resolveAlias, TopicAliases } from '../mqtt/topic-aliases.ts'
import type { Remembered } from '../mqtt/topic-names.ts'
import type { SubscriptionFeatures } from './subscriptions.ts'
import type { Dialect, KnownTarget } from './targets.ts'
import type { UpstreamLink } from './upstream-link.ts'

/** Topics that either side may give an alias on one stream, and bytes of them. */
export const TOPIC_ALIASES = 64
export const TOPIC_ALIAS_BYTES = 16 * 1024

/** Our client's end of one byte stream: what belongs to it and not to the session that it carries. */
export class UpstreamStream {
  readonly id: ConnectionId
  readonly link: UpstreamLink
  readonly known: KnownTarget
  readonly dialect: Dialect
  readonly framer: Framer
  readonly decoder: PacketDecoder
  readonly counted = { messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0, retransmissions: 0 }
  readonly wantsProblemInformation = true
  readonly joining = undefined
  /** 'probing': an attempt that ends as soon as the target is reached. */
  state: 'probing' | 'dialling' | 'connecting' | 'up' = 'dialling'
  /** What the far side takes, as its CONNACK says. */
  maxPacketSize = Number.POSITIVE_INFINITY
  receiveMaximum = 0xffff
  #maximumQos: QoS = 2
  retainAvailable = true
  features: SubscriptionFeatures = {}
  aliases: TopicAliases | undefined = undefined
  outgoingAliases: TopicAliases | undefined = undefined
  /** A subscription with QoS 2 was asked for, to see what is granted. */
  asksForQos = false
  /** The socket accepts no bytes for now. */
  congested = false
  /** The socket is not read: too much waits for the owner of the link. */
  paused = false
  /** When the attempt began, and when CONNACK came. */
  readonly dialledAt: Instant
  connectedAt: Instant = 0
  lastReceived: Instant = 0
  lastSent: Instant = 0
  keepAliveMs = 0
  /** When the first address is tried again; undefined if this is the one. */
  probeAt: Instant | undefined = undefined
  /** When the PINGREQ was sent that is not answered yet. */
  pingedAt: Instant | undefined = undefined
  readonly #remembered: Remembered

  constructor(id: ConnectionId, link: UpstreamLink, known: KnownTarget, now: Instant, maxPacketSize: number, memory: Remembered) {
    this.id = id
    this.link = link
    this.known = known
    this.dialect = known.dialect
    this.dialledAt = now
    this.framer = new Framer(maxPacketSize)
    this.framer.sizeLimit = 'max_packet_size'
    this.framer.minimalLength = this.dialect.version === 5
    this.decoder = new PacketDecoder('server', this.dialect.version, undefined, undefined, memory)
    this.#remembered = memory
  }

  get peer(): string {
    return this.known.target.url
  }

  /** Bytes of memory. */
  get bytes(): number {
    const { tls, path } = this.known.target
    return COST.connection + (tls === undefined ? 0 : COST.tls) + (path === '' ? 0 : COST.webSocket)
  }

  /** Of messages to the far side. */
  get maximumQos(): QoS {
    return Math.min(this.#maximumQos, this.known.maximumQos) as QoS
  }

  get version(): ProtocolVersion {
    return this.dialect.version
  }

  accepted(now: Instant, { properties }: Connack, keepAliveSeconds: number): void {
    this.state = 'up'
    this.connectedAt = now
    this.lastSent = now
    this.receiveMaximum = properties.receiveMaximum ?? 0xffff
    this.maxPacketSize = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY
    this.#maximumQos = properties.maximumQoS ?? 2
    this.retainAvailable = properties.retainAvailable ?? true
    this.features = properties
    this.keepAliveMs = (properties.serverKeepAlive ?? keepAliveSeconds) * 1000
    const most = Math.min(properties.topicAliasMaximum ?? 0, TOPIC_ALIASES)
    if (most > 0) this.outgoingAliases = new TopicAliases(most, TOPIC_ALIAS_BYTES, this.#remembered)
  }

  /** Takes from a message what belongs to the stream: topic alias and subscription identifiers. Returns what is wrong, if anything. */
  unwrap(message: Publish): Malformed | undefined {
    const { topicAlias, subscriptionIdentifiers, ...properties } = message.properties
    if (topicAlias === undefined && subscriptionIdentifiers === undefined) return undefined
    const wrong = resolveAlias(this, message, TOPIC_ALIASES, TOPIC_ALIAS_BYTES, this.#remembered)
    message.properties = Object.keys(properties).length === 0 ? NO_PROPERTIES : properties
    // What was received is not what may be passed on.
    message.frameStart = -1
    return wrong
  }

  /** PINGREQ is not answered. While the socket is not read, that says nothing. */
  get awaitsPong(): boolean {
    return this.pingedAt !== undefined && this.lastReceived <= this.pingedAt && !this.paused
  }

  /** When PINGREQ is due, or an answer to it, within `patienceMs` or the keep alive if that is less; undefined without keep alive. */
  nextKeepAlive(patienceMs: number): Instant | undefined {
    const { keepAliveMs } = this
    if (keepAliveMs === 0) return undefined
    if (this.awaitsPong) return this.pingedAt! + Math.min(patienceMs, keepAliveMs)
    return (this.paused ? this.lastSent : Math.min(this.lastSent, this.lastReceived)) + keepAliveMs
  }

  forget(): void {
    this.aliases?.forget()
    this.outgoingAliases?.forget()
  }
}
