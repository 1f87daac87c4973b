import { assert } from '../base/assert.ts'
import { type ByteReader, type ByteWriter, decodeUtf8, utf8Error, utf8Length } from '../base/bytes.ts'
import type { StoredReceipt, StoredSubscription } from './store.ts'

// The fields that stored records consist of; see records.ts for how long a layout has to be kept.

export function readFlags(r: ByteReader, field: string, known: number): number {
  const flags = r.u8(field)
  if ((flags & ~known) !== 0) r.fail(`unknown ${field}`)
  return flags
}

export function qosOf(r: ByteReader, flags: number): 0 | 1 | 2 {
  const qos = flags & 3
  if (qos === 3) r.fail('QoS 3')
  return qos as 0 | 1 | 2
}

/** Each entry takes at least one byte, so a false count ends with the bytes. */
export function readList<T>(r: ByteReader, field: string, read: (r: ByteReader, field: string) => T): T[] {
  const list: T[] = []
  for (let left = readInteger(r, `number of ${field} entries`); left > 0 && r.error === ''; left--) list.push(read(r, field))
  return list
}

/** Kinds of plain data inside a record. Append only, like the record types. */
const VALUE = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  integer: 4,
  number: 5,
  text: 6,
  bytes: 7,
  list: 8,
  object: 9,
} as const

/** Levels of lists and objects inside each other: MQTT's properties need three. */
const VALUE_DEPTH_MAX = 8

/** Plain data: JSON plus `undefined`, every number and `Uint8Array`; objects keep the order of their keys. */
export function writeValue(w: ByteWriter, value: unknown, depth: number): void {
  if (value === undefined) w.u8(VALUE.undefined)
  else if (value === null) w.u8(VALUE.null)
  else if (typeof value === 'boolean') w.u8(value ? VALUE.true : VALUE.false)
  else if (typeof value === 'number') {
    const integer = Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)
    w.u8(integer ? VALUE.integer : VALUE.number)
    if (integer) writeInteger(w, value)
    else writeNumber(w, value)
  } else if (typeof value === 'string') {
    w.u8(VALUE.text)
    writeText(w, value)
  } else if (value instanceof Uint8Array) {
    w.u8(VALUE.bytes)
    writeBytes(w, value)
  } else {
    assert(typeof value === 'object', `a stored value is plain data, not a ${typeof value}`)
    assert(depth < VALUE_DEPTH_MAX, 'a stored value is not deeper than its bound')
    writeNested(w, value, depth)
  }
}

function writeNested(w: ByteWriter, value: object, depth: number): void {
  const list = Array.isArray(value)
  w.u8(list ? VALUE.list : VALUE.object)
  if (list) {
    writeInteger(w, value.length)
    for (const entry of value) writeValue(w, entry, depth + 1)
    return
  }
  const names = Object.keys(value)
  writeInteger(w, names.length)
  for (const name of names) {
    writeText(w, name)
    writeValue(w, (value as Record<string, unknown>)[name], depth + 1)
  }
}

export function readValue(r: ByteReader, depth: number): unknown {
  const kind = r.u8('value kind')
  switch (kind) {
    case VALUE.undefined:
      return undefined
    case VALUE.null:
      return null
    case VALUE.false:
      return false
    case VALUE.true:
      return true
    case VALUE.integer:
      return readInteger(r, 'value')
    case VALUE.number:
      return readNumber(r, 'value')
    case VALUE.text:
      return readText(r, 'value')
    case VALUE.bytes:
      return readBytes(r, 'value')
  }
  if (depth >= VALUE_DEPTH_MAX) r.fail(`value deeper than ${VALUE_DEPTH_MAX} levels`)
  else if (kind === VALUE.list) return readList(r, 'value', () => readValue(r, depth + 1))
  // `fromEntries` defines properties instead of setting them, so that a key such as `__proto__` is only a key.
  else if (kind === VALUE.object)
    return Object.fromEntries(readList(r, 'value', () => [readText(r, 'name'), readValue(r, depth + 1)]))
  else r.fail(`unknown value kind ${kind}`)
  return undefined
}

export const writeBoolean = (w: ByteWriter, value: boolean): void => w.u8(value ? 1 : 0)

export function readBoolean(r: ByteReader, field: string): boolean {
  return readFlags(r, field, 1) === 1
}

