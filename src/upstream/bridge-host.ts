import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { Uplink } from '../mqtt/link.ts'
import type { SessionKey } from '../store/store.ts'

/** What a bridge needs of the broker, besides links. */
export interface BridgeHost {
  readonly uplink: Uplink
  readonly notice: NoticeSink
  readonly maxTopicLevels: number
  /** Filters of the subscriptions of a local session. */
  filtersOf(session: SessionKey): readonly string[]
  /** Packet ids of QoS 2 messages that a local session has received and not released, with fingerprints from before a restart. */
  receiptsOf(session: SessionKey): ReadonlyMap<number, number | undefined>
  /** Publishes a value under `$SYS` here. */
  publishSys(now: Instant, topic: string, value: string): void
}

export type BridgeState =
  /** The session at the remote broker is connected. */
  | 'connected'
  /** It is not, and is tried again and again. */
  | 'connecting'
  /** Lazy, and too little waits. */
  | 'idle'
  /** It was to connect once, and has lost its connection, or found none. */
  | 'ended'
