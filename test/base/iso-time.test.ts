import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isoTime } from '../../src/base/iso-time.ts'

/** Years 0 to 9999. */
const [LEAST, MOST] = [Date.UTC(2000, 0) - 2000 * 365.2425 * 86_400_000, Date.UTC(9999, 11, 31)]

test('a time is written as Date does, in whole seconds', () => {
  const times = fc.oneof(fc.integer({ min: LEAST, max: MOST }), fc.double({ min: 0, max: 4e12, noNaN: true }))
  fc.assert(
    fc.property(times, (ms) => {
      expect(isoTime(ms)).toBe(new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z'))
    }),
    { numRuns: 2000 },
  )
})

test.each(['1970-01-01T00:00:00Z', '2000-02-29T23:59:59Z', '2100-03-01T00:00:00Z', '2027-01-15T08:00:00Z'])('%s', (text) => {
  expect(isoTime(Date.parse(text))).toBe(text)
})
