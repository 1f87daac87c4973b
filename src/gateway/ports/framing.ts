import type { Instant } from '../../base/machine.ts'
import type { Malformed } from '../../base/malformed.ts'
import { FORWARDER_ENCAPSULATION } from '../../mqttsn/messages.ts'

/** How frames are told apart on a line that knows only octets. */
export interface Framing {
  encode(frame: Uint8Array): Uint8Array
  /** Takes what the line has brought; gives the frames that are whole now, each a copy, and what was none. */
  decode(now: Instant, chunk: Uint8Array): (Uint8Array | Malformed)[]
  /** What may be written to see whether the line is still there, and means nothing to the other side. */
  readonly nothing: Uint8Array
}

export const isDefect = (decoded: Uint8Array | Malformed): decoded is Malformed => 'kind' in decoded

/** Octets of a frame are never so far apart; what was begun before is given up. */
const SILENCE_MS = 1000

const END = 0xc0
const ESC = 0xdb
const ESC_END = 0xdc
const ESC_ESC = 0xdd
const CRC_OCTETS = 2

/**
 * SLIP (RFC 1055) around the frame and its CRC-16, low octet first: the frame check sequence of RFC 1662, also known as CRC-16/X-25. An END
 * stands before each frame too, so that noise between two of them costs nobody a frame.
 */
export class SlipFraming implements Framing {
  readonly nothing = Uint8Array.of(END)
  readonly #buffer: Uint8Array
  #length = 0
  #escaped = false
  /** Why the frame that is being read is none already; its rest is skipped. */
  #defect = ''
  #heardAt: Instant = 0

  /** `maxFrame`: octets of the largest frame that is taken. */
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
    // Between the END of one frame and that of the next there is nothing.
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
 * MQTT-SN's own Length in front of each message [1.2 section 5.2.1], and nothing else: for lines that lose nothing. What cannot be a Length
 * costs all that has come with it, and the line begins anew with what comes next.
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

/** Octets of the frame that begins here, its envelope included; undefined while that is not known, 0 for what is none. */
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
