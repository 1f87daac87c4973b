import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const DOCUMENTS = [
  ...['ARCHITECTURE.md', 'CONTRIBUTING.md', 'README.md', 'SECURITY.md', 'fuzz/README.md'],
  ...readdirSync(`${ROOT}docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
/** A file of the sources or the tests, as documents name it from the root. */
const PATH = /\b(?:src|test|fuzz|crash|bench)\/[\w./-]+\.(?:ts|mjs|yaml|json)\b/g

test.each(DOCUMENTS)('%s names files that exist', (document) => {
  const paths = readFileSync(`${ROOT}${document}`, 'utf8').match(PATH) ?? []
  expect(paths.filter((path) => !existsSync(`${ROOT}${path}`))).toEqual([])
})

test('paths are recognised', () => {
  expect('see `src/a/b.ts`, test/c.test.ts and docs/d.md'.match(PATH)).toEqual(['src/a/b.ts', 'test/c.test.ts'])
})
