/**
 * A queue in a ring buffer that grows by doubling: no allocation per entry, no shifting. The owner must enforce a bound.
 *
 * Each entry has a place, counted from the first entry ever. What `sweep` removes leaves a gap, so that a long queue can be
 * examined in parts. An example: the places 7 to 10 hold a, b, c, d, and `sweep(7, 2, ...)` removes b and returns 9. Then
 * `shift` returns a, the queue begins with c at place 9, and the sweep continues there.
 */
export class Fifo<T> {
  #ring: (T | undefined)[] = []
  #head = 0
  #length = 0
  /** Places from the first entry to the last, gaps included; the first is never a gap. */
  #span = 0
  #first = 0

  get length(): number {
    return this.#length
  }

  /** The place of the first entry. Entries may move to later places, never to earlier ones. */
  get first(): number {
    return this.#first
  }

  push(entry: T): void {
    if (this.#span === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#span) & (this.#ring.length - 1)] = entry
    this.#span++
    this.#length++
  }

  peek(): T | undefined {
    return this.#length === 0 ? undefined : this.#ring[this.#head]
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined
    const entry = this.#ring[this.#head]
    this.#ring[this.#head] = undefined
    this.#length--
    this.#closeFirst()
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

  /**
   * Removes the entries that do not pass, among those on up to `most` places, beginning at `from` or at the first. Returns the
   * place at which to continue. `undefined` ends the sweep before an entry. Entries must not be added or removed meanwhile.
   */
  sweep(from: number, most: number, keep: (entry: T) => boolean | undefined): number {
    const first = this.#first
    const begin = Math.max(from, first)
    const end = Math.min(begin + most, first + this.#span)
    let place = begin
    for (; place < end; place++) {
      const at = (this.#head + place - first) & (this.#ring.length - 1)
      const entry = this.#ring[at]
      if (entry === undefined) continue
      const passes = keep(entry)
      if (passes === undefined) break
      if (passes) continue
      this.#ring[at] = undefined
      this.#length--
    }
    if (this.#span > 0 && this.#ring[this.#head] === undefined) this.#closeFirst()
    return place
  }

  /** The place behind the last entry. */
  get end(): number {
    return this.#first + this.#span
  }

  clear(): void {
    this.#first += this.#span
    this.#ring = []
    this.#head = 0
    this.#length = 0
    this.#span = 0
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.#span; i++) {
      const entry = this.#ring[(this.#head + i) & (this.#ring.length - 1)]
      if (entry !== undefined) yield entry
    }
  }

  /** The first place is empty: the next entry is the first. */
  #closeFirst(): void {
    const last = this.#ring.length - 1
    do {
      this.#head = (this.#head + 1) & last
      this.#first++
      this.#span--
    } while (this.#span > 0 && this.#ring[this.#head] === undefined)
    // Release the ring of a queue that was long.
    if (this.#length === 0 && this.#ring.length > SHRINK_ABOVE) this.clear()
  }

  /** Closes the gaps. If they take less than half of the ring, it grows, or the next time would follow too soon. */
  #grow(): void {
    const size = this.#ring.length
    const grown: (T | undefined)[] = new Array(this.#length > size / 2 || size === 0 ? Math.max(RING_MIN, size * 2) : size)
    let count = 0
    for (let i = 0; i < this.#span; i++) {
      const entry = this.#ring[(this.#head + i) & (size - 1)]
      if (entry !== undefined) grown[count++] = entry
    }
    for (let i = count; i < grown.length; i++) grown[i] = undefined
    // Entries behind a gap would come to earlier places, which a sweep has left behind: all move to new ones.
    if (this.#length < this.#span) this.#first += this.#span
    this.#ring = grown
    this.#head = 0
    this.#span = this.#length
  }
}

/** Most queues never hold more than one entry: 48 bytes less than with eight places. */
const RING_MIN = 2
const SHRINK_ABOVE = 4096
