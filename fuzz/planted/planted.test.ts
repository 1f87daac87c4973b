import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { bugs } from './planted.mjs'

test('every planted bug still has its place in the source, once', () => {
  const homeless = bugs().filter(({ file, line }) => {
    const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
    return source.split(line).length !== 2
  })
  expect(homeless.map(({ name }) => name)).toEqual([])
  expect(bugs().length).toBeGreaterThanOrEqual(30)
})

test('every planted bug has a suite that there is', () => {
  const isThere = (suite: string) => ['model', 'real'].includes(suite) || existsSync(new URL(`../${suite}`, import.meta.url))
  expect(bugs().filter(({ suite }) => !isThere(suite))).toEqual([])
})
