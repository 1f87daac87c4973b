import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const ALL = Array.from({ length: 25 }, (_, i) => i + 1)

test('each of the lessons stands in the title of a test', () => {
  const titles = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.test.ts') && name !== 'all.test.ts')
    .flatMap((name) => readFileSync(new URL(name, import.meta.url), 'utf8').split('\n'))
    .filter((line) => /'lesson \d/.test(line) && !line.trim().startsWith('describe'))
    .join('\n')
  const named = new Set(Array.from(titles.matchAll(/lesson (\d+)/g), ([, number]) => Number(number)))
  expect([...named].sort((a, b) => a - b)).toEqual(ALL)
})

test('docs/security.md says where each of them was learned', () => {
  const page = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| (\d+) \| (?:\S+: |CVE-)\S.* \| \S.* \|$/gm)]
  expect(rows.map(([, number]) => Number(number))).toEqual(ALL)
})
