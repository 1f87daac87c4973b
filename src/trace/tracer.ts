import type { Malformed } from '../base/malformed.ts'
import type { GatewayClient } from '../gateway/client/client.ts'
import type { DatagramTap } from '../gateway/datagram-tap.ts'
import { nodeRoute, type RouteKey } from '../gateway/ports/route.ts'
import type { PredefinedTopics } from '../gateway/topics/predefined.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import { PacketDecoder } from '../mqtt/decode.ts'
import { Framer } from '../mqtt/framer.ts'
import { type Packet, PacketType } from '../mqtt/packets.ts'
import type { StreamTap, TappedStream } from '../mqtt/stream-tap.ts'
import { decodeMessage } from '../mqttsn/decode.ts'
import { unwrap } from '../mqttsn/forwarder.ts'
import { type Message, MsgType } from '../mqttsn/messages.ts'
import type { TraceEvent } from './event.ts'

/** What a trace sees. Called during an input or a poll of the server: it must not call back. */
export interface Watcher {
  /**
   * Whether it may want a packet of this client; undefined: before the client has said who it is. Absent: those of all clients. What
   * no watcher wants is not decoded. The answer never changes.
   */
  wants?(client: string | undefined): boolean
  seen(event: TraceEvent): void
  streamClosed?(connection: ConnectionId): void
}

/** What is traced: the server. */
export interface Traced {
  tap: (StreamTap & DatagramTap) | undefined
  readonly gateway: { clientAt(route: RouteKey): GatewayClient | undefined; readonly predefined: PredefinedTopics }
}

const NOTHING = new Uint8Array(0)

/** A stream that is traced. */
interface Stream {
  /** Of its session and of a CONNECT that has not been answered, as they were for the last packet. */
  key: TappedStream['link']['session']
  joining: string | undefined
  /** The client that has connected, otherwise the one whose CONNECT has not been answered, or that has lost its session. */
  client: string | undefined
  isWanted: boolean
}

/** Limits do not apply to what was accepted, or made by ourselves. */
const UNLIMITED = { maxUserProperties: Number.POSITIVE_INFINITY, maxPropertyBytes: Number.POSITIVE_INFINITY }

/**
 * Makes events of what the taps of the server see, for any number of watchers. Taps are set only while there is a watcher, so a
 * server that is not traced pays for an `undefined`. Written packets are decoded once more: only encoders know what they
 * write, and runs of messages are copied from one stream to another without being encoded.
 */
export class Tracer implements StreamTap, DatagramTap {
  readonly #traced: Traced
  readonly #watchers = new Set<Watcher>()
  readonly #streams = new Map<ConnectionId, Stream>()

  constructor(traced: Traced) {
    this.#traced = traced
  }

