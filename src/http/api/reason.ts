import type { Instant } from '../../base/machine.ts'

/** Why a client does not get its messages at the moment. docs/troubleshooting.md explains each. */
export const REASONS = [
  'session-ended',
  'lost',
  'disconnected',
  'asleep',
  'overdue',
  'connecting',
  'cluster-away',
  'address-taken',
  'no-subscriptions',
  'no-match',
  'read-denied',
  'condition',
  'qos0-while-away',
  'shared',
  'queue-full',
  'no-memory',
  'expired',
  'not-acknowledged',
  'window-full',
  'congested',
  'not-reading',
  'wake-limit',
  'address-not-validated',
  'airtime',
  'port-missing',
  'too-large',
  'topic-not-registered',
  'topic-refused',
  'topic-ids-used-up',
  'store-waits',
  'store-full',
] as const
export type ReasonName = (typeof REASONS)[number]

/** One reason, in words and in figures. What does not apply is absent. */
export interface Reason {
  readonly code: ReasonName
  /** A sentence for people. Times are not in it, because they are shown in many ways. */
  readonly text: string
  readonly since?: Instant | undefined
  /** When it is expected to end, or has been due to. */
  readonly until?: Instant | undefined
  /** Messages that it holds back, and their bytes. */
  readonly messages?: number
  readonly bytes?: number
  /** Of messages or topic ids. */
  readonly limit?: number
  readonly bytesLimit?: number
  /** Messages for this client that were dropped so far, for any reason. */
  readonly dropped?: number | undefined
  /** Option behind the limit. */
  readonly option?: string | undefined
  readonly topic?: string
  readonly filter?: string
  /** Type of the packet that is awaited. */
  readonly awaiting?: string
  readonly msgId?: number
  readonly retransmissions?: number
  readonly retransmissionsLimit?: number
  readonly port?: string
}

/** `1 message waits`, `3 messages wait`. */
export const wait = (count: number): string => (count === 1 ? '1 message waits' : `${count} messages wait`)

/** Characters of a topic in a sentence. */
const TOPIC_MAX = 100
export const short = (topic: string): string => (topic.length > TOPIC_MAX ? `${topic.slice(0, TOPIC_MAX)}...` : topic)
