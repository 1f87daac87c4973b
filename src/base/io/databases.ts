import { createHash } from 'node:crypto'
import { open as openFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Database, open as openLmdb, type RootDatabase, type RootDatabaseOptions } from 'lmdb'
import { RowKeys, type Rows } from '../rows.ts'
import type { Lsn } from '../store.ts'
import { checked } from './group-commit.ts'

export type Bytes = Database<Uint8Array, Uint8Array>

export interface DatabaseOptions {
  /** Address space for the data file, bytes. lmdb maps more by itself when the file outgrows it, which it is slow at. */
  readonly mapBytes?: number
  /** `fsync`: a commit is on the disk. `process`: it is the system's to write, and survives the process but no power cut. */
  readonly durability?: 'fsync' | 'process'
}

/** What 32-bit systems can still spare. */
export const MAP_BYTES = 1024 * 1024 * 1024

/**
 * Version of everything below: the databases `meta` (name -> bytes), `log` (Lsn of the commit, 8 bytes big-endian -> CRC-32 and records) and
 * `rows` (key of a row -> CRC-32 and records). `meta` has this version under 'format', and under 'checkpoint' the Lsn up to which the log was
 * folded into rows: what is in the log up to it counts no more. Commits are numbered from 1 without gaps.
 *
 * Formats 2 and 3 had no rows, and a log from 1 on; that is what format 4 has before its first checkpoint.
 */
export const FORMAT_VERSION = 4
export const READABLE = [2, 3, FORMAT_VERSION]
export const FORMAT_KEY = Buffer.from('format')
export const CHECKPOINT_KEY = Buffer.from('checkpoint')

// Binary keys, because lmdb's own uint32 keys would last a busy broker for seven weeks.
const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const

export const KEYS = new RowKeys((text) => createHash('sha256').update(text).digest())

/** The lmdb environment of a store. */
export class Databases implements Rows {
  readonly root: RootDatabase
  readonly meta: Bytes
  readonly log: Bytes
  readonly rows: Bytes
  /** Whether there was nothing before. */
  readonly isNew: boolean

  constructor(path: string, options: DatabaseOptions) {
    this.root = openLmdb(path, lmdbOptions(options))
    this.meta = this.root.openDB('meta', BYTES)
    this.log = this.root.openDB('log', BYTES)
    this.rows = this.root.openDB('rows', BYTES)
    this.isNew = this.#checkFormat()
  }

  /** Writes the version into a new store or an older one; true for a new one. @throws */
  #checkFormat(): boolean {
    const format = this.meta.get(FORMAT_KEY)
    const found = format?.length === 1 ? format[0]! : undefined
    if (format === undefined && this.lastLsn !== 0) throw new Error('it has a log but no format version')
    if (format !== undefined && !READABLE.includes(found ?? 0)) {
      throw new Error(
        `format version ${format.join('.')} is not known to this version of Roost, which knows ${READABLE.join(', ')}`,
      )
    }
    if (found !== FORMAT_VERSION) this.meta.putSync(FORMAT_KEY, Buffer.from([FORMAT_VERSION]))
    return format === undefined
  }

  /** Up to here the log is folded into rows. */
  get checkpoint(): Lsn {
    const value = this.meta.get(CHECKPOINT_KEY)
    return value === undefined ? 0 : keyLsn(value)
  }

  putCheckpoint(lsn: Lsn): void {
    // Its transaction tells whether it failed.
    this.meta.put(CHECKPOINT_KEY, lsnKey(lsn)).catch(() => {})
  }

  /** Of the commit that was made last; 0 if none was. */
  get lastLsn(): Lsn {
    for (const key of this.log.getKeys({ reverse: true, limit: 1 })) return Math.max(keyLsn(key), this.checkpoint)
    return this.checkpoint
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const value = this.rows.get(key)
    if (value === undefined) return undefined
    const bytes = checked(value)
    if (bytes === undefined) throw new Error(`row ${Buffer.from(key).toString('hex')}: checksum does not match`)
    return bytes
  }

  *keysUnder(prefix: Uint8Array): Iterable<Uint8Array> {
    for (const key of this.rows.getKeys({ start: prefix })) {
      if (Buffer.compare(key.subarray(0, prefix.length), prefix) !== 0) return
      yield key
    }
  }

  /** Bytes of the pages that hold something; the file itself never shrinks. */
  get usedBytes(): number {
    let pages = 0
    let pageBytes = 0
    for (const database of [this.meta, this.log, this.rows]) {
      const stats = database.getStats() as Stats
      pages += stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages
      pageBytes = stats.pageSize
    }
    return pages * pageBytes
  }

  close(): Promise<void> {
    return this.root.close()
  }
}

interface Stats {
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

function lmdbOptions({
  mapBytes = MAP_BYTES,
  durability = 'fsync',
}: DatabaseOptions): RootDatabaseOptions & { permissionsMode: number; noSubdir: boolean } {
  return {
    // With the default, true, a put resolves before its pages are flushed.
    overlappingSync: false,
    // With the default, true, lmdb makes a promise for each turn of the loop that nobody can get at, and whose rejection ends the process.
    eventTurnBatching: false,
    noSync: durability === 'process',
    mapSize: mapBytes,
    permissionsMode: 0o600,
    // Left alone, lmdb takes a directory with a dot in its name for a file.
    noSubdir: false,
    ...BYTES,
  }
}

export function lsnKey(lsn: Lsn): Uint8Array {
  const key = Buffer.allocUnsafe(8)
  key.writeUInt32BE(Math.floor(lsn / 0x1_0000_0000), 0)
  key.writeUInt32BE(lsn >>> 0, 4)
  return key
}

export function keyLsn(key: Uint8Array): Lsn {
  if (key.length !== 8) throw new Error(`log key of ${key.length} bytes`)
  const view = new DataView(key.buffer, key.byteOffset)
  return view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4)
}

/** The names of new files and directories are durable only after this. */
export async function syncDirectories(from: string, to: string): Promise<void> {
  for (let dir = from; ; dir = dirname(dir)) {
    const handle = await openFile(dir, 'r')
    await handle.sync().finally(() => handle.close())
    if (dir === to) return
  }
}
