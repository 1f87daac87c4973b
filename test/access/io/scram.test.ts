import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { lastingSecret, ScramExchange, scramLine } from '../../../src/access/io/scram.ts'
import { type PasswordEntry, parsePasswords, SCRAM_ITERATIONS } from '../../../src/access/password-file.ts'
import { StartError } from '../../../src/base/start-error.ts'
import { clientFinal } from './scram-client.ts'

/** The example of RFC 7677 section 3: user `user`, password `pencil`. */
const RFC = {
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  nonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
}

const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()
const bytes = (text: string): Uint8Array => Buffer.from(text)

function line(user: string, password: string, salt: string, iterations: number): string {
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256')
  const stored = sha256(hmac(salted, 'Client Key')).toString('base64')
  return `${user}:$scram-sha-256$${iterations}$${salt}$${stored}$${hmac(salted, 'Server Key').toString('base64')}\n`
}
const users = (text: string): ReadonlyMap<string, PasswordEntry> => parsePasswords(text) as ReadonlyMap<string, PasswordEntry>
const USERS = users(line('user', 'pencil', 'W22ZaJ0SNY7soEsUEjb6gQ==', 4096))

test('the example of RFC 7677', () => {
  const exchange = ScramExchange.begin(bytes(RFC.clientFirst), USERS, RFC.nonce)!
  expect(exchange.username).toBe('user')
  expect(exchange.serverFirst).toBe(RFC.serverFirst)
  expect(exchange.finish(bytes(RFC.clientFinal))).toBe(RFC.serverFinal)
})

test('a line that `roost passwd --scram` writes proves its password, and no other', async () => {
  const written = users(`alice:${await scramLine('pa55', SCRAM_ITERATIONS)}\n`)
  for (const [password, proves] of [
    ['pa55', true],
    ['pa56', false],
    ['', false],
  ] as const) {
    const exchange = ScramExchange.begin(bytes('n,,n=alice,r=abc'), written)!
    const answer = exchange.finish(bytes(clientFinal(exchange.serverFirst, 'n=alice,r=abc', password)))
    expect([password, answer !== undefined]).toEqual([password, proves])
  }
})

test('names with commas and equals signs', async () => {
  const name = 'a,b=c'
  const exchange = ScramExchange.begin(bytes('n,,n=a=2Cb=3Dc,r=abc'), users(line(name, 'x', 'AAAA', 4096)))!
  expect(exchange.username).toBe(name)
  expect(exchange.finish(bytes(clientFinal(exchange.serverFirst, 'n=a=2Cb=3Dc,r=abc', 'x')))).toMatch(/^v=/)
})

describe('what is refused at the first message', () => {
  test.each([
    ['channel binding', 'p=tls-unique,,n=user,r=abc'],
    ['another extension that has to be understood', 'n,,m=x,n=user,r=abc'],
    ['acting as somebody else', 'n,a=root,n=user,r=abc'],
    ['a name that is escaped badly', 'n,,n=us=er,r=abc'],
    ['no name', 'n,,n=,r=abc'],
    ['no nonce', 'n,,n=user,r='],
    ['a nonce that is not printable', 'n,,n=user,r=a\x01b'],
    ['nothing', ''],
    ['more than 4 KiB', `n,,n=user,r=${'a'.repeat(4096)}`],
  ])('%s', (_, first) => expect(ScramExchange.begin(bytes(first), USERS)).toBeUndefined())

  test('what is not UTF-8', () => expect(ScramExchange.begin(Buffer.from([0x6e, 0x2c, 0xff]), USERS)).toBeUndefined())
  test('a client that would bind a channel if we could, and one that says its own name twice, are fine', () => {
    expect(ScramExchange.begin(bytes('y,,n=user,r=abc'), USERS)).toBeDefined()
    expect(ScramExchange.begin(bytes('n,a=user,n=user,r=abc'), USERS)).toBeDefined()
  })
})

describe('what is refused at the second message', () => {
  const begin = () => ScramExchange.begin(bytes('n,,n=user,r=abc'), USERS)!
  const BARE = 'n=user,r=abc'

  test('a proof from another exchange: each has a nonce of its own', () => {
    const first = begin()
    const final = clientFinal(first.serverFirst, BARE, 'pencil')
    expect(begin().finish(bytes(final))).toBeUndefined()
    expect(first.finish(bytes(final))).toMatch(/^v=/)
    expect(new Set(Array.from({ length: 100 }, () => begin().serverFirst)).size).toBe(100)
  })

  test('a header other than that of the first message', () => {
    const exchange = begin()
    const other = clientFinal(exchange.serverFirst, BARE, 'pencil', Buffer.from('y,,').toString('base64'))
    expect(exchange.finish(bytes(other))).toBeUndefined()
  })

  test.each([
    ['a wrong proof', (final: string) => `${final.slice(0, -44)}${'A'.repeat(43)}=`],
    ['a short proof', (final: string) => final.replace(/p=.*/, 'p=AAAA')],
    ['no proof', (final: string) => final.replace(/,p=.*/, '')],
    ['the nonce of the client alone', (final: string) => final.replace(/r=[^,]*/, 'r=abc')],
    ['nothing', () => ''],
  ])('%s', (_, spoil) => {
    const exchange = begin()
    expect(exchange.finish(bytes(spoil(clientFinal(exchange.serverFirst, BARE, 'pencil'))))).toBeUndefined()
  })
})

