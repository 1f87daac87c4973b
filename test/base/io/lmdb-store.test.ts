import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/base/bytes.ts'
import { KEYS } from '../../../src/base/io/databases.ts'
import { withChecksum } from '../../../src/base/io/group-commit.ts'
import { LmdbStore, type LmdbStoreOptions } from '../../../src/base/io/lmdb-store.ts'
import { writeRecord } from '../../../src/base/records.ts'
import { rowOf } from '../../../src/base/rows.ts'
import type { Lsn, StoreRecord } from '../../../src/base/store.ts'

let dir: string
let opened: LmdbStore[]
let durable: Lsn[]
let onDurable: (upTo: Lsn) => void

beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), 'roost-store-')), 'data.d')
  opened = []
  durable = []
  onDurable = () => {}
})

afterEach(async () => {
  for (const store of opened) await store.close()
  await rm(join(dir, '..'), { recursive: true })
})

async function open(options: Partial<LmdbStoreOptions> = {}): Promise<LmdbStore> {
  const store = await LmdbStore.open(dir, {
    onDurable: (upTo) => {
      durable.push(upTo)
      onDurable(upTo)
    },
    onFailed: (error) => expect.unreachable(error),
    onRecovered: () => expect.unreachable(),
    ...options,
  })
  opened.push(store)
  return store
}

async function close(store: LmdbStore): Promise<void> {
  opened.splice(opened.indexOf(store), 1)
  await store.close()
}

const record = (id: number, bytes = 2): Extract<StoreRecord, { type: 'message' }> => ({
  type: 'message',
  id,
  message: { topic: 'a/b', payload: new Uint8Array(bytes).fill(id), qos: 1, retain: false, from: 'mqtt:p' },
  deliveries: [{ key: 'mqtt:s', qos: 1, retain: false }],
})
const records = (from: number, to: number): Extract<StoreRecord, { type: 'message' }>[] =>
  Array.from({ length: to - from }, (_, i) => record(from + i))

/** What the rows say of those: all messages, and then the queue of their session. */
const rows = (from: number, to: number): StoreRecord[] => [
  ...records(from, to).map((each) => ({ ...each, deliveries: [] }) as StoreRecord),
  ...records(from, to).map(
    ({ id }): StoreRecord => ({ type: 'delivery', id, delivery: { key: 'mqtt:s', qos: 1, retain: false } }),
  ),
]

/** Appends each in a commit of its own. */
async function commitEach(store: LmdbStore, from: number, to: number): Promise<void> {
  for (let id = from; id < to; id++) {
    const lsn = store.append(record(id))
    await new Promise<void>((resolve) => {
      onDurable = (upTo) => {
        if (upTo === lsn) resolve()
      }
    })
  }
}

/** What a version of Roost with format 2 or 3 left behind: a QoS 2 message for which PUBREC had come, its record without the message's id. */
async function writeFormat(format: number): Promise<void> {
  const commit = (...records: StoreRecord[]): Uint8Array => {
    const writer = new ByteWriter()
    for (const each of records) writeRecord(writer, each)
    return writer.toBytes()
  }
  const message: StoreRecord = { ...record(7), deliveries: [{ key: 'mqtt:s', qos: 2, retain: false }] }
  const owner = { username: undefined, listener: 'l', verified: false }
  const received = Buffer.concat([Buffer.from([9, 6]), Buffer.from('mqtt:s'), Buffer.from([0, 3])])
  const first = commit({ type: 'session', key: 'mqtt:s', expirySeconds: 60, will: null, owner }, message)
  const second = Buffer.concat([commit({ type: 'sent', key: 'mqtt:s', id: 7, packetId: 3 }), received])
  await mkdir(dir)
  await tamper(async (log, meta) => {
    await meta.put(Buffer.from('format'), Buffer.from([format]))
    await log.put(key(1), withChecksum(first))
    await log.put(key(2), withChecksum(second))
  })
}

const SUBSCRIPTION = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const

type Bytes = ReturnType<typeof database>

