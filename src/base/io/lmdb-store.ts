import { dirname, resolve } from 'node:path'
import { ByteReader } from '../bytes.ts'
import { readRecord } from '../records.ts'
import type { Lsn, Store, StoreRecord } from '../store.ts'
import { CHECKPOINT_BYTES, Checkpoints, type LogRecord } from './checkpoints.ts'
import { type DatabaseOptions, Databases, keyLsn, lsnKey, syncDirectories } from './databases.ts'
import { DirectoryLock } from './directory-lock.ts'
import { checked, GroupCommit, type GroupCommitOptions, readCommit } from './group-commit.ts'
import { makeDirectory } from './make-directory.ts'
import { mend, type Salvage } from './salvage.ts'

export interface LmdbStoreOptions extends GroupCommitOptions, DatabaseOptions {
  /** Bytes of pages in use above which nothing new is taken in. */
  readonly maxBytes?: number
  /** Bytes of log after which it is folded into rows. */
  readonly checkpointBytes?: number
  /** The store was damaged; what could be read of it is there. */
  onDamaged?(salvage: Salvage): void
  /** The log cannot be folded for now, and grows; commits are not affected. Without this, `onFailed` is told. */
  onCheckpointFailed?(error: string): void
}

/** Full at the byte bound, a store looks for room by a checkpoint that often (ms). */
const HURRY_MS = 1000

/** The durable store: a log of commits in lmdb, which checkpoints fold into rows. */
export class LmdbStore implements Store {
  readonly #dir: string
  readonly #lock: DirectoryLock
  readonly #databases: Databases
  readonly #checkpoints: Checkpoints
  readonly #commits: GroupCommit
  readonly #maxBytes: number
  #usedBytes = 0
  #hurriedAt = Number.NEGATIVE_INFINITY

  private constructor(
    dir: string,
    lock: DirectoryLock,
    databases: Databases,
    checkpoints: Checkpoints,
    options: LmdbStoreOptions,
  ) {
    this.#dir = dir
    this.#lock = lock
    this.#databases = databases
    this.#checkpoints = checkpoints
    this.#maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY
    this.#usedBytes = databases.usedBytes
    const onDurable = (upTo: Lsn): void => {
      this.#usedBytes = databases.usedBytes
      checkpoints.durable(upTo)
      options.onDurable(upTo)
    }
    this.#commits = new GroupCommit((lsn, value) => databases.log.put(lsnKey(lsn), value), databases.lastLsn, {
      ...options,
      onDurable,
    })
  }

  /**
   * Opens the store in `dir`, and makes it if there is none. Rejects with a one-line error that names the directory: another process uses it,
   * it was written by a version of Roost that this one does not know, or lmdb cannot open it. A damaged store is moved aside first.
   */
  static async open(dir: string, options: LmdbStoreOptions): Promise<LmdbStore> {
    const path = resolve(dir)
    const made = await makeDirectory(path)
    const lock = await DirectoryLock.acquire(path)
    let databases: Databases | undefined
    try {
      const salvage = await mend(path, new Date())
      if (salvage !== undefined) options.onDamaged?.(salvage)
      databases = new Databases(path, options)
      if (databases.isNew) await syncDirectories(path, made === undefined ? path : dirname(made))
      const { maxBytes = Number.POSITIVE_INFINITY, checkpointBytes = CHECKPOINT_BYTES } = options
      const checkpoints = new Checkpoints(
        databases,
        Math.min(checkpointBytes, maxBytes / 8),
        options.onCheckpointFailed ?? options.onFailed,
      )
      await checkpoints.begin(logOf(databases))
      return new LmdbStore(path, lock, databases, checkpoints, options)
    } catch (error) {
      await databases?.close()
      await lock.release()
      throw new Error(`store ${path}: ${oneLine(error)}`)
    }
  }

  get durable(): Lsn {
    return this.#commits.durable
  }

  append(record: StoreRecord): Lsn | 'full' {
    if ((this.#usedBytes >= this.#maxBytes || this.#commits.failing) && this.#grows(record)) {
      this.#hurry()
      return 'full'
    }
    const lsn = this.#commits.append(record)
    if (lsn !== 'full') this.#checkpoints.add(record, lsn, this.#commits.lastAt, this.#commits.lastBytes)
    return lsn
  }

  /** What ends something, or takes it further towards its end, is taken in as long as there is any room for it. */
  #grows(record: StoreRecord): boolean {
    switch (record.type) {
      case 'message':
        return true
      case 'subscribe':
      case 'sn-topic':
        return true
      case 'will':
        return record.will !== null
      case 'session':
        return !this.#checkpoints.hasSession(record.key)
      default:
        return false
    }
  }

  #hurry(): void {
    const now = performance.now()
    if (now - this.#hurriedAt < HURRY_MS || this.#commits.failing) return
    this.#hurriedAt = now
    // Where everything is refused no commit comes by that would look.
    this.#usedBytes = this.#databases.usedBytes
    this.#checkpoints.hurry(this.durable)
  }

  /** Reads the rows, which hold everything that there was at the start. Throws a one-line error with the path at the first that cannot be read. */
  *replay(): Iterable<StoreRecord> {
    const reader = new ByteReader(new Uint8Array(0))
    for (const { key, value } of this.#databases.rows.getRange()) {
      const bytes = checked(value)
      if (bytes === undefined) reader.fail('checksum does not match')
      else reader.reset(bytes, 0, bytes.length)
      while (reader.remaining > 0) {
        const record = readRecord(reader)
        if (record !== undefined) yield record
      }
      if (reader.error !== '') throw new Error(`store ${this.#dir}: row ${Buffer.from(key).toString('hex')}: ${reader.error}`)
    }
  }

  /** Commits what is left; rejects if that could not be stored. The directory is free for others in either case. */
  async close(): Promise<void> {
    try {
      await this.#commits.close()
    } catch (error) {
      throw new Error(`store ${this.#dir}: ${oneLine(error)}`)
    } finally {
      await this.#checkpoints.stop()
      await this.#databases.close()
      await this.#lock.release()
    }
  }
}

/** The log after the checkpoint. Throws at the first commit that is missing or cannot be read. */
function* logOf(databases: Databases): Iterable<LogRecord> {
  const last = databases.lastLsn
  // Keys that are none make themselves known here.
  for (const key of databases.log.getKeys({ limit: 1 })) keyLsn(key)
  for (let lsn = databases.checkpoint + 1; lsn <= last; lsn++) {
    const value = databases.log.get(lsnKey(lsn))
    if (value === undefined) throw new Error(`commit ${lsn}: missing, others follow`)
    const records: LogRecord[] = []
    const error = readCommit(value, (record, at, bytes) => records.push({ record, lsn, at, bytes }))
    if (error !== undefined) throw new Error(`commit ${lsn}: ${error}`)
    yield* records
  }
}

const oneLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).replaceAll('\n', ' ')
