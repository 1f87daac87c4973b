import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { catchUp, getAhead, newAhead, RowsAhead } from '../../../src/store/io/ahead.ts'
import { checkStore } from '../../../src/store/io/check.ts'
import { Database } from '../../../src/store/io/database.ts'
import type { Reply } from '../../../src/store/io/protocol.ts'
import { SqliteStore, startHere } from '../../../src/store/io/sqlite-store.ts'
import { serveStore } from '../../../src/store/io/thread.ts'
import { sessionKey } from '../../../src/store/rows.ts'
import type { StoreRecord } from '../../../src/store/store.ts'
import { commit, done, message, messages, SESSION, Stores, subscribe } from './stores.ts'

let stores: Stores
beforeEach(() => {
  stores = new Stores()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await stores.end()
})

/** A store with rows and without a log, closed cleanly. */
async function prepare(): Promise<StoreRecord[]> {
  stores.leave([[SESSION, subscribe('a/filter')], ...messages(1, 4).map((each) => [each])])
  return stores.replayed()
}

/** The same, of a process that was killed: its WAL is there. `before` runs before that process starts. */
async function prepareWal(before = (): void => {}): Promise<void> {
  await prepare()
  before()
  const store = await stores.open()
  for (let id = 4; id < 10; id++) await commit(store, message(id))
  for (let id = 1; id < 10; id++) await commit(store, done(id))
  const copies = ['', '-wal'].map((suffix) => {
    // By a process of its own: a file that this process closes takes SQLite's locks along.
    execFileSync('cp', [stores.path + suffix, join(stores.dir, `copy${suffix}`)])
    return suffix
  })
  await stores.close(store)
  for (const suffix of copies) writeFileSync(stores.path + suffix, readFileSync(join(stores.dir, `copy${suffix}`)))
}

/** Of the database and its WAL, if that is not empty: a reader leaves an empty one. */
const contents = (): string[] =>
  [stores.path, `${stores.path}-wal`]
    .filter((path) => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0)
    .map((path) => `${path} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`)

const OPTIONS = { durability: 'fsync', maxBytes: 2 ** 24, foldBytes: 2 ** 20, writtenBy: 'test' } as const
const LISTENER = { onDurable: () => {}, onFailed: (reason: string) => expect.unreachable(reason), onRecovered: () => {} }

/** What the store's thread says until it has opened the store, or refused it. */
async function replies(): Promise<Reply[]> {
  const { port1, port2 } = new MessageChannel()
  const found: Reply[] = []
  port2.on('message', (reply: Reply) => found.push(reply))
  serveStore(port1, { dir: stores.dir, ...OPTIONS })
  await vi.waitUntil(() => found.some(({ kind }) => kind === 'opened' || kind === 'refused'), { interval: 0 })
  // News of the room on the disk may come next.
  const start = found.slice(0, 1 + found.findIndex(({ kind }) => kind !== 'readable'))
  if (start.at(-1)!.kind === 'opened') {
    port2.postMessage({ kind: 'close' })
    await vi.waitUntil(() => found.some(({ kind }) => kind === 'closed'), { interval: 0 })
  } else port2.close()
  return start
}
const kinds = async (): Promise<string[]> => (await replies()).map(({ kind }) => kind)

/** Runs `action` before the next call of a method: the first step of the inspection, the second, or the end of it. */
function justBefore(method: 'structureProblems' | 'verify' | 'own', action: () => void): void {
  const original = Database.prototype[method] as (...parameters: unknown[]) => unknown
  vi.spyOn(Database.prototype, method).mockImplementationOnce(function (this: Database, ...parameters: unknown[]): never {
    action()
    return original.apply(this, parameters) as never
  })
}

describe('the thread says that the store can be read', () => {
  it('before it is inspected, where the rows are all there is', async () => {
    await prepare()
    const said = await replies()
    expect(said.map(({ kind }) => kind)).toEqual(['readable', 'opened'])
    expect(said[0]).toEqual({ kind: 'readable', lsn: 4 })
    expect(said[1]).toMatchObject({ lsn: 4 })
  })

  it('of a new one', async () => {
    expect(await kinds()).toEqual(['readable', 'opened'])
  })

  it('not where there is something to fold', async () => {
    stores.leave([[SESSION], [message(1)]])
    expect(await kinds()).toEqual(['opened'])
    expect(await kinds()).toEqual(['readable', 'opened'])
  })

  it('not while somebody else has it open, nor of a store of another format', async () => {
    await prepare()
    const store = await stores.open()
    expect(await kinds()).toEqual(['refused'])
    await stores.close(store)
    stores.query('PRAGMA user_version = 9')
    expect(await kinds()).toEqual(['refused'])
  })

  it('once, where the disk is full and the reserve has to go first', async () => {
    await prepare()
    const full = Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
    vi.spyOn(Database.prototype, 'own').mockImplementationOnce(() => {
      throw full
    })
    expect(await kinds()).toEqual(['readable', 'opened'])
    rmSync(join(stores.dir, 'roost.reserve'))
    vi.spyOn(Database.prototype, 'own').mockImplementation(() => {
      throw full
    })
    const earlier = contents()
    expect(await replies()).toEqual([
      { kind: 'readable', lsn: 4 },
      { kind: 'refused', reason: 'no space left on device (SQLITE_FULL)' },
    ])
    expect(contents()).toEqual(earlier)
  })
})

