import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { Authenticator } from '../../../src/access/io/authenticator.ts'
import type { HttpCallout } from '../../../src/access/io/http-callout.ts'
import { defaultAdmissionOptions } from '../../../src/access/io/login-admission.ts'
import { decoyHash, hashPassword, PasswordChecker } from '../../../src/access/io/password-hash.ts'
import type { TokenVerifier } from '../../../src/access/io/token-verifier.ts'
import { DEFAULT_ITERATIONS, type PasswordEntry, type PasswordHash, parsePasswords } from '../../../src/access/password-file.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const atOnce = <R>(work: () => Promise<R>): Promise<R> => work()
const entries = (text: string): ReadonlyMap<string, PasswordEntry> => parsePasswords(text) as ReadonlyMap<string, PasswordEntry>
const hashOf = (line: string): PasswordHash => entries(`u:${line}\n`).get('u')!.password!

/** Written by mosquitto_passwd 2.0.11, with `-H sha512-pbkdf2` and `-H sha512`: password p1, p3. */
const MOSQUITTO_7 =
  '$7$101$sn3PDPydOX3b0j51$jP7P3zmcd5rN+AaY559IgtjtJ4LN714jqupMSxdk1VvoyDhQBtWFFwhT3vMeAfq54ckEzi1xxfVO6bXPyeD8Dw=='
const MOSQUITTO_6 = '$6$MX7ShwZ/N6ikGjTC$puzAmQUEyewOUbqQFj09ud22yxCEKbceYRt9jjNSfArko/HtWoqvGkbOfWKB8Ec+yc4UtvUxJvCU8bZ5ENpjHw=='

test.each([
  ['$7$', MOSQUITTO_7, 'p1'],
  ['$6$', MOSQUITTO_6, 'p3'],
])('a %s hash of mosquitto_passwd', async (_, line, password) => {
  const checker = new PasswordChecker()
  expect(await checker.check(hashOf(line), bytes(password), atOnce)).toBe('right')
  for (const wrong of ['', 'p', `${password} `, password.toUpperCase()])
    expect(await checker.check(hashOf(line), bytes(wrong), atOnce)).toBe('wrong')
})

test('what is written can be read, with any bytes in it, and never the same twice', async () => {
  const password = Buffer.concat([randomBytes(100), Buffer.from([0, 0x0a, 0xff])])
  const [one, two] = [await hashPassword(password, 3), await hashPassword(password, 3)]
  expect(one).not.toBe(two)
  expect(one).toMatch(/^\$7\$3\$[A-Za-z0-9+/]{16}\$/)
  expect(await new PasswordChecker().check(hashOf(one), password, atOnce)).toBe('right')
  expect(await new PasswordChecker().check(hashOf(one), password.subarray(1), atOnce)).toBe('wrong')
})

