import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LmdbStore, type LmdbStoreOptions } from '../../../src/base/io/lmdb-store.ts'
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

const record = (id: number, bytes = 2): StoreRecord => ({
  type: 'message',
  id,
  message: { topic: 'a/b', payload: new Uint8Array(bytes).fill(id), qos: 1, retain: false, from: 'mqtt:p' },
  deliveries: [{ key: 'mqtt:s', qos: 1, retain: false }],
})
const records = (from: number, to: number): StoreRecord[] => Array.from({ length: to - from }, (_, i) => record(from + i))

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

/** Changes the store behind its back, through lmdb itself. */
async function tamper(change: (log: ReturnType<typeof database>, meta: ReturnType<typeof database>) => unknown): Promise<void> {
  const root = openLmdb(dir, { noSubdir: false, overlappingSync: false, encoding: 'binary', keyEncoding: 'binary' } as never)
  await change(database(root, 'log'), database(root, 'meta'))
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
    await commitEach(first, 0, 300)
    await close(first)
    expect(durable).toEqual(Array.from({ length: 300 }, (_, i) => i + 1))
    const second = await open()
    expect(second.durable).toBe(300)
    expect([...second.replay()]).toEqual(records(0, 300))
    expect(second.append(record(300))).toBe(301)
    await close(second)
    expect([...(await open()).replay()]).toEqual(records(0, 301))
  })

  it('commits 100 appends of one turn at once', async () => {
    const store = await open()
    for (const each of records(0, 100)) expect(store.append(each)).toBe(1)
    await close(store)
    expect(durable).toEqual([1])
    await tamper((log) => expect(log.getCount()).toBe(1))
    expect([...(await open()).replay()]).toEqual(records(0, 100))
  })

  it('has committed before it says so', async () => {
    const store = await open()
    await commitEach(store, 0, 1)
    expect([store.durable, [...store.replay()]]).toEqual([1, [record(0)]])
  })

  it('keeps commits of many megabytes', async () => {
    const store = await open({ mapBytes: 1024 * 1024 })
    const sizes = [3_000_000, 10, 5_000_000]
    for (const [id, size] of sizes.entries()) store.append(record(id, size))
    await close(store)
    const payloads = [...(await open()).replay()].map((each) => (each.type === 'message' ? each.message.payload : each.type))
    expect(payloads.map((payload) => payload.length)).toEqual(sizes)
    expect(payloads.map((payload) => Buffer.from(payload).every((byte) => byte === payloads.indexOf(payload)))).toEqual([
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
    expect([...(await open()).replay()]).toEqual([record(1, 900)])
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
      await expect(open()).rejects.toThrow(`store ${dir}: format version 9 is not known to this version of Roost, which knows 3`)
    }
  })

  it('refuses a log without a format version', async () => {
    await close(await open())
    await tamper(async (log, meta) => {
      await log.put(key(1), Buffer.from([0]))
      await meta.remove(Buffer.from('format'))
    })
    await expect(open()).rejects.toThrow(`store ${dir}: it has a log but no format version`)
  })

  describe('replay', () => {
    beforeEach(async () => {
      const store = await open()
      await commitEach(store, 1, 4)
      await close(store)
    })

    async function replayUntilError(): Promise<{ read: StoreRecord[]; error: string }> {
      const read: StoreRecord[] = []
      try {
        for (const each of (await open()).replay()) read.push(each)
      } catch (error) {
        return { read, error: (error as Error).message }
      }
      return { read, error: '' }
    }

    it.each([
      ['a flipped bit', (value: Uint8Array) => value.map((byte, i) => (i === 20 ? byte ^ 1 : byte)), 'checksum does not match'],
      ['an empty commit', () => new Uint8Array(0), 'checksum runs beyond the end'],
    ])('stops at %s with the path and the Lsn', async (_what, change, error) => {
      await tamper((log) => log.put(key(2), change(log.get(key(2))!)))
      expect(await replayUntilError()).toEqual({ read: [record(1)], error: `store ${dir}: commit 2: ${error}` })
    })

    it('stops at a commit that is missing', async () => {
      await tamper((log) => log.remove(key(2)))
      expect(await replayUntilError()).toEqual({ read: [record(1)], error: `store ${dir}: commit 2: missing, 3 follows` })
    })

    it('stops when the first commit is missing', async () => {
      await tamper((log) => log.remove(key(1)))
      expect(await replayUntilError()).toEqual({ read: [], error: `store ${dir}: commit 1: missing, 2 follows` })
    })

    it('stops at a key that is no Lsn', async () => {
      await tamper((log) => log.put(Buffer.alloc(7), Buffer.alloc(4)))
      expect(await replayUntilError()).toEqual({ read: [], error: `store ${dir}: commit 1: log key of 7 bytes` })
    })
  })
})
