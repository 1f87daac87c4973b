import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hashPassword } from '../../../src/access/io/password-hash.ts'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'

let dir: string
let users: HttpUsers
/** Milliseconds by which refusals were delayed, and how to end these delays. */
let delays: number[]
let endDelays: (() => void)[]
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-users-'))
  const httpPasswordFile = join(dir, 'passwords')
  writeFileSync(httpPasswordFile, `eva:${await hashPassword(Buffer.from('secret'), 10)}\n`, { mode: 0o600 })
  const delay = (ms: number): Promise<void> => {
    delays.push(ms)
    return new Promise((resolve) => endDelays.push(resolve))
  }
  delays = []
  endDelays = []
  users = new HttpUsers({ ...DEFAULT_CONFIG, httpPasswordFile, banAfter: 100 }, 'view', () => {}, delay)
})
afterEach(() => rmSync(dir, { recursive: true }))

test('a reload refuses files without entries, and changes the warnings when it is in force', () => {
  const [passwords, tokens] = [join(dir, 'passwords'), join(dir, 'tokens')]
  writeFileSync(tokens, `view ${'v'.repeat(32)}\n`, { mode: 0o600 })
  const both = new HttpUsers({ ...DEFAULT_CONFIG, httpPasswordFile: passwords, httpTokenFile: tokens }, 'view')
  writeFileSync(tokens, '# none\n')
  expect(() => both.prepareReload()).toThrow(/tokens: contains no token any more: .* \(http_token_file\)$/)
  writeFileSync(tokens, `view ${'w'.repeat(32)}\n`)
  chmodSync(tokens, 0o644)
  const inForce = both.prepareReload()
  expect(both.warnings).toEqual([])
  inForce()
  expect(both.warnings).toEqual([expect.stringContaining('chmod 600')])
  writeFileSync(passwords, '')
  expect(() => both.prepareReload()).toThrow(/passwords: contains no user any more: .* \(http_password_file\)$/)
})

const login = async (password: string, address = '192.0.2.1'): Promise<number | string> => {
  const caller = await users.callerOf(`Basic ${Buffer.from(`eva:${password}`).toString('base64')}`, `${address}:5000`)
  return caller.kind === 'refused' ? caller.status : caller.role
}

test('an address has two passwords checked at a time, and leaves the rest to others', async () => {
  const guesses = Array.from({ length: 8 }, (_, i) => login(`guess ${i}`))
  const other = login('secret', '192.0.2.2')
  expect((await Promise.all(guesses.slice(2))).every((status) => status === 429)).toBe(true)
  expect(await other).toBe('view')
})

test('the requests that a browser sends at once share the check of their password', async () => {
  const same = await Promise.all(Array.from({ length: 10 }, () => login('secret')))
  expect(new Set(same)).toEqual(new Set(['view']))
})

test('refusals come later and later, and hold the place of their address meanwhile', async () => {
  expect(await login('wrong')).toBe(401)
  expect(delays).toEqual([])
  const [second, third] = [login('wrong 2'), login('wrong 3')]
  while (delays.length < 2) await new Promise(setImmediate)
  expect(delays[0]).toBeGreaterThan(0)
  expect(delays[1]).toBeGreaterThan(delays[0]!)
  expect(await login('secret')).toBe(429)
  expect(await login('secret', '192.0.2.2')).toBe('view')
  for (const end of endDelays) end()
  expect(await Promise.all([second, third])).toEqual([401, 401])
  expect(await login('secret')).toBe('view')
})

test('who is known waits for no guesses of the same address', async () => {
  expect(await login('secret')).toBe('view')
  expect(await login('wrong')).toBe(401)
  const guesses = [login('wrong 2'), login('wrong 3')]
  expect(await login('secret')).toBe('view')
  while (delays.length < 2) await new Promise(setImmediate)
  for (const end of endDelays) end()
  await Promise.all(guesses)
})
