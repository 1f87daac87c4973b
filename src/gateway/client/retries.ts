import type { Instant } from '../../base/machine.ts'
import { Timer } from '../../base/timers.ts'
import { allTriesMs, retryDelayMs } from '../ports/retry-profile.ts'
import type { GatewayClient } from './client.ts'
import type { ClientTimer } from './client-host.ts'

/**
 * How often all attempts are made for a client that is heard and does not answer. With one in ten datagrams lost and N_retry 3, all four attempts fail
 * for one message in 770, and those of three rounds for one in 450 million.
 */
const ROUNDS = 3

/** The retry timer of what one client has not answered [1.2 section 6.13], and when it was sent. */
export class Retries {
  readonly #client: GatewayClient
  #timer: Timer<ClientTimer> | undefined = undefined
  #count = 0
  /** When the client answered last, or what is open was sent for the first time. */
  #since: Instant = 0
  /** When it was sent last. */
  #sentAt: Instant = 0
  /** The client has left something unanswered through all rounds, and has answered nothing since: it is not asked that often again. */
  isIgnored = false
  /** How often all attempts have been made. */
  #round = 1
  /** N_retry is used up, and whether the client is still there is not decided. */
  exhausted = false

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** True when N_retry is used up. */
  get usedUp(): boolean {
    return this.#count >= this.#client.retryProfile.nRetry
  }

  /** The client has sent something since the first attempt. */
  get heardSinceFirst(): boolean {
    return this.#client.lastHeard > this.#since
  }

  /** The client has sent something since the last attempt. */
  get heardSinceLast(): boolean {
    return this.#client.lastHeard > this.#sentAt
  }

  /** The client has answered, or something new was sent: all attempts are available again. */
  restart(now: Instant): void {
    this.exhausted = false
    this.#round = 1
    this.#count = 0
    this.#since = now
    this.arm(now)
  }

  /** Makes all attempts once more, for a client that is heard: on a lossy network it may have received none. False after the last round. */
  beginRound(now: Instant): boolean {
    if (this.isIgnored || this.#round >= this.rounds) return false
    this.exhausted = false
    this.#round++
    this.#count = 0
    this.arm(now)
    return true
  }

  get rounds(): number {
    return this.#client.host.options.unansweredRounds ?? ROUNDS
  }

  /** Counts one more attempt. */
  again(now: Instant): void {
    this.#count++
    this.arm(now)
  }

  /** What waited for its port, or for the store, has only left now. */
  left(now: Instant): void {
    if (!this.#at().armed) return
    if (this.#count === 0) this.#since = now
    this.arm(now)
  }

  /** Waits for T_retry from now on. */
  arm(now: Instant): void {
    const { host, retryProfile } = this.#client
    this.#sentAt = now
    host.timers.arm(this.#at(), now + retryDelayMs(retryProfile, this.#count, host.chance()))
  }

  /** Waits for this long, whatever is open. */
  armFor(now: Instant, ms: number): void {
    this.#client.host.timers.arm(this.#at(), now + ms)
  }

  /** Looks again when a message would have been given up, unless the timer runs already. */
  watch(now: Instant): void {
    if (!this.#at().armed) this.armFor(now, allTriesMs(this.#client.retryProfile))
  }

  reset(): void {
    this.#count = 0
    this.#round = 1
    this.disarm()
  }

  disarm(): void {
    this.exhausted = false
    if (this.#timer !== undefined) this.#client.host.timers.disarm(this.#timer)
  }

  #at(): Timer<ClientTimer> {
    this.#timer ??= new Timer<ClientTimer>({ client: this.#client, about: 'retry' })
    return this.#timer
  }
}
