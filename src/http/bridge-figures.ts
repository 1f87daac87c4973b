import type { Instant } from '../base/machine.ts'
import { waitingSince } from '../broker/oldest-waiting.ts'
import type { Server } from '../server.ts'
import type { Bridge } from '../upstream/bridge.ts'

/** What waits at this broker for the remote one. */
export interface BridgeQueue {
  /** Queued or in flight. */
  readonly messages: number
  readonly bytes: number
  /** Of the message that has waited longest; `undefined` if none does, or if that is not known. */
  readonly oldestSeconds: number | undefined
}

export function bridgeQueue(now: Instant, { broker }: Server, { options }: Bridge): BridgeQueue {
  const session = broker.sessions.get('mqtt', options.localClientId)
  const { messages, bytes } = (session && broker.resting.waiting(session.key)) ?? { messages: 0, bytes: 0 }
  const oldest = session === undefined || messages === 0 ? undefined : waitingSince(session)
  return { messages, bytes, oldestSeconds: oldest === undefined ? undefined : Math.max(0, Math.floor(now / 1000) - oldest) }
}

/** Messages so far. */
export interface BridgeTotals {
  readonly sent: number
  readonly received: number
  readonly resent: number
  /** Neither side will have them; a notice was raised for each. */
  readonly refused: number
}

export function bridgeTotals({ counts, remote: { status } }: Bridge): BridgeTotals {
  return { sent: counts.out, received: counts.in, resent: status.resent, refused: counts.refused }
}
