import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import { checkStore } from '../../../src/store/io/check.ts'
import { DATABASE_FILE, rowChecksum } from '../../../src/store/io/schema.ts'
import { openDatabase } from '../../../src/store/io/sqlite.ts'
import { messageKey, queueKey, rowOf, sessionKey } from '../../../src/store/rows.ts'
import { commitEach, message, SESSION, Stores } from './stores.ts'

let stores: Stores
beforeEach(() => {
  stores = new Stores()
})
afterEach(() => stores.end())

/** A session with messages 1 to 3 in its queue, and commits 1 to 5 in the log. */
function leave(): void {
  stores.leave(
    [1, 2, 3, 4, 5].map((i) => [message(10 + i)]),
    (database) => {
      database.putRow(sessionKey('mqtt:s'), rowOf([SESSION]), 'connected')
      for (const id of [1, 2, 3]) {
        database.putRow(messageKey(id), rowOf([{ ...message(id), deliveries: [] }]), 'a/b')
        const delivery = { key: 'mqtt:s', qos: 1, retain: false } as const
        database.putRow(queueKey('mqtt:s', id), rowOf([{ type: 'delivery', id, delivery }]))
      }
    },
  )
}

function check(): string[] {
  const problems: string[] = []
  checkStore(stores.dir, (problem) => problems.push(problem))
  return problems
}

/** Runs SQL on the store, and checks it. */
function checkAfter(sql: string): string[] {
  leave()
  const connection = openDatabase(stores.path)
  connection.exec(sql)
  connection.close()
  return check()
}

describe('a sound store', () => {
  it('has no problems, with a log, without one, and empty', async () => {
    leave()
    const report = (problem: string) => expect.unreachable(problem)
    expect(checkStore(stores.dir, report)).toMatchObject({ rows: 7, commits: 5, problems: 0 })
    await stores.reopen()
    expect(checkStore(stores.dir, report)).toMatchObject({ rows: 17, commits: 0, problems: 0 })
    rmSync(stores.dir, { recursive: true })
    await stores.reopen()
    expect(checkStore(stores.dir, report)).toMatchObject({ rows: 0, commits: 0, problems: 0 })
  })

  it('may be in use, and is not written to', async () => {
    const store = await stores.open({ foldBytes: 200 })
    for (const first of [1, 5, 9]) {
      await commitEach(store, first, first + 4)
      const files = ['', '-wal'].map((suffix) => `${stores.path}${suffix}`)
      const before = files.map((path) => readFileSync(path))
      const modified = files.map((path) => statSync(path).mtimeMs)
      expect(check()).toEqual([])
      expect(files.map((path, i) => readFileSync(path).equals(before[i]!))).toEqual([true, true])
      expect(files.map((path) => statSync(path).mtimeMs)).toEqual(modified)
    }
    await stores.close(store)
    expect(check()).toEqual([])
  })

  it('may have commits in the log that are in the rows already', () => {
    stores.leave(
      [1, 2, 3, 4, 5].map((id) => [message(id)]),
      (database) => {
        database.putFolded(3)
        database.trim(1, 1, 0)
      },
    )
    expect(check()).toEqual([])
    stores.query('DELETE FROM log WHERE lsn = 2')
    expect(check()).toEqual(['3 rows and commits are there, and 4 should be'])
    stores.query('DELETE FROM log')
    expect(check()).toEqual(['commits 4 to 5 are missing', '0 rows and commits are there, and 4 should be'])
  })
})

const OTHERS = 'the rows are not of one moment: some are older or newer than others'
const UNKNOWN = rowChecksum(sessionKey('mqtt:s'), Buffer.from([255]))

