import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import { type Cell, PageReader, type Problem } from '../../../src/store/io/page-reader.ts'

/** Offset at which reading the file fails with EIO. */
const broken = vi.hoisted(() => ({ offset: -1 }))
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>()
  const readSync = (file: number, bytes: Uint8Array, offset: number, length: number, position: number): number => {
    if (position <= broken.offset && position + length > broken.offset) throw new Error('EIO: i/o error, read')
    return fs.readSync(file, bytes, offset, length, position)
  }
  return { ...fs, readSync }
})

interface Database {
  exec(sql: string): unknown
  prepare(sql: string): { run(...values: unknown[]): unknown; get(): unknown }
  close(): unknown
}

/** With node:sqlite where this Node.js has it, else with better-sqlite3. */
function openDatabase(path: string): Database {
  const sqlite = process.getBuiltinModule('node:sqlite') as { DatabaseSync: new (path: string) => Database } | undefined
  if (sqlite !== undefined) return new sqlite.DatabaseSync(path)
  const BetterSqlite3 = createRequire(import.meta.url)('better-sqlite3') as new (path: string) => Database
  return new BetterSqlite3(path)
}

const SCHEMA = `
  CREATE TABLE messages (id INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, record BLOB NOT NULL);
  CREATE TABLE sessions (name TEXT PRIMARY KEY, checksum INTEGER NOT NULL, records BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE queue (session TEXT NOT NULL, message INTEGER NOT NULL, checksum INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (session, message)) WITHOUT ROWID;`

/** Of every serial type, and the numbers next to its limits. */
const INTEGERS = [0n, 1n, -1n, 127n, -128n, 128n, 32767n, -32769n, 8388607n, -8388609n, 2147483647n, -2147483649n].concat([
  2n ** 47n - 1n,
  -(2n ** 47n) - 1n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
])

/** crc32 of an empty array is 0 if the array has no memory, as SQLite's have none; otherwise it is the initial value. */
const checksumOf = (key: string, record: Uint8Array): number => (record.length === 0 ? crc32(key) : crc32(record, crc32(key)))

/** The key of a row and its record, if its checksum matches. */
function rowOf({ rowid, columns }: Cell): { key: string; record: Uint8Array } | undefined {
  const record = columns.at(-1)
  const id = rowid === undefined ? columns.slice(0, -2) : [rowid, ...columns.slice(1, -2)]
  const key = `${rowid === undefined ? ['', 'sessions', 'queue'][id.length] : 'messages'} ${id.join(' ')}`
  return record instanceof Uint8Array && columns.at(-2) === checksumOf(key, record) ? { key, record } : undefined
}

/** Checksums of the rows that a database should have, by key. */
type Model = Map<string, number>

class Writer {
  readonly model: Model = new Map()
  readonly random = new Random(7)
  readonly #database: Database
  readonly #statements: Readonly<Record<string, { run(...values: unknown[]): unknown }>>

  constructor(path: string, pragmas: string) {
    this.#database = openDatabase(path)
    this.#database.exec(`PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; ${pragmas}; ${SCHEMA} BEGIN`)
    this.#statements = {
      messages: this.#database.prepare('INSERT OR REPLACE INTO messages VALUES (?, ?, ?)'),
      sessions: this.#database.prepare('INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)'),
      queue: this.#database.prepare('INSERT OR REPLACE INTO queue VALUES (?, ?, ?, ?)'),
    }
  }

  put(table: string, id: readonly unknown[], size: number): void {
    const record = Buffer.from(Array.from({ length: size }, () => this.random.between(0, 255)))
    const key = `${table} ${id.join(' ')}`
    this.#statements[table]!.run(...id, checksumOf(key, record), record)
    this.model.set(key, checksumOf(key, record))
  }

  /** Also commits what was written before. */
  deleteMessages(low: number, high: number): void {
    this.#database.exec(`COMMIT; BEGIN; DELETE FROM messages WHERE id BETWEEN ${low} AND ${high}; COMMIT; BEGIN`)
    for (let id = low; id <= high; id++) this.model.delete(`messages ${id}`)
  }

  close(): void {
    this.#database.exec('COMMIT')
    this.#database.close()
  }
}

