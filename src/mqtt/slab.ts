import { copyBytes, writePacked } from '../base/bytes.ts'
import { WireForms } from './wire-forms.ts'

/**
 * A slab is passed on in pieces, and used again once they are written; one that a socket still refers to is left to the garbage
 * collector. A new one for every 256 KiB is memory that is not in the CPU's cache: with one that is used again a mesh of 20 by 20
 * delivers 17 % more per CPU second, and 1 to 1 8 %.
 */
const SLAB_BYTES = 256 * 1024

/** Up to this a loop is as fast as a call. */
const COPY_BY_HAND_MAX = 24

/**
 * The buffer into which packets for sockets are written, for one connection after the other. Everything for one connection in one
 * turn becomes one piece, and so one write. Packets that are forwarded as received, and are adjacent in a read buffer, are copied
 * together.
 */
export class Slab {
  bytes: Uint8Array = Buffer.allocUnsafeSlow(SLAB_BYTES)
  at = 0
  #start = 0
  /** A socket still refers to the buffer. */
  #isInUse = false
  #full: Uint8Array[] = []
  /** The wire forms of the messages that are written to it. */
  readonly forms = new WireForms()
  #run: Uint8Array | undefined = undefined
  #runStart = 0
  #runEnd = 0

  /** Makes room for one packet of `count` bytes; write it to `bytes` from `at` on, and move `at`. */
  reserve(count: number): void {
    if (this.#run !== undefined) this.#copyRun()
    this.#room(count)
  }

  /** Adds a packet as received. It is copied later, so `buffer` must not change until `take`. */
  append(buffer: Uint8Array, start: number, end: number): void {
    if (buffer === this.#run && start === this.#runEnd) {
      this.#runEnd = end
      return
    }
    if (this.#run !== undefined) this.#copyRun()
    this.#run = buffer
    this.#runStart = start
    this.#runEnd = end
  }

  copy(buffer: Uint8Array, start: number, end: number): void {
    const { bytes } = this
    let at = this.at
    if (end - start <= COPY_BY_HAND_MAX) for (let i = start; i < end; i++) bytes[at++] = buffer[i]!
    else {
      copyBytes(bytes, at, buffer, start, end)
      at += end - start
    }
    this.at = at
  }

  /** Copies all of a packet, packed or not. */
  copyAll(packet: Uint8Array | string): void {
    if (typeof packet !== 'string') this.copy(packet, 0, packet.length)
    else {
      writePacked(this.bytes, this.at, packet)
      this.at += packet.length
    }
  }

  /** Writes a packet that has nothing but a packet id. */
  response(first: number, packetId: number): void {
    this.reserve(4)
    const { bytes, at } = this
    bytes[at] = first
    bytes[at + 1] = 2
    bytes[at + 2] = packetId >>> 8
    bytes[at + 3] = packetId
    this.at = at + 4
  }

  /** Adds bytes that are too many to be copied for each receiver: they are passed on as they are, so they must never change. */
  share(bytes: Uint8Array): void {
    if (this.#run !== undefined) this.#copyRun()
    if (this.at > this.#start) this.#full.push(this.bytes.subarray(this.#start, this.at))
    this.#start = this.at
    this.#full.push(bytes)
  }

  /** Bytes written since the last `take`. */
  get pending(): number {
    let pending = this.at - this.#start + (this.#run === undefined ? 0 : this.#runEnd - this.#runStart)
    for (const piece of this.#full) pending += piece.length
    return pending
  }

  /** Everything written since the last `take`, usually one piece. */
  take(): readonly Uint8Array[] {
    if (this.#run !== undefined) this.#copyRun()
    const pieces = this.#full
    if (this.at > this.#start) pieces.push(this.bytes.subarray(this.#start, this.at))
    this.#full = []
    this.#start = this.at
    return pieces
  }

  /**
   * All that was taken has been written to sockets, so the buffer is used again from its start. `isInUse`: a socket still refers
   * to some of it. A caller that never reports this is only slower.
   */
  written(isInUse: boolean): void {
    if (isInUse) this.#isInUse = true
    if (this.#isInUse || this.pending > 0 || this.bytes.length > SLAB_BYTES) return
    this.at = 0
    this.#start = 0
  }

  #copyRun(): void {
    const run = this.#run!
    this.#run = undefined
    this.#room(this.#runEnd - this.#runStart)
    this.copy(run, this.#runStart, this.#runEnd)
  }

  #room(count: number): void {
    if (this.at + count <= this.bytes.length) return
    if (this.at > this.#start) this.#full.push(this.bytes.subarray(this.#start, this.at))
    this.bytes = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, count))
    this.#isInUse = false
    this.#start = 0
    this.at = 0
  }
}