test('a user that does not exist gets a challenge of the same shape, the same every time, and no proof is right', () => {
  const file = users(line('user', 'x', Buffer.alloc(16, 1).toString('base64'), 10_000))
  const shape = (first: string): string => first.replace(/r=[^,]*/, 'r=').replace(/s=[^,]*/, (salt) => `s=${salt.length}`)
  const [known, unknown, again] = ['user', 'ghost', 'ghost'].map(
    (name) => ScramExchange.begin(bytes(`n,,n=${name},r=abc`), file)!,
  )
  expect(shape(unknown!.serverFirst)).toBe(shape(known!.serverFirst))
  expect(unknown!.serverFirst.split(',s=')[1]).toBe(again!.serverFirst.split(',s=')[1])
  expect(unknown!.finish(bytes(clientFinal(unknown!.serverFirst, 'n=ghost,r=abc', 'x')))).toBeUndefined()
  expect(ScramExchange.begin(bytes('n,,n=__proto__,r=abc'), file)!.serverFirst).toContain(',i=10000')
})

describe('made-up challenges', () => {
  const salt = (bytes: number, value: number): string => Buffer.alloc(bytes, value).toString('base64')
  /** Three in four with 10,000 rounds, one with 4096 and a longer salt; `more` users beside the 40. */
  const file = (more = 0): ReadonlyMap<string, PasswordEntry> => {
    const made = (user: string, rounds: number, of: number): string =>
      `${user}:$scram-sha-256$${rounds}$${salt(of, 9)}$${salt(32, 1)}$${salt(32, 2)}\n`
    const some = Array.from({ length: 40 + more }, (_, i) =>
      i % 4 === 0 ? made(`user-${i}`, 4096, 48) : made(`user-${i}`, 10_000, 16),
    )
    return users(made('first', 7000, 16) + some.join(''))
  }
  const SECRET = Buffer.alloc(32, 7)
  const challenge = (name: string, from: ReadonlyMap<string, PasswordEntry>, secret: Uint8Array = SECRET): string =>
    ScramExchange.begin(bytes(`n,,n=${name},r=abc`), from, 'nonce', secret)!.serverFirst.split(',s=')[1]!
  const names = Array.from({ length: 1000 }, (_, i) => `ghost-${i}`)

  test('look like the lines of the file, each sort as often as there are lines of it, whatever the first one is', () => {
    const from = file()
    const shapes = names.map((name) =>
      challenge(name, from).replace(/^[^,]*/, (text) => String(Buffer.from(text, 'base64').length)),
    )
    const count = (shape: string): number => shapes.filter((each) => each === shape).length
    expect(count('16,i=10000') + count('48,i=4096') + count('16,i=7000')).toBe(names.length)
    expect(count('16,i=10000') / names.length).toBeCloseTo(30 / 41, 1)
    expect(count('48,i=4096') / names.length).toBeCloseTo(10 / 41, 1)
    expect(new Set(names.map((name) => challenge(name, from))).size).toBe(names.length)
  })

  test('are the same after a restart, by the secret, and for nearly all names after the file has changed', () => {
    const [one, again, larger] = [file(), file(), file(2)]
    const before = names.map((name) => challenge(name, one))
    expect(names.map((name) => challenge(name, again))).toEqual(before)
    const after = names.map((name) => challenge(name, larger))
    expect(after.filter((each, i) => each !== before[i]).length).toBeLessThan(names.length / 20)
    expect(challenge('ghost-1', file(), Buffer.alloc(32, 8))).not.toBe(before[1])
  })
})

describe('the secret of made-up challenges', () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-secret-'))
  afterAll(() => rmSync(dir, { recursive: true }))

  test('is made once, for its owner alone, and again where a crash has cut it short', () => {
    const secret = lastingSecret(dir)
    expect(secret).toHaveLength(32)
    expect(lastingSecret(dir)).toEqual(secret)
    expect(statSync(join(dir, 'scram-secret')).mode & 0o777).toBe(0o600)
    writeFileSync(join(dir, 'scram-secret'), secret.subarray(1))
    const other = lastingSecret(dir)
    expect(other).not.toEqual(secret)
    expect(lastingSecret(dir)).toEqual(other)
  })

  test('a directory that cannot be written is named', () => {
    expect(() => lastingSecret(join(dir, 'none'))).toThrow(
      new StartError(`${join(dir, 'none', 'scram-secret')}: no such file or directory`),
    )
  })
})
