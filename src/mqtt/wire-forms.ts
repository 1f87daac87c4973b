import { Fifo } from '../base/fifo.ts'
import { COST } from '../base/memory-costs.ts'
import type { Publish } from './publish.ts'

/** Bytes of wire forms that are kept from turn to turn, for who asks for the same message a little later; one message may have more. */
const KEPT_BYTES = 4 * 1024 * 1024
const KEPT_MAX = 16_384

/**
 * Which messages hold wire forms beside their own. A message that stays, retained or in a queue, would keep them for as long: those that were made first
 * are given up where there are too many, and made again when somebody asks.
 */
export class WireForms {
  /** In the order in which their first form was made. */
  readonly #made = new Fifo<Publish>()
  /** Those that are in a buffer which others share, and must not keep it for longer than a turn. */
  #ofTurn: Publish[] = []
  #bytes = 0
  /** Bytes of properties that were encoded in this turn, of messages that have many. */
  properties = 0

  /** Bytes of all forms. */
  get bytes(): number {
    return this.#bytes
  }

  /** A form of so many bytes was made for this message. */
  add(message: Publish, bytes: number): void {
    this.#bytes += bytes + COST.buffer
    if (!message.owned) {
      this.#ofTurn.push(message)
      return
    }
    this.#made.push(message)
    while ((this.#bytes > KEPT_BYTES || this.#made.length > KEPT_MAX) && this.#made.length > 1) this.#forget(this.#made.shift()!)
  }

  /** Nobody will ask for what has left with the turn, nor for the first that were made, if they wait nowhere. */
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

  /** Gives all up. */
  clear(): void {
    this.endTurn()
    for (let message = this.#made.shift(); message !== undefined; message = this.#made.shift()) this.#forget(message)
  }

  #forget(message: Publish): void {
    // In one go, where it has several.
    for (const form of message.encoded ?? []) if (form !== undefined) this.#bytes -= form.length + COST.buffer
    message.encoded = undefined
  }
}
