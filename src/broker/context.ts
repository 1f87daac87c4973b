import type { Memory } from '../base/memory.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { Pauses } from '../base/pauses.ts'
import type { Timers } from '../base/timers.ts'
import type { Store, WallClock } from '../store/store.ts'
import type { Access } from './access.ts'
import type { Conditions } from './conditions.ts'
import type { ContentCheck } from './content-check.ts'
import type { DeliveryHook } from './delivery-hook.ts'
import type { Expiry } from './expiry.ts'
import type { Holdings } from './holdings.ts'
import type { Hooks } from './hooks.ts'
import type { BrokerLimits } from './limits.ts'
import type { LiveTopics } from './live-topics.ts'
import type { QueueSweeps } from './queue-sweeps.ts'
import type { Retained } from './retained.ts'
import type { Router } from './router.ts'
import type { SessionTimer } from './session-clocks.ts'

/** Counters that never decrease; rates are differences between two readings. */
export class Stats {
  publishReceived = 0
  /** Messages dropped: over a limit, expired, or QoS 0 for an absent client. Each also raises a notice. */
  publishDropped = 0
  connected = 0
  refused = 0
  takeovers = 0
  willsPublished = 0
  sessionsExpired = 0
}

/** What all parts of the broker share. */
export interface BrokerContext {
  readonly limits: BrokerLimits
  readonly store: Store
  readonly clock: WallClock
  readonly notice: NoticeSink
  readonly access: Access
  /** Empty if the program has none. */
  readonly hooks: Hooks
  /** Undefined if there is none. */
  readonly deliveryHook: DeliveryHook | undefined
  /** In [0, 1); injected once, so that a run can be repeated. */
  readonly random: () => number
  readonly stats: Stats
  readonly memory: Memory
  readonly holdings: Holdings
  readonly router: Router
  readonly retained: Retained
  /** Retained $SYS messages: separate from those of clients, without limits, and not stored. */
  readonly sysRetained: Retained
  /** Timers of connected clients: grants, and paused publishers. */
  readonly timers: Timers<SessionTimer>
  /** Clocks of sessions without a client. */
  readonly clocks: Timers<SessionTimer>
  /** Times in which no client could be heard. */
  readonly pauses: Pauses
  /** Retained messages that are made when they are asked for. */
  readonly live: LiveTopics
  /** Those of subscriptions. */
  readonly conditions: Conditions
  readonly expiry: Expiry
  readonly sweeps: QueueSweeps
  /** Undefined if no topic has a type. */
  readonly content: ContentCheck | undefined
}
