import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import process from 'node:process'
import { type Connection, failureOf, openDatabase } from './sqlite.ts'

/** Identifies one opening of the store by one process. */
export interface Owner {
  readonly pid: number
  /** Changes with each boot of the machine; empty where the system has none. */
  readonly bootId: string
  /** When the process started, in the system's own words: together with `pid` it names one process of this boot. */
  readonly started: string
  /** Each commit checks that this is still in the store. */
  readonly token: string
}

export function thisProcess(): Owner {
  return { pid: process.pid, bootId: bootId(), started: startOf(process.pid), token: randomBytes(16).toString('hex') }
}

/** Whether the process that wrote this still runs. What cannot be found out counts as running. */
export function isRunning(owner: Omit<Owner, 'token'>): boolean {
  if (owner.bootId !== bootId()) return false
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  // A zombie has ended: its parent has not waited for it, and may never do so.
  if (statOf(owner.pid)[0] === 'Z') return false
  const started = startOf(owner.pid)
  return started === '' || owner.started === '' || started === owner.started
}

/** Empty where the system has none. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

/** Empty if it cannot be found out. */
function startOf(pid: number): string {
  try {
    if (process.platform !== 'linux') return execFileSync('ps', ['-o', 'lstart=', '-p', `${pid}`], { encoding: 'utf8' }).trim()
    // Field 22, clock ticks since boot.
    return statOf(pid)[19] ?? ''
  } catch {
    return ''
  }
}

/** What Linux says of a process [proc(5)], from the third field on: the second is a name that may hold anything. */
function statOf(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return []
  }
}

/**
 * Keeps a data directory for one process until `release`, or until the process ends, however it ends. The lock is SQLite's own,
 * on a database of its own: the kernel holds it for the process, across containers that share the directory, and there is no
 * stale lock to clean up. It is a courtesy that gives a second process a clear error; what makes two writers impossible is the
 * owner's token in the store.
 */
export class DirectoryLock {
  readonly #connection: Connection

  private constructor(connection: Connection) {
    this.#connection = connection
  }

  /** `undefined` if another process holds it. @throws */
  static acquire(path: string): DirectoryLock | undefined {
    // Not where it is there: a file that this process closes takes the locks along that it holds on it.
    if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600))
    const connection = openDatabase(path)
    try {
      connection.exec('PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
      return new DirectoryLock(connection)
    } catch (error) {
      connection.close()
      if (failureOf(error).kind === 'busy') return undefined
      throw error
    }
  }

  release(): void {
    this.#connection.close()
  }
}
