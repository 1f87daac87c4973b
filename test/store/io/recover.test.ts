import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import { Database } from '../../../src/store/io/database.ts'
import { DirectoryLock, thisProcess } from '../../../src/store/io/owner.ts'
import { recoverStore } from '../../../src/store/io/recover.ts'
import { DATABASE_FILE, LOCK_FILE } from '../../../src/store/io/schema.ts'
import { SqliteStore, startHere } from '../../../src/store/io/sqlite-store.ts'
import { readWal } from '../../../src/store/io/wal.ts'
import { rowOf, sessionKey } from '../../../src/store/rows.ts'
import type { StoreRecord } from '../../../src/store/store.ts'
import { linesOf } from '../ledger.ts'
import { COMMITS, Copies, type Fixture, linesIn, makeFixture, PAGE } from './damage.ts'
import { GONE, SESSION } from './stores.ts'

/** Where reading fails, and whether writing does. */
const broken = vi.hoisted(() => ({ path: '', offset: 0, writes: false }))
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>()
  const files = new Map<number, string>()
  const failure = (errno: number, code: string, message: string): Error =>
    Object.assign(new Error(`${code}: ${message}`), { errno, code, syscall: 'x' })
  const openSync: typeof fs.openSync = (path, ...rest) => {
    const file = fs.openSync(path, ...rest)
    files.set(file, `${path}`)
    return file
  }
  const readSync = (file: number, bytes: Uint8Array, offset: number, length: number, position: number): number => {
    const isBroken = files.get(file) === broken.path && position <= broken.offset && position + length > broken.offset
    if (isBroken) throw failure(-5, 'EIO', 'i/o error, read')
    return fs.readSync(file, bytes, offset, length, position)
  }
  const writeSync = (file: number, bytes: Uint8Array, offset: number, length: number, position: number): number => {
    if (broken.writes) throw failure(-28, 'ENOSPC', 'no space left on device, write')
    return fs.writeSync(file, bytes, offset, length, position)
  }
  return { ...fs, openSync, readSync, writeSync }
})

let fixture: Fixture
let copies: Copies

beforeAll(async () => {
  fixture = await makeFixture()
  copies = new Copies()
})
afterAll(() => copies.end())

const pages = (): number[] => Array.from({ length: fixture.whole.length / PAGE }, (_, i) => i + 1)
const pageOf = (bytes: Buffer, page: number): Buffer => bytes.subarray((page - 1) * PAGE, page * PAGE)
const without = (some: readonly string[], others: readonly string[]): string[] => {
  const found = new Set(others)
  return some.filter((line) => !found.has(line))
}
const all = (): string[] => fixture.ledger.linesWithout()
const onPages = (damaged: readonly number[]): Set<string> =>
  new Set(damaged.flatMap((page) => [...(fixture.namesOn.get(page) ?? [])]))

/** Recovers a damaged store, of which these rows and commits may be lost and nothing else. Returns what is reported as missing. */
function recoverWithout(lost: ReadonlySet<string>, context: object): readonly string[] {
  const { missing } = copies.recover()
  const found = linesIn(copies.recovered)
  const lines = { ...context, missing: missing.slice(0, 10) }
  expect({ ...lines, lost: without(fixture.ledger.linesWithout(lost), found) }).toEqual({ ...lines, lost: [] })
  const wrong = without(found, [...all(), ...fixture.ledger.linesEndedBy(lost)])
  expect({ ...lines, wrong }).toEqual({ ...lines, wrong: [] })
  if (missing.length === 0) expect({ ...lines, found }).toEqual({ ...lines, found: all() })
  return missing
}

/** Checks and recovers a store with these damaged pages. */
function recoverDamaged(database: Buffer, damaged: readonly number[]): readonly string[] {
  copies.put(database)
  const problems = copies.check()
  if (problems.length === 0) expect(linesIn(copies.dir)).toEqual(all())
  return recoverWithout(onPages(damaged), { damaged, problems: problems.slice(0, 3) })
}

describe('a sound store', () => {
  test('is recovered as it was', async () => {
    for (const [database, wal] of [[fixture.whole], [fixture.database, fixture.wal]] as const) {
      copies.put(database, wal)
      expect(copies.check()).toEqual([])
      expect(recoverWithout(new Set(), {})).toEqual([])
      expect(await copies.replayed()).toEqual(all())
    }
  })

  test('is large enough for these tests', () => {
    expect(pages().length).toBeGreaterThan(25)
    const kinds = new Set(pages().map((page) => pageOf(fixture.whole, page)[0]))
    expect([...kinds]).toEqual(expect.arrayContaining([2, 5, 10, 13]))
    expect(onPages(pages()).size).toBeGreaterThan(450)
    expect(fixture.wal.length).toBeGreaterThan(COMMITS * 2 * PAGE)
  })
})

