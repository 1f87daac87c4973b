import { randomFillSync } from 'node:crypto'
import { closeSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * A file of a few megabytes that is deleted when the disk is full, so that acknowledgements and deletions still find room. It is
 * created again when the disk has room for it; until then nothing new is accepted.
 */
export class Reserve {
  readonly #path: string
  /** Its size in bytes when it exists. */
  readonly size: number
  #isThere: boolean

  constructor(path: string, size: number) {
    this.#path = path
    this.size = size
    this.#isThere = statSync(path, { throwIfNoEntry: false })?.size === size
  }

  get isThere(): boolean {
    return this.#isThere
  }

  /** Its bytes on the disk. */
  get bytes(): number {
    return this.#isThere ? this.size : 0
  }

  /**
   * True if it was there already, or there is room for it and for half as much again: with less, the disk would soon be full
   * again.
   */
  make(): boolean {
    if (this.#isThere) return true
    if (freeBytes(dirname(this.#path)) < 1.5 * this.size) return false
    // Not zeros, which some file systems store as nothing.
    const block = randomFillSync(Buffer.allocUnsafe(64 * 1024))
    try {
      const file = openSync(this.#path, 'w', 0o600)
      try {
        for (let at = 0; at < this.size; ) at += writeSync(file, block, 0, Math.min(block.length, this.size - at))
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
      this.#isThere = true
    } catch {
      // Any error is treated as a lack of room.
      this.#isThere = true
      this.release()
    }
    return this.#isThere
  }

  /** Deletes the file; false if it did not exist. */
  release(): boolean {
    if (!this.#isThere) return false
    this.#isThere = false
    try {
      rmSync(this.#path, { force: true })
      return true
    } catch {
      return false
    }
  }
}

/** Room on the disk, as far as it is known. */
export function freeBytes(dir: string): number {
  try {
    const { bavail, bsize } = statfsSync(dir)
    return bavail * bsize
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
