import { crc32 } from 'node:zlib'
import type { RowKey, RowTable } from '../rows.ts'
import { KEY_COLUMNS, keyText, rowChecksum } from './schema.ts'
import type { Connection, Row, Statement, Value } from './sqlite.ts'

/** A row as it was found. */
export interface ScannedRow {
  readonly key: RowKey
  /** Contains the value, from `start` to `end`. Callers copy what they keep. */
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  /** What its checksum should be. */
  readonly checksum: number
  /** Whether it is. */
  readonly isSound: boolean
}

/**
 * Rows that SQLite gives as one value, and the longest of their values, bytes. Names have 64 KiB at the most, which bounds what
 * is read at a time.
 */
const PAGE_ROWS = 256
const PACKED_MAX = 4096
/** Bytes of rows, read one by one, after which they are yielded: as many as the longest values of a page have. */
const PART_BYTES = PAGE_ROWS * PACKED_MAX

/**
 * All rows of a table, in the order in which they lie in the file. SQLite gives many of them as one value: an object, a string
 * and a Buffer for each would cost several times what SQLite's own part does. Rows that are long, or damaged, are read one by
 * one.
 */
export function* scan(connection: Connection, table: RowTable): Iterable<readonly ScannedRow[]> {
  const statements = new PageStatements(connection, table)
  let after: readonly Value[] = []
  do {
    const upTo = statements.last(after)
    // Rows that are missing are noticed by who counts them.
    if (upTo === 'astray') return
    const page = statements.packed(after, upTo)
    if (page.plain === 0) yield* partsOf(table, statements.rows(after, upTo))
    else if (page.packed !== null) yield unpacked(table, page.packed as Uint8Array)
    after = upTo
  } while (after.length > 0)
}

/** Rows that are read one by one, in parts: what is done with a part, such as a message to another thread, is not done for each. */
function* partsOf(table: RowTable, rows: Iterable<Row>): Iterable<readonly ScannedRow[]> {
  let part: ScannedRow[] = []
  let bytes = 0
  for (const each of rows) {
    const row = scanned(table, each)
    part.push(row)
    bytes += row.key.name.length + row.end - row.start
    if (bytes < PART_BYTES) continue
    yield part
    part = []
    bytes = 0
  }
  if (part.length > 0) yield part
}

/** The statements that read a page: rows after one key and up to another one, either of which may be none. */
class PageStatements {
  readonly #connection: Connection
  readonly #table: RowTable
  /** Retained messages are read by rowid: in the order of their topics they would be read all over the file. */
  readonly #position: readonly string[]
  readonly #prepared = new Map<string, Statement>()

  constructor(connection: Connection, table: RowTable) {
    this.#connection = connection
    this.#table = table
    this.#position = table === 'retained' ? ['rowid'] : KEY_COLUMNS[table]
  }

  /**
   * The position of the last row of a page that begins after this one; none if it is the last page. 'astray': a damaged tree
   * leads back.
   */
  last(after: readonly Value[]): readonly Value[] | 'astray' {
    const position = this.#position.join(', ')
    const where = this.#where(after, [])
    const sql = `SELECT ${position}, ${where} AS isFurther FROM ${this.#table} WHERE ${where} ORDER BY ${position} LIMIT 1 OFFSET ${PAGE_ROWS - 1}`
    const row = this.#prepare(sql).get(...after, ...after)
    if (row === undefined) return []
    return row.isFurther === 1 ? this.#position.map((column) => row[column]!) : 'astray'
  }