describe('while a store is inspected', () => {
  it('nothing is written', async () => {
    await prepare()
    const earlier = contents()
    let later: string[] = []
    justBefore('own', () => {
      later = contents()
    })
    expect(await kinds()).toEqual(['readable', 'opened'])
    expect(later).toEqual(earlier)
    expect(contents()).not.toEqual(earlier)
  })

  describe.each(['structureProblems', 'verify', 'own'] as const)('up to %s', (method) => {
    it.each([
      ['DELETE FROM queue WHERE message = 2', '6 rows are there, and 7 should be'],
      ["UPDATE sessions SET records = x'00'", 'row sessions mqtt:s: checksum does not match'],
    ])('what another process writes is noticed: %s', async (sql, problem) => {
      await prepare()
      justBefore(method, () => stores.query(sql))
      const reason = expect.stringMatching(`^(another process has written to it: )?${problem}\\. Nothing was changed; see`)
      expect(await replies()).toEqual([
        { kind: 'readable', lsn: 4 },
        { kind: 'refused', reason },
      ])
    })

    it('another process that opens it is noticed', async () => {
      await prepare()
      justBefore(method, () => stores.orphan())
      expect(await replies()).toEqual([
        { kind: 'readable', lsn: 4 },
        { kind: 'refused', reason: 'another process opened it at the same time' },
      ])
    })
  })

  it.each(['PRAGMA wal_checkpoint(TRUNCATE)', 'ANALYZE', 'VACUUM'])('%s of another process does no harm', async (sql) => {
    await prepareWal()
    justBefore('own', () => stores.connect().exec(sql))
    expect(await kinds()).toContain('opened')
  })

  it.runIf(process.platform === 'linux')('and read, the locks stay that keep other processes from deleting the WAL', async () => {
    await prepare()
    justBefore('structureProblems', () => stores.connect().exec('SELECT count(*) FROM sessions'))
    const store = await stores.open()
    const file = `:${statSync(stores.path).ino} `
    const locks = readFileSync('/proc/locks', 'utf8').split('\n')
    expect(locks.filter((line) => line.includes(` ${process.pid} `) && line.includes(file))).toHaveLength(1)
    await commit(store, message(10))
  })
})

describe('a store that was said to be readable, and is refused', () => {
  const DAMAGE: Readonly<Record<string, readonly [sql: string, reason: string]>> = {
    'a row': ["UPDATE queue SET records = x'00'", 'row queue mqtt:s 1: checksum does not match'],
    'the last row': ["UPDATE sessions SET records = x''", 'row sessions mqtt:s: checksum does not match'],
    'a missing row': ['DELETE FROM queue WHERE message = 2', '6 rows are there, and 7 should be'],
    'a row too many': ["INSERT INTO sensors VALUES ('x', '', 0, x'')", 'row sensors x: checksum does not match'],
    'the digest': ['', 'its rows are not of one moment: some are older or newer than others'],
  }

  it.each(Object.keys(DAMAGE))(
    'for %s: the reason is the same, however far it was read, and nothing has changed',
    async (what) => {
      await prepare()
      const [sql, reason] = DAMAGE[what]!
      if (sql === '') {
        const [older] = stores.query('SELECT checksum, records FROM sessions')
        const store = await stores.open()
        await commit(store, subscribe('another/filter'))
        await stores.close(store)
        stores.query('UPDATE sessions SET checksum = ?, records = ?', older!.checksum!, older!.records!)
      } else stores.query(sql)
      const line = `store ${stores.dir}: ${reason}. Nothing was changed; see roost store check ${stores.dir}, and roost store recover ${stores.dir} NEW`
      const earlier = contents()
      expect(await kinds()).toEqual(['readable', 'refused'])
      const store = await SqliteStore.openToRead(stores.dir, LISTENER, startHere)
      try {
        // Whether it can be read to its end depends on what is damaged.
        expect([...store.replay()].length).toBeLessThan(20)
      } catch (error) {
        expect((error as Error).message).toBe(`store ${stores.dir}: ${reason}; see roost store check ${stores.dir}`)
      }
      await expect(store.opened).rejects.toThrow(line)
      await store.close()
      await expect(stores.open()).rejects.toThrow(line)
      expect(contents()).toEqual(earlier)
    },
  )

  it('is refused without a word before, where the WAL is damaged', async () => {
    await prepareWal()
    const wal = readFileSync(`${stores.path}-wal`)
    wal[32 + 24 + 100]! ^= 1
    writeFileSync(`${stores.path}-wal`, wal)
    const earlier = contents()
    for (let i = 0; i < 2; i++) {
      expect(await replies()).toEqual([
        { kind: 'refused', reason: expect.stringMatching(/^roost\.db-wal: frame 1 is damaged, .*\. Nothing was changed; see/) },
      ])
    }
    expect(contents()).toEqual(earlier)
  })
})

