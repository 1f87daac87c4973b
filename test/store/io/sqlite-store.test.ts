import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Database } from '../../../src/store/io/database.ts'
import type { StoreNews } from '../../../src/store/io/protocol.ts'
import { SqliteStore } from '../../../src/store/io/sqlite-store.ts'
import { messageKey, queueKey, rowOf, sessionKey } from '../../../src/store/rows.ts'
import type { StoreRecord } from '../../../src/store/store.ts'
import { commit, commitEach, done, message, messages, SESSION, Stores, subscribe } from './stores.ts'

let stores: Stores
beforeEach(() => {
  stores = new Stores()
})
afterEach(() => stores.end())

const delivery = (id: number): StoreRecord => ({ type: 'delivery', id, delivery: message(id).deliveries[0]! })
/** What the rows say of messages: all of them, and then the queue of their session. */
const rows = (from: number, to: number): StoreRecord[] => [
  ...messages(from, to).map((each) => ({ ...each, deliveries: [] })),
  ...messages(from, to).map(({ id }) => delivery(id)),
]

describe('SqliteStore', () => {
  it('returns after a restart what was appended, in order, and continues with the next Lsn', async () => {
    const first = await stores.open()
    expect([first.durable, [...first.replay()]]).toEqual([0, []])
    await commitEach(first, 1, 301)
    await stores.close(first)
    expect(stores.durable).toEqual(Array.from({ length: 300 }, (_, i) => i + 1))
    const second = await stores.open()
    expect(second.durable).toBe(300)
    expect([...second.replay()]).toEqual(rows(1, 301))
    expect(second.append(message(301))).toBe(301)
    await stores.close(second)
    expect(await stores.replayed()).toEqual(rows(1, 302))
  })

  it('writes a checkpoint when asked: the log is folded, and the WAL copied; with nothing to write as well', async () => {
    const store = await stores.open()
    await commitEach(store, 1, 301)
    expect(stores.counts.log).toBeGreaterThan(0)
    const before = readFileSync(stores.path).length
    await Promise.all([store.checkpoint(), store.checkpoint()])
    expect(stores.counts.log).toBe(0)
    expect(readFileSync(stores.path).length).toBeGreaterThan(before)
    await store.checkpoint()
    await commitEach(store, 301, 302)
    await stores.close(store)
    expect(await stores.replayed()).toEqual(rows(1, 302))
  })

  it('commits 100 appends of one turn at once', async () => {
    const store = await stores.open()
    for (const each of messages(1, 101)) expect(store.append(each)).toBe(1)
    await vi.waitUntil(() => store.durable === 1)
    expect(stores.counts.log).toBe(1)
    await stores.close(store)
    expect(stores.durable).toEqual([1])
    expect(await stores.replayed()).toEqual(rows(1, 101))
  })

  it('has committed before it says so', async () => {
    const seen: unknown[] = []
    const store = await stores.open({ onDurable: () => seen.push(...stores.query('SELECT lsn FROM log')) })
    await commitEach(store, 1, 2)
    expect(seen).toEqual([{ lsn: 1 }])
  })

  it('keeps commits of many megabytes', async () => {
    const store = await stores.open()
    const sizes = [3_000_000, 10, 5_000_000]
    for (const [i, size] of sizes.entries()) store.append(message(i + 1, size))
    await stores.close(store)
    const payloads = (await stores.replayed()).flatMap((each) => (each.type === 'message' ? [each.message.payload] : []))
    expect(payloads.map((payload) => payload.length)).toEqual(sizes)
    expect(payloads.map((payload, i) => payload.every((byte) => byte === i + 1))).toEqual([true, true, true])
  })

  it("returns 'full' at the bound of what is not durable yet", async () => {
    const store = await stores.open({ maxBufferedBytes: 1000 })
    expect(store.append(message(1, 900))).toBe(1)
    expect(store.append(message(2, 900))).toBe('full')
    await stores.close(store)
    expect(await stores.replayed()).toHaveLength(2)
  })

  it('refuses a second opener in one line that names the directory and the process', async () => {
    const store = await stores.open()
    await expect(stores.open()).rejects.toThrow(new RegExp(`^store ${stores.dir}: process ${process.pid} uses it$`))
    await commit(store, message(1))
    await stores.close(store)
    expect(await stores.replayed()).toHaveLength(2)
  })

  it('is for its user only', async () => {
    const umask = process.umask(0)
    try {
      await commit(await stores.open(), message(1))
    } finally {
      process.umask(umask)
    }
    const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)
    expect(mode(stores.dir)).toBe('700')
    const files = readdirSync(stores.dir)
    expect(files.sort()).toEqual(['roost.db', 'roost.db-shm', 'roost.db-wal', 'roost.lock', 'roost.reserve'])
    for (const name of files) expect([name, mode(join(stores.dir, name))]).toEqual([name, '600'])
  })

  it('takes up what a process that died has left in the log', async () => {
    stores.leave([[SESSION, message(1)], [message(2)], [done(1)]])
    const store = await stores.open()
    expect(store.durable).toBe(3)
    expect([...store.replay()]).toEqual([{ ...message(2), deliveries: [] }, delivery(2), SESSION])
    expect(stores.counts).toEqual({ log: 0, rows: 3 })
    expect(store.append(message(3))).toBe(4)
  })

  it('says in meta who has it open, how often it was opened, and by which program', async () => {
    await stores.reopen()
    const store = await stores.open({ writtenBy: 'roost 1.2.3' })
    const meta = 'SELECT owner_pid AS pid, epoch, written_by AS by FROM meta'
    expect(stores.query(meta)).toEqual([{ pid: process.pid, epoch: 2, by: 'roost 1.2.3' }])
    await stores.close(store)
    expect(stores.query(meta)).toEqual([{ pid: null, epoch: 2, by: 'roost 1.2.3' }])
  })
})