/** Integers from 0 to 2^53 - 1: seven bits per byte, the lowest first; the high bit means that more follow. */
export function writeInteger(w: ByteWriter, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a stored integer is safe and not negative')
  let rest = value
  while (rest >= 0x80) {
    w.u8((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  w.u8(rest)
}

export function readInteger(r: ByteReader, field: string): number {
  let value = 0
  for (let scale = 1; scale <= 2 ** 49; scale *= 0x80) {
    const byte = r.u8(field)
    value += (byte & 0x7f) * scale
    if (byte < 0x80) {
      if (value > Number.MAX_SAFE_INTEGER) r.fail(`${field} is too large`)
      return value
    }
  }
  r.fail(`${field} is too large`)
  return 0
}

const float = new DataView(new ArrayBuffer(8))
const floatBytes = new Uint8Array(float.buffer)

/** Any number, Infinity included. */
export function writeNumber(w: ByteWriter, value: number): void {
  float.setFloat64(0, value)
  w.raw(floatBytes)
}

export function readNumber(r: ByteReader, field: string): number {
  const start = r.skip(8, field)
  if (start < 0) return 0
  for (let i = 0; i < 8; i++) floatBytes[i] = r.bytes[start + i]!
  return float.getFloat64(0)
}

export function writeText(w: ByteWriter, text: string): void {
  writeInteger(w, utf8Length(text))
  w.text(text)
}

/**
 * Unlike `ByteReader.text` it accepts U+0000: the protocols decide what a string may contain, here it only has to come back
 * unchanged. `last` is the previous text of a kind that repeats: if it is the same, the same string is returned, without decoding
 * or hashing it again.
 */
export function readText(r: ByteReader, field: string, last = ''): string {
  const length = readInteger(r, field)
  const start = r.skip(length, field)
  if (start < 0) return ''
  if (length === last.length && isAscii(r.bytes, start, last)) return last
  if (utf8Error(r.bytes, start, start + length) === 'ill-formed UTF-8') {
    r.fail(`ill-formed UTF-8 in ${field}`)
    return ''
  }
  return decodeUtf8(r.bytes, start, start + length)
}

/** Whether the bytes at `start` are this text, and ASCII. */
function isAscii(bytes: Uint8Array, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const byte = bytes[start + i]!
    if (byte >= 0x80 || byte !== text.charCodeAt(i)) return false
  }
  return true
}

export function writeBytes(w: ByteWriter, bytes: Uint8Array): void {
  writeInteger(w, bytes.length)
  w.raw(bytes)
}

export function readBytes(r: ByteReader, field: string): Uint8Array {
  return new Uint8Array(r.take(readInteger(r, field), field))
}

const NO_LOCAL = 0x04
const RETAIN_AS_PUBLISHED = 0x08
const RETAIN_HANDLING_SHIFT = 4
const HAS_IDENTIFIER = 0x40
const HAS_CONDITION = 0x80

export function writeSubscription(w: ByteWriter, options: StoredSubscription): void {
  let flags = options.qos | (options.retainHandling << RETAIN_HANDLING_SHIFT)
  if (options.noLocal) flags |= NO_LOCAL
  if (options.retainAsPublished) flags |= RETAIN_AS_PUBLISHED
  if (options.subscriptionIdentifier !== undefined) flags |= HAS_IDENTIFIER
  if (options.condition !== undefined) flags |= HAS_CONDITION
  w.u8(flags)
  if (options.subscriptionIdentifier !== undefined) writeInteger(w, options.subscriptionIdentifier)
  if (options.condition !== undefined) writeText(w, options.condition)
}

export function readSubscription(r: ByteReader): StoredSubscription {
  const flags = readFlags(r, 'subscription flags', 0xff)
  const retainHandling = (flags >> RETAIN_HANDLING_SHIFT) & 3
  if (retainHandling === 3) r.fail('retain handling 3')
  const options = {
    qos: qosOf(r, flags),
    noLocal: (flags & NO_LOCAL) !== 0,
    retainAsPublished: (flags & RETAIN_AS_PUBLISHED) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  }
  const identifier = (flags & HAS_IDENTIFIER) === 0 ? undefined : readInteger(r, 'subscription identifier')
  return {
    ...options,
    ...(identifier !== undefined && { subscriptionIdentifier: identifier }),
    ...((flags & HAS_CONDITION) !== 0 && { condition: readText(r, 'condition') }),
  }
}

export function writePacket(w: ByteWriter, key: string, packetId: number): void {
  writeText(w, key)
  w.u16(packetId)
}

/** All records of a row have the same session key, or client id. */
let lastKey = ''
let lastClientId = ''

export function readClientId(r: ByteReader): string {
  lastClientId = readText(r, 'client id', lastClientId)
  return lastClientId
}

export function readKey(r: ByteReader): string {
  lastKey = readText(r, 'session key', lastKey)
  return lastKey
}

export const readPacketId = (r: ByteReader): number => r.u16('packet id')

export function writeReceipt(w: ByteWriter, { key, packetId, fingerprint }: StoredReceipt): void {
  writePacket(w, key, packetId)
  if (fingerprint !== undefined) w.u32(fingerprint)
}

export const readReceipt = (r: ByteReader, isPrinted: boolean): StoredReceipt => ({
  key: readKey(r),
  packetId: readPacketId(r),
  ...(isPrinted && { fingerprint: r.u32('fingerprint') }),
})
