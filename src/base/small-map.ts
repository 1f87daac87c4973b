import { NameMap } from './name-map.ts'

/**
 * A Map for usually one entry, which it stores in itself. A Map allocates room for four entries, about 180 bytes, when it
 * is created, and a million sessions with one subscription each have several maps per session. Iterates in the order of
 * insertion, like a Map; entries may be added and deleted during iteration.
 */
export class SmallMap<K, V> {
  #key: K | undefined = undefined
  #value: V | undefined = undefined
  /** All entries, from the time when there were two. */
  #all: Map<K, V> | undefined = undefined

  get size(): number {
    if (this.#all !== undefined) return this.#all.size
    return this.#value === undefined ? 0 : 1
  }

  /** True once it has held two entries at a time: from then on it takes as much memory as a Map. */
  get isMap(): boolean {
    return this.#all !== undefined
  }

  /** The value of the entry that it stores in itself, if it has one. */
  get only(): V | undefined {
    return this.#value
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
      const all = (typeof key === 'string' ? new NameMap<V>() : new Map<K, V>()) as Map<K, V>
      all.set(this.#key as K, this.#value)
      all.set(key, value)
      this.#all = all
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

/** Returns the map, or a new one in place of one that is empty and still takes as much memory as a Map. */
export const compacted = <K, V>(map: SmallMap<K, V>): SmallMap<K, V> => (map.isMap && map.size === 0 ? new SmallMap<K, V>() : map)