describe('folding', () => {
  const SMALL = { foldBytes: 2000 }

  it('keeps the log short, and loses nothing', async () => {
    const store = await stores.open(SMALL)
    await commitEach(store, 1, 500)
    await vi.waitUntil(() => stores.counts.log < 100)
    await stores.close(store)
    expect(stores.counts).toEqual({ log: 0, rows: 998 })
    const again = await stores.open(SMALL)
    expect([...again.replay()]).toEqual(rows(1, 500))
    expect(again.append(message(500))).toBe(500)
  })

  it('leaves no row of what came and went', async () => {
    const store = await stores.open(SMALL)
    for (let id = 1; id < 300; id++) {
      store.append(message(id))
      await commit(store, message(1000 + id))
      store.append(done(id))
      store.append(done(1000 + id))
    }
    await stores.close(store)
    expect(stores.counts).toEqual({ log: 0, rows: 0 })
  })

  it('empties the rows of a session that ended, payloads included', async () => {
    const store = await stores.open(SMALL)
    await commitEach(store, 1, 300)
    store.append({ type: 'session-end', key: 'mqtt:s' })
    await stores.close(store)
    expect(stores.counts).toEqual({ log: 0, rows: 0 })
    expect(await stores.replayed()).toEqual([])
  })

  it('keeps one payload for all sessions that wait for it', async () => {
    const store = await stores.open(SMALL)
    const keys = Array.from({ length: 50 }, (_, i) => `mqtt:s${i}`)
    store.append({ ...message(1, 3000), deliveries: keys.map((key) => ({ key, qos: 1, retain: false })) })
    await stores.close(store)
    expect(stores.counts).toEqual({ log: 0, rows: 51 })
    const again = await stores.open(SMALL)
    expect([...again.replay()].filter(({ type }) => type === 'delivery')).toHaveLength(50)
    for (const key of keys) again.append({ type: 'done', key, id: 1 })
    await commitEach(again, 2, 3)
    await stores.close(again)
    expect((await stores.replayed()).map(({ type }) => type)).toEqual(['message', 'delivery'])
  })

  const LAST: StoreRecord = { type: 'sent', key: 'mqtt:s', id: 0, packetId: 1 }
  const CUTS: Readonly<Record<string, (database: Database) => void>> = {
    'before its first transaction': () => {},
    'after the first of two transactions of a stretch that went up to the second commit': (database) => {
      database.putRow(messageKey(1), rowOf([{ ...message(1), deliveries: [] }]))
      database.putRow(queueKey('mqtt:s', 1), rowOf([delivery(1)]))
    },
    'before the log was cut': (database) => {
      database.putRow(sessionKey('mqtt:s'), rowOf([SESSION, LAST]))
      database.putFolded(4)
    },
  }

  it.each(Object.keys(CUTS))('that a crash cut short brings nothing back that ended later: %s', async (when) => {
    const log: StoreRecord[] = [SESSION, message(1), { type: 'sent', key: 'mqtt:s', id: 1, packetId: 1 }, done(1)]
    stores.leave(
      log.map((each) => [each]),
      CUTS[when],
    )
    expect(await stores.replayed()).toEqual([SESSION, LAST])
    expect(stores.counts).toEqual({ log: 0, rows: 1 })
  })

  it('deletes payloads that no session waits for, which a crash left behind', async () => {
    stores.leave([[message(1)]], (database) => database.putRow(messageKey(9), rowOf([{ ...message(9), deliveries: [] }])))
    await stores.reopen()
    expect(await stores.replayed()).toEqual(rows(1, 2))
  })
})

