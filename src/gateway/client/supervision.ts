import type { Instant } from '../../base/machine.ts'
import { Timer } from '../../base/timers.ts'
import type { GatewayOptions } from '../options.ts'
import { allTriesMs, type RetryProfile } from '../ports/retry-profile.ts'
import type { GatewayClient } from './client.ts'
import { lost } from './leaving.ts'
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
      // Keep alive does not run; the clocks of radios drift, and a PINGREQ may have to be repeated (rulings A2, A3).
      const sleepMs = client.sleepSeconds * 1000
      const againMs = client.state === 'asleep' ? retry.tRetryMs : retriesMs
      return Math.max(sleepMs * sleepMargin, sleepMs + againMs)
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
      // A will dialogue has its own end.
      return undefined
  }
}

/**
 * One grace period, in milliseconds, for a sleeper to be heard after a restart. Its wakes are recorded so often that the time of the last record
 * is never further behind.
 */
export const sleepGraceMs = (sleepSeconds: number): number => sleepSeconds * 500

/**
 * For how long a client counts as silent when the process begins anew, in milliseconds: `elapsedMs` is the wall time since its last record. Keep
 * alive begins anew, which is its grace period; what is left of a sleep runs on, and of the expiry of who is gone.
 */
export function silentBefore(client: Supervised, elapsedMs: number, silence: number): number {
  if (client.state === 'active') return 0
  const graceMs = client.state === 'asleep' ? Math.min(sleepGraceMs(client.sleepSeconds), silence) : 0
  return Math.max(0, Math.min(elapsedMs, silence) - graceMs)
}

/** The clock that runs while a client is silent. A message only notes the time; the deadline moves when it comes. */
export class Supervision {
  readonly #client: GatewayClient
  #timer: Timer<GatewayClient> | undefined = undefined

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** To be called when the state has changed. */
  arm(now: Instant): void {
    const { silences } = this.#client.host
    const deadline = this.#deadline()
    if (deadline === undefined) {
      this.stop()
      return
    }
    this.#timer ??= new Timer(this.#client)
    silences.arm(this.#timer, Math.max(deadline, now))
  }

  /** Nobody is left to supervise: whoever comes by that name next is another. */
  stop(): void {
    if (this.#timer !== undefined) this.#client.host.silences.disarm(this.#timer)
  }

  /** The process begins anew, so long after the client's last record (ms). */
  resume(now: Instant, elapsedMs: number): void {
    const client = this.#client
    const silence = silenceMs(client, client.host.options, client.retryProfile)
    client.lastHeard = now - (silence === undefined ? 0 : silentBefore(client, elapsedMs, silence))
    client.sleepsSince = client.lastHeard
    this.arm(now)
  }

  timedOut(now: Instant): void {
    const deadline = this.#deadline()
    if (deadline === undefined) return
    const { state, host } = this.#client
    if (deadline > now) this.arm(now)
    else if (state === 'disconnected' || state === 'lost') host.forget(this.#client)
    else lost(this.#client, now, state === 'active' ? 'keep alive' : 'sleep duration')
  }

  #deadline(): Instant | undefined {
    const client = this.#client
    // Whoever is about to be connected is not about to be forgotten, or the broker's answer would find nobody.
    if (client.setup.isUnderWay && (client.state === 'disconnected' || client.state === 'lost')) return undefined
    const silence = silenceMs(client, client.host.options, client.retryProfile)
    if (silence === undefined) return undefined
    return client.host.pauses.extend(Math.max(client.lastHeard, client.sleepsSince) + silence, silence)
  }
}
