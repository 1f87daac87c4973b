import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FACTOR, SEED } from '../../fuzz/runs.ts'
import { type ByteOrder, type Field, type FieldKind, Layout, LayoutBuilder } from '../../src/filters/binary-layout.ts'

function layoutOf(fields: readonly Field[], order: ByteOrder = 'big'): Layout {
  const builder = new LayoutBuilder()
  for (const field of fields) expect(builder.add(field)).toBe('')
  const layout = builder.finish(order)
  if (!(layout instanceof Layout)) throw new Error(layout)
  return layout
}

const hex = (digits: string): Uint8Array => Buffer.from(digits.replaceAll(' ', ''), 'hex')

describe('the decoded object', () => {
  test.each<[string, readonly Field[], ByteOrder, string, object | string]>([
    ['big-endian', [{ kind: 'uint16', name: 'a' }], 'big', '0102', { a: 258 }],
    ['little-endian', [{ kind: 'uint16', name: 'a' }], 'little', '0102', { a: 513 }],
    ['negative', [{ kind: 'int24', name: 'a' }], 'big', 'fffffe', { a: -2 }],
    ['scaled to the last digit', [{ kind: 'int16', name: 't', scale: 0.1 }], 'big', '0003', { t: 0.3 }],
    ['scale and offset', [{ kind: 'uint8', name: 't', scale: 0.5, offset: -40 }], 'big', '64', { t: 10 }],
    ['offset alone', [{ kind: 'uint8', name: 't', offset: -1 }], 'big', '00', { t: -1 }],
    ['scale above 1', [{ kind: 'uint8', name: 't', scale: 12 }], 'big', '02', { t: 24 }],
    ['a float', [{ kind: 'float32', name: 'f' }], 'little', '0000c841', { f: 25 }],
    ['a double', [{ kind: 'float64', name: 'f' }], 'big', '4039000000000000', { f: 25 }],
    ['2^53 - 1 is a number', [{ kind: 'uint64', name: 'n' }], 'big', '001fffffffffffff', { n: 2 ** 53 - 1 }],
    ['2^53 is a bigint', [{ kind: 'uint64', name: 'n' }], 'big', '0020000000000000', { n: 2n ** 53n }],
    ['the least int64', [{ kind: 'int64', name: 'n' }], 'little', '0000000000000080', { n: -(2n ** 63n) }],
    [
      'bits, from the highest',
      [
        { kind: 'bits', size: 3, name: 'a' },
        { kind: 'bits', size: 5, name: 'b' },
      ],
      'big',
      'a1',
      { a: 5, b: 1 },
    ],
    [
      'bits, from the lowest',
      [
        { kind: 'bits', size: 3, name: 'a' },
        { kind: 'bits', size: 5, name: 'b' },
      ],
      'little',
      'a1',
      { a: 1, b: 20 },
    ],
    [
      'bits across bytes, with a gap',
      [
        { kind: 'bits', size: 12, name: 'a' },
        { kind: 'bits', size: 4 },
        { kind: 'uint8', name: 'b' },
      ],
      'big',
      'abcdef',
      { a: 0xabc, b: 0xef },
    ],
    ['32 bits', [{ kind: 'bits', size: 32, name: 'a' }], 'big', 'ffffffff', { a: 2 ** 32 - 1 }],
    ['text without its filling', [{ kind: 'string', size: 6, name: 's' }], 'big', 'c3a962000000', { s: 'éb' }],
    [
      'skipped bytes',
      [
        { kind: 'skip', size: 2 },
        { kind: 'uint8', name: 'a' },
      ],
      'big',
      'ffff07',
      { a: 7 },
    ],
    [
      'the rest as text',
      [
        { kind: 'uint8', name: 'a' },
        { kind: 'string', name: 's' },
      ],
      'big',
      '01 6f6b',
      { a: 1, s: 'ok' },
    ],
    [
      'no rest',
      [
        { kind: 'uint8', name: 'a' },
        { kind: 'string', name: 's' },
      ],
      'big',
      '01',
      { a: 1, s: '' },
    ],
    ['a word', [{ kind: 'uint8', name: 'v', values: new Map([[1, 'open']]) }], 'big', '01', { v: 'open' }],
    [
      'no word',
      [{ kind: 'uint8', name: 'v', values: new Map([[1, 'open']]) }],
      'big',
      '02',
      'v: is 2, which is none of its values',
    ],
    ['too short', [{ kind: 'uint16', name: 'a' }], 'big', '01', 'has 1 bytes instead of 2'],
    ['too long', [{ kind: 'uint16', name: 'a' }], 'big', '010203', 'has 3 bytes instead of 2'],
    ['empty', [{ kind: 'uint16', name: 'a' }], 'big', '', 'has 0 bytes instead of 2'],
    [
      'short of its rest',
      [
        { kind: 'uint16', name: 'a' },
        { kind: 'string', name: 's' },
      ],
      'big',
      '01',
      'has 1 bytes instead of at least 2',
    ],
    ['no UTF-8', [{ kind: 'string', size: 2, name: 's' }], 'big', 'ff00', 's: is not UTF-8 text'],
    ['a zero inside text', [{ kind: 'string', size: 3, name: 's' }], 'big', '610062', 's: is not UTF-8 text'],
  ])('%s', (_, fields, order, payload, expected) => {
    expect(layoutOf(fields, order).decode(hex(payload))).toEqual(expected)
  })

  test('is read at the place of the payload in a larger buffer', () => {
    expect(layoutOf([{ kind: 'float32', name: 'f' }]).decode(hex('ffff 41c80000 ff').subarray(2, 6))).toEqual({ f: 25 })
  })
})