describe('maxBytes', () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  /** Appends messages until there is no room for them, and returns the number of the one that found none. */
  async function fill(store: SqliteStore): Promise<number> {
    let id = 1
    while (store.append(message(id, 3000)) !== 'full') {
      id++
      await turn()
    }
    return id
  }

  it("'full' ends when what was there has gone and nothing else happens", async () => {
    const store = await stores.open({ maxBytes: 1_000_000 })
    const id = await fill(store)
    expect(id).toBeGreaterThan(50)
    for (let gone = 1; gone < id; gone++) expect(store.append(done(gone))).not.toBe('full')
    await vi.waitUntil(() => store.append(message(id, 10)) !== 'full', { timeout: 10_000 })
  })

  it("'full' ends when a reader has gone that kept the WAL from being reset", { timeout: 30_000 }, async () => {
    const maxBytes = 4 * 2 ** 20
    const store = await stores.open({ maxBytes })
    await commitEach(store, 1, 2)
    const reader = stores.connect()
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM log').get()
    for (let id = 2; statSync(`${stores.path}-wal`).size < maxBytes; id++) await commit(store, done(id))
    expect(store.append(message(1, 10))).toBe('full')
    await vi.waitUntil(() => stores.counts.log === 0)
    reader.exec('COMMIT')
    await vi.waitUntil(() => store.append(message(1, 10)) !== 'full', { timeout: 10_000 })
  })

  it('a store that is full from the start takes in nothing that grows it', async () => {
    const store = await stores.open()
    for (const each of messages(1, 200)) store.append({ ...each, message: { ...each.message, payload: new Uint8Array(10_000) } })
    await stores.close(store)
    const again = await stores.open({ maxBytes: 1_000_000 })
    expect(again.append(message(200))).toBe('full')
    expect(again.append(done(1))).toBe(again.durable + 1)
    // What clears a retained topic deletes a row; with a receipt or a delivery it makes others.
    const { message: kept } = message(200)
    const cleared = { ...message(201), message: { ...kept, payload: new Uint8Array() }, deliveries: [], retains: true } as const
    expect(again.append(cleared)).toBe(again.durable + 1)
    expect(again.append({ ...cleared, receipt: { key: 'mqtt:c', packetId: 1 } })).toBe('full')
    expect(again.append({ ...cleared, deliveries: message(1).deliveries })).toBe('full')
  })
})