/** Trees with interior pages, rows of all sizes, updated rows, and a freelist with pages that still hold deleted rows. */
function fill(path: string, pragmas: string, deleted: number): Model {
  const writer = new Writer(path, pragmas)
  const { random } = writer
  for (const size of [0, 10, 5000, 300_000]) writer.put('messages', [size + 1], size)
  for (const id of [-1, -(2 ** 40), 2 ** 40, 2 ** 53 - 1]) writer.put('messages', [id], 10)
  for (let id = 1000; id < 1100; id++) writer.put('messages', [id], random.between(0, 100))
  for (let id = 10_000; id < 10_000 + deleted; id++) writer.put('messages', [id], 450)
  for (const message of INTEGERS) writer.put('queue', ['numbers', message], 10)
  for (let i = 0; i < 100; i++) writer.put('queue', [`session-${i % 7}`, i], random.between(0, 60))
  for (let i = 0; i < 60; i++) writer.put('sessions', [`${'zürich-'.repeat(i % 40)}${i}`], random.between(0, 200))
  writer.put('sessions', ['k'.repeat(9000)], 9000)
  writer.deleteMessages(10_000, 10_000 + deleted - 1)
  for (let id = 1000; id < 1100; id += 3) writer.put('messages', [id], random.between(0, 100))
  writer.close()
  return writer.model
}

interface Found {
  readonly cells: Cell[]
  readonly problems: Problem[]
  /** Checksum of the first row of each key. */
  readonly rows: Model
  /** Keys of rows that the database does not have, or has with another record. */
  readonly wrong: string[]
}

function read(path: string, model: Model): Found {
  const problems: Problem[] = []
  const reader = new PageReader(path, (problem) => problems.push(problem))
  const cells = [...reader.cells()]
  reader.close()
  const rows: Model = new Map()
  const wrong: string[] = []
  for (const cell of cells) {
    const row = rowOf(cell)
    if (row === undefined || rows.has(row.key)) continue
    rows.set(row.key, checksumOf(row.key, row.record))
    if (model.get(row.key) !== rows.get(row.key)) wrong.push(row.key)
  }
  return { cells, problems, rows, wrong }
}

const PAGE = 4096
let dir: string
let path: string
let model: Model
let whole: Buffer
let pageCount: number
/** Keys of the rows on each page, overflow pages included. */
let keysOn: Map<number, Set<string>>

/** Overflow pages are found by their contents, which are random and so not twice in the file. */
function mapPages(): void {
  keysOn = new Map(Array.from({ length: pageCount }, (_, i) => [i + 1, new Set<string>()]))
  const spilled: { key: string; bytes: Buffer }[] = []
  for (const cell of read(path, model).cells) {
    const { key, record } = rowOf(cell)!
    keysOn.get(cell.page)!.add(key)
    const name = typeof cell.columns[0] === 'string' ? cell.columns[0] : ''
    if (record.length > 400) spilled.push({ key, bytes: Buffer.concat([Buffer.from(name), record]) })
  }
  for (const [page, keys] of keysOn) {
    const start = whole.subarray((page - 1) * PAGE + 4, (page - 1) * PAGE + 20)
    if (keys.size === 0) for (const { key, bytes } of spilled) if (bytes.includes(start)) keys.add(key)
  }
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'roost-pages-'))
  path = join(dir, 'whole.db')
  model = fill(path, 'PRAGMA page_size = 4096', 80)
  whole = readFileSync(path)
  pageCount = whole.length / PAGE
  mapPages()
})

afterAll(async () => {
  await rm(dir, { recursive: true })
})

/** Reads the database after a change to its bytes. */
function readDamaged(damage: (bytes: Buffer) => Buffer | undefined): Found {
  const bytes = Buffer.from(whole)
  const damaged = join(dir, 'damaged.db')
  writeFileSync(damaged, damage(bytes) ?? bytes)
  return read(damaged, model)
}

/** Rows that are missing though they are on none of these pages. */
function missingBut({ rows }: Found, pages: readonly number[]): string[] {
  const lost = new Set(pages.flatMap((page) => [...keysOn.get(page)!]))
  return [...model.keys()].filter((key) => !rows.has(key) && !lost.has(key))
}

const pageOf = (bytes: Buffer, page: number): Buffer => bytes.subarray((page - 1) * PAGE, page * PAGE)
const allPages = (): number[] => Array.from({ length: pageCount }, (_, i) => i + 1)
const pagesOfKind = (kind: number): number[] => allPages().filter((page) => pageOf(whole, page)[0] === kind)
/** Trunk pages of the freelist. */
function trunks(): number[] {
  const found: number[] = []
  for (let page = whole.readUInt32BE(32); page !== 0; page = pageOf(whole, page).readUInt32BE(0)) found.push(page)
  return found
}

