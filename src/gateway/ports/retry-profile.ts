/**
 * How a port retransmits unanswered messages [1.2 sections 6.13, 7.2]. A radio with a duty cycle needs other values than
 * a LAN.
 */
export interface RetryProfile {
  /** Time before the first retransmission in milliseconds (T_retry). */
  readonly tRetryMs: number
  /** Maximum number of retransmissions (N_retry). */
  readonly nRetry: number
  /** Factor between successive waits, 1 or more: a client that does not answer may be overloaded. */
  readonly backoff: number
  /** Maximum random extension of a wait, as a share of it from 0 to 1, so that messages that collided do not collide again. */
  readonly jitter: number
}

/** Maximum wait in milliseconds, unless T_retry is longer. */
const DELAY_MAX_MS = 3_600_000

/** Returns the wait in milliseconds after the first transmission (`retries` 0) or a retransmission. `chance`: in [0, 1). */
export function retryDelayMs({ tRetryMs, backoff, jitter }: RetryProfile, retries: number, chance: number): number {
  const grown = Math.min(tRetryMs * backoff ** retries, Math.max(tRetryMs, DELAY_MAX_MS))
  return grown * (1 + jitter * chance)
}

/** Returns the maximum duration of all attempts for one message, in milliseconds. */
export function allTriesMs(profile: RetryProfile): number {
  let sum = 0
  for (let retries = 0; retries <= profile.nRetry; retries++) sum += retryDelayMs(profile, retries, 1)
  return sum
}
