import { performance } from 'node:perf_hooks'
import { assert } from '../../base/assert.ts'
import { ByteReader } from '../../base/bytes.ts'
import { Fold, type LogPlace, type References } from '../fold.ts'
import { readRecord } from '../records.ts'
import { messageKey, type RowChange } from '../rows.ts'
import type { Lsn, StoreRecord } from '../store.ts'
import type { Database } from './database.ts'
import { DamageError } from './verify.ts'

/** Bytes of log after which it is folded into rows. */
export const FOLD_BYTES = 8 * 1024 * 1024

/** Maximum changes, and bytes of changes, in one transaction of a fold. */
const SLICE_CHANGES = 500
const SLICE_BYTES = 512 * 1024

/** Pages that are written where commits are deleted, about: freed pages themselves are not. */
const TRIM_PAGES = 10

/** A stretch of the log that is being folded. */
interface Stretch {
  readonly fold: Fold
  /** Bytes of log after which it ends. */
  readonly bytes: number
  /** Some of its rows may have been written already. */
  readonly again: boolean
  /** The bytes of its commits, until their messages are in rows. */
  readonly commits: Map<Lsn, Uint8Array>
  /** The commit that is being read, and the position in it. */
  reader: ByteReader
  lsn: Lsn
  /** Its last commit. */
  upTo: Lsn
  changes: Iterator<RowChange> | undefined
  /** Changes whose transaction has not succeeded yet. */
  slice: RowChange[]
  isLast: boolean
}

/**
 * Folds the log into rows: reads a stretch of the log, leaves out what began and ended within it, and writes the rest as rows, in
 * transactions short enough not to delay commits. The last one records that the rows are complete up to the end of the stretch;
 * then that part of the log is deleted. What a crash interrupts is repeated at the next start.
 */
export class Folding {
  /** Stretches that are complete. */
  count = 0
  readonly #database: Database
  /** The number of sessions that have each message with a row in their queue. */
  readonly #references: References
  /** A process that died may have folded up to here already. */
  readonly #againUpTo: Lsn
  #stretch: Stretch | undefined
  /** Messages in no queue, left by a crash. */
  #unused: number[]
  #trimming = true
  #isReading = false

  /**
   * A part of the log may have been folded before, divided differently: by a process that died, or by another `Folding` that
   * could not continue.
   */
  constructor(database: Database) {
    this.#database = database
    this.#references = database.references()
    this.#againUpTo = database.meta.lsn
    this.#unused = [...this.#references.unused()]
    for (const id of this.#unused) this.#references.forget(id)
  }

  /** Whether a stretch is not complete, or its log is not deleted yet. */
  get isBusy(): boolean {
    return this.#stretch !== undefined || this.#trimming
  }

  /** Reading has failed in the middle of a stretch: another `Folding` has to begin it again. */
  get isBroken(): boolean {
    return this.#isReading
  }

  /** A stretch has begun that is to be longer than this. */
  isLongerThan(bytes: number): boolean {
    return (this.#stretch?.bytes ?? 0) > bytes
  }

  /** Begins a stretch of about `bytes`, if there is anything to fold and none has begun. */
  begin(bytes: number): void {
    const { lsn, folded } = this.#database.meta
    if (this.isBusy || folded === lsn) return
    const again = folded < this.#againUpTo
    this.#stretch = {
      fold: new Fold(again),
      bytes,
      again,
      commits: new Map(),
      reader: new ByteReader(NOTHING),
      lsn: folded,
      upTo: lsn,
      changes: undefined,
      slice: [],
      isLast: false,
    }
  }

  /**
   * Works for about `ms` milliseconds, in at most one transaction. Returns the number of rows it has changed. @throws what
   * `Database` throws; a failed transaction is retried by the next call
   */
  work(ms: number): number {
    const until = performance.now() + ms
    const stretch = this.#stretch
    if (stretch === undefined) return this.#trim()
    return stretch.changes !== undefined || this.#read(stretch, until) ? this.#write(stretch, until) : 0
  }

  /** Reads the log; true at the end of the stretch. */
  #read(stretch: Stretch, until: number): boolean {
    const { fold, commits } = stretch
    for (let count = 1; ; count++) {
      if (stretch.reader.remaining === 0) {
        if (stretch.lsn === stretch.upTo || fold.bytes >= stretch.bytes) break
        const value = this.#database.commitOf(stretch.lsn + 1)
        stretch.lsn++
        stretch.reader = new ByteReader(value)
        commits.set(stretch.lsn, value)
        fold.bytes += value.length
      }
      const { reader, lsn } = stretch
      const { at } = reader
      const record = readRecord(reader)
      if (record === undefined) throw new DamageError(`commit ${lsn}: ${reader.error}`)
      fold.add(record, lsn, at)
      if (count % 64 === 0 && performance.now() >= until) return false
    }
    stretch.upTo = stretch.lsn
    stretch.changes = this.#changes(stretch)[Symbol.iterator]()
    return performance.now() < until
  }

  *#changes({ fold, again, commits }: Stretch): Iterable<RowChange> {
    for (let id = this.#unused.pop(); id !== undefined; id = this.#unused.pop()) yield { key: messageKey(id), value: undefined }
    for (const change of fold.changes(this.#database, (place) => recordAt(commits, place), this.#references)) {
      const { key, value } = change
      // A place in a queue that is written once more was counted twice: as a row that is there, and as a new one.
      const isThere = again && key.table === 'queue' && value !== undefined && this.#database.get(key) !== undefined
      if (isThere) this.#references.drop(key.id)
      yield change
    }
  }

  #write(stretch: Stretch, until: number): number {
    const { slice, changes } = stretch
    // What is left of a transaction that failed is not made longer than any other.
    for (let bytes = slice.reduce(sumOfBytes, 0); slice.length < SLICE_CHANGES && bytes < SLICE_BYTES && !stretch.isLast; ) {
      this.#isReading = true
      const next = changes!.next()
      this.#isReading = false
      if (next.done) stretch.isLast = true
      else {
        slice.push(next.value)
        bytes = sumOfBytes(bytes, next.value)
      }
      if (slice.length % 32 === 0 && performance.now() >= until) break
    }
    const database = this.#database
    // The rows are durable with the next commit; until they are, the log is there.
    database.transaction(() => {
      for (const { key, value, label } of slice) database.putRow(key, value, label)
      if (stretch.isLast) database.putFolded(stretch.upTo)
    }, false)
    const count = slice.length
    slice.length = 0
    if (stretch.isLast) {
      this.#stretch = undefined
      this.#trimming = true
      this.count++
    }
    return count
  }

  #trim(): number {
    const database = this.#database
    let isMore = true
    database.transaction(() => {
      isMore = database.trim(database.meta.folded, SLICE_CHANGES, 2 * SLICE_BYTES)
    }, false)
    this.#trimming = isMore
    return TRIM_PAGES
  }
}

const NOTHING = new Uint8Array(0)

const sumOfBytes = (sum: number, { value }: RowChange): number => sum + (value?.length ?? 0)

function recordAt(commits: ReadonlyMap<Lsn, Uint8Array>, { lsn, at }: LogPlace): StoreRecord {
  const value = commits.get(lsn)
  assert(value !== undefined, 'a message is in the stretch that it was folded from')
  const record = readRecord(new ByteReader(value, at))
  assert(record !== undefined, 'a record that was read can be read again')
  return record
}
