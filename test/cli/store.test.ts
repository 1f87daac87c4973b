import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import { Database } from '../../src/store/io/database.ts'
import { type Owner, thisProcess } from '../../src/store/io/owner.ts'
import { DATABASE_FILE, RESERVE_FILE } from '../../src/store/io/schema.ts'
import { openDatabase, sqliteVersion } from '../../src/store/io/sqlite.ts'
import { type RowKey, retainedKey, rowOf, sensorKey, sessionKey } from '../../src/store/rows.ts'
import { StubHost } from './stub-host.ts'

const ran = async (...argv: string[]) => {
  const host = new StubHost()
  const code = await run(['store', ...argv], host)
  return { code, out: host.out, err: host.err }
}

let root: string
let dir: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'roost-store-command-'))
  dir = join(root, 'data')
})
afterAll(() => rmSync(root, { recursive: true }))

/** A store with `sessions` sessions whose names need care, and two commits in the log. `owner` has not closed it. */
function make(sessions: number, owner: Owner): void {
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir)
  Database.create(join(dir, DATABASE_FILE), 'roost 0.9.0')
  const database = new Database(join(dir, DATABASE_FILE), false)
  database.own(owner, 'roost 0.9.1')
  database.transaction(() => {
    const value = rowOf([{ type: 'session-end', key: 'mqtt:0' }])
    const put = (key: RowKey): void => database.putRow(key, value, key.table === 'sessions' ? 'connected' : '')
    for (let i = 0; i < sessions; i++) put(sessionKey(`mqtt:${i}\nline`))
    put(retainedKey('a/b'))
    put(retainedKey('x'.repeat(1000)))
    put(sensorKey('s'))
    for (const lsn of [1, 2]) database.putCommit(lsn, value)
  }, true)
  database.close()
  writeFileSync(join(dir, RESERVE_FILE), Buffer.alloc(3 * 2 ** 20))
}

function execute(sql: string): void {
  const connection = openDatabase(join(dir, DATABASE_FILE))
  connection.exec(sql)
  connection.close()
}

const GONE: Owner = { ...thisProcess(), bootId: 'earlier', pid: 77 }

describe('help', () => {
  test('roost store names its commands, each of which has help of its own', async () => {
    const { code, out, err } = await ran()
    expect({ code, err }).toEqual({ code: 0, err: '' })
    for (const command of ['info', 'check', 'dump', 'recover']) {
      expect(out).toContain(`  ${command} `)
      const help = await ran(command, '--help')
      expect(help).toMatchObject({ code: 0, err: '' })
      expect(help.out).toMatch(new RegExp(`^Usage: roost store ${command} `))
    }
  })

  test.each<[string[], string]>([
    [['chek'], 'chek: unknown command (did you mean check?); see roost store --help'],
    [['check'], '/srv/roost-data: no such directory'],
    [['recover'], "missing required argument 'old'"],
    [['check', 'a', 'b'], "too many arguments for 'check'. Expected 1 argument but got 2."],
    [['info', '--jsn', 'a'], '--jsn: unknown option (did you mean --json?); see roost store info --help'],
  ])('%j: one line and exit code 2', async (argv, line) => {
    expect(await ran(...argv)).toEqual({ code: 2, out: '', err: `${line}\n` })
  })
})

describe('info', () => {
  test('of a store whose process has ended', async () => {
    make(3, GONE)
    const { code, out, err } = await ran('info', dir)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const lines = out.split('\n')
    expect(lines).toEqual([
      `directory:    ${dir}`,
      'format:       5',
      'written by:   roost 0.9.1',
      expect.stringMatching(/^SQLite: {7}3\.\d+\.\d+ \((node:sqlite|better-sqlite3)\)$/),
      'epoch:        1',
      'owner:        process 77, which ended without closing the store',
      'last commit:  2',
      'log:          2 commits not in rows yet, 16 bytes',
      'sessions:     3',
      'sensors:      1',
      'retained:     2',
      'messages:     0',
      'queue places: 0',
      `database:     ${statSync(join(dir, DATABASE_FILE)).size / 1024}.0 KiB`,
      'WAL:          0 bytes',
      'reserve:      3.0 MiB',
      expect.stringMatching(/^free pages: {3}0 of \d+, 0 bytes$/),
      '',
    ])
  })

  test('as JSON, of a store that this process has open, and of a copy of one', async () => {
    make(3, thisProcess())
    const info = async (of = dir) => JSON.parse((await ran('info', of, '--json')).out)
    expect(await info()).toEqual({
      directory: dir,
      format: 5,
      writtenBy: 'roost 0.9.1',
      sqlite: sqliteVersion(),
      binding: expect.stringMatching(/sqlite/),
      epoch: 1,
      owner: { pid: process.pid, isRunning: true, since: expect.stringMatching(/^20\d\d-.*:\d\dZ$/), isCopy: false },
      lastCommit: 2,
      log: { commits: 2, bytes: 16 },
      rows: { sessions: 3, sensors: 1, retained: 2, messages: 0, queue: 0 },
      bytes: { database: statSync(join(dir, DATABASE_FILE)).size, wal: 0, reserve: 3 * 2 ** 20 },
      pages: { size: 4096, total: statSync(join(dir, DATABASE_FILE)).size / 4096, free: 0 },
    })
    const age = Date.now() - Date.parse((await info()).owner.since)
    expect(Math.abs(age - process.uptime() * 1000)).toBeLessThan(5000)
    expect((await ran('info', dir)).out).toMatch(/owner: +process \d+, running since 20/)
    const copy = join(dir, 'copy')
    mkdirSync(copy)
    execute(`VACUUM INTO '${join(copy, DATABASE_FILE)}'`)
    expect((await info(copy)).owner).toEqual({ pid: process.pid, isRunning: false, since: null, isCopy: true })
    expect((await ran('info', copy)).out).toContain(
      `owner:        none; a copy of a store that process ${process.pid} had open\n`,
    )
    execute('UPDATE meta SET owner_pid = NULL, owner_boot_id = NULL, owner_started = NULL, owner_token = NULL')
    expect(await ran('info', dir)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/: meta is damaged; see roost store check /),
    })
  })

  test('of a damaged store says what to do', async () => {
    make(1, GONE)
    writeFileSync(join(dir, DATABASE_FILE), Buffer.alloc(10_000, 1))
    const path = join(dir, DATABASE_FILE)
    expect(await ran('info', dir)).toEqual({
      code: 2,
      out: '',
      err: `${path}: the file is not a database (SQLITE_NOTADB); see roost store check ${dir}\n`,
    })
    rmSync(path)
    writeFileSync(`${path}-wal`, '')
    expect((await ran('info', dir)).err).toBe(`${path}: no such file; see roost store check ${dir}\n`)
  })
})

