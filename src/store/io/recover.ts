import { chownSync, existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import type { Lsn } from '../store.ts'
import { entryOfCell, metaOfColumns } from './entries.ts'
import { syncDirectories } from './files.ts'
import { makeDirectory } from './make-directory.ts'
import { copyMerged, type Merge } from './merged-copy.ts'
import type { Meta } from './meta.ts'
import { isRunning, type Owner } from './owner.ts'
import { PageReader } from './page-reader.ts'
import { realPath } from './real-path.ts'
import { Rebuild } from './rebuild.ts'
import { DATABASE_FILE, FORMAT, LOCK_FILE, TABLES, type Table } from './schema.ts'
import { type Connection, failureOf, openDatabase } from './sqlite.ts'
import { damageOf, ownerIn, RefusedError, StoreReader, storeIn } from './store-reader.ts'
import { readWal, type StorePaths, type Wal } from './wal.ts'

/** Folder inside the new directory for copies that are deleted at the end. */
const WORK_DIR = 'recovering'

export interface RecoverOptions {
  /** Name of the program, for `meta`. */
  readonly writtenBy: string
}

export interface Recovered {
  /** Rows and commits of the new store, by table. */
  readonly counts: ReadonlyMap<Table, number>
  /** How many of them may be outdated: they were found only on pages that belong to no table any more. */
  readonly strays: number
  /** What is known to be missing, or not known to be there, one line each. */
  readonly missing: readonly string[]
}

/**
 * Writes a new store to directory `to`, with everything that can be read of the one in `from`, where nothing is written.
 * @throws RefusedError, the system's errors, and SQLite's where the new store cannot be written
 */
export function recoverStore(from: string, to: string, options: RecoverOptions): Recovered {
  const source = storeIn(from)
  checkTarget(from, to)
  const { meta, format } = readWal(source)
  if (meta === undefined && format !== undefined && format !== FORMAT) {
    throw new RefusedError(`${from}: format version ${format} is not known to this version of Roost, which knows ${FORMAT}`)
  }
  const unlock = lockOut(from, ownerIn(meta, source.database))
  try {
    const isNew = !existsSync(to)
    const made = makeDirectory(to)
    try {
      return recoverInto(to, source, options, made)
    } catch (error) {
      rmSync(join(to, WORK_DIR), { recursive: true, force: true })
      if (isNew) rmSync(made ?? to, { recursive: true, force: true })
      throw error
    }
  } finally {
    unlock()
  }
}

/** @throws RefusedError if the new store cannot be there */
function checkTarget(from: string, to: string): void {
  const found = statSync(to, { throwIfNoEntry: false })
  if (found !== undefined && !found.isDirectory()) throw new RefusedError(`${to}: not a directory`)
  if (found !== undefined && readdirSync(to).length > 0) throw new RefusedError(`${to}: the directory is not empty`)
  const way = relative(realpathSync(from), realPath(to))
  if (!/^\.\.(\/|$)/.test(way)) throw new RefusedError(`${to}: it is inside ${from}, where nothing may be written`)
}

/**
 * Keeps other processes from opening the store until the returned function is called, without writing anything: a lock for
 * reading excludes the one for writing. @throws RefusedError if a process has the store open
 */
function lockOut(dir: string, owner: Owner | undefined): () => void {
  if (owner !== undefined && isRunning(owner)) throw new RefusedError(`${dir}: process ${owner.pid} uses it; stop it first`)
  const path = join(dir, LOCK_FILE)
  if (!existsSync(path)) return () => {}
  let connection: Connection | undefined
  try {
    connection = openDatabase(path, true)
    connection.exec('PRAGMA busy_timeout = 0; BEGIN')
    connection.prepare('SELECT count(*) FROM sqlite_schema').get()
  } catch (error) {
    connection?.close()
    connection = undefined
    if (failureOf(error).kind === 'busy') throw new RefusedError(`${dir}: another process uses it; stop it first`)
  }
  return () => connection?.close()
}

function recoverInto(to: string, source: StorePaths, { writtenBy }: RecoverOptions, made: string | undefined): Recovered {
  const work = join(to, WORK_DIR)
  const path = join(work, 'new', DATABASE_FILE)
  const wal = readWal(source)
  let attempt: Attempt | undefined
  try {
    for (const merge of mergesOf(wal)) {
      attempt?.close()
      rmSync(work, { recursive: true, force: true })
      mkdirSync(join(work, 'new'), { recursive: true, mode: 0o700 })
      attempt = new Attempt(new Rebuild(path, writtenBy))
      attempt.read(source, wal, join(work, 'old.db'), merge)
      if (attempt.isComplete) break
    }
    const recovered = attempt!.finish()
    keepOwner(source, path, to, made)
    renameSync(path, join(to, DATABASE_FILE))
    rmSync(work, { recursive: true })
    syncDirectories(to, made === undefined ? to : dirname(made))
    return recovered
  } finally {
    attempt?.close()
  }
}

/**
 * What to try, until everything that was in the store is found. Where a page is damaged in the WAL, the database itself may have
 * its newest version.
 */
function mergesOf({ sound, rest, isOutdated, damage }: Wal): readonly Merge[] {
  if (damage === undefined) return [{ frames: sound, blank: false }]
  const frames = [...sound, ...rest]
  return [
    { frames: isOutdated ? [] : frames, blank: false },
    { frames, blank: true },
  ]
}

/** The new files belong to the user whose the old ones were, if this process may do that. */
function keepOwner({ database, wal }: StorePaths, path: string, to: string, made: string | undefined): void {
  const { uid, gid } = statSync(existsSync(database) ? database : wal)
  for (const each of made === undefined ? [path] : [path, to]) {
    try {
      chownSync(each, uid, gid)
    } catch {
      // Only root may do that.
    }
  }
}

/** Fills a new store from one copy of the old one. */
class Attempt {
  readonly #rebuild: Rebuild
  readonly #problems: string[] = []

  constructor(rebuild: Rebuild) {
    this.#rebuild = rebuild
  }

  get isComplete(): boolean {
    return this.#rebuild.isComplete
  }

  close(): void {
    this.#rebuild.close()
  }

  /** `copy` is where the copy will be. */
  read(source: StorePaths, wal: Wal, copy: string, merge: Merge): void {
    const onProblem = (problem: string): void => void this.#problems.push(problem)
    if (wal.damage !== undefined) onProblem(wal.damage)
    if (merge.frames.some(({ page, isIntact }) => page === 0 && !isIntact)) {
      onProblem(
        `${basename(source.wal)}: frames are damaged of which nothing says what page they are, so that some rows may be outdated`,
      )
    }
    copyMerged(source, wal, copy, merge, onProblem)
    this.#readBySql(copy)
    if (!this.#rebuild.isComplete) this.#readByPages(copy)
  }

  #readBySql(path: string): void {
    const onDamage = (error: unknown): void => void damageOf(error, path)
    for (const reader of untilDamage(readers(path), onDamage)) {
      for (const meta of untilDamage(metas(reader), onDamage)) this.#rebuild.meta = meta
      for (const table of TABLES) {
        for (const { entry } of untilDamage(reader.rows(table), onDamage)) {
          if (entry !== undefined) this.#rebuild.add(entry, false)
        }
      }
    }
  }

  #readByPages(path: string): void {
    const rebuild = this.#rebuild
    const reader = new PageReader(path, ({ page, reason }) => this.#problems.push(`page ${page}: ${reason}`))
    try {
      let page = 0
      for (const cell of reader.cells()) {
        if (!cell.isReachable && cell.page !== page && rebuild.isComplete) break
        page = cell.page
        const entry = entryOfCell(cell)
        if (entry !== undefined) rebuild.add(entry, !cell.isReachable)
        else rebuild.meta ??= metaOfColumns(cell.columns)
      }
    } finally {
      reader.close()
    }
    rebuild.flush()
  }

  /** Completes the new store. */
  finish(): Recovered {
    const rebuild = this.#rebuild
    const lsns = rebuild.settleCommits()
    const places: string[] = []
    const { isComplete } = rebuild
    if (!isComplete) rebuild.dropDangling(lsns, (name) => places.push(`${name} is left out: its message is missing`))
    const missing = isComplete ? [] : [...this.#problems, ...missingOf(rebuild, lsns)]
    rebuild.finish(lsns)
    for (const [name, reason] of rebuild.unusable) missing.push(`${name} is left out: ${reason}`)
    return { counts: rebuild.counts, strays: isComplete ? 0 : rebuild.strays, missing: [...missing, ...places] }
  }
}

/** Ends where reading fails, after a call of `onDamage`. */
function* untilDamage<T>(values: Iterable<T>, onDamage: (error: unknown) => void): Iterable<T> {
  const iterator = values[Symbol.iterator]()
  const next = (): IteratorResult<T> => {
    try {
      return iterator.next()
    } catch (error) {
      onDamage(error)
      return { done: true, value: undefined }
    }
  }
  try {
    for (let found = next(); !found.done; found = next()) yield found.value
  } finally {
    iterator.return?.()
  }
}

function* readers(path: string): Iterable<StoreReader> {
  const reader = new StoreReader(path)
  try {
    yield reader
  } finally {
    reader.close()
  }
}

function* metas(reader: StoreReader): Iterable<Meta | undefined> {
  yield reader.meta
}

/** What is missing by the numbers of the rows and of the commits that are there. */
function missingOf({ meta, found }: Rebuild, lsns: readonly Lsn[]): string[] {
  const missing: string[] = []
  if (meta === undefined) missing.push('meta is missing, so that nothing says how many rows there were')
  else if (found < meta.rows) missing.push(`${meta.rows - found} of ${meta.rows} rows and commits are missing`)
  else if (found > meta.rows) missing.push(`${found - meta.rows} rows and commits are there that had been deleted`)
  else missing.push('the rows are not of one moment: some are older or newer than others')
  let before = meta?.folded ?? (lsns[0] ?? 0) - 1
  for (const lsn of [...lsns, Math.max(meta?.lsn ?? 0, lsns.at(-1) ?? 0) + 1]) {
    if (lsn === before + 2) missing.push(`commit ${before + 1} is missing`)
    else if (lsn > before + 2) missing.push(`commits ${before + 1} to ${lsn - 1} are missing`)
    before = lsn
  }
  return missing
}
