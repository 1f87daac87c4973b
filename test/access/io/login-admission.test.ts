import { setMaxListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { Authenticator, type Verifiers } from '../../../src/access/io/authenticator.ts'
import type { CalloutAnswer, HttpCallout } from '../../../src/access/io/http-callout.ts'
import { LoginAdmission, type NotAdmitted } from '../../../src/access/io/login-admission.ts'
import { PasswordChecker } from '../../../src/access/io/password-hash.ts'
import type { TokenVerifier } from '../../../src/access/io/token-verifier.ts'
import { type LoginOptions, Logins } from '../../../src/access/logins.ts'
import { type PasswordEntry, parsePasswords } from '../../../src/access/password-file.ts'
import type { Notice } from '../../../src/base/notice.ts'
import type { AuthAnswer, AuthRequest } from '../../../src/broker/access.ts'

const STAYS = new AbortController().signal
setMaxListeners(0, STAYS)
const requestFrom = (peer: string, link = 1, listener = 'l'): AuthRequest => ({
  link,
  step: 1,
  info: { kind: 'mqtt', peer, listener },
  clientId: 'c',
  username: 'u',
  password: Buffer.from('p'),
  method: undefined,
  data: undefined,
  again: false,
})

/** Promises settle; nothing here waits for time. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Work that takes virtual time: the oldest that has begun ends at `end`. */
class Site {
  now = 0
  readonly notices: Notice[] = []
  readonly delays: number[] = []
  readonly logins: Logins
  readonly #begun: { readonly name: string; readonly end: (result: string) => void }[] = []
  readonly #options

  constructor({
    pending = 100,
    pendingPerAddress = 50,
    ...logins
  }: Partial<LoginOptions> & { pending?: number; pendingPerAddress?: number } = {}) {
    const notice = (each: Notice): void => void this.notices.push(each)
    this.logins = new Logins(logins, notice)
    this.#options = {
      logins: this.logins,
      pending,
      pendingPerAddress,
      notice,
      now: () => this.now,
      delay: async (ms: number) => void this.delays.push(ms),
    }
  }

  get options() {
    return this.#options
  }

  get begun(): string[] {
    return this.#begun.map(({ name }) => name)
  }

  work(name: string): () => Promise<string> {
    return () => new Promise((end) => this.#begun.push({ name, end }))
  }

  async end(result = 'done'): Promise<string | undefined> {
    const first = this.#begun.shift()
    first?.end(result)
    await settle()
    return first?.name
  }
}

describe('turns', () => {
  test('one address waits behind its own questions, not everybody else', async () => {
    const site = new Site()
    const admission = new LoginAdmission(site.options, { running: 1, reserved: 0 })
    for (let i = 0; i < 40; i++) void admission.run(requestFrom(`192.0.2.1:${i}`), STAYS, site.work(`guess ${i}`))
    void admission.run(requestFrom('192.0.2.9:1'), STAYS, site.work('honest'))
    expect([await site.end(), await site.end(), await site.end()]).toEqual(['guess 0', 'honest', 'guess 1'])
  })

  test('addresses that were answered no before wait behind one that was never heard', async () => {
    const site = new Site()
    const admission = new LoginAdmission(site.options, { running: 1, reserved: 0 })
    const guess = (round: number): void => {
      for (let i = 0; i < 20; i++) void admission.run(requestFrom(`192.0.2.${i}:1`), STAYS, site.work(`guess ${round}.${i}`))
    }
    guess(1)
    for (let i = 0; i < 20; i++) await site.end()
    guess(2)
    void admission.run(requestFrom('198.51.100.1:1'), STAYS, site.work('honest'))
    guess(3)
    await site.end()
    expect(await site.end()).toBe('honest')
  })

  test('who has gone takes no turn, and leaves room', async () => {
    const site = new Site({ pendingPerAddress: 2 })
    const admission = new LoginAdmission(site.options, { running: 1, reserved: 0 })
    const gone = new AbortController()
    const verdicts = [STAYS, gone.signal, gone.signal].map((signal, i) =>
      admission.run(requestFrom('192.0.2.1:1'), signal, site.work(`${i}`)),
    )
    expect(admission.pending).toBe(2)
    gone.abort()
    expect([admission.pending, await verdicts[1], await verdicts[2]]).toEqual([0, 'abandoned', 'abandoned'])
    expect(await admission.run(requestFrom('192.0.2.1:1'), gone.signal, site.work('x'))).toBe('abandoned')
    await site.end('yes')
    expect([await verdicts[0], site.begun]).toEqual(['yes', []])
  })

  test('work that fails gives its place back', async () => {
    const site = new Site()
    const admission = new LoginAdmission(site.options, { running: 1, reserved: 0 })
    await expect(admission.run(requestFrom('192.0.2.1:1'), STAYS, () => Promise.reject(new Error('oops')))).rejects.toThrow(
      'oops',
    )
    expect(await admission.run(requestFrom('192.0.2.1:1'), STAYS, async () => 'next')).toBe('next')
  })

  test('what waits is bounded, per address and in all: what does not fit is told busy, with a notice that names the bound', async () => {
    const site = new Site({ pending: 4, pendingPerAddress: 3 })
    const admission = new LoginAdmission(site.options, { running: 1, reserved: 0 })
    const ask = (peer: string): Promise<string | NotAdmitted> => admission.run(requestFrom(peer), STAYS, site.work(peer))
    const asked = ['192.0.2.1:0', '192.0.2.1:1', '192.0.2.1:2', '192.0.2.1:3', '192.0.2.1:4'].map(ask)
    expect(await asked[4]).toBe('busy')
    void ask('192.0.2.2:1')
    // Of the address that has most in the queue the last one gives way.
    void ask('192.0.2.3:1')
    expect(await asked[3]).toBe('busy')
    const [perAddress, inAll] = site.notices
    expect(perAddress).toMatchObject({ code: 'limit-reached', peer: '192.0.2.1:4', limit: 'max_pending_logins_per_address' })
    expect(inAll).toMatchObject({ code: 'limit-reached', limit: 'max_pending_logins' })
    expect(site.notices).toHaveLength(2)
  })

  test('what waits of an address that is banned meanwhile costs nothing any more, however much that is', async () => {
    const site = new Site({ pending: 100_000, pendingPerAddress: 100_000, banAfter: 1 })
    const admission = new LoginAdmission(site.options, { running: 1, reserved: 0 })
    const asked = Array.from({ length: 20_000 }, (_, i) =>
      admission.run(requestFrom(`192.0.2.1:${i}`), new AbortController().signal, site.work(`${i}`)),
    )
    site.logins.failed(0, '192.0.2.1:0')
    await site.end()
    expect(new Set(await Promise.all(asked.slice(1)))).toEqual(new Set(['banned']))
    expect(site.begun).toEqual([])
  })
})

describe('the authenticator', () => {
  const authenticator = (site: Site, verifiers: Partial<Verifiers>) =>
    new Authenticator(
      new PasswordChecker(),
      () => ({ passwords: undefined, tokens: undefined, callout: undefined, ...verifiers }),
      site.options,
    )
  const answersOf = (site: Site): HttpCallout =>
    ({
      url: 'http://service/',
      ask: ({ info }: AuthRequest) => site.work(info.peer)() as Promise<unknown> as Promise<CalloutAnswer>,
    }) as unknown as HttpCallout
  const code = (answer: AuthAnswer): number => (answer.kind === 'refused' ? answer.reasonCode : 0)

  test('asks an HTTP service 50 questions at once, of which 10 are only for addresses that were not heard before', async () => {
    const site = new Site({ pendingPerAddress: 1000, pending: 1000 })
    const clients = authenticator(site, { callout: answersOf(site) })
    for (let link = 1; link <= 100; link++) void clients.authenticate(requestFrom('192.0.2.1:1', link))
    expect(site.begun).toHaveLength(40)
    for (let i = 0; i < 20; i++) void clients.authenticate(requestFrom(`198.51.100.${i}:1`, 1000 + i))
    expect(site.begun).toHaveLength(50)
    expect(site.begun.slice(40).every((peer) => peer.startsWith('198.51.100.'))).toBe(true)
  })

  test('a client that has gone before its turn is not asked about', async () => {
    const site = new Site({ pendingPerAddress: 1000, pending: 1000 })
    const clients = authenticator(site, { callout: answersOf(site) })
    const answers = Array.from({ length: 60 }, (_, i) => clients.authenticate(requestFrom('192.0.2.1:1', i)))
    for (let link = 40; link < 60; link++) clients.abandon(link)
    expect((await Promise.all(answers.slice(40))).map(code)).toEqual(new Array(20).fill(0x89))
    expect(site.begun).toHaveLength(40)
  })

  const users = parsePasswords(
    `alice:$7$200000$${Buffer.alloc(12).toString('base64')}$${Buffer.alloc(64).toString('base64')}\n`,
  ) as ReadonlyMap<string, PasswordEntry>

  test('a denial of the service costs a user who is not in the password file as much as a wrong password one who is', async () => {
    const levels: number[] = []
    const delays: number[][] = []
    for (const username of ['alice', 'u']) {
      const site = new Site()
      const callout = { url: 'u', ask: async () => ({ kind: 'deny' }) } as unknown as HttpCallout
      const clients = authenticator(site, { callout, passwords: users })
      for (let i = 0; i < 3; i++) expect(code(await clients.authenticate({ ...requestFrom('192.0.2.1:1'), username }))).toBe(0x86)
      levels.push(site.logins.asked(0, '192.0.2.1:1'))
      delays.push(site.delays)
    }
    expect(levels).toEqual([33, 33])
    expect(delays[1]).toEqual(delays[0])
  })

  test('the hash behind such a denial waits for its turn; where it has none, that was a guess all the same', async () => {
    const site = new Site({ banAfter: 1, pendingPerAddress: 1 })
    const callout = { url: 'u', ask: async () => ({ kind: 'deny' }) } as unknown as HttpCallout
    const clients = authenticator(site, { callout, passwords: users })
    const guesses = [1, 2, 3].map((link) => clients.authenticate({ ...requestFrom('192.0.2.1:1', link), username: 'alice' }))
    expect(site.logins.isBanned(0, '192.0.2.1:1')).toBe(false)
    expect(code(await clients.authenticate(requestFrom('192.0.2.1:1', 4)))).toBe(0x89)
    expect(site.logins.isBanned(0, '192.0.2.1:1')).toBe(true)
    await Promise.all(guesses)
  })

  test('keeps the refusals of an address back that has failed before, never its successes', async () => {
    const site = new Site()
    const answers: CalloutAnswer['kind'][] = ['deny', 'deny', 'deny', 'allow', 'deny']
    const callout = { url: 'u', ask: async () => ({ kind: answers.shift() }) } as unknown as HttpCallout
    const clients = authenticator(site, { callout })
    for (const kind of ['refused', 'refused', 'refused', 'accepted'] as const)
      expect((await clients.authenticate(requestFrom('192.0.2.1:1'))).kind).toBe(kind)
    expect(site.delays).toEqual([220, 440])
    await clients.authenticate(requestFrom('192.0.2.2:1'))
    expect(site.delays).toHaveLength(2)
  })

  test('bans for denials and bad tokens, and never because a service or a set of keys does not answer', async () => {
    const tokens = (verify: () => Promise<string>): TokenVerifier => ({ verify }) as unknown as TokenVerifier
    const service = (kind: 'deny' | 'failed'): HttpCallout =>
      ({ url: 'u', ask: async () => ({ kind, reason: '' }) }) as unknown as HttpCallout
    for (const [verifiers, reasonCode, isBanned] of [
      [{ callout: service('deny') }, 0x86, true],
      [{ tokens: tokens(async () => 'expired') }, 0x86, true],
      [{ callout: service('failed') }, 0x88, false],
      [{ tokens: tokens(() => Promise.reject(new Error('no keys'))) }, 0x88, false],
    ] as const) {
      const site = new Site({ banAfter: 3 })
      const clients = authenticator(site, verifiers)
      for (let link = 0; link < 3; link++)
        expect(code(await clients.authenticate(requestFrom('192.0.2.1:1', link)))).toBe(reasonCode)
      expect(site.logins.isBanned(0, '192.0.2.1:9')).toBe(isBanned)
      expect(code(await clients.authenticate(requestFrom('192.0.2.1:1', 9)))).toBe(isBanned ? 0x8a : reasonCode)
    }
  })
})
