import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseClientIds } from '../../../src/access/io/access-files.ts'
import { StartError } from '../../../src/base/start-error.ts'
import { YamlFile } from '../../../src/config/io/yaml-file.ts'

/** In CPU time, because the machine may be busy. */
const msOf = (work: () => void): number => {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

const users = (many: number, line: (i: number) => string): string => Array.from({ length: many }, (_, i) => line(i)).join('')

test.each([
  ['a line each', users(20_000, (i) => `user${i}: [id-${i}-*]\n`)],
  ['one line', `{${users(20_000, (i) => `user${i}: id-${i}-*, `)}}`],
])('20,000 users, %s, take time in proportion', (_, text) => {
  const ms = msOf(() => expect(parseClientIds(new YamlFile('ids.yaml', text)).use('id-19999-a', 'user19999')).toBe('own'))
  // Half a second; 8 to 10 seconds when each key was compared with all before it.
  expect(ms).toBeLessThan(4000)
})

test('100,000 characters that are no map are refused in linear time', () => {
  const refused = (): void =>
    expect(() => parseClientIds(new YamlFile('ids.yaml', 'x'.repeat(1e5)))).toThrow(/, got "x{59}\.\.\.$/)
  expect(msOf(refused)).toBeLessThan(2000)
})

test('a large file is read in several turns', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-yaml-'))
  const path = join(dir, 'ids.yaml')
  writeFileSync(
    path,
    users(5000, (i) => `user${i}: id-${i}\n`),
  )
  let turns = 0
  const ticking = setInterval(() => turns++, 1)
  const file = await YamlFile.readInTurns(path, 'clientid_file')
  clearInterval(ticking)
  rmSync(dir, { recursive: true })
  expect(parseClientIds(file).use('id-4999', 'user4999')).toBe('own')
  expect(turns).toBeGreaterThan(3)
})

test.each([
  ['---\na: x\n---\nb: y', 'ids.yaml:3:1: another document begins here'],
  ['['.repeat(5000), 'ids.yaml:1:101: more than 100 levels within each other'],
  ['- '.repeat(5000), 'ids.yaml:1:200: more than 100 levels within each other'],
])('%.20j: refused', (text, error) => expect(() => new YamlFile('ids.yaml', text)).toThrow(new StartError(error)))

test.each([
  ['a: x\nb: y\na: z', 'ids.yaml:3:1: Map keys must be unique'],
  ['"a": x\na: z', 'ids.yaml:2:1: Map keys must be unique'],
  ['{"1": x, 1: z}', 'ids.yaml:1:10: Map keys must be unique'],
])('%j: a user who is named twice', (text, error) => {
  expect(() => parseClientIds(new YamlFile('ids.yaml', text))).toThrow(new StartError(error))
})