describe('a copy of the database that is older than its WAL, and shorter', () => {
  const FREE_BYTES = 2 ** 21
  /** All that it lacks is free pages. */
  const prepareShort = async (missing: number): Promise<void> => {
    await prepareWal(() => {
      // The list of free pages is on the first that became free, which has to be there.
      const long = `CREATE TABLE long AS SELECT zeroblob(${FREE_BYTES})`
      for (const sql of ['CREATE TABLE first (x)', long, 'DROP TABLE first', 'DROP TABLE long']) stores.query(sql)
    })
    truncateSync(stores.path, statSync(stores.path).size - missing)
  }

  it('is refused where SQLite would not copy the WAL into it, and nothing has changed', async () => {
    await prepareShort(FREE_BYTES)
    const earlier = contents()
    for (let i = 0; i < 2; i++) {
      const reason = expect.stringMatching(/^roost\.db: it has \d+ of \d+ bytes\. Nothing was changed; see roost store check/)
      expect(await replies()).toEqual([{ kind: 'refused', reason }])
    }
    expect(contents()).toEqual(earlier)
    // A copy has no owner, of whose WAL nothing could be said.
    execFileSync('cp', ['-r', stores.dir, `${stores.dir}-copy`])
    const problems: string[] = []
    checkStore(`${stores.dir}-copy`, (problem) => problems.push(problem))
    expect(problems).toEqual([expect.stringMatching(/^roost\.db: it has \d+ of \d+ bytes$/)])
  })

  it('is opened otherwise', async () => {
    await prepareShort(65536)
    expect(await kinds()).toContain('opened')
    expect(statSync(stores.path).size).toBeGreaterThan(FREE_BYTES)
  })
})

describe('damage that is found after a process has begun to write', () => {
  it('is not said to have left all as it was', async () => {
    await prepareWal()
    vi.spyOn(Database.prototype, 'putFolded').mockImplementationOnce(() => {
      throw Object.assign(new Error('malformed'), { code: 'SQLITE_CORRUPT' })
    })
    const reason = `the database file is damaged (SQLITE_CORRUPT); see roost store check ${stores.dir}, and roost store recover ${stores.dir} NEW`
    expect((await replies()).at(-1)).toEqual({ kind: 'refused', reason })
  })
})

