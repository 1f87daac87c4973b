import type { Instant } from '../base/machine.ts'
import { COST } from '../base/memory-costs.ts'
import { FILTERS_MAX } from './decode.ts'
import { DEFAULT_LINK_SETTINGS, type LinkSettings } from './link.ts'

export interface ConnectionLimits {
  /** Maximum size of a packet in bytes, fixed header included. */
  readonly maxPacketSize: number
  /** Bytes of a SUBSCRIBE or UNSUBSCRIBE. Decoding its topic filters takes up to 12 ms for each MiB. */
  readonly maxSubscribePacketSize: number
  /** Bytes of incomplete packets of all connections; one packet may be larger. */
  readonly maxReceiveBufferBytes: number
  /** Maximum size of a CONNECT packet in bytes. */
  readonly maxConnectPacketSize: number
  /**
   * From the opening of the stream until the client is verified, waiting times included; again for each step of enhanced
   * authentication, on either side.
   */
  readonly connectTimeoutMs: number
  readonly maxConnections: number
  /** From one IPv4 address, or one /64 of IPv6 (`networkOf`). */
  readonly maxConnectionsPerAddress: number
  /** Seconds; a 5.0 client that asks for more gets Server Keep Alive (MQTT-3.1.2-21), a 3.x client is refused. */
  readonly maxKeepAlive: number
  /** Bytes of topics that the aliases of one connection and direction may have. */
  readonly maxTopicAliasBytes: number
  readonly maxUserProperties: number
  /** Bytes of the properties of one packet, or of one will. */
  readonly maxPropertyBytes: number
  /** Topic filters in one SUBSCRIBE or UNSUBSCRIBE. */
  readonly maxFilters: number
  /** PUBLISH packets per second and client, averaged over a second; Infinity: no limit. */
  readonly maxPublishRate: number
  /** Banned addresses; none if absent. */
  readonly bans?: Bans
  /** By listener name; defaults for listeners without an entry. */
  readonly listeners: ReadonlyMap<string, ListenerLimits>
}

export interface Bans {
  /** The configuration key of what bans this peer: `ban_file` or `ban_after`. */
  banOf(now: Instant, peer: string): string | undefined
}

/** Settings of one listener. */
export interface ListenerLimits extends LinkSettings {
  /** Topic Alias Maximum for 5.0 clients, and for this server towards them. */
  readonly topicAliasMaximum: number
  /** Bytes of memory for one idle stream. */
  readonly streamBytes: number
}

export const DEFAULT_LISTENER_LIMITS: ListenerLimits = {
  ...DEFAULT_LINK_SETTINGS,
  topicAliasMaximum: 10,
  streamBytes: COST.connection,
}

export const DEFAULT_CONNECTION_LIMITS: ConnectionLimits = {
  maxPacketSize: 16 * 1024 * 1024,
  maxSubscribePacketSize: 1024 * 1024,
  maxReceiveBufferBytes: 128 * 1024 * 1024,
  maxConnectPacketSize: 64 * 1024,
  connectTimeoutMs: 10_000,
  maxConnections: 10_000,
  maxConnectionsPerAddress: 10_000,
  maxKeepAlive: 65_535,
  maxTopicAliasBytes: 64 * 1024,
  maxUserProperties: 1000,
  maxPropertyBytes: 256 * 1024,
  maxFilters: FILTERS_MAX,
  maxPublishRate: Number.POSITIVE_INFINITY,
  listeners: new Map(),
}

export const limitsOfListener = ({ listeners }: ConnectionLimits, listener: string): ListenerLimits =>
  listeners.get(listener) ?? DEFAULT_LISTENER_LIMITS

/** Part of the memory that idle streams may take. */
export const STREAMS_PART = 0.5
