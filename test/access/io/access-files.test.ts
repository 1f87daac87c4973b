import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AccessFiles } from '../../../src/access/io/access-files.ts'
import { hashPassword } from '../../../src/access/io/password-hash.ts'
import { StartError } from '../../../src/base/start-error.ts'
import { type Config, resolveConfig } from '../../../src/config/config.ts'
import type { OptionKey } from '../../../src/config/options.ts'
import { connectPacket } from '../../broker/harness.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-access-'))
})
afterEach(() => rmSync(dir, { recursive: true }))
const file = (name: string, text: string | Uint8Array, mode = 0o600): string => {
  writeFileSync(join(dir, name), text, { mode })
  chmodSync(join(dir, name), mode)
  return join(dir, name)
}
const layer = (values: Record<string, unknown>) =>
  new Map(Object.entries(values).map(([key, value]) => [key as OptionKey, { value, origin: key }]))
const config = (values: Record<string, unknown>, ...listeners: Record<string, unknown>[]): Config => ({
  ...resolveConfig(
    layer(values),
    new Map(),
    listeners.map(({ name, ...own }, i) => ({
      origin: `listeners[${i}]`,
      name: { value: name, origin: 'name' },
      own: layer(own),
    })),
  ),
  predefinedTopics: [],
})
const hash = await hashPassword(Buffer.from('secret'), 1)
const other = await hashPassword(Buffer.from('other'), 1)
const info = (listener: string) => ({ kind: 'mqtt' as const, peer: 'p', listener })
const named = connectPacket('c', { username: 'alice', password: Buffer.from('secret') })

test.each<[string, string | Uint8Array, RegExp]>([
  ['password_file', Buffer.from([0x61, 0xff]), /^password_file \S+\/f: not UTF-8 text$/],
  ['acl_file', 'topic a\nbogus\n', /^\S+\/f:2: expected user, topic or pattern, got bogus \(acl_file\)$/],
  ['acl_file', Buffer.from([0xff]), /^acl_file \S+\/f: not UTF-8 text$/],
  [
    'ban_file',
    '10.0.0.0/8\n10.0.0.0/33\n',
    /^\S+\/f:2: expected a network like 192\.0\.2\.0\/24 or fe80::\/10, or id:CLIENT_ID \(ban_file\)$/,
  ],
  ['ban_file', Buffer.from([0xff]), /^ban_file \S+\/f: not UTF-8 text$/],
])('%s: a start is refused with the file, the line and the reason', (option, text, line) => {
  const path = file('f', text)
  const load = () => new AccessFiles(config({ [option]: path }))
  expect(load).toThrow(StartError)
  expect(load).toThrow(line)
})

test.each(['password_file', 'acl_file', 'ban_file'])(
  '%s: one that cannot be read is refused, never taken for an empty one',
  (option) => {
    const device = /^\S+ \/dev\/null: it is a device, not a regular file$/
    expect(() => new AccessFiles(config({ [option]: '/dev/null' }))).toThrow(device)
    expect(() => new AccessFiles(config({ [option]: join(dir, 'none') }))).toThrow(/^\S+ \S+none: no such file or directory$/)
    expect(() => new AccessFiles(config({ [option]: dir }))).toThrow(/: it is a directory$/)
  },
)

test('a broken line of a password file: its user is refused, with a warning, and at a reload the users from before stay', async () => {
  const path = file('f', `alice:${hash}\nbob:secret\ncarol\n`)
  const files = new AccessFiles(config({ password_file: path }))
  expect(files.warnings).toEqual([
    `${path}:2: no hash for user bob (password_file): this user is refused`,
    `${path}:3: expected <user>:<hash> (password_file): this user is refused`,
  ])
  const login = async (username: string): Promise<string> => {
    const request = { link: 1, step: 1, info: info('mqtt-1883'), clientId: 'c', username, password: Buffer.from('secret') }
    return (await files.authenticator.authenticate({ ...request, method: undefined, data: undefined, again: false })).kind
  }
  expect([await login('alice'), await login('bob'), await login('carol')]).toEqual(['accepted', 'refused', 'refused'])
  file('f', 'alice:oops\n')
  expect(() => files.prepareReload()).toThrow(`${path}:1: no hash for user alice (password_file)`)
  expect(await login('alice')).toBe('accepted')
})

