import type { Instant } from '../base/machine.ts'
import type { SessionKey } from '../store/store.ts'
import type { Session } from './session.ts'

/** What bridges know of the broker beside links. */
export interface BridgeView {
  /** Filters of the subscriptions of a session. */
  filtersOf(key: SessionKey): readonly string[]
  /** Packet ids of QoS 2 messages that a session has received and not released. */
  receiptsOf(key: SessionKey): readonly number[]
  publishSys(now: Instant, topic: string, value: string): void
}

interface Parts {
  readonly sessions: { byKey(key: SessionKey): Session | undefined }
  publishSys(now: Instant, topic: string, value: string): void
}

export const bridgeView = (broker: Parts): BridgeView => ({
  filtersOf: (key) => Array.from(broker.sessions.byKey(key)?.subscriptions ?? [], ([filter]) => filter),
  receiptsOf: (key) => broker.sessions.byKey(key)?.receipts?.packetIds ?? [],
  publishSys: (now, topic, value) => broker.publishSys(now, topic, value),
})
