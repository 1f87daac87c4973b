import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { Authenticator, type Verifiers } from '../../../src/access/io/authenticator.ts'
import { HttpCallout } from '../../../src/access/io/http-callout.ts'
import { defaultAdmissionOptions } from '../../../src/access/io/login-admission.ts'
import { hashPassword, PasswordChecker } from '../../../src/access/io/password-hash.ts'
import { scramLine } from '../../../src/access/io/scram.ts'
import type { TokenVerifier } from '../../../src/access/io/token-verifier.ts'
import { type PasswordEntry, parsePasswordLines, parsePasswords } from '../../../src/access/password-file.ts'
import { Grant } from '../../../src/access/policy.ts'
import type { Notice, NoticeSink } from '../../../src/base/notice.ts'
import type { AuthAnswer, AuthRequest } from '../../../src/broker/access.ts'
import { clientFinal } from './scram-client.ts'

const alice = await hashPassword(Buffer.from('secret'), 1)
const passwords = parsePasswords(`alice:${alice}\nscram:${await scramLine('x', 4096)}\n`) as ReadonlyMap<string, PasswordEntry>
/** Says yes to `a.b.c`, whose bearer is bob. */
const tokens = {
  verify: async (token: string) =>
    token === 'a.b.c'
      ? { username: 'bob', publish: ['dev/%c/%u'], subscribe: undefined, validSeconds: 60, key: 'k' }
      : 'a bad token',
} as unknown as TokenVerifier
const NONE: Verifiers = { passwords: undefined, tokens: undefined, callout: undefined }

const cleanUp: (() => void)[] = []
const notices: Notice[] = []
afterEach(() => {
  notices.splice(0)
  for (const step of cleanUp.splice(0)) step()
})

async function service(status: number, body: string): Promise<HttpCallout> {
  const server = createServer((_, response) => response.writeHead(status).end(body))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanUp.push(() => server.close().closeAllConnections())
  return new HttpCallout(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, 5)
}

const ask = (verifiers: Partial<Verifiers>, more: Partial<AuthRequest> & { secret?: string }): Promise<AuthAnswer> => {
  const { secret, ...request } = more
  const notice: NoticeSink = (each) => notices.push(each)
  return new Authenticator(new PasswordChecker(), () => ({ ...NONE, ...verifiers }), {
    ...defaultAdmissionOptions(),
    notice,
  }).authenticate({
    link: 1,
    step: 1,
    info: { kind: 'mqtt', peer: 'p', listener: 'l' },
    clientId: 'c1',
    username: undefined,
    password: secret === undefined ? undefined : Buffer.from(secret),
    method: undefined,
    data: undefined,
    again: false,
    ...request,
  })
}
const code = (answer: AuthAnswer): number => (answer.kind === 'refused' ? answer.reasonCode : -1)

describe('a password file', () => {
  test('the right password: the grant says by which lines', async () => {
    expect(await ask({ passwords }, { username: 'alice', secret: 'secret' })).toEqual({
      kind: 'accepted',
      username: 'alice',
      grant: new Grant({ kind: 'password', lines: alice }, undefined),
    })
  })

  test('anything else: one answer, whether there is such a user or not', async () => {
    const wrong = { kind: 'refused', reasonCode: 0x86, reason: 'user name or password' }
    for (const [username, secret] of [
      ['alice', 'secre'],
      ['alice', ''],
      ['alice', undefined],
      ['nobody', 'secret'],
      ['', 'secret'],
      [undefined, 'secret'],
      ['scram', 'x'],
      ['__proto__', ''],
    ])
      expect(await ask({ passwords }, { username, ...(secret !== undefined && { secret }) })).toEqual(wrong)
  })
})

describe('a token', () => {
  test('says who it is and what may be done, and for how long', async () => {
    const answer = await ask({ tokens }, { secret: 'a.b.c' })
    expect(answer).toMatchObject({ kind: 'accepted', username: 'bob', validSeconds: 60 })
    const { proof, rules } = (answer as { grant: Grant }).grant
    expect(proof).toEqual({ kind: 'token', key: 'k' })
    expect([rules?.mayPublish('dev/c1/bob'), rules?.mayPublish('dev/c2/bob'), rules?.mayRead('x')]).toEqual([true, false, false])
  })

  test('whoever says a name has to be its bearer', async () => {
    expect(await ask({ tokens }, { username: 'bob', secret: 'a.b.c' })).toMatchObject({ kind: 'accepted' })
    expect(code(await ask({ tokens }, { username: 'alice', secret: 'a.b.c' }))).toBe(0x86)
    expect(code(await ask({ tokens }, { username: 'bob', secret: 'x' }))).toBe(0x86)
    expect(code(await ask({ tokens }, { username: 'bob' }))).toBe(0x86)
  })

  test('a user of the password file needs the password, whatever else there is', async () => {
    const anybody = await service(200, '')
    expect(code(await ask({ passwords, tokens, callout: anybody }, { username: 'alice', secret: 'a.b.c' }))).toBe(0x86)
    expect(await ask({ passwords, tokens }, { username: 'bob', secret: 'a.b.c' })).toMatchObject({ kind: 'accepted' })
    // Whose token says a name of the file does not get around that by saying none.
    for (const line of [`bob:${alice}`, 'bob:broken']) {
      const { users } = parsePasswordLines(line)
      const answer = await ask({ passwords: users, tokens }, { secret: 'a.b.c' })
      expect(answer).toMatchObject({ kind: 'refused', reasonCode: 0x86, reason: 'token: user bob has a password' })
    }
  })
})

