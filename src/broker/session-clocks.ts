import type { Instant } from '../base/machine.ts'
import type { Timers } from '../base/timers.ts'
import type { Disconnect } from '../mqtt/packets.ts'
import { NO_ROOM_RETRY_MS } from '../store/pace.ts'
import type { BrokerContext } from './context.ts'
import type { Session } from './session.ts'

/** What a timer of a session is for. */
export interface SessionTimer {
  readonly session: Session
  readonly about: SessionClock | 'grant' | 'held'
}

/**
 * Clocks of a session without a client; their results are recorded, and wait for room in the store. `detached`: the disconnection
 * has yet to be recorded. The other timers: `grant`: the authentication expires; `held`: publishers are paused for the queue.
 */
export type SessionClock = 'detached' | 'will' | 'expiry'

/** Milliseconds until a will or an end that the store had no room for is tried again. */
const FULL_RETRY_MS = 10_000

/** Seconds from the disconnection to the publication of the will: its delay, or the expiry of the session if that is sooner. */
export const willDelaySeconds = ({ will, expirySeconds }: Session): number =>
  Math.min(will?.properties.willDelayInterval ?? 0, expirySeconds)

/**
 * Starts the clocks of a session whose client disconnected `elapsedMs` ago. What is already due follows in later turns: there may
 * be any number of such sessions.
 */
export function startClocks({ clocks }: BrokerContext, now: Instant, session: Session, elapsedMs: number): void {
  const arm = (clock: SessionClock, seconds: number): void => {
    const left = Math.max(0, seconds * 1000 - elapsedMs)
    if (left !== Number.POSITIVE_INFINITY) clocks.arm(session.timer(clock), now + left)
  }
  // [MQTT-3.1.2-8]
  if (session.will !== undefined) arm('will', willDelaySeconds(session))
  // [MQTT-4.1.0-2]
  arm('expiry', session.expirySeconds)
}

/** The store had no room for the result of this clock: sets it again for later. */
export function retryLater({ clocks, store }: BrokerContext, now: Instant, session: Session, clock: SessionClock): void {
  clocks.arm(session.timer(clock), now + (store.hasRoom ? FULL_RETRY_MS : NO_ROOM_RETRY_MS))
}

/**
 * The store has no room for the will or the end of the session: it stays due, and is tried again while no client is connected.
 */
export function postpone(context: BrokerContext, now: Instant, session: Session, what: 'will' | 'end'): void {
  session.refused = what
  if (session.link === undefined) retryLater(context, now, session, what === 'will' ? 'will' : 'expiry')
}

/**
 * Applies the Session Expiry Interval of a DISCONNECT, if it has one; `most`: the limit on it in seconds. False if it may not: an
 * expiry of 0 in CONNECT cannot be raised here [5.0 section 3.14.2.2.2].
 */
export function applyExpiry(session: Session, { properties }: Disconnect, most: number): boolean {
  const { sessionExpiryInterval: expiry } = properties
  if (expiry === undefined) return true
  if (session.expirySeconds === 0 && expiry > 0) return false
  session.expirySeconds = Math.min(expiry === 0xffffffff ? Number.POSITIVE_INFINITY : expiry, most)
  return true
}

export function stopTimers(context: BrokerContext, session: Session): void {
  for (const timer of session.timers) heapOf(context, timer.owner.about).disarm(timer)
}

const heapOf = ({ timers, clocks }: BrokerContext, about: SessionTimer['about']): Timers<SessionTimer> =>
  about === 'grant' || about === 'held' ? timers : clocks