test('of many broken lines the first ten are named', () => {
  const path = file('f', 'x:y\n'.repeat(25))
  const { warnings } = new AccessFiles(config({ password_file: path }))
  expect(warnings).toHaveLength(11)
  expect(warnings.at(-1)).toBe(`${path}: 15 more broken lines, whose users are refused (password_file)`)
})

test.each(['password_file', 'jwt_secret_file'])('a %s that others can read is worth a warning', (option) => {
  const path = file('f', `alice:${hash}\n`, 0o644)
  expect(new AccessFiles(config({ [option]: path })).warnings).toEqual([
    `${option} ${path} is open to other users of this machine: chmod 600`,
  ])
  chmodSync(path, 0o600)
  expect(new AccessFiles(config({ [option]: path })).warnings).toEqual([])
})

test('each listener has its own files, else the global ones', () => {
  const own = file('own', `bob:${hash}\n`)
  const files = new AccessFiles(
    config(
      { password_file: file('all', `alice:${hash}\n`), acl_file: file('acl', 'user alice\ntopic a\n') },
      { name: 'inherits', port: 1 },
      { name: 'own', port: 2, password_file: own, acl_file: file('acl2', 'user bob\ntopic b\n') },
      { name: 'open', port: 3, allow_anonymous: true },
    ),
  )
  const may = (listener: string, username: string, topic: string) =>
    files.policy.publish(
      { kind: 'mqtt', clientId: 'c', username, listener, grant: undefined, certified: false, verified: true },
      topic,
    )
  expect([
    may('inherits', 'alice', 'a'),
    may('inherits', 'alice', 'b'),
    may('own', 'bob', 'b'),
    may('own', 'alice', 'a'),
  ]).toEqual([true, false, true, false])
  expect(files.policy.connect(info('open'), connectPacket('c'))).toBe(0)
  for (const listener of ['inherits', 'own']) expect(files.policy.connect(info(listener), connectPacket('c'))).toBe(0x87)
})

test('all or nothing: what is read anew is in force only when it is put there, and a bad file changes nothing', async () => {
  const passwords = file('passwords', `alice:${hash}\n`)
  const acl = file('acl', 'user alice\ntopic a\n')
  const files = new AccessFiles(config({ password_file: passwords, acl_file: acl }))
  const login = async (): Promise<string> => {
    const { username, password } = named
    const request = { link: 1, step: 1, info: info('mqtt-1883'), clientId: 'c', username, password }
    return (await files.authenticator.authenticate({ ...request, method: undefined, data: undefined, again: false })).kind
  }
  const mayPublish = (topic: string): boolean =>
    files.policy.publish(
      {
        kind: 'mqtt',
        clientId: 'c',
        username: 'alice',
        listener: 'mqtt-1883',
        grant: undefined,
        certified: false,
        verified: true,
      },
      topic,
    )
  expect([await login(), mayPublish('a'), mayPublish('b')]).toEqual(['accepted', true, false])

  file('passwords', `bob:${hash}\nalice:${other}\n`)
  file('acl', 'user alice\ntopic a/#/b\n')
  expect(() => files.prepareReload()).toThrow(`${acl}:2: # is not the last level (acl_file)`)
  expect([await login(), mayPublish('a'), mayPublish('b')]).toEqual(['accepted', true, false])

  file('acl', 'user alice\ntopic b\n')
  const put = files.prepareReload()
  expect([await login(), mayPublish('a'), mayPublish('b')]).toEqual(['accepted', true, false])
  put()
  expect([await login(), mayPublish('a'), mayPublish('b')]).toEqual(['refused', false, true])
})

