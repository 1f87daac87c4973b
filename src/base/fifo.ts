/** A queue in a ring buffer that grows by doubling: no allocation per entry, no shifting. The owner must enforce a bound. */
export class Fifo<T> {
  #ring: (T | undefined)[] = []
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  push(entry: T): void {
    if (this.#length === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = entry
    this.#length++
  }

  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#ring[this.#head]
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined
    const entry = this.#ring[this.#head]
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#length--
    // Release the ring of a queue that was long.
    if (this.#length === 0 && this.#ring.length > SHRINK_ABOVE) this.clear()
    return entry
  }

  /** Keeps the entries that pass, in order; returns the number of entries removed. */
  filter(keep: (entry: T) => boolean): number {
    const before = this.#length
    for (let i = 0; i < before; i++) {
      const entry = this.shift()!
      if (keep(entry)) this.push(entry)
    }
    return before - this.#length
  }

  clear(): void {
    this.#ring = []
    this.#head = 0
    this.#length = 0
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.#length; i++) yield this.#ring[(this.#head + i) & (this.#ring.length - 1)]!
  }

  #grow(): void {
    const grown: (T | undefined)[] = new Array(Math.max(8, this.#ring.length * 2))
    for (let i = 0; i < this.#length; i++) grown[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)]
    for (let i = this.#length; i < grown.length; i++) grown[i] = undefined
    this.#ring = grown
    this.#head = 0
  }
}

const SHRINK_ABOVE = 4096
