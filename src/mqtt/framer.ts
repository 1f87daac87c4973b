import { Fifo } from '../base/fifo.ts'
import type { Malformed } from '../base/malformed.ts'
import { PacketType } from './packets.ts'

const EMPTY = new Uint8Array(0)

/** What a chunk that waits takes beside its bytes. */
const PIECE_BYTES = 128

/** A piece that is less than one part in so many of its buffer is copied. */
const BUFFER_PARTS = 4

/** The same bytes, without a buffer of which they are but a small part. */
function alone(piece: Uint8Array): Uint8Array {
  return piece.length * BUFFER_PARTS < piece.buffer.byteLength ? new Uint8Array(piece) : piece
}

/**
 * Cuts a byte stream into packets. Complete packets in a chunk are returned in place; only one that spans chunks is assembled.
 */
export class Framer {
  maxPacketSize: number
  /** The configuration key of that limit. */
  sizeLimit = 'max_packet_size'
  /** Maximum size of SUBSCRIBE and UNSUBSCRIBE: they are decoded in one go, topic filter by topic filter. */
  maxSubscribeSize = Number.POSITIVE_INFINITY
  /** Lengths must take as few bytes as possible (MQTT-1.5.5-1); MQTT 3 has no such rule. */
  minimalLength = false
  bytes: Uint8Array = EMPTY
  start = 0
  bodyStart = 0
  end = 0
  error: Malformed | undefined = undefined
  #chunk: Uint8Array = EMPTY
  #at = 0
  /** Chunks behind it. */
  #waiting: Fifo<Uint8Array> | undefined = undefined
  #waitingBytes = 0
  #partial: Uint8Array = EMPTY
  #partialLength = 0
  #size = 0
  #headerLength = 0

  constructor(maxPacketSize: number) {
    this.maxPacketSize = maxPacketSize
  }

  /** Bytes of an incomplete packet. */
  get buffered(): number {
    return this.#partialLength
  }

  /** Bytes of memory in use: those of an incomplete packet, of an unread chunk, and of the chunks that wait behind it. */
  get held(): number {
    const partial = this.#partialLength > 0 ? this.#partial.length : 0
    return partial + this.#waitingBytes + (this.#at < this.#chunk.length ? this.#chunk.length : 0)
  }

  /** Releases consumed input, which an idle connection would keep. */
  release(): void {
    this.bytes = EMPTY
    if (this.#at === this.#chunk.length) {
      this.#take(EMPTY)
      return
    }
    // As long as most of a chunk is to be read, it is kept whole.
    const rest = this.#chunk.subarray(this.#at)
    const own = alone(rest)
    if (own !== rest) this.#take(own)
  }

  /** What comes while the chunk before is not read to its end waits as it came: joined, each small piece would be a copy of all that waits. */
  push(chunk: Uint8Array): void {
    if (this.#at === this.#chunk.length && this.#waitingBytes === 0) {
      this.#take(chunk)
      return
    }
    this.#waiting ??= new Fifo()
    this.#waiting.push(alone(chunk))
    this.#waitingBytes += chunk.length + PIECE_BYTES
  }

  next(): boolean {
    while (!this.#cut()) {
      const chunk = this.error === undefined ? this.#waiting?.shift() : undefined
      if (chunk === undefined) return false
      this.#waitingBytes -= chunk.length + PIECE_BYTES
      this.#take(chunk)
    }
    return true
  }

