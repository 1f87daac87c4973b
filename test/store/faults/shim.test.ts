import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { FaultControl } from './faults.ts'
import { readJournal } from './power-cut.ts'

const OPERATIONS = fileURLToPath(new URL('./operations.mjs', import.meta.url))

/** A process under the shim that does what it is told. */
class FileUser {
  readonly #child: ChildProcess
  readonly #answers: AsyncIterator<string>

  constructor(env: Readonly<Record<string, string>>) {
    this.#child = spawn(process.execPath, [OPERATIONS], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#answers = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
  }

  /** Returns the result, `ok` if there is none, or the code of the error. */
  async do(...operation: unknown[]): Promise<unknown> {
    this.#child.stdin!.write(`${JSON.stringify(operation)}\n`)
    const { value, done } = await this.#answers.next()
    if (done) throw new Error(`the process ended with ${this.#child.exitCode}`)
    return JSON.parse(value)
  }

  async end(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.stdin!.end()
    await exited
  }
}

const dir = mkdtempSync(join(tmpdir(), 'roost-shim-'))
const control = new FaultControl(dir)
const db = join(dir, 'roost.db')
const wal = join(dir, 'roost.db-wal')
let user: FileUser
let injected: number

beforeAll(async () => {
  user = new FileUser(control.env)
  await user.do('open', db, 'w+')
  await user.do('open', wal, 'w+')
})
afterEach(() => control.clear())
afterAll(async () => {
  await user.end()
  control.close()
  rmSync(dir, { recursive: true })
})

const newlyInjected = (): number => control.injected - injected

describe('faults', () => {
  beforeAll(() => {
    injected = 0
  })

  test('none: calls succeed and are counted', async () => {
    const before = control.counters
    expect(await user.do('write', db, 'abcd', 0)).toBe(4)
    expect(await user.do('sync', db)).toBe('ok')
    expect(await user.do('datasync', db)).toBe('ok')
    expect(await user.do('truncate', db, 2)).toBe('ok')
    const { writes, syncs, truncates } = control.counters
    expect([writes - before.writes, syncs - before.syncs, truncates - before.truncates]).toEqual([1, 2, 1])
    expect(control.injected).toBe(0)
  })

  test('once: the next matching call fails', async () => {
    injected = control.injected
    control.fail({ operations: 'sync', error: 'EIO', mode: 'once' })
    expect(await user.do('write', db, 'abcd', 0)).toBe(4)
    expect(control.isFailing).toBe(true)
    expect(await user.do('sync', db)).toBe('EIO')
    expect(control.isFailing).toBe(false)
    expect(await user.do('sync', db)).toBe('ok')
    expect(newlyInjected()).toBe(1)
  })

  test('until changed: every matching call fails, with each error', async () => {
    injected = control.injected
    for (const error of ['ENOSPC', 'EDQUOT', 'EIO'] as const) {
      control.fail({ operations: ['write', 'truncate'], error, mode: 'until-changed' })
      expect(await user.do('write', db, 'abcd', 0)).toBe(error)
      expect(await user.do('writev', db, ['ab', 'cd'], 0)).toBe(error)
      expect(await user.do('truncate', db, 100)).toBe(error)
      expect(await user.do('sync', db)).toBe('ok')
    }
    await control.whenInjected(injected + 9)
    expect(newlyInjected()).toBe(9)
    control.clear()
    expect(await user.do('write', db, 'abcd', 0)).toBe(4)
  })

  test('skip: the first matching calls succeed', async () => {
    control.fail({ operations: 'any', error: 'EIO', mode: 'once', skip: 2 })
    expect(await user.do('write', db, 'abcd', 0)).toBe(4)
    expect(await user.do('sync', db)).toBe('ok')
    expect(await user.do('write', db, 'abcd', 0)).toBe('EIO')
    expect(await user.do('write', db, 'abcd', 0)).toBe(4)
  })

  test('files: only names with this end', async () => {
    control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed', files: '-wal' })
    expect(await user.do('write', db, 'abcd', 0)).toBe(4)
    expect(await user.do('write', wal, 'abcd', 0)).toBe('EIO')
    control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed', files: '.db' })
    expect(await user.do('write', db, 'abcd', 0)).toBe('EIO')
    expect(await user.do('write', wal, 'abcd', 0)).toBe(4)
    control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed', files: '/' })
    expect(await user.do('sync', db)).toBe('ok')
    expect(await user.do('open', dir, 'r')).toBe('ok')
    expect(await user.do('sync', dir)).toBe('EIO')
    expect(await user.do('close', dir)).toBe('ok')
  })

  test('partial: half of a write gets through before the error', async () => {
    await user.do('truncate', db, 0)
    control.fail({ operations: 'write', error: 'ENOSPC', mode: 'until-changed', partial: true })
    expect(await user.do('write', db, 'abcdefgh', 0)).toBe(4)
    expect(readFileSync(db, 'utf8')).toBe('abcd')
    expect(await user.do('write', db, 'efgh', 4)).toBe('ENOSPC')
    expect(await user.do('write', db, 'efgh', 4)).toBe('ENOSPC')
  })

  test('create and remove', async () => {
    const other = join(dir, 'other')
    control.fail({ operations: ['create', 'remove'], error: 'ENOSPC', mode: 'until-changed' })
    expect(await user.do('open', other, 'w')).toBe('ENOSPC')
    expect(await user.do('unlink', wal)).toBe('ENOSPC')
    expect(await user.do('rename', wal, other)).toBe('ENOSPC')
    expect(readdirSync(dir).sort()).toEqual(['roost.db', 'roost.db-wal'])
  })

  test('files outside the directory, and descriptors that were closed, are left alone', async () => {
    const outside = `${dir}-outside`
    control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed' })
    const closed = join(dir, 'closed')
    control.clear()
    await user.do('open', closed, 'w')
    await user.do('close', closed)
    control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed' })
    // Gets the number of the descriptor that was closed.
    expect(await user.do('open', outside, 'w')).toBe('ok')
    expect(await user.do('write', outside, 'abcd')).toBe(4)
    expect(await user.do('sync', outside)).toBe('ok')
    expect(await user.do('unlink', outside)).toBe('ok')
  })
})

