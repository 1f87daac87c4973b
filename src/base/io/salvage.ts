import { existsSync, statSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { readRow } from '../rows.ts'
import type { Lsn } from '../store.ts'
import { commitFailure } from './commit-failure.ts'
import { CHECKPOINT_KEY, Databases, FORMAT_KEY, keyLsn, lsnKey, READABLE, syncDirectories } from './databases.ts'
import { checked } from './group-commit.ts'
import { type Damage, PageFile } from './lmdb-pages.ts'

/** Names of lmdb's files in a directory. */
const DATA = 'data.mdb'
const LOCK = 'lock.mdb'
/** Where a new store is made of what is left of a damaged one, inside its directory. */
const SALVAGED = 'salvaged'

/** Of rows, in one transaction of the new store. */
const BATCH_BYTES = 1024 * 1024

const TREES = ['log\0', 'meta\0', 'rows\0']
/** Formats 2 and 3. */
const TREES_WITHOUT_ROWS = ['log\0', 'meta\0']

/** What came of a damaged store. */
export interface Salvage {
  /** What was wrong, in one line. */
  readonly damage: string
  /** Where the damaged files are now. */
  readonly movedTo: string
  readonly rows: number
  readonly commits: number
}

/**
 * Looks at the data file in `dir` before lmdb maps it: where a file is damaged, mapping it can end the process with a signal. A damaged one
 * is moved aside, and what can be read of it becomes a new one; `undefined` if there is nothing to mend.
 *
 * The new one is complete before the old one moves, so that a crash at any point leaves one of the two to begin with again.
 */
export async function mend(dir: string, now: Date): Promise<Salvage | undefined> {
  const path = join(dir, DATA)
  const salvaged = join(dir, SALVAGED)
  if (!existsSync(path) && existsSync(join(salvaged, DATA))) await rename(join(salvaged, DATA), path)
  await rm(salvaged, { recursive: true, force: true })
  if (!existsSync(path) || statSync(path).size === 0) return undefined
  const damage = inspect(path)
  if (damage === undefined) return undefined
  await mkdir(salvaged, { mode: 0o700 })
  const { rows, commits } = await salvage(path, salvaged)
  await syncDirectories(salvaged, dir)
  const movedTo = await moveAside(dir, now)
  await rename(join(salvaged, DATA), path)
  await rm(salvaged, { recursive: true, force: true })
  await syncDirectories(dir, dir)
  return { damage, movedTo, rows, commits }
}

/** What is wrong with a data file, in one line. Every page and every checksum is looked at. */
export function inspect(path: string): string | undefined {
  const damages: Damage[] = []
  const onDamage = (damage: Damage): void => void damages.push(damage)
  const file = new PageFile(path)
  try {
    if (!file.isKnown) return undefined
    const [newest] = file.metas(onDamage)
    if (newest !== undefined && damages.length === 0) {
      for (const _entry of file.entries(newest.free, onDamage)) if (damages.length > 0) break
      const trees = file.trees(newest.main, onDamage)
      const format = [...file.entries(trees.get('meta\0') ?? NONE, onDamage)].find(({ key }) => key.equals(FORMAT_KEY))?.value[0]
      // A version that is not known here is left to whoever knows it.
      if (format !== undefined && !READABLE.includes(format)) return undefined
      for (const name of ['log\0', 'rows\0']) {
        let before = Buffer.alloc(0)
        for (const { key, value } of file.entries(trees.get(name) ?? NONE, onDamage)) {
          if (Buffer.compare(before, key) >= 0) onDamage({ page: -1, reason: `keys are out of order at ${key.toString('hex')}` })
          if (checked(value) === undefined)
            onDamage({ page: -1, reason: `the checksum of ${key.toString('hex')} does not match` })
          if (damages.length > 0) break
          before = Buffer.from(key)
        }
      }
    }
  } finally {
    file.close()
  }
  const [first] = damages
  if (first === undefined) return undefined
  return first.page < 0 ? first.reason : `page ${first.page}: ${first.reason}`
}

const NONE = { root: -1 }

/** Writes what can be read of a data file into a new store in `to`. */
async function salvage(path: string, to: string): Promise<{ rows: number; commits: number }> {
  const { rows, log, checkpoint } = readAll(path)
  const databases = new Databases(to, { durability: 'process' })
  try {
    let bytes = 0
    let puts: Promise<unknown>[] = []
    for (const [key, value] of rows) {
      puts.push(databases.rows.put(Buffer.from(key, 'latin1'), value).catch(commitFailure))
      bytes += value.length
      if (bytes < BATCH_BYTES) continue
      await all(puts)
      puts = []
      bytes = 0
    }
    const commits = [...log].filter(([number]) => number > checkpoint).sort(([a], [b]) => a - b)
    // Numbered anew, because what could not be read has left gaps.
    for (const [i, [, value]] of commits.entries()) {
      puts.push(databases.log.put(lsnKey(i + 1), value).catch(commitFailure))
      await all(puts)
      puts = []
    }
    await all(puts)
    return { rows: rows.size, commits: commits.length }
  } finally {
    await databases.close()
    // Once for everything.
    const file = await open(join(to, DATA), 'r')
    await file.sync().finally(() => file.close())
  }
}

/** Each put of a transaction that fails rejects, and its reason has to be looked at in that turn. Rejects with why it failed. */
async function all(puts: readonly Promise<unknown>[]): Promise<void> {
  const errors = await Promise.all(puts)
  const failed = errors.find((error) => typeof error === 'string')
  if (failed !== undefined) throw new Error(`it is damaged, and its salvage failed: ${failed}`)
}

/** Rows by their keys (latin1), commits by their numbers. */
interface Remains {
  readonly rows: Map<string, Buffer>
  readonly log: Map<Lsn, Buffer>
  checkpoint: Lsn
}

/**
 * The trees of the newest transaction that can be found, as far as they can be read; then, if something of them is missing, the leaves that
 * belong to no tree and are not free.
 */
function readAll(path: string): Remains {
  const remains: Remains = { rows: new Map(), log: new Map(), checkpoint: 0 }
  const file = new PageFile(path)
  try {
    let damaged = false
    const onDamage = (): void => {
      damaged = true
    }
    const metas = file.metas(() => {})
    const roots = [...metas.map(({ main }) => main), ...file.rootsOf(TREES), ...file.rootsOf(TREES_WITHOUT_ROWS)]
    const trees = roots.map((root) => file.trees(root, () => {})).find((found) => found.has('log\0') && found.has('meta\0'))
    for (const [name, tree] of trees ?? [])
      for (const { key, value } of file.entries(tree, onDamage)) keep(remains, name, key, value)
    if (trees !== undefined && !damaged) return remains
    for (const free of metas.slice(0, 1)) for (const { value } of file.entries(free.free, () => {})) markFree(file, value)
    addStrays(remains, file)
    return remains
  } finally {
    file.close()
  }
}

function keep(remains: Remains, name: string, key: Buffer, value: Buffer): void {
  const { rows, log } = remains
  if (name === 'meta\0' && key.equals(CHECKPOINT_KEY) && value.length === 8) remains.checkpoint = keyLsn(value)
  else if (name === 'log\0' && key.length === 8 && checked(value) !== undefined) log.set(keyLsn(key), Buffer.from(value))
  else if (name === 'rows\0' && isRow(value)) rows.set(key.toString('latin1'), Buffer.from(value))
}

function isRow(value: Buffer): boolean {
  const bytes = checked(value)
  return bytes !== undefined && typeof readRow(bytes) !== 'string'
}

/** A list of page numbers, after their count. */
function markFree(file: PageFile, value: Buffer): void {
  for (let at = 8; at + 8 <= value.length; at += 8) file.seen.add(Number(value.readBigUInt64LE(at)))
}

function addStrays(remains: Remains, file: PageFile): void {
  const newest = new Map<string, bigint>()
  for (const { key, value, txnId } of file.strays()) {
    const name = key.length === 8 && key[0] === 0 ? 'log\0' : 'rows\0'
    const id = key.toString('latin1')
    const known = name === 'log\0' ? remains.log.has(keyLsn(key)) : remains.rows.has(id)
    const mine = newest.get(id)
    if (mine === undefined ? known : mine > txnId) continue
    newest.set(id, txnId)
    keep(remains, name, key, value)
  }
}

/** Next to the directory, or inside where that is not possible: a directory that is a mount of its own cannot be left by renaming. */
async function moveAside(dir: string, now: Date): Promise<string> {
  const stamp = now.toISOString().replaceAll(':', '-').slice(0, 19)
  const places = [join(dirname(dir), `${basename(dir)}.damaged-${stamp}`), join(dir, `damaged-${stamp}`)]
  for (const [i, place] of places.entries()) {
    try {
      await mkdir(place, { mode: 0o700 })
      await rename(join(dir, DATA), join(place, DATA))
      await rename(join(dir, LOCK), join(place, LOCK)).catch(() => {})
      return place
    } catch (error) {
      await rm(place, { recursive: true, force: true })
      if (i === places.length - 1) throw error
    }
  }
  return ''
}