describe('a store that is refused', () => {
  /** What the store is, apart from an empty WAL, which a reader leaves as well. */
  const contents = (): string[] =>
    ['roost.db', 'roost.db-wal']
      .map((name) => join(stores.dir, name))
      .filter((path) => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0)
      .map((path) => `${path} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`)

  /** Twice with the same answer, since the directory is unlocked again, and with every byte as it was. */
  async function expectRefusal(reason: string): Promise<void> {
    const before = contents()
    for (let i = 0; i < 2; i++) {
      await expect(stores.open()).rejects.toThrow(
        `store ${stores.dir}: ${reason}. Nothing was changed; see roost store check ${stores.dir}, and roost store recover ${stores.dir} NEW`,
      )
    }
    expect(contents()).toEqual(before)
  }

  /** Changes one bit of a value in the file itself, which holds `text` once. */
  function flipBit(text: string): void {
    const bytes = readFileSync(stores.path)
    const at = bytes.indexOf(text)
    expect([at > 0, bytes.indexOf(text, at + 1)]).toEqual([true, -1])
    bytes[at]! ^= 1
    writeFileSync(stores.path, bytes)
  }

  beforeEach(() => {
    const session = rowOf([SESSION, subscribe('a/filter')])
    stores.leave([[message(1)], [subscribe('another/filter')], [message(3)]], (database) =>
      database.putRow(sessionKey('mqtt:s'), session),
    )
  })

  it('opens as long as it is not changed', async () => {
    expect(await stores.replayed()).toHaveLength(7)
  })

  it('of a format that is not known is refused without a word about damage', async () => {
    stores.query('PRAGMA user_version = 9')
    await expect(stores.open()).rejects.toThrow(
      new RegExp(`^store ${stores.dir}: format version 9 is not known to this version of Roost, which knows 5$`),
    )
  })

  it.each([
    ['no meta', 'DELETE FROM meta', 'meta is empty'],
    ['another meta', 'UPDATE meta SET lsn = 2', 'meta: checksum does not match'],
    ['no table meta', 'DROP TABLE meta', 'table meta is not as it should be'],
    ['a missing commit', 'DELETE FROM log WHERE lsn = 2', '3 rows are there, and 4 should be'],
    ['a missing last commit', 'DELETE FROM log WHERE lsn = 3', '3 rows are there, and 4 should be'],
    ['an empty commit', "UPDATE log SET records = x'' WHERE lsn = 2", 'commit 2: checksum does not match'],
    ['a commit of another number', 'UPDATE log SET lsn = 4 WHERE lsn = 3', 'commit 4: checksum does not match'],
    ['a missing row', 'DELETE FROM sessions', '3 rows are there, and 4 should be'],
    ['a row of another name', "UPDATE sessions SET name = 'mqtt:t'", 'row sessions mqtt:t: checksum does not match'],
    ['a row more', "INSERT INTO retained VALUES ('t', 0, x'00')", 'row retained t: checksum does not match'],
  ])('has %s', async (_what, sql, reason) => {
    stores.query(sql)
    await expectRefusal(reason)
  })

  it.each([
    ['the log', 'another/filter', 'commit 2: checksum does not match'],
    ['a row', 'a/filter', 'row sessions mqtt:s: checksum does not match'],
  ])('has a flipped bit in %s', async (_where, text, reason) => {
    flipBit(text)
    await expectRefusal(reason)
  })

  it('has a row as it was earlier, with its checksum', async () => {
    const [before] = stores.query('SELECT checksum, records FROM sessions')
    await stores.reopen()
    expect(stores.query('SELECT checksum FROM sessions')).not.toEqual([{ checksum: before!.checksum }])
    stores.query('UPDATE sessions SET checksum = ?, records = ?', before!.checksum!, before!.records!)
    await expectRefusal('its rows are not of one moment: some are older or newer than others')
  })

  it('is no database', async () => {
    writeFileSync(stores.path, 'Nothing that SQLite has written, and longer than the header of a database. '.repeat(10))
    await expectRefusal('the file is not a database (SQLITE_NOTADB)')
  })

  it('is the database of another program', async () => {
    rmSync(stores.path)
    stores.query('CREATE TABLE theirs (id INTEGER)')
    await expectRefusal(`${stores.path} is not a store of Roost`)
  })

  it.each(['roost.reserve', 'roost.db-wal'])('has no database, and %s is there', async (rest) => {
    await stores.reopen()
    rmSync(stores.path)
    writeFileSync(join(stores.dir, rest), 'x')
    const found = rest === 'roost.reserve' ? rest : 'roost.(reserve|db-wal)'
    await expect(stores.open()).rejects.toThrow(
      new RegExp(`^store ${stores.dir}: roost.db is missing, and ${found} is there. Nothing was changed; see roost store check`),
    )
    expect(readdirSync(stores.dir)).not.toContain('roost.db')
  })

  it('is cut short', async () => {
    truncateSync(stores.path, 2 * 4096)
    await expect(stores.open()).rejects.toThrow(/Nothing was changed; see roost store check/)
    expect(statSync(stores.path).size).toBe(2 * 4096)
  })
})

