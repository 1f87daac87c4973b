import { Fifo } from '../base/fifo.ts'
import { COST } from '../base/memory-costs.ts'
import type { Publish } from './publish.ts'

/** Bytes of wire forms kept from turn to turn, for receivers that are written a little later; one message may have more. */
const KEPT_BYTES = 4 * 1024 * 1024
const KEPT_MAX = 16_384

/**
 * The messages that keep wire forms besides their own. A message that is retained or queued would keep them as long: the oldest
 * are dropped where there are too many, and encoded again when needed.
 */
export class WireForms {
  /** Ordered by the creation of their first form. */
  readonly #made = new Fifo<Publish>()
  /** Messages in a shared buffer, which they must not keep beyond the turn. */
  #ofTurn: Publish[] = []
  #bytes = 0
  /** Bytes of large properties encoded in this turn. */
  properties = 0

  /** Bytes of all forms. */
  get bytes(): number {
    return this.#bytes
  }

  /** A form was created for this message. */
  add(message: Publish, form: Uint8Array | string): void {
    this.#bytes += bytesOf(form)
    if (!message.owned) {
      this.#ofTurn.push(message)
      return
    }
    this.#made.push(message)
    while ((this.#bytes > KEPT_BYTES || this.#made.length > KEPT_MAX) && this.#made.length > 1) this.#forget(this.#made.shift()!)
  }

  /** Drops the forms of messages that were not kept beyond the turn, and the oldest of the others. */
  endTurn(): void {
    this.properties = 0
    if (this.#ofTurn.length > 0) {
      for (const message of this.#ofTurn) this.#forget(message)
      this.#ofTurn = []
    }
    for (let first = this.#made.peek(); first !== undefined; first = this.#made.peek()) {
      if (first.held !== undefined && first.held.places > 0) return
      this.#forget(this.#made.shift()!)
    }
  }

  /** Drops all. */
  clear(): void {
    this.endTurn()
    for (let message = this.#made.shift(); message !== undefined; message = this.#made.shift()) this.#forget(message)
  }

  #forget(message: Publish): void {
    // All forms of the message at once.
    for (const form of message.encoded ?? []) if (form !== undefined) this.#bytes -= bytesOf(form)
    message.encoded = undefined
  }
}

const bytesOf = (form: Uint8Array | string): number => form.length + (typeof form === 'string' ? COST.string : COST.buffer)
