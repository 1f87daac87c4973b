import { expect, test } from 'vitest'
import { filledIn, patternError } from '../../../src/upstream/sensors/naming.ts'

test.each([
  ['%c', 'node-1'],
  ['site/%g/%c', 'site/7/node-1'],
  ['%u:%c%c', 'ann:node-1node-1'],
  ['100%%c', '100%c'],
  ['plain', 'plain'],
])('%s is %s', (pattern, expected) => {
  expect(patternError(pattern)).toBeUndefined()
  expect(filledIn(pattern, { c: 'node-1', g: 7, u: 'ann' })).toBe(expected)
})

test('a value is not a pattern, and who is anonymous has no name', () => {
  expect(filledIn('%c/%u', { c: '%g$&%%', g: 7, u: undefined })).toBe('%g$&%%/')
})

test.each([
  ['%x', '%x has no meaning'],
  ['a%', 'ends with %'],
  ['%%%', 'ends with %'],
  ['%C', '%C has no meaning'],
  ['%\n', '%\n has no meaning'],
])('%s is not valid', (pattern, expected) => {
  expect(patternError(pattern)).toContain(expected)
})
