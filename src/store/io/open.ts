import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Lsn } from '../store.ts'
import { Database } from './database.ts'
import { closeAsItIs, StoreFiles, syncDirectories } from './files.ts'
import { makeDirectory } from './make-directory.ts'
import { fileId } from './meta.ts'
import { DirectoryLock, isRunning, type Owner, thisProcess } from './owner.ts'
import type { ThreadOptions } from './protocol.ts'
import { DATABASE_FILE, LOCK_FILE, RESERVE_FILE } from './schema.ts'
import { failureOf } from './sqlite.ts'
import { probe, systemFailure } from './system-failure.ts'
import { DamageError, type RowsSink } from './verify.ts'
import { readWal, type Wal } from './wal.ts'
import { openForWriting } from './writer.ts'

/** The file of stores before format 5. */
const LMDB_FILE = 'data.mdb'

export interface OpenStore {
  readonly database: Database
  readonly owner: Owner
  readonly lock: DirectoryLock
}

/**
 * Opens the store in `options.dir` for writing, and creates it if there is none. Everything in it is verified before anything is
 * written, so that a damaged store stays as it is. If nothing has to be folded, `onReadable` is called with the number of the
 * last commit before the rows are verified, and `onRows` with those that have been: another thread may read them meanwhile, and must
 * not use what it has read before this function has returned. @throws an error of one line
 */
export function openStore(options: ThreadOptions, onReadable: (lsn: Lsn) => void, onRows?: RowsSink): OpenStore {
  const { dir } = options
  if (existsSync(join(dir, LMDB_FILE))) {
    throw new Error(`${LMDB_FILE} is a store of an older version (lmdb), which this version cannot read: move it away`)
  }
  let lock: DirectoryLock | undefined
  try {
    const made = makeDirectory(dir)
    const path = join(dir, LOCK_FILE)
    const owner = thisProcess()
    // Had this process the store open, it would hold the lock. A file that was not there says nothing: it may have been removed.
    const mayBeOurs = !existsSync(path)
    lock = DirectoryLock.acquire(path)
    if (lock === undefined) throw new Error(usedBy(runningOwnerOf(join(dir, DATABASE_FILE))))
    const isInUse = (before: Owner): boolean =>
      before.token !== owner.token &&
      isRunning(before) &&
      (mayBeOurs || before.pid !== owner.pid || before.started !== owner.started)
    const inspected = withReserve(dir, () => openLocked(options, isInUse, made))
    try {
      const { lsn, folded } = inspected.meta
      const isReadable = folded === lsn
      if (isReadable) onReadable(lsn)
      inspect(inspected, isReadable ? onRows : undefined)
      return { database: withReserve(dir, () => takeOver(options, owner, inspected)), owner, lock }
    } finally {
      inspected.close()
    }
  } catch (error) {
    lock?.release()
    const { kind, reason } = failureOf(error)
    if (error instanceof DamageError || kind === 'damaged') {
      throw new Error(adviceOnDamage(`${reason}. Nothing was changed`, dir))
    }
    throw new Error(systemFailure(error)?.reason ?? (kind === 'io' ? (probe(dir)?.reason ?? reason) : reason))
  }
}

/** What a person can do about damage. */
export const adviceOnDamage = (reason: string, dir: string): string =>
  `${reason}; see roost store check ${dir}, and roost store recover ${dir} NEW`

/** Runs `open`; on a full disk once more, with the room that the reserve takes. */
function withReserve<T>(dir: string, open: () => T): T {
  const reserve = join(dir, RESERVE_FILE)
  try {
    return open()
  } catch (error) {
    const { kind } = failureOf(error)
    const isFull = kind === 'full' || (systemFailure(error) ?? (kind === 'io' ? probe(dir) : undefined))?.isFull === true
    if (!isFull || !existsSync(reserve)) throw error
    rmSync(reserve, { force: true })
    return open()
  }
}

