import type { Instant } from '../base/machine.ts'
import { COST } from '../base/memory-costs.ts'
import { FILTERS_MAX } from './decode.ts'
import { DEFAULT_LINK_SETTINGS, type LinkSettings } from './link.ts'

export interface ConnectionLimits {
  /** Bytes of one packet, fixed header included. */
  readonly maxPacketSize: number
  /** Bytes of packets that are not whole yet, of all connections together; one packet may be larger. */
  readonly maxReceiveBufferBytes: number
  /** Bytes of a CONNECT packet. */
  readonly maxConnectPacketSize: number
  /**
   * From the first moment until the client is verified, what it waits for that included; for each step of enhanced authentication anew, on
   * either side.
   */
  readonly connectTimeoutMs: number
  readonly maxConnections: number
  /** From one IPv4 address, or one /64 of IPv6 (`networkOf`). */
  readonly maxConnectionsPerAddress: number
  /** Seconds; a 5.0 client that asks for more is told this instead (MQTT-3.1.2-21), a 3.x client is refused. */
  readonly maxKeepAlive: number
  /** Topic bytes that the aliases of one connection and direction may hold. */
  readonly maxTopicAliasBytes: number
  readonly maxUserProperties: number
  /** Of one packet, or of one will. */
  readonly maxPropertyBytes: number
  /** Topic filters of one SUBSCRIBE or UNSUBSCRIBE. */
  readonly maxFilters: number
  /** PUBLISH packets a second of one client, on average over a second; Infinity is no bound. */
  readonly maxPublishRate: number
  /** Who may not connect at all; nobody is banned if it is not there. */
  readonly bans?: Bans
  /** By listener name; the defaults where it has no entry. */
  readonly listeners: ReadonlyMap<string, ListenerLimits>
}

export interface Bans {
  /** What bans this peer, by its key in the configuration: `ban_file` or `ban_after`. */
  banOf(now: Instant, peer: string): string | undefined
}

/** What differs from listener to listener. */
export interface ListenerLimits extends LinkSettings {
  /** Topic aliases that a 5.0 client may use, and that we use towards it at most. */
  readonly topicAliasMaximum: number
  /** Bytes that one of its streams takes, with nothing on it. */
  readonly streamBytes: number
}

export const DEFAULT_LISTENER_LIMITS: ListenerLimits = {
  ...DEFAULT_LINK_SETTINGS,
  topicAliasMaximum: 10,
  streamBytes: COST.connection,
}

export const DEFAULT_CONNECTION_LIMITS: ConnectionLimits = {
  maxPacketSize: 16 * 1024 * 1024,
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

export const settingsOf = ({ listeners }: ConnectionLimits, listener: string): ListenerLimits =>
  listeners.get(listener) ?? DEFAULT_LISTENER_LIMITS

/** Part of the memory that streams may take, whatever comes of them. */
export const STREAMS_PART = 0.5
