import { expect, test } from 'vitest'
import { bytesText, momentText, timeText } from '../../../src/cli/http/figures.ts'

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [9949, '9.9 kB'],
  [9950, '10 kB'],
  [999_499, '999 kB'],
  [999_500, '1.0 MB'],
  [12_345_678, '12 MB'],
  [4e15, '4000 TB'],
])('%d bytes: %s', (bytes, text) => expect(bytesText(bytes)).toBe(text))

test.each([
  [0, '0 s'],
  [-5, '0 s'],
  [59.4, '59 s'],
  [60, '1 min'],
  [185, '3 min 5 s'],
  [7200, '2 h'],
  [273_600, '3 d 4 h'],
])('%d seconds: %s', (seconds, text) => expect(timeText(seconds)).toBe(text))

test('a moment', () => {
  const now = Date.parse('2026-12-01T03:00:00Z')
  expect(momentText(undefined, now)).toBe('-')
  expect(momentText('2026-12-01T03:00:00Z', now)).toBe('0 s ago')
  expect(momentText('2026-12-01T02:58:30Z', now)).toBe('1 min 30 s ago')
  expect(momentText('2026-12-01T03:01:00Z', now)).toBe('in 1 min')
})
