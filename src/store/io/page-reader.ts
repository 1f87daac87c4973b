import { closeSync, fstatSync, openSync } from 'node:fs'
import {
  type Column,
  columnsOf,
  countCells,
  familyOf,
  type Head,
  headOf,
  isLeaf,
  KIND,
  type Shape,
  shapeOf,
} from './btree-page.ts'
import { isMagic, type Layout, layoutOf, readAll } from './page-layout.ts'

/** A row as found in the file. Its contents are not verified: any byte of it may be damaged. */
export interface Cell {
  /** Page of the cell, counted from 1. Long rows continue on overflow pages. */
  readonly page: number
  /** In the order of the record: the key columns of a WITHOUT ROWID table come first; an INTEGER PRIMARY KEY is null here. */
  readonly columns: readonly Column[]
  /** Undefined in WITHOUT ROWID tables and indexes. */
  readonly rowid: number | undefined
  /** Whether the page is part of a b-tree listed in sqlite_schema, with every page above it readable. */
  readonly isReachable: boolean
}

/** A page that could not be read, wholly or in part. */
export interface Problem {
  readonly page: number
  readonly reason: string
}

const HEADER_BYTES = 100
/** SQLite never uses the page with this offset: locks are taken on it. */
const LOCK_OFFSET = 2 ** 30

/** What a page is used for, as far as is known. */
const USE = { unknown: 0, tree: 1, overflow: 2, free: 3, maybeFree: 4, stray: 5 } as const

/**
 * Reads the rows of a damaged SQLite database file without SQLite. No page is trusted: rows are found wherever a page looks like
 * a b-tree page, even if nothing refers to it any more. The file must not change meanwhile, and its WAL must have been
 * checkpointed.
 */
export class PageReader {
  readonly #file: number
  readonly #fileSize: number
  /** Zeros if it cannot be read. */
  readonly #header = Buffer.alloc(HEADER_BYTES)
  readonly #layout: Layout
  readonly #onProblem: (problem: Problem) => void
  /** Including a last page that is cut off. */
  readonly pageCount: number
  readonly #page: Buffer
  readonly #nextPage = Buffer.alloc(4)
  #uses = new Uint8Array(0)
  #reported = new Uint8Array(0)

