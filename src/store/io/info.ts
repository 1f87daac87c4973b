import { existsSync, statSync } from 'node:fs'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { CLOCK_KEY } from '../rows.ts'
import { isRunning, type Owner } from './owner.ts'
import { RESERVE_FILE } from './schema.ts'
import { openDatabase, sqliteVersion } from './sqlite.ts'
import { damageOf, ownerIn, RefusedError, StoreReader, storeIn } from './store-reader.ts'

/** What an operator may want to know about a store. */
export interface StoreInfo {
  readonly directory: string
  readonly format: number
  /** The program that last opened the store for writing. */
  readonly writtenBy: string
  readonly sqlite: string
  /** The package or module that SQLite comes from. */
  readonly binding: string
  /** How often the store has been opened for writing. */
  readonly epoch: number
  /** Null if the store was closed cleanly. */
  readonly owner: OwnerInfo | null
  readonly lastCommit: number
  /** The part of the log that is not in the rows yet. */
  readonly log: { readonly commits: number; readonly bytes: number }
  readonly rows: {
    readonly sessions: number
    readonly sensors: number
    readonly retained: number
    readonly messages: number
    readonly queue: number
  }
  readonly bytes: { readonly database: number; readonly wal: number; readonly reserve: number }
  readonly pages: { readonly size: number; readonly total: number; readonly free: number }
}

export interface OwnerInfo {
  readonly pid: number
  readonly isRunning: boolean
  /** When the process started; null if that is not known. */
  readonly since: string | null
  /** The store is a copy: the process has another file open, or had. */
  readonly isCopy: boolean
}

/** Reads figures of a store, which another process may use meanwhile. @throws RefusedError, and the system's errors */
export function storeInfo(dir: string): StoreInfo {
  const { database, wal } = storeIn(dir)
  if (!existsSync(database)) throw new RefusedError(`${database}: no such file; see roost store check ${dir}`)
  try {
    const reader = new StoreReader(database)
    try {
      return read(reader, dir, { database, wal })
    } finally {
      reader.close()
    }
  } catch (error) {
    if (error instanceof RefusedError) throw error
    throw new RefusedError(`${database}: ${damageOf(error, database)}; see roost store check ${dir}`)
  }
}

function read(reader: StoreReader, dir: string, { database, wal }: ReturnType<typeof storeIn>): StoreInfo {
  reader.tables((problem) => {
    throw new RefusedError(`${database}: ${problem}; see roost store check ${dir}`)
  })
  const { meta } = reader
  if (meta === undefined) throw new RefusedError(`${database}: meta is damaged; see roost store check ${dir}`)
  return {
    directory: dir,
    format: meta.format,
    writtenBy: meta.writtenBy,
    sqlite: sqliteVersion(),
    binding: binding(),
    epoch: meta.epoch,
    owner: meta.owner === undefined ? null : ownerInfo(meta.owner, ownerIn(meta, database) === undefined),
    lastCommit: meta.lsn,
    log: reader.logAfter(meta.folded),
    rows: {
      sessions: reader.count('sessions', `name <> '${CLOCK_KEY.name}'`),
      sensors: reader.count('sensors'),
      retained: reader.count('retained'),
      messages: reader.count('messages'),
      queue: reader.count('queue'),
    },
    bytes: { database: sizeOf(database), wal: sizeOf(wal), reserve: sizeOf(join(dir, RESERVE_FILE)) },
    pages: {
      size: Number(reader.pragma('page_size')),
      total: Number(reader.pragma('page_count')),
      free: Number(reader.pragma('freelist_count')),
    },
  }
}

function ownerInfo(owner: Owner, isCopy: boolean): OwnerInfo {
  const running = !isCopy && isRunning(owner)
  return { pid: owner.pid, isRunning: running, since: running ? startOf(owner) : null, isCopy }
}

/** Linux counts 100 ticks a second since boot, on all processors that Node.js runs on; other systems have a date as text. */
function startOf({ started }: Owner): string | null {
  const ms = /^\d+$/.test(started) ? Date.now() + (Number(started) / 100 - uptime()) * 1000 : Date.parse(started)
  return Number.isFinite(ms) ? new Date(Math.round(ms / 1000) * 1000).toISOString().replace('.000', '') : null
}

function binding(): string {
  const memory = openDatabase(':memory:')
  try {
    return memory.constructor.name === 'DatabaseSync' ? 'node:sqlite' : 'better-sqlite3'
  } finally {
    memory.close()
  }
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** Lines of names and values, for people. */
export function describeStore(info: StoreInfo): string {
  const { owner, log, rows, bytes, pages } = info
  const lines: readonly (readonly [string, string])[] = [
    ['directory', info.directory],
    ['format', `${info.format}`],
    ['written by', info.writtenBy],
    ['SQLite', `${info.sqlite} (${info.binding})`],
    ['epoch', `${info.epoch}`],
    ['owner', owner === null ? 'none, closed cleanly' : describeOwner(owner)],
    ['last commit', `${info.lastCommit}`],
    ['log', `${log.commits} commits not in rows yet, ${bytesOf(log.bytes)}`],
    ['sessions', `${rows.sessions}`],
    ['sensors', `${rows.sensors}`],
    ['retained', `${rows.retained}`],
    ['messages', `${rows.messages}`],
    ['queue places', `${rows.queue}`],
    ['database', bytesOf(bytes.database)],
    ['WAL', bytesOf(bytes.wal)],
    ['reserve', bytesOf(bytes.reserve)],
    ['free pages', `${pages.free} of ${pages.total}, ${bytesOf(pages.free * pages.size)}`],
  ]
  const width = 2 + Math.max(...lines.map(([name]) => name.length))
  return lines.map(([name, value]) => `${`${name}:`.padEnd(width)}${value}\n`).join('')
}

function describeOwner({ pid, isRunning: running, since, isCopy }: OwnerInfo): string {
  if (isCopy) return `none; a copy of a store that process ${pid} had open`
  if (!running) return `process ${pid}, which ended without closing the store`
  return since === null ? `process ${pid}, running` : `process ${pid}, running since ${since}`
}

function bytesOf(count: number): string {
  if (count < 1024) return `${count} bytes`
  return count < 2 ** 20 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 2 ** 20).toFixed(1)} MiB`
}
