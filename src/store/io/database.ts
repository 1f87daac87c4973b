import { closeSync, openSync } from 'node:fs'
import { References } from '../fold.ts'
import { ROW_TABLES, type RowKey, type Rows, rowName } from '../rows.ts'
import type { Lsn, SessionKey } from '../store.ts'
import { checkedMeta, type Durability, fileId, type Meta, metaChecksum, metaOf } from './meta.ts'
import type { Owner } from './owner.ts'
import { isBlob, type ScannedRow, scan } from './scan.ts'
import {
  APPLICATION_ID,
  commitChecksum,
  Digest,
  FORMAT,
  KEY_COLUMNS,
  LABEL_COLUMNS,
  rowChecksum,
  SCHEMA,
  TABLES,
  type Table,
} from './schema.ts'
import { type Connection, failureOf, openDatabase, type Statement, type Value } from './sqlite.ts'
import { checkSchema, DamageError, type RowsSink, structureProblems, verify } from './verify.ts'

/** Another process has taken the store over. */
export class FencedError extends Error {}

export interface DatabaseOptions {
  readonly durability?: Durability
  /** Bytes to which the WAL file is truncated when it is reset. */
  readonly walBytes?: number
}

/** Memory for pages, KiB. */
const CACHE_KIB = 16 * 1024

/** Milliseconds that SQLite waits for another process's lock before it fails. */
const BUSY_MS = 1000

interface TableStatements {
  readonly get: Statement
  readonly checksum: Statement
  readonly insert: Statement
  readonly update: Statement
  readonly delete: Statement
}

/** The database of a store: rows and log, their checksums, and the digest over all of them. All methods throw. */
export class Database implements Rows {
  readonly #path: string
  readonly #connection: Connection
  readonly #durability: Durability
  readonly #statements = new Map<Table, TableStatements>()
  readonly #queueOf: Statement
  readonly #dataVersion: Statement
  readonly #begin: Statement
  readonly #commit: Statement
  readonly #used: readonly Statement[]
  readonly #saveMeta: Statement
  readonly #oldCommits: Statement
  #meta: Meta
  #digest: Digest
  /** Changes when another connection has written; `undefined` before the first transaction. */
  #version: Value | undefined
  /** The same, when this connection was opened. */
  readonly #firstVersion: Value
  #owner: Owner | undefined
  #usedBytes = 0
  #freeBytes = 0