/** Opens the store for reading, and creates it if there is none. @throws DamageError */
function openLocked({ dir, writtenBy }: ThreadOptions, isInUse: (before: Owner) => boolean, made: string | undefined): Database {
  const path = join(dir, DATABASE_FILE)
  if (!existsSync(path)) create(path, writtenBy)
  // Before SQLite makes files beside it. A process before this one may have ended between the two.
  syncDirectories(dir, made === undefined ? dir : dirname(made))
  // The lock does not say so: its file may have been removed while its holder lives.
  const before = ownerOf(path)
  if (before !== undefined && isInUse(before)) throw new Error(usedBy(before))
  // While no connection is open: a file that this process closes takes the locks along that SQLite holds on it.
  const wal = readWal({ database: path, wal: `${path}-wal` })
  if (wal.damage !== undefined && isOrdered(wal)) throw new DamageError(wal.damage)
  if (wal.shortfall !== undefined) throw new DamageError(wal.shortfall)
  // With a connection that writes nothing: not even the WAL goes into the database.
  return new Database(path, true)
}

/** Opens a store that was found sound for writing, for this owner. @throws */
function takeOver(options: ThreadOptions, owner: Owner, inspected: Database): Database {
  const path = join(options.dir, DATABASE_FILE)
  const database = openForWriting(path, options)
  try {
    // What is acknowledged from here on depends on what is there, and the process before may have ended after a sync had failed.
    new StoreFiles(options.dir).rewriteWal()
    database.own(owner, options.writtenBy, inspected)
    return database
  } catch (error) {
    closeAsItIs(database, path)
    throw error
  }
}

/** Creates the database under another name first, so that an interrupted attempt is never taken for an empty store. */
function create(path: string, writtenBy: string): void {
  const rest = readdirSync(dirname(path)).find((name) => name === RESERVE_FILE || name.startsWith(`${DATABASE_FILE}-`))
  if (rest !== undefined) throw new DamageError(`${DATABASE_FILE} is missing, and ${rest} is there`)
  const temporary = `${path}.new`
  for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(temporary + suffix, { force: true })
  Database.create(temporary, writtenBy)
  // SQLite does not report that the WAL could not be copied into the database when it was closed.
  if (existsSync(`${temporary}-wal`)) throw Object.assign(new Error('it is not complete'), { code: 'SQLITE_IOERR' })
  renameSync(temporary, path)
}

/**
 * Verifies everything in a store. The rows come first, so that another thread can begin with them; but where the structure is
 * damaged, that is what explains what is wrong with them. @throws DamageError
 */
function inspect(database: Database, onRows: RowsSink | undefined): void {
  database.snapshot(() => {
    let failure: unknown
    try {
      database.verify((problem) => {
        throw new DamageError(problem)
      }, onRows)
    } catch (error) {
      failure = error
    }
    for (const problem of database.structureProblems()) throw new DamageError(problem)
    if (failure !== undefined) throw failure
  })
}

/**
 * Whether the frames of a WAL are on the disk in the order in which they were written, so that a gap is damage. Without a sync
 * after each commit a power cut leaves gaps: the newest commits are gone then, as `durability: process` says.
 */
function isOrdered({ rest, meta }: Wal): boolean {
  const { owner, ownerDurability } = rest.findLast((frame) => frame.meta !== undefined)?.meta ?? meta ?? {}
  return ownerDurability !== 'process' || (owner?.bootId !== '' && owner?.bootId === thisProcess().bootId)
}

/** The process that has this very file open, if it has not ended in between. A copy has no owner. */
function ownerOf(path: string): Owner | undefined {
  try {
    const database = new Database(path, true)
    try {
      const { owner, ownerFile } = database.meta
      return ownerFile === fileId(path) ? owner : undefined
    } finally {
      database.close()
    }
  } catch {
    return undefined
  }
}

/** Not the one in `meta` if that has ended: then another has taken the lock, and has not written its name there yet. */
function runningOwnerOf(path: string): Owner | undefined {
  const owner = ownerOf(path)
  return owner !== undefined && isRunning(owner) ? owner : undefined
}

const usedBy = (owner: Owner | undefined): string =>
  owner === undefined ? 'another process uses it' : `process ${owner.pid} uses it`
