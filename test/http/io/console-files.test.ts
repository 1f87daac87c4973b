import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readConsole } from '../../../src/http/io/console-files.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'roost-console-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test('reads each file with its encodings, and none of those that are no part of the page', () => {
  mkdirSync(join(folder, 'assets'))
  for (const name of ['index.html', '.sources', 'assets/a.js', 'assets/a.js.gz', 'assets/a.js.br'])
    writeFileSync(join(folder, name), name)
  const files = readConsole(folder)
  expect(files.map(({ name }) => name)).toEqual(['assets/a.js', 'index.html'])
  expect(Buffer.from(files[0]!.brotli!).toString()).toBe('assets/a.js.br')
  expect(Buffer.from(files[0]!.gzip!).toString()).toBe('assets/a.js.gz')
  expect(files[1]!.gzip).toBeUndefined()
  expect(files[0]!.hash).not.toBe(files[1]!.hash)
})

test('there is none where the console has not been built', () => expect(readConsole(join(folder, 'none'))).toEqual([]))

test('more than a console has is not kept in memory', () => {
  writeFileSync(join(folder, 'index.html'), Buffer.alloc(4 * 1024 * 1024 + 1))
  expect(() => readConsole(folder)).toThrow(/more than 4194304 bytes/)
})
