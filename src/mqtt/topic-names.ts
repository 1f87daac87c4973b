import { decodeUtf8, utf8Error } from '../base/bytes.ts'
import { COST } from '../base/memory-costs.ts'

/** With the longest topics, 8 KiB per connection. */
const SLOTS = 64
/** Longer topics are not remembered: peers choose them, and they take memory. */
const TOPIC_BYTES_MAX = 128

/** A sum of bytes of many objects. */
export interface ByteCount {
  sum: number
}

interface Slot {
  readonly bytes: Uint8Array
  readonly name: string
}

/**
 * Topic names by their bytes, for one connection. A device repeats its topics; a repeated one costs a comparison of bytes,
 * without validation or decoding, and yields the same string object, whose hash the broker's lookups need not compute again.
 */
export class TopicNames {
  #last: Slot | undefined = undefined
  #slots: (Slot | undefined)[] | undefined = undefined
  readonly #count: ByteCount
  /** Bytes of memory for remembered topics. */
  #bytes = 0
  /** Why the last `read` gave `undefined`, the rule that was broken, and the reason code for it. */
  error = ''
  rule = ''
  reasonCode = 0

  /** `count`: receives the bytes of memory that they take. */
  constructor(count: ByteCount = { sum: 0 }) {
    this.#count = count
  }

  /** The connection is gone. */
  forget(): void {
    this.#count.sum -= this.#bytes
    this.#bytes = 0
    this.#slots = undefined
  }

  read(bytes: Uint8Array, start: number, end: number): string | undefined {
    const last = this.#last
    if (last !== undefined && same(last.bytes, bytes, start, end)) return last.name
    if (end - start > TOPIC_BYTES_MAX) return this.#decode(bytes, start, end)
    this.#slots ??= new Array<Slot | undefined>(SLOTS).fill(undefined)
    const slots = this.#slots
    const place = hash(bytes, start, end) & (SLOTS - 1)
    const known = slots[place]
    if (known !== undefined && same(known.bytes, bytes, start, end)) {
      this.#last = known
      return known.name
    }
    const name = this.#decode(bytes, start, end)
    if (name === undefined) return undefined
    const slot: Slot = { bytes: Uint8Array.prototype.slice.call(bytes, start, end), name }
    const more = costOf(slot) - costOf(known)
    this.#bytes += more
    this.#count.sum += more
    slots[place] = slot
    this.#last = slot
    return name
  }

  #decode(bytes: Uint8Array, start: number, end: number): string | undefined {
    // [MQTT-3.3.2-1]
    const ill = utf8Error(bytes, start, end)
    if (ill !== '') return this.#fail(`${ill} in topic name`, ill === 'U+0000' ? 'MQTT-1.5.4-2' : 'MQTT-1.5.4-1', 0x81)
    for (let i = start; i < end; i++)
      // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
      if (bytes[i] === 0x23 || bytes[i] === 0x2b) return this.#fail('wildcard in topic name', 'MQTT-3.3.2-2', 0x90)
    return decodeUtf8(bytes, start, end)
  }

  #fail(error: string, rule: string, reasonCode: number): undefined {
    this.error = error
    this.rule = rule
    this.reasonCode = reasonCode
  }
}

/** Bytes of memory: the octets twice, raw and as text. */
const costOf = (slot: Slot | undefined): number => (slot === undefined ? 0 : COST.topicName + 2 * slot.bytes.length)

function same(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const { length } = known
  if (length !== end - start) return false
  for (let i = 0; i < length; i++) if (known[i] !== bytes[start + i]) return false
  return true
}

/** FNV-1a, 32 bits. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5
  for (let i = start; i < end; i++) value = Math.imul(value ^ bytes[i]!, 0x01000193)
  return value ^ (value >>> 15)
}
