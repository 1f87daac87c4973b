import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import { checkStore } from '../../../src/store/io/check.ts'
import { Database } from '../../../src/store/io/database.ts'
import { type Entry, entryName, entryOfCell } from '../../../src/store/io/entries.ts'
import type { Meta } from '../../../src/store/io/meta.ts'
import { PageReader } from '../../../src/store/io/page-reader.ts'
import { type Recovered, recoverStore } from '../../../src/store/io/recover.ts'
import { DATABASE_FILE } from '../../../src/store/io/schema.ts'
import { openDatabase } from '../../../src/store/io/sqlite.ts'
import { SqliteStore, startHere } from '../../../src/store/io/sqlite-store.ts'
import { StoreReader } from '../../../src/store/io/store-reader.ts'
import { ROW_TABLES, type RowKey, readRow, rowOf } from '../../../src/store/rows.ts'
import type { Lsn, SessionKey, StoredMessage, StoreRecord } from '../../../src/store/store.ts'
import { linesOf } from '../ledger.ts'
import { commit, GONE } from './stores.ts'

export const PAGE = 4096

/** A record that was acknowledged, as a new process reads it. */
interface Item {
  readonly line: string
  /** Whether a store without these rows and commits still has to have it. */
  isKept(lost: ReadonlySet<string>): boolean
}

/** Rows, then a log, and a note of what is in which row or commit. Names of rows and commits are those of `entryName`. */
export class DamageLedger {
  readonly random = new Random(11)
  readonly items: Item[] = []
  /** What a commit has ended, by its name: it comes back if the commit is lost. */
  readonly ended = new Map<string, string[]>()

  keep(records: readonly StoreRecord[], isKept: Item['isKept']): void {
    for (const line of linesOf(records)) this.items.push({ line, isKept })
  }

  /** What has to be there without these rows and commits, apart from what they had ended. */
  linesWithout(lost: ReadonlySet<string> = new Set()): string[] {
    return this.items
      .filter((item) => item.isKept(lost))
      .map(({ line }) => line)
      .sort()
  }

  linesEndedBy(lost: ReadonlySet<string>): string[] {
    return [...lost].flatMap((name) => this.ended.get(name) ?? [])
  }

  /** Bytes of 7 bits, which are text as well: the type of a column is all that tells them from it. */
  message(topic: string, bytes: number): StoredMessage {
    const payload = new Uint8Array(Array.from({ length: bytes }, () => this.random.between(32, 126)))
    return { topic, payload, qos: 1, retain: false, from: 'mqtt:publisher' }
  }

  session(key: SessionKey, isKept: Item['isKept']): StoreRecord[] {
    const owner = { username: `user of ${key}`, listener: 'tcp', verified: true }
    const options = { qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 0 } as const
    const records: StoreRecord[] = [
      { type: 'session', key, expirySeconds: 3600, will: null, owner },
      { type: 'subscribe', key, filter: `${key}/#`, options },
      { type: 'subscribe', key, filter: 'all/+/temperature', options },
    ]
    this.keep(records, isKept)
    return records
  }

  /** A message in rows; `flight`: it was sent to the first of its sessions. */
  queued(id: number, keys: readonly SessionKey[], bytes: number, flight: boolean): StoreRecord[] {
    const message = this.message(`queued/${id}`, bytes)
    const deliveries = keys.map((key) => ({ key, qos: 1 as const, retain: false }))
    const row = `row messages ${id}`
    const place = (key: SessionKey): string => `row queue ${key} ${id}`
    this.keep([{ type: 'message', id, message, deliveries: [] }], (lost) => {
      return !lost.has(row) && keys.some((key) => !lost.has(place(key)))
    })
    for (const delivery of deliveries) {
      this.keep([{ type: 'delivery', id, delivery }], (lost) => !lost.has(row) && !lost.has(place(delivery.key)))
    }
    const records: StoreRecord[] = [{ type: 'message', id, message, deliveries }]
    if (!flight) return records
    const [key] = keys as [SessionKey]
    const sent: StoreRecord = { type: 'sent', key, id, packetId: 1 + (id % 1000) }
    const received: StoreRecord = { type: 'received', key, id, packetId: 1 + (id % 1000) }
    const session = `row sessions ${key}`
    this.keep([sent, received], (lost) => !lost.has(row) && !lost.has(place(key)) && !lost.has(session))
    this.keep([{ type: 'sent', key, id: 0, packetId: 1 + (id % 1000) }], (lost) => !lost.has(session))
    return [...records, sent, received]
  }

