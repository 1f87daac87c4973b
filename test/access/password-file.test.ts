import { describe, expect, test } from 'vitest'
import { type PasswordEntry, type PasswordError, parsePasswords } from '../../src/access/password-file.ts'

const HASH = Buffer.alloc(64, 1).toString('base64')
const KEY = Buffer.alloc(32, 2).toString('base64')
const SALT = Buffer.alloc(12, 3).toString('base64')
const seven = `$7$101$${SALT}$${HASH}`
const six = `$6$${SALT}$${HASH}`
const scram = `$scram-sha-256$4096$${SALT}$${KEY}$${KEY}`

const users = (text: string): ReadonlyMap<string, PasswordEntry> => {
  const parsed = parsePasswords(text)
  if (!(parsed instanceof Map)) throw new Error((parsed as PasswordError).reason)
  return parsed
}

test('$7$, $6$ and SCRAM, comments, empty lines, line ends of Windows', () => {
  const parsed = users(`# users\n\nalice:${seven}\r\nbob:${six}\ncarol:${scram}\n`)
  expect([...parsed.keys()]).toEqual(['alice', 'bob', 'carol'])
  expect(parsed.get('alice')).toEqual({
    password: { kind: 'pbkdf2', iterations: 101, salt: SALT, hash: HASH },
    scram: undefined,
    text: seven,
  })
  expect(parsed.get('bob')?.password).toEqual({ kind: 'sha512', iterations: 1, salt: SALT, hash: HASH })
  expect(parsed.get('carol')?.scram).toEqual({ iterations: 4096, salt: SALT, storedKey: KEY, serverKey: KEY })
})

test('one user may have a hash and a line for SCRAM; a change of either is seen', () => {
  const both = users(`alice:${seven}\nalice:${scram}\n`).get('alice')!
  expect([both.password?.kind, both.scram?.iterations]).toEqual(['pbkdf2', 4096])
  expect(both.text).not.toBe(users(`alice:${seven}\n`).get('alice')!.text)
})

test('names are taken as they are: spaces, UTF-8, names of prototypes', () => {
  const names = [' a b', 'ärger', '__proto__', 'constructor']
  expect([...users(names.map((name) => `${name}:${six}`).join('\n')).keys()]).toEqual(names)
  expect(users('').get('constructor')).toBeUndefined()
})

test('an empty file knows nobody', () => expect(users('# none\n').size).toBe(0))

const OTHER = 'a hash that is neither $7$ nor $6$ nor $scram-sha-256$ for user alice'

describe('a line that cannot be read is an error, never a user without a password', () => {
  test.each<[string, string]>([
    ['alice', 'expected <user>:<hash>'],
    [`:${six}`, 'expected <user>:<hash>'],
    ['alice:', 'no hash for user alice'],
    ['alice:secret', 'no hash for user alice'],
    ['alice: ', 'no hash for user alice'],
    [`alice:x${six}`, 'no hash for user alice'],
    ['alice:$', OTHER],
    [`alice:$5$${SALT}$${HASH}`, OTHER],
    [`alice:$argon2id$${SALT}$${HASH}`, OTHER],
    ['alice:$6$', 'a broken $6$ hash for user alice'],
    [`alice:$6$$${HASH}`, 'a broken $6$ hash for user alice'],
    [`alice:$6$${SALT}$`, 'a broken $6$ hash for user alice'],
    [`alice:${six} `, 'a broken $6$ hash for user alice'],
    [`alice:${six}:`, 'a broken $6$ hash for user alice'],
    [`alice:${six}$x`, 'a broken $6$ hash for user alice'],
    [`alice:$6$${SALT}$${HASH.slice(4)}`, 'a broken $6$ hash for user alice'],
    [`alice:$6$${SALT}$${HASH.replace('A', '*')}`, 'a broken $6$ hash for user alice'],
    [`alice:$7$0$${SALT}$${HASH}`, 'a broken $7$ hash for user alice'],
    [`alice:$7$-1$${SALT}$${HASH}`, 'a broken $7$ hash for user alice'],
    [`alice:$7$10000001$${SALT}$${HASH}`, 'a broken $7$ hash for user alice'],
    [`alice:$7$${SALT}$${HASH}`, 'a broken $7$ hash for user alice'],
    [`alice:$scram-sha-256$4096$${SALT}$${KEY}$`, 'a broken $scram-sha-256$ line for user alice'],
    [`alice:$scram-sha-256$4096$${SALT}$${KEY}$${HASH}`, 'a broken $scram-sha-256$ line for user alice'],
  ])('%s', (line, reason) => {
    expect(parsePasswords(`bob:${six}\n${line}\n`)).toEqual({ line: 2, reason })
  })

  test('a user who comes twice', () => {
    expect(parsePasswords(`a:${six}\n\na:${seven}\n`)).toEqual({ line: 3, reason: 'user a comes twice' })
    expect(parsePasswords(`a:${scram}\na:${six}\na:${scram}\n`)).toEqual({ line: 3, reason: 'user a comes twice' })
  })

  test('the reason does not tell the hash', () => {
    const { reason } = parsePasswords('alice:s3cret$with$dollars') as PasswordError
    expect(reason).toBe('no hash for user alice')
    expect(parsePasswords('alice:$s3cret$x')).toEqual({ line: 1, reason: OTHER })
  })
})
