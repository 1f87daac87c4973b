import type { RowTable } from '../rows.ts'
import { type ScannedRow, unpacked } from './scan.ts'

/**
 * Bytes that the store's thread may have passed on before the event loop has used them; with one value of more than half of it,
 * more.
 */
const AHEAD_BYTES = 8 * 2 ** 20

/** Values of rows, of about 1 ms each, after which the event loop turns. */
const TURN_PAGES = 16

/** How far one thread is ahead of another, in bytes, in memory that both share. */
export type Ahead = Int32Array<SharedArrayBuffer>

export const newAhead = (): Ahead => new Int32Array(new SharedArrayBuffer(4))

/** Adds bytes that are passed on. If they would be too many, it waits first until no more than half of them are left. */
export function getAhead(ahead: Ahead, bytes: number): void {
  let now = Atomics.load(ahead, 0)
  if (now + bytes > AHEAD_BYTES) for (; now > AHEAD_BYTES / 2; now = Atomics.load(ahead, 0)) Atomics.wait(ahead, 0, now)
  Atomics.add(ahead, 0, bytes)
}

/** The other thread has used these bytes. It is woken once for half of them: each time takes 60 us. */
export function catchUp(ahead: Ahead, bytes: number): void {
  const before = Atomics.sub(ahead, 0, bytes)
  if (before > AHEAD_BYTES / 2 && before - bytes <= AHEAD_BYTES / 2) Atomics.notify(ahead, 0)
}

/** Rows that the store's thread has passed on, until the event loop asks for them. */
export class RowsAhead {
  readonly #ahead: Ahead
  #waiting: { readonly table: RowTable; readonly bytes: Uint8Array }[] = []
  #isOver = false
  /** Nobody asks for them any more: the thread must not wait for that. */
  #isDropped = false
  #wake: () => void = () => {}

  constructor(ahead: Ahead) {
    this.#ahead = ahead
  }

  push(table: RowTable, bytes: Uint8Array): void {
    if (this.#isDropped) catchUp(this.#ahead, bytes.length)
    else this.#waiting.push({ table, bytes })
    this.#wake()
  }

  /** No more follow. */
  end(): void {
    this.#isOver = true
    this.#wake()
  }

  drop(): void {
    this.#isDropped = true
    for (const { bytes } of this.#waiting) catchUp(this.#ahead, bytes.length)
    this.#waiting = []
  }

  /** Can be called once. In between the event loop can turn: signals are heard. */
  async *rows(): AsyncIterable<readonly ScannedRow[]> {
    let pages = 0
    try {
      while (this.#waiting.length > 0 || !this.#isOver) {
        const page = this.#waiting.shift()
        if (page !== undefined) {
          catchUp(this.#ahead, page.bytes.length)
          yield unpacked(page.table, page.bytes)
          if (++pages % TURN_PAGES === 0) await new Promise(setImmediate)
        } else {
          await new Promise<void>((wake) => {
            this.#wake = wake
          })
        }
      }
    } finally {
      this.drop()
    }
  }
}