describe('an undamaged file', () => {
  test('gives exactly its rows', () => {
    const { cells, problems, rows } = read(path, model)
    expect(problems).toEqual([])
    expect(cells.every(({ isReachable }) => isReachable)).toBe(true)
    expect(cells).toHaveLength(model.size)
    expect(rows).toEqual(model)
  })

  test('has pages of all kinds', () => {
    expect(trunks()).not.toEqual([])
    for (const kind of [2, 5, 10, 13]) expect(pagesOfKind(kind), `kind ${kind}`).not.toEqual([])
    expect(allPages().filter((page) => keysOn.get(page)!.size > 0).length).toBeGreaterThan(80)
  })

  test('gives columns of all types', () => {
    const file = join(dir, 'types.db')
    const database = openDatabase(file)
    database.exec(
      `CREATE TABLE t (a, b, c); INSERT INTO t VALUES (NULL, 1.5, 'a'), ('', -2.25, x''), ('é€😀', 0, 9007199254740993)`,
    )
    database.close()
    expect(read(file, new Map()).cells.map(({ columns }) => columns)).toEqual([
      [null, 1.5, 'a'],
      ['', -2.25, new Uint8Array(0)],
      ['é€😀', 0, 9007199254740993n],
    ])
  })

  test.each([512, 1024, 8192, 65536])('may have pages of %i bytes, also if page 1 is lost', (size) => {
    const file = join(dir, `${size}.db`)
    const rows = fill(file, `PRAGMA page_size = ${size}; PRAGMA auto_vacuum = ${size === 1024 ? 2 : 0}`, 100)
    const found = read(file, rows)
    expect(found.problems).toEqual([])
    expect(found.rows).toEqual(rows)
    writeFileSync(file, readFileSync(file).fill(0, 0, size))
    expect(read(file, rows).rows).toEqual(rows)
  })

  test('may reserve bytes in each page, also if the header says something else', () => {
    const file = join(dir, 'reserved.db')
    const empty = openDatabase(file)
    empty.exec('PRAGMA page_size = 4096; PRAGMA user_version = 1')
    empty.close()
    const bytes = readFileSync(file)
    bytes[20] = 12
    bytes.writeUInt16BE(PAGE - 12, 105)
    writeFileSync(file, bytes)
    const rows = fill(file, '', 100)
    expect(readFileSync(file)[20]).toBe(12)
    expect(read(file, rows)).toMatchObject({ problems: [], rows })
    for (const reserved of [1, 12, 64, 255]) expect(readDamaged((copy) => copy.fill(reserved, 20, 21)).rows).toEqual(model)
  })
})

describe('each page in turn', () => {
  test('is zeroed', () => {
    for (const page of allPages()) {
      const found = readDamaged((bytes) => void pageOf(bytes, page).fill(0))
      expect({ page, missing: missingBut(found, [page]), wrong: found.wrong }).toEqual({ page, missing: [], wrong: [] })
      // Zeros in an overflow page are for the checksum to find, if it is the last one of a row.
      const isTreePage = keysOn.get(page)!.size > 0 && pageOf(whole, page)[0] !== 0
      if (isTreePage) expect(found.problems, `page ${page}`).not.toEqual([])
    }
  })

  test('is overwritten with random bytes', () => {
    const random = new Random(1)
    for (const page of allPages()) {
      const junk = Buffer.from(Array.from({ length: PAGE }, () => random.between(0, 255)))
      // The bytes that decide how far the rest is believed.
      if (page % 2 === 0) junk.set([random.pick([2, 5, 10, 13]), 0, 0, 0, random.between(0, 200)])
      const found = readDamaged((bytes) => void junk.copy(pageOf(bytes, page)))
      expect({ page, missing: missingBut(found, [page]), wrong: found.wrong }).toEqual({ page, missing: [], wrong: [] })
    }
  })

  test('is cut off, with all that follow', () => {
    for (const page of allPages()) {
      const found = readDamaged((bytes) => bytes.subarray(0, page * PAGE - (page % 3 === 0 ? 1000 : PAGE)))
      const cut = allPages().filter((other) => other >= page)
      expect({ page, missing: missingBut(found, cut) }).toEqual({ page, missing: [] })
      // The list of deleted rows may be cut off too, but they are not passed off as current ones.
      const current = found.cells.filter(({ isReachable }) => isReachable).flatMap((cell) => rowOf(cell) ?? [])
      for (const { key, record } of current) expect(model.get(key), key).toBe(checksumOf(key, record))
    }
  })

  test('cannot be read', () => {
    for (const page of [
      1,
      ...trunks(),
      ...pagesOfKind(2),
      ...pagesOfKind(5),
      ...pagesOfKind(10),
      ...pagesOfKind(13),
      pageCount - 1,
    ]) {
      broken.offset = page * PAGE - 1
      const found = read(path, model)
      broken.offset = -1
      expect({ page, missing: missingBut(found, [page]), wrong: found.wrong }).toEqual({ page, missing: [], wrong: [] })
    }
  })
})

