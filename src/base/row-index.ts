/** Tables of an index: a table that grows copies 1/256 of all entries, in 0.2 ms for a million instead of 200. */
const SHARDS = 256
const SHARD_SHIFT = 24
/** Entries of the smallest table. */
const LEAST = 8
/** Numbers of a table for each entry: the row number and 1, or 0 for an empty entry, then the hash. */
const WIDTH = 2

/**
 * Finds numbers of rows by a text that each row contains. The index holds neither text nor string, so that an entry takes about
 * 14 bytes, where an entry of a Map takes 40 to 60 and its key. Open addressing with linear probing; an entry that is deleted
 * leaves no mark, because those behind it move up.
 */
export class RowIndex {
  readonly #has: (row: number, text: string) => boolean
  readonly #shards: (Uint32Array | undefined)[] = []
  readonly #sizes = new Uint32Array(SHARDS)
  #size = 0
  #bytes = 0

  /** `has`: whether the row contains the text. */
  constructor(has: (row: number, text: string) => boolean) {
    this.#has = has
  }

  get size(): number {
    return this.#size
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#bytes
  }

  /** Returns the row with this text, whose hash is given, or -1. */
  find(hash: number, text: string): number {
    const table = this.#shards[hash >>> SHARD_SHIFT]
    if (table === undefined) return -1
    for (let at = homeOf(table, hash); table[at]! !== 0; at = after(table, at))
      if (table[at + 1] === hash >>> 0 && this.#has(table[at]! - 1, text)) return table[at]! - 1
    return -1
  }

  /** Adds a row. Its text must not be there. */
  add(hash: number, row: number): void {
    const shard = hash >>> SHARD_SHIFT
    // A sparse array would be slow.
    while (this.#shards.length <= shard) this.#shards.push(undefined)
    let table = this.#shards[shard]
    // Three quarters full at most.
    if (table === undefined || (this.#sizes[shard]! + 1) * WIDTH * 4 > table.length * 3) {
      const larger = table === undefined ? new Uint32Array(LEAST * WIDTH) : grown(table)
      this.#bytes += larger.byteLength - (table?.byteLength ?? 0)
      this.#shards[shard] = larger
      table = larger
    }
    put(table, hash, row)
    this.#sizes[shard]!++
    this.#size++
  }

  /** Removes a row that is there. */
  delete(hash: number, row: number): void {
    const shard = hash >>> SHARD_SHIFT
    const table = this.#shards[shard]!
    let at = homeOf(table, hash)
    while (table[at] !== row + 1) at = after(table, at)
    closeGap(table, at)
    this.#size--
    this.#sizes[shard]!--
    if (this.#sizes[shard] === 0) {
      this.#bytes -= table.byteLength
      this.#shards[shard] = undefined
    }
    if (this.#size === 0) this.#shards.length = 0
  }
}

const homeOf = (table: Uint32Array, hash: number): number => (hash * WIDTH) & (table.length - 1)
const after = (table: Uint32Array, at: number): number => (at + WIDTH) & (table.length - 1)

function put(table: Uint32Array, hash: number, row: number): void {
  let at = homeOf(table, hash)
  while (table[at]! !== 0) at = after(table, at)
  table[at] = row + 1
  table[at + 1] = hash
}

function grown(table: Uint32Array): Uint32Array {
  const larger = new Uint32Array(table.length * 2)
  for (let at = 0; at < table.length; at += WIDTH) if (table[at]! !== 0) put(larger, table[at + 1]!, table[at]! - 1)
  return larger
}

/** Empties an entry, and moves up those that would not be found behind it. */
function closeGap(table: Uint32Array, from: number): void {
  let gap = from
  for (let at = after(table, gap); table[at]! !== 0; at = after(table, at)) {
    const home = homeOf(table, table[at + 1]!)
    const mask = table.length - 1
    // It stays if its home is behind the gap.
    if (((at - home) & mask) < ((at - gap) & mask)) continue
    table[gap] = table[at]!
    table[gap + 1] = table[at + 1]!
    gap = at
  }
  table[gap] = 0
  table[gap + 1] = 0
}