  /** Throws only if the file cannot be opened. `onProblem` is called at most once for each page. */
  constructor(path: string, onProblem: (problem: Problem) => void = () => {}) {
    this.#onProblem = onProblem
    this.#file = openSync(path, 'r')
    this.#fileSize = fstatSync(this.#file).size
    readAll(this.#file, this.#header, 0)
    this.#layout = layoutOf(this.#header, this.#file, this.#fileSize)
    this.#page = Buffer.alloc(this.#layout.pageSize)
    this.pageCount = Math.ceil(this.#fileSize / this.#layout.pageSize)
  }

  close(): void {
    closeSync(this.#file)
  }

  /**
   * All rows that can be read: first those of the b-trees, then those of pages that nothing refers to, which may be outdated.
   * Pages of the freelist hold deleted rows and are left out. Columns stay valid; only one iteration may be active at a time.
   */
  *cells(): Iterable<Cell> {
    this.#uses = new Uint8Array(this.pageCount + 2)
    this.#reported = new Uint8Array(this.pageCount + 2)
    const roots: number[] = []
    for (const cell of this.#tree(1)) {
      const [type, , , root] = cell.columns
      // A damaged page of sqlite_schema may refer to a page of another table.
      if (cell.columns.length !== 5 || typeof type !== 'string' || typeof root !== 'number') yield cell
      else if (root > 1) roots.push(root)
    }
    for (const root of roots) yield* this.#tree(root)
    const missing = this.#markFreelist()
    // What is left may be deleted rows of a damaged freelist, and nothing but that if it is as many pages as the freelist lacks.
    if (missing > 0 && this.#unknownPages().length === missing) return
    const trunks = missing === 0 && isMagic(this.#header) ? [] : this.#findTrunks()
    yield* this.#strays(USE.unknown)
    for (const trunk of trunks) if (this.#uses[trunk] !== USE.overflow) this.#markTrunk(trunk, USE.free)
    yield* this.#strays(USE.maybeFree)
    for (const page of this.#unknownPages()) this.#report(page, 'is not in use, and has no readable rows')
  }

  /** The rows of a b-tree whose page is not yet known to be used otherwise. */
  *#tree(root: number): Iterable<Cell> {
    const pages = [{ page: root, parent: 1 }]
    let family: number | undefined
    for (let next = pages.pop(); next !== undefined; next = pages.pop()) {
      const { page, parent } = next
      if (page < 1 || page > this.pageCount) {
        this.#report(parent, `refers to page ${page}, which is not in the file`)
        continue
      }
      if (this.#uses[page] !== USE.unknown) {
        this.#report(parent, `refers to page ${page}, which is already in use`)
        continue
      }
      const head = this.#loadTreePage(page)
      if (typeof head === 'string' || familyOf(head.kind) !== (family ?? familyOf(head.kind))) {
        this.#report(page, typeof head === 'string' ? head : 'is a page of another kind of b-tree')
        continue
      }
      family = familyOf(head.kind)
      this.#uses[page] = USE.tree
      for (const child of this.#children(head)) pages.push({ page: child, parent: page })
      yield* this.#cellsOf(page, head, true)
    }
  }

  /** Pages below the loaded page, the last one first. */
  #children({ kind, pointers, count }: Head): number[] {
    if (isLeaf(kind)) return []
    const children = [this.#page.readUInt32BE(pointers - 4)]
    for (let i = count - 1; i >= 0; i--) {
      const at = this.#page.readUInt16BE(pointers + 2 * i)
      // Zero, which is no page, if the pointer is damaged.
      children.push(at < pointers || at + 4 > this.#layout.usable ? 0 : this.#page.readUInt32BE(at))
    }
    return children
  }

  /** Rows of pages with this use that were not reached through a b-tree. */
  *#strays(use: number): Iterable<Cell> {
    for (let page = 2; page <= this.pageCount; page++) {
      if (this.#uses[page] !== use) continue
      const head = this.#loadTreePage(page)
      // Likely an overflow page whose row is lost.
      if (typeof head === 'string') continue
      this.#uses[page] = USE.stray
      yield* this.#cellsOf(page, head, false)
    }
  }

  /** The rows of the loaded page. Damaged ones are skipped. */
  *#cellsOf(page: number, { kind, pointers, count }: Head, isReachable: boolean): Iterable<Cell> {
    if (kind === KIND.tableInterior) return
    let damaged = 0
    let firstReason = ''
    for (let i = 0; i < count; i++) {
      const at = this.#page.readUInt16BE(pointers + 2 * i)
      const shape = at < pointers ? 'its pointer is damaged' : shapeOf(this.#page, at, kind, this.#layout.usable)
      const payload = typeof shape === 'string' ? shape : this.#payload(shape)
      if (typeof shape === 'string' || typeof payload === 'string') {
        if (damaged++ === 0) firstReason = String(payload)
      } else {
        yield { page, columns: columnsOf(payload, shape), rowid: shape.rowid, isReachable }
      }
    }
    if (damaged > 0) this.#report(page, `${damaged} of ${count} rows are damaged; the first one: ${firstReason}`)
  }

  /** The payload of a cell of the loaded page, in memory of its own. Returns a reason if it cannot be read. */
  #payload({ start, local, size }: Shape): Buffer | string {
    if (local === size) return Buffer.from(this.#page.subarray(start, start + local))
    const { pageSize, usable } = this.#layout
    // The chain must be complete before memory is allocated: the size may be damaged.
    const chain = this.#chain(this.#page.readUInt32BE(start + local), Math.ceil((size - local) / (usable - 4)))
    if (typeof chain === 'string') return chain
    const payload = Buffer.allocUnsafeSlow(size)
    let at = this.#page.copy(payload, 0, start, start + local)
    for (const page of chain) {
      const part = payload.subarray(at, at + usable - 4)
      const failure = readAll(this.#file, part, (page - 1) * pageSize + 4)
      if (failure !== undefined) return `overflow page ${page} ${failure}`
      at += part.length
    }
    return payload
  }

  /** The pages of an overflow chain, which has to be of this length. */
  #chain(first: number, length: number): number[] | string {
    const pages = new Set<number>()
    let page = first
    while (pages.size < length) {
      if (page < 2 || page > this.pageCount || pages.has(page))
        return `overflow page ${pages.size + 1} of ${length} cannot be page ${page}`
      pages.add(page)
      const failure = readAll(this.#file, this.#nextPage, (page - 1) * this.#layout.pageSize)
      if (failure !== undefined) return `overflow page ${page} ${failure}`
      page = this.#nextPage.readUInt32BE()
    }
    // A chain that continues was entered at a wrong page, and may belong to another row.
    if (page === 0) for (const used of pages) if (!isSettled(this.#uses[used])) this.#uses[used] = USE.overflow
    return [...pages]
  }

  /** Marks the pages of the freelist. Returns how many of them were not found. */
  #markFreelist(): number {
    let missing = this.#header.readUInt32BE(36)
    let trunk = this.#header.readUInt32BE(32)
    for (let parent = 1; trunk !== 0; ) {
      const next = trunk <= this.pageCount && this.#uses[trunk] === USE.unknown ? this.#markTrunk(trunk, USE.free) : undefined
      if (next === undefined) {
        this.#report(parent, `refers to page ${trunk}, which is not a freelist page`)
        return missing
      }
      missing -= next.pages
      parent = trunk
      trunk = next.trunk
    }
    if (missing !== 0) this.#report(1, `the freelist lacks ${missing} pages`)
    return missing
  }

  /**
   * Pages that seem to be trunks of the freelist though no other trunk was found to refer to them. Marks the pages that they
   * list.
   */
  #findTrunks(): number[] {
    const trunks: number[] = []
    for (let page = 2; page <= this.pageCount; page++) {
      if (!isSettled(this.#uses[page]) && this.#markTrunk(page, USE.maybeFree) !== undefined) trunks.push(page)
    }
    return trunks
  }

  /**
   * Marks the pages that a trunk of the freelist lists. Returns the next trunk and the number of pages, including the trunk
   * itself, or undefined if this is not a trunk. Without a reference to it, only a trunk without any damage can be told from
   * other pages.
   */
  #markTrunk(page: number, use: typeof USE.free | typeof USE.maybeFree): { trunk: number; pages: number } | undefined {
    if (this.#load(page) !== undefined) return undefined
    const trunk = this.#page.readUInt32BE(0)
    const count = this.#page.readUInt32BE(4)
    if (trunk > this.pageCount || count > this.#layout.usable / 4 - 2) return undefined
    const listed = Array.from({ length: count }, (_, i) => this.#page.readUInt32BE(8 + 4 * i))
    const valid = new Set(listed.filter((leaf) => leaf > 1 && leaf <= this.pageCount))
    if (use === USE.maybeFree && (count === 0 || valid.size < count)) return undefined
    if (use === USE.free) this.#uses[page] = use
    const free = [...valid].filter((leaf) => !isSettled(this.#uses[leaf]))
    for (const leaf of free) this.#uses[leaf] = use
    return { trunk, pages: 1 + free.length }
  }

  /** Loads a b-tree page. Returns a reason if it is none. */
  #loadTreePage(page: number): Head | string {
    const failure = this.#load(page)
    if (failure !== undefined) return failure
    const head = headOf(this.#page, page === 1 ? HEADER_BYTES : 0, this.#layout.usable)
    if (head === undefined) return 'is not a b-tree page'
    const count = countCells(head, this.#page, this.#layout.usable) ?? head.count
    if (count !== head.count) this.#report(page, `has ${count} cells, not ${head.count}`)
    return { ...head, count }
  }

  /** Reads a page into `#page`; one that is cut off is filled up with zeros. Returns a reason if it cannot be read. */
  #load(page: number): string | undefined {
    const start = (page - 1) * this.#layout.pageSize
    const present = Math.min(this.#layout.pageSize, this.#fileSize - start)
    if (present < this.#layout.pageSize) this.#report(page, 'is cut off')
    this.#page.fill(0, present)
    return readAll(this.#file, this.#page.subarray(0, present), start)
  }

  #report(page: number, reason: string): void {
    if (this.#reported[page] === 0) this.#onProblem({ page, reason })
    this.#reported[page] = 1
  }

  /** Pages that were not found to be in use, except the one for locks, and the pointer maps of databases with auto_vacuum. */
  #unknownPages(): number[] {
    const { pageSize, usable } = this.#layout
    const lockPage = Math.floor(LOCK_OFFSET / pageSize) + 1
    const hasMaps = this.#header.readUInt32BE(52) !== 0
    const mapDistance = Math.floor(usable / 5) + 1
    const pages: number[] = []
    for (let page = 1; page <= this.pageCount; page++) {
      const isSpecial = page === lockPage || (hasMaps && (page - 2) % mapDistance === 0)
      if (this.#uses[page] === USE.unknown && !isSpecial) pages.push(page)
    }
    return pages
  }
}

/** Whether the use of a page is certain. */
function isSettled(use: number | undefined): boolean {
  return use !== USE.unknown && use !== USE.maybeFree
}
