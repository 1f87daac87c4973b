import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { TestApi } from '../http/harness.ts'

test('docs/api.md has a row for every route of the API, with the role that it needs, and no other', () => {
  const rows = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8').matchAll(
    /^\| ([A-Z]+) \| `(\S+)` \| (\w+) \|/gm,
  )
  const told = Array.from(rows, ([, method, path, role]) => `${method} ${path} ${role}`)
  const known = new TestApi().routes
    .filter(({ path }) => path.startsWith('/api/'))
    .map(({ method, path, needs }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')} ${needs}`)
  expect(told.toSorted()).toEqual(known.toSorted())
})
