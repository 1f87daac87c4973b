import type { Instant } from '../../base/machine.ts'
import type { WallTime } from '../../store/store.ts'
import type { GatewayOptions } from '../gateway-options.ts'
import { allTriesMs, type RetryProfile } from '../ports/retry-profile.ts'
import type { GatewayClient } from './client.ts'
import type { ClientHost } from './client-host.ts'
import { lost } from './leaving.ts'
import type { State } from './state-table.ts'

/** Interval at which a client is checked that cannot expire because its will is not yet published, in milliseconds. */
const OWED_MS = 10_000

/** Why a client is lost, as notices and logs say it. */
const SILENT = 'silent for longer than its keep alive allows'
const OVERSLEPT = 'it did not wake when its sleep duration ended'

/** The properties of a client that supervision depends on. */
export interface Supervised {
  readonly state: State
  /** Keep alive in seconds; 0 disables it. */
  readonly durationSeconds: number
  readonly sleepSeconds: number
  readonly cleanSession: boolean
}

/**
 * Returns the silence, in milliseconds, after which a client in this state is lost, or forgotten if it is disconnected or lost
 * already; `undefined` for no limit [1.2 sections 6.11, 6.14, 7.2].
 */
export function silenceMs(client: Supervised, options: GatewayOptions, retry: RetryProfile): number | undefined {
  const { sleepMargin, maxIdleMs, sessionExpirySeconds } = options
  const retriesMs = allTriesMs(retry)
  switch (client.state) {
    case 'asleep':
    case 'awake': {
      // Keep alive does not apply in sleep. The margin allows for drifting clocks and a retransmitted PINGREQ (rulings A2, A3).
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
      // A clean session is forgotten once no retransmitted DISCONNECT can follow.
      if (client.cleanSession) return retriesMs
      return Number.isFinite(sessionExpirySeconds) ? sessionExpirySeconds * 1000 : undefined
    default:
      // A will dialogue has its own timer.
      return undefined
  }
}

/**
 * Grace period after a restart, in milliseconds, for a sleeping client to be heard. Its wake-ups are recorded often enough that
 * the time of the last record is never older than this.
 */
export const sleepGraceMs = (sleepSeconds: number): number => sleepSeconds * 500

/**
 * Returns for how many milliseconds a client counts as silent when the process starts; `elapsedMs` is the wall time since its
 * last record. Keep alive starts over, which is its grace period; sleep, and the expiry of a disconnected client, continue.
 */
export function silentBefore(client: Supervised, elapsedMs: number, silence: number): number {
  if (client.state === 'active') return 0
  const graceMs = client.state === 'asleep' ? Math.min(sleepGraceMs(client.sleepSeconds), silence) : 0
  return Math.max(0, Math.min(elapsedMs, silence) - graceMs)
}

/** Time of the client's last record: after a restart, it has been in its state at least since then. */
export const sinceRecord = (recordedAt: WallTime, epoch: WallTime): Instant => recordedAt - epoch

/** When a client counts as last heard, if the process starts now. */
const resumedAt = (client: Supervised, now: Instant, elapsedMs: number, silence: number | undefined): Instant =>
  now - (silence === undefined ? 0 : silentBefore(client, elapsedMs, silence))

/** What `Supervision.resume` sets, for a sleeping client that is no object. */
export function resumedSleep(
  client: Supervised,
  now: Instant,
  elapsedMs: number,
  retry: RetryProfile,
  { options, pauses }: Pick<ClientHost, 'options' | 'pauses'>,
): { readonly heardAt: Instant; readonly deadline: Instant } {
  const silence = silenceMs(client, options, retry)!
  const heardAt = resumedAt(client, now, elapsedMs, silence)
  return { heardAt, deadline: Math.max(now, pauses.extend(heardAt + silence, silence)) }
}

/** The timer of a silent client. A message only notes the time; the deadline is moved when the timer fires. */
export class Supervision {
  readonly #client: GatewayClient

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** Call when the state has changed. */
  arm(now: Instant): void {
    const { host, seat } = this.#client
    const { deadline } = this
    if (deadline === undefined) this.stop()
    else if (seat >= 0) host.silences.arm(seat, Math.max(deadline, now))
  }

  /** Stops the timer: the client is forgotten, and the next one with its id is a new client. */
  stop(): void {
    const { host, seat } = this.#client
    if (seat >= 0) host.silences.disarm(seat)
  }

  /** Resumes supervision after a restart. `elapsedMs` is the time since the client's last record. */
  resume(now: Instant, elapsedMs: number): void {
    const client = this.#client
    const silence = silenceMs(client, client.host.options, client.retryProfile)
    client.lastHeard = resumedAt(client, now, elapsedMs, silence)
    client.sleepsSince = client.lastHeard
    client.since = Math.min(now, sinceRecord(client.recordedAt, client.host.clock.epoch))
    this.arm(now)
  }

  timedOut(now: Instant): void {
    const { deadline } = this
    if (deadline === undefined) return
    const { state, host, clientId, seat } = this.#client
    if (deadline > now) this.arm(now)
    else if (host.uplink.owesWill?.(clientId) === true) host.silences.arm(seat, now + OWED_MS)
    else if (state === 'disconnected' || state === 'lost') host.forget(this.#client)
    else lost(this.#client, now, state === 'active' ? SILENT : OVERSLEPT)
  }

  /** When the client is lost, or forgotten, unless it is heard before; undefined: never. */
  get deadline(): Instant | undefined {
    const client = this.#client
    // No expiry while CONNECT is pending: CONNACK would have no client to go to.
    if (client.setup.isUnderWay && (client.state === 'disconnected' || client.state === 'lost')) return undefined
    const silence = silenceMs(client, client.host.options, client.retryProfile)
    if (silence === undefined) return undefined
    return client.host.pauses.extend(Math.max(client.lastHeard, client.sleepsSince) + silence, silence)
  }
}