  /** `plain` is 0 if there is a row that cannot be packed, and null if there is no row. */
  packed(after: readonly Value[], upTo: readonly Value[]): Row {
    const plain = plainOf(this.#table)
    const text = keyTextOf(this.#table)
    const lengths = `printf('%08x%08x%08x', checksum, length(CAST(${text} AS BLOB)), length(records))`
    const rows = `group_concat(CASE WHEN ${plain} THEN ${lengths} || ${text} || records END, '')`
    const sql = `SELECT min(${plain}) AS plain, CAST(${rows} AS BLOB) AS packed FROM ${this.#table} WHERE ${this.#where(after, upTo)}`
    return this.#prepare(sql).get(...after, ...upTo)!
  }

  rows(after: readonly Value[], upTo: readonly Value[]): Iterable<Row> {
    const columns = KEY_COLUMNS[this.#table].join(', ')
    const order = this.#position.join(', ')
    const where = this.#where(after, upTo)
    const sql = `SELECT ${columns}, checksum, records FROM ${this.#table} WHERE ${where} ORDER BY ${order}`
    return this.#prepare(sql).iterate(...after, ...upTo)
  }

  #where(after: readonly Value[], upTo: readonly Value[]): string {
    const position = `(${this.#position.join(', ')})`
    const marks = `(${this.#position.map(() => '?').join(', ')})`
    return `${after.length === 0 ? 'true' : `${position} > ${marks}`} AND ${upTo.length === 0 ? 'true' : `${position} <= ${marks}`}`
  }

  #prepare(sql: string): Statement {
    let statement = this.#prepared.get(sql)
    if (statement === undefined) {
      statement = this.#connection.prepare(sql)
      this.#prepared.set(sql, statement)
    }
    return statement
  }
}

/** SQL: whether a row has the types that it should have, and is short. */
function plainOf(table: RowTable): string {
  const columns = KEY_COLUMNS[table].map((column) => `typeof(${column}) = '${isId(column) ? 'integer' : 'text'}'`)
  const lengths = `length(records) <= ${PACKED_MAX}`
  return [
    ...columns,
    "typeof(checksum) = 'integer'",
    'checksum BETWEEN 0 AND 0xffffffff',
    "typeof(records) = 'blob'",
    lengths,
  ].join(' AND ')
}

const isId = (column: string): boolean => column === 'id' || column === 'message'

/** SQL: what the checksum of a row begins with. */
function keyTextOf(table: RowTable): string {
  if (table === 'messages') return `'messages ' || id || ' '`
  return table === 'queue' ? `'queue ' || message || ' ' || session` : `'${table} 0 ' || ${KEY_COLUMNS[table][0]}`
}

/** Digits of each of the three numbers in front of a row. */
const DIGITS = 8

/**
 * What `scan` has yielded as one value, in which SQLite gave it if it could: for `unpacked`, in another thread. The value has an
 * ArrayBuffer of its own, which can be transferred; that of a short Buffer is often a pool which others use as well.
 */
export function packed(rows: readonly ScannedRow[]): Uint8Array<ArrayBuffer> {
  const [first] = rows
  if (first instanceof PackedRow) return first.bytes as Uint8Array<ArrayBuffer>
  let total = 0
  const parts = rows.flatMap(({ key, bytes, start, end, checksum }) => {
    const text = Buffer.from(keyText(key))
    const lengths = [checksum, text.length, end - start].map((number) => number.toString(16).padStart(DIGITS, '0'))
    total += 3 * DIGITS + text.length + end - start
    return [Buffer.from(lengths.join('')), text, bytes.subarray(start, end)]
  })
  const whole = new Uint8Array(total)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** The rows of a table in one value. */
export function unpacked(table: RowTable, bytes: Uint8Array): ScannedRow[] {
  const rows: ScannedRow[] = []
  for (let at = 0; at < bytes.length; ) {
    const text = at + 3 * DIGITS
    const start = text + hexAt(bytes, at + DIGITS)
    const end = start + hexAt(bytes, at + 2 * DIGITS)
    rows.push(new PackedRow(table, bytes, text, start, end, hexAt(bytes, at)))
    at = end
  }
  return rows
}

function hexAt(bytes: Uint8Array, at: number): number {
  let value = 0
  for (let i = at; i < at + DIGITS; i++) {
    const digit = bytes[i]!
    value = value * 16 + (digit < 0x3a ? digit - 0x30 : digit - 0x57)
  }
  return value
}

class PackedRow implements ScannedRow {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly #table: RowTable
  readonly #text: number
  readonly #stored: number
  #checksum: number | undefined = undefined

  constructor(table: RowTable, bytes: Uint8Array, text: number, start: number, end: number, stored: number) {
    this.#table = table
    this.bytes = bytes
    this.#text = text
    this.start = start
    this.end = end
    this.#stored = stored
  }

  get checksum(): number {
    this.#checksum ??= crc32(this.bytes.subarray(this.#text, this.end))
    return this.#checksum
  }

  get isSound(): boolean {
    return this.checksum === this.#stored
  }

  get key(): RowKey {
    const text = Buffer.from(this.bytes.subarray(this.#text, this.start)).toString()
    const id = text.indexOf(' ') + 1
    const name = text.indexOf(' ', id) + 1
    return { table: this.#table, name: text.slice(name), id: Number(text.slice(id, name)) }
  }
}

/** A row that was read by itself. */
function scanned(table: RowTable, row: Row): ScannedRow {
  const key = rowKeyOf(table, row)
  const value = row.records as Uint8Array
  const checksum = rowChecksum(key, value)
  return { key, bytes: value, start: 0, end: value.length, checksum, isSound: isBlob(value) && row.checksum === checksum }
}

/** A flipped bit can make a text of a blob, whose checksum is the same. */
export const isBlob = (value: Value): boolean => value instanceof Uint8Array

function rowKeyOf(table: RowTable, row: Row): RowKey {
  if (table === 'messages') return { table, name: '', id: row.id as number }
  if (table === 'queue') return { table, name: row.session as string, id: row.message as number }
  return { table, name: row[KEY_COLUMNS[table][0]!] as string, id: 0 }
}
