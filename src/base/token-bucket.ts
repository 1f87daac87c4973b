import type { Instant } from './machine.ts'

/** Limits to `perSecond` on average, with bursts of the same size. */
export class TokenBucket {
  readonly #perSecond: number
  #tokens: number
  #filledAt: Instant

  /** `tokens` and `filledAt`: the state of the bucket that this one continues. */
  constructor(perSecond: number, tokens = perSecond, filledAt: Instant = 0) {
    this.#perSecond = perSecond
    this.#tokens = tokens
    this.#filledAt = filledAt
  }

  get tokens(): number {
    return this.#tokens
  }

  get filledAt(): Instant {
    return this.#filledAt
  }

  /** Takes a token if there is one. */
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

  /**
   * Deducts a cost that is known only afterwards. If it exceeds the tokens left, none is available until the difference
   * is refilled.
   */
  spend(cost: number): void {
    this.#tokens -= cost
  }
}
