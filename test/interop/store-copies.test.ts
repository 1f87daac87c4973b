import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Random } from '../../fuzz/sim/random.ts'
import { SqliteStore, startHere } from '../../src/store/io/sqlite-store.ts'
import type { StoreRecord } from '../../src/store/store.ts'
import { isRetained, NumberedPublisher, type ServedStore, StoreSite, topicOf } from './store-site.ts'

/** In CI few; `npm run test:full` sets FULL. */
const [ROUNDS, EACH] = process.env.FULL === '1' ? [10, 3] : [1, 4]
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31)
/** Small, so that the log is folded and the WAL begins again several times a second. */
const MAX_BYTES = 24 * 2 ** 20
const FLAGS = ['--max-data-bytes', `${MAX_BYTES}`, '--max-queued-messages', '100000', '--durability', 'process']
const PAYLOAD_BYTES = 2000
/** Messages for which copying pauses between two files, at most: the WAL begins again about every 100. */
const PAUSE_MAX = 200

let site: StoreSite
beforeEach(() => {
  site = new StoreSite()
})
afterEach(() => site.end())

/** What a store holds, by numbers of messages. */
interface Held {
  readonly queues: Readonly<Record<string, number[]>>
  readonly retained: ReadonlyMap<string, number>
  readonly subscribed: readonly string[]
}

function heldBy(records: Iterable<StoreRecord>): Held {
  const numbers = new Map<number, number>()
  const queues: Record<string, number[]> = { 'mqtt:away': [], 'mqtt:reader': [] }
  const retained = new Map<string, number>()
  const subscribed: string[] = []
  for (const record of records) {
    if (record.type === 'message') {
      const number = Number.parseInt(Buffer.from(record.message.payload).toString(), 10)
      expect(record.message.topic).toBe(topicOf(number))
      expect(record.message.payload.length).toBe(`${number} `.length + PAYLOAD_BYTES)
      if (record.retains) retained.set(record.message.topic, number)
      else numbers.set(record.id, number)
    } else if (record.type === 'delivery') queues[record.delivery.key]!.push(numbers.get(record.id)!)
    else if (record.type === 'subscribe') subscribed.push(record.key)
  }
  return { queues, retained, subscribed }
}

/** Checks that this is the state after the first `n` messages, and returns `n`. */
function expectPrefix({ queues, retained, subscribed }: Held): number {
  const away = queues['mqtt:away']!
  const reader = queues['mqtt:reader']!
  const range = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)
  expect([...subscribed].sort()).toEqual(['mqtt:away', 'mqtt:reader'])
  expect(away).toEqual(range(1, away.length))
  if (reader.length > 0) expect(reader).toEqual(range(reader[0]!, away.length))
  const expected = new Map(
    range(1, away.length)
      .filter(isRetained)
      .map((number) => [topicOf(number), number]),
  )
  expect([...retained].sort()).toEqual([...expected].sort())
  return away.length
}

/** Opens a copy in this process; returns what it holds, or why it is refused. */
async function open(dir: string): Promise<Held | string> {
  const listener = { onDurable: () => {}, onFailed: () => {}, onRecovered: () => {} }
  let store: SqliteStore
  try {
    store = await SqliteStore.open(dir, { ...listener, maxBytes: MAX_BYTES }, startHere)
  } catch (error) {
    return (error as Error).message
  }
  try {
    return heldBy(store.replay())
  } finally {
    await store.close()
  }
}

/** A process with a session that is away, one that receives everything, and a publisher that does not stop. */
class Traffic {
  readonly roost: ServedStore
  readonly publisher: NumberedPublisher
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  private constructor(roost: ServedStore, publisher: NumberedPublisher) {
    this.roost = roost
    this.publisher = publisher
    this.#running = publisher.run(this.#stop.signal)
  }

  static async start(): Promise<Traffic> {
    const roost = await site.start(...FLAGS)
    await site.subscribeAway(roost, 'away')
    const reader = await site.connect(roost, 'reader')
    await reader.client.subscribeAsync('t/#', { qos: 1 })
    const traffic = new Traffic(roost, new NumberedPublisher(await site.connect(roost, 'publisher'), PAYLOAD_BYTES))
    await traffic.publisher.acknowledgedMore(300)
    return traffic
  }

  /** Ends the process by SIGKILL. */
  async kill(): Promise<void> {
    this.#stop.abort()
    await this.#running
    await this.roost.stop('SIGKILL')
  }
}

const sqlite3 = (dir: string, ...argv: string[]): Promise<unknown> =>
  promisify(execFile)('sqlite3', ['-bail', join(dir, 'roost.db'), ...argv], { timeout: 10_000 })

function cp(...argv: string[]): void {
  const { status, stderr } = spawnSync('cp', argv, { encoding: 'utf8' })
  // A file may be there when the copy begins and have gone when its turn comes.
  if (status !== 0) expect(stderr).toMatch(/No such file/)
}

type Pause = () => Promise<void>
type CopyOrder = (from: string, to: string, pause: Pause) => Promise<void>

const copyOf = (...names: string[]): CopyOrder => {
  return async (from, to, pause) => {
    mkdirSync(to)
    for (const [i, name] of names.entries()) {
      if (i > 0) await pause()
      const [source, target] = [join(from, name), join(to, name)]
      if (name === 'halves') await copyInHalves(join(from, 'roost.db'), join(to, 'roost.db'), pause)
      else if (existsSync(source)) cp(source, target)
    }
  }
}

