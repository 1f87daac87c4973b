import type { Instant } from '../base/machine.ts'
import { Pauses } from '../base/pauses.ts'
import { Timer, Timers } from '../base/timers.ts'
import type { Connection, ConnectionTimer } from './connection.ts'

/** A silent client cannot be given up while the store has no room for what follows from that; the next attempt is this much later (ms). */
const SILENCE_RETRY_MS = 1000

/** The timers of the connections: the time for CONNECT, keep alive, and the end of a pause that `max_publish_rate` demands. */
export class Deadlines {
  readonly #timers = new Timers<ConnectionTimer>()
  readonly #pauses = new Pauses()
  readonly #connectTimeoutMs: number

  constructor(connectTimeoutMs: number) {
    this.#connectTimeoutMs = connectTimeoutMs
  }

  /** The client has so long for CONNECT, or for the next step of its authentication. */
  awaitConnect(now: Instant, connection: Connection): void {
    this.#timers.arm(connection.timer, now + this.#connectTimeoutMs)
  }

  /** The client is connected: keep alive applies from now on, if it has one. */
  keepAlive(now: Instant, { timer, keepAliveMs }: Connection): void {
    if (keepAliveMs > 0) this.#timers.arm(timer, now + keepAliveMs)
    else this.#timers.disarm(timer)
  }

  /** The client may publish again after `wait` milliseconds. */
  throttle(now: Instant, connection: Connection, wait: number): void {
    connection.rateTimer ??= new Timer<ConnectionTimer>({ connection, about: 'rate' })
    this.#timers.arm(connection.rateTimer, now + wait)
  }

  forget({ timer, rateTimer }: Connection): void {
    this.#timers.disarm(timer)
    if (rateTimer !== undefined) this.#timers.disarm(rateTimer)
  }

  /** The process did not run for so many milliseconds. */
  paused(now: Instant, ms: number): void {
    this.#pauses.ended(now, ms)
  }

  expired(now: Instant): ConnectionTimer | undefined {
    return this.#timers.expired(now)?.owner
  }

  next(): Instant | undefined {
    return this.#timers.next()
  }

  /** Whether the client has really been silent for too long, now that its timer has expired. If not, the timer is set again. */
  isSilent(now: Instant, connection: Connection, storeHasRoom: boolean): boolean {
    const { timer, isConnected, keepAliveMs } = connection
    // While it is not read, its packets cannot be seen.
    if (isConnected && (connection.paused || connection.congested)) connection.lastReceived = now
    // A packet only notes the time; the deadline moves here.
    const due = isConnected
      ? this.#pauses.extend(connection.lastReceived + keepAliveMs, keepAliveMs)
      : this.#pauses.extend(timer.deadline, this.#connectTimeoutMs)
    if (due <= now && (!isConnected || storeHasRoom)) return true
    this.#timers.arm(timer, due > now ? due : now + SILENCE_RETRY_MS)
    return false
  }
}