describe.each([0, 1, 2, 3])('each page in turn (%i of 4)', (part) => {
  const ours = (): number[] => pages().filter((page) => page % 4 === part)

  test('has a flipped bit', async () => {
    const random = new Random(1 + part)
    for (const page of ours()) {
      const bytes = Buffer.from(fixture.whole)
      // Every third one where it matters most.
      const at = random.between(0, page % 3 === 0 ? 12 : PAGE - 1)
      pageOf(bytes, page)[at]! ^= 1 << random.between(0, 7)
      recoverDamaged(bytes, [page])
      if (page % 10 === 0) expect(await copies.replayed()).toEqual(linesIn(copies.recovered))
    }
  })

  test('is zeroed or overwritten', () => {
    const random = new Random(10 + part)
    for (const page of ours()) {
      const bytes = Buffer.from(fixture.whole)
      const damaged = pageOf(bytes, page).fill(0)
      if (page % 3 === 0) {
        for (let i = 0; i < PAGE; i++) damaged[i] = random.between(0, 255)
        // The bytes that decide how far the rest is believed.
        damaged.set([random.pick([2, 5, 10, 13]), 0, 0, 0, random.between(0, 200)])
      }
      const missing = recoverDamaged(bytes, [page])
      const lost = [...onPages([page])]
      if (lost.length > 0) expect(missing).toContainEqual(expect.stringMatching(/of \d+ rows and commits are missing/))
      if (lost.some((name) => name.startsWith('commit'))) expect(missing).toContainEqual(expect.stringMatching(/^commits? /))
    }
  })
})

test('the file is cut off', () => {
  for (const page of pages().filter((number) => number % 9 === 0)) {
    const bytes = Buffer.from(fixture.whole.subarray(0, page * PAGE - 1000))
    copies.put(bytes)
    expect(copies.check()).not.toEqual([])
    expect(
      recoverDamaged(
        bytes,
        pages().filter((number) => number >= page),
      ),
    ).not.toEqual([])
  }
})

test('several pages are lost', () => {
  for (const damaged of [[1, 2], [1, 2, 3], [4, 5, 6, 7, 8], pages().filter((page) => page % 2 === 0)]) {
    const bytes = Buffer.from(fixture.whole)
    for (const page of damaged) pageOf(bytes, page).fill(0)
    expect(recoverDamaged(bytes, damaged)).not.toEqual([])
  }
})

const session = (key: string, expirySeconds = 1): StoreRecord[] => [{ ...SESSION, key, expirySeconds } as StoreRecord]

/** Makes a store in place of the damaged one. */
function make(action: (database: Database) => void): void {
  copies.put(undefined)
  Database.create(copies.path, 'test')
  const database = new Database(copies.path, false)
  database.own(GONE, 'test')
  action(database)
  database.close()
}

test('deleted rows are not brought back, although nothing says any more where they are', () => {
  const keys = Array.from({ length: 400 }, (_, i) => `mqtt:${i + 100}`)
  make((database) => {
    const put = (some: readonly string[], isThere: boolean): void =>
      database.transaction(() => {
        for (const key of some) database.putRow(sessionKey(key), isThere ? rowOf(session(key)) : undefined, 'connected')
      }, true)
    put(keys, true)
    database.checkpoint()
    put(keys.slice(100), false)
  })
  const bytes = readFileSync(copies.path)
  expect(bytes.readUInt32BE(36)).toBeGreaterThan(3)
  pageOf(bytes, bytes.readUInt32BE(32)).fill(0)
  pageOf(bytes, 1).fill(0)
  copies.put(bytes)
  expect(copies.recover().missing).toEqual([])
  expect(linesIn(copies.recovered)).toEqual(linesOf(keys.slice(0, 100).flatMap((key) => session(key))))
})

test('nothing is left', async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(100_000), Buffer.from('SQLite format 3\0')]) {
    copies.put(bytes)
    expect(copies.check()).not.toEqual([])
    expect(copies.recover().missing).not.toEqual([])
    expect(await copies.replayed()).toEqual([])
  }
})

