import type { GatewayOptions } from './options.ts'
import { allTriesMs, type RetryProfile } from './retry-profile.ts'
import type { State } from './state-table.ts'

/** What supervision looks at. */
export interface Supervised {
  readonly state: State
  /** Keep alive, seconds; 0 is none. */
  readonly durationSeconds: number
  readonly sleepSeconds: number
  readonly cleanSession: boolean
}

/**
 * Silence, in milliseconds, after which a client in this state counts as lost, or as forgotten if it is gone already; `undefined` is
 * never [1.2 sections 6.11, 6.14, 7.2].
 */
export function silenceMs(client: Supervised, options: GatewayOptions, retry: RetryProfile): number | undefined {
  const { sleepMargin, maxIdleMs, sessionExpirySeconds } = options
  const retriesMs = allTriesMs(retry)
  switch (client.state) {
    case 'asleep':
    case 'awake': {
      // Keep alive does not run; the clocks of radios drift (rulings A2, A3).
      const sleepMs = client.sleepSeconds * 1000
      return Math.max(sleepMs * sleepMargin, sleepMs + retriesMs)
    }
    case 'active':
      // Section 7.2: a tolerance of 10 % above a minute, of 50 % below.
      if (client.durationSeconds > 0) return client.durationSeconds * (client.durationSeconds > 60 ? 1100 : 1500)
      return maxIdleMs > 0 ? maxIdleMs : undefined
    case 'disconnected':
    case 'lost':
      // A clean session is forgotten when a repeated DISCONNECT can no longer come.
      if (client.cleanSession) return retriesMs
      return Number.isFinite(sessionExpirySeconds) ? sessionExpirySeconds * 1000 : undefined
    default:
      return 2 * retriesMs
  }
}
