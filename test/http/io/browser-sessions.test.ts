import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hashPassword } from '../../../src/access/io/password-hash.ts'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { BrowserSessions } from '../../../src/http/io/browser-sessions.ts'
import { HttpServer } from '../../../src/http/io/http-server.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'
import { TestApi, testHost } from '../harness.ts'

const HOUR = 3_600_000
const LOGIN = { user: 'eva', proof: 'hash' }

test('a session ends after 12 hours without a request', () => {
  const sessions = new BrowserSessions()
  const id = sessions.begin(0, LOGIN)
  expect(sessions.find(11 * HOUR, id)).toEqual(LOGIN)
  expect(sessions.find(22 * HOUR, id)).toEqual(LOGIN)
  expect(sessions.find(34 * HOUR + 1, id)).toBeUndefined()
  expect(sessions.count).toBe(0)
})

test('of more than 256, the one that was used least recently ends', () => {
  const sessions = new BrowserSessions()
  const first = sessions.begin(0, LOGIN)
  const second = sessions.begin(0, LOGIN)
  for (let i = 0; i < 254; i++) sessions.begin(0, LOGIN)
  sessions.find(1, first)
  sessions.begin(2, LOGIN)
  expect(sessions.count).toBe(256)
  expect(sessions.find(3, first)).toEqual(LOGIN)
  expect(sessions.find(3, second)).toBeUndefined()
})

describe('over HTTP', () => {
  const TOKEN = 'v'.repeat(32)
  let dir: string
  let server: HttpServer
  let users: HttpUsers
  let url: string
  const passwords = (): string => join(dir, 'passwords')
  const writePassword = async (password: string): Promise<void> =>
    writeFileSync(passwords(), `adam:${await hashPassword(Buffer.from(password), 10)}\n`, { mode: 0o600 })
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'roost-sessions-'))
    await writePassword('secret')
    writeFileSync(join(dir, 'tokens'), `view ${TOKEN}\n`, { mode: 0o600 })
    const files = { httpPasswordFile: passwords(), httpTokenFile: join(dir, 'tokens'), httpManagers: ['adam'] }
    users = new HttpUsers({ ...DEFAULT_CONFIG, ...files }, 'view')
    const { routes } = new TestApi()
    server = await HttpServer.listen({
      host: '127.0.0.1',
      port: 0,
      names: [],
      users,
      routes,
      running: testHost(),
      notice: () => {},
    })
    url = `http://127.0.0.1:${server.port}/api/v1`
  })
  afterEach(async () => {
    await server.close()
    rmSync(dir, { recursive: true })
  })

  const basic = (password: string): string => `Basic ${Buffer.from(`adam:${password}`).toString('base64')}`

  async function logIn(authorization: string): Promise<{ cookie: string; csrf: string; set: string }> {
    const response = await fetch(`${url}/session`, { method: 'POST', headers: { authorization } })
    expect(response.status).toBe(200)
    const set = response.headers.get('set-cookie') ?? ''
    const { csrf_token: csrf } = (await response.json()) as { csrf_token: string }
    return { cookie: set.split(';')[0]!, csrf, set }
  }
  const statusOf = async (path: string, headers: Record<string, string>, method = 'GET'): Promise<number> =>
    (await fetch(url + path, { method, headers })).status

  test('the cookie of a login is enough for later requests, and scripts and other sites cannot use it', async () => {
    const { cookie, set } = await logIn(basic('secret'))
    expect(set).toMatch(new RegExp(`^roost_session_${server.port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`))
    const session = await fetch(`${url}/session`, { headers: { cookie: `other=1; ${cookie}` } })
    expect(await session.json()).toMatchObject({ user: 'adam', role: 'manage', login: 'password' })
    expect(await statusOf('/overview', { cookie: `${cookie.slice(0, -1)}~` })).toBe(401)
  })

  test('changes need the token that other sites cannot have', async () => {
    const { cookie, csrf } = await logIn(basic('secret'))
    expect(await statusOf('/reload', { cookie }, 'POST')).toBe(403)
    expect(await statusOf('/reload', { cookie, 'x-csrf-token': csrf }, 'POST')).toBe(200)
  })

  test('the session of a token has its role, and needs X-CSRF-Token as well', async () => {
    const { cookie, csrf } = await logIn(`Bearer ${TOKEN}`)
    expect(await statusOf('/overview', { cookie })).toBe(200)
    expect(await statusOf('/session', { cookie }, 'DELETE')).toBe(403)
    expect(await statusOf('/session', { cookie, 'x-csrf-token': csrf }, 'DELETE')).toBe(204)
    expect(await statusOf('/overview', { cookie })).toBe(401)
  })

  test('logging out ends the session, and deletes the cookie', async () => {
    const { cookie, csrf } = await logIn(basic('secret'))
    const answer = await fetch(`${url}/session`, { method: 'DELETE', headers: { cookie, 'x-csrf-token': csrf } })
    expect(answer.headers.get('set-cookie')).toMatch(/=; Max-Age=0; Path=\//)
    expect(await statusOf('/overview', { cookie })).toBe(401)
  })

  test('logging out ends the event streams of the session, and no others', async () => {
    const [one, other] = [await logIn(basic('secret')), await logIn(basic('secret'))]
    const open = ({ cookie }: { cookie: string }) => fetch(`${url}/events`, { headers: { cookie } })
    const [ending, staying] = [await open(one), await open(other)]
    expect(server.streamCount).toBe(2)
    await fetch(`${url}/session`, { method: 'DELETE', headers: { cookie: one.cookie, 'x-csrf-token': one.csrf } })
    expect(await ending.text()).toBe('')
    expect(server.streamCount).toBe(1)
    await staying.body!.cancel()
  })

  test('a request that has credentials besides ends the session of its cookie, too', async () => {
    const { cookie, csrf } = await logIn(basic('secret'))
    const authorization = basic('secret')
    expect(await statusOf('/session', { cookie, authorization }, 'POST')).toBe(200)
    expect(await statusOf('/overview', { cookie })).toBe(401)
    const again = await logIn(authorization)
    expect(await statusOf('/session', { cookie: again.cookie, authorization, 'x-csrf-token': csrf }, 'DELETE')).toBe(204)
    expect(await statusOf('/overview', { cookie: again.cookie })).toBe(401)
  })

  test('a new password ends the sessions of the old one', async () => {
    const { cookie } = await logIn(basic('secret'))
    users.prepareReload()()
    expect(await statusOf('/overview', { cookie })).toBe(200)
    await writePassword('other')
    users.prepareReload()()
    expect(await statusOf('/overview', { cookie })).toBe(401)
  })

  test('a browser asks for a password itself, unless a script says that it will', async () => {
    const plain = await fetch(`${url}/overview`)
    expect(plain.headers.get('www-authenticate')).toBe('Basic realm="Roost"')
    const script = await fetch(`${url}/overview`, { headers: { 'x-requested-with': 'roost-console' } })
    expect([script.status, script.headers.get('www-authenticate')]).toEqual([401, null])
    expect((await fetch(`${url}/session`, { method: 'POST', headers: { authorization: basic('wrong') } })).status).toBe(401)
  })
})
