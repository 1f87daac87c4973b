import { spawnSync } from 'node:child_process'
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
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Random } from '../../fuzz/sim/random.ts'
import { SqliteStore, startHere } from '../../src/store/io/sqlite-store.ts'
import type { StoreRecord } from '../../src/store/store.ts'
import { roost } from './roost-command.ts'
import { sqlite3 } from './sqlite-shell.ts'
import { NumberedPublisher, type ServedStore, StoreSite, topicOf } from './store-site.ts'

/** Rounds of copies, half of them with each kind of traffic, and copies of each order in a round. FULL=1: 210 copies. */
const [ROUNDS, EACH] = process.env.FULL === '1' ? [10, 3] : [2, 2]
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31)
/** Small, so that the log is folded every 3 MiB. */
const MAX_BYTES = 24 * 2 ** 20
const FLAGS = ['--max-data-bytes', `${MAX_BYTES}`, '--max-queued-messages', '100000', '--durability', 'process']
const PAYLOAD_BYTES = 2000
/** Messages for which copying pauses between two files, at most: the WAL begins again about every 100. */
const PAUSE_MAX = 200

/** A queue that grows, or retained messages that replace one another, so that there are as many rows later as before. */
type Kind = 'growing' | 'replacing'

vi.setConfig({ testTimeout: 60_000 })

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

const RETAIN_EACH = { growing: 5, replacing: 1 }

const range = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)

/** Checks that this is the state after the first `n` messages, and returns `n`. */
function expectPrefix(kind: Kind, { queues, retained, subscribed }: Held): number {
  const [away, reader] = [queues['mqtt:away']!, queues['mqtt:reader']!]
  const n = kind === 'growing' ? away.length : Math.max(...retained.values())
  expect([...subscribed].sort()).toEqual(kind === 'growing' ? ['mqtt:away', 'mqtt:reader'] : ['mqtt:reader'])
  expect(away).toEqual(kind === 'growing' ? range(1, n) : [])
  // It receives all the time, so that its queue is short, or empty.
  if (reader.length > 0) expect(reader).toEqual(range(reader[0]!, n))
  const published = range(1, n).filter((number) => number % RETAIN_EACH[kind] === 0)
  const expected = new Map(published.map((number) => [topicOf(number), number]))
  expect([...retained].sort()).toEqual([...expected].sort())
  return n
}

/** Opens a copy in this process; returns what it holds, or why it is refused. */
async function open(dir: string): Promise<Held | string> {
  const listener = { onDurable: () => {}, onFailed: () => {}, onRecovered: () => {} }
  let store: SqliteStore
  try {
    store = await SqliteStore.open(dir, { ...listener, maxBytes: MAX_BYTES, durability: 'process' }, startHere)
  } catch (error) {
    return (error as Error).message
  }
  try {
    return heldBy(store.replay())
  } finally {
    await store.close()
  }
}

/** A process with a session that receives everything, one that is away if the queue is to grow, and a publisher that does not stop. */
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

  static async start(kind: Kind): Promise<Traffic> {
    const roost = await site.start(...FLAGS)
    if (kind === 'growing') await site.subscribeAway(roost, 'away')
    const reader = await site.connect(roost, 'reader')
    await reader.client.subscribeAsync('t/#', { qos: 1 })
    const publisher = new NumberedPublisher(await site.connect(roost, 'publisher'), PAYLOAD_BYTES, RETAIN_EACH[kind])
    const traffic = new Traffic(roost, publisher)
    await publisher.acknowledgedMore(300)
    return traffic
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }
}

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

/** What must not change where an open is refused. SQLite makes an empty WAL where there is none. */
function hashesOf(dir: string): string[] {
  const paths = ['roost.db', 'roost.db-wal'].map((name) => join(dir, name))
  const contents = paths.map((path) => (existsSync(path) ? readFileSync(path) : ''))
  return contents.map((bytes) => createHash('sha1').update(bytes).digest('hex'))
}

interface Copy {
  readonly dir: string
  readonly order: string
  /** How many messages were published before the copy was complete. */
  readonly published: number
}

