import { labelOf, messageKey, queueKey, type RowChange, type RowKey, readRow, rowOf } from '../rows.ts'
import type { Lsn, StoreRecord } from '../store.ts'
import { Database } from './database.ts'
import { type Entry, entryName } from './entries.ts'
import type { Meta } from './meta.ts'
import { thisProcess } from './owner.ts'
import { Digest, TABLES, type Table } from './schema.ts'
import { StoreReader } from './store-reader.ts'

/** One transaction of the new store. */
const BATCH_ROWS = 1000
const BATCH_BYTES = 1024 * 1024
const BATCH_COMMITS = 16
/** Bytes of transactions after which the WAL of the new store is copied into its database. */
const CHECKPOINT_BYTES = 32 * BATCH_BYTES

/** A new store that is filled with what was found of a damaged one. Commits of the log are kept in memory until the end. */
export class Rebuild {
  readonly #path: string
  readonly #database: Database
  /** Of the damaged store. */
  meta: Meta | undefined
  /** Reasons why a row or a commit was left out although its checksum matches, by its name. */
  readonly unusable = new Map<string, string>()
  /** Rows and commits that were found only on pages that belong to no table. */
  strays = 0
  readonly #counts = new Map<Table, number>(TABLES.map((table) => [table, 0]))
  /** Of all rows and commits of the damaged store that were found. */
  readonly #digest = new Digest()
  readonly #commits = new Map<Lsn, Entry>()
  readonly #strayCommits = new Map<Lsn, Entry>()
  #batch: { readonly entry: Entry; readonly isStray: boolean }[] = []
  #batchBytes = 0
  #walBytes = 0
  #isClosed = false

  /** Creates the store. @throws the system's and SQLite's errors, as everything in it does */
  constructor(path: string, writtenBy: string) {
    this.#path = path
    Database.create(path, writtenBy)
    // What is not complete is of no use after a power cut.
    this.#database = new Database(path, false, { durability: 'process' })
    this.#database.own(thisProcess(), writtenBy)
  }

  get found(): number {
    return this.#digest.rows
  }

  /** Whether everything was found that was in the damaged store. */
  get isComplete(): boolean {
    if (this.meta === undefined || this.#digest.rows + this.#batch.length < this.meta.rows) return false
    this.flush()
    return this.#digest.rows === this.meta.rows && this.#digest.toString() === this.meta.digest
  }

  /** Rows and commits that the new store has, by table. */
  get counts(): ReadonlyMap<Table, number> {
    return this.#counts
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#database.close()
  }

  /** Takes an entry over, unless there is one with this key already. A stray one was found on a page that belongs to no table. */
  add(entry: Entry, isStray: boolean): void {
    if (entry.key !== undefined) {
      this.#batch.push({ entry, isStray })
      this.#batchBytes += entry.value.length
      if (this.#batch.length >= BATCH_ROWS || this.#batchBytes >= BATCH_BYTES) this.flush()
    } else if (isStray && !(this.meta !== undefined && entry.lsn > this.meta.folded)) this.#strayCommits.set(entry.lsn, entry)
    else this.#addCommit(entry, isStray)
  }

  #addCommit(entry: Entry, isStray: boolean): void {
    if (this.#commits.has(entry.lsn)) return
    this.#commits.set(entry.lsn, entry)
    this.#digest.add(entry.checksum)
    if (isStray) this.strays++
  }

  /** Writes the rows that were added. */
  flush(): void {
    const batch = this.#batch
    this.#batch = []
    this.#write(() => {
      for (const { entry, isStray } of batch) this.#put(entry, isStray)
    }, this.#batchBytes)
    this.#batchBytes = 0
  }

  #put({ table, key, checksum, value }: Entry, isStray: boolean): void {
    if (key === undefined || this.#database.get(key) !== undefined) return
    const name = entryName(table, idOf(key))
    if (this.unusable.has(name)) return
    this.#digest.add(checksum)
    const records = readRow(value)
    if (typeof records === 'string') {
      this.unusable.set(name, records)
      return
    }
    this.#database.putRow(key, value, labelOf(key, records))
    this.#count(table, 1)
    if (isStray) this.strays++
  }

  #count(table: Table, change: number): void {
    this.#counts.set(table, this.#counts.get(table)! + change)
  }

  #write(action: () => void, bytes: number): void {
    this.#database.transaction(action, false)
    this.#walBytes += bytes
    if (this.#walBytes < CHECKPOINT_BYTES) return
    this.#walBytes = 0
    this.#database.checkpoint()
  }

