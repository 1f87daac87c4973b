import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { backUpStore } from '../../../src/store/io/backup.ts'
import { dumpStore } from '../../../src/store/io/dump.ts'
import { DATABASE_FILE, TABLES } from '../../../src/store/io/schema.ts'
import { Copies, type Fixture, linesIn, makeFixture, PAGE } from './damage.ts'

let fixture: Fixture
let store: Copies
let root: string
let to: string
beforeAll(async () => {
  fixture = await makeFixture()
  store = new Copies()
})
afterAll(() => store.end())
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'roost-backup-'))
  to = join(root, "deep/it's a backup")
  store.put(fixture.database, fixture.wal)
})
afterEach(() => rmSync(root, { recursive: true }))

const modeOf = (path: string): number => statSync(path).mode & 0o777

describe('a backup', () => {
  test('has everything, WAL included, in files for their owner only, and nothing else', () => {
    const { bytes, rows, commits } = backUpStore(store.dir, to)
    expect(readdirSync(to)).toEqual([DATABASE_FILE])
    expect(linesIn(to)).toEqual(fixture.ledger.linesWithout())
    expect(store.check(to)).toEqual([])
    expect(bytes).toBe(statSync(join(to, DATABASE_FILE)).size)
    expect({ rows, commits }).toEqual({
      rows: expect.toSatisfy((count) => count > 100),
      commits: expect.toSatisfy((count) => count > 10),
    })
    expect([modeOf(to), modeOf(join(to, DATABASE_FILE))]).toEqual([0o700, 0o600])
  })

  test('of a backup is the same again', () => {
    backUpStore(store.dir, to)
    const again = join(root, 'again')
    backUpStore(to, again)
    expect(linesIn(again)).toEqual(fixture.ledger.linesWithout())
  })

  test('has the secret of SCRAM', () => {
    writeFileSync(join(store.dir, 'scram-secret'), 'secret', { mode: 0o600 })
    backUpStore(store.dir, to)
    expect(readFileSync(join(to, 'scram-secret'), 'utf8')).toBe('secret')
    expect(modeOf(join(to, 'scram-secret'))).toBe(0o600)
  })

  test('may be made in a directory that is there', () => {
    mkdirSync(join(to, 'lost+found'), { recursive: true })
    backUpStore(store.dir, to)
    expect(readdirSync(to)).toEqual(['lost+found', DATABASE_FILE])
  })
})

describe('is refused, and changes nothing', () => {
  test.each([DATABASE_FILE, `${DATABASE_FILE}-wal`, 'backing-up', 'scram-secret'])('where %s is already', (name) => {
    mkdirSync(to, { recursive: true })
    writeFileSync(join(to, name), 'before')
    expect(() => backUpStore(store.dir, to)).toThrow(`${to}: ${name} is in it already; choose an empty directory`)
    expect(readdirSync(to)).toEqual([name])
    expect(readFileSync(join(to, name), 'utf8')).toBe('before')
  })

  test('inside the store itself, in a file, and of no store', () => {
    expect(() => backUpStore(store.dir, join(store.dir, 'a/b'))).toThrow(/it is inside .*; choose a directory outside$/)
    writeFileSync(join(root, 'file'), '')
    expect(() => backUpStore(store.dir, join(root, 'file'))).toThrow(`${root}/file: not a directory`)
    expect(() => backUpStore(root, to)).toThrow(`${root}: there is no store in it`)
    store.put(undefined, fixture.wal)
    expect(() => backUpStore(store.dir, to)).toThrow(/: roost\.db is missing; see roost store check /)
    expect(existsSync(to)).toBe(false)
  })

  test('of a damaged store: a row, and pages', () => {
    store.put(fixture.whole)
    store.execute('UPDATE retained SET checksum = checksum + 1 WHERE rowid = (SELECT min(rowid) FROM retained)')
    expect(() => backUpStore(store.dir, to)).toThrow(
      /: the store is damaged \(row retained .*checksum does not match\); see roost store check /,
    )
    const zeroed = Buffer.from(fixture.whole)
    zeroed.fill(0, 3 * PAGE)
    store.put(zeroed)
    expect(() => backUpStore(store.dir, to)).toThrow(/; see roost store check /)
    // What was made for it has gone again.
    expect(readdirSync(root)).toEqual([])
  })
})

describe('a dump', () => {
  const dump = (...only: Parameters<typeof dumpStore>[2][]): { lines: Record<string, unknown>[]; problems: string[] } => {
    const problems: string[] = []
    const lines = Array.from(dumpStore(store.dir, (problem) => problems.push(problem), ...only))
    return { lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>), problems }
  }

  test('has a line for each row and commit, with text as text', () => {
    store.put(fixture.whole)
    const { lines, problems } = dump()
    expect(problems).toEqual([])
    expect(new Set(lines.map(({ table }) => table))).toEqual(new Set(TABLES))
    const { rows, commits } = backUpStore(store.dir, to)
    expect(lines.filter(({ table }) => table === 'log')).toHaveLength(commits)
    expect(lines.filter(({ table }) => table !== 'log')).toHaveLength(rows)
    const message = lines.find(({ table }) => table === 'messages') as { records: { message: { payload: unknown } }[] }
    expect(message.records[0]!.message.payload).toEqual({ text: expect.stringMatching(/^[ -~]+$/) })
  })

  test('of one table', () => {
    expect(new Set(dump('retained').lines.map(({ table }) => table))).toEqual(new Set(['retained']))
  })

  test('skips what is damaged, and says so', () => {
    store.put(fixture.whole)
    const before = dump('retained').lines.length
    store.execute('UPDATE retained SET checksum = checksum + 1 WHERE rowid = (SELECT min(rowid) FROM retained)')
    const { lines, problems } = dump('retained')
    expect(lines).toHaveLength(before - 1)
    expect(problems).toEqual([expect.stringMatching(/^row retained .*: checksum does not match$/)])
  })
})
