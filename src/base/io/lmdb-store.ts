import { mkdir, open as openFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type Database, open as openLmdb, type RootDatabase, type RootDatabaseOptions } from 'lmdb'
import type { Lsn, Store, StoreRecord } from '../store.ts'
import { DirectoryLock } from './directory-lock.ts'
import { GroupCommit, type GroupCommitOptions, readCommit } from './group-commit.ts'

export interface LmdbStoreOptions extends GroupCommitOptions {
  /** Address space for the data file, bytes. lmdb maps more by itself when the file outgrows it, which it is slow at. */
  readonly mapBytes?: number
}

/** What 32-bit systems can still spare. */
export const MAP_BYTES = 1024 * 1024 * 1024

/**
 * Version of everything below: two databases, `meta` (name -> bytes) with this version under 'format', and `log` (Lsn of the commit, 8 bytes
 * big-endian -> CRC-32 and records). Commits are numbered from 1 without gaps.
 */
const FORMAT_VERSION = 3
const FORMAT_KEY = Buffer.from('format')
const FIRST_LSN = 1

type Bytes = Database<Uint8Array, Uint8Array>

/** The durable store: a log of commits in lmdb. */
export class LmdbStore implements Store {
  readonly #dir: string
  readonly #lock: DirectoryLock
  readonly #root: RootDatabase
  readonly #log: Bytes
  readonly #commits: GroupCommit

  private constructor(dir: string, lock: DirectoryLock, root: RootDatabase, log: Bytes, options: LmdbStoreOptions) {
    this.#dir = dir
    this.#lock = lock
    this.#root = root
    this.#log = log
    this.#commits = new GroupCommit((lsn, value) => log.put(lsnKey(lsn), value), lastLsn(log), options)
  }

  /**
   * Opens the store in `dir`, and makes it if there is none. Rejects with a one-line error that names the directory: another process uses it,
   * it was written by a version of Roost that this one does not know, or lmdb cannot open it.
   */
  static async open(dir: string, options: LmdbStoreOptions): Promise<LmdbStore> {
    const path = resolve(dir)
    const made = await mkdir(path, { recursive: true, mode: 0o700 })
    const lock = await DirectoryLock.acquire(path)
    let root: RootDatabase | undefined
    try {
      root = openLmdb(path, lmdbOptions(options))
      const log: Bytes = root.openDB('log', BYTES)
      if (checkFormat(root.openDB('meta', BYTES), log)) await syncDirectories(path, made === undefined ? path : dirname(made))
      return new LmdbStore(path, lock, root, log, options)
    } catch (error) {
      await root?.close()
      await lock.release()
      throw new Error(`store ${path}: ${oneLine(error)}`)
    }
  }

  get durable(): Lsn {
    return this.#commits.durable
  }

  append(record: StoreRecord): Lsn | 'full' {
    return this.#commits.append(record)
  }

  /** Throws a one-line error with the path and the Lsn at the first commit that is missing or cannot be read. */
  *replay(): Iterable<StoreRecord> {
    let expected = FIRST_LSN
    try {
      for (const { key, value } of this.#log.getRange()) {
        const lsn = keyLsn(key)
        if (lsn !== expected) throw new Error(`missing, ${lsn} follows`)
        const records = readCommit(value)
        if (typeof records === 'string') throw new Error(records)
        yield* records
        expected++
      }
    } catch (error) {
      throw new Error(`store ${this.#dir}: commit ${expected}: ${oneLine(error)}`)
    }
  }

  /** Commits what is left; rejects if that could not be stored. The directory is free for others in either case. */
  async close(): Promise<void> {
    try {
      await this.#commits.close()
    } catch (error) {
      throw new Error(`store ${this.#dir}: ${oneLine(error)}`)
    } finally {
      await this.#root.close()
      await this.#lock.release()
    }
  }
}

// Binary keys, because lmdb's own uint32 keys would last a busy broker for seven weeks.
const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const

function lmdbOptions(options: LmdbStoreOptions): RootDatabaseOptions & { permissionsMode: number; noSubdir: boolean } {
  return {
    // With the default, true, a put resolves before its pages are flushed.
    overlappingSync: false,
    mapSize: options.mapBytes ?? MAP_BYTES,
    permissionsMode: 0o600,
    // Left alone, lmdb takes a directory with a dot in its name for a file.
    noSubdir: false,
    ...BYTES,
  }
}

/** Writes the version into a new store, and then gives true. */
function checkFormat(meta: Bytes, log: Bytes): boolean {
  const format = meta.get(FORMAT_KEY)
  if (format === undefined) {
    if (lastLsn(log) !== 0) throw new Error('it has a log but no format version')
    meta.putSync(FORMAT_KEY, Buffer.from([FORMAT_VERSION]))
    return true
  }
  if (format.length === 1 && format[0] === FORMAT_VERSION) return false
  throw new Error(`format version ${format.join('.')} is not known to this version of Roost, which knows ${FORMAT_VERSION}`)
}

/** 0 in an empty log. */
function lastLsn(log: Bytes): Lsn {
  for (const key of log.getKeys({ reverse: true, limit: 1 })) return keyLsn(key)
  return FIRST_LSN - 1
}

function lsnKey(lsn: Lsn): Uint8Array {
  const key = Buffer.allocUnsafe(8)
  key.writeUInt32BE(Math.floor(lsn / 0x1_0000_0000), 0)
  key.writeUInt32BE(lsn >>> 0, 4)
  return key
}

function keyLsn(key: Uint8Array): Lsn {
  if (key.length !== 8) throw new Error(`log key of ${key.length} bytes`)
  const view = new DataView(key.buffer, key.byteOffset)
  return view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4)
}

/** The names of new files and directories are durable only after this. */
async function syncDirectories(from: string, to: string): Promise<void> {
  for (let dir = from; ; dir = dirname(dir)) {
    const handle = await openFile(dir, 'r')
    await handle.sync().finally(() => handle.close())
    if (dir === to) return
  }
}

const oneLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).replaceAll('\n', ' ')