  /** The numbers of the commits that are not in the rows, in order. Stray commits that had not been deleted are added. */
  settleCommits(): Lsn[] {
    for (const lsn of this.#liveStrays()) this.#addCommit(this.#strayCommits.get(lsn)!, true)
    const folded = this.meta?.folded ?? 0
    return [...this.#commits.keys()].filter((lsn) => lsn > folded).sort((a, b) => a - b)
  }

  /**
   * Commits are deleted from the first one on, so those after a live one are live as well. Without `meta`, those before it are
   * live as far as none is missing; others may have been deleted long ago, and would bring old messages back.
   */
  #liveStrays(): Lsn[] {
    const strays = [...this.#strayCommits.keys()]
    if (this.meta !== undefined) return strays.filter((lsn) => lsn > this.meta!.folded)
    if (strays.length === 0) return []
    let first = this.#commits.size > 0 ? Math.min(...this.#commits.keys()) : Math.max(...strays)
    while (this.#strayCommits.has(first - 1)) first--
    return strays.filter((lsn) => lsn >= first)
  }

  /**
   * Removes what refers to a message that is missing, because its id will be given to another message, and messages that no
   * session waits for. `onMissing` gets the names of places in queues.
   */
  dropDangling(lsns: readonly Lsn[], onMissing: (name: string) => void): void {
    this.#read((reader) => this.#dropPlaces(reader, onMissing))
    this.#read((reader) => this.#dropFlights(reader))
    const places = new Set<string>()
    for (const lsn of lsns) this.#dropFromCommit(this.#commits.get(lsn)!, places)
  }

  #read(action: (reader: StoreReader) => RowChange[]): void {
    const reader = new StoreReader(this.#path)
    let changes: RowChange[]
    try {
      changes = action(reader)
    } finally {
      reader.close()
    }
    this.#write(() => {
      for (const { key, value, label } of changes) {
        this.#database.putRow(key, value, label)
        if (value === undefined) this.#count(key.table, -1)
      }
    }, 0)
  }

  #dropPlaces(reader: StoreReader, onMissing: (name: string) => void): RowChange[] {
    const drops: RowChange[] = []
    const hasPlace = new Map<number, boolean>()
    for (const { entry } of reader.rows('messages')) hasPlace.set(entry!.key!.id, false)
    for (const { id, entry } of reader.rows('queue')) {
      const key = entry!.key!
      if (hasPlace.has(key.id)) hasPlace.set(key.id, true)
      else {
        drops.push({ key, value: undefined })
        onMissing(entryName('queue', id))
      }
    }
    for (const [id, isWaitedFor] of hasPlace) if (!isWaitedFor) drops.push({ key: messageKey(id), value: undefined })
    return drops
  }

  #dropFlights(reader: StoreReader): RowChange[] {
    const changes: RowChange[] = []
    for (const { entry } of reader.rows('sessions')) {
      const key = entry!.key!
      const records = readRow(entry!.value)
      if (typeof records === 'string') continue
      const kept = records.filter((record) => !isFlight(record) || this.#isQueued(record.key, record.id))
      if (kept.length < records.length) changes.push({ key, value: rowOf(kept), label: labelOf(key, kept) })
    }
    return changes
  }

  #isQueued(session: string, id: number): boolean {
    return this.#database.get(queueKey(session, id)) !== undefined
  }

  /** `places`: places in queues that earlier commits have filled. */
  #dropFromCommit(entry: Entry, places: Set<string>): void {
    const records = readRow(entry.value)
    if (typeof records === 'string') return
    let isChanged = false
    const kept = records.flatMap((record): StoreRecord[] => {
      if (record.type === 'message') for (const { key } of record.deliveries) places.add(`${record.id} ${key}`)
      if (!isFlight(record) && record.type !== 'done') return [record]
      if (places.has(`${record.id} ${record.key}`) || this.#isQueued(record.key, record.id)) return [record]
      isChanged = true
      // The packet id counts as the last one that was used.
      return record.type === 'sent' ? [{ ...record, id: 0 }] : []
    })
    if (isChanged) this.#commits.set(entry.lsn, { ...entry, value: rowOf(kept) })
  }

  /**
   * Writes the commits and makes the store durable and closed. Commits are numbered so that none is missing up to the highest
   * number.
   */
  finish(lsns: readonly Lsn[]): void {
    const usable = lsns.filter((lsn) => this.#isUsable(lsn))
    const lsn = Math.max(this.meta?.lsn ?? 0, lsns.at(-1) ?? 0)
    const folded = lsn - usable.length
    for (let from = 0; from < usable.length; from += BATCH_COMMITS) {
      const batch = usable.slice(from, from + BATCH_COMMITS).map((number) => this.#commits.get(number)!.value)
      const bytes = batch.reduce((sum, { length }) => sum + length, 0)
      this.#write(() => batch.forEach((value, i) => void this.#database.putCommit(folded + 1 + from + i, value)), bytes)
    }
    this.#count('log', usable.length)
    this.#write(() => this.#database.restoreCounters({ epoch: this.meta?.epoch ?? 0, lsn, folded }), 0)
    this.#database.disown()
    this.#database.checkpoint('TRUNCATE')
    this.close()
  }

  /** Empty ones are left over by `dropDangling`. */
  #isUsable(lsn: Lsn): boolean {
    const { table, value } = this.#commits.get(lsn)!
    if (value.length === 0) return false
    const records = readRow(value)
    if (typeof records === 'string') this.unusable.set(entryName(table, [lsn]), records)
    return typeof records !== 'string'
  }
}

type Flight = Extract<StoreRecord, { type: 'sent' | 'received' }>

/** Without a message id a record says only which packet id was the last one, or is of an old format. */
const isFlight = (record: StoreRecord): record is Flight =>
  (record.type === 'sent' || record.type === 'received') && record.id !== 0

const idOf = ({ table, name, id }: RowKey): (string | number)[] =>
  table === 'messages' ? [id] : table === 'queue' ? [name, id] : [name]
