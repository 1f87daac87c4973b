import { decodeUtf8, utf8Error } from '../base/bytes.ts'

/** Kinds of fields with a fixed size, and their bytes. */
const NUMBER_BYTES = {
  uint8: 1,
  uint16: 2,
  uint24: 3,
  uint32: 4,
  uint64: 8,
  int8: 1,
  int16: 2,
  int24: 3,
  int32: 4,
  int64: 8,
  float32: 4,
  float64: 8,
} as const

type NumberKind = keyof typeof NUMBER_BYTES

/** `bits`: `size` bits of a number. `string`: UTF-8 in `size` bytes. `skip`: `size` bytes that mean nothing. */
export type FieldKind = NumberKind | 'bits' | 'string' | 'skip'

export const FIELD_KINDS: readonly FieldKind[] = [...(Object.keys(NUMBER_BYTES) as NumberKind[]), 'bits', 'string', 'skip']

export type ByteOrder = 'big' | 'little'

/** One field of a layout, in the order of the payload. */
export interface Field {
  /** Its key in the decoded object; undefined for `skip` only. */
  readonly name?: string | undefined
  readonly kind: FieldKind
  /** Bits of `bits`; bytes of `string` and `skip`. A `string` without a size takes the rest of the payload. */
  readonly size?: number | undefined
  /** The decoded number is the one in the payload times `scale`, plus `offset`. */
  readonly scale?: number | undefined
  readonly offset?: number | undefined
  /** The words for the numbers that may occur, in place of the numbers; any other number does not fit. */
  readonly values?: ReadonlyMap<number, string> | undefined
}

/** Fields of a layout at most. */
export const FIELDS_MAX = 256
/** Bytes of a `string` or `skip` at most. */
export const FIELD_BYTES_MAX = 65_535
/** Bits of one field, and of the run of `bits` fields that it belongs to: up to there all numbers are exact. */
const BITS_MAX = 32
const NAME = /^[A-Za-z_]\w{0,63}$/

/** A field with its place, worked out once. */
interface Step {
  readonly field: Field
  /** Offset in bytes; of a `bits` field that of its run. */
  readonly at: number
  /** Bytes of the field, or of the run of `bits`. */
  bytes: number
  /** Bits before it in its run of `bits`. */
  readonly bitsBefore: number
  readonly signed: boolean
  /** 10 for a scale of 0.1: to divide by it is exact to the last digit, to multiply is not. */
  readonly divisor: number
}

/** Binary payloads of one form: named fields one after the other, without gaps. */
export class Layout {
  /** Bytes of a payload; at least so many if `hasRest`. */
  readonly size: number
  /** The last field takes what is left. */
  readonly hasRest: boolean
  readonly fields: readonly Field[]
  readonly #steps: readonly Step[]
  readonly #little: boolean

  /** Made by a `LayoutBuilder`. */
  constructor(steps: readonly Step[], size: number, order: ByteOrder) {
    this.#steps = steps
    this.size = size
    this.#little = order === 'little'
    this.fields = steps.map(({ field }) => field)
    this.hasRest = this.fields.some(isRest)
  }

  /**
   * Returns the object that the payload stands for, or a line about why it does not fit. Integers beyond 2^53 that are neither
   * scaled nor shifted are bigints.
   */
  decode(payload: Uint8Array): object | string {
    const { length } = payload
    if (this.hasRest ? length < this.size : length !== this.size)
      return `has ${length} bytes instead of ${this.hasRest ? 'at least ' : ''}${this.size}`
    const decoded: Record<string, unknown> = {}
    const steps = this.#steps
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!
      const { name, kind, values } = step.field
      if (name === undefined) continue
      if (kind === 'string') {
        const text = textAt(payload, step)
        if (text === undefined) return `${name}: is not UTF-8 text`
        decoded[name] = text
        continue
      }
      const number = kind === 'bits' ? this.#bitsAt(payload, step) : numberAt(payload, step, this.#little)
      if (values === undefined) decoded[name] = scaled(number, step)
      else {
        const word = values.get(number as number)
        if (word === undefined) return `${name}: is ${number}, which is none of its values`
        decoded[name] = word
      }
    }
    return decoded
  }

  /** Big-endian: the first field has the highest bits of the first byte; little-endian: the lowest, as with bit fields in C. */
  #bitsAt(payload: Uint8Array, { field, at, bytes, bitsBefore }: Step): number {
    const run = uintAt(payload, at, bytes, this.#little)
    const width = field.size!
    const shift = this.#little ? bitsBefore : bytes * 8 - bitsBefore - width
    return Math.floor(run / 2 ** shift) % 2 ** width
  }
}