async function copiesOf(kind: Kind, traffic: Traffic, random: Random): Promise<Copy[]> {
  const { publisher } = traffic
  const copies: Copy[] = []
  for (const [order, copy] of Object.entries(ORDERS)) {
    for (let i = 0; i < EACH; i++) {
      const dir = join(site.root, `${kind}, ${order}, ${i}`)
      await copy(site.dir, dir, () => publisher.acknowledgedMore(random.between(0, PAUSE_MAX)))
      copies.push({ dir, order, published: publisher.count })
      await publisher.acknowledgedMore(random.between(0, 20))
    }
  }
  return copies
}

describe('copies of a store in use', () => {
  test(`made with cp are whole as of some commit, or refused (SEED=${SEED})`, { timeout: ROUNDS * 60_000 }, async () => {
    const random = new Random(SEED)
    const counts = new Map(Object.keys(ORDERS).map((order) => [order, { whole: 0, refused: 0 }]))
    for (let round = 0; round < ROUNDS; round++) {
      const kind = round % 2 === 0 ? 'growing' : 'replacing'
      const traffic = await Traffic.start(kind)
      const copies = await copiesOf(kind, traffic, random)
      await traffic.stop()
      // The process still runs: it has its own directory open, and none of the copies.
      const started = { whole: false, refused: false }
      for (const copy of copies) {
        const outcome = await judge(kind, copy, started)
        counts.get(copy.order)![outcome]++
        started[outcome] = true
        rmSync(copy.dir, { recursive: true })
      }
      expect(traffic.roost.storeLines).toEqual([])
      await traffic.roost.stop('SIGKILL')
      rmSync(site.dir, { recursive: true })
    }
    for (const [order, { whole, refused }] of counts)
      process.stdout.write(`copies, ${order}: ${whole} whole, ${refused} refused\n`)
  })

  /** Opens a copy in this process; the first of each outcome also as a user does. */
  async function judge(kind: Kind, { dir, order, published }: Copy, started: Record<'whole' | 'refused', boolean>) {
    const before = hashesOf(dir)
    const held = await open(dir)
    if (typeof held !== 'string') {
      expect(expectPrefix(kind, held), order).toBeLessThanOrEqual(published)
      if (!started.whole) expect(await (await site.startIn(dir, ...FLAGS)).stop()).toBe(0)
      return 'whole'
    }
    expect(held, order).toMatch(refusal(dir))
    if (!started.refused) expect(await site.refused(dir)).toBe(`${held} (--data-dir)`)
    expect(hashesOf(dir), `${order}: ${held}`).toEqual(before)
    return 'refused'
  }

  test.each(['.backup', 'VACUUM INTO', 'roost backup'])('made with %s are whole', async (command) => {
    // Each start of the command takes so long that a queue would reach its limit.
    const kind = command === 'roost backup' ? 'replacing' : 'growing'
    const traffic = await Traffic.start(kind)
    const { publisher } = traffic
    const copies: (Copy & { acknowledged: number })[] = []
    for (let i = 0; i < 5; i++) {
      const dir = join(site.root, `copy-${i}`)
      const acknowledged = publisher.acknowledged.size
      if (command === 'roost backup') {
        const done = await roost('backup', dir, '--data-dir', site.dir)
        expect(done.err).toBe('')
        expect(done.out).toMatch(/^backed up \S+ to \S+: \d+ rows? and \d+ commits?, \d+ KiB\n$/)
      } else {
        mkdirSync(dir)
        await sqlite3(join(site.dir, 'roost.db'), `${command} '${join(dir, 'roost.db')}'`)
      }
      copies.push({ dir, order: command, acknowledged, published: publisher.count })
    }
    await traffic.stop()
    for (const { dir, acknowledged, published } of copies) {
      const held = await open(dir)
      expect(held).not.toBeTypeOf('string')
      const n = expectPrefix(kind, held as Held)
      expect(n).toBeGreaterThanOrEqual(acknowledged)
      expect(n).toBeLessThanOrEqual(published)
    }
    if (command === 'roost backup') expect(await (await site.startIn(copies[0]!.dir, ...FLAGS)).stop()).toBe(0)
    expect(traffic.roost.storeLines).toEqual([])
  })
})
