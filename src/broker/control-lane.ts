import { Fifo } from '../base/fifo.ts'
import type { Outgoing } from '../mqtt/link.ts'
import type { Lsn } from '../store/store.ts'

/**
 * Control packets of one link in order, each with the Lsn that it waits for. Usually there is one at a time, which is stored in
 * the lane itself: two queues with their rings would take another 290 bytes for each idle client.
 */
export class ControlLane {
  #packet: Outgoing | undefined = undefined
  #gate: Lsn = 0
  /** All packets and their gates, from the time when there were two. */
  #packets: Fifo<Outgoing> | undefined = undefined
  #gates: Fifo<Lsn> | undefined = undefined

  get length(): number {
    if (this.#packets !== undefined) return this.#packets.length
    return this.#packet === undefined ? 0 : 1
  }

  /** The Lsn that the first packet waits for; `undefined` if there is none. */
  get gate(): Lsn | undefined {
    if (this.#gates !== undefined) return this.#gates.peek()
    return this.#packet === undefined ? undefined : this.#gate
  }

  /** The first packet. */
  get first(): Outgoing | undefined {
    return this.#packets === undefined ? this.#packet : this.#packets.peek()
  }

  push(packet: Outgoing, gate: Lsn): void {
    if (this.#packets !== undefined) {
      this.#packets.push(packet)
      this.#gates!.push(gate)
    } else if (this.#packet === undefined) {
      this.#packet = packet
      this.#gate = gate
    } else {
      this.#packets = new Fifo()
      this.#gates = new Fifo()
      this.push(this.#packet, this.#gate)
      this.push(packet, gate)
      this.#packet = undefined
      this.#gate = 0
    }
  }

  shift(): Outgoing | undefined {
    if (this.#packets !== undefined) {
      this.#gates!.shift()
      return this.#packets.shift()
    }
    const packet = this.#packet
    this.#packet = undefined
    this.#gate = 0
    return packet
  }

  clear(): void {
    this.#packet = undefined
    this.#gate = 0
    this.#packets = undefined
    this.#gates = undefined
  }
}
