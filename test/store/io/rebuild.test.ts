import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Database } from '../../../src/store/io/database.ts'
import type { Entry } from '../../../src/store/io/entries.ts'
import type { Meta } from '../../../src/store/io/meta.ts'
import { Rebuild } from '../../../src/store/io/rebuild.ts'
import { commitChecksum, rowChecksum } from '../../../src/store/io/schema.ts'
import { messageKey, queueKey, rowOf, sessionKey } from '../../../src/store/rows.ts'
import type { StoreRecord } from '../../../src/store/store.ts'
import { linesOf } from '../ledger.ts'
import { COMMITS, Copies, type Fixture, linesIn, makeFixture } from './damage.ts'
import { GONE, message, SESSION } from './stores.ts'

let fixture: Fixture
let copies: Copies

beforeAll(async () => {
  fixture = await makeFixture()
  copies = new Copies()
})
afterAll(() => copies.end())

describe('numbers', () => {
  test('commits are numbered so that none is missing, up to the last one', async () => {
    const { first } = fixture
    copies.put(fixture.whole)
    const rows = copies.meta(copies.dir)!.rows
    copies.execute(`DELETE FROM log WHERE lsn IN (${first}, ${first + 3}, ${first + 4})`)
    const { missing, counts } = copies.recover()
    expect(missing).toEqual([
      `3 of ${rows} rows and commits are missing`,
      `commit ${first} is missing`,
      `commits ${first + 3} to ${first + 4} are missing`,
    ])
    expect(counts.get('log')).toBe(COMMITS - 3)
    const store = await copies.open()
    expect(store.durable).toBe(first + COMMITS - 1)
    expect(store.append({ type: 'session-end', key: 'mqtt:s1' })).toBe(first + COMMITS)
    await store.close()
  })

  test('the epoch and the last commit are kept, also if no commit is left', () => {
    copies.put(fixture.whole)
    copies.execute('DELETE FROM log')
    copies.recover()
    expect(copies.meta()).toMatchObject({
      epoch: 2,
      owner: undefined,
      lsn: fixture.first + COMMITS - 1,
      folded: fixture.first + COMMITS - 1,
    })
  })

  test('without meta, nothing says whether all rows are there', () => {
    copies.put(fixture.whole)
    copies.execute('UPDATE meta SET checksum = 1')
    const { missing } = copies.recover()
    expect(missing).toEqual(['meta is missing, so that nothing says how many rows there were'])
    expect(linesIn(copies.recovered)).toEqual(fixture.ledger.linesWithout())
    expect(copies.meta()?.lsn).toBe(fixture.first + COMMITS - 1)
  })
})

