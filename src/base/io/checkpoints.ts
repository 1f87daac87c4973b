import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { ByteReader } from '../bytes.ts'
import { Fold, type LogPlace, References } from '../fold.ts'
import { readRecord } from '../records.ts'
import { idOf, isPayload, type RowChange } from '../rows.ts'
import type { Lsn, SessionKey, StoreRecord } from '../store.ts'
import { commitFailure } from './commit-failure.ts'
import { type Databases, KEYS, lsnKey } from './databases.ts'
import { withChecksum } from './group-commit.ts'

/** Bytes of log after which the next checkpoint begins. */
export const CHECKPOINT_BYTES = 8 * 1024 * 1024

/** What one turn of the event loop gives a checkpoint at most: milliseconds, changes, and bytes of changes. */
const SLICE_MS = 1
const SLICE_CHANGES = 250
const SLICE_BYTES = 256 * 1024

/** A transaction of a checkpoint that failed is tried again after this (ms). */
const RETRY_MS = 1000

/** A record of the log: its commit, and its offset and length in it. */
export interface LogRecord {
  readonly record: StoreRecord
  readonly lsn: Lsn
  readonly at: number
  readonly bytes: number
}

/**
 * Folds the log into rows, while it is written: records are noted as they are appended, and a stretch of the log that has become long enough, and
 * durable, is written as rows, a slice at a time. Its part of the log goes when the rows stand.
 */
export class Checkpoints {
  /** Who waits for messages that have rows. */
  readonly references = new References()
  /** Longest time that one slice has kept the event loop, ms. */
  longestSliceMs = 0
  /** Checkpoints that are complete. */
  count = 0
  readonly #databases: Databases
  readonly #bytes: number
  readonly #onError: (error: string) => void
  #fold = new Fold(KEYS)
  /** Commit that the newest record belongs to. */
  #lsn: Lsn = 0
  /** The stretch that is complete, and is being written or waits to become durable. */
  #frozen: { readonly fold: Fold; readonly upTo: Lsn } | undefined
  /** Payloads that nobody waits for. */
  #unused: number[] = []
  #running: Promise<void> | undefined
  /** The last transaction failed, and that was told. */
  #failing = false
  readonly #stopped = new AbortController()

  constructor(databases: Databases, bytes: number, onError: (error: string) => void) {
    this.#databases = databases
    this.#bytes = bytes
    this.#onError = onError
  }