/** Copies the database slowly: the WAL is copied into it meanwhile. */
async function copyInHalves(from: string, to: string, pause: Pause): Promise<void> {
  const [source, target] = [openSync(from, 'r'), openSync(to, 'w')]
  const { size } = fstatSync(source)
  const half = Buffer.alloc(Math.ceil(size / 2))
  for (const at of [0, half.length]) {
    const count = readSync(source, half, 0, half.length, at)
    writeSync(target, half, 0, count, at)
    if (at === 0) await pause()
  }
  ftruncateSync(target, size)
  closeSync(source)
  closeSync(target)
}

const ORDERS: Readonly<Record<string, CopyOrder>> = {
  'cp -r': async (from, to) => cp('-r', from, to),
  'database, WAL': copyOf('roost.db', 'roost.db-wal'),
  'WAL, database': copyOf('roost.db-wal', 'roost.db'),
  'database, shm, WAL': copyOf('roost.db', 'roost.db-shm', 'roost.db-wal'),
  'database only': copyOf('roost.db'),
  'database in halves, WAL': copyOf('halves', 'roost.db-wal'),
  'WAL, database in halves': copyOf('roost.db-wal', 'halves'),
}

const refusal = (dir: string): RegExp =>
  new RegExp(`^store ${dir}: .{1,200}\\. Nothing was changed; see roost store check ${dir}, and `)

/** What must not change where an open is refused. */
function hashesOf(dir: string): string[] {
  const files = ['roost.db', 'roost.db-wal'].map((name) => join(dir, name)).filter((path) => existsSync(path))
  return files.map((path) => createHash('sha1').update(readFileSync(path)).digest('hex'))
}

describe('copies of a store in use', () => {
  test(`made with cp are whole as of some commit, or refused (SEED=${SEED})`, { timeout: ROUNDS * 60_000 }, async () => {
    const random = new Random(SEED)
    const orders = Object.keys(ORDERS).flatMap((order) => Array.from({ length: EACH }, () => order))
    const counts = new Map(orders.map((order) => [order, { whole: 0, refused: 0 }]))
    const reasons = new Map<string, number>()
    for (let round = 0; round < ROUNDS; round++) {
      const traffic = await Traffic.start()
      const copies = orders.map((order, i) => ({ dir: join(site.root, `copy-${i}`), order, published: 0 }))
      for (const copy of copies) {
        await ORDERS[copy.order]!(site.dir, copy.dir, () => traffic.publisher.acknowledgedMore(random.between(0, PAUSE_MAX)))
        copy.published = traffic.publisher.count
        await traffic.publisher.acknowledgedMore(random.between(0, 20))
      }
      await traffic.kill()
      const started = { whole: false, refused: false }
      for (const { dir, order, published } of copies) {
        const before = hashesOf(dir)
        const held = await open(dir)
        const outcome = typeof held === 'string' ? 'refused' : 'whole'
        counts.get(order)![outcome]++
        if (typeof held === 'string') {
          expect(held, order).toMatch(refusal(dir))
          expect(hashesOf(dir), order).toEqual(before)
          const reason = held.replaceAll(/^.*?: |\. Nothing.*$/g, '').replaceAll(/\d+/g, 'N')
          reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
        } else expect(expectPrefix(held), order).toBeLessThanOrEqual(published)
        if (!started[outcome]) await expectStart(dir, held)
        started[outcome] = true
        rmSync(dir, { recursive: true })
      }
      rmSync(site.dir, { recursive: true })
    }
    for (const [order, { whole, refused }] of counts)
      process.stdout.write(`copies, ${order}: ${whole} whole, ${refused} refused\n`)
    for (const [reason, count] of reasons) process.stdout.write(`copies refused, ${count}: ${reason}\n`)
  })

  /** The same through the command line. */
  async function expectStart(dir: string, held: Held | string): Promise<void> {
    if (typeof held === 'string') expect(await site.refused(dir)).toBe(`${held} (--data-dir)`)
    else expect(await (await site.startIn(dir, ...FLAGS)).stop()).toBe(0)
  }

  test.each(['.backup', 'VACUUM INTO'])('made with %s are whole', async (command) => {
    const traffic = await Traffic.start()
    const copies = Array.from({ length: 5 }, (_, i) => ({ dir: join(site.root, `copy-${i}`), acknowledged: 0, published: 0 }))
    for (const copy of copies) {
      mkdirSync(copy.dir)
      copy.acknowledged = traffic.publisher.acknowledged.size
      const started = performance.now()
      await sqlite3(site.dir, `${command} '${copy.dir}/roost.db'`)
      copy.published = traffic.publisher.count
      process.stdout.write(
        `${command}: ${(performance.now() - started).toFixed(0)} ms, ${statSync(join(copy.dir, 'roost.db')).size} bytes, ${copy.published - copy.acknowledged} messages meanwhile\n`,
      )
    }
    await traffic.kill()
    for (const { dir, acknowledged, published } of copies) {
      const held = await open(dir)
      expect(held).not.toBeTypeOf('string')
      const number = expectPrefix(held as Held)
      expect(number).toBeGreaterThanOrEqual(acknowledged)
      expect(number).toBeLessThanOrEqual(published)
    }
  })
})