  /** Adds a watcher; returns how to remove it. */
  watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher)
    this.#traced.tap = this
    this.#askAgain()
    return () => {
      this.#watchers.delete(watcher)
      this.#askAgain()
      if (this.#watchers.size > 0) return
      this.#traced.tap = undefined
      this.#streams.clear()
    }
  }

  packetReceived(from: TappedStream, packet: Packet | Malformed): void {
    const stream = this.#streamOf(from)
    const said = 'type' in packet && packet.type === PacketType.CONNECT ? packet.clientId || undefined : undefined
    if (!stream.isWanted && said === undefined) return
    const { bytes, start, end, error } = from.framer
    const client = said ?? stream.client
    const topic = topicOf(packet, (alias) => from.aliases?.topic(alias))
    const { id: connection, peer } = from
    this.#see({
      protocol: 'mqtt',
      way: '->',
      connection,
      peer,
      client,
      topic,
      packet,
      bytes: packet === error ? NOTHING : bytes.subarray(start, end),
    })
  }

  packetsSent(to: TappedStream, pieces: readonly Uint8Array[]): void {
    const { id: connection, peer } = to
    const { client, isWanted } = this.#streamOf(to)
    if (!isWanted) return
    const framer = new Framer(Number.POSITIVE_INFINITY)
    // Streams that were dialled have negative ids: there, this side is the client.
    const decoder = new PacketDecoder(
      connection < 0 ? 'client' : 'server',
      to.decoder.version,
      UNLIMITED,
      Number.POSITIVE_INFINITY,
    )
    for (const piece of pieces) {
      framer.push(piece)
      while (framer.next()) {
        const { start, bodyStart, end } = framer
        const packet = decoder.decode(framer.bytes, start, bodyStart, end) ?? decoder.error!
        const topic = topicOf(packet, (alias) => to.outgoingAliases?.assigned(alias))
        const bytes = framer.bytes.subarray(start, end)
        this.#see({ protocol: 'mqtt', way: '<-', connection, peer, client, topic, packet, bytes })
      }
    }
  }

  streamClosed(id: ConnectionId): void {
    this.#streams.delete(id)
    for (const watcher of this.#watchers) watcher.streamClosed?.(id)
  }

  datagramReceived(route: RouteKey, bytes: Uint8Array): void {
    this.#datagram('->', route, bytes)
  }

  datagramSent(route: RouteKey, bytes: Uint8Array): void {
    this.#datagram('<-', route, bytes)
  }

  #datagram(way: '->' | '<-', carrier: RouteKey, bytes: Uint8Array): void {
    const inner = unwrap(bytes)
    const isMalformed = inner !== undefined && 'kind' in inner
    const peer = inner === undefined || isMalformed ? carrier : nodeRoute(carrier, inner.nodeId)
    const known = this.#traced.gateway.clientAt(peer)
    const maySayId = way === '->' && SAYS_ID.has(typeOf(bytes, isMalformed ? undefined : inner?.start))
    if (!maySayId && !this.#isWanted(known?.clientId)) return
    const packet = isMalformed ? inner : decodeMessage(bytes, inner?.start, inner?.end)
    const client = (way === '->' && idIn(packet)) || known?.clientId
    const topic = 'kind' in packet ? undefined : this.#topicOf(packet, client, known)
    this.#see({ protocol: 'mqtt-sn', way, peer, carrier, client, topic, packet, bytes })
  }

  #topicOf(message: Message, client: string | undefined, known: GatewayClient | undefined): string | undefined {
    if ('topicIdType' in message) {
      const { topicIdType, topicId } = message
      if (topicIdType === 'predefined') return this.#traced.gateway.predefined.nameOf(client ?? '', topicId)
      if (topicIdType === 'short') return String.fromCharCode(topicId >> 8, topicId & 0xff)
      return message.type === MsgType.PUBLISH ? known?.registry.peek(topicId) : message.topicName
    }
    if (message.type === MsgType.REGISTER) return message.topicName
    return 'topicId' in message ? known?.registry.peek(message.topicId) : undefined
  }

  #streamOf({ id, link, joining }: TappedStream): Stream {
    const key = link.session
    const known = this.#streams.get(id)
    if (known !== undefined && known.key === key && known.joining === joining) return known
    const client = key === undefined ? joining || known?.client : key.slice(key.indexOf(':') + 1)
    const stream = { key, joining, client, isWanted: this.#isWanted(client) }
    this.#streams.set(id, stream)
    return stream
  }

  #isWanted(client: string | undefined): boolean {
    for (const watcher of this.#watchers) if (watcher.wants?.(client) !== false) return true
    return false
  }

  /** There are other watchers. */
  #askAgain(): void {
    for (const stream of this.#streams.values()) stream.isWanted = this.#isWanted(stream.client)
  }

  #see(event: TraceEvent): void {
    for (const watcher of this.#watchers) watcher.seen(event)
  }
}

/** Messages in which a sensor may say who it is. */
const SAYS_ID: ReadonlySet<number | undefined> = new Set([MsgType.CONNECT, MsgType.PINGREQ])

/** Type of the message that begins here, behind a length of one byte or three [1.2 section 5.2.1]. */
const typeOf = (bytes: Uint8Array, start = 0): number | undefined => bytes[start + (bytes[start] === 1 ? 3 : 1)]

/** The client id in a message of a client, by which it says who it is. */
const idIn = (packet: Message | Malformed): string | undefined =>
  'clientId' in packet && packet.clientId !== '' ? packet.clientId : undefined

function topicOf(packet: Packet | Malformed, behind: (alias: number) => string | undefined): string | undefined {
  if ('kind' in packet || packet.type !== PacketType.PUBLISH) return undefined
  if (packet.topic !== '') return packet.topic
  const { topicAlias } = packet.properties
  return topicAlias === undefined ? undefined : behind(topicAlias)
}