describe('a reload that would shut everybody out is refused, and a start is warned', () => {
  const jwk = (): object => generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })

  test.each<[OptionKey, string, string, string, RegExp, RegExp | undefined]>([
    [
      'password_file',
      `alice:${hash}\nbob:${hash}\n`,
      `bob:${other}\n`,
      '# in a moment\n',
      /^\S+\/f: contains no user any more: all clients would be excluded \(password_file\)$/,
      /^password_file \S+\/f contains no user: nobody can log in with a password$/,
    ],
    [
      'password_file',
      `alice:${hash}\nbob:${hash}\n`,
      `alice:${hash}\nmallory:${hash}\n`,
      `eve:${hash}\n`,
      /^\S+\/f: contains none of the 2 users from before, who would all be excluded: add the new ones first, .* \(password_file\)$/,
      undefined,
    ],
    [
      'acl_file',
      'user alice\ntopic a\n',
      'topic deny a\n',
      'user alice\n',
      /^\S+\/f: contains no rule any more: clients could do nothing \(acl_file\)$/,
      /^acl_file \S+\/f contains no rule: clients may do nothing$/,
    ],
    [
      'jwt_jwks',
      JSON.stringify({ keys: [jwk()] }),
      JSON.stringify({ keys: [jwk()] }),
      '{"keys":[]}',
      /^\S+\/f: contains no key any more: no token would be valid \(jwt_jwks\)$/,
      /^jwt_jwks \S+\/f contains no key: no token is valid$/,
    ],
  ])('%s', (option, before, changed, empty, refused, warned) => {
    const path = file('f', before)
    const files = new AccessFiles(config({ [option]: path }))
    expect(files.warnings).toEqual([])
    for (const content of [empty, '']) {
      file('f', content)
      // A key set that is no JSON is an error of its own.
      if (content !== '' || option !== 'jwt_jwks')
        expect(() => files.prepareReload()).toThrow(content === empty ? refused : /^\S+\/f: contains no /)
      else expect(() => files.prepareReload()).toThrow(/contains no JSON Web Key Set/)
    }
    file('f', changed)
    files.prepareReload()()
    file('f', empty)
    expect(() => files.prepareReload()).toThrow(StartError)
    // One that was so from the start may stay so.
    const started = new AccessFiles(config({ [option]: path }))
    expect(started.warnings).toEqual(warned === undefined ? [] : [expect.stringMatching(warned)])
    started.prepareReload()()
  })

  test('users of broken lines, who could not come in, do not keep the others out', () => {
    const path = file('f', 'alice:broken\n')
    const files = new AccessFiles(config({ password_file: path }))
    file('f', `bob:${hash}\n`)
    files.prepareReload()()
  })
})

test('a ban file that is empty at a reload lifts all bans, because the last one has to have an end', () => {
  const path = file('f', '192.0.2.0/24\nid:c1\n')
  const files = new AccessFiles(config({ ban_file: path }))
  const bans = () => [files.banOf(0, '192.0.2.1:1'), files.policy.bans.hasId('c1')]
  expect([files.warnings, bans()]).toEqual([[], ['ban_file', true]])
  file('f', '')
  files.prepareReload()()
  expect([files.warnings, bans()]).toEqual([[], [undefined, false]])
})

test('an empty access list denies, an empty password file knows nobody', () => {
  const files = new AccessFiles(config({ acl_file: file('acl', '# topic #\n'), password_file: file('passwords', '\n') }))
  const who = {
    kind: 'mqtt' as const,
    clientId: 'c',
    username: 'alice',
    listener: 'mqtt-1883',
    grant: undefined,
    certified: false,
    verified: true,
  }
  expect([files.policy.publish(who, 'a'), files.policy.subscribe(who, 'a'), files.policy.read(who, 'a')]).toEqual([
    false,
    false,
    false,
  ])
  expect(files.policy.connect(info('mqtt-1883'), connectPacket('c'))).toBe(0x87)
})
