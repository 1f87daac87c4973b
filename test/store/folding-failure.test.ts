import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Database } from '../../src/store/io/database.ts'
import { Folding } from '../../src/store/io/folding.ts'
import { thisProcess } from '../../src/store/io/owner.ts'
import { messageKey, rowOf } from '../../src/store/rows.ts'
import type { StoreRecord } from '../../src/store/store.ts'

const KEYS = Array.from({ length: 40 }, (_, i) => `mqtt:c${i}`)
/** Longer than all that is folded here. */
const STRETCH = 64 * 1024 * 1024

let dir: string
let database: Database
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-folding-'))
  const path = join(dir, 'roost.db')
  Database.create(path, 'test')
  database = new Database(path, false)
  database.own(thisProcess(), 'test')
})
afterEach(() => {
  database.close()
  rmSync(dir, { recursive: true })
})

function commit(...records: StoreRecord[]): void {
  database.transaction(() => database.putCommit(database.meta.lsn + 1, rowOf(records)), true)
}

/** A message that all sessions wait for. */
const message = (id: number, bytes: number): StoreRecord => ({
  type: 'message',
  id,
  message: { topic: 't', payload: new Uint8Array(bytes), qos: 1, retain: false, from: 'mqtt:p' },
  deliveries: KEYS.map((key) => ({ key, qos: 1, retain: false })),
})

const done = (id: number): StoreRecord[] => KEYS.map((key) => ({ type: 'done', key, id }))

function foldAll(folding: Folding): void {
  while (folding.isBusy || database.meta.folded < database.meta.lsn) {
    folding.begin(STRETCH)
    folding.work(1000)
  }
}

/** Lets transactions fail when they are about to be committed. */
function failCommits(): () => void {
  const spy = vi.spyOn(database, 'transaction').mockImplementation((action) => {
    action()
    throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
  })
  return () => spy.mockRestore()
}

test('a message that was half folded when the disk failed goes when the last session has it', () => {
  commit(message(1, 10))
  const failed = new Folding(database)
  while (database.get(messageKey(1)) === undefined) {
    failed.begin(STRETCH)
    // No time: the message with some of the places in queues.
    failed.work(0)
  }
  const folding = new Folding(database)
  foldAll(folding)
  commit(...done(1))
  foldAll(folding)
  expect(database.get(messageKey(1))).toBeUndefined()
})

test('a transaction that failed is not made longer when it is tried again', () => {
  for (let id = 1; id <= 40; id++) commit(message(id, 100_000))
  const folding = new Folding(database)
  while (folding.isBusy) folding.work(1000)
  folding.begin(STRETCH)
  const put = vi.spyOn(database, 'putRow')
  const restore = failCommits()
  let bytes = 0
  for (let i = 0; i < 5; i++) {
    put.mockClear()
    expect(() => folding.work(1000)).toThrow('full')
    bytes = put.mock.calls.reduce((sum, [, value]) => sum + (value?.length ?? 0), 0)
  }
  restore()
  expect(bytes).toBeLessThan(1_000_000)
  foldAll(folding)
})

test('the log is not taken for trimmed when that failed', () => {
  commit(message(1, 10))
  const folding = new Folding(database)
  const restore = failCommits()
  expect(() => folding.work(1000)).toThrow('full')
  restore()
  expect(folding.isBusy).toBe(true)
  foldAll(folding)
  expect(folding.isBusy).toBe(false)
})
