import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Database, FencedError } from '../../../src/store/io/database.ts'
import { thisProcess } from '../../../src/store/io/owner.ts'
import { commitChecksum, Digest, rowChecksum } from '../../../src/store/io/schema.ts'
import { failureOf } from '../../../src/store/io/sqlite.ts'
import { DamageError } from '../../../src/store/io/verify.ts'
import { messageKey, type RowKey, retainedKey, sensorKey, sessionKey } from '../../../src/store/rows.ts'
import { Stores } from './stores.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)

describe('Digest', () => {
  const of = (...checksums: number[]): Digest => {
    const digest = new Digest()
    for (const checksum of checksums) digest.add(checksum)
    return digest
  }

  it('does not depend on the order', () => {
    expect(`${of(1, 2, 3)}`).toBe(`${of(3, 1, 2)}`)
    expect(`${of(1, 2, 3)}`).not.toBe(`${of(1, 2, 4)}`)
  })

  it('is as before when what was added is removed', () => {
    const digest = of(1, 2)
    digest.add(0xffffffff)
    digest.remove(0xffffffff)
    expect([`${digest}`, digest.rows]).toEqual([`${of(2, 1)}`, 2])
    digest.remove(1)
    digest.remove(2)
    expect([`${digest}`, digest.rows]).toEqual(['0000000000000000', 0])
  })

  it('tells one row from the same row twice, and from two others', () => {
    const digests = [of(), of(7), of(7, 7), of(7, 7, 7, 7), of(6, 8)].map(String)
    expect(new Set(digests).size).toBe(5)
  })

  it('continues from its text', () => {
    const digest = of(1, 2, 3)
    const copy = new Digest(digest.rows, `${digest}`)
    copy.add(4)
    expect([`${copy}`, copy.rows]).toEqual([`${of(4, 3, 2, 1)}`, 4])
    expect(`${digest}`).toBe(`${of(1, 2, 3)}`)
  })

  it.each(['the first bit', 'the last bit', 'half of the bits'])('shows the same change in two rows: %s', (what) => {
    const before = bytes('00000000')
    const flip = { 'the first bit': 0x80, 'the last bit': 0x01, 'half of the bits': 0x55 }[what]!
    const after = before.map((byte) => byte ^ flip)
    const [a, b] = [sessionKey('mqtt:a'), sessionKey('mqtt:b')]
    const [changeOfA, changeOfB] = [a, b].map((key) => rowChecksum(key, before) ^ rowChecksum(key, after))
    // A plain sum or XOR of checksums would not show it.
    expect(changeOfA).toBe(changeOfB)
    const digest = (value: Uint8Array): string => `${of(rowChecksum(a, value), rowChecksum(b, value))}`
    expect(digest(after)).not.toBe(digest(before))
  })

  it('shows two rows whose values changed places', () => {
    const [a, b] = [sessionKey('mqtt:a'), sessionKey('mqtt:b')]
    const digest = (first: string, second: string): string => `${of(rowChecksum(a, bytes(first)), rowChecksum(b, bytes(second)))}`
    expect(digest('x', 'y')).not.toBe(digest('y', 'x'))
  })
})

describe('checksums', () => {
  it('cover table and key', () => {
    const keys: RowKey[] = [sessionKey('s'), sessionKey('t'), retainedKey('s'), sensorKey('s'), messageKey(1), messageKey(11)]
    const checksums = [...keys.map((key) => rowChecksum(key, bytes('v'))), commitChecksum(1, bytes('v'))]
    expect(new Set(checksums).size).toBe(7)
  })
})

