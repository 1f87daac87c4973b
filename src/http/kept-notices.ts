import { ByteReader, ByteWriter, copyBytes } from '../base/bytes.ts'
import { NOTICES, type Notice, type NoticeCode } from '../base/notice.ts'
import { readInteger, readNumber, readText, writeInteger, writeNumber, writeText } from '../store/record-fields.ts'

/** A notice as it is kept. */
export interface KeptNotice {
  /** Counts up from 1; gaps are notices that were dropped. */
  readonly id: number
  /** Milliseconds since 1970. */
  readonly at: number
  readonly notice: Notice
}

const CODES = Object.keys(NOTICES) as NoticeCode[]
const NUMBERS: ReadonlyMap<string, number> = new Map(CODES.map((code, number) => [code, number]))
const LEVELS: readonly Notice['level'][] = ['debug', 'info', 'warn', 'error']

/** The other fields of a notice, which it may lack; a bit for each says which it has. */
const TEXTS = ['client', 'user', 'peer', 'reason', 'limit'] as const
const HAS_COUNT = 1 << TEXTS.length

/** Bytes at the beginning; most rings need no more. */
const FIRST_BYTES = 4096
/** Bytes of an entry in `#starts` and `#lengths`. */
const ENTRY_BYTES = 8

const EMPTY = new Uint8Array(0)
const writer = new ByteWriter()
const reader = new ByteReader(EMPTY)

/**
 * The last `most` notices, within `maxBytes`: the oldest go first. They are bytes, not objects, and decoded when they are read. As
 * objects each was promoted to the old generation, since it lives for a thousand others, and died there between the sessions of
 * the clients that it was about: of 40,000 sensors that connected, 260 bytes of heap for each were holes.
 */
export class KeptNotices {
  readonly #most: number
  readonly #maxBytes: number
  #bytes = new Uint8Array(FIRST_BYTES)
  /** Place in `#bytes` and length of each entry, by its number modulo `most`. */
  readonly #starts: Uint32Array
  readonly #lengths: Uint32Array
  /** Numbers of the oldest entry and of the next one. */
  #first = 0
  #next = 0
  /** Where in `#bytes` the next entry begins. */
  #place = 0

  constructor(most: number, maxBytes: number) {
    this.#most = most
    this.#maxBytes = maxBytes - most * ENTRY_BYTES
    this.#starts = new Uint32Array(most)
    this.#lengths = new Uint32Array(most)
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#bytes.length + this.#most * ENTRY_BYTES
  }

  get length(): number {
    return this.#next - this.#first
  }

  add(id: number, at: number, notice: Notice): void {
    write(id, at, notice)
    const { bytes, length } = writer
    // No notice is that long.
    if (length > this.#maxBytes) return
    if (this.length === this.#most) this.#first++
    while (!this.#makeRoom(length)) this.#first++
    copyBytes(this.#bytes, this.#place, bytes, 0, length)
    const entry = this.#next++ % this.#most
    this.#starts[entry] = this.#place
    this.#lengths[entry] = length
    this.#place += length
  }

  /** The entry at this place, of which the oldest has 0. */
  at(place: number): KeptNotice | undefined {
    return this.#seek(place) ? read() : undefined
  }

  /** The id of that entry; 0 if there is none. */
  idAt(place: number): number {
    return this.#seek(place) ? readInteger(reader, 'id') : 0
  }

  /** The place of the first entry with a higher id. */
  after(id: number): number {
    let [low, high] = [0, this.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.idAt(middle) > id) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Moves `#place` to where so many bytes are free in a row; false if the oldest entry has to go first. */
  #makeRoom(length: number): boolean {
    if (this.length === 0) this.#place = 0
    const oldest = this.length === 0 ? 0 : this.#starts[this.#first % this.#most]!
    const hasWrapped = this.length > 0 && this.#place <= oldest
    if (hasWrapped) {
      if (this.#place + length <= oldest) return true
    } else if (this.#place + length <= this.#bytes.length) return true
    else if (length <= oldest) {
      this.#place = 0
      return true
    }
    if (this.#bytes.length >= this.#maxBytes) return false
    this.#grow()
    return this.#makeRoom(length)
  }

  /** Doubles the room, and moves the entries to its beginning, in their order. */
  #grow(): void {
    const bytes = new Uint8Array(Math.min(this.#maxBytes, this.#bytes.length * 2))
    let place = 0
    for (let number = this.#first; number < this.#next; number++) {
      const entry = number % this.#most
      const start = this.#starts[entry]!
      const length = this.#lengths[entry]!
      bytes.set(this.#bytes.subarray(start, start + length), place)
      this.#starts[entry] = place
      place += length
    }
    this.#bytes = bytes
    this.#place = place
  }

  #seek(place: number): boolean {
    if (place < 0 || place >= this.length) return false
    const entry = (this.#first + place) % this.#most
    reader.reset(this.#bytes, this.#starts[entry]!, this.#starts[entry]! + this.#lengths[entry]!)
    return true
  }
}

function write(id: number, at: number, notice: Notice): void {
  const { count } = notice
  let fields = count === undefined ? 0 : HAS_COUNT
  for (let i = 0; i < TEXTS.length; i++) if (notice[TEXTS[i]!] !== undefined) fields |= 1 << i
  writer.length = 0
  writeInteger(writer, id)
  writeNumber(writer, at)
  writer.u8(NUMBERS.get(notice.code)!)
  writer.u8(LEVELS.indexOf(notice.level))
  writer.u8(fields)
  for (let i = 0; i < TEXTS.length; i++) if ((fields & (1 << i)) !== 0) writeText(writer, notice[TEXTS[i]!]!)
  if (count !== undefined) writeInteger(writer, count)
}

function read(): KeptNotice {
  const id = readInteger(reader, 'id')
  const at = readNumber(reader, 'time')
  const code = CODES[reader.u8('code')]!
  const level = LEVELS[reader.u8('level')]!
  const fields = reader.u8('fields')
  const texts: Partial<Record<(typeof TEXTS)[number], string>> = {}
  for (let i = 0; i < TEXTS.length; i++) if ((fields & (1 << i)) !== 0) texts[TEXTS[i]!] = readText(reader, 'text')
  const notice = { code, level, ...texts, ...((fields & HAS_COUNT) !== 0 && { count: readInteger(reader, 'count') }) }
  return { id, at, notice }
}
