import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { hashPassword } from '../../../src/access/io/password-hash.ts'
import type { Notice } from '../../../src/base/notice.ts'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { json, type Role, type Route } from '../../../src/http/exchange.ts'
import { HttpServer } from '../../../src/http/io/http-server.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'
import { testHost } from '../harness.ts'

const VIEW_TOKEN = 'v'.repeat(32)
const MANAGE_TOKEN = 'm'.repeat(32)

let dir: string
let server: HttpServer | undefined
let notices: Notice[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-http-'))
  notices = []
})
afterEach(async () => {
  await server?.close()
  server = undefined
  rmSync(dir, { recursive: true })
})

const echo = (method: Route['method'], path: string, needs: Role | undefined): Route => ({
  method,
  path,
  needs,
  answer: ({ params, query, body, role, user, csrfToken }) =>
    json(path === '/token' ? { csrfToken } : { params, query, body, role, user }),
})
const ROUTES: readonly Route[] = [
  echo('GET', '/open', undefined),
  echo('GET', '/view/:id', 'view'),
  echo('GET', '/token', 'view'),
  echo('POST', '/manage', 'manage'),
  { ...echo('POST', '/large', 'manage'), bodyBytesMax: 100_000 },
  {
    method: 'GET',
    path: '/broken',
    needs: 'view',
    answer: () => {
      throw new Error('secret detail')
    },
  },
]

async function listen(files: Partial<typeof DEFAULT_CONFIG> = {}, openRole: Role = 'manage'): Promise<string> {
  const notice = (each: Notice): void => void notices.push(each)
  const users = new HttpUsers({ ...DEFAULT_CONFIG, banAfter: 3, trustedNetworks: [], ...files }, openRole, notice, async () => {})
  server = await HttpServer.listen({ host: '127.0.0.1', port: 0, names: [], users, routes: ROUTES, running: testHost(), notice })
  return `http://127.0.0.1:${server.port}`
}

async function withUsers(): Promise<string> {
  const [passwords, tokens] = [join(dir, 'passwords'), join(dir, 'tokens')]
  const line = async (user: string): Promise<string> => `${user}:${await hashPassword(Buffer.from(`${user}-secret`), 10)}\n`
  writeFileSync(passwords, (await line('eva')) + (await line('adam')), { mode: 0o600 })
  writeFileSync(tokens, `view ${VIEW_TOKEN}\nmanage ${MANAGE_TOKEN}\n`, { mode: 0o600 })
  return listen({ httpPasswordFile: passwords, httpManagers: ['adam'], httpTokenFile: tokens })
}

const basic = (user: string, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

async function ask(url: string, init: RequestInit = {}): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url, init)
  const body = await response.text()
  return { status: response.status, body: body.startsWith('{') ? JSON.parse(body) : body }
}

describe('without users', () => {
  test('everybody on this machine has the role that MQTT gives them', async () => {
    const url = await listen({}, 'view')
    expect(await ask(`${url}/view/a%2Fb%20c?x=1&x=2`)).toEqual({
      status: 200,
      body: { params: { id: 'a/b c' }, query: { x: '2' }, role: 'view' },
    })
    expect(await ask(`${url}/manage`, { method: 'POST' })).toMatchObject({ status: 403 })
  })

  test('an answer may neither be kept, nor framed, nor taken for a page', async () => {
    const { headers } = await fetch(`${await listen()}/open`)
    expect(Object.fromEntries(headers)).toMatchObject({
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
    })
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })

  test('requests by another name, and from pages of other sites, are refused and noted', async () => {
    const url = await listen()
    expect(await raw(`GET /open HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n`)).toContain(' 403 ')
    expect(await ask(`${url}/open`, { headers: { origin: 'http://evil.example' } })).toMatchObject({ status: 403 })
    const image = 'GET /open HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n'
    expect(await raw(image)).toContain(' 403 ')
    expect(notices.map(({ code }) => code)).toEqual(['http-refused', 'http-refused', 'http-refused'])
  })
})

