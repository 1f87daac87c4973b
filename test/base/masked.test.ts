import { expect, test } from 'vitest'
import { masked } from '../../src/base/masked.ts'

test.each([
  ['ftp://user:word@host/', 'ftp://***@host/'],
  ['http://user:wo@rd@host and more', 'http://***@host and more'],
  ['HTTPS:user:word@host', 'HTTPS:***@host'],
  ['http:\\user:word@host', 'http:\\***@host'],
  ['first http://host, then mqtt+x://user:word\n@host', 'first http://***@host'],
  ['http://host/', 'http://host/'],
  ['user@host, http://host', 'user@host, http://host'],
  ['', ''],
])('%j', (text, expected) => expect(masked(text)).toBe(expected))

test.each([
  ['letters', 'x'.repeat(1e6)],
  ['schemes', `${'http:'.repeat(2e5)}`],
  ['schemes before an @', `${'http'.repeat(2e5)}@`],
])('a megabyte of %s takes linear time', (_, text) => {
  const before = process.cpuUsage()
  expect(masked(text)).toBe(text)
  expect(process.cpuUsage(before).user).toBeLessThan(2_000_000)
})
