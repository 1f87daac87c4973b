import type { Instant } from './machine.ts'

/** Time after a pause until everything that waited in the sockets has been read, in milliseconds. */
const READING_MS = 1000

/**
 * Times in which the process did not run, because it or its machine was suspended. No peer could be heard, so deadlines
 * are extended by the length of the pause, but at most by the usual silence of the peer.
 */
export class Pauses {
  #begin: Instant = Number.NEGATIVE_INFINITY
  #end: Instant = Number.NEGATIVE_INFINITY
  #ms = 0

  /** A pause of `ms` milliseconds has just ended. */
  ended(now: Instant, ms: number): void {
    if (now - ms > this.#end + READING_MS) this.#begin = now - ms
    // A short pause must not cut short the extension that a preceding long one granted.
    this.#ms = ms + Math.max(0, this.#end + this.#ms - now)
    this.#end = now
  }

  /** Returns the extended deadline of a peer that may be silent for `silenceMs`. */
  extend(deadline: Instant, silenceMs: number): Instant {
    return Math.max(deadline, this.#end + Math.min(this.#ms, silenceMs))
  }

  /** Returns the earliest time at which something read now may have arrived: it may have waited in its socket during a pause. */
  earliestArrival(now: Instant): Instant {
    return now <= this.#end + READING_MS ? this.#begin : now
  }
}