describe('what is wrong with a layout', () => {
  const number = { kind: 'uint8', name: 'a' } as const
  test.each<[readonly Field[], string]>([
    [[{ kind: 'uint8' }], 'needs a name'],
    [[{ kind: 'skip', size: 1, name: 'a' }], 'a skip has no name'],
    [[{ kind: 'uint8', name: '1a' }], 'a name has up to 64 letters, digits and _, and does not begin with a digit'],
    [[{ kind: 'uint8', name: '__proto__' }], 'a name has up to 64 letters, digits and _, and does not begin with a digit'],
    [[{ kind: 'bits', name: 'a' }], 'bits needs a size from 1 to 32, in bits'],
    [[{ kind: 'bits', name: 'a', size: 33 }], 'bits needs a size from 1 to 32, in bits'],
    [[{ kind: 'uint8', name: 'a', size: 1 }], 'uint8 has a size already'],
    [[{ kind: 'skip' }], 'skip needs a size from 1 to 65535, in bytes'],
    [[{ kind: 'string', name: 's', size: 0 }], 'expected a size from 1 to 65535 bytes'],
    [[{ kind: 'string', name: 's', size: 1, scale: 2 }], 'scale and offset are for numbers'],
    [[{ kind: 'uint8', name: 'a', scale: 0 }], 'a scale of 0 would make every number the same'],
    [[{ kind: 'float32', name: 'a', values: new Map([[1, 'x']]) }], 'values are for integers of up to 32 bits'],
    [[{ ...number, scale: 2, values: new Map([[1, 'x']]) }], 'values exclude scale and offset'],
    [[{ ...number, values: new Map() }], 'values are empty, so nothing would fit'],
    [[{ ...number, values: new Map([[256, 'x']]) }], 'a value of 256 cannot occur: it has 0 to 255'],
    [[{ kind: 'int8', name: 'a', values: new Map([[-129, 'x']]) }], 'a value of -129 cannot occur: it has -128 to 127'],
    [[number, number], 'there is a field a already'],
    [[{ kind: 'string', name: 's' }, number], 'comes after a string without a size, which takes everything'],
    [
      [{ kind: 'bits', name: 'b', size: 3 }, number],
      'the bits before it are 3, and have to be 8, 16, 24 or 32 together: add bits without a name',
    ],
    [
      [
        { kind: 'bits', name: 'b', size: 30 },
        { kind: 'bits', name: 'c', size: 10 },
      ],
      'bits that are not whole bytes yet have at most 32 together',
    ],
    [Array.from({ length: 257 }, (_, i) => ({ kind: 'uint8', name: `f${i}` })), 'a layout has at most 256 fields'],
  ])('%j: %s', (fields, expected) => {
    const builder = new LayoutBuilder()
    for (const field of fields.slice(0, -1)) expect(builder.add(field)).toBe('')
    expect(builder.add(fields.at(-1)!)).toBe(expected)
  })

  test.each<[readonly Field[], string]>([
    [[], 'has no field with a name'],
    [[{ kind: 'skip', size: 3 }], 'has no field with a name'],
    [
      [{ kind: 'bits', name: 'b', size: 9 }],
      'the bits before it are 9, and have to be 8, 16, 24 or 32 together: add bits without a name',
    ],
  ])('at its end: %j: %s', (fields, expected) => {
    const builder = new LayoutBuilder()
    for (const field of fields) expect(builder.add(field)).toBe('')
    expect(builder.finish('big')).toBe(expected)
  })
})

type Written = {
  readonly field: Field
  readonly value: unknown
  write(view: DataView, at: number, little: boolean): void
  size: number
}