  retained(id: number, topic: string, isKept: Item['isKept']): StoreRecord[] {
    const record: StoreRecord = { type: 'message', id, message: this.message(topic, 40), deliveries: [], retains: true }
    this.keep([record], isKept)
    return [record]
  }

  sensor(clientId: string, isKept: Item['isKept']): StoreRecord[] {
    const records: StoreRecord[] = [
      {
        type: 'sn-client',
        clientId,
        state: 'asleep',
        route: `udp://10.0.0.1:${clientId}`,
        durationSeconds: 60,
        sleepSeconds: 600,
        cleanSession: false,
        will: null,
        at: 1000,
      },
      { type: 'sn-topic', clientId, topicId: 1, topicName: `sensors/${clientId}` },
    ]
    this.keep(records, isKept)
    return records
  }

  /** A message in rows that commit `name` will end. */
  endedBy(name: string, id: number, key: SessionKey): { readonly before: StoreRecord[]; readonly after: StoreRecord } {
    const record: StoreRecord = {
      type: 'message',
      id,
      message: this.message('ended', 30),
      deliveries: [{ key, qos: 1, retain: false }],
    }
    const [delivery] = record.deliveries
    this.ended.set(
      name,
      linesOf([
        { ...record, deliveries: [] },
        { type: 'delivery', id, delivery: delivery! },
      ]),
    )
    return { before: [record], after: { type: 'done', key, id } }
  }
}

/** The files of a store, and what it has to give back. */
export interface Fixture {
  readonly ledger: DamageLedger
  /** The database with its WAL merged in. */
  readonly whole: Buffer
  /** The same store with a WAL that holds the whole log, one transaction a commit. */
  readonly database: Buffer
  readonly wal: Buffer
  /** Number of the first commit of the log. */
  readonly first: Lsn
  /** Names of the rows and commits on each page, overflow pages included. */
  readonly namesOn: ReadonlyMap<number, ReadonlySet<string>>
}

const SESSIONS = 90
export const COMMITS = 30

export async function makeFixture(): Promise<Fixture> {
  const dir = mkdtempSync(join(ROOT, 'roost-damage-'))
  const path = join(dir, DATABASE_FILE)
  const ledger = new DamageLedger()
  const store = await SqliteStore.open(dir, { ...LISTENER, foldBytes: 20_000, maxBytes: 2 ** 30 }, startHere)
  const ended = Array.from({ length: COMMITS / 3 }, (_, i) => ledger.endedBy(`commit ${i}`, 5000 + i, `mqtt:s${i}`))
  for (const group of [...rowGroups(ledger), ended.flatMap(({ before }) => before)]) {
    for (const record of group.slice(0, -1)) store.append(record)
    await commit(store, group.at(-1)!)
  }
  await store.close()
  const database = new Database(path, false)
  database.own(GONE, 'test')
  const first = database.meta.lsn + 1
  const ends = new Map(ended.map(({ after }, i) => [first + 3 * i, after]))
  for (const [i, lines] of [...ledger.ended.values()].entries()) {
    ledger.ended.delete(`commit ${i}`)
    ledger.ended.set(`commit ${first + 3 * i}`, lines)
  }
  for (let lsn = first; lsn < first + COMMITS; lsn++) {
    const end = ends.get(lsn)
    const records = [...logRecords(ledger, lsn), ...(end === undefined ? [] : [end])]
    database.transaction(() => database.putCommit(lsn, rowOf(records)), true)
  }
  const unmerged = { database: readFileSync(path), wal: readFileSync(`${path}-wal`) }
  database.close()
  const namesOn = mapPages(path)
  const whole = readFileSync(path)
  rmSync(dir, { recursive: true })
  return { ledger, whole, ...unmerged, first, namesOn }
}

const LISTENER = { onDurable: () => {}, onFailed: (reason: string) => expect.unreachable(reason), onRecovered: () => {} }