/** Takes the fields of a layout one by one, so that an error can be reported at the field. */
export class LayoutBuilder {
  readonly #steps: Step[] = []
  readonly #names = new Set<string>()
  /** The `bits` fields that are not a whole number of bytes yet. */
  #run: Step[] = []
  #runBits = 0
  #size = 0

  /** Adds a field. Returns a line about what is wrong with it, '' if nothing is. */
  add(field: Field): string {
    const wrong = fieldError(field) || this.#placeError(field)
    if (wrong !== '') return wrong
    const { name, kind, size = 0, scale = 1 } = field
    if (name !== undefined) this.#names.add(name)
    const bytes = kind === 'string' || kind === 'skip' ? size : kind === 'bits' ? 0 : NUMBER_BYTES[kind]
    const inverse = Math.round(1 / scale)
    const divisor = scale !== 1 && 1 / inverse === scale ? inverse : 0
    const step = { field, at: this.#size, bytes, bitsBefore: this.#runBits, signed: kind.startsWith('int'), divisor }
    this.#steps.push(step)
    this.#size += bytes
    if (kind === 'bits') this.#addBits(step, size)
    return ''
  }

  /** The layout of all fields, or a line about what is missing. */
  finish(order: ByteOrder): Layout | string {
    if (this.#steps.every(({ field }) => field.name === undefined)) return 'has no field with a name'
    return this.#runError() || new Layout(this.#steps, this.#size, order)
  }

  #placeError({ name, kind, size = 0 }: Field): string {
    if (this.#steps.length >= FIELDS_MAX) return `a layout has at most ${FIELDS_MAX} fields`
    if (name !== undefined && this.#names.has(name)) return `there is a field ${name} already`
    if (this.#steps.some(({ field }) => isRest(field))) return 'comes after a string without a size, which takes everything'
    if (kind !== 'bits') return this.#runError()
    return this.#runBits + size <= BITS_MAX ? '' : `bits that are not whole bytes yet have at most ${BITS_MAX} together`
  }

  #runError(): string {
    const bits = this.#runBits
    return bits === 0 ? '' : `the bits before it are ${bits}, and have to be 8, 16, 24 or 32 together: add bits without a name`
  }

  #addBits(step: Step, width: number): void {
    this.#run.push(step)
    this.#runBits += width
    if (this.#runBits % 8 !== 0) return
    for (const each of this.#run) each.bytes = this.#runBits / 8
    this.#size += this.#runBits / 8
    this.#run = []
    this.#runBits = 0
  }
}

const isRest = ({ kind, size }: Field): boolean => kind === 'string' && size === undefined

/** What is wrong with a field by itself. */
function fieldError({ name, kind, size, scale, offset, values }: Field): string {
  const isSkipped = kind === 'skip' || (kind === 'bits' && name === undefined)
  if (name === undefined && !isSkipped) return 'needs a name'
  if (kind === 'skip' && name !== undefined) return 'a skip has no name'
  if (name !== undefined && (!NAME.test(name) || name === '__proto__'))
    return 'a name has up to 64 letters, digits and _, and does not begin with a digit'
  const sizeWrong = sizeError(kind, size)
  if (sizeWrong !== '') return sizeWrong
  const isNumber = kind !== 'string' && !isSkipped
  if ((scale !== undefined || offset !== undefined) && !isNumber) return 'scale and offset are for numbers'
  if (scale === 0) return 'a scale of 0 would make every number the same'
  if (values === undefined) return ''
  if (!isNumber || kind.startsWith('float') || kind.endsWith('64')) return 'values are for integers of up to 32 bits'
  if (scale !== undefined || offset !== undefined) return 'values exclude scale and offset'
  if (values.size === 0) return 'values are empty, so nothing would fit'
  const [least, most] = rangeOf(kind, size)
  for (const value of values.keys())
    if (value < least || value > most) return `a value of ${value} cannot occur: it has ${least} to ${most}`
  return ''
}

function sizeError(kind: FieldKind, size: number | undefined): string {
  if (kind === 'bits')
    return size !== undefined && size >= 1 && size <= BITS_MAX ? '' : `bits needs a size from 1 to ${BITS_MAX}, in bits`
  if (kind !== 'string' && kind !== 'skip') return size === undefined ? '' : `${kind} has a size already`
  if (size === undefined) return kind === 'string' ? '' : `skip needs a size from 1 to ${FIELD_BYTES_MAX}, in bytes`
  return size >= 1 && size <= FIELD_BYTES_MAX ? '' : `expected a size from 1 to ${FIELD_BYTES_MAX} bytes`
}

function rangeOf(kind: FieldKind, size: number | undefined): readonly [number, number] {
  const bits = kind === 'bits' ? size! : NUMBER_BYTES[kind as NumberKind] * 8
  return kind.startsWith('int') ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1]
}

/** Text without the zeros that fill it up; undefined if it is not valid. */
function textAt(payload: Uint8Array, { at, bytes, field }: Step): string | undefined {
  let end = field.size === undefined ? payload.length : at + bytes
  if (field.size !== undefined) while (end > at && payload[end - 1] === 0) end--
  return utf8Error(payload, at, end) === '' ? decodeUtf8(payload, at, end) : undefined
}

function scaled(number: number | bigint, { field, divisor }: Step): number | bigint {
  const { scale, offset = 0 } = field
  if (scale === undefined && offset === 0) return number
  const plain = Number(number)
  return (divisor !== 0 ? plain / divisor : plain * (scale ?? 1)) + offset
}

const FLOAT = new DataView(new ArrayBuffer(8))

function numberAt(payload: Uint8Array, { field, at, bytes, signed }: Step, little: boolean): number | bigint {
  if (field.kind === 'float32' || field.kind === 'float64') {
    for (let i = 0; i < bytes; i++) FLOAT.setUint8(i, payload[at + i]!)
    return bytes === 4 ? FLOAT.getFloat32(0, little) : FLOAT.getFloat64(0, little)
  }
  if (bytes === 8) return longAt(payload, at, signed, little)
  const value = uintAt(payload, at, bytes, little)
  return signed && value >= 2 ** (bytes * 8 - 1) ? value - 2 ** (bytes * 8) : value
}

/** An unsigned integer of up to four bytes. */
function uintAt(bytes: Uint8Array, at: number, size: number, little: boolean): number {
  let value = 0
  if (little) for (let i = at + size - 1; i >= at; i--) value = value * 256 + bytes[i]!
  else for (let i = at; i < at + size; i++) value = value * 256 + bytes[i]!
  return value
}

/** A number as long as that is exact. */
function longAt(bytes: Uint8Array, at: number, signed: boolean, little: boolean): number | bigint {
  const low = uintAt(bytes, little ? at : at + 4, 4, little)
  const high = uintAt(bytes, little ? at + 4 : at, 4, little)
  const top = signed ? high | 0 : high
  const value = top * 2 ** 32 + low
  return Number.isSafeInteger(value) ? value : (BigInt(top) << 32n) + BigInt(low)
}
