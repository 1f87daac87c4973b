export const SECTOR = 512

/** A change of a file that has not been synced. */
interface Change {
  /** Index of its journal entry. */
  readonly at: number
  readonly kind: 'write' | 'truncate'
  /** Of a write: where its data starts. Of a truncation: the new size. */
  readonly offset: number
  readonly data: Buffer
  /** A sync that covered it failed. Linux then marks the pages clean: no later sync writes them. */
  isForsaken: boolean
}

const NOTHING = Buffer.alloc(0)

/** How a power cut treats unsynced changes. */
type Policy = 'all' | 'none' | 'prefix' | 'changes' | 'sectors'
const POLICIES: readonly Policy[] = ['all', 'none', 'prefix', 'prefix', 'changes', 'changes', 'sectors', 'sectors', 'sectors']
const CHANCES = [0, 0.1, 0.5, 0.9, 1]

export interface Remains {
  readonly content: Buffer
  /** What happened to unsynced changes, for failure messages. */
  readonly outcome: string
}

/** The content of one file: what is safely on disk, and the changes that are not. */
export class DiskFile {
  /** Zeros after `#size`. */
  #durable: Buffer = NOTHING
  #size = 0
  #pending: Change[] = []

  constructor(content: Buffer = NOTHING) {
    this.#apply({ at: -1, kind: 'write', offset: 0, data: content, isForsaken: false })
  }

  write(at: number, offset: number, data: Buffer): void {
    this.#pending.push({ at, kind: 'write', offset, data, isForsaken: false })
  }

  truncate(at: number, size: number): void {
    this.#pending.push({ at, kind: 'truncate', offset: size, data: NOTHING, isForsaken: false })
  }