function* rowGroups(ledger: DamageLedger): Iterable<StoreRecord[]> {
  const inRow = (name: string) => (lost: ReadonlySet<string>) => !lost.has(name)
  for (let i = 0; i < SESSIONS; i++) {
    const key = `mqtt:s${i}`
    const group = [...ledger.session(key, inRow(`row sessions ${key}`))]
    const others = i % 3 === 0 ? [`mqtt:s${(i + 7) % SESSIONS}`] : []
    group.push(...ledger.queued(1 + i, [key, ...others], i % 50 === 1 ? 9000 : ledger.random.between(0, 200), i % 4 === 0))
    group.push(...ledger.retained(1000 + i, `retained/${i}`, inRow(`row retained retained/${i}`)))
    group.push(...ledger.sensor(`${i}`, inRow(`row sensors ${i}`)))
    yield group
  }
}

/** One commit, which stays in the log. */
function logRecords(ledger: DamageLedger, lsn: Lsn): StoreRecord[] {
  const isKept = (lost: ReadonlySet<string>): boolean => !lost.has(`commit ${lsn}`)
  const key = `mqtt:l${lsn}`
  const message = ledger.message('log', lsn % 10 === 0 ? 6000 : 100)
  const deliveries = [
    { key, qos: 1 as const, retain: false },
    { key: `mqtt:s${lsn % SESSIONS}`, qos: 1 as const, retain: false },
  ]
  const id = 6000 + lsn
  ledger.keep([{ type: 'message', id, message, deliveries: [] }], isKept)
  for (const delivery of deliveries) ledger.keep([{ type: 'delivery', id, delivery }], isKept)
  return [
    ...ledger.session(key, isKept),
    { type: 'message', id, message, deliveries },
    ...ledger.retained(8000 + lsn, `log/${lsn}`, isKept),
    ...ledger.sensor(`l${lsn}`, isKept),
  ]
}

const idOf = (key: RowKey): (string | number)[] =>
  key.table === 'messages' ? [key.id] : key.table === 'queue' ? [key.name, key.id] : [key.name]

/** Overflow pages are found by their contents, which are random. */
function mapPages(path: string): Map<number, Set<string>> {
  const namesOn = new Map<number, Set<string>>()
  const spilled: { readonly name: string; readonly value: Buffer }[] = []
  const reader = new PageReader(path)
  for (let page = 1; page <= reader.pageCount; page++) namesOn.set(page, new Set())
  for (const cell of reader.cells()) {
    const entry = entryOfCell(cell)
    if (entry === undefined) continue
    const name = entryName(entry.table, entry.key === undefined ? [entry.lsn] : idOf(entry.key))
    namesOn.get(cell.page)!.add(name)
    if (entry.value.length > 400) spilled.push({ name, value: Buffer.from(entry.value) })
  }
  reader.close()
  const bytes = readFileSync(path)
  for (const [page, names] of namesOn) {
    const start = bytes.subarray((page - 1) * PAGE + 4, (page - 1) * PAGE + 24)
    if (names.size === 0) for (const { name, value } of spilled) if (value.includes(start)) names.add(name)
  }
  return namesOn
}

const ROOT = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** A directory for damaged stores, one after the other, and one for what is recovered of them. In memory where that is possible: there are many. */
export class Copies {
  readonly root = mkdtempSync(join(ROOT, 'roost-damaged-'))
  readonly dir = join(this.root, 'old')
  readonly recovered = join(this.root, 'new')
  readonly path = join(this.dir, DATABASE_FILE)
  #count = 0

  put(database: Uint8Array | undefined, wal?: Uint8Array): void {
    rmSync(this.dir, { recursive: true, force: true })
    rmSync(this.recovered, { recursive: true, force: true })
    mkdirSync(this.dir)
    if (database !== undefined) writeFileSync(this.path, database)
    if (wal !== undefined) writeFileSync(`${this.path}-wal`, wal)
  }

  /** Runs SQL on the store, as another program does. */
  execute(sql: string): void {
    const connection = openDatabase(this.path)
    connection.exec(sql)
    connection.close()
  }