describe('check', () => {
  test('of a sound store', async () => {
    make(3, GONE)
    expect(await ran('check', dir)).toEqual({ code: 0, out: 'The store is sound: 6 rows and 2 commits were read.\n', err: '' })
  })

  test('prints each problem in one line', async () => {
    make(3, GONE)
    execute("UPDATE sessions SET checksum = 1 WHERE name LIKE '%0%'")
    execute("UPDATE retained SET checksum = 1 WHERE topic LIKE 'x%'")
    const { code, out, err } = await ran('check', dir)
    expect({ code, err }).toEqual({ code: 1, err: '' })
    expect(out.split('\n')).toEqual([
      'row sessions mqtt:0\\u000aline: checksum does not match',
      `row retained ${'x'.repeat(387)}...`,
      'the rows are not of one moment: some are older or newer than others',
      `3 problems: 6 rows and 2 commits were read. To save what can be read: roost store recover ${dir} NEW`,
      '',
    ])
  })

  test('prints at most 100 lines', async () => {
    make(300, GONE)
    execute('UPDATE sessions SET checksum = 1')
    const lines = (await ran('check', dir)).out.split('\n')
    expect(lines).toHaveLength(103)
    expect(lines.slice(-3)).toEqual(['and 201 more', expect.stringMatching(/^301 problems: 303 rows /), ''])
  })

  test('of what is no store', async () => {
    expect(await ran('check', join(root, 'gone'))).toEqual({
      code: 2,
      out: '',
      err: `${join(root, 'gone')}: no such directory\n`,
    })
  })
})

describe('recover', () => {
  test('everything', async () => {
    make(3, GONE)
    const to = join(root, 'new')
    const lines = [
      'log:      2',
      'messages: 0',
      'queue:    0',
      'sessions: 3',
      'retained: 2',
      'sensors:  1',
      'Everything was recovered.',
      '',
    ]
    expect(await ran('recover', dir, to)).toEqual({ code: 0, out: lines.join('\n'), err: '' })
    expect(readdirSync(to)).toEqual([DATABASE_FILE])
    expect(await ran('check', to)).toMatchObject({ code: 0 })
    const { out } = await ran('info', to)
    expect(out).toMatch(/^written by: +roost 1\.2\.3$/m)
    expect(out).toMatch(/^epoch: +1\nowner: +none, closed cleanly$/m)
    expect(await ran('recover', dir, to)).toEqual({ code: 2, out: '', err: `${to}: the directory is not empty\n` })
  })

  test('what is left', async () => {
    make(300, GONE)
    execute("DELETE FROM log WHERE lsn = 1; UPDATE sessions SET checksum = 1 WHERE name LIKE '%1%'")
    const { code, out } = await ran('recover', dir, join(root, 'rest'))
    expect(code).toBe(1)
    expect(out.split('\n').slice(3)).toEqual([
      'sessions: 162',
      'retained: 2',
      'sensors:  1',
      '139 of 305 rows and commits are missing',
      'commit 1 is missing',
      'Not everything was recovered: see above.',
      '',
    ])
  })

  test('refuses in one line', async () => {
    make(1, thisProcess())
    const to = join(root, 'refused')
    expect(await ran('recover', dir, to)).toEqual({
      code: 2,
      out: '',
      err: `${dir}: process ${process.pid} uses it; stop it first\n`,
    })
    writeFileSync(join(root, 'file'), '')
    make(1, GONE)
    const inFile = join(root, 'file', 'new')
    expect(await ran('recover', dir, inFile)).toEqual({
      code: 2,
      out: '',
      err: expect.stringMatching(/^\S+: .*ENOTDIR.*\n$/),
    })
  })
})
