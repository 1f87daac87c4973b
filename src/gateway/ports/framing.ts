import type { Instant } from '../../base/machine.ts'
import type { Malformed } from '../../base/malformed.ts'
import { FORWARDER_ENCAPSULATION } from '../../mqttsn/messages.ts'

/** Delimits frames on a serial line. */
export interface Framing {
  encode(frame: Uint8Array): Uint8Array
  /** Takes a chunk received from the line. Returns the frames that it completes, each a copy, and the errors found. */
  decode(now: Instant, chunk: Uint8Array): (Uint8Array | Malformed)[]
  /** Octets without meaning for the peer, written to check whether the line still works. */
  readonly nothing: Uint8Array
}

export const isDefect = (decoded: Uint8Array | Malformed): decoded is Malformed => 'kind' in decoded

/** Maximum time between two octets of a frame, in milliseconds; after that the incomplete frame is discarded. */
const SILENCE_MS = 1000

const END = 0xc0
const ESC = 0xdb
const ESC_END = 0xdc
const ESC_ESC = 0xdd
const CRC_OCTETS = 2

/**
 * SLIP (RFC 1055) around the frame and its CRC-16, low octet first: the frame check sequence of RFC 1662, also known as
 * CRC-16/X-25. Each frame also starts with END, so that noise between two frames corrupts neither.
 */
export class SlipFraming implements Framing {
  readonly nothing = Uint8Array.of(END)
  readonly #buffer: Uint8Array
  #length = 0
  #escaped = false
  /** Why the current frame is invalid already; the rest of it is skipped. */
  #defect = ''
  #heardAt: Instant = 0

  /** `maxFrame`: maximum size of a received frame in octets. */
  constructor(maxFrame: number) {
    this.#buffer = new Uint8Array(maxFrame + CRC_OCTETS)
  }

  encode(frame: Uint8Array): Uint8Array {
    const crc = crc16(frame, 0, frame.length)
    const line = new Uint8Array(2 * (frame.length + CRC_OCTETS) + 2)
    let length = 0
    const put = (octet: number): void => {
      if (octet === END || octet === ESC) {
        line[length++] = ESC
        line[length++] = octet === END ? ESC_END : ESC_ESC
      } else line[length++] = octet
    }
    line[length++] = END
    for (const octet of frame) put(octet)
    put(crc & 0xff)
    put(crc >> 8)
    line[length++] = END
    return line.subarray(0, length)
  }

  decode(now: Instant, chunk: Uint8Array): (Uint8Array | Malformed)[] {
    const decoded: (Uint8Array | Malformed)[] = []
    if (now - this.#heardAt > SILENCE_MS && (this.#length > 0 || this.#escaped)) this.#defect ||= 'a frame broken off'
    this.#heardAt = now
    for (const octet of chunk) {
      if (octet === END) this.#end(decoded)
      else this.#take(octet)
    }
    return decoded
  }

  #take(octet: number): void {
    let plain = octet
    if (this.#escaped) {
      this.#escaped = false
      if (octet === ESC_END) plain = END
      else if (octet === ESC_ESC) plain = ESC
      else this.#defect ||= `ESC before 0x${octet.toString(16)}`
    } else if (octet === ESC) {
      this.#escaped = true
      return
    }
    if (this.#length === this.#buffer.length) this.#defect ||= `more than ${this.#buffer.length - CRC_OCTETS} octets in a frame`
    else this.#buffer[this.#length++] = plain
  }

  #end(decoded: (Uint8Array | Malformed)[]): void {
    const length = this.#length
    const defect = this.#defect || (this.#escaped ? 'ESC before END' : '')
    this.#length = 0
    this.#escaped = false
    this.#defect = ''
    if (defect !== '') decoded.push(malformed(defect))
    // The END of one frame and the END before the next enclose an empty one, which is ignored.
    else if (length > 0) decoded.push(this.#checked(length))
  }

  #checked(length: number): Uint8Array | Malformed {
    const end = length - CRC_OCTETS
    if (end < 1) return malformed(`${length} octets are no frame`)
    const crc = this.#buffer[end]! | (this.#buffer[end + 1]! << 8)
    return crc === crc16(this.#buffer, 0, end) ? this.#buffer.slice(0, end) : malformed('wrong CRC')
  }
}

/**
 * Delimits messages by their own Length field [1.2 section 5.2.1], for lines that lose no octets. An invalid Length
 * discards everything received with it; reading restarts with the next chunk.
 */
export class LengthFraming implements Framing {
  readonly nothing = new Uint8Array(0)
  readonly #maxFrame: number
  #buffer: Uint8Array = new Uint8Array(0)
  #heardAt: Instant = 0

  constructor(maxFrame: number) {
    this.#maxFrame = maxFrame
  }

  encode(frame: Uint8Array): Uint8Array {
    return frame
  }

  decode(now: Instant, chunk: Uint8Array): (Uint8Array | Malformed)[] {
    const decoded: (Uint8Array | Malformed)[] = []
    if (now - this.#heardAt > SILENCE_MS && this.#buffer.length > 0) {
      this.#buffer = new Uint8Array(0)
      decoded.push(malformed('a frame broken off'))
    }
    this.#heardAt = now
    const bytes = new Uint8Array(this.#buffer.length + chunk.length)
    bytes.set(this.#buffer)
    bytes.set(chunk, this.#buffer.length)
    let at = 0
    while (at < bytes.length) {
      const length = frameLength(bytes.subarray(at))
      if (length === undefined) break
      if (length === 0 || length > this.#maxFrame) {
        decoded.push(malformed(length === 0 ? 'no Length' : `more than ${this.#maxFrame} octets in a frame`))
        at = bytes.length
      } else if (at + length > bytes.length) break
      else {
        decoded.push(bytes.slice(at, at + length))
        at += length
      }
    }
    this.#buffer = bytes.slice(at)
    return decoded
  }
}

/**
 * Returns the size in octets of the frame that starts here, with its forwarder encapsulation; undefined while that is
 * unknown, 0 if it is invalid.
 */
function frameLength(bytes: Uint8Array): number | undefined {
  const [first, second, third] = bytes
  if (first === undefined) return undefined
  if (first === 1) {
    if (third === undefined) return undefined
    const length = (second! << 8) | third
    return length < 4 ? 0 : length
  }
  if (first < 2) return 0
  if (second !== FORWARDER_ENCAPSULATION) return second === undefined ? undefined : first
  const inner = bytes[first + 1] === FORWARDER_ENCAPSULATION ? 0 : frameLength(bytes.subarray(first))
  return inner === undefined || inner === 0 ? inner : first + inner
}

function crc16(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0xffff
  for (let i = start; i < end; i++) {
    crc ^= bytes[i]!
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x8408 : crc >>> 1
  }
  return crc ^ 0xffff
}

const malformed = (reason: string): Malformed => ({ kind: 'malformed', reason, rule: 'framing', reasonCode: 0x81 })