  /** A sync that began at entry `begin` has succeeded. Later changes are not covered. */
  synced(begin: number): void {
    const pending = this.#pending
    const count = countBefore(pending, begin)
    const covered = pending.slice(0, count)
    const later = pending.slice(count)
    if (!covered.some((change) => change.isForsaken)) {
      for (const change of covered) this.#apply(change)
      this.#pending = later
      return
    }
    // A sector that was written again is written as a whole, with what an earlier failed sync left behind in the same sector.
    const rewritten = new Set(covered.filter((change) => !change.isForsaken).flatMap((change) => [...sectorsOf(change)]))
    let forsaken: Change[] = []
    for (const change of covered) {
      if (change.kind === 'truncate') {
        this.#apply(change)
        forsaken = forsaken.flatMap((old) => pieces(old, (_, end) => end <= change.offset))
      } else if (change.isForsaken) {
        // The size is metadata, which the file system's own journal keeps.
        if (change.offset + change.data.length > this.#size) this.#resize(change.offset + change.data.length)
        for (const piece of pieces(change, (sector) => rewritten.has(sector))) this.#apply(piece)
        forsaken.push(...pieces(change, (sector) => !rewritten.has(sector)))
      } else {
        this.#apply(change)
      }
    }
    this.#pending = [...forsaken, ...later]
  }

  syncFailed(begin: number): void {
    for (const change of this.#pending) if (change.at < begin) change.isForsaken = true
  }

  /** Content as the process saw it: every change applied. */
  get current(): Buffer {
    const file = new DiskFile(this.#durable.subarray(0, this.#size))
    for (const change of this.#pending) file.#apply(change)
    return file.#durable.subarray(0, file.#size)
  }

  /**
   * Content as a power cut leaves it. The disk writes whole sectors of the page cache, at any time and in any order, so a sector
   * holds one of its versions: the synced one or that after any later write. The size follows the order of changes, because
   * file systems journal it, but data of a write can be missing where the size has grown (zeros), or be there when it has not.
   */
  afterPowerCut(random: () => number, policy: Policy = pick(POLICIES, random)): Remains {
    const pending = this.#pending
    const count = pending.length
    if (count === 0) return { content: this.#durable.subarray(0, this.#size), outcome: 'synced' }

    const chance = pick(CHANCES, random)
    const prefix = Math.floor(random() * (count + 1))
    const keepsChange = policy === 'changes' ? pending.map(() => random() < chance) : []
    const isKept = (index: number): boolean => {
      if (policy === 'all' || policy === 'none') return policy === 'all'
      if (policy === 'prefix') return index < prefix || (index === prefix && random() < 0.5)
      return policy === 'changes' ? keepsChange[index]! : random() < chance
    }
    const resized = policy === 'all' ? count : policy === 'none' ? 0 : policy === 'prefix' ? prefix : resizedOf(count, random)

    // The last version of each sector that reached the disk; it includes earlier writes to the same sector.
    const version = new Map<number, number>()
    let keptSectors = 0
    for (let i = count - 1; i >= 0; i--) {
      for (const sector of sectorsOf(pending[i]!)) {
        if (version.has(sector) || !isKept(i)) continue
        version.set(sector, i)
        keptSectors++
      }
    }

    const sizes = [this.#size]
    for (const { kind, offset, data } of pending) {
      sizes.push(kind === 'truncate' ? offset : Math.max(sizes.at(-1)!, offset + data.length))
    }
    const content = Buffer.alloc(sizes.reduce((a, b) => Math.max(a, b)))
    this.#durable.copy(content, 0, 0, this.#size)
    // Where a truncation has not happened, the blocks of later writes do not belong to the file.
    let reachable = Number.POSITIVE_INFINITY
    for (const [i, change] of pending.entries()) {
      if (change.kind === 'truncate') {
        if (i < resized) content.fill(0, change.offset)
        else reachable = Math.min(reachable, change.offset)
      } else {
        for (const { offset, data } of pieces(change, (sector) => (version.get(sector) ?? -1) >= i)) {
          if (offset < reachable) data.copy(content, offset, 0, Math.min(data.length, reachable - offset))
        }
      }
    }
    const size = sizeBetween(sizes[resized]!, sizes[resized + 1], policy, random)
    const range = `${size} of ${sizes[0]} to ${sizes.at(-1)}`
    const outcome = `${count} unsynced changes (${policy}): ${keptSectors} sectors kept, size ${range}`
    return { content: content.subarray(0, size), outcome }
  }

  #apply({ kind, offset, data }: Change): void {
    if (kind === 'truncate') {
      this.#resize(offset)
    } else if (data.length > 0) {
      if (offset + data.length > this.#size) this.#resize(offset + data.length)
      data.copy(this.#durable, offset)
    }
  }

  #resize(size: number): void {
    if (size > this.#durable.length) {
      const larger = Buffer.alloc(Math.max(size, 2 * this.#durable.length))
      this.#durable.copy(larger)
      this.#durable = larger
    }
    if (size < this.#size) this.#durable.fill(0, size, this.#size)
    this.#size = size
  }
}

function countBefore(changes: readonly Change[], at: number): number {
  const index = changes.findIndex((change) => change.at >= at)
  return index < 0 ? changes.length : index
}

function* sectorsOf({ offset, data }: Change): Generator<number> {
  const end = offset + data.length
  for (let sector = Math.floor(offset / SECTOR); sector * SECTOR < end; sector++) yield sector
}

/** The parts of a write in the sectors that `select` accepts, adjacent ones in one. `end`: where the part in that sector ends. */
function pieces(change: Change, select: (sector: number, end: number) => boolean): Change[] {
  const { offset, data } = change
  const found: Change[] = []
  let start = -1
  const close = (end: number): void => {
    if (start >= 0) found.push({ ...change, offset: start, data: data.subarray(start - offset, end - offset) })
    start = -1
  }
  for (const sector of sectorsOf(change)) {
    const begin = Math.max(offset, sector * SECTOR)
    const isSelected = select(sector, Math.min(offset + data.length, (sector + 1) * SECTOR))
    if (isSelected && start < 0) start = begin
    if (!isSelected) close(begin)
  }
  close(offset + data.length)
  return found
}

/** How many changes of the size have happened. */
function resizedOf(count: number, random: () => number): number {
  const draw = random()
  return draw < 0.3 ? 0 : draw < 0.6 ? count : Math.floor(random() * (count + 1))
}

/** A file that grows can also be cut off at a sector within the last write. */
function sizeBetween(size: number, next: number | undefined, policy: Policy, random: () => number): number {
  if (next === undefined || next <= size || policy === 'none' || random() < 0.5) return size
  const sectors = Math.floor(next / SECTOR) - Math.ceil(size / SECTOR)
  return sectors < 0 ? size : (Math.ceil(size / SECTOR) + Math.floor(random() * (sectors + 1))) * SECTOR
}

export function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)]!
}
