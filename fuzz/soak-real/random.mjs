/** A seeded source of randomness (mulberry32): the same seed makes the same plans. */
export class Random {
  #state

  constructor(seed) {
    this.#state = seed | 0
  }

  /** In [0, 1). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  chance(probability) {
    return this.next() < probability
  }

  /** A whole number from `low` to `high`. */
  between(low, high) {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  pick(items) {
    return items[Math.floor(this.next() * items.length)]
  }

  /** A source of its own, for one client. */
  fork() {
    return new Random(this.between(0, 2 ** 31))
  }
}
