/** Every bound of the broker, by the name it has in the configuration. Reaching one raises a Notice. */
export interface BrokerLimits {
  /** Unacknowledged QoS 1 and 2 deliveries per client, unless the client asks for fewer (Receive Maximum). */
  readonly maxInflightMessages: number
  /** Messages that wait in one session beyond those in flight. */
  readonly maxQueuedMessages: number
  /** Payload and topic bytes that wait in one session. */
  readonly maxQueuedBytes: number
  /** Seconds that a persistent session of a 3.x client outlives its connection; Infinity is for ever. */
  readonly persistentClientExpiration: number
  readonly maxSessions: number
  readonly maxSubscriptionsPerSession: number
  readonly maxTopicLevels: number
  readonly maxRetainedMessages: number
  readonly maxRetainedBytes: number
}

export const DEFAULT_LIMITS: BrokerLimits = {
  maxInflightMessages: 20,
  maxQueuedMessages: 1000,
  maxQueuedBytes: 8 * 1024 * 1024,
  persistentClientExpiration: Number.POSITIVE_INFINITY,
  maxSessions: 100_000,
  maxSubscriptionsPerSession: 10_000,
  maxTopicLevels: 128,
  maxRetainedMessages: 100_000,
  maxRetainedBytes: 64 * 1024 * 1024,
}

/** Whether a topic name or filter has more than `most` levels; counted without splitting it. */
export function exceedsLevels(topic: string, most: number): boolean {
  // A topic shorter than the bound cannot have that many slashes.
  if (topic.length < most) return false
  let levels = 1
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) if (++levels > most) return true
  return false
}