/** Changes the store behind its back, through lmdb itself. */
async function tamper(change: (log: Bytes, meta: Bytes, rows: Bytes) => unknown): Promise<void> {
  const root = openLmdb(dir, { noSubdir: false, overlappingSync: false, encoding: 'binary', keyEncoding: 'binary' } as never)
  await change(database(root, 'log'), database(root, 'meta'), database(root, 'rows'))
  await root.close()
}
const database = (root: ReturnType<typeof openLmdb>, name: string) =>
  root.openDB<Uint8Array, Uint8Array>(name, { encoding: 'binary', keyEncoding: 'binary' })
const key = (lsn: number): Uint8Array => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(lsn))
  return bytes
}

describe('LmdbStore', () => {
  it('gives back after a restart what was appended, in order, and goes on with the next Lsn', async () => {
    const first = await open()
    expect([first.durable, [...first.replay()]]).toEqual([0, []])
    // More than 255 commits, so that numeric order and the order of the last byte differ.
    await commitEach(first, 1, 301)
    await close(first)
    expect(durable).toEqual(Array.from({ length: 300 }, (_, i) => i + 1))
    const second = await open()
    expect(second.durable).toBe(300)
    expect([...second.replay()]).toEqual(rows(1, 301))
    expect(second.append(record(301))).toBe(301)
    await close(second)
    expect([...(await open()).replay()]).toEqual(rows(1, 302))
  })

  it('commits 100 appends of one turn at once', async () => {
    const store = await open()
    for (const each of records(1, 101)) expect(store.append(each)).toBe(1)
    await close(store)
    expect(durable).toEqual([1])
    await tamper((log) => expect(log.getCount()).toBe(1))
    expect([...(await open()).replay()]).toEqual(rows(1, 101))
  })

  it('has committed before it says so', async () => {
    const store = await open()
    await commitEach(store, 1, 2)
    await tamper((log) => expect(log.getCount()).toBe(1))
    expect(store.durable).toBe(1)
  })

  it('keeps commits of many megabytes', async () => {
    const store = await open({ mapBytes: 1024 * 1024 })
    const sizes = [3_000_000, 10, 5_000_000]
    for (const [id, size] of sizes.entries()) store.append(record(id + 1, size))
    await close(store)
    const payloads = [...(await open()).replay()].flatMap((each) => (each.type === 'message' ? [each.message.payload] : []))
    expect(payloads.map((payload) => payload.length)).toEqual(sizes)
    expect(payloads.map((payload) => Buffer.from(payload).every((byte) => byte === payloads.indexOf(payload) + 1))).toEqual([
      true,
      true,
      true,
    ])
  })

  it("gives 'full' at the bound", async () => {
    const store = await open({ maxBufferedBytes: 1000 })
    expect(store.append(record(1, 900))).toBe(1)
    expect(store.append(record(2, 900))).toBe('full')
    await close(store)
    expect([...(await open()).replay()]).toHaveLength(2)
  })

  it('refuses a second opener in one line that names the directory', async () => {
    await open()
    await expect(open()).rejects.toThrow(new RegExp(`^cannot lock ${dir}: another process uses it$`))
  })

  it('is for its user only', async () => {
    await open()
    const mode = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8)
    expect(await mode(dir)).toBe('700')
    const files = (await readdir(dir)).filter((name) => name.endsWith('.mdb'))
    expect(files.sort()).toEqual(['data.mdb', 'lock.mdb'])
    for (const name of files) expect(await mode(join(dir, name))).toBe('600')
  })

  it('refuses a format that it does not know, and leaves the directory unlocked', async () => {
    await close(await open())
    await tamper((_log, meta) => meta.put(Buffer.from('format'), Buffer.from([9])))
    for (let i = 0; i < 2; i++) {
      await expect(open()).rejects.toThrow(
        `store ${dir}: format version 9 is not known to this version of Roost, which knows 2, 3, 4`,
      )
    }
  })

  it('refuses a log without a format version', async () => {
    await close(await open())
    await tamper(async (log, meta) => {
      await log.put(key(1), withChecksum(Buffer.alloc(0)))
      await meta.remove(Buffer.from('format'))
    })
    await expect(open()).rejects.toThrow(`store ${dir}: it has a log but no format version`)
  })

  describe('checkpoints', () => {
    const SMALL = { checkpointBytes: 2000 }
    const done = (id: number): StoreRecord => ({ type: 'done', key: 'mqtt:s', id })

    /** All that is in the databases: numbers of log entries and rows. */
    async function counts(): Promise<{ log: number; rows: number }> {
      let counts = { log: 0, rows: 0 }
      await tamper((log, _meta, rows) => {
        counts = { log: log.getCount(), rows: rows.getCount() }
      })
      return counts
    }

    it('keep the log short, and lose nothing', async () => {
      const store = await open(SMALL)
      await commitEach(store, 1, 500)
      await close(store)
      expect((await counts()).log).toBeLessThan(100)
      const again = await open(SMALL)
      expect([...again.replay()]).toEqual(rows(1, 500))
      expect(again.append(record(500))).toBe(500)
    })

    it('leave no row of what came and went', async () => {
      const store = await open(SMALL)
      for (let id = 1; id < 300; id++) {
        store.append(record(id))
        await commitEach(store, 1000 + id, 1001 + id)
        store.append(done(id))
        store.append(done(1000 + id))
      }
      await close(store)
      await close(await open(SMALL))
      expect(await counts()).toEqual({ log: 0, rows: 0 })
    })

    it('empty the rows of a session that ended, payloads included', async () => {
      const store = await open(SMALL)
      await commitEach(store, 1, 300)
      store.append({ type: 'session-end', key: 'mqtt:s' })
      await close(store)
      const again = await open(SMALL)
      expect([...again.replay()]).toEqual([])
      await close(again)
      await close(await open(SMALL))
      expect(await counts()).toEqual({ log: 0, rows: 0 })
    })

    it("end what was 'full' at the byte bound, when what was there has gone and nothing else happens", {
      timeout: 20_000,
    }, async () => {
      const store = await open({ maxBytes: 400_000 })
      let id = 0
      const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))
      while (store.append(record(++id, 3000)) !== 'full') await pause()
      expect(id).toBeGreaterThan(50)
      for (let gone = 1; gone < id; gone++) expect(store.append(done(gone))).not.toBe('full')
      while (store.append(record(id, 10)) === 'full') await pause()
    })

    it('keep one payload for all who wait for it', async () => {
      const store = await open(SMALL)
      const keys = Array.from({ length: 50 }, (_, i) => `mqtt:s${i}`)
      store.append({ ...record(1, 3000), deliveries: keys.map((key) => ({ key, qos: 1, retain: false })) })
      await close(store)
      await close(await open(SMALL))
      expect(await counts()).toEqual({ log: 0, rows: 51 })
      const again = await open(SMALL)
      expect([...again.replay()].filter(({ type }) => type === 'delivery')).toHaveLength(50)
      for (const key of keys) again.append({ type: 'done', key, id: 1 })
      await commitEach(again, 2, 3)
      await close(again)
      const third = await open(SMALL)
      expect([...third.replay()].map(({ type }) => type)).toEqual(['message', 'delivery'])
    })
  })

  it.each([2, 3])('reads a store of format %i, which was a log and nothing else', async (format) => {
    await writeFormat(format)
    const store = await open()
    expect(store.durable).toBe(2)
    expect([...store.replay()]).toEqual([
      { type: 'message', id: 7, message: record(7).message, deliveries: [] },
      { type: 'delivery', id: 7, delivery: { key: 'mqtt:s', qos: 2, retain: false } },
      {
        type: 'session',
        key: 'mqtt:s',
        expirySeconds: 60,
        will: null,
        owner: { username: undefined, listener: 'l', verified: false },
      },
      { type: 'sent', key: 'mqtt:s', id: 7, packetId: 3 },
      { type: 'received', key: 'mqtt:s', id: 7, packetId: 3 },
      { type: 'sent', key: 'mqtt:s', id: 0, packetId: 3 },
    ])
    await tamper((_log, meta) => expect([...meta.get(Buffer.from('format'))!]).toEqual([4]))
  })

  describe('with a log that is damaged', () => {
    beforeEach(async () => {
      const store = await open()
      await commitEach(store, 1, 4)
      await close(store)
    })

    it.each([
      ['a flipped bit', (value: Uint8Array) => value.map((byte, i) => (i === 20 ? byte ^ 1 : byte))],
      ['an empty commit', () => new Uint8Array(0)],
    ])('moves it aside for %s, and keeps the rest', async (_what, change) => {
      await tamper((log) => log.put(key(2), change(log.get(key(2))!)))
      const damages: string[] = []
      const store = await open({ onDamaged: ({ damage }) => damages.push(damage) })
      expect(damages).toEqual(['the checksum of 0000000000000002 does not match'])
      expect([...store.replay()].flatMap((each) => (each.type === 'message' ? [each.id] : []))).toEqual([1, 3])
    })

    it.each([1, 2])('does not open if commit %i is missing', async (lsn) => {
      await tamper((log) => log.remove(key(lsn)))
      await expect(open()).rejects.toThrow(`store ${dir}: commit ${lsn}: missing`)
    })

    it('does not open over a key that is no Lsn', async () => {
      await tamper((log) => log.put(Buffer.alloc(7), Buffer.alloc(4)))
      await expect(open()).rejects.toThrow(`store ${dir}: log key of 7 bytes`)
    })
  })
})