describe('with users', () => {
  test('what each of them may do', async () => {
    const url = await withUsers()
    const statuses = async (headers: Record<string, string>): Promise<number[]> => {
      const open = await ask(`${url}/open`, { headers })
      const view = await ask(`${url}/view/1`, { headers })
      const { csrfToken = '' } = (await ask(`${url}/token`, { headers })).body as { csrfToken?: string }
      const manage = await ask(`${url}/manage`, { method: 'POST', headers: { ...headers, 'x-csrf-token': csrfToken } })
      return [open.status, view.status, manage.status]
    }
    expect(await statuses({})).toEqual([200, 401, 401])
    expect(await statuses(basic('eva', 'eva-secret'))).toEqual([200, 200, 403])
    expect(await statuses(basic('adam', 'adam-secret'))).toEqual([200, 200, 200])
    expect(await statuses(bearer(VIEW_TOKEN))).toEqual([200, 200, 403])
    expect(await statuses(bearer(MANAGE_TOKEN))).toEqual([200, 200, 200])
    expect(notices).toEqual([])
  })

  test('a write needs the token that only pages of this service can read, unless a program has a bearer token', async () => {
    const url = await withUsers()
    const write = (headers: Record<string, string>) => ask(`${url}/manage`, { method: 'POST', headers })
    const tokenOf = async (headers: Record<string, string>): Promise<string> =>
      ((await ask(`${url}/token`, { headers })).body as { csrfToken: string }).csrfToken
    const adam = basic('adam', 'adam-secret')
    expect(await write(adam)).toMatchObject({ status: 403, body: { detail: expect.stringContaining('X-CSRF-Token') } })
    const ofEva = await tokenOf(basic('eva', 'eva-secret'))
    expect(await write({ ...adam, 'x-csrf-token': ofEva })).toMatchObject({ status: 403 })
    expect(await write({ ...adam, 'x-csrf-token': await tokenOf(adam) })).toMatchObject({ status: 200 })
    expect(await write(bearer(MANAGE_TOKEN))).toMatchObject({ status: 200 })
  })

  test('a route gets the user', async () => {
    const url = await withUsers()
    expect((await ask(`${url}/view/1`, { headers: basic('eva', 'eva-secret') })).body).toMatchObject({
      role: 'view',
      user: 'eva',
    })
  })

  test.each([
    ['a wrong password', basic('eva', 'adam-secret')],
    ['no password', basic('eva', '')],
    ['an unknown user', basic('cain', 'x')],
    ['a wrong token', bearer('w'.repeat(32))],
    ['an empty token', bearer('')],
  ])('%s is refused with the same words, noted, and bans its address in the end', async (_, headers) => {
    const url = await withUsers()
    const first = await ask(`${url}/view/1`, { headers })
    expect(first).toMatchObject({ status: 401, body: { detail: 'wrong user name, password or token' } })
    expect(notices).toMatchObject([{ code: 'http-refused', level: 'info', peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) }])
    await ask(`${url}/view/1`, { headers })
    await ask(`${url}/view/1`, { headers })
    expect(notices.at(-1)).toMatchObject({ code: 'address-banned' })
    expect(await ask(`${url}/view/1`, { headers: bearer(VIEW_TOKEN) })).toMatchObject({ status: 429 })
    expect(await ask(`${url}/open`)).toMatchObject({ status: 200 })
  })

  test('a reload changes passwords and tokens, and a broken file changes nothing', async () => {
    const url = await withUsers()
    writeFileSync(join(dir, 'tokens'), `view ${'n'.repeat(32)}\n`)
    server!.prepareReload()()
    expect(await ask(`${url}/view/1`, { headers: bearer(VIEW_TOKEN) })).toMatchObject({ status: 401 })
    expect(await ask(`${url}/view/1`, { headers: bearer('n'.repeat(32)) })).toMatchObject({ status: 200 })
    writeFileSync(join(dir, 'passwords'), 'eva:plain\n')
    expect(() => server!.prepareReload()).toThrow(/passwords:1: .* \(http_password_file\)$/)
    expect(await ask(`${url}/view/1`, { headers: basic('eva', 'eva-secret') })).toMatchObject({ status: 200 })
  })

  test.each([
    ['tokens', 'view short\n', /tokens:1: expected a token of at least 32 characters \(http_token_file\)$/],
    ['passwords', undefined, /passwords: no such file or directory$/],
  ])('a broken %s file is an error of one line', (name, content, error) => {
    if (content !== undefined) writeFileSync(join(dir, name), content)
    const option = name === 'tokens' ? 'httpTokenFile' : 'httpPasswordFile'
    expect(() => new HttpUsers({ ...DEFAULT_CONFIG, [option]: join(dir, name) }, 'view')).toThrow(error)
  })
})

const csrfOf = async (url: string): Promise<string> =>
  ((await ask(`${url}/token`)).body as { readonly csrfToken: string }).csrfToken

test('a name is listened on at one of its addresses', async () => {
  const listening = vi.spyOn(Server.prototype, 'listen')
  const users = new HttpUsers(DEFAULT_CONFIG, 'view')
  const common = { port: 0, names: [], users, routes: ROUTES, running: testHost(), notice: () => {} }
  server = await HttpServer.listen({ ...common, host: 'localhost' })
  const hosts = listening.mock.calls.map(([options]) => (options as { host: string }).host)
  listening.mockRestore()
  expect(hosts).toEqual([expect.stringMatching(/^(127\.0\.0\.1|::1)$/)])
  expect(await ask(`http://localhost:${server.port}/open`)).toMatchObject({ status: 200 })
})

