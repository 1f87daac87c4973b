import type { Instant } from './machine.ts'

/** After a pause: what waited in the sockets has been read by then. */
const READING_MS = 1000

/**
 * Times during which the process did not run: it was stopped, or its machine was paused. Nobody could be heard then, so everybody may stay silent for that
 * much longer afterwards, but at most for their usual time again.
 */
export class Pauses {
  #begin: Instant = Number.NEGATIVE_INFINITY
  #end: Instant = Number.NEGATIVE_INFINITY
  #ms = 0

  /** A pause of so many milliseconds has just ended. */
  ended(now: Instant, ms: number): void {
    if (now - ms > this.#end + READING_MS) this.#begin = now - ms
    // A short pause must not cut off what a long one before it has granted.
    this.#ms = ms + Math.max(0, this.#end + this.#ms - now)
    this.#end = now
  }

  /** The deadline of somebody who may be silent for `silenceMs`. */
  extend(deadline: Instant, silenceMs: number): Instant {
    return Math.max(deadline, this.#end + Math.min(this.#ms, silenceMs))
  }

  /** When something that is read now may have come at the earliest: it may have waited in its socket for the end of a pause. */
  earliestArrival(now: Instant): Instant {
    return now <= this.#end + READING_MS ? this.#begin : now
  }
}
