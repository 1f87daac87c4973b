import {
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { checkStore } from './check.ts'
import { syncDirectories } from './files.ts'
import { makeDirectory } from './make-directory.ts'
import { realPath } from './real-path.ts'
import { DATABASE_FILE } from './schema.ts'
import { openDatabase } from './sqlite.ts'
import { damageOf, RefusedError, storeIn } from './store-reader.ts'

/** Folder inside the target for a copy that is not complete and checked yet. */
const WORK_DIR = 'backing-up'
/** What else belongs to a store (docs/store.md). */
const SECRET_FILE = 'scram-secret'

export interface BackedUp {
  readonly rows: number
  readonly commits: number
  /** Size of the database in bytes. */
  readonly bytes: number
}

/**
 * Copies the store in `from` to directory `to`, as it is at one moment; a process may use it meanwhile. The copy has been read
 * completely and is on the disk before it gets its name, so that a `to` with a database in it is a store that starts.
 * @throws RefusedError, the system's errors, and SQLite's where the copy cannot be written
 */
export function backUpStore(from: string, to: string): BackedUp {
  const { database } = storeIn(from)
  if (!existsSync(database)) throw new RefusedError(`${from}: ${DATABASE_FILE} is missing; see roost store check ${from}`)
  refuseOccupied(from, to)
  const made = makeDirectory(to)
  const work = join(to, WORK_DIR)
  try {
    mkdirSync(work, { mode: 0o700 })
    const copied = copyInto(work, database)
    keepOwner(database, made === undefined ? [join(work, DATABASE_FILE)] : [join(work, DATABASE_FILE), to])
    const secret = join(from, SECRET_FILE)
    if (existsSync(secret)) copySecret(secret, join(to, SECRET_FILE))
    renameSync(join(work, DATABASE_FILE), join(to, DATABASE_FILE))
    rmSync(work, { recursive: true })
    syncDirectories(to, made === undefined ? to : dirname(made))
    return copied
  } catch (error) {
    rmSync(work, { recursive: true, force: true })
    if (made !== undefined) rmSync(made, { recursive: true, force: true })
    throw error
  }
}

/** @throws RefusedError if a store must not be written there */
function refuseOccupied(from: string, to: string): void {
  const found = statSync(to, { throwIfNoEntry: false })
  if (found === undefined || found.isDirectory()) {
    for (const name of [DATABASE_FILE, `${DATABASE_FILE}-wal`, WORK_DIR, SECRET_FILE])
      if (existsSync(join(to, name))) throw new RefusedError(`${to}: ${name} is in it already; choose an empty directory`)
  } else throw new RefusedError(`${to}: not a directory`)
  if (!/^\.\.(\/|$)/.test(relative(realPath(from), realPath(resolve(to)))))
    throw new RefusedError(`${to}: it is inside ${from}; choose a directory outside`)
}

function copyInto(work: string, database: string): BackedUp {
  const path = join(work, DATABASE_FILE)
  // SQLite writes into an empty file, and keeps its mode.
  closeSync(openSync(path, 'wx', 0o600))
  const connection = openDatabase(database, true)
  try {
    connection.exec('PRAGMA busy_timeout = 1000; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF')
    connection.prepare('VACUUM INTO ?').run(path)
  } catch (error) {
    throw readable(error, database)
  } finally {
    connection.close()
  }
  const problems: string[] = []
  const { rows, commits } = checkStore(work, (problem) => problems.push(problem))
  const [first] = problems
  if (first !== undefined)
    throw new RefusedError(`${dirname(database)}: the store is damaged (${first}); see roost store check ${dirname(database)}`)
  const file = openSync(path, 'r+')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return { rows, commits, bytes: statSync(path).size }
}

/** An error that is about the store and not about the copy names the store. */
function readable(error: unknown, database: string): unknown {
  const reason = damageOf(error, database)
  return /SQLITE_(CORRUPT|NOTADB)/.test(reason)
    ? new RefusedError(`${database}: ${reason}; see roost store check ${dirname(database)}`)
    : error
}

/** The copies belong to the user whose the store is, if this process may do that. */
function keepOwner(database: string, copies: readonly string[]): void {
  const { uid, gid } = statSync(database)
  for (const copy of copies) {
    try {
      chownSync(copy, uid, gid)
    } catch {
      // Only root may do that.
    }
  }
}

function copySecret(from: string, to: string): void {
  copyFileSync(from, to)
  keepOwner(from, [to])
  const file = openSync(to, 'r+')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
