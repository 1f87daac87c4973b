import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { bugs, fileOf, livesOf } from './planted.mjs'

const path = (name: string) => new URL(`../../${name}`, import.meta.url)

test('every planted bug still has its place in the source, once', () => {
  const homeless = bugs().filter(({ file, line }) => {
    const source = readFileSync(path(file), 'utf8')
    return source.split(line).length !== 2
  })
  expect(homeless.map(({ name }) => name)).toEqual([])
  expect(bugs().length).toBeGreaterThanOrEqual(30)
})

test('every planted bug has a suite that there is', () => {
  const isThere = (suite: string) => suite === 'real' || existsSync(path(fileOf(suite)))
  expect(bugs().filter(({ suite }) => !isThere(suite))).toEqual([])
})

test('at least twenty are bugs of the past, with a life that found them', () => {
  const regressions = bugs().flatMap(({ suite, regression }) => (regression === undefined ? [] : livesOf(suite) + regression))
  expect(new Set(regressions).size).toBeGreaterThanOrEqual(20)
  expect(regressions.filter((name) => !existsSync(path(`fuzz/regressions/${name}.json`)))).toEqual([])
})

test('every other bug of the past has a test that there is', () => {
  const others = bugs().filter(({ test, regression }) => test !== undefined && regression === undefined)
  expect(others.filter(({ suite, test }) => !readFileSync(path(fileOf(suite)), 'utf8').includes(test!))).toEqual([])
})
