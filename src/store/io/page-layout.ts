import { readSync } from 'node:fs'
import { headOf, isLeaf, shapeOf } from './btree-page.ts'

/** How a database file is divided into pages. */
export interface Layout {
  readonly pageSize: number
  /** Page size less the bytes reserved for extensions at the end of each page. */
  readonly usable: number
}

const MAGIC = 'SQLite format 3\0'
/** The most likely one first. */
const PAGE_SIZES = [4096, 1024, 2048, 8192, 16384, 32768, 65536, 512]
const USABLE_MIN = 480

/** Cells that are enough to decide on a layout, and bytes that are read for it at least before fewer will do. */
const SAMPLE_CELLS = 1000
const SAMPLE_BYTES = 64 * 2 ** 20
const CHUNK_BYTES = 65536

/** Returns a reason if fewer bytes than requested could be read. */
export function readAll(file: number, bytes: Buffer, position: number): string | undefined {
  try {
    return readSync(file, bytes, 0, bytes.length, position) === bytes.length ? undefined : 'is cut off'
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`
  }
}

export function isMagic(header: Buffer): boolean {
  return header.toString('latin1', 0, MAGIC.length) === MAGIC
}

/**
 * The layout of a file. The header is not trusted in what would make every row unreadable: if it is damaged, or reserves bytes,
 * which is rare, the layout is the one that gives the most well-formed cells.
 */
export function layoutOf(header: Buffer, file: number, fileSize: number): Layout {
  const pageSize = header.readUInt16BE(16) === 1 ? 65536 : header.readUInt16BE(16)
  const reserved = header[20]!
  const isSound = isMagic(header) && PAGE_SIZES.includes(pageSize)
  if (isSound && reserved === 0) return { pageSize, usable: pageSize }
  const layouts = (isSound ? [pageSize] : PAGE_SIZES).flatMap((size) =>
    (isSound ? [reserved, 0] : [0, reserved]).map((bytes) => ({ pageSize: size, usable: size - bytes })),
  )
  const possible = layouts.filter(({ usable }) => usable >= USABLE_MIN)
  return bestOf(possible, file, fileSize)
}

/** The first one of those with the most well-formed cells in leaves. */
function bestOf(layouts: readonly Layout[], file: number, fileSize: number): Layout {
  const chunk = Buffer.alloc(CHUNK_BYTES)
  const scores = layouts.map(() => 0)
  for (let at = 0; at < fileSize; at += CHUNK_BYTES) {
    chunk.fill(0)
    readAll(file, chunk, at)
    for (const [i, { pageSize, usable }] of layouts.entries()) {
      for (let page = 0; page < CHUNK_BYTES; page += pageSize)
        scores[i]! += wellFormed(chunk.subarray(page, page + pageSize), usable)
    }
    const best = Math.max(...scores)
    if (best >= SAMPLE_CELLS || (best > 0 && at >= SAMPLE_BYTES)) break
  }
  return layouts[scores.indexOf(Math.max(...scores))]!
}

/** The number of well-formed cells, if this is a leaf. */
function wellFormed(page: Buffer, usable: number): number {
  const head = headOf(page, 0, usable)
  if (head === undefined || !isLeaf(head.kind)) return 0
  let cells = 0
  for (let i = 0; i < head.count; i++) {
    const at = page.readUInt16BE(head.pointers + 2 * i)
    if (at >= head.pointers && typeof shapeOf(page, at, head.kind, usable) !== 'string') cells++
  }
  return cells
}
