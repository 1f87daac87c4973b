import { HeldByAddress } from '../base/held-by-address.ts'
import type { Connection } from './connection.ts'

/** A connection with fewer bytes is not worth closing. */
const LARGE_BYTES = 4096

/** The bytes of incomplete packets of all connections. */
export class ReceiveBuffers {
  readonly #most: number
  readonly #mostOfOne: number
  #total = 0
  /** Connections with many bytes, those of an address in the order in which their packets began. */
  readonly #large = new HeldByAddress<Connection>()

  /** `most`: bytes, limited to a quarter of the memory; a single packet may be larger, up to half of the memory. */
  constructor(most: number, memoryLimit = Number.POSITIVE_INFINITY) {
    this.#most = Math.min(most, memoryLimit / 4)
    this.#mostOfOne = memoryLimit / 2
  }

  get total(): number {
    return this.#total
  }

  /** Updates the bytes of this connection. */
  update(connection: Connection): void {
    const bytes = connection.gone ? 0 : connection.framer.held + connection.bufferedInFront
    if (bytes === connection.buffered) return
    this.#total += bytes - connection.buffered
    connection.buffered = bytes
    const isOtherPacket = connection.packets !== connection.packetsWhenBuffered
    connection.packetsWhenBuffered = connection.packets
    if (bytes <= LARGE_BYTES || isOtherPacket) this.#large.remove(connection)
    if (bytes > LARGE_BYTES) this.#large.set(connection, connection.peer, bytes)
  }

  /**
   * While the limit is exceeded: of the address that holds most, the connection whose packet began first, unless it is the only
   * one. Addresses with many large packets do not end the single upload of another.
   */
  excess(): Connection | undefined {
    if (this.#total <= this.#most || (this.#large.size < 2 && this.#total <= this.#mostOfOne)) return undefined
    return this.#large.largest()?.item
  }
}
