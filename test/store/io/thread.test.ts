import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Database } from '../../../src/store/io/database.ts'
import type { Reply, Request } from '../../../src/store/io/protocol.ts'
import { serveStore } from '../../../src/store/io/thread.ts'
import { rowOf } from '../../../src/store/rows.ts'
import { commit, done, message, SESSION, Stores } from './stores.ts'

let stores: Stores
beforeEach(() => {
  stores = new Stores()
})
afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  await stores.end()
})

/** The event loop's end of a store's thread, which runs here. */
class Thread {
  readonly #port: MessagePort
  readonly #replies: Reply[] = []

  constructor(dir: string) {
    const { port1, port2 } = new MessageChannel()
    this.#port = port2
    port2.on('message', (reply: Reply) => this.#replies.push(reply))
    serveStore(port1, { dir, durability: 'fsync', maxBytes: 2 ** 24, foldBytes: 2 ** 20, writtenBy: 'test' })
  }

  send(...requests: readonly Request[]): void {
    for (const request of requests) {
      const buffers = request.kind === 'commit' ? request.commits.map(({ bytes }) => bytes.buffer as ArrayBuffer) : []
      this.#port.postMessage(request, buffers)
    }
  }

  /** The next reply of this kind. Those before it are dropped. */
  async next<K extends Reply['kind']>(kind: K): Promise<Extract<Reply, { kind: K }>> {
    const found = await vi.waitUntil(() => this.#replies.find((reply) => reply.kind === kind), { interval: 0, timeout: 10_000 })
    this.#replies.splice(0, this.#replies.indexOf(found) + 1)
    return found as Extract<Reply, { kind: K }>
  }

  async close(): Promise<void> {
    this.send({ kind: 'close' })
    await this.next('closed')
  }
}

const commitOf = (lsn: number): Request => ({
  kind: 'commit',
  commits: [{ lsn, bytes: Uint8Array.from(rowOf([message(lsn)])) }],
})

describe('serveStore', () => {
  it('answers each commit when it is durable, and returns its bytes', async () => {
    const thread = new Thread(stores.dir)
    expect(await thread.next('opened')).toMatchObject({ lsn: 0, isTight: false })
    thread.send(commitOf(1))
    const { commits, error } = await thread.next('answer')
    expect([error, commits]).toEqual([undefined, [{ lsn: 1, bytes: Uint8Array.from(rowOf([message(1)])) }]])
    expect(stores.query('SELECT lsn FROM log')).toEqual([{ lsn: 1 }])
    await thread.close()
    const again = new Thread(stores.dir)
    expect(await again.next('opened')).toMatchObject({ lsn: 1 })
    await again.close()
  })

  it('is refused where another has the directory', async () => {
    const thread = new Thread(stores.dir)
    await thread.next('opened')
    expect(await new Thread(stores.dir).next('refused')).toEqual({
      kind: 'refused',
      reason: `process ${process.pid} uses it`,
    })
    thread.send(commitOf(1))
    expect((await thread.next('answer')).error).toBeUndefined()
    await thread.close()
  })

  it('folds the log when nothing has happened for ten seconds', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
    const store = await stores.open()
    await commit(store, SESSION)
    vi.advanceTimersByTime(5000)
    await commit(store, message(1))
    const turns = async (): Promise<void> => {
      for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
    }
    await turns()
    vi.advanceTimersByTime(4999)
    await turns()
    expect(stores.counts).toEqual({ log: 2, rows: 0 })
    vi.advanceTimersByTime(1)
    await vi.waitUntil(() => stores.counts.log === 0, { interval: 0 })
    expect(stores.counts).toEqual({ log: 0, rows: 3 })
  })
})

describe("another process's write lock", () => {
  it('keeps commits waiting, with a warning after a second that says since when, and news of its end', {
    timeout: 20_000,
  }, async () => {
    const store = await stores.open()
    await commit(store, message(1))
    const other = stores.connect()
    other.exec('BEGIN IMMEDIATE')
    const before = Date.now()
    expect(store.append(message(2))).toBe(2)
    await vi.waitUntil(() => stores.news.length > 0, { timeout: 10_000 })
    const [, since] = /^another process has locked it \(SQLITE_BUSY\) since (\S+); nothing is acknowledged meanwhile$/.exec(
      stores.news[0]!.reason,
    )!
    expect(Date.parse(since!)).toBeGreaterThanOrEqual(before)
    expect(Date.now() - Date.parse(since!)).toBeGreaterThanOrEqual(1000)
    expect([stores.news[0]!.kind, stores.durable]).toEqual(['blocked', [1]])
    other.exec('COMMIT')
    await vi.waitUntil(() => store.durable === 2, { timeout: 10_000 })
    expect(stores.news.slice(1)).toEqual([{ kind: 'recovered', reason: 'commits go through again' }])
    expect(stores.failures).toEqual([])
  })

  it('keeps commits waiting that come while there is other work, too', { timeout: 20_000 }, async () => {
    const thread = new Thread(stores.dir)
    await thread.next('opened')
    const other = stores.connect()
    other.exec('BEGIN IMMEDIATE')
    thread.send({ kind: 'make-room' }, commitOf(1))
    expect((await thread.next('news')).news.kind).toBe('blocked')
    other.exec('COMMIT')
    expect((await thread.next('answer')).error).toBeUndefined()
    await thread.close()
  })

  it('lets the store be closed, which says what was not stored', { timeout: 20_000 }, async () => {
    const store = await stores.open()
    const other = stores.connect()
    other.exec('BEGIN IMMEDIATE')
    store.append(message(1))
    await vi.waitUntil(() => stores.news.length > 0, { timeout: 10_000 })
    const began = Date.now()
    await expect(stores.close(store)).rejects.toThrow(
      `store ${stores.dir}: closed with commit 1 not stored: another process has locked it (SQLITE_BUSY)`,
    )
    expect(Date.now() - began).toBeLessThan(10_000)
    expect(stores.durable).toEqual([])
    other.exec('COMMIT')
  })
})

describe("another process's snapshot", () => {
  it('that keeps the WAL from being reset is worth one warning from 64 MiB on, and news of its end', async () => {
    // Each page of the WAL counts as 10,000, so that two of them are more than 64 MiB.
    const { checkpoint } = Database.prototype
    const spy = vi.spyOn(Database.prototype, 'checkpoint').mockImplementation(function (this: Database, mode) {
      const { pages, copied } = checkpoint.call(this, mode)
      return { pages: 10_000 * pages, copied: 10_000 * copied }
    })
    const store = await stores.open({ maxBytes: 2 ** 20 })
    await commit(store, message(1))
    const checkpoints = async (count: number): Promise<void> => {
      const until = spy.mock.calls.length + count
      while (spy.mock.calls.length < until) await commit(store, done(2))
      // What the thread has to say about the last one arrives before another answer.
      await commit(store, done(2))
    }
    await checkpoints(3)
    expect(stores.news).toEqual([])
    const reader = stores.connect()
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM log').get()
    const before = new Date().toISOString()
    await checkpoints(3)
    const [news] = stores.news
    const [, since, size] =
      /^another process reads \/.*\/roost\.db since before (\S+), so that its WAL cannot be reset: (\d+) MiB, and growing$/.exec(
        news!.reason,
      )!
    expect([news!.kind, stores.news.length]).toEqual(['wal-held', 1])
    expect([before <= since!, Number(size) >= 64]).toEqual([true, true])
    reader.exec('COMMIT')
    // Nothing is written any more: the store looks by itself.
    await vi.waitUntil(() => stores.news.length > 1, { timeout: 10_000 })
    expect(stores.news.slice(1)).toEqual([{ kind: 'recovered', reason: 'the WAL can be reset again' }])
  })
})