  /** Opens an existing store. @throws DamageError if it is no store, or its format is unknown */
  constructor(path: string, readOnly: boolean, options: DatabaseOptions = {}) {
    this.#path = path
    this.#durability = options.durability ?? 'fsync'
    this.#connection = openDatabase(path, readOnly)
    try {
      this.#connection.exec(
        `PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA mmap_size = 0; PRAGMA cache_size = -${CACHE_KIB}; PRAGMA trusted_schema = OFF`,
      )
      if (!readOnly) {
        this.#connection.exec(
          'PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY; ' +
            `PRAGMA journal_size_limit = ${options.walBytes ?? -1}; PRAGMA synchronous = ${this.#synchronous}`,
        )
      }
      this.#dataVersion = this.#connection.prepare('PRAGMA data_version')
      this.#firstVersion = this.#dataVersionNow
      checkSchema(this.#connection, path)
      const prepare = (sql: string): Statement => this.#connection.prepare(sql)
      for (const table of TABLES) this.#statements.set(table, statementsOf(table, prepare))
      this.#queueOf = prepare('SELECT message FROM queue WHERE session = ?')
      this.#begin = prepare('BEGIN IMMEDIATE')
      this.#commit = prepare('COMMIT')
      this.#used = ['page_count', 'freelist_count', 'page_size'].map((name) => prepare(`PRAGMA ${name}`))
      this.#saveMeta = prepare(
        'UPDATE meta SET lsn = ?, folded = ?, rows = ?, digest = ?, checksum = ? WHERE id = 1 AND owner_token = ?',
      )
      this.#oldCommits = prepare('SELECT lsn, checksum, length(records) AS bytes FROM log WHERE lsn <= ? ORDER BY lsn LIMIT ?')
      this.#meta = this.#readMeta()
      this.#digest = new Digest(this.#meta.rows, this.#meta.digest)
    } catch (error) {
      this.#connection.close()
      throw error
    }
  }

  /** Creates an empty store, readable by its owner alone. It is complete and durable when this returns. */
  static create(path: string, writtenBy: string): void {
    closeSync(openSync(path, 'wx', 0o600))
    const connection = openDatabase(path)
    try {
      connection.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${FORMAT}; PRAGMA journal_mode = WAL`)
      connection.exec(`PRAGMA synchronous = FULL; BEGIN; ${Object.values(SCHEMA).join('; ')}`)
      const counters = { epoch: 0, lsn: 0, folded: 0, rows: 0, digest: new Digest().toString() }
      const meta = { format: FORMAT, writtenBy, owner: undefined, ownerFile: '', ownerDurability: undefined, ...counters }
      connection
        .prepare(
          'INSERT INTO meta (id, format, written_by, epoch, lsn, folded, rows, digest, checksum) VALUES (1, ?, ?, 0, 0, 0, 0, ?, ?)',
        )
        .run(FORMAT, writtenBy, meta.digest, metaChecksum(meta))
      connection.exec('COMMIT')
    } finally {
      connection.close()
    }
  }

  get #synchronous(): string {
    return this.#durability === 'fsync' ? 'FULL' : 'NORMAL'
  }

  get meta(): Meta {
    return this.#meta
  }

  /** Bytes of pages in use, as of the last transaction. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** Bytes of free pages in the file, as of the last transaction. */
  get freeBytes(): number {
    return this.#freeBytes
  }

  #readMeta(): Meta {
    const row = this.#connection.prepare('SELECT * FROM meta').get()
    if (row === undefined) throw new DamageError('meta is empty')
    const meta = checkedMeta(row)
    if (meta === undefined) throw new DamageError('meta: checksum does not match')
    return meta
  }

  /**
   * Makes this connection the store's only writer. `inspected` is the connection that has verified the store; what was written
   * since it was opened is verified again. @throws FencedError if another process has opened the store since, DamageError
   */
  own(owner: Owner, writtenBy: string, inspected: Database = this): void {
    this.#begin.run()
    try {
      const { epoch, lsn, owner: before } = this.#readMeta()
      const { meta } = inspected
      if (epoch !== meta.epoch || lsn !== meta.lsn || before?.token !== meta.owner?.token) {
        throw new FencedError('another process opened it at the same time')
      }
      if (inspected.#dataVersionNow !== inspected.#firstVersion) {
        this.verify((problem) => {
          throw new DamageError(`another process has written to it: ${problem}`)
        })
      }
      this.#setOwner(owner, writtenBy, epoch + 1)
      this.#version = this.#dataVersionNow
      this.#commit.run()
    } catch (error) {
      this.#rollback()
      throw error
    }
    this.#owner = owner
    this.#meta = this.#readMeta()
  }

  /** Continues as the owner after the connection was opened again; verifies everything again. @throws FencedError, DamageError */
  resume(owner: Owner): void {
    this.#begin.run()
    try {
      const meta = this.#readMeta()
      const found = meta.owner
      if (found?.token !== owner.token) throw new FencedError(fencedBy(found))
      this.verify((problem) => {
        throw new DamageError(problem)
      })
      this.#version = this.#dataVersionNow
      this.#meta = meta
      this.#digest = new Digest(meta.rows, meta.digest)
    } finally {
      this.#rollback()
    }
    this.#owner = owner
  }

  /** Releases the store, which counts as closed cleanly from here on. */
  disown(): void {
    this.transaction(() => {}, true)
    this.#begin.run()
    this.#setOwner(undefined, this.#meta.writtenBy, this.#meta.epoch)
    this.#commit.run()
  }

  #setOwner(owner: Owner | undefined, writtenBy: string, epoch: number): void {
    const ownerFile = owner === undefined ? '' : fileId(this.#path)
    const ownerDurability = owner === undefined ? undefined : this.#durability
    const meta = { ...this.#meta, writtenBy, epoch, owner, ownerFile, ownerDurability }
    const values =
      owner === undefined
        ? [null, null, null, null, null, null]
        : [owner.pid, owner.bootId, owner.started, owner.token, ownerFile, this.#durability]
    this.#connection
      .prepare(
        'UPDATE meta SET owner_pid = ?, owner_boot_id = ?, owner_started = ?, owner_token = ?, owner_file = ?, owner_durability = ?, ' +
          'written_by = ?, epoch = ?, checksum = ?',
      )
      .run(...values, writtenBy, epoch, metaChecksum(meta))
  }

  /**
   * Runs `action` in a transaction of the owner, which is all or nothing. `durable` false leaves the sync of the disk to the next one.
   * @throws FencedError, DamageError, and what SQLite says
   */
  transaction(action: () => void, durable: boolean): void {
    const [meta, digest] = [this.#meta, this.#digest.copy()]
    const relaxed = !durable && this.#durability === 'fsync'
    if (relaxed) this.#connection.exec('PRAGMA synchronous = NORMAL')
    try {
      this.#begin.run()
      this.#checkOthers()
      action()
      this.#writeMeta()
      const [pages, free, pageBytes] = this.#used.map((statement) => Number(Object.values(statement.get()!)[0]))
      this.#commit.run()
      this.#usedBytes = (pages! - free!) * pageBytes!
      this.#freeBytes = free! * pageBytes!
    } catch (error) {
      this.#meta = meta
      this.#digest = digest
      this.#rollback()
      throw error
    } finally {
      if (relaxed) this.#connection.exec(`PRAGMA synchronous = ${this.#synchronous}`)
    }
  }

  #rollback(): void {
    try {
      this.#connection.exec('ROLLBACK')
    } catch {
      // SQLite has rolled back by itself, as it does after some errors.
    }
  }

  /** A write by another process is damage, unless it left everything as it was (as a checkpoint of the WAL does). */
  #checkOthers(): void {
    const version = this.#dataVersionNow
    if (this.#version !== undefined && this.#version !== version) {
      const row = this.#connection.prepare('SELECT * FROM meta').get() ?? {}
      const { owner } = metaOf(row)
      if (owner?.token !== this.#owner?.token) throw new FencedError(fencedBy(owner))
      const isOurs = checkedMeta(row) !== undefined && row.checksum === metaChecksum(this.#meta)
      if (!isOurs) throw new DamageError('another process has written to it')
      try {
        checkSchema(this.#connection, this.#path)
      } catch (error) {
        throw new DamageError(`another process has written to it: ${failureOf(error).reason}`)
      }
      this.verify((problem) => {
        throw new DamageError(`another process has written to it: ${problem}`)
      })
    }
    this.#version = version
  }

  get #dataVersionNow(): Value {
    return Object.values(this.#dataVersion.get()!)[0]!
  }

  #writeMeta(): void {
    this.#meta = { ...this.#meta, rows: this.#digest.rows, digest: this.#digest.toString() }
    const { lsn, folded, rows, digest } = this.#meta
    const { changes } = this.#saveMeta.run(lsn, folded, rows, digest, metaChecksum(this.#meta), this.#owner?.token ?? null)
    if (Number(changes) === 1) return
    throw new FencedError(fencedBy(metaOf(this.#connection.prepare('SELECT * FROM meta').get() ?? {}).owner))
  }

  /** Appends a commit to the log, or writes it again in place of one that may have survived a failure. In a transaction only. */
  putCommit(lsn: Lsn, value: Uint8Array): void {
    const checksum = commitChecksum(lsn, value)
    this.#put('log', [lsn], [checksum, value], checksum)
    this.#meta = { ...this.#meta, lsn: Math.max(lsn, this.#meta.lsn) }
  }

  /** Sets what a recovered store continues from; the epoch is stored by `disown`. In a transaction only. */
  restoreCounters({ epoch, lsn, folded }: Pick<Meta, 'epoch' | 'lsn' | 'folded'>): void {
    this.#meta = { ...this.#meta, epoch, lsn, folded }
  }

  /** The records of a commit that is in the log. @throws DamageError */
  commitOf(lsn: Lsn): Uint8Array {
    const row = this.#statements.get('log')!.get.get(lsn)
    if (row === undefined) throw new DamageError(`commit ${lsn} is missing`)
    const value = row.records as Uint8Array
    if (!isBlob(value) || row.checksum !== commitChecksum(lsn, value))
      throw new DamageError(`commit ${lsn}: checksum does not match`)
    return value
  }

  /** All records up to here are in the rows. In a transaction only. */
  putFolded(folded: Lsn): void {
    this.#meta = { ...this.#meta, folded }
  }

  /**
   * Deletes the oldest commits up to and including `upTo`, at most `count` of them and about `bytes`. False when none is left. In
   * a transaction only.
   */
  trim(upTo: Lsn, count: number, bytes: number): boolean {
    const found = this.#oldCommits.all(upTo, count)
    let sum = 0
    for (const commit of found) {
      this.#statements.get('log')!.delete.run(commit.lsn!)
      this.#digest.remove(commit.checksum as number)
      sum += commit.bytes as number
      if (sum >= bytes) return true
    }
    return found.length === count
  }

  /** Bytes of log that have not been folded yet. */
  get unfoldedBytes(): number {
    const sum = this.#connection.prepare('SELECT sum(length(records)) AS bytes FROM log WHERE lsn > ?').get(this.#meta.folded)
    return Number(sum?.bytes ?? 0)
  }

  /** @throws DamageError */
  get(key: RowKey): Uint8Array | undefined {
    const row = this.#statements.get(key.table)!.get.get(...keyValues(key))
    if (row === undefined) return undefined
    const value = row.records as Uint8Array
    if (!isBlob(value) || row.checksum !== rowChecksum(key, value))
      throw new DamageError(`row ${rowName(key)}: checksum does not match`)
    return value
  }

  queueOf(session: SessionKey): readonly number[] {
    return this.#queueOf.all(session).map((row) => row.message as number)
  }

  /** The number of sessions that have each message with a row in their queue. */
  references(): References {
    const references = new References()
    for (const { id } of this.#connection.prepare('SELECT id FROM messages').iterate()) references.add(id as number, 0)
    for (const { message } of this.#connection.prepare('SELECT message FROM queue').iterate())
      references.add(message as number, 1)
    return references
  }

  /** Writes or deletes a row; `label` is for the column that only people read. In a transaction only. */
  putRow(key: RowKey, value: Uint8Array | undefined, label = ''): void {
    const values = keyValues(key)
    if (value !== undefined) {
      const labels = LABEL_COLUMNS[key.table] === undefined ? [] : [label]
      const checksum = rowChecksum(key, value)
      this.#put(key.table, values, [...labels, checksum, value], checksum)
      return
    }
    const before = this.#statements.get(key.table)!.checksum.get(...values)
    if (before === undefined) return
    this.#statements.get(key.table)!.delete.run(...values)
    this.#digest.remove(before.checksum as number)
  }

  #put(table: Table, key: readonly Value[], values: readonly Value[], checksum: number): void {
    const statements = this.#statements.get(table)!
    const before = statements.checksum.get(...key)
    if (before === undefined) statements.insert.run(...key, ...values)
    else {
      this.#digest.remove(before.checksum as number)
      statements.update.run(...values, ...key)
    }
    this.#digest.add(checksum)
  }

  /**
   * All rows but the log's, in the order in which a new process reads them. Checks their checksums, and that they are no more
   * than `meta` says. @throws DamageError
   */
  *rows(): Iterable<readonly ScannedRow[]> {
    let count = 0
    for (const table of ROW_TABLES) {
      for (const rows of scan(this.#connection, table)) {
        for (const row of rows) if (!row.isSound) throw new DamageError(`row ${rowName(row.key)}: checksum does not match`)
        count += rows.length
        // A damaged tree may lead to the same pages again and again.
        if (count > this.#meta.rows) throw new DamageError(`more than ${this.#meta.rows} rows are there`)
        yield rows
      }
    }
  }

  /** Compares every row with its checksum, and all of them with the digest: `verify`. */
  verify(onProblem: (problem: string) => void, onRows?: RowsSink): void {
    verify(this.#connection, onProblem, onRows)
  }

  /** From here on all reads see the store as it is now. */
  holdMoment(): void {
    this.#connection.exec('BEGIN')
  }

  /** Runs `action` on the store as it is at one moment. */
  snapshot<T>(action: () => T): T {
    this.#connection.exec('BEGIN')
    try {
      return action()
    } finally {
      this.#rollback()
    }
  }

  /** What SQLite finds wrong with the structure of the file, one line for each problem. */
  structureProblems(): Iterable<string> {
    return structureProblems(this.#connection)
  }

  /**
   * Copies as much as possible of the WAL into the database. Returns the pages in the WAL, and how many of them are in the
   * database.
   */
  checkpoint(mode: 'PASSIVE' | 'TRUNCATE' = 'PASSIVE'): { pages: number; copied: number } {
    const row = this.#connection.prepare(`PRAGMA wal_checkpoint(${mode})`).get()!
    return { pages: Number(row.log), copied: Number(row.checkpointed) }
  }

  /** Truncates a WAL that has been copied, unless another process reads it. */
  emptyWal(): void {
    this.#connection.exec('PRAGMA busy_timeout = 0')
    try {
      this.checkpoint('TRUNCATE')
    } finally {
      this.#connection.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
    }
  }

  /** From here on another process's lock is an error immediately. */
  stopWaiting(): void {
    this.#connection.exec('PRAGMA busy_timeout = 0')
  }

  close(): void {
    this.#connection.close()
  }
}

function statementsOf(table: Table, prepare: (sql: string) => Statement): TableStatements {
  const key = KEY_COLUMNS[table]
  const label = LABEL_COLUMNS[table]
  const values = [...(label === undefined ? [] : [label]), 'checksum', 'records']
  const where = key.map((column) => `${column} = ?`).join(' AND ')
  const columns = [...key, ...values]
  return {
    get: prepare(`SELECT checksum, records FROM ${table} WHERE ${where}`),
    checksum: prepare(`SELECT checksum FROM ${table} WHERE ${where}`),
    insert: prepare(`INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`),
    update: prepare(`UPDATE ${table} SET ${values.map((column) => `${column} = ?`).join(', ')} WHERE ${where}`),
    delete: prepare(`DELETE FROM ${table} WHERE ${where}`),
  }
}

function keyValues({ table, name, id }: RowKey): Value[] {
  if (table === 'messages') return [id]
  return table === 'queue' ? [name, id] : [name]
}

const fencedBy = (owner: Owner | undefined): string =>
  owner === undefined ? 'another process has written to it' : `process ${owner.pid} has taken it over`
