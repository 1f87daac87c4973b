/** V8 hashes longer strings by their length alone: in a Map, those of one length are in one chain, which is searched one by one. */
const HASHED_MAX = 16_383

/** Kept from peers, who could choose names that collide. */
export interface Secret {
  readonly seed: number
  /** Odd. */
  readonly factor: number
}

let current: Secret = { seed: 0x9e3779b9, factor: 0x85ebca6b }

/**
 * Sets the secret of maps that get their first long name from now on; others keep theirs. Takes two random numbers of 32 bits, once in each thread, before
 * peers send names.
 */
export function seedNames(seed: number, factor: number): void {
  current = { seed, factor: factor | 1 }
}

/** A name is usually looked up in several tables, one after the other. */
let lastName = ''
let lastSecret = current
let lastHash = current.seed

/** The secret for a table of names that is created now. */
export const secretOfNames = (): Secret => current

export function hashOf(name: string, secret: Secret): number {
  if (name === lastName && secret === lastSecret) return lastHash
  let hash = secret.seed
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), secret.factor)
    hash ^= hash >>> 15
  }
  lastName = name
  lastSecret = secret
  lastHash = hash
  return hash
}

/** Entries whose names V8 does not hash: chains by a hash of our own. */
class LongNames<V> {
  readonly #secret = current
  readonly #chains = new Map<number, [string, V][]>()
  size = 0

  find(name: string): [string, V] | undefined {
    return this.#chains.get(hashOf(name, this.#secret))?.find(([known]) => known === name)
  }

  /** Adds a name that is not there. */
  add(name: string, value: V): void {
    const hash = hashOf(name, this.#secret)
    const chain = this.#chains.get(hash)
    if (chain === undefined) this.#chains.set(hash, [[name, value]])
    else chain.push([name, value])
    this.size++
  }

  delete(name: string): boolean {
    const hash = hashOf(name, this.#secret)
    const chain = this.#chains.get(hash)
    const at = chain?.findIndex(([known]) => known === name) ?? -1
    if (chain === undefined || at < 0) return false
    // A copy, because an iteration may be in the old chain.
    if (chain.length > 1) this.#chains.set(hash, chain.toSpliced(at, 1))
    else this.#chains.delete(hash)
    this.size--
    return true
  }

  *entries(): Iterable<[string, V]> {
    for (const chain of this.#chains.values()) yield* chain
  }
}

/**
 * A Map by names that peers choose, of any length: topics, filters, client ids. An iteration yields long names last, and need not yield those added
 * during it. The constructor takes no entries.
 */
export class NameMap<V> extends Map<string, V> {
  #long: LongNames<V> | undefined = undefined

  override get size(): number {
    return super.size + (this.#long?.size ?? 0)
  }

  override get(name: string): V | undefined {
    return name.length <= HASHED_MAX ? super.get(name) : this.#long?.find(name)?.[1]
  }

  override has(name: string): boolean {
    return name.length <= HASHED_MAX ? super.has(name) : this.#long?.find(name) !== undefined
  }

  override set(name: string, value: V): this {
    if (name.length <= HASHED_MAX) return super.set(name, value)
    this.#long ??= new LongNames()
    const known = this.#long.find(name)
    if (known === undefined) this.#long.add(name, value)
    else known[1] = value
    return this
  }

  override delete(name: string): boolean {
    return name.length <= HASHED_MAX ? super.delete(name) : (this.#long?.delete(name) ?? false)
  }

  override clear(): void {
    super.clear()
    this.#long = undefined
  }

  override keys(): MapIterator<string> {
    return this.#long === undefined ? super.keys() : this.#all(this.#long, ([name]) => name)
  }

  override values(): MapIterator<V> {
    return this.#long === undefined ? super.values() : this.#all(this.#long, ([, value]) => value)
  }

  override entries(): MapIterator<[string, V]> {
    return this.#long === undefined ? super.entries() : this.#all(this.#long, ([name, value]) => [name, value])
  }

  override [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  override forEach(visit: (value: V, name: string, map: Map<string, V>) => void): void {
    if (this.#long === undefined) super.forEach(visit)
    else for (const [name, value] of this.entries()) visit(value, name, this)
  }

  *#all<T>(long: LongNames<V>, of: (entry: [string, V]) => T): MapIterator<T> {
    for (const entry of super.entries()) yield of(entry)
    for (const entry of long.entries()) yield of(entry)
  }
}
