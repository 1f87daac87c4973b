import { Disk } from './faults/disk.ts'
import { type Entry, readEntries } from './faults/journal.ts'
import { Journal } from './faults/power-cut.ts'

/** Added to the numbers of each process, so that they differ from those of earlier ones. */
const PROCESS = 2 ** 32

/**
 * One journal of several processes that had the same directory one after the other. On its own, the journal of a later process takes for durable
 * whatever that process found, also what was only in the system's memory. Returns the index of the first entry of each process, too.
 */
export function joinJournals(paths: readonly string[]): { readonly journal: Journal; readonly starts: readonly number[] } {
  const join = new Join()
  const starts: number[] = []
  for (const path of paths) {
    starts.push(join.entries.length)
    join.add(readEntries(path))
  }
  const journal = new Journal(join.entries)
  const initial = join.entries.length - journal.length
  return { journal, starts: starts.map((start) => Math.max(0, start - initial)) }
}

class Join {
  readonly entries: Entry[] = []
  readonly #disk = new Disk()
  /** Numbers of the files that there are, by name. */
  readonly #names = new Map<string, number>()
  #base = 0

  add(entries: readonly Entry[]): void {
    const isFirst = this.entries.length === 0
    const found = isFirst ? new Map<string, Buffer>() : this.#disk.current
    const numbers = new Map<number, number>()
    for (const entry of entries) {
      if (entry.kind === 'file' && !isFirst) numbers.set(entry.file, this.#found(entry, found.get(entry.name)))
      else this.#push(renumbered(entry, this.#base, numbers))
    }
    this.#base += PROCESS
  }

  #push(entry: Entry): void {
    this.#disk.apply(entry, this.entries.length)
    this.entries.push(entry)
    if (entry.kind === 'file' || entry.kind === 'create') this.#names.set(entry.name, entry.file)
    else if (entry.kind === 'unlink') this.#names.delete(entry.name)
    else if (entry.kind === 'rename') {
      this.#names.delete(entry.name)
      this.#names.set(entry.to, entry.file)
    }
  }

  /** A file that a later process found: its number. The last call of a process that is killed may be missing in its journal. */
  #found({ file, name, data }: Extract<Entry, { kind: 'file' }>, known: Buffer | undefined): number {
    const number = this.#names.get(name) ?? this.#base + file
    if (known === undefined) this.#push({ kind: 'create', file: number, name })
    // The shim does not see what is written to shared memory.
    if (name.endsWith('-shm') || known?.equals(data)) return number
    this.#push({ kind: 'truncate', file: number, size: data.length })
    this.#push({ kind: 'write', file: number, offset: 0, data })
    return number
  }
}

function renumbered(entry: Entry, base: number, numbers: Map<number, number>): Entry {
  if (entry.kind === 'mark') return entry
  const file = numbers.get(entry.file) ?? base + entry.file
  return 'call' in entry ? { ...entry, file, call: base + entry.call } : { ...entry, file }
}
