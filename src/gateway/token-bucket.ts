import type { Instant } from '../base/machine.ts'

/** So many per second on average, and as many at once. */
export class TokenBucket {
  readonly #perSecond: number
  #tokens: number
  #filledAt: Instant = 0

  constructor(perSecond: number) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
  }

  /** Takes one, if there is one. */
  take(now: Instant): boolean {
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((now - this.#filledAt) / 1000) * this.#perSecond)
    this.#filledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
