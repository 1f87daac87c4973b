import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** Things that brokers get wrong, and this one does not: each has tests that name it by its number. */
const COUNT = 44

const titles = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.test.ts') && name !== 'all.test.ts')
  .flatMap((name) => [...readFileSync(`${import.meta.dirname}/${name}`, 'utf8').matchAll(/['"`]behaviours? (\d+)[^'"`]*/g)])

test('each behaviour stands in the title of a test', () => {
  const named = new Set(titles.map(([, number]) => Number(number)))
  const missing = Array.from({ length: COUNT }, (_, i) => i + 1).filter((number) => !named.has(number))
  expect(missing).toEqual([])
})
