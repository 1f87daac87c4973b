import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { basename } from 'node:path'
import { systemFailure } from './system-failure.ts'
import type { Frame, StorePaths, Wal } from './wal.ts'

const CHUNK_BYTES = 1024 * 1024
/** What is given up where the disk cannot read. */
const PIECE_BYTES = 4096

/** What of a WAL is merged into the copy of a database. */
export interface Merge {
  readonly frames: readonly Frame[]
  /**
   * Overwrites pages with zeros whose newest version is damaged in the WAL, because an older one may not be taken for the current
   * one.
   */
  readonly blank: boolean
}

/**
 * Copies a database, with its WAL merged in, to a new file. Bytes that cannot be read become zeros, and `onProblem` gets a line for them.
 * @throws the system's error if the copy cannot be written
 */
export function copyMerged(
  paths: StorePaths,
  { pageSize }: Wal,
  to: string,
  merge: Merge,
  onProblem: (problem: string) => void,
): void {
  const target = openSync(to, 'wx', 0o600)
  try {
    if (existsSync(paths.database)) copyReadable(paths.database, target, onProblem)
    mergeInto(target, paths.wal, pageSize, merge)
  } finally {
    closeSync(target)
  }
}

function copyReadable(path: string, target: number, onProblem: (problem: string) => void): void {
  const source = openSync(path, 'r')
  try {
    const { size } = fstatSync(source)
    const chunk = Buffer.alloc(CHUNK_BYTES)
    for (let at = 0; at < size; at += CHUNK_BYTES) {
      const bytes = chunk.subarray(0, Math.min(CHUNK_BYTES, size - at))
      if (readInto(source, bytes, at) !== undefined) {
        for (let i = 0; i < bytes.length; i += PIECE_BYTES) {
          const piece = bytes.subarray(i, i + PIECE_BYTES)
          const failure = readInto(source, piece, at + i)
          if (failure !== undefined) onProblem(`${basename(path)}: ${piece.length} bytes at ${at + i} cannot be read: ${failure}`)
        }
      }
      writeAt(target, bytes, at)
    }
  } finally {
    closeSync(source)
  }
}

/** Returns why not, if it cannot be read. */
function readInto(file: number, bytes: Buffer, at: number): string | undefined {
  try {
    bytes.fill(0, readSync(file, bytes, 0, bytes.length, at))
    return undefined
  } catch (error) {
    bytes.fill(0)
    return systemFailure(error)?.reason ?? String(error)
  }
}

function mergeInto(target: number, path: string, pageSize: number, { frames, blank }: Merge): void {
  const last = frames.findLast(({ isIntact, databasePages }) => isIntact && databasePages > 0)
  if (last === undefined) return
  const source = openSync(path, 'r')
  try {
    const page = Buffer.alloc(pageSize)
    for (const [number, frame] of newest(frames)) {
      if (number < 1 || number > last.databasePages) continue
      if (frame.isIntact) {
        if (readInto(source, page, frame.at) === undefined) writeAt(target, page, (number - 1) * pageSize)
      } else if (blank) writeAt(target, page.fill(0), (number - 1) * pageSize)
    }
    ftruncateSync(target, last.databasePages * pageSize)
  } finally {
    closeSync(source)
  }
}

/** The last version of each page, whether it is intact or not. */
const newest = (frames: readonly Frame[]): Map<number, Frame> => new Map(frames.map((frame) => [frame.page, frame]))

function writeAt(file: number, bytes: Uint8Array, at: number): void {
  for (let written = 0; written < bytes.length; ) {
    written += writeSync(file, bytes, written, bytes.length - written, at + written)
  }
}
