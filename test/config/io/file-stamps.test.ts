import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { type Config, DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { FileStamps, RELOADED } from '../../../src/config/io/file-stamps.ts'
import { options } from '../../../src/config/options.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-stamps-'))
afterAll(() => rmSync(dir, { recursive: true }))
const path = (name: string): string => join(dir, name)
const listener = DEFAULT_CONFIG.listeners[0]!
const config: Config = {
  ...DEFAULT_CONFIG,
  snUsers: path('users'),
  jwtJwks: 'http://127.0.0.1/keys',
  listeners: [{ ...listener, passwordFile: path('passwords'), capath: path('ca'), aclFile: path('gone'), keyfile: '/dev/null' }],
}
beforeEach(() => {
  mkdirSync(path('ca'), { recursive: true })
  for (const name of ['users', 'passwords', 'ca/one']) writeFileSync(path(name), 'line 1\nline 2\n')
})

test('what nobody touches is unchanged: files, directories, pipes and what is not there', () => {
  const stamps = new FileStamps(config)
  expect(stamps.changed()).toBeUndefined()
})

test.each<[string, () => void, string]>([
  ['emptied', () => truncateSync(path('passwords')), 'passwords (password_file)'],
  ['shorter', () => truncateSync(path('passwords'), 7), 'passwords (password_file)'],
  ['longer', () => appendFileSync(path('users'), 'line 3\n'), 'users (sn_users)'],
  ['as long as before', () => writeFileSync(path('users'), 'line 3\nline 4\n'), 'users (sn_users)'],
  ['gone', () => rmSync(path('passwords')), 'passwords (password_file)'],
  ['there after all', () => writeFileSync(path('gone'), ''), 'gone (acl_file)'],
  ['in a directory', () => truncateSync(path('ca/one')), 'ca (capath)'],
  ['new in a directory', () => writeFileSync(path('ca/two'), ''), 'ca (capath)'],
  [
    'another of the same size',
    () => {
      writeFileSync(path('new'), 'line 3\nline 4\n')
      renameSync(path('new'), path('passwords'))
    },
    'passwords (password_file)',
  ],
])('a file that is %s', (_, change, what) => {
  for (const name of ['gone', 'ca/two']) rmSync(path(name), { force: true })
  const stamps = new FileStamps(config)
  change()
  expect(stamps.changed()).toBe(path(what))
})

/** Read at the start alone, or written. */
const ONCE = ['config', 'data_dir', 'socket_path', 'predefined_topics', 'trace_file', 'log_file', 'hooks']

test('every option that names a file is read anew, or known not to be', () => {
  const named = options.filter(({ path: isPath }) => isPath === true).map(({ key }) => key as string)
  expect([...RELOADED, ...ONCE].sort()).toEqual(named.sort())
})
