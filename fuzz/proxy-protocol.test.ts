import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readProxyHeader } from '../src/mqtt/proxy-protocol.ts'
import { tlv, v2 } from '../test/vectors/proxy-protocol.ts'
import { runs } from './runs.ts'

const bytes = fc.uint8Array({ maxLength: 200 }).map((raw) => Buffer.from(raw))
const block = fc.oneof(
  bytes,
  fc
    .tuple(
      fc.uint8Array({ minLength: 12, maxLength: 12 }),
      fc.array(fc.tuple(fc.constantFrom(0x02, 0x20), bytes), { maxLength: 3 }),
    )
    .map(([addresses, tlvs]) => Buffer.concat([addresses, ...tlvs.map(([type, value]) => tlv(type, value))])),
)
const binary = fc
  .tuple(fc.constantFrom(0x20, 0x21, 0x21, 0x22), fc.constantFrom(0, 0x11, 0x11, 0x12, 0x21, 0x31, 0x41), block)
  .map(([command, family, block]) => v2(command, family, block))
const word = fc.oneof(
  fc.constantFrom('TCP4', 'TCP6', 'UNKNOWN', '192.0.2.1', '2001:db8::1', '1883', '0', ''),
  fc.string({ maxLength: 20 }),
)
const line = fc.array(word, { maxLength: 7 }).map((words) => Buffer.from(`PROXY ${words.join(' ')}\r\n`))
const valid = fc
  .constantFrom('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n', 'PROXY TCP6 ::1 ::2 65535 2\r\n')
  .map((text) => Buffer.from(text))
/** A header that is often valid, what the client says after it, and sometimes one byte changed. */
const input = fc
  .tuple(fc.oneof(binary, line, valid, bytes), bytes, fc.option(fc.tuple(fc.nat(), fc.nat(255)), { nil: undefined }))
  .map(([header, rest, change]) => {
    const whole = Buffer.concat([header, rest])
    if (change !== undefined && whole.length > 0) whole[change[0] % whole.length] = change[1]
    return whole
  })

test('the outcome is the same however the bytes are cut, and known after 4112 of them', () => {
  fc.assert(
    fc.property(input, (whole) => {
      const outcome = readProxyHeader(whole)
      let first: ReturnType<typeof readProxyHeader>
      let taken = 0
      for (; taken <= whole.length && first === undefined; taken++) first = readProxyHeader(whole.subarray(0, taken))
      expect(first).toEqual(outcome)
      if (outcome?.kind === 'header') {
        expect(outcome.size).toBeLessThanOrEqual(whole.length)
        // Not a byte of the client's is needed.
        expect(taken - 1).toBe(outcome.size)
      }
    }),
    runs(1000),
  )
})

test('any bytes at all give an outcome', () => {
  fc.assert(
    fc.property(
      fc.oneof(input, fc.constant(Buffer.alloc(5000, 'PROXY ')), fc.constant(v2(0x21, 0x11, Buffer.alloc(5000)))),
      (whole) => {
        const outcome = readProxyHeader(whole)
        if (whole.length >= 4112) expect(outcome).toBeDefined()
      },
    ),
    runs(1000),
  )
})
