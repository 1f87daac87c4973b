import type { Instant } from '../base/machine.ts'
import { Pauses } from '../base/pauses.ts'
import { Timer, Timers } from '../base/timers.ts'
import type { Connection, ConnectionTimer } from './connection.ts'

/** A silent client stays connected while the store has no room to record the consequences; checked again after this time (ms). */
const SILENCE_RETRY_MS = 1000

/** The timers of the connections: connect timeout, keep alive, and pauses for `max_publish_rate`. */
export class Deadlines {
  readonly #timers = new Timers<ConnectionTimer>()
  readonly #pauses = new Pauses()
  readonly #connectTimeoutMs: number

  constructor(connectTimeoutMs: number) {
    this.#connectTimeoutMs = connectTimeoutMs
  }

  /** Starts the time for CONNECT and everything up to CONNACK: an exchange of AUTH does not extend it. */
  awaitConnect(now: Instant, connection: Connection): void {
    this.#timers.arm(connection.timer, now + this.#connectTimeoutMs)
  }

  /** The client is connected: starts keep alive, if it has one. */
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

  /** The process was paused for so many milliseconds. */
  paused(now: Instant, ms: number): void {
    this.#pauses.ended(now, ms)
  }

  expired(now: Instant): ConnectionTimer | undefined {
    return this.#timers.expired(now)?.owner
  }

  next(): Instant | undefined {
    return this.#timers.next()
  }

  /** Whether the client has been silent for too long; its timer has expired. If not, sets the timer again. */
  isSilent(now: Instant, connection: Connection, storeHasRoom: boolean): boolean {
    const { timer, isConnected, keepAliveMs } = connection
    // The client cannot be heard while it is not read.
    if (isConnected && (connection.paused || connection.congested)) connection.lastReceived = now
    // A packet only records the time; the deadline moves here.
    // [MQTT-3.1.2-22]
    const due = isConnected
      ? this.#pauses.extend(connection.lastReceived + keepAliveMs, keepAliveMs)
      : this.#pauses.extend(timer.deadline, this.#connectTimeoutMs)
    if (due <= now && (!isConnected || storeHasRoom)) return true
    this.#timers.arm(timer, due > now ? due : now + SILENCE_RETRY_MS)
    return false
  }
}

/** Why a client has no CONNACK yet: it waits for something, or has to send something. */
export function whyLate({ link: { session, state }, joining }: Connection): string {
  // The CONNACK waits for the store.
  if (session !== undefined) return 'not recorded in time'
  if (state === 'verifying') return 'not verified in time'
  if (state === 'held') return 'the session before it has not ended in time'
  return joining === undefined ? 'no CONNECT in time' : 'no AUTH in time'
}