describe('SqliteStore.openToRead', () => {
  /** A store whose thread says what the test says. */
  function openWith(first: Reply): { say(reply: Reply): void; requests: unknown[]; store: Promise<SqliteStore> } {
    const { port1, port2 } = new MessageChannel()
    const requests: unknown[] = []
    port1.on('message', (request) => requests.push(request))
    const store = SqliteStore.openToRead(stores.dir, { ...LISTENER, onNews: (news) => stores.news.push(news) }, () => port2)
    port1.postMessage(first)
    return { say: (reply) => port1.postMessage(reply), requests, store }
  }
  const turns = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  it('lets the rows be read before the store is open, and nothing be appended', async () => {
    const rows = await prepare()
    const { say, requests, store: opening } = openWith({ kind: 'readable', lsn: 4 })
    const store = await opening
    expect([[...store.replay()], store.durable]).toEqual([rows, 4])
    expect(() => store.append(message(9))).toThrow('nothing is appended to a store that has not been found sound')
    let isOpen = false
    void store.opened.then(() => {
      isOpen = true
    })
    await turns()
    expect([isOpen, requests]).toEqual([false, []])
    say({ kind: 'opened', lsn: 4, usedBytes: 0, isTight: true })
    await store.opened
    expect([store.append(message(9)), store.append(done(1))]).toEqual(['full', 5])
    await turns()
    expect(requests).toMatchObject([{ kind: 'make-room' }, { kind: 'commit', commits: [{ lsn: 5 }] }])
  })

  it('gets the rows from the thread, of any length', async () => {
    const long = Array.from({ length: 700 }, (_, i) => message(i + 1, i % 100 === 7 ? 10_000 : i % 50))
    stores.leave([[SESSION, subscribe('a/filter')], ...long.map((each) => [each])])
    await stores.reopen()
    const expected = await stores.replayed()
    const store = await SqliteStore.openToRead(stores.dir, { ...LISTENER, passesOn: true }, startHere)
    const found: StoreRecord[] = []
    let parts = 0
    for await (const part of store.replayAlong()) {
      parts++
      found.push(...part)
    }
    await store.opened
    await store.close()
    expect(found).toEqual(expected)
    expect(found.length).toBeGreaterThan(1400)
    // Three pages of messages, three of the queue, and one session: those of the messages have long rows.
    expect(parts).toBe(7)
  })

  it('reads the rows itself where the thread has to fold first', async () => {
    const expected = await prepare()
    const store = await stores.open()
    await commit(store, message(50))
    await stores.close(store)
    const again = await SqliteStore.openToRead(stores.dir, { ...LISTENER, passesOn: true }, startHere)
    const found: StoreRecord[] = []
    for await (const part of again.replayAlong()) found.push(...part)
    await again.close()
    expect(found.length).toBe(expected.length + 2)
  })

  it('does not keep the thread waiting where nobody reads on', async () => {
    const ahead = newAhead()
    const rows = new RowsAhead(ahead)
    const pass = (bytes: number): void => {
      getAhead(ahead, bytes)
      rows.push('sessions', new Uint8Array(bytes))
    }
    pass(2 ** 23 - 1)
    pass(1)
    rows.drop()
    // It would wait, in this thread, for ever.
    pass(2 ** 24)
    pass(2 ** 24)
    expect(ahead[0]).toBe(0)
  })

  it('lets the thread be 8 MiB ahead, whatever the length of the next value', () => {
    const ahead = newAhead()
    const waited: number[] = []
    const wait = vi.spyOn(Atomics, 'wait').mockImplementation((_, __, now) => {
      waited.push(Number(now))
      catchUp(ahead, 2 ** 21)
      return 'ok'
    })
    for (let i = 0; i < 10; i++) getAhead(ahead, 2 ** 20 - 1)
    expect(waited).toEqual([8 * 2 ** 20 - 8, 6 * 2 ** 20 - 8])
    getAhead(ahead, 2 ** 24)
    expect(wait).toHaveBeenCalledTimes(3)
    expect(ahead[0]).toBeLessThanOrEqual(2 ** 22 + 2 ** 24)
  })

  it.each([true, false])('names the store whose rows are sound, and no records; passed on: %s', async (passesOn) => {
    stores.leave([], (database) => database.putRow(sessionKey('mqtt:s'), Uint8Array.of(255)))
    const store = await SqliteStore.openToRead(stores.dir, { ...LISTENER, passesOn }, startHere)
    const line = `store ${stores.dir}: row sessions mqtt:s: `
    const read = async (): Promise<void> => {
      for await (const part of store.replayAlong()) expect([...part]).toEqual([])
    }
    await expect(read()).rejects.toThrow(new RegExp(`^${line}[^:]+; see roost store check ${stores.dir}$`))
    await store.close()
  })

  it('has no more rows once the thread has refused the store', async () => {
    await prepare()
    stores.query("UPDATE queue SET records = x'00' WHERE message = 3")
    const store = await SqliteStore.openToRead(stores.dir, { ...LISTENER, passesOn: true }, startHere)
    let parts = 0
    for await (const _ of store.replayAlong()) parts++
    expect(parts).toBe(1)
    await expect(store.opened).rejects.toThrow('row queue mqtt:s 3: checksum does not match')
    await store.close()
  })

  it('is over where the thread refuses the store, or fails', async () => {
    const reason = 'row sessions mqtt:s: checksum does not match'
    const late = openWith({ kind: 'readable', lsn: 4 })
    const store = await late.store
    late.say({ kind: 'refused', reason })
    await expect(store.opened).rejects.toThrow(`store ${stores.dir}: ${reason}`)
    await store.close()
    expect(late.requests).toEqual([])
    await expect(openWith({ kind: 'refused', reason }).store).rejects.toThrow(`store ${stores.dir}: ${reason}`)
  })

  it('has news only of a store that is open', async () => {
    stores.leave([[SESSION]])
    vi.spyOn(Database.prototype, 'putFolded').mockImplementation(() => {
      throw Object.assign(new Error('full'), { code: 'SQLITE_FULL' })
    })
    await expect(stores.open()).rejects.toThrow('no space left on device (SQLITE_FULL)')
    expect(stores.news).toEqual([])
  })
})
