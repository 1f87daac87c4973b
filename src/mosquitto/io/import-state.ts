import { chownSync, existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../../base/start-error.ts'
import { type ClockReading, StoreClock } from '../../store/clock.ts'
import { syncDirectories } from '../../store/io/files.ts'
import { makeDirectory } from '../../store/io/make-directory.ts'
import { DirectoryLock } from '../../store/io/owner.ts'
import { DATABASE_FILE, LOCK_FILE } from '../../store/io/schema.ts'
import { SqliteStore, startHere } from '../../store/io/sqlite-store.ts'
import { RefusedError, StoreReader, storeIn } from '../../store/io/store-reader.ts'
import { readRow } from '../../store/rows.ts'
import type { StoreRecord } from '../../store/store.ts'
import { readSavedState } from '../persistence-file.ts'
import { type Moved, StateRecords } from '../state-records.ts'
import { openFile } from './open-file.ts'

/** Folder inside the data directory for a store that is not complete yet. */
const WORK_DIR = 'importing'
/** Bytes of records on their way to the disk above which the next one waits, and how long it does (ms). */
const WAITING_BYTES_MAX = 4 * 1024 * 1024
const WAIT_MS = 5
/** The longest record has a payload of 256 MiB. */
const BUFFERED_BYTES_MAX = 320 * 1024 * 1024

export interface ImportOptions {
  /** Name of the program, as the store will say it. */
  readonly writtenBy: string
  readonly usersVerified: boolean
  readonly clocks: ClockReading
}

export interface ImportedState extends Moved {
  readonly format: number
  readonly atEnd: boolean
}

/**
 * Makes a store in `dir` of what Mosquitto has saved in `path`. The store gets its name when it is complete and on the disk; until
 * then, and after an error, `dir` is as it was. @throws StartError, RefusedError, and the system's and SQLite's errors
 */
export async function importState(path: string, dir: string, options: ImportOptions): Promise<ImportedState> {
  const file = open(path)
  try {
    const state = readSavedState(file)
    if (typeof state === 'string') throw new StartError(`${path}: ${state}`)
    const made = makeDirectory(dir)
    try {
      const records = new StateRecords(state, {
        now: options.clocks.wall,
        usersVerified: options.usersVerified,
        payloadOf: ({ payloadAt, payloadLength }) => file.read(payloadAt, payloadLength),
      })
      await intoDirectory(dir, records, options)
      syncDirectories(dir, made === undefined ? dir : dirname(made))
      return { ...records.moved, format: state.format, atEnd: state.atEnd }
    } catch (error) {
      if (made !== undefined) rmSync(made, { recursive: true, force: true })
      throw error
    }
  } finally {
    file.close()
  }
}

function open(path: string): ReturnType<typeof openFile> {
  try {
    return openFile(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw code === undefined ? new StartError(`${path}: ${message}`) : error
  }
}

async function intoDirectory(dir: string, records: StateRecords, options: ImportOptions): Promise<void> {
  const before = new Set(readdirSync(dir))
  const lock = DirectoryLock.acquire(join(dir, LOCK_FILE))
  if (lock === undefined) throw new RefusedError(`${dir}: another process uses it; stop Roost first`)
  const work = join(dir, WORK_DIR)
  try {
    refuseOccupied(dir)
    // What an interrupted import has left: nobody else is here, by the lock.
    rmSync(work, { recursive: true, force: true })
    await write(work, records, options)
    keepOwner(dir, work)
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(dir, DATABASE_FILE + suffix), { force: true })
    renameSync(join(work, DATABASE_FILE), join(dir, DATABASE_FILE))
  } finally {
    rmSync(work, { recursive: true, force: true })
    lock.release()
    if (!before.has(LOCK_FILE)) rmSync(join(dir, LOCK_FILE), { force: true })
  }
}

/** A store in which nothing is kept, as after Roost's first start, may be replaced. @throws RefusedError for any other */
function refuseOccupied(dir: string): void {
  const database = join(dir, DATABASE_FILE)
  if (!existsSync(database)) {
    const rest = readdirSync(dir).find((name) => name.startsWith(`${DATABASE_FILE}-`) || name === 'data.mdb')
    if (rest !== undefined) throw new RefusedError(`${dir}: ${rest} is in it; choose an empty directory`)
    return
  }
  const reader = new StoreReader(storeIn(dir).database)
  try {
    const problems: string[] = []
    reader.tables((problem) => problems.push(problem))
    const [problem] = problems
    if (problem !== undefined) throw new RefusedError(`${dir}: ${problem}; choose an empty directory`)
    const [sessions, retained] = [reader.count('sessions', "name != 'clock'"), reader.count('retained')]
    const others = reader.count('sensors') + reader.count('messages') + reader.count('queue')
    if (sessions + retained + others > 0 || !isLogEmpty(reader))
      throw new RefusedError(`${dir}: a store with sessions or messages is in it; choose an empty directory`)
  } finally {
    reader.close()
  }
}

/** Whether the log has nothing but what Roost writes in an empty store. */
function isLogEmpty(reader: StoreReader): boolean {
  for (const { entry } of reader.rows('log')) {
    const records = entry === undefined ? '' : readRow(entry.value)
    if (typeof records === 'string' || records.some(({ type }) => type !== 'clock')) return false
  }
  return true
}

async function write(work: string, records: StateRecords, { writtenBy, clocks }: ImportOptions): Promise<void> {
  let failure: string | undefined
  const listener = {
    onDurable: () => {},
    onFailed: (error: string) => {
      failure = error
    },
    onRecovered: () => {},
  }
  const store = await SqliteStore.open(work, { writtenBy, maxBufferedBytes: BUFFERED_BYTES_MAX, ...listener }, startHere)
  const append = async (record: StoreRecord): Promise<void> => {
    for (;;) {
      if (failure !== undefined) throw new StartError(`${work}: ${failure}`)
      if ((store.waitingBytes ?? 0) <= WAITING_BYTES_MAX && store.append(record) !== 'full') return
      await sleep(WAIT_MS)
    }
  }
  try {
    new StoreClock(clocks.wall, store, () => {}).recover(0, clocks)
    for (const record of records.records()) await append(record)
  } finally {
    await store.close().catch((error: Error) => {
      failure ??= error.message
    })
  }
  // SQLite does not report that the WAL could not be copied into the database when it was closed.
  if (existsSync(join(work, `${DATABASE_FILE}-wal`))) failure ??= `${work}: it is not complete`
  if (failure !== undefined) throw new StartError(failure)
}

/** The store belongs to the user whose directory it is in, if this process may do that: root imports what Mosquitto alone may read. */
function keepOwner(dir: string, work: string): void {
  const { uid, gid } = statSync(dir)
  try {
    chownSync(join(work, DATABASE_FILE), uid, gid)
  } catch {
    // Only root may do that.
  }
}
