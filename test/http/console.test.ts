import { expect, test } from 'vitest'
import { type ConsoleFile, consoleRoutes } from '../../src/http/console.ts'
import type { HttpRequest, HttpResponse } from '../../src/http/exchange.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const FILES: readonly ConsoleFile[] = [
  { name: 'assets/index-1a.js', bytes: bytes('script'), gzip: bytes('gz'), brotli: bytes('br'), hash: 'h1' },
  { name: 'index.html', bytes: bytes('<p>'), hash: 'h2' },
]

const REQUEST: HttpRequest = {
  now: 0,
  params: {},
  query: {},
  body: undefined,
  role: undefined,
  user: undefined,
  csrfToken: '',
  lastEventId: undefined,
}

function get(path: string, more: Partial<HttpRequest> = {}, files = FILES): HttpResponse {
  const route = consoleRoutes(files).find((each) => each.path === path)
  return route!.answer({ ...REQUEST, ...more }) as HttpResponse
}

const textOf = ({ bytes: sent }: HttpResponse): string => Buffer.from(sent!).toString()

test('needs no login, and is there while Roost starts', () => {
  for (const { needs, always } of consoleRoutes(FILES)) expect([needs, always]).toEqual([undefined, true])
})

test('/ is the page, whose scripts and styles come from here only', () => {
  const answer = get('/')
  expect(answer).toMatchObject({ status: 200, type: 'text/html; charset=utf-8' })
  expect(textOf(answer)).toBe('<p>')
  const policy = answer.headers!['content-security-policy']!
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"])
    expect(policy.split('; ')).toContain(part)
  expect(policy).not.toContain('unsafe')
  // After an update, the page names other files.
  expect(answer.headers!['cache-control']).toBe('no-cache')
})

test('other files are kept by the browser for good, because their names change with their content', () => {
  const answer = get('/assets/index-1a.js')
  expect(answer.type).toBe('text/javascript; charset=utf-8')
  expect(answer.headers!['cache-control']).toContain('immutable')
})

test.each([
  ['gzip, deflate, br', 'br', 'br'],
  ['gzip', 'gzip', 'gz'],
  ['GZIP;q=0.5, br;q=0', 'gzip', 'gz'],
  ['identity', undefined, 'script'],
  [undefined, undefined, 'script'],
])('Accept-Encoding %s: %s', (acceptEncoding, encoding, body) => {
  const answer = get('/assets/index-1a.js', { acceptEncoding })
  expect(answer.headers!['content-encoding']).toBe(encoding)
  expect(answer.headers!.vary).toBe('Accept-Encoding')
  expect(textOf(answer)).toBe(body)
})

test('what the browser has already is not sent again, in the same encoding', () => {
  const { etag } = get('/assets/index-1a.js', { acceptEncoding: 'br' }).headers!
  const again = get('/assets/index-1a.js', { acceptEncoding: 'br', ifNoneMatch: `"x", W/${etag}` })
  expect(again).toMatchObject({ status: 304, body: '' })
  expect(again.bytes).toBeUndefined()
  expect(get('/assets/index-1a.js', { acceptEncoding: 'gzip', ifNoneMatch: etag }).status).toBe(200)
})

test('without a build, / says so', () => {
  const answer = get('/', {}, [])
  expect(answer.body).toContain('npm run build')
  expect(answer.body.trim().split('\n')).toHaveLength(1)
})
