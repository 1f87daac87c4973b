import { expect, test } from 'vitest'
import { isoTime } from '../../src/base/iso-time.ts'

test('agrees with Date on every day of eight hundred years', () => {
  for (let day = -200_000; day < 92_000; day++) {
    const ms = day * 86_400_000 + (Math.abs(day * 7_919_113) % 86_400_000)
    const expected = `${new Date(ms).toISOString().slice(0, 19)}Z`
    if (isoTime(ms) !== expected) expect(isoTime(ms)).toBe(expected)
  }
})
