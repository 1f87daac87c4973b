import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { endianness } from 'node:os'
import { basename } from 'node:path'
import type { Lsn } from '../store.ts'
import type { Column } from './btree-page.ts'
import { metaOfColumns } from './entries.ts'
import type { Meta } from './meta.ts'
import { APPLICATION_ID } from './schema.ts'

/** [sqlite.org/fileformat2.html#walformat] The lowest bit says that checksums are sums of big-endian words. */
const MAGIC = 0x377f0682
const HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24

/** `meta` is the first table of a store, and its only row fits on one page. */
const META_PAGE = 2

/** One version of one page. */
export interface Frame {
  /** 0 if the header of the frame is damaged. */
  readonly page: number
  /** Offset of the page in the WAL. */
  readonly at: number
  /** Size of the database in pages, in the last frame of a transaction; 0 in others. */
  readonly databasePages: number
  /** Whether its checksum matches. */
  readonly isIntact: boolean
  /** On the page of `meta`. */
  readonly meta: Meta | undefined
}

/** The contents of a WAL. SQLite reads it up to the first damaged frame and ignores the rest. */
export interface Wal {
  readonly pageSize: number
  /** The frames of complete transactions up to the first damaged frame. */
  readonly sound: readonly Frame[]
  /** The frames after these, up to the last complete transaction. */
  readonly rest: readonly Frame[]
  /** Whether all that can be read here is older than the database. SQLite would put it in the place of what is newer. */
  readonly isOutdated: boolean
  /** A line about damage that makes SQLite ignore durable transactions. */
  readonly damage: string | undefined
  /** A line about a database so short that SQLite will not copy the WAL into it, even if nothing is missing but free pages. */
  readonly shortfall: string | undefined
  /** The newest `meta` up to the first damaged frame; undefined if it is damaged, or of another format. */
  readonly meta: Meta | undefined
  /** The version in the header of the database; undefined if that is damaged. */
  readonly format: number | undefined
}

/** The database and its WAL as files. */
export interface StorePaths {
  readonly database: string
  readonly wal: string
}

/** Reads the WAL without SQLite. @throws the system's error if a file is there and cannot be opened */
export function readWal({ database, wal }: StorePaths): Wal {
  const { pageSize, meta, format, bytes } = databaseHeader(database)
  const file = openIfThere(wal)
  const nothing = { sound: [], rest: [], isOutdated: false, damage: undefined, shortfall: undefined }
  if (file === undefined) return { ...nothing, pageSize, meta, format }
  try {
    const reader = new FrameReader(file, pageSize)
    const frames = [...reader.frames()]
    const broken = reader.isHeaderSound ? frames.findIndex(({ isIntact }) => !isIntact) : 0
    const soundCount = 1 + frames.slice(0, broken < 0 ? frames.length : broken).findLastIndex(isLast)
    const count = 1 + frames.findLastIndex((frame) => frame.isIntact && isLast(frame))
    const [sound, rest] = [frames.slice(0, soundCount), frames.slice(soundCount, count)]
    const last = sound.findLast((frame) => frame.meta !== undefined)?.meta
    // What is in the database was in the WAL before, and on the disk.
    const isBehind = last !== undefined && meta !== undefined && isOlder(last, meta)
    const newest = isBehind ? meta : (last ?? meta)
    const isDamaged = ignoresDurable(frames.slice(soundCount), newest?.lsn ?? 0)
    const name = reader.isHeaderSound ? `frame ${broken + 1}` : 'the header'
    const reason = isDamaged ? `${name} is damaged, so that SQLite ignores later transactions` : 'it is older than the database'
    return {
      pageSize: reader.pageSize,
      sound,
      rest,
      isOutdated: isBehind && !isDamaged,
      damage: isBehind || isDamaged ? `${basename(wal)}: ${reason}` : undefined,
      shortfall: shortfallOf(basename(database), bytes, sound, reader.pageSize),
      meta: newest,
      format,
    }
  } finally {
    closeSync(file)
  }
}

const isLast = ({ databasePages }: Frame): boolean => databasePages > 0

function isOlder(a: Meta, b: Meta): boolean {
  return a.epoch !== b.epoch ? a.epoch < b.epoch : a.lsn !== b.lsn ? a.lsn < b.lsn : a.folded < b.folded
}

/** SQLite expects no gap between the end of the database and the pages of the WAL that is longer than this. */
const GAP_BYTES = 65536

/** What SQLite asks before it copies a WAL into its database, and says only then. */
function shortfallOf(name: string, bytes: number, sound: readonly Frame[], pageSize: number): string | undefined {
  const needed = (sound.at(-1)?.databasePages ?? 0) * pageSize
  if (bytes + GAP_BYTES + sound.length * pageSize >= needed) return undefined
  return `${name}: it has ${bytes} of ${needed} bytes`
}

/**
 * Whether frames that SQLite ignores hold a durable transaction. After a power cut the last transaction may be incomplete and was
 * never acknowledged, so only a commit that another transaction follows counts: no frame is written after a commit before it is
 * on the disk.
 */
function ignoresDurable(frames: readonly Frame[], base: Lsn): boolean {
  let lsn = base
  let isDurable = false
  for (const frame of frames) {
    if (!frame.isIntact) continue
    if (isDurable) return true
    lsn = frame.meta?.lsn ?? lsn
    isDurable = isLast(frame) && lsn > base
  }
  return false
}

class FrameReader {
  readonly #file: number
  readonly #header = Buffer.alloc(HEADER_BYTES)
  readonly #isSwapped: boolean
  readonly isHeaderSound: boolean
  readonly pageSize: number