describe('a checkpoint', () => {
  const session: StoreRecord = {
    type: 'session',
    key: 'mqtt:s',
    expirySeconds: 60,
    will: null,
    owner: { username: undefined, listener: 'l', verified: false },
  }

  it('that a crash cut short brings back nothing that was done after it, although the next start folds more at once', async () => {
    await close(await open())
    const commit = (each: StoreRecord): Uint8Array => withChecksum(rowOf([each]))
    const log = [session, record(1), { type: 'sent', key: 'mqtt:s', id: 1, packetId: 1 }, { type: 'done', key: 'mqtt:s', id: 1 }]
    await tamper(async (logged, _meta, rows) => {
      for (const [i, each] of log.entries()) await logged.put(key(i + 1), commit(each as StoreRecord))
      // The first of two transactions of a checkpoint that went up to the second commit.
      await rows.put(KEYS.payload(1), commit({ ...record(1), deliveries: [] }))
      await rows.put(KEYS.queued('mqtt:s', 1), commit({ type: 'delivery', id: 1, delivery: record(1).deliveries[0]! }))
    })
    expect([...(await open()).replay()]).toEqual([session, { type: 'sent', key: 'mqtt:s', id: 0, packetId: 1 }])
  })

  it('that fails on a row it cannot read keeps the log, also of what came before the next one', async () => {
    const failed: string[] = []
    const options = { checkpointBytes: 1000, onFailed: (error: string) => void failed.push(error) }
    const first = await open(options)
    first.append(session)
    await commitEach(first, 1, 2)
    await close(first)
    const second = await open(options)
    // Behind the back of the store that is open, as a disk does.
    await tamper((_log, _meta, rows) => rows.put(KEYS.session('mqtt:s'), Buffer.from('not what was written')))
    second.append({ type: 'subscribe', key: 'mqtt:s', filter: 'f', options: SUBSCRIPTION })
    await commitEach(second, 2, 102)
    expect(failed).toEqual([
      expect.stringMatching(/^checkpoint \d+: row .*: checksum does not match; no more until the next start$/),
    ])
    await close(second)
    await tamper(async (log) => {
      const kept = [...log.getKeys()].map((each) => Number(Buffer.from(each).readBigUInt64BE()))
      expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => i + kept[0]!))
      expect(kept.length).toBeGreaterThan(90)
    })
  })
})
