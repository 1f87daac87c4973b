import { type ClientKind, LOCAL_LISTENER } from '../mqtt/link.ts'
import { exceedsBytes, exceedsLevels } from '../mqtt/topics.ts'
import type { Session } from './session.ts'

/** All limits of the broker, by their configuration names. Reaching one raises a notice. */
export interface BrokerLimits {
  /** Unacknowledged QoS 1 and 2 deliveries per client, unless the client asks for fewer (Receive Maximum). */
  readonly maxInflightMessages: number
  /** In-flight payload bytes per client above which nothing more is sent. */
  readonly maxInflightBytes: number
  /** Unacknowledged QoS 1 and 2 messages from one 5.0 client (our Receive Maximum). */
  readonly receiveMaximum: number
  /** Messages queued in one session, in addition to those in flight. */
  readonly maxQueuedMessages: number
  /** The same for one sensor; Infinity: no separate limit. */
  readonly queueLimit: number
  /** Bytes of topics, payloads and properties queued in one session. */
  readonly maxQueuedBytes: number
  /** Which messages are dropped when a queue is full and has no QoS 0 left to drop. */
  readonly queueFull: 'drop_newest' | 'drop_oldest'
  /** QoS 0 messages are queued for persistent sessions too. */
  readonly queueQos0Messages: boolean
  /** Payload bytes of one message. */
  readonly messageSizeLimit: number
  readonly retainAvailable: boolean
  /** The publisher of a retained message must still be allowed to publish it when it is delivered. */
  readonly checkRetainSource: boolean
  /** Deliveries have the QoS of the subscription, even above the publisher's. */
  readonly upgradeOutgoingQos: boolean
  /** A session belongs to the authenticated user that created it. */
  readonly sessionOwnership: boolean
  /**
   * Maximum seconds that a session outlives its connection, and the fixed value for persistent 3.x sessions; Infinity: no limit.
   */
  readonly persistentClientExpiration: number
  /** Sessions of MQTT clients, and of sensors where `maxSnSessions` is Infinity. */
  readonly maxSessions: number
  readonly maxSnSessions: number
  /** Sessions of one kind per IPv4 address or IPv6 /64; 0 is a quarter of all. */
  readonly maxSessionsPerAddress: number
  /** The same per verified user of MQTT clients. */
  readonly maxSessionsPerUser: number
  readonly maxSubscriptionsPerSession: number
  /** Filters of one session that may match the same topic: one per combination of wildcard positions (filter-shapes.ts). */
  readonly maxWildcardShapesPerSession: number
  /** Shared subscriptions of one session that may match the same topic: each delivers a copy of its own. */
  readonly maxSharedCopiesPerSession: number
  /** Levels beyond the eighth that one topic may have to be compared with, over all filters with wildcards. */
  readonly maxDeepWildcardLevels: number
  /** Different conditions of subscriptions (conditions.ts), in the whole broker; 0: none is accepted. */
  readonly maxConditions: number
  /** Subscriptions of one session that have a condition. */
  readonly maxConditionsPerSession: number
  readonly maxTopicLevels: number
  readonly maxRetainedMessages: number
  readonly maxRetainedBytes: number
  /** Levels of retained topics that the wildcards of one client may examine. */
  readonly maxRetainedLookupsPerSecond: number
}

export const DEFAULT_LIMITS: BrokerLimits = {
  maxInflightMessages: 20,
  maxInflightBytes: Number.POSITIVE_INFINITY,
  receiveMaximum: 1000,
  maxQueuedMessages: 1000,
  queueLimit: Number.POSITIVE_INFINITY,
  maxQueuedBytes: 8 * 1024 * 1024,
  queueFull: 'drop_newest',
  queueQos0Messages: false,
  messageSizeLimit: Number.POSITIVE_INFINITY,
  retainAvailable: true,
  checkRetainSource: true,
  upgradeOutgoingQos: false,
  sessionOwnership: true,
  persistentClientExpiration: Number.POSITIVE_INFINITY,
  maxSessions: 100_000,
  maxSnSessions: Number.POSITIVE_INFINITY,
  maxSessionsPerAddress: 0,
  maxSessionsPerUser: 0,
  maxSubscriptionsPerSession: 10_000,
  maxWildcardShapesPerSession: 32,
  maxSharedCopiesPerSession: 16,
  maxDeepWildcardLevels: 32_768,
  maxConditions: 1000,
  maxConditionsPerSession: 64,
  maxTopicLevels: 128,
  maxRetainedMessages: 100_000,
  maxRetainedBytes: 64 * 1024 * 1024,
  maxRetainedLookupsPerSecond: 2_000_000,
}

/** Messages that may be queued in this session. */
export function queueBound({ queueLimit, maxQueuedMessages }: BrokerLimits, session: Queueing): number {
  if (session.kind === 'sn' && queueLimit !== Number.POSITIVE_INFINITY) return queueLimit
  return session.listener === LOCAL_LISTENER ? (session.link?.info.maxQueued ?? maxQueuedMessages) : maxQueuedMessages
}

/** What the bound of a session depends on. */
type Queueing = Pick<Session, 'kind' | 'listener' | 'link'>

/** Sessions of this kind. */
export const sessionBound = ({ maxSessions, maxSnSessions }: BrokerLimits, kind: ClientKind): number =>
  kind === 'sn' && maxSnSessions !== Number.POSITIVE_INFINITY ? maxSnSessions : maxSessions

/** The sessions of a pot that one holder may have. */
export const shareBound = (limit: number, pot: number): number => (limit === 0 ? Math.ceil(pot / 4) : limit)

/** Whether a topic name or filter exceeds the maximum bytes, or `most` levels. */
export const isTooLong = (topic: string, most: number): boolean => exceedsLevels(topic, most) || exceedsBytes(topic)

/** A queue that has not drained for this long (ms) pauses no publisher: its client does not read. */
export const STANDS_STILL_MS = 1000

/**
 * Patience with slow readers, in milliseconds. The queue of one client may pause publishers for so long in all; each message that
 * leaves it adds `PATIENCE_PER_MESSAGE_MS`, so that publishers are paused as often as needed for a client that reads fast.
 * One publisher may be paused for as long, by however many queues; each message that it may send without a pause adds as much.
 */
export const PATIENCE_MS = 1000
export const PATIENCE_PER_MESSAGE_MS = 1
/** With less patience left than this (ms), a pause would not help. */
export const PATIENCE_LEAST_MS = 10