  constructor(file: number, pageSize: number) {
    this.#file = file
    readAt(file, this.#header, 0)
    const magic = this.#header.readUInt32BE(0)
    const isKnown = magic === MAGIC || magic === MAGIC + 1
    this.#isSwapped = (isKnown && magic !== MAGIC) !== (endianness() === 'BE')
    const [first, second] = this.#sum([0, 0], this.#header.subarray(0, 24))
    this.isHeaderSound = isKnown && first === this.#header.readUInt32BE(24) && second === this.#header.readUInt32BE(28)
    this.pageSize = this.isHeaderSound ? this.#header.readUInt32BE(8) : pageSize
  }

  /** All that are as long as a frame. What earlier transactions left at the end of the file is not intact. */
  *frames(): Iterable<Frame> {
    const { size } = fstatSync(this.#file)
    const frameBytes = FRAME_HEADER_BYTES + this.pageSize
    const frame = Buffer.alloc(frameBytes)
    let salt = this.isHeaderSound ? this.#header.toString('latin1', 16, 24) : undefined
    let before: [number, number] = [this.#header.readUInt32BE(24), this.#header.readUInt32BE(28)]
    for (let at = HEADER_BYTES; at + frameBytes <= size; at += frameBytes) {
      readAt(this.#file, frame, at)
      const found = frame.toString('latin1', 8, 16)
      salt ??= found
      const stored: [number, number] = [frame.readUInt32BE(16), frame.readUInt32BE(20)]
      // Each checksum continues the one before it as stored there, so that damage in one frame says nothing about the next.
      const page = frame.subarray(FRAME_HEADER_BYTES)
      const sum = this.#sum(this.#sum(before, frame.subarray(0, 8)), page)
      before = stored
      const isIntact = found === salt && sum[0] === stored[0] && sum[1] === stored[1]
      const number = found === salt ? frame.readUInt32BE(0) : 0
      const meta = isIntact && number === META_PAGE ? metaOnPage(page) : undefined
      yield { page: number, at: at + FRAME_HEADER_BYTES, databasePages: frame.readUInt32BE(4), isIntact, meta }
    }
  }

  #sum([first, second]: readonly [number, number], bytes: Buffer): [number, number] {
    // A copy, which is aligned.
    const { buffer } = new Uint8Array(bytes)
    if (this.#isSwapped) Buffer.from(buffer).swap32()
    const words = new Uint32Array(buffer)
    let [a, b] = [first, second]
    for (let i = 0; i + 1 < words.length; i += 2) {
      a = (a + words[i]! + b) >>> 0
      b = (b + words[i + 1]! + a) >>> 0
    }
    return [a, b]
  }
}

/** What a database says of itself without its WAL. */
function databaseHeader(path: string): Pick<Wal, 'pageSize' | 'meta' | 'format'> & { readonly bytes: number } {
  const file = openIfThere(path)
  if (file === undefined) return { pageSize: 4096, meta: undefined, format: undefined, bytes: 0 }
  try {
    const header = Buffer.alloc(100)
    readAt(file, header, 0)
    const size = header.readUInt16BE(16) === 1 ? 65536 : header.readUInt16BE(16)
    const pageSize = size >= 512 && (size & (size - 1)) === 0 ? size : 4096
    const page = Buffer.alloc(pageSize)
    readAt(file, page, (META_PAGE - 1) * pageSize)
    const format = header.readUInt32BE(68) === APPLICATION_ID ? header.readUInt32BE(60) : undefined
    return { pageSize, meta: metaOnPage(page), format, bytes: fstatSync(file).size }
  } finally {
    closeSync(file)
  }
}

/** The row of `meta` on its page. */
function metaOnPage(page: Buffer): Meta | undefined {
  const TABLE_LEAF = 13
  if (page[0] !== TABLE_LEAF || page.readUInt16BE(3) !== 1) return undefined
  const columns = firstRow(page, page.readUInt16BE(8))
  return columns && metaOfColumns(columns)
}

/** The columns of a row of a table that starts at `at`: small integers, texts and nulls. Undefined if it is not of this kind. */
function firstRow(page: Buffer, at: number): Column[] | undefined {
  let next = at
  const varint = (): number => {
    let value = 0
    for (let i = 0; i < 4; i++) {
      const byte = page[next++] ?? 0
      value = value * 128 + (byte & 127)
      if (byte < 128) return value
    }
    return Number.NaN
  }
  // Size of the payload, and rowid.
  varint()
  varint()
  const start = next
  const end = start + varint()
  const types: number[] = []
  while (next < end) types.push(varint())
  const columns: Column[] = []
  for (const type of types) {
    const size = type >= 13 ? (type - 13) / 2 : ([0, 1, 2, 3, 4, 6, Number.NaN, Number.NaN, 0, 0][type] ?? Number.NaN)
    if (!Number.isInteger(size) || next + size > page.length) return undefined
    if (type >= 13) columns.push(page.toString('utf8', next, next + size))
    else if (size > 0) columns.push(page.readIntBE(next, size))
    else columns.push(type === 0 ? null : type - 8)
    next += size
  }
  return columns
}

/** @throws the system's error */
function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Fills up with zeros what the file does not have, or does not give. */
function readAt(file: number, bytes: Buffer, position: number): void {
  let count = 0
  try {
    count = readSync(file, bytes, 0, bytes.length, position)
  } catch {
    // The same as damage.
  }
  bytes.fill(0, count)
}