  check(dir = this.dir): string[] {
    const problems: string[] = []
    expect(checkStore(dir, (problem) => problems.push(problem)).problems).toBe(problems.length)
    return problems
  }

  /** The files of the damaged store, to be compared. */
  get files(): Record<string, string> {
    const names = readdirSync(this.dir)
    const print = (name: string): string => {
      const path = join(this.dir, name)
      return `${statSync(path).mtimeMs} ${createHash('sha1').update(readFileSync(path)).digest('hex')}`
    }
    return { '.': `${statSync(this.dir).mtimeMs}`, ...Object.fromEntries(names.map((name) => [name, print(name)])) }
  }

  /** Recovers the store, and looks at the new one, at each third one closely. */
  recover(): Recovered {
    const before = this.files
    const recovered = recoverStore(this.dir, this.recovered, { writtenBy: 'test' })
    expect(this.files).toEqual(before)
    expect(readdirSync(this.recovered)).toEqual([DATABASE_FILE])
    if (this.#count++ % 3 === 0) expect(this.check(this.recovered)).toEqual([])
    return recovered
  }

  meta(dir = this.recovered): Meta | undefined {
    const reader = new StoreReader(join(dir, DATABASE_FILE))
    const { meta } = reader
    reader.close()
    return meta
  }

  /** The log of the recovered store. */
  commits(): (readonly StoreRecord[])[] {
    const reader = new StoreReader(join(this.recovered, DATABASE_FILE))
    const commits = Array.from(reader.rows('log'), ({ entry }) => recordsOf(entry))
    reader.close()
    return commits
  }

  /** Opens the recovered store as a new process does. */
  open(): Promise<SqliteStore> {
    return SqliteStore.open(this.recovered, { ...LISTENER, maxBytes: 2 ** 20 }, startHere)
  }

  /** What a new process reads in the recovered store. */
  async replayed(): Promise<string[]> {
    const store = await this.open()
    const lines = linesOf(store.replay())
    await store.close()
    return lines
  }

  end(): void {
    rmSync(this.root, { recursive: true })
  }
}

interface Named {
  readonly name: string
  readonly line: string
  readonly record: StoreRecord
}

/** What rows and commits hold, by checksum: most are the same in all copies. */
const known = new Map<string, readonly Named[]>()

/** What a new process would read, without making one: much faster than `replayed`. */
export function linesIn(dir: string): string[] {
  const found = new Map<string, string>()
  const reader = new StoreReader(join(dir, DATABASE_FILE))
  const folded = reader.meta!.folded
  for (const table of [...ROW_TABLES, 'log'] as const) {
    for (const { id, entry } of reader.rows(table)) {
      if (table === 'log' && entry!.lsn <= folded) continue
      const name = `${table} ${id.join(' ')} ${entry!.checksum}`
      if (!known.has(name)) known.set(name, recordsOf(entry).flatMap(partsOf).map(named))
      for (const part of known.get(name)!) applyTo(found, part)
    }
  }
  reader.close()
  return [...found.values()].sort()
}

function recordsOf(entry: Entry | undefined): readonly StoreRecord[] {
  const records = readRow(entry!.value)
  if (typeof records === 'string') throw new Error(records)
  return records
}

/** A record of the log, as records of rows. */
function partsOf(record: StoreRecord): StoreRecord[] {
  if (record.type !== 'message' || record.deliveries.length === 0) return [record]
  const { id, deliveries } = record
  return [{ ...record, deliveries: [] }, ...deliveries.map((delivery): StoreRecord => ({ type: 'delivery', id, delivery }))]
}

function named(record: StoreRecord): Named {
  const [line] = linesOf([record]) as [string]
  const { type } = record
  if (type === 'delivery') return { name: `delivery ${record.id} ${record.delivery.key}`, line, record }
  return { name: type === 'message' && !record.retains ? `message ${record.id}` : line, line, record }
}

function applyTo(found: Map<string, string>, { name, line, record }: Named): void {
  if (record.type === 'done') {
    found.delete(`delivery ${record.id} ${record.key}`)
    if (![...found.keys()].some((other) => other.startsWith(`delivery ${record.id} `))) found.delete(`message ${record.id}`)
  } else found.set(name, line)
}
