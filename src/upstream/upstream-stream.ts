import type { Instant } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import { COST } from '../base/memory-costs.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import type { PacketDecoder } from '../mqtt/decode.ts'
import type { Framer } from '../mqtt/framer.ts'
import type { Connack } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { ProtocolVersion, Publish, QoS } from '../mqtt/publish.ts'
import { resolveAlias, TopicAliases } from '../mqtt/topic-aliases.ts'
import type { StreamReaders } from './stream-readers.ts'
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
  /** Shared by all streams of this version. */
  decoder: PacketDecoder
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
  features: SubscriptionFeatures = ALL_FEATURES
  aliases: TopicAliases | undefined = undefined
  #outgoingAliases: TopicAliases | undefined = undefined
  #outgoingAliasesMax = 0
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
  readonly #readers: StreamReaders
  /** While something is in it. */
  #ownFramer: Framer | undefined = undefined
  /** Bytes in it, as they count. */
  #buffered = 0

  constructor(id: ConnectionId, link: UpstreamLink, known: KnownTarget, now: Instant, readers: StreamReaders) {
    this.id = id
    this.link = link
    this.known = known
    this.dialect = known.dialect
    this.dialledAt = now
    this.decoder = readers.decoder(this.dialect.version)
    this.#readers = readers
  }

  get framer(): Framer {
    return this.#ownFramer ?? this.#readers.framer
  }

  /** A chunk has come: `framer` gives its packets, until `read`. */
  reading(bytes: Uint8Array): void {
    const { framer } = this
    framer.maxPacketSize = this.link.settings.maxPacketSize
    framer.minimalLength = this.dialect.version === 5
    framer.push(bytes)
  }

  /** The chunk is read, to its end or to an error; then its bytes are still in the framer. `isOver`: the stream has ended with it. */
  read(isOver: boolean): void {
    const { framer } = this
    framer.release()
    this.decoder.release()
    const { held } = framer
    if (!isOver) this.#buffers(held)
    const isIdle = held === 0
    if (this.#ownFramer === undefined) this.#ownFramer = isIdle ? undefined : this.#readers.give()
    else if (isIdle) this.#ownFramer = undefined
  }

  #buffers(bytes: number): void {
    this.#readers.buffered += bytes - this.#buffered
    this.#buffered = bytes
  }

  /** What the peer writes is of an older version. */
  speaksOlder(version: ProtocolVersion): void {
    this.decoder = this.#readers.decoder(version)
  }

  /** Made when a first message is sent: 200 bytes. */
  get outgoingAliases(): TopicAliases | undefined {
    if (this.#outgoingAliases === undefined && this.#outgoingAliasesMax > 0)
      this.#outgoingAliases = new TopicAliases(this.#outgoingAliasesMax, TOPIC_ALIAS_BYTES, this.#readers.remembered)
    return this.#outgoingAliases
  }

  get peer(): string {
    return this.known.target.url
  }

  /** Bytes of memory. */
  get bytes(): number {
    const { tls, path } = this.known.target
    return COST.dialled + (tls === undefined ? 0 : COST.tls) + (path === '' ? 0 : COST.webSocket)
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
    this.features = featuresOf(properties)
    this.keepAliveMs = (properties.serverKeepAlive ?? keepAliveSeconds) * 1000
    this.#outgoingAliasesMax = Math.min(properties.topicAliasMaximum ?? 0, TOPIC_ALIASES)
  }

  /** Takes from a message what belongs to the stream: topic alias and subscription identifiers. Returns what is wrong, if anything. */
  unwrap(message: Publish): Malformed | undefined {
    const { topicAlias, subscriptionIdentifiers, ...properties } = message.properties
    if (topicAlias === undefined && subscriptionIdentifiers === undefined) return undefined
    const wrong = resolveAlias(this, message, TOPIC_ALIASES, TOPIC_ALIAS_BYTES, this.#readers.remembered)
    message.properties = Object.keys(properties).length === 0 ? NO_PROPERTIES : properties
    // What was received is not what may be passed on.
    message.frameStart = -1
    return wrong
  }

  /** PINGREQ is not answered. While the socket is not read, that says nothing. */
  get awaitsPong(): boolean {
    return this.pingedAt !== undefined && this.lastReceived <= this.pingedAt && !this.paused
  }

  /** PINGRESP. */
  answeredPing(now: Instant): void {
    if (this.pingedAt === undefined) return
    const roundTripMs = now - this.pingedAt
    this.link.status.roundTripMs = roundTripMs
    this.known.roundTripMs = roundTripMs
    this.pingedAt = undefined
  }

  /**
   * When PINGREQ is due, or an answer to it, within `patienceMs` or the keep alive if that is less; undefined without keep alive.
   * A message that waits for its answer makes PINGREQ due earlier: with a long keep alive it would wait as long on a dead connection.
   */
  nextKeepAlive(patienceMs: number): Instant | undefined {
    const { keepAliveMs } = this
    if (keepAliveMs === 0) return undefined
    if (this.awaitsPong) return this.pingedAt! + Math.min(patienceMs, keepAliveMs)
    if (this.paused) return this.lastSent + keepAliveMs
    const idle = Math.min(this.lastSent, this.lastReceived) + keepAliveMs
    const { waitsSince } = this.link.outbound
    return waitsSince === undefined ? idle : Math.min(idle, Math.max(waitsSince, this.lastReceived) + patienceMs)
  }

  forget(): void {
    this.#buffers(0)
    this.aliases?.forget()
    this.#outgoingAliases?.forget()
  }
}

/** Of most brokers, in place of their CONNACK's properties, which a stream need not keep. */
const ALL_FEATURES: SubscriptionFeatures = {}

const featuresOf = (properties: Properties): SubscriptionFeatures => {
  const { wildcardSubscriptionAvailable, sharedSubscriptionAvailable, subscriptionIdentifiersAvailable } = properties
  const all = [wildcardSubscriptionAvailable, sharedSubscriptionAvailable, subscriptionIdentifiersAvailable]
  return all.includes(false) ? properties : ALL_FEATURES
}