describe('a password that was right a short while ago', () => {
  const slow = hashPassword(bytes('secret'), 300_000)

  test('costs no hash again, and a wrong one still does', async () => {
    const checker = new PasswordChecker()
    const hash = hashOf(await slow)
    expect(await checker.check(hash, bytes('secret'), atOnce)).toBe('right')
    const answers: string[] = []
    const wrong = checker.check(hash, bytes('secreT'), atOnce).then((verdict) => answers.push(verdict))
    for (let i = 0; i < 100; i++) answers.push(await checker.check(hash, bytes('secret'), atOnce))
    expect(new Set(answers)).toEqual(new Set(['right']))
    await wrong
    expect(answers.at(-1)).toBe('wrong')
  })

  test('is asked for again when the rules are read anew, and when its hash has changed', async () => {
    const checker = new PasswordChecker()
    const hash = hashOf(await slow)
    await checker.check(hash, bytes('secret'), atOnce)
    const changed = hashOf(await hashPassword(bytes('other'), 3))
    expect(await checker.check(changed, bytes('secret'), atOnce)).toBe('wrong')
    checker.forget()
    let done = false
    const again = checker.check(hash, bytes('secret'), atOnce).then(() => {
      done = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(done).toBe(false)
    await again
  })
})

test('who is not in the file takes as long as who is, and is never right', async () => {
  const file = entries(`a:${MOSQUITTO_7}\n`)
  const nobody = decoyHash(file)
  expect(nobody).toMatchObject({ kind: 'pbkdf2', iterations: 101, salt: file.get('a')!.password!.salt })
  expect(decoyHash(entries(`a:${MOSQUITTO_6}\n`)).kind).toBe('sha512')
  for (const none of [undefined, new Map()]) expect(decoyHash(none).iterations).toBe(DEFAULT_ITERATIONS)
  expect(await new PasswordChecker().check(nobody, bytes('p1'), atOnce)).toBe('wrong')
})

describe('a wrong password costs as much as the most expensive line of the file, whoever there is', () => {
  const rounds = 60_000
  const file = async (): Promise<ReadonlyMap<string, PasswordEntry>> => {
    const [cheap, dear] = [await hashPassword(bytes('x'), 1), await hashPassword(bytes('x'), rounds)]
    return entries(`first:${cheap}\nmosquitto:${MOSQUITTO_6}\ndear:${dear}\nlast:${cheap}\n`)
  }
  /** The least processor time of each, taken in turns, because the machine does other things too. */
  async function milliseconds(...attempts: (() => Promise<unknown>)[]): Promise<number[]> {
    const times = attempts.map(() => Number.POSITIVE_INFINITY)
    for (let round = 0; round < 9; round++)
      for (const [i, attempt] of attempts.entries()) {
        const start = process.cpuUsage()
        await attempt()
        const { user, system } = process.cpuUsage(start)
        times[i] = Math.min(times[i]!, (user + system) / 1000)
      }
    return times
  }

  test('the made-up hash is not that of the first line', async () => {
    expect(decoyHash(await file())).toMatchObject({ kind: 'pbkdf2', iterations: rounds })
  })

  test('measured', async () => {
    const users = await file()
    const verifiers = { passwords: users, tokens: undefined, callout: undefined }
    // What an address owes for its failures keeps refusals back, whoever they are about.
    const options = { ...defaultAdmissionOptions(), delay: async () => {} }
    const authenticator = new Authenticator(new PasswordChecker(), () => verifiers, options)
    const as = (username: string) => () =>
      authenticator.authenticate({
        ...{ link: 1, step: 1, info: { kind: 'mqtt', peer: 'p', listener: 'l' }, clientId: 'c', username },
        ...{ password: bytes('wrong'), method: undefined, data: undefined, again: false },
      })
    // A password that is right is no slower than its own line asks for.
    const right = () => new PasswordChecker().check(users.get('first')!.password!, bytes('x'), atOnce, decoyHash(users))
    expect(await right()).toBe('right')
    const names = ['dear', 'first', 'mosquitto', 'last', 'nobody', '']
    const [quick, dear, ...others] = await milliseconds(right, ...names.map(as))
    expect(quick! / dear!).toBeLessThan(0.5)
    for (const time of others) expect(Math.abs(time / dear! - 1)).toBeLessThan(0.5)
  })

  test('where a token or the HTTP service refuses, too', async () => {
    const users = await file()
    const tokens = { verify: async () => 'a bad token' } as unknown as TokenVerifier
    const callout = { ask: async () => ({ kind: 'deny' }) } as unknown as HttpCallout
    for (const others of [
      { tokens, callout: undefined },
      { tokens: undefined, callout },
    ]) {
      const checked: number[] = []
      const checker = new PasswordChecker()
      checker.check = async ({ iterations }) => {
        checked.push(iterations)
        return 'wrong'
      }
      const authenticator = new Authenticator(checker, () => ({ passwords: users, ...others }))
      for (const username of ['nobody', undefined])
        await authenticator.authenticate({
          ...{ link: 1, step: 1, info: { kind: 'mqtt', peer: 'p', listener: 'l' }, clientId: 'c', username },
          ...{ password: bytes('wrong'), method: undefined, data: undefined, again: false },
        })
      // Without a name nobody learns which ones there are.
      expect(checked).toEqual([rounds])
    }
  })
})

test('who has no turn costs no hash', async () => {
  const hash = hashOf(await hashPassword(bytes('secret'), 3))
  expect(await new PasswordChecker().check(hash, bytes('secret'), async () => 'busy')).toBe('busy')
})
