import { crc32 } from 'node:zlib'
import { ROW_TABLES, type RowKey, type RowTable } from '../rows.ts'

/** Names of the files in a data directory; SQLite appends `-wal` and `-shm` to the first. */
export const DATABASE_FILE = 'roost.db'
export const LOCK_FILE = 'roost.lock'
export const RESERVE_FILE = 'roost.reserve'

/**
 * Version of everything below. `meta` has one row. `lsn` is the last commit and `folded` the last one whose records are in the
 * rows; the log has those in between. `rows` and `digest` are the number and the digest of all rows, log included. `owner_*`
 * names the process that has the store open, the file that it has open, and whether it syncs each commit, and is null after a
 * clean end. Formats up to 4 were lmdb's.
 */
export const FORMAT = 5

/** 'Rost', in SQLite's file header. */
export const APPLICATION_ID = 0x526f7374

export type Table = 'log' | RowTable

/** Columns of each table's primary key. */
export const KEY_COLUMNS: Readonly<Record<Table, readonly string[]>> = {
  log: ['lsn'],
  messages: ['id'],
  queue: ['session', 'message'],
  sessions: ['name'],
  retained: ['topic'],
  sensors: ['client_id'],
}
/** Columns that only people read. */
export const LABEL_COLUMNS: Readonly<Partial<Record<Table, string>>> = { messages: 'topic', sessions: 'state', sensors: 'state' }
export const TABLES: readonly Table[] = ['log', ...ROW_TABLES]

/** As SQLite keeps them in sqlite_schema; what is there has to be exactly this. */
export const SCHEMA: Readonly<Record<Table | 'meta', string>> = {
  meta:
    'CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, written_by TEXT NOT NULL, ' +
    'epoch INTEGER NOT NULL, owner_pid INTEGER, owner_boot_id TEXT, owner_started TEXT, owner_token TEXT, owner_file TEXT, owner_durability TEXT, ' +
    'lsn INTEGER NOT NULL, folded INTEGER NOT NULL, rows INTEGER NOT NULL, digest TEXT NOT NULL, checksum INTEGER NOT NULL)',
  log: 'CREATE TABLE log (lsn INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, records BLOB NOT NULL)',
  messages:
    'CREATE TABLE messages (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, checksum INTEGER NOT NULL, records BLOB NOT NULL)',
  queue:
    'CREATE TABLE queue (session TEXT NOT NULL, message INTEGER NOT NULL, checksum INTEGER NOT NULL, records BLOB NOT NULL, ' +
    'PRIMARY KEY (session, message)) WITHOUT ROWID',
  sessions: named('sessions', 'name TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL'),
  // Retained payloads may be long, and a table without rowids puts what is over 1,000 bytes on pages of its own.
  retained: 'CREATE TABLE retained (topic TEXT PRIMARY KEY NOT NULL, checksum INTEGER NOT NULL, records BLOB NOT NULL)',
  sensors: named('sensors', 'client_id TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL'),
}

function named(table: string, columns: string): string {
  return `CREATE TABLE ${table} (${columns}, checksum INTEGER NOT NULL, records BLOB NOT NULL) WITHOUT ROWID`
}

/** CRC-32 of a row's table, key and value, because SQLite's pages have no checksums. */
export function rowChecksum(key: RowKey, value: Uint8Array): number {
  return checksum(value, keyText(key))
}

/** What the checksum of a row begins with. */
export const keyText = ({ table, name, id }: RowKey): string => `${table} ${id} ${name}`

export function commitChecksum(lsn: number, value: Uint8Array): number {
  return checksum(value, `log ${lsn}`)
}

/** Node's `crc32` forgets what it began with when an array is empty. */
function checksum(value: Uint8Array, key: string): number {
  return value.length === 0 ? crc32(key) : crc32(value, crc32(key))
}

/**
 * Number and digest of all rows, updated with each row that comes or goes, so that a row that is missing, stale or there twice
 * shows at the next start. The digest is two sums of scrambled row checksums. Checksums are scrambled because CRC-32 is linear:
 * the same change to two rows would cancel out.
 */
export class Digest {
  #rows: number
  #first: number
  #second: number

  constructor(rows = 0, text = '0000000000000000') {
    this.#rows = rows
    this.#first = Number.parseInt(text.slice(0, 8), 16)
    this.#second = Number.parseInt(text.slice(8), 16)
  }

  get rows(): number {
    return this.#rows
  }

  add(checksum: number): void {
    this.#rows++
    this.#first = (this.#first + scramble(checksum, 0x9e3779b9)) >>> 0
    this.#second = (this.#second + scramble(checksum, 0x7f4a7c15)) >>> 0
  }

  remove(checksum: number): void {
    this.#rows--
    this.#first = (this.#first - scramble(checksum, 0x9e3779b9)) >>> 0
    this.#second = (this.#second - scramble(checksum, 0x7f4a7c15)) >>> 0
  }

  copy(): Digest {
    return new Digest(this.#rows, this.toString())
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    return `${hex(this.#first)}${hex(this.#second)}`
  }
}

const hex = (value: number): string => value.toString(16).padStart(8, '0')

/** The finalizer of MurmurHash3: every bit of the input changes half of the output's. */
function scramble(value: number, seed: number): number {
  let mixed = value ^ seed
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
