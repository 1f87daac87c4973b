import type { Instant } from './machine.ts'

/**
 * Times in which the process did not run, because it was stopped or its machine was paused. Nobody could be heard then, so silence is given that much
 * longer afterwards, though never more than it may last anyway.
 */
export class Pauses {
  #end: Instant = Number.NEGATIVE_INFINITY
  #ms = 0

  /** A pause of so many milliseconds has just ended. */
  ended(now: Instant, ms: number): void {
    // A short stall does not cut short what a long one has granted.
    this.#ms = ms + Math.max(0, this.#end + this.#ms - now)
    this.#end = now
  }

  /** The deadline of somebody who may be silent for `silenceMs`. */
  extend(deadline: Instant, silenceMs: number): Instant {
    return Math.max(deadline, this.#end + Math.min(this.#ms, silenceMs))
  }
}
