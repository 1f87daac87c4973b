import { NameMap } from './name-map.ts'

/** Entries from which the map is divided. */
const SHARDED_FROM = 16_384
const SHARDS = 16
/** Characters of a long name, at its beginning and at its end, that choose its shard. */
const HASHED = 32

/**
 * A NameMap for a million names. A Map that grows copies its table: 27 ms of CPU time for 524,288 entries, 70 ms for 1,048,576,
 * while everything else waits. So a large one is divided into 16 maps by a hash of the name, each of which takes 6 ms then; the
 * division takes about 10 ms. With 256 maps, connecting was 10 to 20 % slower. It iterates in the order of insertion only until
 * it is divided.
 */
export class LargeMap<V> {
  #all: NameMap<V> | undefined = new NameMap()
  #shards: NameMap<V>[] = []
  #size = 0
  readonly #shardedFrom: number

  /** `shardedFrom` is for tests. */
  constructor(shardedFrom = SHARDED_FROM) {
    this.#shardedFrom = shardedFrom
  }

  get size(): number {
    return this.#all === undefined ? this.#size : this.#all.size
  }

  get(name: string): V | undefined {
    return this.#partOf(name).get(name)
  }

  set(name: string, value: V): void {
    const part = this.#partOf(name)
    const before = part.size
    part.set(name, value)
    if (this.#all === undefined) this.#size += part.size - before
    if (this.#all !== undefined && this.#all.size >= this.#shardedFrom) this.#divide(this.#all)
  }

  delete(name: string): boolean {
    const deleted = this.#partOf(name).delete(name)
    if (deleted && this.#all === undefined) this.#size--
    return deleted
  }

  /** Entries may be added and deleted meanwhile; whether those that are added come too is undefined. */
  *values(): Generator<V, void> {
    const all = this.#all
    if (all !== undefined) {
      // If the map is divided during the iteration, later deletions do not reach `all`.
      for (const [name, value] of all) if (this.#all === all || this.get(name) === value) yield value
      return
    }
    for (const shard of this.#shards) yield* shard.values()
  }

  #partOf(name: string): NameMap<V> {
    return this.#all ?? this.#shards[shardOf(name)]!
  }

  #divide(all: NameMap<V>): void {
    this.#shards = Array.from({ length: SHARDS }, () => new NameMap())
    for (const [name, value] of all) this.#shards[shardOf(name)]!.set(name, value)
    this.#size = all.size
    this.#all = undefined
  }
}

/** FNV-1a. Peers that choose names for one shard make it as slow as an undivided map. */
function shardOf(name: string): number {
  const { length } = name
  let hash = 0x811c9dc5
  for (let at = 0; at < length; at++) {
    if (at === HASHED && length > 2 * HASHED) at = length - HASHED
    hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193)
  }
  return (hash ^ (hash >>> 15)) & (SHARDS - 1)
}
