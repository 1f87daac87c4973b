import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import { LmdbStore, type LmdbStoreOptions } from '../../../src/base/io/lmdb-store.ts'
import { inspect, type Salvage } from '../../../src/base/io/salvage.ts'
import type { StoreRecord } from '../../../src/base/store.ts'

const PAGE = 4096
let base: string
let dir: string
/** A small store as a process left it that was killed: rows, and a log. */
let whole: Buffer
let wholeRecords: string[]
let known: Set<string>

const opened: LmdbStore[] = []
async function open(options: Partial<LmdbStoreOptions> = {}): Promise<LmdbStore> {
  const store = await LmdbStore.open(dir, {
    onDurable: () => {},
    onFailed: () => {},
    onRecovered: () => {},
    durability: 'process',
    ...options,
  })
  opened.push(store)
  return store
}
async function closeAll(): Promise<void> {
  for (const store of opened.splice(0)) await store.close()
}

const session = (i: number): StoreRecord[] => [
  {
    type: 'session',
    key: `mqtt:c${i}`,
    expirySeconds: 60,
    will: null,
    owner: { username: undefined, listener: 'l', verified: false },
  },
  {
    type: 'message',
    id: i,
    message: { topic: `t${i}`, payload: new Uint8Array(i % 10 === 0 ? 6000 : 40).fill(i), qos: 1, retain: true, from: 'mqtt:p' },
    deliveries: [{ key: `mqtt:c${i}`, qos: 1, retain: false }],
    retains: true,
  },
]

/** Payloads by their first byte and their length. */
const shortened = (_name: string, value: unknown): unknown =>
  value instanceof Uint8Array ? `${value[0]} x ${value.length}` : value

const lines = (store: LmdbStore): string[] => Array.from(store.replay(), (record) => JSON.stringify(record, shortened))

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'roost-salvage-'))
  dir = join(base, 'data')
  const store = await open({ checkpointBytes: 8000 })
  for (let i = 1; i <= 80; i++) {
    const lsns = session(i).map((record) => store.append(record))
    while (store.durable < Number(lsns.at(-1))) await new Promise(setImmediate)
  }
  await closeAll()
  whole = readFileSync(join(dir, 'data.mdb'))
  wholeRecords = lines(await open())
  known = new Set(wholeRecords)
  await closeAll()
})

beforeEach(async () => {
  for (const name of await readdir(base)) await rm(join(base, name), { recursive: true })
  await mkdir(dir)
})

afterAll(async () => {
  await rm(base, { recursive: true })
})

/** Opens a store whose file is this, and gives what was told of it and what it holds. */
async function openedWith(bytes: Uint8Array): Promise<{ salvage: Salvage | undefined; records: string[]; aside: string[] }> {
  writeFileSync(join(dir, 'data.mdb'), bytes)
  let salvage: Salvage | undefined
  const store = await open({
    onDamaged: (what) => {
      salvage = what
    },
  })
  const records = lines(store)
  expect(store.append(session(1000)[0]!)).toBe(store.durable + 1)
  await closeAll()
  return { salvage, records, aside: (await readdir(base)).filter((name) => name !== 'data') }
}

describe('a store whose file', () => {
  it('is whole is left alone', async () => {
    const { salvage, records, aside } = await openedWith(whole)
    expect([salvage, aside]).toEqual([undefined, []])
    expect(records).toEqual(wholeRecords)
    expect(inspect(join(dir, 'data.mdb'))).toBeUndefined()
  })

  it('was cut at any page is moved aside, and what is left of it is there', { timeout: 60_000 }, async () => {
    let most = 0
    for (let pages = 1; pages * PAGE < whole.length; pages++) {
      const { salvage, records, aside } = await openedWith(whole.subarray(0, pages * PAGE))
      // Pages at the end may be free.
      if (salvage === undefined) expect(records).toEqual(wholeRecords)
      else {
        expect(aside).toEqual([basename(salvage.movedTo)])
        expect(salvage.movedTo).toMatch(/\/data\.damaged-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d$/)
        expect(readFileSync(join(salvage.movedTo, 'data.mdb')).equals(whole.subarray(0, pages * PAGE))).toBe(true)
        expect(records.filter((record) => !known.has(record))).toEqual([])
      }
      expect(records.length).toBeGreaterThanOrEqual(most * 0.5)
      most = Math.max(most, records.length)
      for (const name of aside) await rm(join(base, name), { recursive: true })
    }
    expect(most).toBeGreaterThan(wholeRecords.length * 0.9)
  })

  it.each([[[0]], [[1]], [[0, 1]]])('has zeroes in its meta pages %j loses nothing', async (pages) => {
    const bytes = Buffer.from(whole)
    for (const page of pages) bytes.fill(0, page * PAGE, (page + 1) * PAGE)
    const { salvage, records } = await openedWith(bytes)
    expect(salvage?.damage).toBe(`page ${pages[0]}: it is no meta page`)
    expect(records).toEqual(wholeRecords)
  })

  it('has a page of nonsense loses what was on it and nothing else', { timeout: 60_000 }, async () => {
    const random = new Random(7)
    for (let page = 2; page * PAGE < whole.length; page++) {
      const bytes = Buffer.from(whole)
      for (let i = page * PAGE; i < (page + 1) * PAGE; i++) bytes[i] = random.between(0, 255)
      const { salvage, records, aside } = await openedWith(bytes)
      expect(records.filter((record) => !known.has(record))).toEqual([])
      if (salvage === undefined) expect(records).toEqual(wholeRecords)
      // A page holds about a hundred records at most: of small rows, or of the commits of the log.
      else expect(records.length).toBeGreaterThan(wholeRecords.length * 0.6)
      for (const name of aside) await rm(join(base, name), { recursive: true })
    }
  })

  it('has flipped bits anywhere never ends the process', { timeout: 60_000 }, async () => {
    const random = new Random(8)
    for (let run = 0; run < 60; run++) {
      const bytes = Buffer.from(whole)
      for (let i = 0; i < 5; i++) {
        const at = random.between(0, bytes.length - 1)
        bytes[at] = bytes[at]! ^ (1 << random.between(0, 7))
      }
      const { aside } = await openedWith(bytes)
      for (const name of aside) await rm(join(base, name), { recursive: true })
    }
  })

  it('is not there any more, because the process died while it put the new one in its place, begins with the new one', async () => {
    await mkdir(join(dir, 'salvaged'))
    writeFileSync(join(dir, 'salvaged', 'data.mdb'), whole)
    const store = await open()
    expect(lines(store)).toEqual(wholeRecords)
    await closeAll()
    expect(existsSync(join(dir, 'salvaged'))).toBe(false)
  })
})
