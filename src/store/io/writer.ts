import { join } from 'node:path'
import type { Lsn } from '../store.ts'
import { Database, FencedError } from './database.ts'
import { closeAsItIs, StoreFiles } from './files.ts'
import { Folding } from './folding.ts'
import type { Owner } from './owner.ts'
import type { Commit, Room, StoreNews, ThreadOptions } from './protocol.ts'
import { freeBytes, Reserve } from './reserve.ts'
import { RESERVE_FILE } from './schema.ts'
import { type Failure, failureOf } from './sqlite.ts'
import { probe, systemFailure } from './system-failure.ts'
import { DamageError } from './verify.ts'

/** Pages of the WAL after which it is copied into the database: few, so that each copy is short. */
const CHECKPOINT_PAGES = 256
const PAGE_BYTES = 4096
/** The WAL file is cut to this when it begins again. */
const WAL_BYTES = 16 * 1024 * 1024
/** From this size on a WAL that cannot be reset is worth a warning. */
const WAL_HELD_BYTES = 64 * 1024 * 1024
/** What is freed on a full disk. */
const RESERVE_BYTES = 4 * 1024 * 1024
/**
 * Rows may need several times the room of the log that they come from. So the log is folded in shorter stretches where little
 * room is left: this share of it, and at least so many bytes.
 */
const FOLD_SHARE = 1 / 8
const FOLD_BYTES_MIN = 512 * 1024
/** On a full disk the WAL is copied into the database that often, so that it does not grow. */
const TIGHT_WAL_PAGES = 64

/** What a stretch of a fold may take between two commits (ms), times the number of stretches that wait. */
const FOLD_SLICE_MS = 2
const FOLD_SLICE_MAX_MS = 20
/** Log that is shorter than a stretch is folded after this time, so that the rows show what happened. */
const FOLD_AFTER_MS = 10_000
/** A fold that failed, or a reserve that finds no room, is tried again after this. */
const RETRY_MS = 1000

/**
 * The only writer of a store, synchronous: it runs in a thread of its own. Commits come first; between them it folds the log,
 * copies the WAL into the database, and watches the disk.
 */
export class StoreWriter {
  readonly #options: ThreadOptions
  readonly #owner: Owner
  readonly #files: StoreFiles
  readonly #reserve: Reserve
  readonly #onNews: (news: StoreNews) => void
  readonly #walPages: number
  /** `undefined` while it cannot be opened again. */
  #database: Database | undefined
  /** A write or a sync has failed: the database has to be opened again before anything is written. */
  #isInDoubt = false
  #folding: Folding
  /** Why nothing is written any more. */
  #broken: string | undefined
  /** Pages written since the WAL was last copied, about. */
  #pages = 0
  /** Highest Lsn that was answered as durable. */
  #durable: Lsn
  /** Bytes of log that are not folded. */
  #logBytes: number
  /** When the oldest of it was appended. */
  #logSince = 0
  #hurried = false
  /** Nothing but commits before this time. */
  #pausedUntil = 0
  #foldFailed = false
  /** The disk is full: nothing that grows the store is taken in. */
  #isTight = false
  /** Bytes of log after which it is folded. */
  #foldBytes = 0
  /** When to look for room for the reserve. */
  #reserveAt = 0
  /** When to copy the WAL once more of which not all could be copied. */
  #checkpointAt = Number.POSITIVE_INFINITY
  /** The Lsn up to which the log is to be folded before the WAL is copied, because somebody asked for it. */
  #checkpointUpTo: Lsn | undefined
  /** When the last commit, or other work, began. */
  #now = 0
  /** Since when the WAL has been larger than `WAL_HELD_BYTES`. */
  #heldSince: Date | undefined

  /** Takes over a store that `openStore` has found sound. @throws */
  constructor(database: Database, owner: Owner, options: ThreadOptions, onNews: (news: StoreNews) => void) {
    const { dir, maxBytes } = options
    this.#options = options
    this.#owner = owner
    this.#onNews = onNews
    this.#files = new StoreFiles(dir)
    this.#reserve = new Reserve(join(dir, RESERVE_FILE), Math.min(RESERVE_BYTES, Math.floor(maxBytes / 16)))
    this.#walPages = Math.max(16, Math.min(CHECKPOINT_PAGES, Math.floor(maxBytes / 16 / PAGE_BYTES)))
    this.#database = database
    this.#files.remember()
    this.#files.check()
    this.#durable = database.meta.lsn
    this.#logBytes = database.unfoldedBytes
    this.#folding = new Folding(database)
  }

