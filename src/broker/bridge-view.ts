import type { Instant } from '../base/machine.ts'
import { BRIDGE_LISTENER } from '../mqtt/link.ts'
import type { SessionKey } from '../store/store.ts'
import type { Session } from './session.ts'

/** What bridges know of the broker beside links. */
export interface BridgeView {
  /** Filters of the subscriptions of a session. */
  filtersOf(key: SessionKey): readonly string[]
  /** Packet ids of QoS 2 messages that a session has received and not released, with fingerprints of those from before a restart. */
  receiptsOf(key: SessionKey): ReadonlyMap<number, number | undefined>
  publishSys(now: Instant, topic: string, value: string): void
}

interface Parts {
  readonly sessions: { byKey(key: SessionKey): Session | undefined }
  publishSys(now: Instant, topic: string, value: string): void
}

/** Sessions of bridges that are not among those configured: they collect messages that nobody fetches. */
export function leftSessions(sessions: Iterable<Session>, configured: ReadonlySet<string>): SessionKey[] {
  const left: SessionKey[] = []
  for (const { owner, clientId, key } of sessions)
    if (owner.listener === BRIDGE_LISTENER && !configured.has(clientId)) left.push(key)
  return left
}

export const bridgeView = (broker: Parts): BridgeView => ({
  filtersOf: (key) => Array.from(broker.sessions.byKey(key)?.subscriptions ?? [], ([filter]) => filter),
  receiptsOf(key) {
    const { receipts } = broker.sessions.byKey(key) ?? {}
    return new Map(receipts?.packetIds.map((packetId) => [packetId, receipts.fingerprintOf(packetId)]))
  },
  publishSys: (now, topic, value) => broker.publishSys(now, topic, value),
})
