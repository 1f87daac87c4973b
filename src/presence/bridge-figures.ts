import type { Instant } from '../base/machine.ts'
import type { Broker } from '../broker/broker.ts'
import { waitingSince } from '../broker/oldest-waiting.ts'
import type { Bridge } from '../upstream/bridge.ts'

/** What waits at this broker for the remote one. */
export interface BridgeQueue {
  /** Queued or in flight. */
  readonly messages: number
  readonly bytes: number
  /** When the message that has waited longest was accepted, to the second; `undefined` if none waits, or if that is not known. */
  readonly since: Instant | undefined
}

export function bridgeQueue(broker: Broker, { options }: Bridge): BridgeQueue {
  const session = broker.sessions.get('mqtt', options.localClientId)
  const { messages, bytes } = (session && broker.resting.waiting(session.key)) ?? { messages: 0, bytes: 0 }
  const oldest = session === undefined || messages === 0 ? undefined : waitingSince(session)
  return { messages, bytes, since: oldest === undefined ? undefined : oldest * 1000 }
}

/** Age of the message that has waited longest, in whole seconds. */
export const oldestSeconds = (now: Instant, { since }: BridgeQueue): number | undefined =>
  since === undefined ? undefined : Math.max(0, Math.floor((now - since) / 1000))

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

const VERSIONS: Readonly<Record<number, string>> = { 3: '3.1', 4: '3.1.1', 5: '5.0' }

/** Of a protocol level, for people; `undefined` before the first connection. */
export const versionOf = (level: number): string | undefined => VERSIONS[level]
