import { realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../../base/start-error.ts'
import { stampOf } from '../../config/io/file-stamps.ts'
import { reasonOf } from '../../config/io/text-file.ts'
import { readText } from './access-files.ts'

/** Milliseconds for which another program may hold the lock, and after which it was left behind by one that was killed. */
const LOCKED_MS = 5_000
const STALE_MS = 60_000
const RETRY_MS = 50
/** Milliseconds for which a file must stay unchanged after it was read: a program that is still writing it writes again. */
const QUIET_MS = 50
/** How often a file is read that others change meanwhile. */
const TRIES_MAX = 20

/** A file that cannot be written. */
export class NotWritten extends StartError {
  /** Code of the system: `ENOSPC`; `EBUSY` while another program changes the file. */
  readonly code: string

  constructor(message: string, code: string) {
    super(message)
    this.code = code
  }
}

export interface EditOptions {
  /** The option or the command that the file is read for, in errors. */
  readonly origin: string
  /** What to do without a file, or with the one that is there; by default it is edited, and has to exist. */
  readonly file?: 'may-be-missing' | 'is-replaced'
  /** Milliseconds to wait for other programs; `LOCKED_MS` by default. */
  readonly patienceMs?: number
}

/** The text of a file, and what is known by it. */
export interface Edited<T> {
  readonly text: string
  readonly value: T
}

/**
 * Replaces a password file by what `edit` makes of its text. Only its owner may read it then, and the owner stays the same, so that
 * setting a password as root does not lock out the broker.
 *
 * The new text is written to `FILE.new`, which is also the lock: commands and requests that change one file wait for each other. If
 * an editor has changed the file in the meantime, `edit` is called again with its text. Readers see the old text or the new one,
 * also after a power cut.
 * @throws StartError of one line, or what `edit` throws; then the file is unchanged
 */
export async function editPasswordFile<T>(
  path: string,
  edit: (text: string) => Edited<T> | Promise<Edited<T>>,
  options: EditOptions,
): Promise<Edited<T>> {
  try {
    for (let left = TRIES_MAX; left > 0; left--) {
      const edited = await tryEdit(path, edit, options)
      if (edited !== undefined) return edited
    }
  } catch (error) {
    if (error instanceof StartError) throw error
    throw new NotWritten(`cannot write ${path}: ${reasonOf(error)}`, (error as NodeJS.ErrnoException).code ?? '')
  }
  throw new NotWritten(`cannot write ${path}: other programs change it all the time`, 'EBUSY')
}

/** Returns `undefined` if the file has changed since it was read. */
async function tryEdit<T>(
  path: string,
  edit: (text: string) => Edited<T> | Promise<Edited<T>>,
  { origin, file: how, patienceMs = LOCKED_MS }: EditOptions,
): Promise<Edited<T> | undefined> {
  const target = targetOf(path)
  const temporary = `${target}.new`
  const file = await lock(temporary, patienceMs)
  let isOurs = true
  try {
    const before = stampOf(target)
    const isNew = how === 'is-replaced' || (how === 'may-be-missing' && before === '')
    const text = isNew ? '' : readText(path, origin)
    if (!isNew) await sleep(QUIET_MS)
    const isChanged = (): boolean => how !== 'is-replaced' && stampOf(target) !== before
    if (isChanged()) return undefined
    const edited = await edit(text)
    await write(file, target, edited.text)
    // Nothing comes between these, so that no change of an editor is overwritten.
    if (isChanged()) return undefined
    isOurs = statSync(temporary, { bigint: true }).ino === (await file.stat({ bigint: true })).ino
    if (!isOurs || isChanged()) return undefined
    renameSync(temporary, target)
    isOurs = false
    await syncDirectory(dirname(target))
    return edited
  } finally {
    await file.close()
    if (isOurs) await rm(temporary, { force: true })
  }
}

/** A link stays one. */
function targetOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

async function lock(path: string, patienceMs: number): Promise<FileHandle> {
  const until = performance.now() + patienceMs
  for (;;) {
    try {
      return await open(path, 'wx', 0o600)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    if (isBroken(path)) continue
    if (performance.now() > until)
      throw new NotWritten(`${path} exists: another program changes the passwords; if none does, delete it`, 'EBUSY')
    await sleep(RETRY_MS)
  }
}

/** Removes a lock that was left behind; true if there is none any more. */
function isBroken(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) return true
  if (Date.now() - found.mtimeMs < STALE_MS) return false
  // Another program may have done the same, and hold a new lock by now: a rename tells which one it is.
  const aside = `${path}-${process.pid}`
  renameSync(path, aside)
  if (statSync(aside).ino !== found.ino) renameSync(aside, path)
  else rmSync(aside)
  return true
}

async function write(file: FileHandle, target: string, text: string): Promise<void> {
  const found = statSync(target, { throwIfNoEntry: false })
  if (found !== undefined) await file.chown(found.uid, found.gid)
  await file.writeFile(text)
  await file.chmod(0o600)
  await file.sync()
}

/** Makes a rename durable. Not every system can. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r').catch(() => undefined)
  await directory?.sync().catch(() => {})
  await directory?.close()
}
