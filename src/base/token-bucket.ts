import type { Instant } from './machine.ts'

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
    if (!this.has(now)) return false
    this.#tokens--
    return true
  }

  has(now: Instant): boolean {
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((now - this.#filledAt) / 1000) * this.#perSecond)
    this.#filledAt = now
    return this.#tokens >= 1
  }

  /** Takes what something has cost. If that is more than there was, there is none until it is made up for. */
  spend(cost: number): void {
    this.#tokens -= cost
  }
}
