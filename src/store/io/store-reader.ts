import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Lsn } from '../store.ts'
import { type Entry, entryOf } from './entries.ts'
import { checkedMeta, fileId, type Meta } from './meta.ts'
import type { Owner } from './owner.ts'
import { APPLICATION_ID, DATABASE_FILE, FORMAT, KEY_COLUMNS, LABEL_COLUMNS, SCHEMA, type Table } from './schema.ts'
import { type Connection, failureOf, openDatabase, type Value } from './sqlite.ts'
import type { StorePaths } from './wal.ts'

/** What was asked for cannot be done, although no damage was found. The message is one line that names the path. */
export class RefusedError extends Error {}

/** The file of stores before format 5. */
const LMDB_FILE = 'data.mdb'

/** The process that has this very file open, if it has not ended in between. A copy has no owner. */
export function ownerIn(meta: Meta | undefined, path: string): Owner | undefined {
  return meta?.owner !== undefined && existsSync(path) && meta.ownerFile === fileId(path) ? meta.owner : undefined
}

/** The files of the store in a directory, of which at least one is there. @throws RefusedError, and the system's errors */
export function storeIn(dir: string): StorePaths {
  const found = statSync(dir, { throwIfNoEntry: false })
  if (found === undefined) throw new RefusedError(`${dir}: no such directory`)
  if (!found.isDirectory()) throw new RefusedError(`${dir}: not a directory`)
  const database = join(dir, DATABASE_FILE)
  const paths = { database, wal: `${database}-wal` }
  const there = Object.values(paths).filter((path) => existsSync(path))
  if (there.length === 0) {
    throw new RefusedError(
      existsSync(join(dir, LMDB_FILE))
        ? `${dir}: ${LMDB_FILE} is a store of an older version (lmdb), which this version cannot read`
        : `${dir}: there is no store in it`,
    )
  }
  for (const path of there) accessSync(path, constants.R_OK)
  return paths
}

/** A row, or a commit of the log. */
export interface FoundRow {
  /** Its primary key. */
  readonly id: readonly Value[]
  readonly label: Value
  readonly checksum: Value
  /** Undefined if the checksum does not match. */
  readonly entry: Entry | undefined
}

/**
 * Reads a store as it is at one moment, also while a process writes to it, and writes nothing. Damage in one row is no obstacle
 * for others. Everything in it throws SQLite's errors.
 */
export class StoreReader {
  readonly #connection: Connection

  constructor(path: string) {
    this.#connection = openDatabase(path, true)
    try {
      this.#connection.exec('PRAGMA busy_timeout = 1000; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; BEGIN')
    } catch (error) {
      this.#connection.close()
      throw error
    }
  }

  close(): void {
    this.#connection.close()
  }

  pragma(name: string): Value {
    return Object.values(this.#connection.prepare(`PRAGMA ${name}`).get()!)[0]!
  }

  /** Undefined if it is missing or its checksum does not match. */
  get meta(): Meta | undefined {
    return checkedMeta(this.#connection.prepare('SELECT * FROM meta').get() ?? {})
  }

  /**
   * The names of the tables that are as they should be. `onProblem` gets a line for each of the others, and for the database
   * itself.
   */
  tables(onProblem: (problem: string) => void): Set<string> {
    const [id, format] = [this.pragma('application_id'), this.pragma('user_version')]
    if (id !== APPLICATION_ID) onProblem(`application_id is ${id}, not ${APPLICATION_ID}, which stands for Roost`)
    if (format !== FORMAT) onProblem(`format version ${format} is not known to this version of Roost, which knows ${FORMAT}`)
    const found = this.#connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").all()
    const tables = Object.entries(SCHEMA).flatMap(([name, sql]) => {
      if (found.some((row) => row.name === name && row.sql === sql)) return name
      onProblem(`table ${name} is not as it should be`)
      return []
    })
    return new Set(tables)
  }

  /** What SQLite finds wrong with the structure of the file. */
  *structureProblems(): Iterable<string> {
    for (const row of this.#connection.prepare('PRAGMA integrity_check').iterate()) {
      const lines = `${Object.values(row)[0]}`.split('\n')
      yield* lines.filter((line) => line !== 'ok' && line !== '' && !line.startsWith('*** in database'))
    }
  }

  /** All rows of a table, in the order of their keys; retained messages in that of their rowids, which needs no index. */
  *rows(table: Table): Iterable<FoundRow> {
    const columns = KEY_COLUMNS[table]
    const keys = columns.join(', ')
    const label = LABEL_COLUMNS[table] ?? "''"
    const order = table === 'retained' ? 'rowid' : keys
    const sql = `SELECT ${keys}, ${label} AS label, checksum, records FROM ${table} ORDER BY ${order}`
    for (const row of this.#connection.prepare(sql).iterate()) {
      const id = columns.map((column) => row[column]!)
      const { label: text = null, checksum = null, records = null } = row
      yield { id, label: text, checksum, entry: entryOf(table, id, checksum, records) }
    }
  }

  /** Rows of a table, or those that an SQL condition selects. */
  count(table: Table, where = 'true'): number {
    return Number(this.#connection.prepare(`SELECT count(*) AS count FROM ${table} WHERE ${where}`).get()!.count)
  }

  /** Number and bytes of the commits after this one. */
  logAfter(lsn: Lsn): { readonly commits: number; readonly bytes: number } {
    const row = this.#connection
      .prepare('SELECT count(*) AS commits, sum(length(records)) AS bytes FROM log WHERE lsn > ?')
      .get(lsn)
    return { commits: Number(row!.commits), bytes: Number(row!.bytes ?? 0) }
  }
}

/**
 * What an error of SQLite says about the store, in one line. @throws RefusedError if it says nothing about it, but that it cannot
 * be opened now, and every error that is not SQLite's
 */
export function damageOf(error: unknown, path: string): string {
  const { kind, reason } = failureOf(error)
  if (kind === 'other' && !('code' in (error as object))) throw error
  if (/SQLITE_BUSY/.test(reason)) throw new RefusedError(`${path}: ${reason}`)
  // The index of a WAL is a file, which readers share with the writer.
  if (/SQLITE_(CANTOPEN|READONLY)/.test(reason))
    throw new RefusedError(`${path}: ${reason}; SQLite has to write to its directory`)
  return reason
}
