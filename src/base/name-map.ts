/** V8 hashes longer strings by their length alone: in a Map, those of one length are in one chain, which is searched one by one. */
const HASHED_MAX = 16_383

/** Secret, so that no peer can choose names that collide. */
let [seed, factor] = [0x9e3779b9, 0x85ebca6b]

/** Numbers of 32 bits that nobody can predict. In each thread, before the first name comes. */
export function seedNames(one: number, other: number): void {
  seed = one
  factor = other | 1
  lastName = ''
  lastHash = seed
}

/** A name is mostly looked up in several tables, one after the other. */
let lastName = ''
let lastHash = seed

function hashOf(name: string): number {
  if (name === lastName) return lastHash
  let hash = seed
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), factor)
    hash ^= hash >>> 15
  }
  lastName = name
  lastHash = hash
  return hash
}

/**
 * A Map by names that peers choose, of any length: topics, filters, client ids. Long ones are in a table by a hash of their own; in an iteration they come
 * behind the others, and none that is added meanwhile may be expected.
 * Begins empty.
 */
export class NameMap<V> extends Map<string, V> {
  #long: Map<number, [string, V][]> | undefined = undefined
  #longSize = 0

  override get size(): number {
    return super.size + this.#longSize
  }

  override get(name: string): V | undefined {
    return name.length <= HASHED_MAX ? super.get(name) : this.#entry(name)?.[1]
  }

  override has(name: string): boolean {
    return name.length <= HASHED_MAX ? super.has(name) : this.#entry(name) !== undefined
  }

  override set(name: string, value: V): this {
    if (name.length <= HASHED_MAX) return super.set(name, value)
    const known = this.#entry(name)
    if (known !== undefined) {
      known[1] = value
      return this
    }
    this.#long ??= new Map()
    const hash = hashOf(name)
    const chain = this.#long.get(hash)
    if (chain === undefined) this.#long.set(hash, [[name, value]])
    else chain.push([name, value])
    this.#longSize++
    return this
  }

  override delete(name: string): boolean {
    if (name.length <= HASHED_MAX) return super.delete(name)
    const hash = hashOf(name)
    const chain = this.#long?.get(hash)
    const at = chain?.findIndex(([known]) => known === name) ?? -1
    if (chain === undefined || at < 0) return false
    // A new one, because somebody may be looking at the old one.
    if (chain.length > 1) this.#long!.set(hash, chain.toSpliced(at, 1))
    else this.#long!.delete(hash)
    this.#longSize--
    return true
  }

  override clear(): void {
    super.clear()
    this.#long = undefined
    this.#longSize = 0
  }

  override keys(): MapIterator<string> {
    return this.#longSize === 0 ? super.keys() : this.#all(([name]) => name)
  }

  override values(): MapIterator<V> {
    return this.#longSize === 0 ? super.values() : this.#all(([, value]) => value)
  }

  override entries(): MapIterator<[string, V]> {
    return this.#longSize === 0 ? super.entries() : this.#all((entry) => entry)
  }

  override [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  override forEach(visit: (value: V, name: string, map: Map<string, V>) => void): void {
    if (this.#longSize === 0) super.forEach(visit)
    else for (const [name, value] of this.entries()) visit(value, name, this)
  }

  #entry(name: string): [string, V] | undefined {
    return this.#long?.get(hashOf(name))?.find(([known]) => known === name)
  }

  *#all<T>(of: (entry: [string, V]) => T): MapIterator<T> {
    for (const entry of super.entries()) yield of(entry)
    for (const chain of this.#long?.values() ?? []) for (const entry of chain) yield of([...entry])
  }
}