describe('bad requests', () => {
  test.each([
    ['an unknown path', 'GET /nothing HTTP/1.1', '', 404],
    ['another method', 'PUT /manage HTTP/1.1', '{}', 405],
    ['a body that is no JSON', 'POST /manage HTTP/1.1', '{"a":', 400],
    ['no HTTP', 'HELLO', '', 400],
  ])('%s', async (_, line, body, status) => {
    const csrf = await csrfOf(await listen())
    const head = `${line}\r\nHost: localhost\r\nX-CSRF-Token: ${csrf}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
    expect(await raw(head + body)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  })

  test.each([
    ['an unknown path', 'POST /nothing', 404],
    ['another method', 'PUT /manage', 405],
  ])('%s is refused before a body comes', async (_, line, status) => {
    await listen()
    const head = `${line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`
    const socket = connect(server!.port, '127.0.0.1')
    socket.write(head)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    socket.destroy()
    expect(answer.toString()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  })

  test('a body has 16 KiB, unless its route takes more', async () => {
    const url = await listen()
    const headers = { 'content-type': 'application/json', 'x-csrf-token': await csrfOf(url) }
    const statusOf = async (path: string, length: number): Promise<number> =>
      (await ask(url + path, { method: 'POST', headers, body: JSON.stringify('x'.repeat(length)) })).status
    expect([await statusOf('/manage', 16_000), await statusOf('/manage', 17_000)]).toEqual([200, 413])
    expect([await statusOf('/large', 99_000), await statusOf('/large', 101_000)]).toEqual([200, 413])
  })

  test('too long a body or head', async () => {
    const url = await listen()
    const headers = { 'content-type': 'application/json' }
    const long = { method: 'POST', body: JSON.stringify('x'.repeat(2 ** 21)) }
    const known = { ...headers, 'x-csrf-token': await csrfOf(url) }
    expect(await ask(`${url}/manage`, { ...long, headers: known })).toMatchObject({ status: 413 })
    // Nothing of a stranger is read, nor looked at.
    expect(await ask(`${url}/manage`, { ...long, headers })).toMatchObject({ status: 403 })
    expect(await raw(`GET /open HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /)
  })

  test('what is no HTTP is answered as all errors are', async () => {
    await listen()
    for (const [request, status] of [
      ['HELLO\r\n\r\n', 400],
      [`GET /open HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
      ['GET /open HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
      ['GET /open HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n', 400],
      ['GET /open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ] as const) {
      const [head = '', body = ''] = (await raw(request)).split('\r\n\r\n')
      expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
      expect(head).toContain('content-type: application/problem+json')
      expect(head).toContain('x-content-type-options: nosniff')
      expect(JSON.parse(body)).toMatchObject({ status })
    }
  })

  test('a body is JSON, and one that is empty is none', async () => {
    const url = await listen()
    const csrf = { 'x-csrf-token': await csrfOf(url) }
    const post = (body: string, headers: Record<string, string>) =>
      ask(`${url}/manage`, { method: 'POST', body, headers: { ...csrf, ...headers } })
    const plainText = { 'content-type': 'text/plain' }
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    const jsonType = { 'content-type': 'application/json' }
    expect(await post('{}', jsonType)).toMatchObject({ status: 200, body: { body: {} } })
    for (const type of [plainText, form, { 'content-type': '' }]) expect(await post('{}', type)).toMatchObject({ status: 415 })
    for (const type of [plainText, form, jsonType]) expect(await post('', type)).toMatchObject({ status: 200 })
    expect(await post('{}', { ...jsonType, 'content-encoding': 'gzip' })).toMatchObject({ status: 415 })
    expect(await post('['.repeat(100), jsonType)).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining('deep') },
    })
  })

  test('a bug of ours is a 500 that tells strangers nothing', async () => {
    const url = await listen()
    const { status, body } = await ask(`${url}/broken`)
    expect(status).toBe(500)
    expect(JSON.stringify(body)).not.toContain('secret')
    expect(notices).toMatchObject([{ code: 'http-failed', level: 'error', reason: expect.stringContaining('secret detail') }])
  })
})

/** Sends these bytes, and returns all that is answered. */
async function raw(request: string): Promise<string> {
  const socket = connect(server!.port, '127.0.0.1')
  socket.write(request)
  return text(socket)
}
