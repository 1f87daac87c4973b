import { fstatSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { isJournal, LogFile } from '../../src/process/log-file.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-log-'))
afterAll(() => rmSync(dir, { recursive: true }))

test('lines are appended, and follow the name when it is opened again', () => {
  const path = join(dir, 'roost.log')
  new LogFile(path).write('before\n')
  const file = new LogFile(path)
  file.write('one\n')
  renameSync(path, `${path}.1`)
  file.write('two\n')
  expect(file.reopen()).toBeUndefined()
  file.write('three\n')
  file.close()
  expect([readFileSync(`${path}.1`, 'utf8'), readFileSync(path, 'utf8')]).toEqual(['before\none\ntwo\n', 'three\n'])
})

test('where it cannot be opened again, the file from before stays in use', () => {
  const file = new LogFile(join(dir, 'kept.log'))
  renameSync(join(dir, 'kept.log'), join(dir, 'kept.1'))
  const moved = `${dir}-moved`
  renameSync(dir, moved)
  try {
    expect(file.reopen()).toMatch(/^log_file: cannot open .*kept\.log again, so the file from before stays in use: no such file/)
    file.write('still\n')
  } finally {
    renameSync(moved, dir)
  }
  expect(readFileSync(join(dir, 'kept.1'), 'utf8')).toBe('still\n')
})

test('a file that cannot be opened is an error that names the option', () => {
  expect(() => new LogFile(join(dir, 'no/such/dir.log'))).toThrow(
    `log_file: cannot write ${join(dir, 'no/such/dir.log')}: no such file or directory`,
  )
})

test.skipIf(process.platform !== 'linux')('a full disk: lines are lost, and counted', () => {
  const file = new LogFile('/dev/full')
  expect(() => file.write('one\n')).toThrow()
  expect(() => file.write('two\n')).toThrow()
  expect(file.takeLost()).toBe('log_file: 2 lines could not be written: no space left on device')
  expect(file.takeLost()).toBeUndefined()
})

test('the journal is known by the socket that it gave', () => {
  const descriptor = openSync(join(dir, 'socket'), 'w')
  const { dev, ino } = fstatSync(descriptor)
  expect(isJournal(`${dev}:${ino}`, descriptor)).toBe(true)
  expect(isJournal(`${dev}:${ino + 1}`, descriptor)).toBe(false)
  expect(isJournal(undefined, descriptor)).toBe(false)
  expect(isJournal('1:2', 99_999)).toBe(false)
})
