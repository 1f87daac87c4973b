/** How a port repeats what is not answered [1.2 sections 6.13, 7.2]: a radio with a duty cycle has other habits than a LAN. */
export interface RetryProfile {
  /** Until a message is sent again for the first time (T_retry). */
  readonly tRetryMs: number
  /** Times that it is sent again (N_retry). */
  readonly nRetry: number
  /** Each further wait is this many times as long, 1 or more: who does not answer may be hearing too much. */
  readonly backoff: number
  /** Share of a wait, 0 to 1, by which chance prolongs it: what collided once should not collide again. */
  readonly jitter: number
}

/** A wait grows no longer than this, or than T_retry if that is longer. */
const DELAY_MAX_MS = 3_600_000

/** The wait after a message was sent for the first time (`retries` 0) or again; `chance` is in [0, 1). */
export function retryDelayMs({ tRetryMs, backoff, jitter }: RetryProfile, retries: number, chance: number): number {
  const grown = Math.min(tRetryMs * backoff ** retries, Math.max(tRetryMs, DELAY_MAX_MS))
  return grown * (1 + jitter * chance)
}

/** The longest that all tries of one message together can take. */
export function allTriesMs(profile: RetryProfile): number {
  let sum = 0
  for (let retries = 0; retries <= profile.nRetry; retries++) sum += retryDelayMs(profile, retries, 1)
  return sum
}
