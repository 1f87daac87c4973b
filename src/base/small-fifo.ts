import { Fifo } from './fifo.ts'

/**
 * A queue that usually holds no entry or one, which it stores in itself, and that takes 40 bytes whenever it is empty. A `Fifo` takes 104,
 * and from its first entry on 184: six of them were a tenth of the memory of a sleeping sensor with a connection of its own to a cluster.
 * The owner must enforce a bound.
 */
export class SmallFifo<T> {
  /** The first entry, ahead of those in `#others`. */
  #first: T | undefined = undefined
  #others: Fifo<T> | undefined = undefined

  get length(): number {
    return (this.#first === undefined ? 0 : 1) + (this.#others?.length ?? 0)
  }

  push(entry: T): void {
    if (this.#others !== undefined) this.#others.push(entry)
    else if (this.#first === undefined) this.#first = entry
    else {
      this.#others = new Fifo()
      this.#others.push(entry)
    }
  }

  peek(): T | undefined {
    return this.#first ?? this.#others?.peek()
  }

  shift(): T | undefined {
    const first = this.#first
    if (first !== undefined) {
      this.#first = undefined
      return first
    }
    const entry = this.#others?.shift()
    if (this.#others?.length === 0) this.#others = undefined
    return entry
  }

  /** Keeps the entries that pass, in order; returns the number of entries removed. */
  filter(keep: (entry: T) => boolean): number {
    const before = this.length
    for (let i = 0; i < before; i++) {
      const entry = this.shift()!
      if (keep(entry)) this.push(entry)
    }
    return before - this.length
  }

  clear(): void {
    this.#first = undefined
    this.#others = undefined
  }

  *[Symbol.iterator](): Iterator<T> {
    if (this.#first !== undefined) yield this.#first
    if (this.#others !== undefined) yield* this.#others
  }
}