describe('the WAL', () => {
  const FRAME = 24 + PAGE
  const frameAt = (i: number): number => 32 + i * FRAME
  const flip = (bytes: Buffer, at: number, bit = 0): Buffer => bytes.fill(bytes[at]! ^ (1 << bit), at, at + 1)
  /** The files of a new store before its WAL is copied into the database. */
  const unmerged = (action: (database: Database) => void): [Buffer, Buffer] => {
    let files: [Buffer, Buffer] | undefined
    make((database) => {
      action(database)
      files = [readFileSync(copies.path), readFileSync(`${copies.path}-wal`)]
    })
    return files!
  }
  /** Damages a store whose log is in its WAL. */
  const put = (damage: (wal: Buffer) => Buffer | undefined, database: Buffer | undefined = fixture.database): void => {
    const wal = Buffer.from(fixture.wal)
    copies.put(database, damage(wal) ?? wal)
  }
  const frames = () => {
    put(() => undefined)
    return readWal({ database: copies.path, wal: `${copies.path}-wal` }).sound
  }
  /** The contents after the first `count` commits of the log. */
  const contentsAfter = (count: number): string[] => {
    const numbers = Array.from({ length: COMMITS - count }, (_, i) => fixture.first + count + i)
    const lost = new Set(numbers.map((number) => `commit ${number}`))
    return [...fixture.ledger.linesWithout(lost), ...fixture.ledger.linesEndedBy(lost)].sort()
  }

  test('is cut off: the store is what it was after an earlier commit', () => {
    const all = frames()
    for (let size = 0; size <= fixture.wal.length; size += 31_111) {
      const transactions = all.filter(({ at, databasePages }) => databasePages > 0 && at + PAGE <= size).length
      // The first one opened the store.
      const commits = Math.max(0, transactions - 1)
      put((wal) => wal.subarray(0, size))
      expect(copies.check()).toEqual([])
      expect(linesIn(copies.dir)).toEqual(contentsAfter(commits))
      expect(copies.recover().missing).toEqual([])
      expect(linesIn(copies.recovered)).toEqual(contentsAfter(commits))
    }
  })

  test('has a flipped bit: what SQLite ignores from there on is recovered', () => {
    const random = new Random(3)
    const all = frames()
    for (let i = 0; i < all.length - 7; i += 6) {
      put((wal) => flip(wal, frameAt(i) + random.between(24, FRAME - 1), random.between(0, 7)))
      const problems = copies.check()
      expect(problems).toEqual([`roost.db-wal: frame ${i + 1} is damaged, so that SQLite ignores later transactions`])
      recoverWithout(onPages([all[i]!.page]), { i })
    }
  })

  const open = async (): Promise<number> => {
    const listener = { onDurable: () => {}, onFailed: (reason: string) => expect.unreachable(reason), onRecovered: () => {} }
    const store = await SqliteStore.open(copies.dir, listener, startHere)
    const commits = store.durable
    await store.close()
    return commits
  }

  test('has a flipped bit: no process goes on from an earlier commit', async () => {
    const random = new Random(4)
    const all = frames()
    for (let i = 0; i < all.length - 7; i += 9) {
      put((wal) => flip(wal, frameAt(i) + random.between(0, FRAME - 1), random.between(0, 7)))
      const before = copies.files
      await expect(open()).rejects.toThrow(
        /roost\.db-wal: frame \d+ is damaged, so that SQLite ignores later transactions\. Nothing was/,
      )
      expect({ ...copies.files, '.': '' }).toMatchObject({
        'roost.db': before['roost.db'],
        'roost.db-wal': before['roost.db-wal'],
      })
    }
  })

  test.each([
    ['a power cut', 'process', GONE, 1],
    ['a crash', 'process', { ...GONE, bootId: thisProcess().bootId, pid: 2 ** 22 + 1 }, undefined],
    ['a power cut', 'fsync', GONE, undefined],
  ] as const)('has a gap after %s with durability %s', async (_what, durability, owner, commits) => {
    copies.put(undefined)
    Database.create(copies.path, 'test')
    const database = new Database(copies.path, false, { durability })
    database.own(owner, 'test')
    for (const lsn of [1, 2, 3, 4]) database.transaction(() => database.putCommit(lsn, rowOf(session('mqtt:new', lsn))), true)
    const files = [readFileSync(copies.path), readFileSync(`${copies.path}-wal`)] as const
    database.close()
    copies.put(...files)
    const ends = readWal({ database: copies.path, wal: `${copies.path}-wal` }).sound.flatMap((frame, i) =>
      frame.databasePages > 0 ? [i] : [],
    )
    copies.put(files[0], flip(files[1], frameAt(ends[2]!) + 1000))
    if (commits === undefined) await expect(open()).rejects.toThrow('is damaged, so that SQLite ignores later transactions')
    else expect(await open()).toBe(commits)
  })

  test('has a damaged version of a page: its rows are missing rather than outdated', () => {
    const keys = Array.from({ length: 200 }, (_, i) => `mqtt:${i}`)
    const [whole, wal] = unmerged((database) => {
      for (const version of [1, 2]) {
        database.transaction(() => {
          for (const key of keys) database.putRow(sessionKey(key), rowOf(session(key, version)), 'connected')
        }, true)
        if (version === 1) database.checkpoint()
      }
      for (const lsn of [1, 2]) database.transaction(() => database.putCommit(lsn, rowOf(session('mqtt:new', lsn))), true)
    })
    copies.put(whole, wal)
    const leaf = readWal({ database: copies.path, wal: `${copies.path}-wal` }).sound.findIndex(({ at }) => wal[at] === 10)
    copies.put(whole, flip(wal, frameAt(leaf) + 3000))
    const { missing } = copies.recover()
    const lines = linesIn(copies.recovered)
    expect(lines.length).toBeGreaterThan(100)
    expect(lines.length).toBeLessThan(keys.length)
    expect(
      without(lines, linesOf([...keys.flatMap((key) => session(key, 2)), ...session('mqtt:new', 1), ...session('mqtt:new', 2)])),
    ).toEqual([])
    expect(missing).toContain(`${202 - lines.length} of 202 rows and commits are missing`)
    copies.put(whole, wal.fill(0, frameAt(leaf), frameAt(leaf) + 1000))
    expect(copies.recover().missing).toContain(
      'roost.db-wal: frames are damaged of which nothing says what page they are, so that some rows may be outdated',
    )
  })

  test('has a damaged page number: nothing is written far behind the end of the file', () => {
    put((wal) => flip(wal, frameAt(0), 7))
    expect(recoverWithout(new Set(), {})).toEqual([])
  })

  test('is damaged where nothing durable follows: SQLite ignores only what may be incomplete after a power cut', () => {
    const [whole, wal] = unmerged((database) => {
      database.transaction(() => database.putCommit(1, rowOf(session('mqtt:a'))), true)
      // As a fold does, which is durable with the next commit.
      for (const key of ['mqtt:b', 'mqtt:c', 'mqtt:d']) {
        database.transaction(() => database.putRow(sessionKey(key), rowOf(session(key)), 'connected'), false)
      }
    })
    copies.put(whole, wal)
    const { sound } = readWal({ database: copies.path, wal: `${copies.path}-wal` })
    const ends = sound.flatMap(({ databasePages }, i) => (databasePages > 0 ? [i] : []))
    copies.put(whole, flip(wal, frameAt(ends[2]!) + 1000))
    expect(copies.check()).toEqual([])
    expect(copies.recover().missing).toEqual([])
    expect(linesIn(copies.recovered)).toEqual(linesOf(session('mqtt:a')))
  })

  test('has a flipped bit, or is cut off, and was copied into the database before: all of it is recovered', () => {
    const last = frames().findLastIndex(({ page, databasePages }) => page > 3 && databasePages === 0)
    for (const damage of [
      (wal: Buffer) => flip(wal, frameAt(last) + 1000),
      (wal: Buffer) => flip(wal, frameAt(4) + 1000),
      (wal: Buffer) => wal.subarray(0, frameAt(20)),
    ]) {
      put(damage, fixture.whole)
      expect(copies.check()).toContain('roost.db-wal: it is older than the database')
      expect(recoverWithout(new Set(), {})).toEqual([])
    }
  })

  test.each([0, 6, 17, 25])('has a damaged header (byte %i): all of it is recovered', (at) => {
    put((wal) => flip(wal, at))
    expect(copies.check()).toEqual(['roost.db-wal: the header is damaged, so that SQLite ignores later transactions'])
    // The checksum of the first frame continues that of the header.
    recoverWithout(at === 25 ? onPages([2]) : new Set(), { at })
  })

  test('ends in an incomplete transaction: that is no damage, and was never acknowledged', () => {
    put((wal) => wal.fill(0, frameAt(frames().length - 1) - 3000, frameAt(frames().length - 1)))
    expect(copies.check()).toEqual([])
    expect(copies.recover().missing).toEqual([])
    expect(linesIn(copies.recovered)).toEqual(contentsAfter(COMMITS - 1))
  })

  test('is all that is left: what it holds is recovered', () => {
    put(() => undefined, undefined)
    copies.put(undefined, fixture.wal)
    expect(copies.check()).toEqual(['roost.db is missing, and roost.db-wal is there'])
    recoverWithout(onPages(pages().filter((page) => !frames().some((frame) => frame.page === page))), {})
  })
})