describe('a message that is missing', () => {
  const key = 'mqtt:s'
  const sent = (id: number, packetId: number): StoreRecord => ({ type: 'sent', key, id, packetId })
  const received = (id: number, packetId: number): StoreRecord => ({ type: 'received', key, id, packetId })
  const delivery = (id: number): StoreRecord => ({ type: 'delivery', id, delivery: { key, qos: 1, retain: false } })

  /** A session with messages 1 to 3 in its queue, all of which were sent to it, and commits. */
  const put = (commits: readonly (readonly StoreRecord[])[]): void => {
    copies.put(undefined)
    Database.create(copies.path, 'test')
    const database = new Database(copies.path, false)
    database.own(GONE, 'test')
    database.transaction(() => {
      for (const id of [1, 2, 3]) {
        database.putRow(messageKey(id), rowOf([{ ...message(id), deliveries: [] }]), 'a/b')
        database.putRow(queueKey(key, id), rowOf([delivery(id)]))
      }
      const flights = [sent(1, 11), received(1, 11), sent(2, 12), received(2, 12), sent(3, 13), sent(0, 13)]
      database.putRow(sessionKey(key), rowOf([SESSION, ...flights]), 'connected')
      for (const [i, records] of commits.entries()) database.putCommit(i + 1, rowOf(records))
    }, true)
    database.close()
    expect(copies.check()).toEqual([])
  }
  const row = (id: number): StoreRecord[] => [{ ...message(id), deliveries: [] }, delivery(id)]

  test('takes its places in queues along, and what says how far it had come: its id will be given again', () => {
    put([])
    copies.execute('DELETE FROM messages WHERE id = 2')
    const { missing } = copies.recover()
    expect(missing).toEqual(['1 of 7 rows and commits are missing', `row queue ${key} 2 is left out: its message is missing`])
    const session = [SESSION, sent(1, 11), received(1, 11), sent(3, 13), sent(0, 13)]
    expect(linesIn(copies.recovered)).toEqual(linesOf([...session, ...row(1), ...row(3)]))
  })

  test('goes if no session waits for it', () => {
    put([])
    copies.execute('DELETE FROM queue WHERE message = 2')
    expect(copies.recover().missing).toEqual(['1 of 7 rows and commits are missing'])
    const session = [SESSION, sent(1, 11), received(1, 11), sent(3, 13), sent(0, 13)]
    expect(linesIn(copies.recovered)).toEqual(linesOf([...session, ...row(1), ...row(3)]))
  })

  test('is not in later commits either', async () => {
    put([
      [message(7)],
      [message(8), sent(7, 14), sent(8, 15), received(7, 14)],
      [{ type: 'done', key, id: 7 }],
      [received(8, 15), { type: 'done', key, id: 3 }, sent(0, 16)],
    ])
    copies.execute('DELETE FROM log WHERE lsn = 1')
    const { missing, counts } = copies.recover()
    expect(missing).toEqual(['1 of 11 rows and commits are missing', 'commit 1 is missing'])
    // The third commit had nothing else in it.
    expect(counts.get('log')).toBe(2)
    expect(copies.meta()).toMatchObject({ lsn: 4, folded: 2 })
    const session = [
      SESSION,
      sent(1, 11),
      received(1, 11),
      sent(2, 12),
      received(2, 12),
      sent(8, 15),
      received(8, 15),
      sent(0, 16),
    ]
    expect(await copies.replayed()).toEqual(linesOf([...session, ...row(1), ...row(2), ...row(8)]))
  })

  test('leaves the packet id that was the last one', async () => {
    put([[message(7)], [sent(7, 14)]])
    copies.execute('DELETE FROM log WHERE lsn = 1')
    copies.recover()
    expect(copies.commits()).toEqual([[sent(0, 14)]])
    expect(await copies.replayed()).toContain(linesOf([sent(0, 14)])[0])
  })

  test('is left alone as long as everything is there', () => {
    put([[sent(9, 20), { type: 'done', key, id: 9 }]])
    copies.recover()
    expect(copies.commits()).toEqual([[sent(9, 20), { type: 'done', key, id: 9 }]])
  })
})

describe('what this version cannot read although its checksum matches', () => {
  const UNKNOWN = Buffer.from([255])

  test('is left out and reported', () => {
    const [row, commit] = [rowChecksum(sessionKey('mqtt:s1'), UNKNOWN), commitChecksum(fixture.first, UNKNOWN)]
    copies.put(fixture.whole)
    copies.execute(`UPDATE sessions SET records = x'ff', checksum = ${row} WHERE name = 'mqtt:s1'`)
    copies.execute(`UPDATE log SET records = x'ff', checksum = ${commit} WHERE lsn = ${fixture.first}`)
    const { missing, counts } = copies.recover()
    expect(missing).toEqual([
      'the rows are not of one moment: some are older or newer than others',
      'row sessions mqtt:s1 is left out: record 1: unknown record type 255',
      `commit ${fixture.first} is left out: record 1: unknown record type 255`,
    ])
    expect(counts.get('log')).toBe(COMMITS - 1)
  })
})

describe('commits on pages that belong to no table any more', () => {
  const settled = (meta: Meta | undefined, found: readonly number[], strays: readonly number[]): number[] => {
    copies.put(undefined)
    const rebuild = new Rebuild(copies.path, 'test')
    const value = rowOf([SESSION])
    const commit = (lsn: number): Entry => ({ table: 'log', key: undefined, lsn, checksum: commitChecksum(lsn, value), value })
    for (const lsn of found) rebuild.add(commit(lsn), false)
    for (const lsn of strays) rebuild.add(commit(lsn), true)
    rebuild.meta = meta
    const lsns = rebuild.settleCommits()
    rebuild.close()
    return lsns
  }
  const folded = (lsn: number): Meta => ({ ...copies.meta(copies.dir)!, folded: lsn })

  test('count from the last one on that is in the rows', () => {
    copies.put(fixture.whole)
    expect(settled(folded(2), [7, 8], [1, 2, 4, 5])).toEqual([4, 5, 7, 8])
    copies.put(fixture.whole)
    expect(settled(folded(8), [7, 8], [1, 2, 9])).toEqual([9])
  })

  test('count, without meta, as far as they are complete up to those in the log', () => {
    expect(settled(undefined, [7, 9], [1, 2, 5, 6, 8, 12])).toEqual([5, 6, 7, 8, 9, 12])
    expect(settled(undefined, [], [1, 2, 4, 5])).toEqual([4, 5])
    expect(settled(undefined, [7], [])).toEqual([7])
    expect(settled(undefined, [], [])).toEqual([])
  })
})
