import { cpSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { RawSensor } from './raw-sensor.ts'
import { SqliteShell, sqlite3 } from './sqlite-shell.ts'
import { expectMessages, NumberedPublisher, publishAll, type ServedStore, StoreSite } from './store-site.ts'

/** Messages that the session `away` waits for from the beginning. */
const PREPARED = 20

let prepared: StoreSite
let site: StoreSite
let roost: ServedStore
let publisher: NumberedPublisher
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
    ['UPDATE meta SET owner_token = NULL', /another process has written to it/],
  ])('is noticed at the next commit if it changes what is kept: %s', async (sql, reason) => {
    await start()
    const other = new NumberedPublisher(await site.connect(roost, 'other'))
    await publishAll(publisher, 20)
    await sqlite3('-cmd', '.timeout 5000', database(), sql)
    const { size } = publisher.acknowledged
    const answer = Promise.race([publisher.publish(), roost.ended])
    await roost.logged(/store-failed/)
    expect(await other.publish()).toBe(QUOTA_EXCEEDED)
    expect(publisher.acknowledged.size).toBe(size)
    const line = `; nothing is written or acknowledged any more: stop Roost, and see roost store check ${site.dir}`
    const errors = roost.storeLines.filter((each) => each.endsWith(line))
    expect(errors).toEqual([expect.stringMatching(/^error store-damaged: another process has written to it/)])
    expect(errors[0]).toMatch(reason)
    process.stdout.write(`${await roost.stop()} ${roost.lines.slice(-2)}\n`)
    expect(await answer).not.toBe(0)
    process.stdout.write(`${await site.refused()}\n`)
  })

  test('that keeps a write lock delays acknowledgements, which is worth a warning', async () => {
    await start()
    await publishAll(publisher, 20)
    const shell = new SqliteShell(database())
    site.onEnd(() => shell.end())
    const before = new Date().toISOString()
    await shell.run('BEGIN IMMEDIATE;')
    const answers = Promise.all(Array.from({ length: 20 }, () => publisher.publish()))
    const line = await roost.logged(/store-blocked/)
    process.stdout.write(`${line} ${before}\n`)
    expect(publisher.acknowledged.size).toBe(20)
    await shell.run('ROLLBACK;')
    expect(new Set(await answers)).toEqual(new Set([0]))
    await roost.logged(/store-recovered/)
    process.stdout.write(`${roost.storeLines.join('\n')}\n`)
    await roost.stop('SIGKILL')
    roost = await site.start()
    await expectNothingLost()
  })

  test('that keeps a read transaction keeps the WAL from being reset, which is worth a warning from 64 MiB on', async () => {
    await start(60_000, '--durability', 'process')
    const shell = new SqliteShell(database())
    site.onEnd(() => shell.end())
    expect(await shell.run('BEGIN; SELECT count(*) FROM queue;')).toEqual([`${PREPARED}`])
    const started = performance.now()
    const stop = new AbortController()
    const running = publisher.run(stop.signal)
    const line = await roost.logged(/store-blocked/)
    process.stdout.write(
      `${line} ${performance.now() - started} ms ${publisher.acknowledged.size} ${statSync(`${database()}-wal`).size} ${roost.storeLines}\n`,
    )
    expect(await shell.run('SELECT count(*) FROM queue; COMMIT;')).toEqual([`${PREPARED}`])
    await roost.logged(/store-recovered/)
    stop.abort()
    await running
    process.stdout.write(
      `${roost.storeLines.join('\n')} ${performance.now() - started} ms ${publisher.acknowledged.size} ${statSync(`${database()}-wal`).size}\n`,
    )
  })
})