describe('full disk', () => {
  test('files do not grow, but are overwritten', async () => {
    await user.do('truncate', db, 8)
    control.fillDisk({ room: 0 })
    injected = control.injected
    expect(await user.do('write', db, '12345678', 0)).toBe(8)
    expect(await user.do('write', db, '12345678', 4)).toBe('ENOSPC')
    expect(await user.do('truncate', db, 9)).toBe('ENOSPC')
    expect(newlyInjected()).toBe(2)
    expect(await user.do('sync', db)).toBe('ok')
    expect(readFileSync(db, 'utf8')).toBe('12345678')
  })

  test('files that shrink or are deleted leave room', async () => {
    const spare = join(dir, 'spare')
    writeFileSync(spare, 'x'.repeat(10))
    await user.do('truncate', db, 8)
    await user.do('truncate', wal, 0)
    control.fillDisk({ room: 0, error: 'EDQUOT' })
    expect(await user.do('truncate', db, 6)).toBe('ok')
    expect(control.room).toBe(2)
    expect(await user.do('unlink', spare)).toBe('ok')
    expect(control.room).toBe(12)
    expect(await user.do('write', wal, 'abcdefghijkl', 0)).toBe(12)
    expect(control.room).toBe(0)
    expect(await user.do('write', wal, 'm', 12)).toBe('EDQUOT')
  })

  test('partial: a write fills the room that is left', async () => {
    await user.do('truncate', db, 4)
    control.fillDisk({ room: 3, partial: true })
    expect(await user.do('write', db, 'abcdefghij', 2)).toBe(5)
    expect(statSync(db).size).toBe(7)
    expect(await user.do('write', db, 'fghij', 7)).toBe('ENOSPC')
  })
})

test('without ROOST_FAULT_DIR the shim does nothing', async () => {
  const idle = new FileUser({ ...control.env, ROOST_FAULT_DIR: '' })
  control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed' })
  expect(await idle.do('open', db, 'r+')).toBe('ok')
  expect(await idle.do('write', db, 'abcd', 0)).toBe(4)
  await idle.end()
})

test('the journal has every change, in order', async () => {
  const { env, journal } = control.record()
  const recorded = mkdtempSync(join(tmpdir(), 'roost-shim-'))
  const at = (name: string): string => join(recorded, name)
  writeFileSync(at('old'), 'was here')
  const process = new FileUser({ ...env, ROOST_FAULT_DIR: recorded })
  await process.do('open', at('acks'), 'a')
  await process.do('open', at('a'), 'w+')
  await process.do('write', at('a'), '0123456789')
  await process.do('writev', at('a'), ['ab', 'cd'])
  await process.do('write', at('a'), 'X', 0)
  await process.do('sync', at('a'))
  await process.do('write', at('acks'), 'done\n')
  await process.do('truncate', at('a'), 12)
  await process.do('rename', at('a'), at('b'))
  await process.do('unlink', at('old'))
  await process.do('open', recorded, 'r')
  await process.do('sync', recorded)
  control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed' })
  await process.do('write', at('a'), 'lost', 0)
  await process.do('sync', at('a'))
  control.clear()
  await process.do('parallel', at('c'), ['1', '2', '3', '4', '5', '6'])
  await process.end()

  const found = readJournal(journal)
  expect(found.describe(17, 17)).toEqual([
    '0 create a',
    '1 write a: 10 bytes at 0',
    '2 write a: 4 bytes at 10',
    '3 write a: 1 bytes at 0',
    '4 sync-begin a',
    '5 sync-end a',
    '6 mark "done\\n"',
    '7 truncate a: to 12 bytes',
    '8 rename a: to b',
    '9 unlink old',
    '10 directory ',
    '11 sync-begin /',
    '12 sync-end /',
    '13 sync-begin a',
    '14 sync-failed a',
    '15 create c',
    '16 write c: 1 bytes at 0',
  ])
  expect(found.diskAt(0).current).toEqual(new Map([['old', Buffer.from('was here')]]))
  const names = readdirSync(recorded).filter((name) => name !== 'acks')
  expect(found.diskAt(found.length).current).toEqual(new Map(names.map((name) => [name, readFileSync(at(name))])))
  rmSync(recorded, { recursive: true })
})
