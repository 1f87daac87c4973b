import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import type { Instant } from '../../src/base/machine.ts'
import { readRecord, writeRecord } from '../../src/store/records.ts'
import type { Lsn, Store, StoreRecord } from '../../src/store/store.ts'
import { MapRows } from './map-rows.ts'

export interface Crash {
  /** Records beyond the durable ones that reached the disk all the same: the commit was written, the news of it was not. */
  readonly survivors?: number
  /** The record after those is on the disk in part. */
  readonly torn?: boolean
  /** So many of the records had been folded into rows. */
  readonly folded?: number
}

/**
 * A store in which the test decides when records become durable: by `commit`, or by a delay in virtual time. Every record has its own Lsn,
 * so that what waits for a record waits for that very one.
 *
 * Records are kept as bytes, so what is replayed is what was written at the time of the append.
 */
export class DelayedStore implements Store {
  /** Virtual time, to be set before whatever appends is driven. */
  now: Instant = 0
  /** `append` gives 'full'. */
  refuse = false
  /** The same for the packet ids of messages that leave, and for nothing else. */
  refusesSent = false
  /** How often it did. */
  refusals = 0
  /** Hears of each record for which there was no room. */
  refused: ((record: StoreRecord) => void) | undefined = undefined
  /** Bytes that may wait to become durable, as `GroupCommit.maxBufferedBytes`. */
  maxBytes = Number.POSITIVE_INFINITY
  /** Commits do not end, as with a disk that fails. */
  stalled = false
  readonly #rows: MapRows
  readonly #log: Uint8Array[]
  /** How long a commit takes; none ends by itself without it. */
  delayMs: number | undefined
  /** When each record was appended, behind those that were there from the beginning. */
  readonly #instants: Instant[] = []
  readonly #inherited: number
  #durable: Lsn
  #waitingBytes = 0
  #inFlight: { began: Instant; due: Instant; upTo: Lsn } | undefined

  /** With `delayMs` commits take that long in virtual time, one after the other; without it, only `commit` makes anything durable. */
  constructor(delayMs?: number, log: Uint8Array[] = [], rows = new MapRows()) {
    this.delayMs = delayMs
    this.#rows = rows
    this.#log = log
    this.#inherited = log.length
    this.#durable = log.length
  }

  get durable(): Lsn {
    return this.#durable
  }

  /** Highest Lsn given so far. */
  get appended(): Lsn {
    return this.#log.length
  }

  get hasRoom(): boolean {
    return this.#waitingBytes <= this.maxBytes / 4
  }

  append(record: StoreRecord): Lsn | 'full' {
    const writer = new ByteWriter()
    writeRecord(writer, record)
    if (this.refuse || (this.refusesSent && record.type === 'sent') || this.#waitingBytes + writer.length > this.maxBytes) {
      this.refusals++
      this.refused?.(record)
      return 'full'
    }
    this.#waitingBytes += writer.length
    const lsn = this.#log.push(writer.toBytes())
    this.#instants.push(this.now)
    if (this.#inFlight === undefined) this.#begin(this.now)
    // All that is appended at one instant goes into one commit, as in one turn of the event loop.
    else if (this.#inFlight.began === this.now) this.#inFlight.upTo = lsn
    return lsn
  }

  /** Makes records durable up to this one, all of them by default; gives the highest durable Lsn. */
  commit(upTo: Lsn = this.#log.length): Lsn {
    const durable = Math.max(this.#durable, Math.min(upTo, this.#log.length))
    for (let lsn = this.#durable; lsn < durable; lsn++) this.#waitingBytes -= this.#log[lsn]!.length
    this.#durable = durable
    if (this.#inFlight !== undefined && this.#inFlight.upTo <= this.#durable) this.#inFlight = undefined
    return this.#durable
  }

  nextTimeout(): Instant | undefined {
    return this.stalled ? undefined : this.#inFlight?.due
  }

  /** Ends the commit that is due, and begins the next; read `durable` after it. */
  handleTimeout(now: Instant): void {
    if (this.stalled || this.#inFlight === undefined || this.#inFlight.due > now) return
    this.commit(this.#inFlight.upTo)
    if (this.#durable < this.#log.length) this.#begin(now)
  }

  #begin(now: Instant): void {
    if (this.delayMs !== undefined) this.#inFlight = { began: now, due: now + this.delayMs, upTo: this.#log.length }
  }

  /** So many survivors, and what was appended at the same instant as the last of them: it goes into the same commit. */
  withWholeTurns(survivors: number): number {
    if (survivors === 0) return 0
    const instantOf = (lsn: Lsn): Instant | undefined => this.#instants[lsn - 1 - this.#inherited]
    let kept = Math.min(this.#durable + survivors, this.appended)
    while (kept < this.appended && instantOf(kept + 1) === instantOf(kept)) kept++
    return kept - this.#durable
  }

  /** The store that a new process finds. A torn record is not in it, because commits are whole or absent. */
  crash({ survivors = 0, torn = false, folded = 0 }: Crash = {}): DelayedStore {
    const kept = Math.min(this.#durable + survivors, this.#log.length)
    const log = this.#log.slice(0, kept)
    const next = this.#log[kept]
    if (torn && next !== undefined) log.push(next.subarray(0, next.length >> 1))
    const last = log.at(-1)
    if (last !== undefined && readRecord(new ByteReader(last)) === undefined) log.pop()
    const rows = this.#rows.copy()
    rows.fold(log.splice(0, folded).map(parsed), rows.references())
    const store = new DelayedStore(this.delayMs, log, rows)
    store.now = this.now
    store.maxBytes = this.maxBytes
    store.refused = this.refused
    return store
  }

  /** The records behind `from`, up to and including `upTo`. */
  *records(from: Lsn, upTo: Lsn): Iterable<StoreRecord> {
    for (const bytes of this.#log.slice(from, upTo)) yield readRecord(new ByteReader(bytes))!
  }

  *replay(): Iterable<StoreRecord> {
    yield* this.#rows.records()
    for (const bytes of this.#log) yield parsed(bytes)
  }
}

function parsed(bytes: Uint8Array): StoreRecord {
  const reader = new ByteReader(bytes)
  const record = readRecord(reader)
  if (record === undefined || reader.remaining > 0) throw new Error(`record does not round-trip: ${reader.error}`)
  return record
}
