import { dirname } from 'node:path'
import { DiskFile, pick } from './disk-file.ts'
import type { Entry } from './journal.ts'

/** A change of directory entries that has not been synced. */
interface NameChange {
  /** Index of its journal entry. */
  readonly at: number
  readonly kind: 'create' | 'unlink' | 'rename'
  readonly file: number
  readonly name: string
  /** Of a rename. */
  readonly to?: string
}

/** What a power cut leaves. */
export interface Wreck {
  readonly files: ReadonlyMap<string, Buffer>
  /** One line for each file or name with unsynced changes. */
  readonly outcome: readonly string[]
}

/**
 * A directory on a disk with a volatile cache. Sync makes the earlier changes of one file durable, sync of a directory the
 * names in it. As on ext4, XFS and Btrfs, syncing a file also makes its own creation or renaming durable; unlike there, it does
 * nothing for other files, so programs that depend on this are found as well.
 */
export class Disk {
  readonly #files = new Map<number, DiskFile>()
  /** Numbers of directories, with their names. */
  readonly #directories = new Map<number, string>()
  /** Durable names. */
  readonly #names = new Map<string, number>()
  #pending: NameChange[] = []
  /** Index of the first entry of each sync that runs. */
  readonly #syncs = new Map<number, number>()

  /** Carries out entry `at` of the journal. */
  apply(entry: Entry, at: number): void {
    switch (entry.kind) {
      case 'file':
        this.#files.set(entry.file, new DiskFile(entry.data))
        this.#names.set(entry.name, entry.file)
        return
      case 'directory':
        this.#directories.set(entry.file, entry.name)
        return
      case 'create':
        this.#files.set(entry.file, new DiskFile())
        this.#pending.push({ ...entry, kind: 'create', at })
        return
      case 'unlink':
      case 'rename':
        this.#pending.push({ ...entry, at })
        return
      case 'write':
        this.#files.get(entry.file)?.write(at, entry.offset, entry.data)
        return
      case 'truncate':
        this.#files.get(entry.file)?.truncate(at, entry.size)
        return
      case 'sync-begin':
        this.#syncs.set(entry.call, at)
        return
      case 'sync-end':
        this.#synced(entry.file, this.#syncs.get(entry.call)!)
        this.#syncs.delete(entry.call)
        return
      case 'sync-failed':
        this.#files.get(entry.file)?.syncFailed(this.#syncs.get(entry.call)!)
        this.#syncs.delete(entry.call)
        return
      case 'mark':
        return
    }
  }

  /** What the process sees: every change applied. */
  get current(): ReadonlyMap<string, Buffer> {
    const names = new Map(this.#names)
    for (const change of this.#pending) carryOut(change, names)
    return new Map(Array.from(names, ([name, file]) => [name, this.#files.get(file)!.current]))
  }

  /** One of the states in which a power cut can leave the directory. */
  powerCut(random: () => number): Wreck {
    const outcome: string[] = []
    // Extremes are rare if every file decides for itself, and worth trying: kill -9, and a cache that is lost entirely.
    const extreme = pick(['all', 'none', undefined, undefined, undefined, undefined] as const, random)
    const names = new Map(this.#names)
    const chance = extreme === 'all' ? 1 : extreme === 'none' ? 0 : random()
    // File systems journal changes of names in order: what depends on a lost change is lost as well.
    const lost = new Set<string | number>()
    for (const change of this.#pending) {
      const touched = touchedBy(change)
      const happened = random() < chance && !touched.some((name) => lost.has(name))
      if (happened) carryOut(change, names)
      else for (const name of touched) lost.add(name)
      outcome.push(
        `${change.name}: ${change.kind}${change.to === undefined ? '' : ` to ${change.to}`} ${happened ? 'kept' : 'lost'}`,
      )
    }
    const files = new Map<string, Buffer>()
    for (const [name, number] of names) {
      const remains = this.#files.get(number)!.afterPowerCut(random, extreme)
      files.set(name, remains.content)
      if (remains.outcome !== 'synced') outcome.push(`${name}: ${remains.outcome}`)
    }
    return { files, outcome }
  }

  #synced(number: number, begin: number): void {
    const directory = this.#directories.get(number)
    if (directory === undefined) {
      this.#files.get(number)?.synced(begin)
      this.#settleNames(({ kind, file, at }) => kind !== 'unlink' && file === number && at < begin)
    } else {
      this.#settleNames(({ name, to, at }) => at < begin && (isIn(directory, name) || (to !== undefined && isIn(directory, to))))
    }
  }

  /** Makes the selected changes durable, and earlier ones that they depend on. */
  #settleNames(select: (change: NameChange) => boolean): void {
    if (this.#pending.length === 0) return
    const needed = new Set<string | number>()
    const settled: NameChange[] = []
    const left: NameChange[] = []
    for (const change of this.#pending.toReversed()) {
      const touched = touchedBy(change)
      if (select(change) || touched.some((name) => needed.has(name))) {
        for (const name of touched) needed.add(name)
        settled.unshift(change)
      } else {
        left.unshift(change)
      }
    }
    this.#pending = left
    for (const change of settled) carryOut(change, this.#names)
    if (settled.some(({ kind }) => kind !== 'create')) this.#forgetDeleted()
  }

  /** Drops the content of files that have no name any more. */
  #forgetDeleted(): void {
    const named = new Set([...this.#names.values(), ...this.#pending.map(({ file }) => file)])
    for (const number of this.#files.keys()) if (!named.has(number)) this.#files.delete(number)
  }
}

function carryOut({ kind, file, name, to }: NameChange, names: Map<string, number>): void {
  if (kind === 'create') {
    names.set(name, file)
    return
  }
  if (names.get(name) === file) names.delete(name)
  if (kind === 'rename') names.set(to!, file)
}

function touchedBy({ file, name, to }: NameChange): (string | number)[] {
  return to === undefined ? [file, name] : [file, name, to]
}

function isIn(directory: string, name: string): boolean {
  const parent = dirname(name)
  return directory === (parent === '.' ? '' : parent)
}
