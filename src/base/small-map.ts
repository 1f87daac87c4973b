/**
 * A Map that mostly has one entry, which it holds itself: a Map makes room for four as soon as it is made, about 180 bytes, and a million sessions
 * with one subscription have several each. In the order of insertion, as a Map; entries may come and go while it is iterated.
 */
export class SmallMap<K, V> {
  #key: K | undefined = undefined
  #value: V | undefined = undefined
  /** Everything, once there have been two. */
  #all: Map<K, V> | undefined = undefined

  get size(): number {
    if (this.#all !== undefined) return this.#all.size
    return this.#value === undefined ? 0 : 1
  }

  /** There have been two at once: it takes what a Map takes from then on. */
  get isMap(): boolean {
    return this.#all !== undefined
  }

  get(key: K): V | undefined {
    if (this.#all !== undefined) return this.#all.get(key)
    return this.#key === key ? this.#value : undefined
  }

  has(key: K): boolean {
    return this.get(key) !== undefined
  }

  set(key: K, value: V): void {
    if (this.#all !== undefined) this.#all.set(key, value)
    else if (this.#value === undefined || this.#key === key) {
      this.#key = key
      this.#value = value
    } else {
      this.#all = new Map([
        [this.#key as K, this.#value],
        [key, value],
      ])
      this.#key = undefined
      this.#value = undefined
    }
  }

  delete(key: K): boolean {
    if (this.#all !== undefined) return this.#all.delete(key)
    if (this.#value === undefined || this.#key !== key) return false
    this.#key = undefined
    this.#value = undefined
    return true
  }

  keys(): Iterable<K> {
    if (this.#all !== undefined) return this.#all.keys()
    return this.#value === undefined ? [] : [this.#key as K]
  }

  values(): Iterable<V> {
    if (this.#all !== undefined) return this.#all.values()
    return this.#value === undefined ? [] : [this.#value]
  }

  forEach(visit: (value: V, key: K) => void): void {
    if (this.#all !== undefined) this.#all.forEach(visit)
    else if (this.#value !== undefined) visit(this.#value, this.#key as K)
  }

  [Symbol.iterator](): Iterator<[K, V]> {
    if (this.#all !== undefined) return this.#all.entries()
    const entries: [K, V][] = this.#value === undefined ? [] : [[this.#key as K, this.#value]]
    return entries[Symbol.iterator]()
  }
}
