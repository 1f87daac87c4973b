import { assert } from './assert.ts'
import { copyBytes } from './bytes.ts'

/** Bytes of a page. All rows of a page have one size. */
const PAGE_BYTES = 0x10000
/** Rows of a page at most: a row number is a page number and a place in that page. */
const PLACES = 4096
/** The longest row. */
export const ROW_MAX = 4096

/** A page of rows of one size. `first` is the first of its free rows, which are linked; 0 if there is none. */
interface Page {
  readonly number: number
  readonly bytes: Uint8Array
  /** Bytes of each of its rows. */
  readonly size: number
  used: number
  first: number
  /** Places from here on were never used, and take no memory yet. */
  fresh: number
  /** Where it is among the pages of its size that have room; -1 if it is full. */
  open: number
}

/**
 * Rows of bytes in large arrays: a row takes its bytes, rounded up to the next size, and nothing for the garbage collector. An
 * object with the same fields takes several times that, and a collection has to visit it. Empty pages are given back.
 */
export class SlabRows {
  readonly #pages: (Page | undefined)[] = []
  /** Numbers of pages that were given back. */
  #vacant: number[] = []
  /** The pages with room, by the size of their rows. */
  readonly #open = new Map<number, Page[]>()
  #rows = 0
  #bytes = 0

  /** Bytes of memory that the rows take, and those that have been freed in pages that are still used. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Stores a copy of the first `length` bytes, at most `ROW_MAX`. Returns the number of the row, which is never 0. `room`: bytes to
   * which `replace` can extend it where it is.
   */
  add(bytes: Uint8Array, length: number, room = length): number {
    const size = sizeFor(Math.max(length, Math.min(room, ROW_MAX)))
    const page = this.#open.get(size)?.at(-1) ?? this.#newPage(size)
    const place = this.#take(page)
    const row = page.number * PLACES + place
    this.#rows++
    copyBytes(page.bytes, place * size, bytes, 0, length)
    return row
  }

  /** Replaces what a row holds. Returns its number, which is another one unless the length rounds up to the same size. */
  replace(row: number, bytes: Uint8Array, length: number): number {
    const page = this.#pageOf(row)
    if (sizeFor(length) !== page.size) {
      this.delete(row)
      return this.add(bytes, length)
    }
    copyBytes(page.bytes, this.start(row), bytes, 0, length)
    return row
  }

  /** The array that contains the row, from `start(row)` on. It may change with the next `add` or `delete`. */
  page(row: number): Uint8Array {
    return this.#pageOf(row).bytes
  }

  start(row: number): number {
    return (row % PLACES) * this.#pageOf(row).size
  }

  delete(row: number): void {
    const page = this.#pageOf(row)
    page.used--
    this.#rows--
    if (page.used === 0) {
      this.#empty(page)
      return
    }
    const place = row % PLACES
    setLink(page.bytes, place * page.size, page.first)
    // Place 0 is a place too: the link is one more than the place.
    page.first = place + 1
    if (page.open < 0) this.#setOpen(page)
  }

  #pageOf(row: number): Page {
    const page = this.#pages[Math.floor(row / PLACES)]
    assert(page !== undefined, 'a row is in a page')
    return page
  }

  #take(page: Page): number {
    let place = page.first - 1
    if (place >= 0) page.first = link(page.bytes, place * page.size)
    else {
      place = page.fresh++
      this.#bytes += page.size
    }
    page.used++
    if (page.first === 0 && (page.fresh + 1) * page.size > PAGE_BYTES) this.#setFull(page)
    return place
  }

  #newPage(size: number): Page {
    // Page 0 does not exist, so that no row has the number 0.
    const number = this.#vacant.pop() ?? Math.max(1, this.#pages.length)
    const page: Page = { number, bytes: new Uint8Array(PAGE_BYTES), size, used: 0, first: 0, fresh: 0, open: -1 }
    this.#pages[number] = page
    this.#setOpen(page)
    return page
  }

  /** Gives back an empty page, unless it is the only one of its size with room: one row may come and go. */
  #empty(page: Page): void {
    this.#bytes -= page.fresh * page.size
    page.fresh = 0
    page.first = 0
    if (page.open < 0) this.#setOpen(page)
    if (this.#rows === 0) {
      this.#pages.length = 0
      this.#vacant = []
      this.#open.clear()
    } else if (this.#open.get(page.size)!.length > 1) {
      this.#setFull(page)
      this.#pages[page.number] = undefined
      this.#vacant.push(page.number)
    }
  }

  #setOpen(page: Page): void {
    const open = this.#open.get(page.size)
    if (open === undefined) this.#open.set(page.size, [page])
    else open.push(page)
    page.open = (open?.length ?? 1) - 1
  }

  #setFull(page: Page): void {
    const open = this.#open.get(page.size)!
    const last = open.pop()!
    if (last !== page) {
      open[page.open] = last
      last.open = page.open
    }
    page.open = -1
    if (open.length === 0) this.#open.delete(page.size)
  }
}

/** Sizes in steps of 16 bytes, later of 64 and 512: at most 34 sizes, each with a page that is partly used. */
function sizeFor(length: number): number {
  assert(length <= ROW_MAX, 'a row is not too long')
  const step = length <= 256 ? 16 : length <= 1024 ? 64 : 512
  return Math.max(16, Math.ceil(length / step) * step)
}

const link = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!

function setLink(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}