/** What DataView writes, and Layout has to read. */
const numbers = (name: string): fc.Arbitrary<Written> => {
  const of = <T>(
    kind: FieldKind,
    size: number,
    value: fc.Arbitrary<T>,
    write: (view: DataView, at: number, value: T, little: boolean) => void,
  ) =>
    value.map((v) => ({
      field: { kind, name },
      value: v,
      size,
      write: (view: DataView, at: number, little: boolean) => write(view, at, v, little),
    }))
  const int = (bits: number, signed: boolean): fc.Arbitrary<number> =>
    fc.integer(signed ? { min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 } : { min: 0, max: 2 ** bits - 1 })
  const long = (signed: boolean): fc.Arbitrary<bigint> =>
    fc.bigInt(signed ? { min: -(2n ** 63n), max: 2n ** 63n - 1n } : { min: 0n, max: 2n ** 64n - 1n })
  return fc.oneof<fc.Arbitrary<Written>[]>(
    of('uint8', 1, int(8, false), (view, at, v) => view.setUint8(at, v)),
    of('int8', 1, int(8, true), (view, at, v) => view.setInt8(at, v)),
    of('uint16', 2, int(16, false), (view, at, v, little) => view.setUint16(at, v, little)),
    of('int16', 2, int(16, true), (view, at, v, little) => view.setInt16(at, v, little)),
    of('uint32', 4, int(32, false), (view, at, v, little) => view.setUint32(at, v, little)),
    of('int32', 4, int(32, true), (view, at, v, little) => view.setInt32(at, v, little)),
    of('uint64', 8, long(false), (view, at, v, little) => view.setBigUint64(at, v, little)),
    of('int64', 8, long(true), (view, at, v, little) => view.setBigInt64(at, v, little)),
    of('float32', 4, fc.float(), (view, at, v, little) => view.setFloat32(at, v, little)),
    of('float64', 8, fc.double(), (view, at, v, little) => view.setFloat64(at, v, little)),
  )
}

test('reads what DataView has written, whatever the fields and the byte order', () => {
  const written = fc.integer({ min: 1, max: 12 }).chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => numbers(`f${i}`))))
  fc.assert(
    fc.property(written, fc.boolean(), fc.nat(7), (parts, little, before) => {
      const size = parts.reduce((sum, part) => sum + part.size, 0)
      const buffer = new Uint8Array(before + size)
      const view = new DataView(buffer.buffer)
      let at = before
      for (const part of parts) {
        part.write(view, at, little)
        at += part.size
      }
      const layout = layoutOf(
        parts.map(({ field }) => field),
        little ? 'little' : 'big',
      )
      expect(layout.size).toBe(size)
      const decoded = layout.decode(buffer.subarray(before)) as Record<string, unknown>
      for (const { field, value } of parts) {
        const found = decoded[field.name!]
        // A bigint only where a number would not be exact.
        if (typeof found === 'bigint') expect(Number.isSafeInteger(Number(found))).toBe(false)
        expect(typeof value === 'bigint' ? BigInt(found as number) : found).toBe(value)
      }
    }),
    { numRuns: 300 * FACTOR, seed: SEED },
  )
})

test('reads bits as a naive reading of the digits does', () => {
  const runs = fc.array(fc.array(fc.integer({ min: 1, max: 32 }), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(runs, fc.boolean(), fc.uint8Array({ minLength: 64, maxLength: 64 }), (sizes, little, noise) => {
      const fields: Field[] = []
      const expected: Record<string, number> = {}
      let bytes = 0
      for (const run of sizes) {
        const kept: number[] = []
        for (const size of run) if (kept.reduce((a, b) => a + b, 0) + size <= 32) kept.push(size)
        const used = kept.reduce((a, b) => a + b, 0)
        if (used % 8 > 0) kept.push(8 - (used % 8))
        // Each whole number of bytes ends a run.
        for (let from = 0; from < kept.length; ) {
          let to = from
          let sum = 0
          do sum += kept[to++]!
          while (sum % 8 !== 0)
          const octets = [...noise.subarray(bytes, bytes + sum / 8)]
          if (little) octets.reverse()
          const digits = octets.map((octet) => octet.toString(2).padStart(8, '0')).join('')
          let before = 0
          for (const size of kept.slice(from, to)) {
            const name = `f${fields.length}`
            fields.push({ kind: 'bits', size, name })
            const start = little ? digits.length - before - size : before
            expected[name] = Number.parseInt(digits.slice(start, start + size), 2)
            before += size
          }
          bytes += sum / 8
          from = to
        }
      }
      expect(layoutOf(fields, little ? 'little' : 'big').decode(noise.subarray(0, bytes))).toEqual(expected)
    }),
    { numRuns: 300 * FACTOR, seed: SEED },
  )
})

test('never throws, and every payload of another length does not fit', () => {
  const fields: Field[] = [
    { kind: 'uint16', name: 'a', scale: 0.01 },
    { kind: 'bits', size: 2, name: 'v', values: new Map([[0, 'x']]) },
    { kind: 'bits', size: 6 },
    { kind: 'string', size: 4, name: 's' },
    { kind: 'float64', name: 'f' },
  ]
  const layout = layoutOf(fields)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (payload) => {
      const decoded = layout.decode(payload)
      if (payload.length !== 15) expect(decoded).toBeTypeOf('string')
    }),
    { numRuns: 500 * FACTOR, seed: SEED },
  )
})