describe('Database', () => {
  let stores: Stores
  let open: Database[]

  beforeEach(() => {
    stores = new Stores()
    stores.leave([])
    open = []
  })
  afterEach(async () => {
    for (const database of open) database.close()
    await stores.end()
  })

  function read(): Database {
    const database = new Database(stores.path, true)
    open.push(database)
    return database
  }

  function own(): Database {
    const database = new Database(stores.path, false)
    open.push(database)
    database.own(thisProcess(), 'test')
    return database
  }

  const put = (database: Database, name: string, value: string | undefined): void =>
    database.transaction(() => database.putRow(sessionKey(name), value === undefined ? undefined : bytes(value)), true)
  const problems = (database: Database): string[] => {
    const found: string[] = []
    database.verify((problem) => found.push(problem))
    return found
  }
  const nameOf = (key: RowKey): string => key.name

  describe('a transaction', () => {
    it('is all of it', () => {
      const database = own()
      database.transaction(() => {
        database.putCommit(1, bytes('one'))
        database.putCommit(2, bytes('two'))
        database.putRow(sessionKey('a'), bytes('x'))
        database.putFolded(1)
      }, true)
      const { lsn, folded, rows, digest } = read().meta
      expect({ lsn, folded, rows, digest }).toMatchObject({ lsn: 2, folded: 1, rows: 3, digest: database.meta.digest })
      expect(problems(database)).toEqual([])
    })

    it('that fails leaves nothing, in meta and digest neither', () => {
      const database = own()
      put(database, 'a', 'before')
      const before = database.meta
      const failing = (): void =>
        database.transaction(() => {
          database.putCommit(1, bytes('lost'))
          database.putRow(sessionKey('a'), bytes('changed'))
          database.putRow(sessionKey('b'), bytes('new'))
          database.putFolded(1)
          throw new Error('the action fails')
        }, true)
      expect(failing).toThrow('the action fails')
      expect(database.meta).toEqual(before)
      expect(() => database.commitOf(1)).toThrow('commit 1 is missing')
      expect(problems(database)).toEqual([])
      put(database, 'b', 'after')
      expect(problems(database)).toEqual([])
      expect(read().meta).toMatchObject({ lsn: 0, folded: 0, rows: 2 })
    })

    it('replaces a commit that is written again', () => {
      const database = own()
      for (const value of ['first', 'second']) database.transaction(() => database.putCommit(1, bytes(value)), true)
      expect([Buffer.from(database.commitOf(1)).toString(), database.meta.lsn, database.meta.rows]).toEqual(['second', 1, 1])
      expect(problems(database)).toEqual([])
    })

    it('deletes old commits, a few at a time', () => {
      const database = own()
      database.transaction(() => {
        for (let lsn = 1; lsn <= 9; lsn++) database.putCommit(lsn, bytes('0123456789'))
      }, true)
      const trim = (upTo: number, count: number, most: number): boolean => {
        let isMore = false
        database.transaction(() => {
          isMore = database.trim(upTo, count, most)
        }, true)
        return isMore
      }
      const left = (): unknown[] => stores.query('SELECT lsn FROM log').map(({ lsn }) => lsn)
      expect([trim(8, 2, 1000), left()]).toEqual([true, [3, 4, 5, 6, 7, 8, 9]])
      expect([trim(8, 100, 15), left()]).toEqual([true, [5, 6, 7, 8, 9]])
      expect([trim(8, 100, 1000), left()]).toEqual([false, [9]])
      expect(problems(database)).toEqual([])
    })

    it('counts the bytes of pages that hold something', () => {
      const database = own()
      put(database, 'a', 'x'.repeat(100_000))
      const full = database.usedBytes
      expect(full).toBeGreaterThan(100_000)
      put(database, 'a', undefined)
      expect(database.usedBytes).toBeLessThan(full - 90_000)
    })
  })

  describe('rows', () => {
    it('are returned as they were written, in the order of their keys', () => {
      const database = own()
      for (const name of ['b', 'a', 'c']) put(database, name, `value of ${name}`)
      put(database, 'c', undefined)
      put(database, 'd', undefined)
      put(database, 'a', '')
      const found = [...database.rows()]
        .flat()
        .map(({ key, bytes: all, start, end }) => `${nameOf(key)}: ${Buffer.from(all.slice(start, end))}`)
      expect(found).toEqual(['a: ', 'b: value of b'])
      expect(database.get(sessionKey('d'))).toBeUndefined()
      expect(problems(database)).toEqual([])
    })

    it('have names of any text', () => {
      const database = own()
      const names = ["it's", 'ä/€/😀', 'a b', '%_', 'x'.repeat(65_535)]
      for (const name of names) put(database, name, name)
      for (const name of names) expect(Buffer.from(database.get(sessionKey(name))!).toString()).toBe(name)
      expect(problems(read())).toEqual([])
    })

    it('that do not match their checksum are not returned', () => {
      put(own(), 'a', 'x')
      stores.query("UPDATE sessions SET records = x'00'")
      const database = read()
      expect(() => database.get(sessionKey('a'))).toThrow(new DamageError('row sessions a: checksum does not match'))
      expect(() => [...database.rows()].flat()).toThrow(new DamageError('row sessions a: checksum does not match'))
      expect(problems(database)).toEqual([
        'row sessions a: checksum does not match',
        'its rows are not of one moment: some are older or newer than others',
      ])
    })
  })

  describe('owner', () => {
    it('is fenced by a connection that has taken the store over', () => {
      const first = own()
      put(first, 'a', 'x')
      const second = own()
      expect(() => put(first, 'a', 'y')).toThrow(new FencedError(`process ${process.pid} has taken it over`))
      put(second, 'a', 'z')
      expect(() => put(first, 'a', 'y')).toThrow(FencedError)
      expect(Buffer.from(second.get(sessionKey('a'))!).toString()).toBe('z')
      expect(problems(second)).toEqual([])
    })

    it('is fenced in its first transaction as well', () => {
      const first = own()
      own()
      expect(() => put(first, 'a', 'y')).toThrow(FencedError)
      expect(read().meta.rows).toBe(0)
    })

    it('is fenced when the store was given up', () => {
      const database = own()
      database.disown()
      expect(database.meta.owner).toBeDefined()
      expect(() => put(database, 'a', 'y')).toThrow(new FencedError('another process has written to it'))
      expect(read().meta.owner).toBeUndefined()
    })

    it('is one of two that open at the same time', () => {
      const [first, second] = [new Database(stores.path, false), new Database(stores.path, false)]
      open.push(first, second)
      first.own(thisProcess(), 'first')
      expect(() => second.own(thisProcess(), 'second')).toThrow(new FencedError('another process opened it at the same time'))
      expect(read().meta).toMatchObject({ writtenBy: 'first' })
      put(first, 'a', 'x')
    })

    it('goes on after it was opened again, unless another process has it now', () => {
      const owner = thisProcess()
      const first = new Database(stores.path, false)
      first.own(owner, 'test')
      put(first, 'a', 'x')
      first.close()
      const again = new Database(stores.path, false)
      open.push(again)
      again.resume(owner)
      put(again, 'a', 'y')
      own()
      const late = read()
      expect(() => late.resume(owner)).toThrow(new FencedError(`process ${process.pid} has taken it over`))
    })
  })

  describe('what another process does', () => {
    it.each([
      ['deletes a row', 'DELETE FROM sessions', 'another process has written to it: 0 rows are there, and 1 should be'],
      [
        'changes a row',
        "UPDATE sessions SET records = x'00'",
        'another process has written to it: row sessions a: checksum does not match',
      ],
      ['changes meta', 'UPDATE meta SET lsn = lsn + 1', 'another process has written to it'],
      [
        'makes a trigger',
        'CREATE TRIGGER theirs AFTER INSERT ON sessions BEGIN DELETE FROM queue; END',
        'another process has written to it: it has a trigger, theirs',
      ],
      [
        'changes the format',
        'PRAGMA user_version = 9',
        'another process has written to it: format version 9 is not known to this version of Roost, which knows 5',
      ],
    ])('is damage where it %s', (_what, sql, reason) => {
      const database = own()
      put(database, 'a', 'x')
      stores.query(sql)
      expect(() => put(database, 'b', 'y')).toThrow(new DamageError(reason))
      expect(() => put(database, 'b', 'y')).toThrow(new DamageError(reason))
    })

    it('is damage before the first transaction as well', () => {
      put(own(), 'a', 'x')
      open.pop()!.close()
      const database = own()
      stores.query('DELETE FROM sessions')
      expect(() => put(database, 'b', 'y')).toThrow(DamageError)
    })

    it('is no damage where it checkpoints the WAL, vacuums, or writes nothing', () => {
      const database = own()
      put(database, 'a', 'x')
      const other = stores.connect()
      expect(other.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()).toMatchObject({ busy: 0, log: 0 })
      put(database, 'b', 'y')
      other.exec('BEGIN IMMEDIATE; COMMIT')
      put(database, 'c', 'z')
      other.exec('VACUUM')
      put(database, 'd', 'z')
      expect(problems(database)).toEqual([])
    })

    it('keeps transactions waiting where it has a lock, and they fail as busy', { timeout: 10_000 }, () => {
      const database = own()
      put(database, 'a', 'x')
      const other = stores.connect()
      other.exec('BEGIN IMMEDIATE')
      let failure: unknown
      try {
        put(database, 'a', 'y')
      } catch (error) {
        failure = failureOf(error)
      }
      expect(failure).toEqual({ kind: 'busy', reason: 'another process has locked it (SQLITE_BUSY)' })
      other.exec('COMMIT')
      put(database, 'a', 'y')
      expect(problems(database)).toEqual([])
    })
  })

  describe('verify', () => {
    it('finds nothing in a store of all tables, and shows every key but those of the log', () => {
      const database = own()
      const keys: RowKey[] = [
        messageKey(1),
        { table: 'queue', name: 's', id: 1 },
        sessionKey('s'),
        retainedKey('t'),
        sensorKey('n'),
      ]
      database.transaction(() => {
        database.putCommit(1, bytes('one'))
        for (const key of keys) database.putRow(key, bytes('x'))
      }, true)
      const seen: RowKey[] = []
      read().verify(
        (problem) => expect.unreachable(problem),
        (_, rows) => seen.push(...rows.map(({ key }) => key)),
      )
      expect(seen).toEqual(keys)
    })

    it('reports each row that is not as it was written', () => {
      const database = own()
      for (const name of ['a', 'b', 'c']) put(database, name, name)
      database.transaction(() => database.putCommit(1, bytes('one')), true)
      stores.query("UPDATE sessions SET records = x'00' WHERE name < 'c'")
      stores.query("UPDATE log SET records = x'00'")
      expect(problems(read()).slice(0, 3)).toEqual([
        'commit 1: checksum does not match',
        'row sessions a: checksum does not match',
        'row sessions b: checksum does not match',
      ])
    })

    it('finds a row of an earlier moment, which matches its own checksum', () => {
      const database = own()
      put(database, 'a', 'older')
      put(database, 'b', 'other')
      const [older] = stores.query("SELECT checksum, records FROM sessions WHERE name = 'a'")
      put(database, 'a', 'newer')
      stores.query("UPDATE sessions SET checksum = ?, records = ? WHERE name = 'a'", older!.checksum!, older!.records!)
      expect(problems(read())).toEqual(['its rows are not of one moment: some are older or newer than others'])
    })

    it('is of one moment in a snapshot, whatever is committed meanwhile', () => {
      const database = own()
      put(database, 'a', 'x')
      const reader = read()
      reader.snapshot(() => {
        expect(reader.get(sessionKey('a'))).toBeDefined()
        put(database, 'a', undefined)
        put(database, 'b', 'y')
        expect(problems(reader)).toEqual([])
        expect([...reader.rows()].flat().map(({ key }) => nameOf(key))).toEqual(['a'])
      })
      expect([...reader.rows()].flat().map(({ key }) => nameOf(key))).toEqual(['b'])
    })
  })
})