  get durable(): Lsn {
    return this.#durable
  }

  get room(): Room {
    const usedBytes = (this.#database?.usedBytes ?? 0) + this.#files.walBytes + this.#reserve.bytes
    return { usedBytes, isTight: this.#isTight }
  }

  /** Makes commits durable, in one transaction; returns why not, or that another process keeps it from it. Never throws. */
  commit(commits: readonly Commit[], now: number): Failure | undefined {
    this.#now = now
    const failure = this.#withReserve(() => this.#commit(commits))
    if (failure !== undefined) return failure
    this.#watchRoom()
    if (this.#logBytes === 0) this.#logSince = now
    this.#durable = commits.at(-1)!.lsn
    for (const { bytes } of commits) {
      this.#logBytes += bytes.length
      this.#pages += 3 + Math.ceil(bytes.length / PAGE_BYTES)
    }
    return undefined
  }

  /** As `#try`; on a full disk once more, with the room that the reserve takes, or else the WAL. */
  #withReserve(action: () => void): Failure | undefined {
    const failure = this.#try(action)
    if (failure?.kind !== 'full') return failure
    // Not made again before its room could be used.
    this.#reserveAt = this.#now + RETRY_MS
    this.#hurried = true
    if (this.#reserve.release()) {
      this.#measureRoom()
      this.#watchRoom(failure.reason)
    } else if (this.#try(() => this.#checkpoint()) !== undefined) return failure
    return this.#try(action)
  }

  #measureRoom(): void {
    const share = this.#reserve.isThere ? Math.floor(freeBytes(this.#files.dir) * FOLD_SHARE) : 0
    this.#foldBytes = Math.min(this.#options.foldBytes, Math.max(FOLD_BYTES_MIN, share))
  }

  /** Reports where the disk becomes full, and where it no longer is. Free pages of the database are as good as the reserve. */
  #watchRoom(reason = `no room for ${RESERVE_FILE}`): void {
    const enough = this.#isTight ? 1.5 * this.#reserve.size : this.#reserve.size
    const isTight = !this.#reserve.isThere && (this.#database?.freeBytes ?? 0) < enough
    if (isTight === this.#isTight) return
    this.#isTight = isTight
    this.#onNews(isTight ? { kind: 'full', reason } : { kind: 'recovered', reason: 'there is room on the disk again' })
  }

  #commit(commits: readonly Commit[]): void {
    const database = this.#opened()
    database.transaction(() => {
      for (const { lsn, bytes } of commits) database.putCommit(lsn, bytes)
    }, true)
    const lost = this.#files.check()
    if (lost === undefined) {
      if (this.#files.hasForeignWrites) this.#verifyFile()
      return
    }
    // This connection still has a WAL that was removed: what was acknowledged before goes into the database.
    database.checkpoint()
    throw new LostFilesError(lost)
  }

  /**
   * Reads everything once more, from the file and not from memory. A checkpoint of another process leaves all as it is; a file
   * that was copied over the database does not. @throws DamageError
   */
  #verifyFile(): void {
    const database = new Database(this.#files.database, true)
    try {
      database.snapshot(() =>
        database.verify((problem) => {
          throw new DamageError(`another process has written to it: ${problem}`)
        }),
      )
    } finally {
      database.close()
    }
    this.#files.noteWrites()
  }

  /** Folds everything there is, and makes the reserve, before the first commit. Returns why it cannot. */
  start(): Failure | undefined {
    this.#measureRoom()
    const failure = this.#withReserve(() => this.#foldAll())
    if (failure !== undefined) return failure
    this.#reserve.make()
    this.#watchRoom()
    return undefined
  }

  #foldAll(): void {
    const database = this.#opened()
    while (database.meta.folded < database.meta.lsn || this.#folding.isBusy) {
      this.#fold(database, FOLD_SLICE_MAX_MS)
      if (this.#pages >= this.#walLimit) this.#checkpoint()
    }
    this.#logBytes = 0
  }

  #fold(database: Database, ms: number): void {
    // What a long stretch has begun may need more room than there will be.
    if (!this.#reserve.isThere && this.#folding.isLongerThan(this.#foldBytes)) this.#folding = new Folding(database)
    this.#folding.begin(this.#foldBytes)
    if (this.#folding.isBusy) this.#pages += this.#folding.work(ms)
  }

  /** Pages of the WAL after which it is copied. */
  get #walLimit(): number {
    return this.#reserve.isThere ? this.#walPages : Math.min(TIGHT_WAL_PAGES, this.#walPages / 4)
  }

  /** Something makes room, or may: fold now, and begin a WAL again that has grown beyond its measure. */
  makeRoom(): void {
    this.#hurried = true
    if (this.#files.walBytes > walBytesOf(this.#options)) this.#pages = this.#walPages
  }

  /**
   * Folds the log as it is now, and copies the WAL, a little at a time in `work`; `isCheckpointing` until that is done. Another
   * process that reads may stand in the way.
   */
  checkpointAll(): void {
    this.#checkpointUpTo = this.#durable
    this.#checkpointAt = Number.POSITIVE_INFINITY
  }

  get isCheckpointing(): boolean {
    return this.#checkpointUpTo !== undefined
  }

  /** From here on commits that another process's lock keeps waiting fail at once. */
  stopWaiting(): void {
    this.#database?.stopWaiting()
  }

  /**
   * Does a little of what is due between commits. Returns when there is more to do: at once, at a time, or not before the next
   * commit. Never throws.
   */
  work(now: number): number {
    if (this.#broken !== undefined) return Number.POSITIVE_INFINITY
    if (now < this.#pausedUntil) return this.#pausedUntil
    this.#now = now
    const failure = this.#withReserve(() => this.#workOn(now))
    if (failure === undefined) {
      this.#watchRoom()
      if (this.#foldFailed) this.#onNews({ kind: 'recovered', reason: 'the log is folded again' })
      this.#foldFailed = false
      return this.#due(now)
    }
    if (this.#folding.isBroken) this.#isInDoubt = true
    if (!this.#foldFailed && this.#broken === undefined) this.#onNews({ kind: 'fold-failed', reason: failure.reason })
    this.#foldFailed = true
    this.#pausedUntil = now + RETRY_MS
    return this.#pausedUntil
  }

  #workOn(now: number): void {
    const database = this.#opened()
    if (!this.#reserve.isThere && now >= this.#reserveAt) this.#makeReserve(now)
    if (this.#pages >= this.#walLimit || now >= this.#checkpointAt) {
      this.#checkpoint()
      return
    }
    if (this.#checkpointUpTo !== undefined) {
      if (!this.#isFoldedFor(this.#checkpointUpTo)) this.#hurried = true
      else if (!this.#isHeld) {
        this.#checkpoint()
        return
      }
    }
    const isDue = this.#hurried || this.#logBytes >= this.#foldBytes || this.#isOld(now)
    if (!this.#folding.isBusy && !isDue) return
    if (!this.#folding.isBusy) this.#hurried = false
    const behind = Math.max(1, this.#logBytes / this.#foldBytes)
    const { folded } = database.meta
    this.#fold(database, Math.min(FOLD_SLICE_MS * behind, FOLD_SLICE_MAX_MS))
    if (database.meta.folded === folded) return
    this.#logBytes = database.unfoldedBytes
    this.#logSince = now
  }

  /** Whether what a checkpoint was asked for stands in rows, so that only the WAL is left to be copied. */
  #isFoldedFor(upTo: Lsn): boolean {
    return !this.#folding.isBusy && this.#database !== undefined && this.#database.meta.folded >= upTo
  }

  /** Not all of the WAL could be copied, which is tried again at a time. */
  get #isHeld(): boolean {
    return this.#checkpointAt < Number.POSITIVE_INFINITY
  }

  #makeReserve(now: number): void {
    this.#reserveAt = now + RETRY_MS
    this.#reserve.make()
    this.#measureRoom()
  }

  #isOld(now: number): boolean {
    return this.#logBytes > 0 && now >= this.#logSince + FOLD_AFTER_MS
  }

  #due(now: number): number {
    if (
      this.#folding.isBusy ||
      this.#hurried ||
      (this.#checkpointUpTo !== undefined && !(this.#isHeld && this.#isFoldedFor(this.#checkpointUpTo))) ||
      this.#logBytes >= this.#foldBytes ||
      this.#pages >= this.#walLimit
    )
      return now
    const fold = this.#logBytes > 0 ? this.#logSince + FOLD_AFTER_MS : Number.POSITIVE_INFINITY
    const soonest = Math.min(fold, this.#checkpointAt)
    return this.#reserve.isThere ? soonest : Math.min(soonest, this.#reserveAt)
  }

  /** Copies the WAL into the database, and watches whether it can begin again. */
  #checkpoint(): void {
    this.#measureRoom()
    const database = this.#opened()
    if (this.#files.check() === undefined && this.#files.hasForeignWrites) this.#verifyFile()
    const { pages, copied } = database.checkpoint()
    this.#files.noteWrites()
    this.#pages = 0
    // -1 and -1 while another process copies it.
    const isCopied = copied === pages && pages >= 0
    // A reader stands in the way; when it is gone, nothing else may happen that would look.
    this.#checkpointAt = isCopied ? Number.POSITIVE_INFINITY : this.#now + RETRY_MS
    if (isCopied && this.#checkpointUpTo !== undefined && this.#isFoldedFor(this.#checkpointUpTo))
      this.#checkpointUpTo = undefined
    const bytes = pages * PAGE_BYTES
    if (isCopied && this.#files.walBytes > walBytesOf(this.#options)) {
      // Otherwise it would be cut with the next transaction, which may not come while the store is full.
      database.emptyWal()
      this.#files.noteWrites()
      this.#files.check()
    }
    if (copied < pages && bytes >= WAL_HELD_BYTES) {
      if (this.#heldSince !== undefined) return
      this.#heldSince = new Date()
      const reason = `another process reads ${this.#files.database} since before ${this.#heldSince.toISOString()}, so that its WAL cannot be reset: ${Math.round(bytes / 2 ** 20)} MiB, and growing`
      this.#onNews({ kind: 'wal-held', reason })
    } else if (this.#heldSince !== undefined && isCopied) {
      this.#heldSince = undefined
      this.#onNews({ kind: 'recovered', reason: 'the WAL can be reset again' })
    }
  }

  /** The database, opened again after a failure. @throws */
  #opened(): Database {
    if (this.#broken !== undefined) throw new BrokenError(this.#broken)
    if (this.#database !== undefined && !this.#isInDoubt) return this.#database
    const lost = this.#files.check()
    if (lost !== undefined) throw new LostFilesError(lost)
    if (this.#database !== undefined) closeAsItIs(this.#database, this.#files.database)
    this.#database = undefined
    const database = openForWriting(this.#files.database, this.#options)
    try {
      this.#files.rewriteWal()
      database.resume(this.#owner)
      if (database.meta.lsn < this.#durable) {
        throw new DamageError(`commit ${this.#durable} was acknowledged, and is not there after the disk failed`)
      }
      this.#folding = new Folding(database)
      this.#logBytes = database.unfoldedBytes
    } catch (error) {
      closeAsItIs(database, this.#files.database)
      throw error
    }
    this.#files.noteWrites()
    this.#database = database
    this.#isInDoubt = false
    return database
  }

  /** Runs `action`; what it throws becomes a failure, and has its consequences. */
  #try(action: () => void): Failure | undefined {
    try {
      action()
      return undefined
    } catch (error) {
      if (error instanceof BrokenError) return { kind: 'damaged', reason: error.message }
      if (error instanceof LostFilesError) return { kind: 'io', reason: error.message }
      if (error instanceof DamageError || error instanceof FencedError) return this.#break(error.message)
      const failure = failureOf(error)
      if (failure.kind === 'damaged') return this.#break(failure.reason)
      if (failure.kind === 'full' || failure.kind === 'busy') return failure
      const system = systemFailure(error)
      // A bug of ours: the process ends, and nothing that is not durable is acknowledged.
      if (failure.kind === 'other' && system === undefined) throw error
      this.#isInDoubt = true
      const { isFull, reason } = system ?? probe(this.#files.dir) ?? { isFull: false, reason: failure.reason }
      return { kind: isFull ? 'full' : 'io', reason }
    }
  }

  #break(reason: string): Failure {
    this.#broken = reason
    this.#onNews({ kind: 'damaged', reason })
    return { kind: 'damaged', reason }
  }

  /** Ends the store cleanly, with all of it in rows, unless the disk does not let it. */
  close(): void {
    this.#withReserve(() => {
      if (this.#broken !== undefined || this.#files.check() !== undefined) return
      this.#foldAll()
      this.#opened().disown()
    })
    const database = this.#database
    if (database === undefined) return
    try {
      if (this.#isInDoubt || this.#broken !== undefined) closeAsItIs(database, this.#files.database)
      else database.close()
    } catch {
      database.close()
    }
  }
}

/** Nothing is written any more. */
class BrokenError extends Error {}

/** The files of the store are not where they were. They may come back. */
class LostFilesError extends Error {}

const walBytesOf = ({ maxBytes }: ThreadOptions): number => Math.min(WAL_BYTES, Math.floor(maxBytes / 8))

export function openForWriting(path: string, options: ThreadOptions): Database {
  return new Database(path, false, { durability: options.durability, walBytes: walBytesOf(options) })
}
