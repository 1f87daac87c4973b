/** A value in a record of SQLite's file format. */
export type Column = number | bigint | string | Uint8Array | null

/** The header of a b-tree page. */
export interface Head {
  readonly kind: number
  /** Offset of the cell pointers. */
  readonly pointers: number
  readonly count: number
}

/** Where the parts of a cell are. */
export interface Shape {
  readonly rowid: number | undefined
  /** Offset and size of the part of the payload that is on the page itself. */
  readonly start: number
  readonly local: number
  /** Size of the whole payload. */
  readonly size: number
  readonly headerSize: number
  /** Serial types of the columns. */
  readonly types: readonly number[]
}

/** Types of b-tree pages. */
export const KIND = { indexInterior: 2, tableInterior: 5, indexLeaf: 10, tableLeaf: 13 } as const
const LEAF = 8

export function isLeaf(kind: number): boolean {
  return (kind & LEAF) !== 0
}

function headSizeOf(kind: number): number {
  return isLeaf(kind) ? 8 : 12
}

/** The same for the interior pages and the leaves of a b-tree. */
export function familyOf(kind: number): number {
  return kind & ~LEAF
}

/** The header of a b-tree page at this offset; undefined if it is none. */
export function headOf(page: Buffer, offset: number, usable: number): Head | undefined {
  const kind = page[offset]!
  if (kind !== KIND.tableLeaf && kind !== KIND.indexLeaf && kind !== KIND.tableInterior && kind !== KIND.indexInterior)
    return undefined
  const pointers = offset + headSizeOf(kind)
  return { kind, pointers, count: Math.min(page.readUInt16BE(offset + 3), Math.floor((usable - pointers) / 2)) }
}

/**
 * The number of cells of a page, computed without the number in its header, which may be damaged: pointers past the last one may
 * lead to deleted rows. Cells, free blocks and fragments fill a page exactly from the start of its cell content. Undefined if
 * they do not.
 */
export function countCells({ kind, pointers }: Head, page: Buffer, usable: number): number | undefined {
  const offset = pointers - headSizeOf(kind)
  let rest = usable - (page.readUInt16BE(offset + 5) || 65536) - page[offset + 7]!
  for (
    let block = page.readUInt16BE(offset + 1), last = 0;
    block > last && block + 4 <= usable;
    block = page.readUInt16BE(block)
  ) {
    rest -= page.readUInt16BE(block + 2)
    last = block
  }
  for (let i = 0; rest >= 0 && pointers + 2 * i + 2 <= usable; i++) {
    if (rest === 0) return i
    const at = page.readUInt16BE(pointers + 2 * i)
    rest -= at < pointers ? Number.NaN : cellSize(page, at, kind, usable)
  }
  return undefined
}

/** NaN if the cell is damaged. */
function cellSize(page: Buffer, at: number, kind: number, usable: number): number {
  if (kind === KIND.tableInterior) {
    const rowid = new Varints(page, at + 4, usable)
    return Number.isNaN(rowid.next()) ? Number.NaN : rowid.at - at
  }
  const shape = shapeOf(page, at, kind, usable)
  if (typeof shape === 'string') return Number.NaN
  return Math.max(4, shape.start + shape.local + (shape.local < shape.size ? 4 : 0) - at)
}

/** Reads varints, up to an end that none of them may pass. */
class Varints {
  readonly #bytes: Buffer
  readonly #end: number
  at: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
  }

  /** NaN if it passes the end, or is not a safe integer. */
  next(): number {
    let value = 0
    for (let i = 0; i < 7; i++) {
      if (this.at >= this.#end) return Number.NaN
      const byte = this.#bytes[this.at++]!
      value = value * 128 + (byte & 127)
      if (byte < 128) return value
    }
    return this.#long(BigInt(value))
  }

  /** The rest of one of 8 or 9 bytes. All 8 bits of the ninth byte count. */
  #long(high: bigint): number {
    if (this.at + 1 >= this.#end) return Number.NaN
    const eighth = this.#bytes[this.at++]!
    let value = high * 128n + BigInt(eighth & 127)
    if (eighth >= 128) value = value * 256n + BigInt(this.#bytes[this.at++]!)
    const signed = Number(BigInt.asIntN(64, value))
    return Number.isSafeInteger(signed) ? signed : Number.NaN
  }
}

/** Finds the parts of a cell. Returns a reason if they do not fit together. */
export function shapeOf(page: Buffer, at: number, kind: number, usable: number): Shape | string {
  const varints = new Varints(page, kind === KIND.indexInterior ? at + 4 : at, usable)
  const size = varints.next()
  const rowid = kind === KIND.tableLeaf ? varints.next() : undefined
  if (!(size > 0) || Number.isNaN(rowid)) return 'its size or rowid is damaged'
  const start = varints.at
  const local = localSize(size, kind, usable)
  if (start + local + (local < size ? 4 : 0) > usable) return 'it runs past the end of the page'
  const headerSize = varints.next()
  if (!(headerSize <= local)) return 'its header is too long'
  const types: number[] = []
  let total = headerSize
  while (varints.at < start + headerSize) {
    const type = varints.next()
    types.push(type)
    total += sizeOfType(type)
  }
  // NaN if any of the types was not valid.
  return varints.at === start + headerSize && total === size
    ? { rowid, start, local, size, headerSize, types }
    : 'its columns do not add up to its size'
}

/** Bytes of a payload that are stored on the b-tree page. */
function localSize(size: number, kind: number, usable: number): number {
  const max = kind === KIND.tableLeaf ? usable - 35 : Math.floor(((usable - 12) * 64) / 255) - 23
  if (size <= max) return size
  const min = Math.floor(((usable - 12) * 32) / 255) - 23
  const fitted = min + ((size - min) % (usable - 4))
  return fitted <= max ? fitted : min
}

const FIXED_SIZES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0]

function sizeOfType(type: number): number {
  return type >= 12 ? Math.floor((type - 12) / 2) : (FIXED_SIZES[type] ?? Number.NaN)
}

export function columnsOf(payload: Buffer, { headerSize, types }: Shape): Column[] {
  let at = headerSize
  return types.map((type) => {
    const start = at
    at += sizeOfType(type)
    return columnOf(payload, start, at, type)
  })
}

function columnOf(payload: Buffer, start: number, end: number, type: number): Column {
  if (type === 0) return null
  if (type <= 5) return payload.readIntBE(start, end - start)
  if (type === 7) return payload.readDoubleBE(start)
  if (type === 8 || type === 9) return type - 8
  if (type === 6) {
    const value = payload.readBigInt64BE(start)
    return Number.isSafeInteger(Number(value)) ? Number(value) : value
  }
  if (type % 2 === 1) return payload.toString('utf8', start, end)
  return new Uint8Array(payload.buffer, payload.byteOffset + start, end - start)
}