  #take(chunk: Uint8Array): void {
    this.#chunk = chunk
    this.#at = 0
  }

  /** Finds the next packet that is whole with what this chunk has. */
  #cut(): boolean {
    if (this.error !== undefined) return false
    if (this.#partialLength > 0) return this.#continuePartial()
    const chunk = this.#chunk
    const at = this.#at
    const end = chunk.length
    if (at >= end) return false
    const size = this.#measure(chunk, at, end)
    if (size < 0) return false
    if (size === 0 || at + size > end) {
      // [MQTT-6.0.0-2]
      this.#keep(chunk, at, end, size)
      return false
    }
    this.bytes = chunk
    this.start = at
    this.bodyStart = at + this.#headerLength
    this.end = at + size
    this.#at = at + size
    return true
  }

  /** Size of the packet at `at`; 0 if its header is incomplete, -1 if it must not be read (`error` is set). */
  #measure(bytes: Uint8Array, at: number, end: number): number {
    if (bytes[at]! < 0x10) return this.#fail('packet type 0 is reserved', 'MQTT-2.1.2', 0x81)
    let length = 0
    let shift = 0
    for (let i = at + 1; i < end; i++) {
      const byte = bytes[i]!
      // Not `* 2 ** shift`, which V8 keeps as a double: then each number that comes of it is one too, up to the bytes queued in a
      // session, and a session is converted when it first gets a message: 15,000 instructions, and 64 bytes from then on.
      length |= (byte & 0x7f) << shift
      shift += 7
      if (byte < 0x80) {
        // [MQTT-1.5.5-1]
        if (byte === 0 && shift > 7 && this.minimalLength)
          return this.#fail('remaining length is not minimal', 'MQTT-1.5.5-1', 0x81)
        this.#headerLength = i + 1 - at
        const size = this.#headerLength + length
        // [MQTT-3.2.2-15]
        if (size > this.maxPacketSize)
          return this.#fail(`packet of ${size} bytes is above ${this.maxPacketSize}`, 'MQTT-3.2.2-15', 0x95, this.sizeLimit)
        if (size > this.maxSubscribeSize && isOfFilters(bytes[at]! >> 4)) {
          const reason = `packet of ${size} bytes of topic filters is above ${this.maxSubscribeSize}`
          return this.#fail(reason, undefined, 0x95, 'max_subscribe_packet_size')
        }
        return size
      }
      if (shift === 28) return this.#fail('remaining length has more than four bytes', '5.0 section 1.5.5', 0x81)
    }
    return 0
  }

  #keep(chunk: Uint8Array, at: number, end: number, size: number): void {
    this.#size = size
    this.#partialLength = end - at
    if (this.#partial.length < this.#partialLength) this.#partial = new Uint8Array(Math.max(64, this.#partialLength))
    this.#partial.set(chunk.subarray(at, end))
    this.#at = end
  }

  #append(bytes: Uint8Array): void {
    const length = this.#partialLength + bytes.length
    if (length > this.#partial.length) {
      const grown = new Uint8Array(
        this.#size > 0 ? Math.min(this.#size, Math.max(length, this.#partial.length * 2)) : Math.max(length, 64),
      )
      grown.set(this.#partial.subarray(0, this.#partialLength))
      this.#partial = grown
    }
    this.#partial.set(bytes, this.#partialLength)
    this.#partialLength = length
  }

  #continuePartial(): boolean {
    while (this.#size === 0) {
      if (this.#at >= this.#chunk.length) return false
      this.#append(this.#chunk.subarray(this.#at, this.#at + 1))
      this.#at++
      const size = this.#measure(this.#partial, 0, this.#partialLength)
      if (size < 0) return false
      this.#size = size
    }
    const wanted = this.#size - this.#partialLength
    const taken = Math.min(wanted, this.#chunk.length - this.#at)
    if (taken > 0) {
      this.#append(this.#chunk.subarray(this.#at, this.#at + taken))
      this.#at += taken
    }
    if (taken < wanted) return false
    this.bytes = this.#partial
    this.start = 0
    this.end = this.#size
    let bodyStart = 1
    while (this.#partial[bodyStart]! >= 0x80) bodyStart++
    this.bodyStart = bodyStart + 1
    this.#partial = EMPTY
    this.#partialLength = 0
    this.#size = 0
    return true
  }

  #fail(reason: string, rule: string | undefined, reasonCode: number, limit?: string): -1 {
    const more = { ...(rule !== undefined && { rule }), ...(limit !== undefined && { limit }) }
    this.error = { kind: 'malformed', reason, reasonCode, ...more }
    this.#partial = EMPTY
    this.#partialLength = 0
    return -1
  }
}

const isOfFilters = (type: number): boolean => type === PacketType.SUBSCRIBE || type === PacketType.UNSUBSCRIBE