describe('what is lost with a page', () => {
  test.each([
    ['table', 5],
    ['index', 2],
  ])('of the interior of a %s: nothing below it, which is unreachable then', (_name, kind) => {
    for (const page of pagesOfKind(kind)) {
      const found = readDamaged((bytes) => void pageOf(bytes, page).fill(0))
      const below = found.cells.filter(({ isReachable }) => !isReachable)
      expect(below.length).toBeGreaterThan(5)
      expect(found.cells.slice(-below.length)).toEqual(below)
      expect(found.problems).toEqual([{ page, reason: 'is not a b-tree page' }])
      expect(missingBut(found, [page])).toEqual([])
    }
  })

  test('page 1: no row', () => {
    for (const byte of [0, 255]) {
      const { cells, rows } = readDamaged((bytes) => void pageOf(bytes, 1).fill(byte))
      expect(rows).toEqual(model)
      expect(cells.some(({ isReachable }) => isReachable)).toBe(false)
    }
  })

  test('the number of cells: no row, and no deleted row comes back', () => {
    for (const page of [5, 2, 10, 13].flatMap((kind) => pagesOfKind(kind).slice(0, 3))) {
      const count = pageOf(whole, page).readUInt16BE(3)
      for (const wrong of [0, count - 1, count + 1, count + 8, 65535]) {
        const found = readDamaged((bytes) => void pageOf(bytes, page).writeUInt16BE(wrong, 3))
        expect({ page, rows: found.rows, wrong: found.wrong }).toEqual({ page, rows: model, wrong: [] })
        expect(found.problems).toEqual([{ page, reason: expect.stringContaining(`has ${count} cells`) }])
      }
    }
  })

  test('a damaged cell: no other row of its page', () => {
    const page = pagesOfKind(13).find((leaf) => keysOn.get(leaf)!.size > 10)!
    const at = pageOf(whole, page).readUInt16BE(8)
    const found = readDamaged((bytes) => void pageOf(bytes, page).fill(255, at, at + 3))
    expect(model.size - found.rows.size).toBe(1)
    expect(found.problems).toEqual([{ page, reason: expect.stringMatching(/^1 of \d+ rows are damaged/) }])
  })
})

test('300 flipped bits, one at a time: the rows of other pages are found', () => {
  const random = new Random(2)
  for (let i = 0; i < 300; i++) {
    // Every third one where it matters most: in page headers and cell pointers.
    const page = random.between(1, pageCount)
    const at = (page - 1) * PAGE + random.between(0, i % 3 === 0 ? (page === 1 ? 120 : 20) : PAGE - 1)
    const found = readDamaged((bytes) => void bytes.writeUInt8(bytes[at]! ^ (1 << random.between(0, 7)), at))
    expect({ at, missing: missingBut(found, [page]), wrong: found.wrong }).toEqual({ at, missing: [], wrong: [] })
  }
})

test('many flipped bits: nothing is thrown', () => {
  const random = new Random(3)
  for (let i = 0; i < 30; i++) {
    const found = readDamaged((bytes) => {
      for (let flips = 0; flips < 3 ** (i % 9); flips++) bytes[random.between(0, bytes.length - 1)]! ^= 1 << random.between(0, 7)
    })
    expect(found.cells.length).toBeLessThan(2 * model.size + 1000)
  }
})

describe('cycles end', () => {
  test('in the freelist', () => {
    const [first] = trunks()
    const found = readDamaged((bytes) => void pageOf(bytes, trunks().at(-1)!).writeUInt32BE(first!, 0))
    expect(found).toMatchObject({ rows: model, wrong: [] })
    expect(found.problems).toHaveLength(1)
  })

  test('in an overflow chain', () => {
    const chain = allPages().filter((page) => keysOn.get(page)!.has('messages 300001') && pageOf(whole, page)[0] === 0)
    expect(chain.length).toBe(73)
    const found = readDamaged((bytes) => void pageOf(bytes, chain[50]!).writeUInt32BE(chain[40]!, 0))
    expect([...model.keys()].filter((key) => !found.rows.has(key))).toEqual(['messages 300001'])
    expect(found.problems[0]!.reason).toContain('cannot be page')
  })

  test('in a b-tree', () => {
    const page = pagesOfKind(5)[0]!
    const found = readDamaged((bytes) => void pageOf(bytes, page).writeUInt32BE(page, 8))
    expect(found).toMatchObject({ rows: model, wrong: [] })
    expect(found.problems).toEqual([{ page, reason: `refers to page ${page}, which is already in use` }])
  })
})

test('files that are no database give nothing', () => {
  const file = join(dir, 'junk')
  const random = new Random(4)
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(10), Buffer.alloc(20_000), Buffer.from('SQLite format 3\0')]) {
    writeFileSync(file, bytes)
    const { cells, problems } = read(file, model)
    expect(cells).toEqual([])
    expect(problems[0]?.page).toBe(1)
  }
  writeFileSync(file, Buffer.from(Array.from({ length: 200_000 }, () => random.between(0, 255))))
  expect(read(file, model).rows.size).toBe(0)
})
