import { expect, test } from 'vitest'
import { parseTokens } from '../../src/http/token-file.ts'

const A = 'a'.repeat(32)
const B = `${'b'.repeat(40)}!`

test('roles with their tokens, comments and blank lines', () => {
  expect(parseTokens(`# Prometheus\nview ${A}\r\n\n  manage\t${B}  \n`)).toEqual(
    new Map([
      [A, 'view'],
      [B, 'manage'],
    ]),
  )
  expect(parseTokens('')).toEqual(new Map())
})

test.each([
  [`view ${A}\nsee ${B}`, 2, 'expected `view TOKEN` or `manage TOKEN`'],
  [`view ${A} ${B}`, 1, 'expected `view TOKEN` or `manage TOKEN`'],
  [A, 1, 'expected `view TOKEN` or `manage TOKEN`'],
  ['view', 1, 'expected a token of at least 32 characters'],
  [`view ${'a'.repeat(31)}`, 1, 'expected a token of at least 32 characters'],
  [`view ${'ä'.repeat(40)}`, 1, 'expected a token of at least 32 characters'],
  [`view ${A}\nmanage ${A}`, 2, 'this token comes twice'],
])('%j: line %i is an error that does not contain the token', (text, line, reason) => {
  expect(parseTokens(text)).toEqual({ line, reason })
})