test('files of different moments: the report says that not all rows are current', () => {
  const newer = Buffer.from(fixture.whole)
  pageOf(fixture.database, 2).copy(pageOf(newer, 2))
  copies.put(newer)
  expect(copies.check()).not.toEqual([])
  expect(copies.recover().missing).not.toEqual([])
})

test('where nothing can be read on the disk, everything else is recovered', () => {
  copies.put(fixture.whole)
  broken.path = copies.path
  broken.offset = 11 * PAGE + 7
  const missing = recoverWithout(onPages([12]), {})
  broken.path = ''
  expect(missing[0]).toBe('roost.db: 4096 bytes at 45056 cannot be read: i/o error (EIO)')
})

describe('refuses', () => {
  const recover = (from: string, to: string) => () => recoverStore(from, to, { writtenBy: 'test' })

  test('a store that a process has open', async () => {
    copies.put(fixture.whole)
    copies.recover()
    const store = await copies.open()
    const to = join(copies.root, 'other')
    expect(recover(copies.recovered, to)).toThrow(`${copies.recovered}: process ${process.pid} uses it; stop it first`)
    expect(existsSync(to)).toBe(false)
    await store.close()
    expect(recover(copies.recovered, to)().missing).toEqual([])
    rmSync(to, { recursive: true })
  })

  test('a store whose lock a process holds, whatever its meta says', () => {
    copies.put(fixture.whole)
    const lock = DirectoryLock.acquire(join(copies.dir, LOCK_FILE))!
    expect(recover(copies.dir, copies.recovered)).toThrow(`${copies.dir}: another process uses it; stop it first`)
    lock.release()
    expect(copies.recover().missing).toEqual([])
  })

  test('a copy of a store in use is not in use', async () => {
    copies.put(fixture.whole)
    copies.recover()
    const store = await copies.open()
    const bytes = ['', '-wal'].map((suffix) => readFileSync(`${join(copies.recovered, DATABASE_FILE)}${suffix}`))
    await store.close()
    copies.put(bytes[0], bytes[1])
    expect(copies.recover().missing).toEqual([])
  })

  test('a store of another format, but not one that only its header calls so', () => {
    copies.put(fixture.whole)
    copies.execute('PRAGMA user_version = 6')
    expect(copies.recover().missing).toEqual([])
    copies.put(fixture.whole)
    copies.execute('PRAGMA user_version = 6; UPDATE meta SET format = 6, checksum = 1')
    expect(recover(copies.dir, copies.recovered)).toThrow(
      /: format version 6 is not known to this version of Roost, which knows 5$/,
    )
  })

  test('directories that are not for it', () => {
    copies.put(fixture.whole)
    const { dir, root } = copies
    const [empty, file, full] = ['empty', 'file', 'full'].map((name) => join(root, name)) as [string, string, string]
    mkdirSync(empty)
    mkdirSync(full)
    writeFileSync(file, '')
    writeFileSync(join(full, 'x'), '')
    expect(recover(join(root, 'gone'), empty)).toThrow(`${join(root, 'gone')}: no such directory`)
    expect(recover(file, empty)).toThrow(`${file}: not a directory`)
    expect(recover(empty, full)).toThrow(`${empty}: there is no store in it`)
    expect(recover(dir, full)).toThrow(`${full}: the directory is not empty`)
    expect(recover(dir, file)).toThrow(`${file}: not a directory`)
    expect(recover(dir, join(dir, 'new', 'one'))).toThrow(
      `${join(dir, 'new', 'one')}: it is inside ${dir}, where nothing may be written`,
    )
    symlinkSync(dir, join(root, 'link'))
    expect(recover(dir, join(root, 'link', 'new'))).toThrow('it is inside')
    writeFileSync(join(empty, 'data.mdb'), '')
    expect(recover(empty, full)).toThrow(
      `${empty}: data.mdb is a store of an older version (lmdb), which this version cannot read`,
    )
    expect(recover(dir, join(file, 'new'))).toThrow(/ENOTDIR/)
    expect(readdirSync(dir)).toEqual([DATABASE_FILE])
  })

  test('to leave anything behind where the new store cannot be written', () => {
    copies.put(fixture.whole)
    mkdirSync(copies.recovered)
    for (const to of [copies.recovered, join(copies.root, 'a', 'b')]) {
      broken.writes = true
      expect(recover(copies.dir, to)).toThrow('no space left on device')
      broken.writes = false
    }
    expect(readdirSync(copies.recovered)).toEqual([])
    expect(existsSync(join(copies.root, 'a'))).toBe(false)
  })
})