  /** The record appended last, and where it is in the log. */
  add(record: StoreRecord, lsn: Lsn, at: number, bytes: number): void {
    if (lsn !== this.#lsn) {
      if (this.#fold.bytes >= this.#bytes) this.#freeze()
      this.#lsn = lsn
    }
    this.#fold.add(record, lsn, at)
    this.#fold.bytes += bytes
  }

  /** Everything up to this Lsn is durable. */
  durable(upTo: Lsn): void {
    // The newest stretch ends here, if it ends at a commit that is complete.
    if (this.#fold.bytes >= this.#bytes && this.#lsn <= upTo) this.#freeze()
    const frozen = this.#frozen
    if (frozen === undefined || frozen.upTo > upTo || this.#running !== undefined) return
    this.#running = this.#write(frozen.fold, frozen.upTo)
  }

  /** Begins a checkpoint although the log is short, if there is anything in it that is durable: it may make room. */
  hurry(upTo: Lsn): void {
    if (this.#fold.bytes > 0 && this.#lsn <= upTo) this.#freeze()
    this.durable(upTo)
  }

  /** Whether the store knows a session by now. */
  hasSession(key: SessionKey): boolean {
    for (const fold of [this.#fold, this.#frozen?.fold]) {
      const known = fold?.hasSession(key)
      if (known !== undefined) return known
    }
    return this.#databases.rows.doesExist(KEYS.session(key))
  }

  #freeze(): void {
    if (this.#frozen !== undefined) return
    this.#frozen = { fold: this.#fold, upTo: this.#lsn }
    this.#fold = new Fold(KEYS)
  }

  /** Takes up a store that was there before: all of its log is in rows at the end. */
  async begin(records: Iterable<LogRecord>): Promise<void> {
    for (const key of this.#databases.rows.getKeys()) {
      if (isPayload(key)) this.references.add(idOf(key), 0)
      else if (idOf(key) !== 0) this.references.add(idOf(key), 1)
    }
    // A crash in the middle of a checkpoint may have left payloads that nobody waits for.
    this.#unused = [...this.references.unused()]
    for (const id of this.#unused) this.references.forget(id)
    this.#fold = new Fold(KEYS, true)
    for (const { record, lsn, at, bytes } of records) {
      if (lsn !== this.#lsn && this.#fold.bytes >= this.#bytes) await this.#writeAll()
      this.#lsn = lsn
      this.#fold.add(record, lsn, at)
      this.#fold.bytes += bytes
    }
    if (this.#fold.bytes > 0) await this.#writeAll()
    this.#fold = new Fold(KEYS)
    await this.#trim(this.#databases.checkpoint)
  }

  async #writeAll(): Promise<void> {
    const fold = this.#fold
    this.#fold = new Fold(KEYS, true)
    await this.#writeRows(fold, this.#lsn)
  }

  /** What is half done is done again at the next start. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    await this.#running
  }

  async #write(fold: Fold, upTo: Lsn): Promise<void> {
    try {
      await this.#writeRows(fold, upTo)
    } catch (error) {
      // No other stretch may pass this one, or the log of this one would go with it: the log is kept for the next start.
      if (!this.#stopped.signal.aborted)
        this.#onError(`checkpoint ${upTo}: ${(error as Error).message}; no more until the next start`)
      return
    }
    this.#running = undefined
    this.#frozen = undefined
  }

  /** The last transaction says that the rows stand up to this Lsn; until it is there, the log from before counts. */
  async #writeRows(fold: Fold, upTo: Lsn): Promise<void> {
    const databases = this.#databases
    const changes = this.#changes(fold)[Symbol.iterator]()
    for (let last = false; !last; ) {
      const slice = this.#slice(changes)
      last = slice.last
      await this.#transaction(() => {
        for (const { key, value } of slice.changes) {
          if (value === undefined) databases.rows.remove(key).catch(told)
          else databases.rows.put(key, withChecksum(value)).catch(told)
        }
        if (last) databases.putCheckpoint(upTo)
      })
    }
    await this.#trim(upTo)
    this.count++
  }

  /** Takes away the log up to here, from wherever the last time came to. */
  async #trim(upTo: Lsn): Promise<void> {
    const { log } = this.#databases
    for (;;) {
      const keys = [...log.getKeys({ limit: SLICE_CHANGES, end: lsnKey(upTo + 1) })]
      if (keys.length === 0) return
      await this.#transaction(() => {
        for (const key of keys) log.remove(key).catch(told)
      })
    }
  }

  *#changes(fold: Fold): Iterable<RowChange> {
    for (let id = this.#unused.pop(); id !== undefined; id = this.#unused.pop()) yield { key: KEYS.payload(id), value: undefined }
    yield* fold.changes(this.#databases, this.#read, this.references)
  }

  #slice(changes: Iterator<RowChange>): { changes: RowChange[]; last: boolean } {
    const began = performance.now()
    const slice: RowChange[] = []
    for (let bytes = 0; slice.length < SLICE_CHANGES && bytes < SLICE_BYTES && performance.now() - began < SLICE_MS; ) {
      const next = changes.next()
      if (next.done) return { changes: slice, last: true }
      slice.push(next.value)
      bytes += next.value.value?.length ?? 0
    }
    return { changes: slice, last: false }
  }

  async #transaction(action: () => void): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const began = performance.now()
      const commit = this.#databases.root.batch(action)
      this.longestSliceMs = Math.max(this.longestSliceMs, performance.now() - began)
      try {
        await commit
        this.#failing = false
        return
      } catch (error) {
        const reason = await commitFailure(error)
        if (!this.#failing) this.#onError(`checkpoint: ${reason}`)
        this.#failing = true
        await sleep(RETRY_MS, undefined, { signal: this.#stopped.signal }).catch(() => {})
      }
    }
    throw new Error('stopped')
  }

  #readLsn: Lsn = 0
  #readValue: Uint8Array = new Uint8Array(0)

  /** Messages are read in the order of the log, so that a commit is fetched once. */
  readonly #read = ({ lsn, at }: LogPlace): StoreRecord => {
    if (lsn !== this.#readLsn) {
      const value = this.#databases.log.get(lsnKey(lsn))
      if (value === undefined) throw new Error(`commit ${lsn} is missing`)
      this.#readValue = value
      this.#readLsn = lsn
    }
    const record = readRecord(new ByteReader(this.#readValue, at))
    if (record === undefined) throw new Error(`commit ${lsn} cannot be read at ${at}`)
    return record
  }
}

/** A transaction that fails rejects every one of its promises; the batch is the one that is looked at. */
const told = (): void => {}
