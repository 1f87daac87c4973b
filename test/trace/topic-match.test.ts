import { expect, test } from 'vitest'
import { topicFits } from '../../src/trace/topic-match.ts'

test.each([
  ['a/b', 'a/b', true],
  ['a/b', 'a/b/c', false],
  ['a/b/c', 'a/b', false],
  ['a/+', 'a/b', true],
  ['a/+', 'a/', true],
  ['a/+', 'a', false],
  ['+/+', '/a', true],
  ['a/#', 'a', true],
  ['a/#', 'a/b/c', true],
  ['a/#', 'ab', false],
  ['#', '$SYS/x', true],
  ['+', 'a/b', false],
])('%s and %s: %s', (filter, topic, fits) => {
  expect(topicFits(filter, topic)).toBe(fits)
})
