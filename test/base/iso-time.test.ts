import { expect, test } from 'vitest'
import { isoTime } from '../../src/base/iso-time.ts'

test('agrees with Date on every day of eight hundred years, and on seconds', () => {
  for (let day = -200_000; day < 92_000; day++) {
    const seconds = day * 86_400 + ((day * 7919) % 86_400)
    const expected = `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`
    if (isoTime(seconds + 0.9) !== expected) expect(isoTime(seconds)).toBe(expected)
  }
  expect(isoTime(0)).toBe('1970-01-01T00:00:00Z')
  expect(isoTime(951_782_399)).toBe('2000-02-28T23:59:59Z')
})
