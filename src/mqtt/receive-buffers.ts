import type { Connection } from './connection.ts'

/** A connection that holds less is not worth closing. */
const LARGE_BYTES = 4096

/** What all connections together hold of packets that are not whole yet. */
export class ReceiveBuffers {
  readonly #most: number
  readonly #mostOfOne: number
  #total = 0
  /** Those that hold much, by the time at which they began to. */
  readonly #large = new Set<Connection>()

  /** `most` in bytes, and not more than a quarter of the memory; one packet may be larger, up to half of the memory. */
  constructor(most: number, memoryLimit = Number.POSITIVE_INFINITY) {
    this.#most = Math.min(most, memoryLimit / 4)
    this.#mostOfOne = memoryLimit / 2
  }

  get total(): number {
    return this.#total
  }

  /** Counts what this connection holds now. */
  update(connection: Connection): void {
    const bytes = connection.gone ? 0 : connection.framer.held + connection.bufferedInFront
    if (bytes === connection.buffered) return
    this.#total += bytes - connection.buffered
    connection.buffered = bytes
    const isOtherPacket = connection.packets !== connection.packetsWhenBuffered
    connection.packetsWhenBuffered = connection.packets
    if (bytes <= LARGE_BYTES || isOtherPacket) this.#large.delete(connection)
    if (bytes > LARGE_BYTES) this.#large.add(connection)
  }

  /** While there is too much: the connection whose packet began first, unless it is the only one. */
  excess(): Connection | undefined {
    if (this.#total <= this.#most || (this.#large.size < 2 && this.#total <= this.#mostOfOne)) return undefined
    for (const oldest of this.#large) return oldest
    return undefined
  }
}