test('an empty password never matches, even where the file has the hash of one', async () => {
  const { users } = parsePasswordLines(`alice:${await hashPassword(Buffer.alloc(0), 1)}\nscram:${await scramLine('', 4096)}\n`)
  expect(code(await ask({ passwords: users }, { username: 'alice', secret: '' }))).toBe(0x86)
  expect(code(await ask({ passwords: users }, { username: 'alice' }))).toBe(0x86)
  const authenticator = new Authenticator(new PasswordChecker(), () => ({ ...NONE, passwords: users }))
  const step = async (at: number, data: string): Promise<AuthAnswer> =>
    authenticator.authenticate({
      ...{ link: 1, step: at, info: { kind: 'mqtt', peer: 'p', listener: 'l' }, clientId: 'c', username: undefined },
      ...{ password: undefined, method: 'SCRAM-SHA-256', data: Buffer.from(data), again: false },
    })
  const first = await step(1, 'n,,n=scram,r=abc')
  const serverFirst = Buffer.from((first as { data: Uint8Array }).data).toString()
  expect(code(await step(2, clientFinal(serverFirst, 'n=scram,r=abc', '')))).toBe(0x87)
})

test('the user of a broken line is refused, whatever else there is, and the others are not', async () => {
  const { users } = parsePasswordLines(`alice:${alice}\ncarol:secret\nbob:${alice}\nbob:$scram-sha-256$broken\ncarol:${alice}\n`)
  const callout = await service(200, '')
  for (const username of ['carol', 'bob'])
    expect(code(await ask({ passwords: users, tokens, callout }, { username, secret: 'secret' }))).toBe(0x86)
  expect(await ask({ passwords: users }, { username: 'alice', secret: 'secret' })).toMatchObject({ kind: 'accepted' })
})

describe('a service', () => {
  test('is asked about who is not in the file, and about what does not look like a token', async () => {
    const callout = await service(200, '{"result":"allow","subscribe":["%u/#"],"expires_in":5}')
    const answer = await ask({ passwords, tokens, callout }, { username: 'carol', secret: 'x' })
    expect(answer).toMatchObject({ kind: 'accepted', username: 'carol', validSeconds: 5 })
    const { proof, rules } = (answer as { grant: Grant }).grant
    expect([proof, rules?.maySubscribe('carol/#'), rules?.maySubscribe('#')]).toEqual([{ kind: 'service' }, true, false])
    expect(code(await ask({ tokens, callout }, { username: 'carol', secret: 'x.y.z' }))).toBe(0x86)
  })

  test('a denial is 0x86, a failure 0x88', async () => {
    expect(code(await ask({ callout: await service(401, '') }, { username: 'carol' }))).toBe(0x86)
    expect(code(await ask({ callout: await service(500, '') }, { username: 'carol' }))).toBe(0x88)
  })
})

test('nobody to ask: nobody is let in', async () => {
  expect(code(await ask({}, { username: 'alice', secret: 'secret' }))).toBe(0x86)
  expect(code(await ask({}, { method: 'SCRAM-SHA-256', data: Buffer.from('n,,n=a,r=b') }))).toBe(0x8c)
  expect(code(await ask({ passwords }, { method: 'PLAIN' }))).toBe(0x8c)
})

test('whatever goes wrong inside lets nobody in, and is told to the operator', async () => {
  const broken = { verify: () => Promise.reject(new Error('oops')) } as unknown as TokenVerifier
  expect(await ask({ tokens: broken }, { secret: 'a.b.c' })).toEqual({ kind: 'refused', reasonCode: 0x88, reason: 'oops' })
  expect(notices).toEqual([{ code: 'authentication-failed', level: 'warn', reason: 'oops' }])
})

test('a service that cannot be asked is told to the operator; one that says no is not', async () => {
  await ask({ callout: await service(500, '') }, { username: 'carol' })
  await ask({ callout: await service(200, 'x'.repeat(70_000)) }, { username: 'carol' })
  await ask({ callout: await service(403, '') }, { username: 'carol' })
  expect(notices).toEqual([
    { code: 'authentication-failed', level: 'warn', reason: 'the HTTP service answered with status 500' },
    { code: 'authentication-failed', level: 'warn', reason: 'the HTTP service: an answer of more than 65536 bytes' },
  ])
})

test('SCRAM: a second message without a first is refused', async () => {
  expect(code(await ask({ passwords }, { method: 'SCRAM-SHA-256', step: 2, data: Buffer.from('c=biws,r=b,p=AAAA') }))).toBe(0x87)
  expect(code(await ask({ passwords }, { method: 'SCRAM-SHA-256' }))).toBe(0x87)
})
