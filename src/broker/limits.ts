import type { ClientKind } from '../mqtt/link.ts'
import { exceedsBytes } from '../mqtt/topics.ts'

/** Every bound of the broker, by the name it has in the configuration. Reaching one raises a Notice. */
export interface BrokerLimits {
  /** Unacknowledged QoS 1 and 2 deliveries per client, unless the client asks for fewer (Receive Maximum). */
  readonly maxInflightMessages: number
  /** Bytes of their payloads above which no more go out. */
  readonly maxInflightBytes: number
  /** QoS 1 and 2 messages that one 5.0 client may have on their way to us (our Receive Maximum). */
  readonly receiveMaximum: number
  /** Messages that wait in one session beyond those in flight. */
  readonly maxQueuedMessages: number
  /** The same for one sensor; Infinity is no bound of its own. */
  readonly queueLimit: number
  /** Bytes of topics, payloads and properties that wait in one session. */
  readonly maxQueuedBytes: number
  /** What goes when a queue is full and holds no QoS 0 that could go first. */
  readonly queueFull: 'drop_newest' | 'drop_oldest'
  /** QoS 0 messages wait for persistent sessions too. */
  readonly queueQos0Messages: boolean
  /** Payload bytes of one message. */
  readonly messageSizeLimit: number
  readonly retainAvailable: boolean
  /** Whoever published a retained message must still be allowed to when it is delivered. */
  readonly checkRetainSource: boolean
  /** A subscriber gets the QoS that it asked for, even above the publisher's. */
  readonly upgradeOutgoingQos: boolean
  /** A session belongs to the authenticated user that made it. */
  readonly sessionOwnership: boolean
  /** Seconds that a session outlives its connection at most, and exactly those where a 3.x client asks for one; Infinity is for ever. */
  readonly persistentClientExpiration: number
  /** Sessions of MQTT clients, and of sensors where `maxSnSessions` is Infinity. */
  readonly maxSessions: number
  readonly maxSnSessions: number
  /** Sessions of one kind that one IPv4 address or IPv6 /64 may have; 0 is a quarter of all. */
  readonly maxSessionsPerAddress: number
  /** The same for one user that was verified, of MQTT clients. */
  readonly maxSessionsPerUser: number
  readonly maxSubscriptionsPerSession: number
  /** Filters of one session that may match the same topic: one for each place that wildcards can be in (filter-shapes.ts). */
  readonly maxWildcardShapesPerSession: number
  /** Shared subscriptions of one session that may match the same topic: each brings it a copy of its own. */
  readonly maxSharedCopiesPerSession: number
  /** Levels beyond the eighth that one topic may be compared with, of all filters with wildcards together. */
  readonly maxDeepWildcardLevels: number
  readonly maxTopicLevels: number
  readonly maxRetainedMessages: number
  readonly maxRetainedBytes: number
  /** Levels of retained topics that the wildcards of one client may be compared with. */
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
  maxTopicLevels: 128,
  maxRetainedMessages: 100_000,
  maxRetainedBytes: 64 * 1024 * 1024,
  maxRetainedLookupsPerSecond: 2_000_000,
}

/** Messages that may wait in a session of this kind. */
export const queueBound = ({ queueLimit, maxQueuedMessages }: BrokerLimits, kind: ClientKind): number =>
  kind === 'sn' && queueLimit !== Number.POSITIVE_INFINITY ? queueLimit : maxQueuedMessages

/** Sessions of this kind. */
export const sessionBound = ({ maxSessions, maxSnSessions }: BrokerLimits, kind: ClientKind): number =>
  kind === 'sn' && maxSnSessions !== Number.POSITIVE_INFINITY ? maxSnSessions : maxSessions

/** What one holder may have of a pot of sessions. */
export const shareBound = (limit: number, pot: number): number => (limit === 0 ? Math.ceil(pot / 4) : limit)

/** Whether a topic name or filter is longer than it may be: in bytes, or with more than `most` levels. */
export const isTooLong = (topic: string, most: number): boolean => exceedsLevels(topic, most) || exceedsBytes(topic)

/** Counted without splitting it. */
export function exceedsLevels(topic: string, most: number): boolean {
  // A topic shorter than the bound cannot have that many slashes.
  if (topic.length < most) return false
  let levels = 1
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) if (++levels > most) return true
  return false
}

/** A queue from which nothing has gone for so long (ms) holds no publisher up: its client does not read. */
export const STANDS_STILL_MS = 1000

/**
 * Milliseconds for which the queue of one client may hold publishers up, and what each message that leaves it earns of them anew. A client that
 * reads fast is waited for as often as it takes; one that reads slowly, or pretends to, delays everybody else by this much and no more.
 */
export const PATIENCE_MS = 1000
export const PATIENCE_PER_MESSAGE_MS = 1
