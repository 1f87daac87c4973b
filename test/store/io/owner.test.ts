import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Database } from '../../../src/store/io/database.ts'
import { DirectoryLock, isRunning, type Owner, thisProcess } from '../../../src/store/io/owner.ts'
import type { SqliteStore } from '../../../src/store/io/sqlite-store.ts'
import type { Lsn, StoreRecord } from '../../../src/store/store.ts'
import { commit, done, message, messages, Stores } from './stores.ts'

let stores: Stores
let children: ChildProcess[]
beforeEach(() => {
  stores = new Stores()
  children = []
})
afterEach(async () => {
  for (const child of children) await kill(child)
  await stores.end()
})

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/** The first line of what a process writes. */
async function firstLine(child: ChildProcess): Promise<string> {
  children.push(child)
  const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
  return line
}

/** A process with the store open, as `npm run build` has made it, and one message in it. */
async function startHolder(): Promise<ChildProcess> {
  const module = new URL('../../../dist/store/io/sqlite-store.js', import.meta.url)
  const record: StoreRecord = { type: 'session-end', key: 'mqtt:s' }
  const program = `
    const listener = { onDurable: () => console.log('durable'), onFailed: console.log, onRecovered: console.log }
    import('${module}')
      .then(({ SqliteStore }) => SqliteStore.open(process.argv[1], listener))
      .then((store) => store.append(${JSON.stringify(record)}))`
  const child = spawn(process.execPath, ['-e', program, stores.dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  expect(await firstLine(child)).toBe('durable')
  return child
}

describe('isRunning', () => {
  const self = thisProcess()

  it('is true of this process, and each opening has a token of its own', () => {
    expect(isRunning(self)).toBe(true)
    expect(thisProcess()).toEqual({ ...self, token: expect.any(String) })
    expect(thisProcess().token).not.toBe(self.token)
  })

  it('is false of a process that has ended', () => {
    const { pid } = spawnSync('true')
    expect(isRunning({ ...self, pid })).toBe(false)
  })

  it('is false of a process whose pid another one has now', () => {
    expect(isRunning({ ...self, started: '1' })).toBe(false)
  })

  it('is false of a process of another boot', () => {
    expect(isRunning({ ...self, bootId: 'another' })).toBe(false)
  })

  it('is true where the time of the start is not known', () => {
    expect(isRunning({ ...self, started: '' })).toBe(true)
  })

  it.runIf(process.platform === 'linux')(
    'is false of a process that has ended and whose parent does not wait for it',
    async () => {
      const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 1000'], { stdio: ['ignore', 'pipe', 'inherit'] })
      const pid = Number(await firstLine(parent))
      const owner: Owner = { ...self, pid, started: '' }
      await vi.waitUntil(() => !isRunning(owner))
      expect(existsSync(`/proc/${pid}`)).toBe(true)
    },
  )
})

describe('DirectoryLock', () => {
  it('is held by one at a time', () => {
    mkdirSync(stores.dir)
    const path = join(stores.dir, 'roost.lock')
    const lock = DirectoryLock.acquire(path)
    expect(DirectoryLock.acquire(path)).toBeUndefined()
    lock!.release()
    const again = DirectoryLock.acquire(path)
    expect(again).toBeDefined()
    again!.release()
  })
})

describe('a store that another process has open', () => {
  it('is refused with its pid, and free when it has been killed', async () => {
    const holder = await startHolder()
    await expect(stores.open()).rejects.toThrow(`store ${stores.dir}: process ${holder.pid} uses it`)
    await kill(holder)
    const store = await stores.open()
    expect(store.durable).toBe(1)
  })

  it('is refused as well when the lock file was removed', async () => {
    const holder = await startHolder()
    rmSync(join(stores.dir, 'roost.lock'))
    for (let i = 0; i < 2; i++) {
      await expect(stores.open()).rejects.toThrow(`store ${stores.dir}: process ${holder.pid} uses it`)
    }
    await kill(holder)
    await stores.reopen()
  })

  it('can be copied while nothing is written, and the copy has no owner', async () => {
    await startHolder()
    const copy = new Stores()
    try {
      cpSync(stores.dir, copy.dir, { recursive: true })
      expect((await copy.open()).durable).toBe(1)
    } finally {
      await copy.end()
    }
  })

  it('is refused when the lock is held and no pid can be read', async () => {
    await stores.reopen()
    const lock = DirectoryLock.acquire(join(stores.dir, 'roost.lock'))!
    await expect(stores.open()).rejects.toThrow(`store ${stores.dir}: another process uses it`)
    lock.release()
    await stores.reopen()
  })
})

describe('files that go away while a store is open', () => {
  const away = (path: string): string => `${path}.away`
  const move = (path: string): void => renameSync(path, away(path))
  const back = (path: string): void => renameSync(away(path), path)

  interface Case {
    readonly path: () => string
    readonly replace?: (path: string) => void
    readonly restore?: (path: string) => void
  }
  const directory = (): string => stores.dir
  const database = (): string => stores.path
  const wal = (): string => `${stores.path}-wal`
  const copy = (path: string): void => cpSync(away(path), path, { recursive: true })
  const remove = (path: string): void => rmSync(path, { recursive: true })
  const CASES: Readonly<Record<string, Case>> = {
    'the directory is moved': { path: directory },
    'an empty directory is in its place': { path: directory, replace: (path) => mkdirSync(path), restore: rmdirSync },
    'a copy of the directory is in its place': { path: directory, replace: copy, restore: remove },
    'the database is moved': { path: database },
    'a copy of the database is in its place': { path: database, replace: copy, restore: remove },
    'the WAL is moved': { path: wal },
    'a copy of the WAL is in its place': { path: wal, replace: copy, restore: remove },
  }

  /** A store with ten messages, and one more that cannot be stored because files were moved. */
  async function lose({ path, replace }: Case): Promise<SqliteStore> {
    const store = await stores.open({ retryMs: 1 })
    for (const each of messages(1, 11)) await commit(store, each)
    move(path())
    replace?.(path())
    expect(store.append(message(11))).toBe(11)
    await vi.waitUntil(() => stores.failures.length > 0)
    return store
  }

  /** Of the store that is there now, and is sound. */
  function lastCommit(): Lsn {
    const database = new Database(stores.path, true)
    try {
      database.verify((problem) => expect.unreachable(problem))
      return database.meta.lsn
    } finally {
      database.close()
    }
  }

  it.each(Object.keys(CASES))('nothing is acknowledged until they are back: %s', async (name) => {
    const each = CASES[name]!
    const path = each.path()
    const store = await lose(each)
    const what = each.replace === undefined ? 'removed' : 'replaced'
    expect(stores.failures).toEqual([`${path} has been ${what} while it was in use`])
    expect(store.append(message(12))).toBe('full')
    expect(store.append(done(1))).toBe(12)
    expect(stores.durable.at(-1)).toBe(10)
    each.restore?.(path)
    back(path)
    await vi.waitUntil(() => store.durable === 12, { timeout: 10_000 })
    expect(stores.failures.slice(1)).toEqual(['recovered'])
    await stores.close(store)
    const ids = (await stores.replayed()).flatMap((record) => (record.type === 'message' ? [record.id] : []))
    expect(ids).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
  })

  it('an older copy that was written over the database is damage, and nothing is acknowledged into it', async () => {
    const small = { retryMs: 1, maxBytes: 2 ** 20 }
    const first = await stores.open(small)
    for (const each of messages(1, 5)) await commit(first, each)
    await stores.close(first)
    const older = join(stores.dir, 'older')
    // By a process of its own: a file that this process closes takes SQLite's locks along.
    execFileSync('cp', [stores.path, older])
    const store = await stores.open(small)
    // Far enough for the WAL to be copied into the database.
    for (let id = 5; id < 80; id++) await commit(store, message(id, 3000))
    execFileSync('cp', [older, stores.path])
    const { durable } = store
    expect(store.append(message(80))).toBe(durable + 1)
    await vi.waitUntil(() => stores.news.length > 0, { timeout: 10_000 })
    expect(stores.news).toEqual([
      { kind: 'damaged', reason: expect.stringMatching(/^another process has written to it: |damaged/) },
    ])
    expect(store.durable).toBe(durable)
    await expect(stores.close(store)).rejects.toThrow('not stored')
  })

  it('the end of the store says what was not stored', async () => {
    const store = await lose({ path: directory })
    await expect(stores.close(store)).rejects.toThrow(
      `store ${stores.dir}: closed with commit 11 not stored: ${stores.dir} has been removed while it was in use`,
    )
    back(stores.dir)
    expect(lastCommit()).toBeGreaterThanOrEqual(10)
  })

  it('the end of the store changes nothing in a copy that is in their place', async () => {
    const store = await lose(CASES['a copy of the directory is in its place']!)
    await expect(stores.close(store)).rejects.toThrow(`${stores.dir} has been replaced while it was in use`)
    expect(lastCommit()).toBe(10)
    remove(stores.dir)
    back(stores.dir)
    expect(lastCommit()).toBeGreaterThanOrEqual(10)
  })
})
