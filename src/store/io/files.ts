import { closeSync, fsyncSync, openSync, readSync, type Stats, statSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Database } from './database.ts'
import { DATABASE_FILE } from './schema.ts'
import { openDatabase } from './sqlite.ts'

const COPY_BYTES = 1024 * 1024

/** The database and its WAL in their directory, watched: nothing may be acknowledged into files that were removed or replaced. */
export class StoreFiles {
  readonly dir: string
  readonly database: string
  readonly wal: string
  readonly #known = new Map<string, Stats>()
  /** Size of the WAL at the last `check`, bytes. */
  walBytes = 0
  /** Another process has written to the database since `noteWrites`, as far as its size and its time say so. */
  hasForeignWrites = false
  #written = ''

  constructor(dir: string) {
    this.dir = dir
    this.database = join(dir, DATABASE_FILE)
    this.wal = `${this.database}-wal`
  }

  /** Takes the files as they are now for the right ones. To be called when the database has just been opened and written to. */
  remember(): void {
    for (const path of [this.dir, this.database, this.wal]) {
      const found = statSync(path, { throwIfNoEntry: false })
      if (found !== undefined) this.#known.set(path, found)
    }
    this.noteWrites()
  }

  /** What is in the database now was written by this process. */
  noteWrites(): void {
    const found = statSync(this.database, { throwIfNoEntry: false })
    this.#written = found === undefined ? '' : writtenAt(found)
    this.hasForeignWrites = false
  }

  /** What has happened to a file, in one line; `undefined` if all are in their places. */
  check(): string | undefined {
    for (const [path, known] of this.#known) {
      const found = statSync(path, { throwIfNoEntry: false })
      if (found === undefined) return `${path} has been removed while it was in use`
      if (found.ino !== known.ino || found.dev !== known.dev) return `${path} has been replaced while it was in use`
      if (path === this.wal) this.walBytes = found.size
      else if (path === this.database) this.hasForeignWrites = writtenAt(found) !== this.#written
    }
    return undefined
  }

  /**
   * Writes the WAL over itself and syncs it. After a failed sync the system may take pages for written that are not on the disk;
   * what is written again is synced again. To be called while the database is open, so that SQLite leaves the WAL as it is.
   * @throws
   */
  rewriteWal(): void {
    if (statSync(this.wal, { throwIfNoEntry: false }) === undefined) return
    const connection = openDatabase(this.database)
    try {
      // The lock of a writer: no other process changes the WAL meanwhile.
      connection.exec('PRAGMA busy_timeout = 1000; BEGIN IMMEDIATE')
      copyOverItself(this.wal)
    } finally {
      connection.close()
    }
  }
}

const writtenAt = ({ size, mtimeMs }: Stats): string => `${size} ${mtimeMs}`

function copyOverItself(path: string): void {
  const file = openSync(path, 'r+')
  try {
    const buffer = Buffer.allocUnsafe(COPY_BYTES)
    for (let at = 0; ; ) {
      const count = readSync(file, buffer, 0, buffer.length, at)
      if (count === 0) break
      for (let written = 0; written < count; ) written += writeSync(file, buffer, written, count - written, at + written)
      at += count
    }
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/**
 * Closes a database after a failure, and leaves its files as they are. Closed in the ordinary way, the last connection copies the
 * WAL into the database and deletes it, which is wrong after a failed sync: pages of the WAL may be on the disk neither there nor
 * in the database if the power fails meanwhile. SQLite does not do so as long as another connection is open. @throws if there can
 * be none; the database is open then
 */
export function closeAsItIs(database: Database, path: string): void {
  const other = openDatabase(path, true)
  try {
    // A connection counts from its first read on. One that only reads never copies the WAL.
    other.prepare('SELECT count(*) FROM sqlite_schema').get()
    database.close()
  } finally {
    other.close()
  }
}

/** Makes the names of new files and directories durable, from `from` upwards to `to`. */
export function syncDirectories(from: string, to: string): void {
  for (let dir = from; ; dir = dirname(dir)) {
    const handle = openSync(dir, 'r')
    try {
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    if (dir === to) return
  }
}
