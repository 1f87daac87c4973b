import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { Database } from '../../../src/store/io/database.ts'
import { type Owner, thisProcess } from '../../../src/store/io/owner.ts'
import type { StoreNews } from '../../../src/store/io/protocol.ts'
import { DATABASE_FILE } from '../../../src/store/io/schema.ts'
import { type Connection, openDatabase, type Row, type Value } from '../../../src/store/io/sqlite.ts'
import { SqliteStore, type SqliteStoreOptions, startHere } from '../../../src/store/io/sqlite-store.ts'
import { rowOf } from '../../../src/store/rows.ts'
import type { Lsn, StoreRecord } from '../../../src/store/store.ts'

/** A process of an earlier boot. */
export const GONE: Owner = { ...thisProcess(), bootId: 'earlier', token: 'gone' }

type MessageRecord = Extract<StoreRecord, { type: 'message' }>

/** A message that the session `mqtt:s` waits for. */
export const message = (id: number, bytes = 2): MessageRecord => ({
  type: 'message',
  id,
  message: { topic: 'a/b', payload: new Uint8Array(bytes).fill(id), qos: 1, retain: false, from: 'mqtt:p' },
  deliveries: [{ key: 'mqtt:s', qos: 1, retain: false }],
})
export const messages = (from: number, to: number): MessageRecord[] =>
  Array.from({ length: to - from }, (_, i) => message(from + i))

export const done = (id: number): StoreRecord => ({ type: 'done', key: 'mqtt:s', id })

export const SESSION: StoreRecord = {
  type: 'session',
  key: 'mqtt:s',
  expirySeconds: 60,
  will: null,
  owner: { username: undefined, listener: 'l', verified: false },
}

export const subscribe = (filter: string): StoreRecord => ({
  type: 'subscribe',
  key: 'mqtt:s',
  filter,
  options: { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
})

/** Stores in one new directory, in the thread of the test. `end` closes those that are open and removes the directory. */
export class Stores {
  readonly dir = join(mkdtempSync(join(tmpdir(), 'roost-store-')), 'data.d')
  /** What the stores have reported. */
  readonly durable: Lsn[] = []
  readonly news: StoreNews[] = []
  /** Reasons of failures, and `recovered`. */
  readonly failures: string[] = []
  #open: SqliteStore[] = []
  #connections: Connection[] = []

  get path(): string {
    return join(this.dir, DATABASE_FILE)
  }

  async open(options: Partial<SqliteStoreOptions> = {}): Promise<SqliteStore> {
    const store = await SqliteStore.open(
      this.dir,
      {
        onDurable: (upTo) => void this.durable.push(upTo),
        onFailed: (reason) => void this.failures.push(reason),
        onRecovered: () => void this.failures.push('recovered'),
        onNews: (news) => void this.news.push(news),
        ...options,
      },
      startHere,
    )
    this.#open.push(store)
    return store
  }

  async close(store: SqliteStore): Promise<void> {
    this.#open = this.#open.filter((each) => each !== store)
    await store.close()
  }

  /** Opens and closes the store, so that its log is folded. */
  async reopen(options: Partial<SqliteStoreOptions> = {}): Promise<void> {
    await this.close(await this.open(options))
  }

  /** What a new process reads. */
  async replayed(): Promise<StoreRecord[]> {
    const store = await this.open()
    const records = [...store.replay()]
    await this.close(store)
    return records
  }

  /** Another connection, as another program opens one. It is closed at the end at the latest. */
  connect(path = this.path): Connection {
    const connection = openDatabase(path)
    this.#connections.push(connection)
    return connection
  }

  /** What another program reads, or does. */
  query(sql: string, ...values: Value[]): Row[] {
    const connection = openDatabase(this.path)
    try {
      if (sql.startsWith('SELECT')) return connection.prepare(sql).all(...values)
      connection.prepare(sql).run(...values)
      return []
    } finally {
      connection.close()
    }
  }

  /** Rows in the log, and rows in all other tables but `meta`. */
  get counts(): { log: number; rows: number } {
    const tables = ['messages', 'queue', 'sessions', 'retained', 'sensors']
    const count = (table: string): string => `(SELECT count(*) FROM ${table})`
    const [found] = this.query(`SELECT ${count('log')} AS log, ${tables.map(count).join(' + ')} AS rows`)
    return { log: Number(found!.log), rows: Number(found!.rows) }
  }

  /** Leaves a store as a process does that dies: each list of records is a commit in the log. `action` runs in one more transaction. */
  leave(commits: readonly (readonly StoreRecord[])[], action: (database: Database) => void = () => {}): void {
    mkdirSync(this.dir, { mode: 0o700, recursive: true })
    Database.create(this.path, 'test')
    const database = new Database(this.path, false)
    try {
      database.own(GONE, 'test')
      for (const [i, records] of commits.entries()) database.transaction(() => database.putCommit(i + 1, rowOf(records)), false)
      database.transaction(() => action(database), false)
    } finally {
      database.close()
    }
  }

  /** Makes a store that this process has not closed cleanly that of a process that is gone. */
  orphan(): void {
    const database = new Database(this.path, false)
    try {
      database.own(GONE, 'test')
    } finally {
      database.close()
    }
  }

  async end(): Promise<void> {
    for (const connection of this.#connections) connection.close()
    for (const store of this.#open) await store.close()
    rmSync(join(this.dir, '..'), { recursive: true })
  }
}

/** Appends a record, and waits until it is durable. */
export async function commit(store: SqliteStore, record: StoreRecord): Promise<void> {
  const lsn = store.append(record)
  expect(lsn).not.toBe('full')
  await vi.waitUntil(() => store.durable >= (lsn as Lsn), { interval: 0, timeout: 10_000 })
}

/** Appends messages, each in a commit of its own. */
export async function commitEach(store: SqliteStore, from: number, to: number): Promise<void> {
  for (const each of messages(from, to)) await commit(store, each)
}
