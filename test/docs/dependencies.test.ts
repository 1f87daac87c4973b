import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

test('docs/dependencies.md has a line for every dependency, with its version and licence, and no other', () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(read('package.json')) as Record<
    string,
    Record<string, string>
  >
  const expected = Object.entries({ ...dependencies, ...optionalDependencies, ...devDependencies }).map(([name, version]) => {
    const { license } = JSON.parse(read(`node_modules/${name}/package.json`)) as { license: string }
    return `${name} ${version} ${license.replace(' OR ', ' or ')}`
  })
  const rows = read('docs/dependencies.md').matchAll(/^\| (\S+) \| (\d\S*) \| ([^|]+) \|/gm)
  const told = [...rows].map(([, name, version, licence]) => `${name} ${version} ${licence}`)
  expect(told.toSorted()).toEqual(expected.toSorted())
})