test.each<[string, string, string[]]>([
  ['a row that has changed', `UPDATE messages SET records = x'00' WHERE id = 2`, ['row messages 2: checksum does not match']],
  [
    'a checksum that has changed',
    'UPDATE queue SET checksum = 1 WHERE message = 2',
    ['row queue mqtt:s 2: checksum does not match', OTHERS],
  ],
  [
    'a text in place of bytes, though they are the same',
    'UPDATE messages SET records = CAST(records AS TEXT) WHERE id = 2',
    ['row messages 2: checksum does not match'],
  ],
  ['another key', "UPDATE sessions SET name = 'mqtt:t'", ['row sessions mqtt:t: checksum does not match']],
  [
    'a column for people',
    "UPDATE sessions SET state = 'disconnected'",
    ['row sessions mqtt:s: column state is not what its records say'],
  ],
  ['a row that is missing', 'DELETE FROM sessions', ['11 rows and commits are there, and 12 should be']],
  [
    'a message that is missing',
    'DELETE FROM messages WHERE id = 2',
    ['row queue mqtt:s 2: its message is missing', '11 rows and commits are there, and 12 should be'],
  ],
  [
    'records that this version does not know',
    `UPDATE sessions SET records = x'ff', checksum = ${UNKNOWN}`,
    ['row sessions mqtt:s: record 1: unknown record type 255', OTHERS],
  ],
  ['a commit that has changed', `UPDATE log SET records = x'00' WHERE lsn = 2`, ['commit 2: checksum does not match']],
  [
    'the first commit is missing',
    'DELETE FROM log WHERE lsn = 1',
    ['commit 1 is missing', '11 rows and commits are there, and 12 should be'],
  ],
  [
    'commits are missing in the middle',
    'DELETE FROM log WHERE lsn IN (3, 4)',
    ['commits 3 to 4 are missing', '10 rows and commits are there, and 12 should be'],
  ],
  [
    'the last commit is missing',
    'DELETE FROM log WHERE lsn = 5',
    ['commit 5 is missing', '11 rows and commits are there, and 12 should be'],
  ],
  [
    'all commits are missing',
    'DELETE FROM log',
    ['commits 1 to 5 are missing', '7 rows and commits are there, and 12 should be'],
  ],
  [
    'a commit too many',
    "INSERT INTO log VALUES (6, 0, x'00')",
    [
      'commit 6: checksum does not match',
      'commit 6 is there, and the last one should be 5',
      '13 rows and commits are there, and 12 should be',
    ],
  ],
  ['meta has changed', 'UPDATE meta SET lsn = 6', ['meta: it is empty, or its checksum does not match']],
  ['meta is empty', 'DELETE FROM meta', ['meta: it is empty, or its checksum does not match']],
  ['a table is missing', 'DROP TABLE retained', ['table retained is not as it should be']],
  ['another program', 'PRAGMA application_id = 7', ['application_id is 7, not 1383035764, which stands for Roost']],
  ['another format', 'PRAGMA user_version = 6', ['format version 6 is not known to this version of Roost, which knows 5']],
])('%s', (_what, sql, problems) => {
  expect(checkAfter(sql)).toEqual(problems)
})

describe('files', () => {
  test('that are no database', () => {
    leave()
    writeFileSync(stores.path, Buffer.alloc(8192, 1))
    expect(check()).toEqual(['the file is not a database (SQLITE_NOTADB)'])
  })

  test('that are cut off', () => {
    leave()
    const bytes = readFileSync(stores.path)
    writeFileSync(stores.path, bytes.subarray(0, bytes.length - 4096))
    expect(check().length).toBeGreaterThan(0)
    writeFileSync(stores.path, '')
    expect(check()).toContain('table sessions is not as it should be')
  })

  test('of which one is missing', () => {
    leave()
    writeFileSync(`${stores.path}-wal`, '')
    rmSync(stores.path)
    expect(check()).toEqual(['roost.db is missing, and roost.db-wal is there'])
  })

  test('of which messages are lost: their places in queues are not problems of their own', () => {
    leave()
    const root = Number(stores.query("SELECT rootpage FROM sqlite_schema WHERE name = 'messages'")[0]!.rootpage)
    const bytes = readFileSync(stores.path)
    writeFileSync(stores.path, bytes.fill(0, (root - 1) * 4096, root * 4096))
    const problems = check()
    expect(problems).toContain('table messages: the database file is damaged (SQLITE_CORRUPT)')
    expect(problems.filter((problem) => problem.includes('queue'))).toEqual([])
  })

  test('whose keys are out of order, so that rows are not found', () => {
    leave()
    const bytes = readFileSync(stores.path)
    const root = Number(stores.query("SELECT rootpage FROM sqlite_schema WHERE name = 'queue'")[0]!.rootpage)
    const page = bytes.subarray((root - 1) * 4096, root * 4096)
    const pointers = Buffer.from(page.subarray(8, 12))
    pointers.copy(page, 8, 2, 4)
    pointers.copy(page, 10, 0, 2)
    writeFileSync(stores.path, bytes)
    expect(check()).toEqual(['row not in PRIMARY KEY order for queue'])
  })
})

test('what is no store is refused', () => {
  expect(check).toThrow(`${stores.dir}: no such directory`)
  writeFileSync(stores.dir, '')
  expect(check).toThrow(`${stores.dir}: not a directory`)
  rmSync(stores.dir)
  mkdirSync(stores.dir)
  expect(check).toThrow(`${stores.dir}: there is no store in it`)
  writeFileSync(join(stores.dir, 'data.mdb'), '')
  expect(check).toThrow(`${stores.dir}: data.mdb is a store of an older version (lmdb), which this version cannot read`)
})

test('a store that another program has locked is not called damaged', () => {
  leave()
  const connection = stores.connect()
  connection.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE meta SET epoch = epoch')
  expect(check).toThrow(`${join(stores.dir, DATABASE_FILE)}: another process has locked it (SQLITE_BUSY)`)
})
