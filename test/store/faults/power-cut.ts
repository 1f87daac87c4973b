import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Disk } from './disk.ts'
import { type Entry, readEntries } from './journal.ts'

/**
 * Everything that a process did to a directory, as recorded by shim.c. A cut is a number of entries: cut 0 is before the first
 * one, cut `length` after the last one.
 */
export class Journal {
  readonly entries: readonly Entry[]
  /** Files that were there before. */
  readonly #initial: readonly Entry[]
  readonly #names = new Map<number, string>()
  readonly #marks: { readonly at: number; readonly text: string }[] = []
  #disk = new Disk()
  #position = 0

  constructor(entries: readonly Entry[]) {
    const first = entries.findIndex(({ kind }) => kind !== 'file' && kind !== 'directory')
    const start = first < 0 ? entries.length : first
    this.#initial = entries.slice(0, start)
    this.entries = entries.slice(start)
    for (const entry of entries)
      if ('name' in entry) this.#names.set(entry.file, entry.kind === 'directory' ? `${entry.name}/` : entry.name)
    for (const [at, entry] of this.entries.entries()) {
      if (entry.kind !== 'mark') continue
      for (const text of entry.text.split('\n')) if (text !== '') this.#marks.push({ at, text })
    }
    this.#rewind()
  }

  get length(): number {
    return this.entries.length
  }

  /** Lines that the process had written to the file `acks`, or the test with `appendMark`. */
  acknowledgedBefore(cut: number): string[] {
    const end = this.#marks.findIndex(({ at }) => at >= cut)
    return this.#marks.slice(0, end < 0 ? undefined : end).map(({ text }) => text)
  }

  /**
   * Chooses different cuts, at most `count`, in ascending order. Half of them are right after an acknowledgement, where a loss
   * shows best.
   */
  cuts(count: number, random: () => number): number[] {
    const chosen = new Set<number>()
    if (count > this.length) return Array.from({ length: this.length + 1 }, (_, cut) => cut)
    for (let i = 0; i < count; i++) {
      const mark = i % 2 === 0 ? this.#marks[Math.floor(random() * this.#marks.length)] : undefined
      chosen.add(mark === undefined ? Math.floor(random() * (this.length + 1)) : mark.at + 1)
    }
    return [...chosen].sort((a, b) => a - b)
  }

  /** The disk after the first `cut` entries. Replays from the previous cut if that was not later. */
  diskAt(cut: number): Disk {
    if (cut < 0 || cut > this.length) throw new RangeError(`cut ${cut} is not between 0 and ${this.length}`)
    if (cut < this.#position) this.#rewind()
    for (; this.#position < cut; this.#position++) this.#disk.apply(this.entries[this.#position]!, this.#position)
    return this.#disk
  }

  /** The last entries before a cut, for failure messages. */
  describe(cut: number, count = 10): string[] {
    const from = Math.max(0, cut - count)
    return this.entries.slice(from, cut).map((entry, i) => `${from + i} ${this.#describe(entry)}`)
  }

  #describe(entry: Entry): string {
    if (entry.kind === 'mark') return `mark ${JSON.stringify(entry.text)}`
    const text = `${entry.kind} ${'name' in entry ? entry.name : this.#names.get(entry.file)}`
    if (entry.kind === 'write') return `${text}: ${entry.data.length} bytes at ${entry.offset}`
    if (entry.kind === 'truncate') return `${text}: to ${entry.size} bytes`
    return entry.kind === 'rename' ? `${text}: to ${entry.to}` : text
  }

  #rewind(): void {
    this.#disk = new Disk()
    for (const entry of this.#initial) this.#disk.apply(entry, -1)
    this.#position = 0
  }
}

export interface Rebuilt {
  /** Must have survived. */
  readonly acknowledged: readonly string[]
  /** What happened to unsynced changes, for failure messages. */
  readonly outcome: readonly string[]
}

export function readJournal(path: string): Journal {
  return new Journal(readEntries(path))
}

/**
 * Replaces `targetDir` by one of the states in which a power cut at `cut` can leave the recorded directory. The same random
 * numbers give the same state. Ascending cuts are fastest.
 */
export function rebuild(journal: Journal, cut: number, random: () => number, targetDir: string): Rebuilt {
  const { files, outcome } = journal.diskAt(cut).powerCut(random)
  rmSync(targetDir, { recursive: true, force: true })
  mkdirSync(targetDir, { recursive: true })
  for (const [name, content] of files) {
    const path = join(targetDir, name)
    if (name.includes('/')) mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }
  return { acknowledged: journal.acknowledgedBefore(cut), outcome }
}
