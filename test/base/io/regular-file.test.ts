import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readRegularFile, YAML_BYTES_MAX } from '../../../src/base/io/regular-file.ts'
import { StartError } from '../../../src/base/start-error.ts'
import { readRegularTextFile } from '../../../src/config/io/text-file.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-regular-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const file = (name: string, bytes: number): string => {
  writeFileSync(join(dir, name), 'text')
  truncateSync(join(dir, name), bytes)
  return join(dir, name)
}

test('a file, and a link to one', () => {
  const path = file('a', 4)
  symlinkSync(path, join(dir, 'link'))
  expect(String(readRegularFile(join(dir, 'link')))).toBe('text')
})

test('a pipe without a writer is refused, and not waited for', () => {
  const path = join(dir, 'pipe')
  execFileSync('mkfifo', [path])
  // If the pipe were read after all, this would end the wait, so that the test fails instead of standing still.
  const writer = spawn('sh', ['-c', 'sleep 5; echo too late > "$1"', 'sh', path], { detached: true, stdio: 'ignore' })
  expect(() => readRegularFile(path)).toThrow(new Error('it is a pipe, not a regular file'))
  expect(() => readRegularTextFile(path, 'sn_users', YAML_BYTES_MAX)).toThrow(
    new StartError(`sn_users: cannot read ${path}: it is a pipe, not a regular file`),
  )
  process.kill(-writer.pid!, 'SIGKILL')
})

test.each([
  ['a device', () => '/dev/null', /^it is a device, not a regular file$/],
  ['a directory', () => dir, /^it is a directory$/],
  ['a missing file', () => join(dir, 'none'), /^ENOENT/],
  ['a file that is too large', () => file('large', 33 * 1024 * 1024), /^it has 33\.0 MiB, and at most 32 MiB are read$/],
])('%s is refused', (_, path, reason) => expect(() => readRegularFile(path())).toThrow(reason))

test('a YAML file may have 4 MiB', () => {
  expect(readRegularTextFile(file('most', YAML_BYTES_MAX), 'sn_users', YAML_BYTES_MAX)).toHaveLength(YAML_BYTES_MAX)
  expect(() => readRegularTextFile(file('more', YAML_BYTES_MAX + 1), 'sn_users', YAML_BYTES_MAX)).toThrow(
    /^sn_users: cannot read \S+more: it has 4\.0 MiB, and at most 4 MiB are read$/,
  )
})
