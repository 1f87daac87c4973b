import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type EditOptions, editPasswordFile, NotWritten } from '../../../src/access/io/password-writer.ts'

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-writer-'))
  path = join(dir, 'passwords')
})
afterEach(() => rmSync(dir, { recursive: true }))

const ORIGIN = 'password_file'
const append = (line: string, options: Partial<EditOptions> = {}) =>
  editPasswordFile(path, (text) => ({ text: `${text}${line}\n`, value: text.length }), { origin: ORIGIN, ...options })

test('of changes at the same time none is lost, and nothing is left behind', async () => {
  writeFileSync(path, '')
  await Promise.all(Array.from({ length: 10 }, (_, i) => append(`line ${i}`)))
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  expect(lines.toSorted()).toEqual(Array.from({ length: 10 }, (_, i) => `line ${i}`))
  expect(readdirSync(dir)).toEqual(['passwords'])
})

test('what an editor writes meanwhile is kept: the file is read again', async () => {
  writeFileSync(path, 'one\n')
  let calls = 0
  const { text } = await editPasswordFile(
    path,
    (before) => {
      // In place, after it was read.
      if (++calls === 1) writeFileSync(path, 'one\nby hand\n')
      return { text: `${before}two\n`, value: undefined }
    },
    { origin: ORIGIN },
  )
  expect([calls, text, readFileSync(path, 'utf8')]).toEqual([2, 'one\nby hand\ntwo\n', 'one\nby hand\ntwo\n'])
})

test('a file that appears meanwhile is not replaced by a new one', async () => {
  let calls = 0
  await editPasswordFile(
    path,
    (before) => {
      if (++calls === 1) writeFileSync(path, 'by hand\n')
      return { text: `${before}two\n`, value: undefined }
    },
    { origin: ORIGIN, file: 'may-be-missing' },
  )
  expect(readFileSync(path, 'utf8')).toBe('by hand\ntwo\n')
})

test('an edit that fails leaves the file, and no lock', async () => {
  writeFileSync(path, 'one\n')
  const failing = editPasswordFile(
    path,
    () => {
      throw new Error('no such user')
    },
    { origin: ORIGIN },
  )
  await expect(failing).rejects.toThrow('no such user')
  expect([readFileSync(path, 'utf8'), readdirSync(dir)]).toEqual(['one\n', ['passwords']])
  await append('two')
})

test('the lock of another program: waits for it, and says where it is if it stays', async () => {
  writeFileSync(path, 'one\n')
  writeFileSync(`${path}.new`, 'half')
  const failed = append('two', { patienceMs: 0 })
  await expect(failed).rejects.toThrow(`${path}.new exists: another program changes the passwords; if none does, delete it`)
  await expect(failed).rejects.toBeInstanceOf(NotWritten)
  const waiting = append('two')
  rmSync(`${path}.new`)
  await waiting
  expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n')
})

test('a lock that a killed program has left is removed after a minute', async () => {
  writeFileSync(path, 'one\n')
  writeFileSync(`${path}.new`, 'half')
  const past = Date.now() / 1000 - 61
  utimesSync(`${path}.new`, past, past)
  await append('two', { patienceMs: 0 })
  expect([readFileSync(path, 'utf8'), existsSync(`${path}.new`)]).toEqual(['one\ntwo\n', false])
})
