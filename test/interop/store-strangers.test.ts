import { cpSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { RawSensor } from './raw-sensor.ts'
import { SqliteShell, sqlite3 } from './sqlite-shell.ts'
import { expectMessages, NumberedPublisher, publishAll, type ServedStore, StoreSite } from './store-site.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

/** Messages that the session `away` waits for from the beginning. */
const PREPARED = 20

let prepared: StoreSite
let site: StoreSite
let roost: ServedStore
let publisher: NumberedPublisher
const WAL_HELD_BYTES = 64 * 2 ** 20
/** The WAL is kept below this size as long as no other process reads. */
const WAL_MAX_BYTES = 32 * 2 ** 20

/** Reason code of a refused publication. */
const QUOTA_EXCEEDED = 0x97

const database = (): string => join(site.dir, 'roost.db')

/** A store with rows in each table. */
beforeAll(async () => {
  prepared = new StoreSite()
  const first = await prepared.start()
  await prepared.subscribeAway(first, 'away')
  await publishAll(new NumberedPublisher(await prepared.connect(first, 'publisher')), PREPARED)
  // CONNECT of a sensor `s1`, and of a sensor `s2` that then sleeps for an hour.
  for (const datagrams of [['08 04 00 01 003c 7331'], ['08 04 00 01 003c 7332', '04 18 0e10']]) {
    const sensor = await RawSensor.open(first.snPort)
    prepared.onEnd(() => sensor.close())
    for (const datagram of datagrams) {
      sensor.sendHex(datagram)
      await sensor.next()
    }
  }
  expect(await first.stop()).toBe(0)
})
afterAll(() => prepared.end())

beforeEach(() => {
  site = new StoreSite()
})
afterEach(() => site.end())

async function start(bytes = 0, ...flags: string[]): Promise<void> {
  cpSync(prepared.dir, site.dir, { recursive: true })
  roost = await site.start(...flags)
  publisher = new NumberedPublisher(await site.connect(roost, 'publisher'), bytes)
  publisher.count = PREPARED
}

/** The session `away` receives what it waited for from the beginning, and all that was acknowledged since. */
const expectNothingLost = (): Promise<void> =>
  expectMessages(site, roost, [...Array.from({ length: PREPARED }, (_, i) => i + 1), ...publisher.acknowledged])

/** What an operator asks, as docs/store.md shows it, and the answers here. */
const QUESTIONS = [
  {
    title: 'Which process has the store open, and which version of Roost is it?',
    sql: 'SELECT owner_pid, written_by FROM meta',
    answer: () => [expect.stringMatching(`^${roost.child.pid}\\|roost \\d+\\.\\d+\\.\\d+$`)],
  },
  {
    title: 'For which sessions do most messages wait, and how many bytes?',
    sql:
      'SELECT session, count(*) AS waiting, sum(length(messages.records)) AS bytes ' +
      'FROM queue JOIN messages ON messages.id = queue.message GROUP BY session ORDER BY waiting DESC LIMIT 10',
    answer: () => [expect.stringMatching(`^mqtt:away\\|${PREPARED}\\|[1-9]\\d*$`)],
  },
  {
    title: 'Which topics have a retained message, and how large is it?',
    sql: 'SELECT topic, length(records) AS bytes FROM retained ORDER BY bytes DESC LIMIT 10',
    answer: () => expect.arrayContaining(['t/1', 't/3', 't/5', 't/6'].map((t) => expect.stringMatching(`^${t}\\|[1-9]\\d*$`))),
  },
  {
    title: 'Which sensors are there, and in which state?',
    sql: 'SELECT client_id, state FROM sensors ORDER BY client_id',
    answer: () => ['s1|active', 's2|asleep'],
  },
  {
    title: 'How far are the tables behind the log?',
    sql:
      'SELECT meta.lsn - folded AS commits, coalesce(sum(length(records)), 0) AS bytes ' +
      'FROM meta LEFT JOIN log ON log.lsn > folded',
    answer: () => [expect.stringMatching(/^[1-9]\d*\|[1-9]\d*$/)],
  },
]

describe('sqlite3', () => {
  test('answers the questions of docs/store.md while Roost works', async () => {
    await start()
    await publishAll(publisher, 20)
    for (const { title, sql, answer } of QUESTIONS) expect(await sqlite3('-readonly', database(), sql), title).toEqual(answer())
    expect(roost.storeLines).toEqual([])
    await expectNothingLost()
  })

  test('may checkpoint, vacuum, analyze, and change what is there for people only', async () => {
    await start()
    for (const sql of [
      'PRAGMA wal_checkpoint(PASSIVE)',
      'PRAGMA wal_checkpoint(TRUNCATE)',
      'VACUUM',
      'ANALYZE',
      "UPDATE sessions SET state = 'looked at'",
    ]) {
      await sqlite3('-cmd', '.timeout 5000', database(), sql)
      await publishAll(publisher, 20)
    }
    expect(roost.storeLines).toEqual([])
    await roost.stop('SIGKILL')
    roost = await site.start()
    await expectNothingLost()
  })

  test.each([
    ['DELETE FROM queue WHERE message = (SELECT max(message) FROM queue)', /: \d+ rows are there, and \d+ should be/],
    ["UPDATE retained SET records = zeroblob(10) WHERE topic = 't/1'", /: row retained t\/1: checksum does not match/],
  ])('is noticed at the next commit if it changes what is kept: %s', async (sql, reason) => {
    await start()
    const other = new NumberedPublisher(await site.connect(roost, 'other'))
    await publishAll(publisher, 20)
    // Folding may take its time.
    const isFolded = "SELECT count(*) > 0 FROM queue, retained WHERE retained.topic = 't/1'"
    await vi.waitUntil(async () => (await sqlite3('-readonly', database(), isFolded))[0] === '1', { timeout: 30_000 })
    await sqlite3('-cmd', '.timeout 5000', database(), sql)
    const { size } = publisher.acknowledged
    const answer = Promise.race([publisher.publish(), roost.ended])
    await roost.logged(/store-damaged/)
    expect(await other.publish()).toBe(QUOTA_EXCEEDED)
    expect(publisher.acknowledged.size).toBe(size)
    const line = `; nothing is written or acknowledged any more: stop Roost, and see roost store check ${site.dir}`
    const errors = roost.storeLines.filter((each) => each.endsWith(line))
    expect(errors).toEqual([expect.stringMatching(/^error store-damaged: another process has written to it/)])
    expect(errors[0]).toMatch(reason)
    expect(await roost.stop()).toBe(1)
    expect(await answer).not.toBe(0)
    expect(await site.refused()).toMatch(new RegExp(`^store ${site.dir}: .+\\. Nothing was changed; see roost store check`))
  })

  test('delays acknowledgements, and nothing else, while it keeps a write lock, with a warning that says since when', async () => {
    await start()
    const live = await site.connect(roost, 'live')
    await live.client.subscribeAsync('live', { qos: 0 })
    const shell = new SqliteShell(database())
    site.onEnd(() => shell.end())
    const before = new Date().toISOString()
    await shell.run('BEGIN IMMEDIATE;')
    const answers = Promise.all(Array.from({ length: 20 }, () => publisher.publish()))
    const [, since] = /^warn store-blocked: .* since (\S+); /.exec(await roost.logged(/store-blocked/))!
    expect(since! >= before && since! <= new Date().toISOString()).toBe(true)
    await live.client.publishAsync('live', 'x', { qos: 0 })
    expect((await live.next()).topic).toBe('live')
    expect(publisher.acknowledged.size).toBe(0)
    await shell.run('ROLLBACK;')
    expect(new Set(await answers)).toEqual(new Set([0]))
    expect(await roost.logged(/store-recovered/)).toMatch(/^warn /)
    expect(roost.storeLines).toHaveLength(2)
    await roost.stop('SIGKILL')
    roost = await site.start()
    await expectNothingLost()
  })

  test('keeps the WAL from being reset while it reads, with a warning that says how large it is, from 64 MiB on', async () => {
    await start(60_000, '--durability', 'process')
    const shell = new SqliteShell(database())
    site.onEnd(() => shell.end())
    const count = 'SELECT count(*) FROM queue;'
    expect(await shell.run(`BEGIN; ${count}`)).toEqual([`${PREPARED}`])
    const stop = new AbortController()
    const running = publisher.run(stop.signal)
    const [, size] = /^warn store-blocked: .* (\d+) MiB/.exec(await roost.logged(/store-blocked/))!
    expect(Number(size)).toBeGreaterThanOrEqual(64)
    expect(statSync(`${database()}-wal`).size).toBeGreaterThan(WAL_HELD_BYTES)
    expect(await shell.run(`${count} COMMIT;`)).toEqual([`${PREPARED}`])
    expect(await roost.logged(/store-recovered/)).toMatch(/^warn /)
    expect(statSync(`${database()}-wal`).size).toBeLessThan(WAL_MAX_BYTES)
    expect(roost.storeLines).toHaveLength(2)
    stop.abort()
    await running
  })
})
