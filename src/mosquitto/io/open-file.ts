import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import type { FileBytes } from '../persistence-file.ts'

/** Bytes that are read at a time: most chunks of a persistence file are shorter than 100 bytes. */
const WINDOW_BYTES = 256 * 1024

/** Opens a regular file for `readSavedState`, which reads it from the beginning to the end. @throws the system's error, or one line */
export function openFile(path: string): FileBytes & { close(): void } {
  // Without O_NONBLOCK, to open a pipe waits for a writer.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const found = fstatSync(file)
    if (!found.isFile()) throw new Error(found.isDirectory() ? 'it is a directory' : 'it is not a regular file')
    return new OpenFile(file, found.size)
  } catch (error) {
    closeSync(file)
    throw error
  }
}

class OpenFile implements FileBytes {
  readonly size: number
  readonly #file: number
  #window = Buffer.alloc(0)
  #from = 0

  constructor(file: number, size: number) {
    this.#file = file
    this.size = size
  }

  read(at: number, length: number): Uint8Array {
    if (at < this.#from || at + length > this.#from + this.#window.length) this.#load(at, length)
    const start = at - this.#from
    return this.#window.subarray(start, start + length)
  }

  #load(at: number, length: number): void {
    const wanted = Math.max(length, Math.min(WINDOW_BYTES, this.size - at))
    const window = Buffer.allocUnsafeSlow(wanted)
    for (let done = 0; done < wanted; ) {
      const count = readSync(this.#file, window, done, wanted - done, at + done)
      if (count === 0) throw new Error('it has become shorter while it was read: stop Mosquitto first')
      done += count
    }
    this.#window = window
    this.#from = at
  }

  close(): void {
    closeSync(this.#file)
  }
}