it('refuses a store of lmdb by name', async () => {
  mkdirSync(stores.dir)
  writeFileSync(join(stores.dir, 'data.mdb'), '')
  await expect(stores.open()).rejects.toThrow(
    `store ${stores.dir}: data.mdb is a store of an older version (lmdb), which this version cannot read: move it away`,
  )
  expect(readdirSync(stores.dir)).toEqual(['data.mdb'])
})

describe('damage while it is open', () => {
  const NEVER = { retryMs: 3_600_000 }

  it('a row that another program has deleted: nothing more is acknowledged, and the next start refuses', async () => {
    stores.leave([[SESSION]])
    const store = await stores.open(NEVER)
    stores.query('DELETE FROM sessions')
    store.append(message(1))
    await vi.waitUntil(() => stores.failures.length > 0)
    const reason = 'another process has written to it: 0 rows are there, and 1 should be'
    expect([stores.failures, stores.news, store.durable]).toEqual([[reason], [{ kind: 'damaged', reason }], 1])
    expect(store.append(message(2))).toBe('full')
    await expect(stores.close(store)).rejects.toThrow(`store ${stores.dir}: closed with commit 2 not stored: ${reason}`)
    stores.orphan()
    await expect(stores.open()).rejects.toThrow('0 rows are there, and 1 should be. Nothing was changed')
  })

  it('a row that the disk has changed: folding finds it, nothing more is acknowledged, and the next start refuses', async () => {
    stores.leave([[SESSION, subscribe('changed/filter')]])
    await stores.reopen()
    const store = await stores.open({ ...NEVER, foldBytes: 1000 })
    const bytes = readFileSync(stores.path)
    // In the row, and in what is left of the log in free pages.
    for (let at = bytes.indexOf('changed/filter'); at >= 0; at = bytes.indexOf('changed/filter')) bytes[at]! ^= 1
    writeFileSync(stores.path, bytes)
    store.append(subscribe('x'.repeat(2000)))
    const damage = 'row sessions mqtt:s: checksum does not match'
    const reason = `another process has written to it: ${damage}`
    await vi.waitUntil(() => stores.news.length > 0)
    expect([stores.news, store.durable]).toEqual([[{ kind: 'damaged', reason }], 1])
    await expect(stores.close(store)).rejects.toThrow(`closed with commit 2 not stored: ${reason}`)
    stores.orphan()
    await expect(stores.open()).rejects.toThrow(`${damage}. Nothing was changed`)
  })
})

it('takes nothing in once its thread has found damage, whether a commit has met it or not', async () => {
  const { port1: thread, port2 } = new MessageChannel()
  thread.postMessage({ kind: 'opened', lsn: 0, usedBytes: 0, isTight: false })
  const news: StoreNews[] = []
  const listener = {
    onDurable: () => {},
    onFailed: () => {},
    onRecovered: () => {},
    onNews: (each: StoreNews) => void news.push(each),
  }
  const store = await SqliteStore.open(stores.dir, listener, () => port2)
  expect(store.append(message(1))).toBe(1)
  thread.postMessage({ kind: 'news', news: { kind: 'damaged', reason: 'a row is missing' } })
  await vi.waitUntil(() => news.length > 0)
  expect(store.append(message(2))).toBe('full')
  thread.close()
})
