import { ROW_TABLES, type RowTable, rowName } from '../rows.ts'
import type { Lsn } from '../store.ts'
import { metaOf } from './meta.ts'
import { isBlob, type ScannedRow, scan } from './scan.ts'
import { APPLICATION_ID, commitChecksum, Digest, FORMAT, SCHEMA } from './schema.ts'
import type { Connection, Value } from './sqlite.ts'

/** The store differs from what was written to it. The message is one line that says where. */
export class DamageError extends Error {}

export type RowsSink = (table: RowTable, rows: readonly ScannedRow[]) => void

/** Throws if this is no store, its format is unknown, or a table differs from `SCHEMA`. @throws DamageError */
export function checkSchema(connection: Connection, path: string): void {
  const [id] = Object.values(connection.prepare('PRAGMA application_id').get()!)
  if (id !== APPLICATION_ID) throw new DamageError(`${path} is not a store of Roost`)
  const [format] = Object.values(connection.prepare('PRAGMA user_version').get()!)
  if (format !== FORMAT) {
    throw new Error(`format version ${format} is not known to this version of Roost, which knows ${FORMAT}`)
  }
  const found = new Map<Value, Value>()
  for (const { type, name, sql } of connection.prepare('SELECT type, name, sql FROM sqlite_schema').all()) {
    // It would run inside our transactions.
    if (type === 'trigger') throw new DamageError(`it has a trigger, ${name}`)
    if (type === 'table') found.set(name!, sql!)
  }
  for (const [name, sql] of Object.entries(SCHEMA))
    if (found.get(name) !== sql) throw new DamageError(`table ${name} is not as it should be`)
}

/**
 * Reads everything, and compares each row with its checksum and all of them with the digest. `onProblem` gets one line for each
 * difference; `onRows` gets the rows once their checksums have been compared. In a transaction or a snapshot the rows are those of
 * one moment.
 */
export function verify(connection: Connection, onProblem: (problem: string) => void, onRows?: RowsSink): void {
  const meta = metaOf(connection.prepare('SELECT * FROM meta').get() ?? {})
  const digest = new Digest()
  for (const row of connection.prepare('SELECT lsn, checksum, records FROM log ORDER BY lsn').iterate()) {
    const value = row.records as Uint8Array
    const checksum = commitChecksum(row.lsn as Lsn, value)
    if (!isBlob(value) || row.checksum !== checksum) onProblem(`commit ${row.lsn}: checksum does not match`)
    digest.add(checksum)
  }
  for (const table of ROW_TABLES) {
    for (const rows of scan(connection, table)) {
      for (const row of rows) {
        if (!row.isSound) onProblem(`row ${rowName(row.key)}: checksum does not match`)
        digest.add(row.checksum)
      }
      onRows?.(table, rows)
    }
  }
  if (digest.rows !== meta.rows) onProblem(`${digest.rows} rows are there, and ${meta.rows} should be`)
  else if (digest.toString() !== meta.digest) onProblem('its rows are not of one moment: some are older or newer than others')
}

/** What SQLite finds wrong with the structure of the file, one line for each problem. */
export function* structureProblems(connection: Connection): Iterable<string> {
  for (const row of connection.prepare('PRAGMA integrity_check').iterate()) {
    const [text] = Object.values(row)
    // One row of the result has up to a hundred lines, the first of which is a heading.
    for (const line of `${text}`.split('\n')) if (line !== 'ok' && !line.startsWith('*** ')) yield line
  }
}
