import type { RowKey } from '../rows.ts'
import type { Lsn } from '../store.ts'
import type { Column } from './btree-page.ts'
import { checkedMeta, type Meta } from './meta.ts'
import type { Cell } from './page-reader.ts'
import { commitChecksum, KEY_COLUMNS, LABEL_COLUMNS, rowChecksum, SCHEMA, TABLES, type Table } from './schema.ts'
import type { Row } from './sqlite.ts'

/** A row, or a commit of the log, whose checksum matches. */
export interface Entry {
  readonly table: Table
  /** Undefined for a commit. */
  readonly key: RowKey | undefined
  /** The number of a commit; 0 for a row. */
  readonly lsn: Lsn
  readonly checksum: number
  readonly value: Uint8Array
}

/** The name of a row or a commit in messages to people. `id` is the primary key. */
export function entryName(table: Table, id: readonly Column[]): string {
  return `${table === 'log' ? 'commit' : `row ${table}`} ${id.join(' ')}`
}

/** The entry with this primary key; undefined if the checksum does not match. */
export function entryOf(table: Table, id: readonly Column[], checksum: Column, value: Column): Entry | undefined {
  if (typeof checksum !== 'number' || !(value instanceof Uint8Array)) return undefined
  if (table === 'log') {
    const [lsn] = id
    if (typeof lsn !== 'number' || commitChecksum(lsn, value) !== checksum) return undefined
    return { table, key: undefined, lsn, checksum, value }
  }
  const key = keyOf(table, id)
  if (key === undefined || rowChecksum(key, value) !== checksum) return undefined
  return { table, key, lsn: 0, checksum, value }
}

function keyOf(table: RowKey['table'], [first, second]: readonly Column[]): RowKey | undefined {
  if (table === 'messages') return typeof first === 'number' ? { table, name: '', id: first } : undefined
  if (typeof first !== 'string') return undefined
  if (table !== 'queue') return { table, name: first, id: 0 }
  return typeof second === 'number' ? { table, name: first, id: second } : undefined
}

/** The number of columns of each table, of which the last two are checksum and value. */
const COLUMNS = new Map(
  TABLES.map((table) => [table, KEY_COLUMNS[table].length + (LABEL_COLUMNS[table] === undefined ? 0 : 1) + 2]),
)
/** Tables that have rowids. */
const WITH_ROWID: readonly Table[] = ['log', 'messages', 'retained']
/** Those of them whose key is the rowid. */
const NUMBERED: readonly Table[] = ['log', 'messages']

/** The entry in a cell of a database file. Its table is the one for which the checksum matches. */
export function entryOfCell({ columns, rowid }: Cell): Entry | undefined {
  const [checksum = null, value = null] = columns.slice(-2)
  for (const table of TABLES) {
    if (WITH_ROWID.includes(table) !== (rowid !== undefined) || COLUMNS.get(table) !== columns.length) continue
    const id = rowid !== undefined && NUMBERED.includes(table) ? [rowid] : columns.slice(0, KEY_COLUMNS[table].length)
    const entry = entryOf(table, id, checksum, value)
    if (entry !== undefined) return entry
  }
  return undefined
}

const META_COLUMNS = Array.from(SCHEMA.meta.matchAll(/(\w+) (?:INTEGER|TEXT)/g), ([, name]) => name!)

/** The contents of `meta`, from the columns of its row; undefined if they are not sound. */
export function metaOfColumns(columns: readonly Column[]): Meta | undefined {
  if (columns.length !== META_COLUMNS.length || columns.some((column) => typeof column === 'bigint')) return undefined
  return checkedMeta(Object.fromEntries(META_COLUMNS.map((name, i) => [name, columns[i]!])) as Row)
}
