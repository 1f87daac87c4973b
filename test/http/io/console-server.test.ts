import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { consoleRoutes } from '../../../src/http/console.ts'
import { HttpServer } from '../../../src/http/io/http-server.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'
import { TestApi, testHost } from '../harness.ts'

let server: HttpServer
beforeEach(async () => {
  const files = [
    { name: 'index.html', bytes: Buffer.from('<p>the page</p>'), hash: 'h1' },
    { name: 'assets/a-1.js', bytes: Buffer.from('1'), gzip: Buffer.from([31, 139]), hash: 'h2' },
  ]
  server = await HttpServer.listen({
    host: '127.0.0.1',
    port: 0,
    names: [],
    users: new HttpUsers(DEFAULT_CONFIG, 'manage'),
    routes: [...new TestApi().routes, ...consoleRoutes(files)],
    running: testHost(),
    notice: () => {},
  })
})
afterEach(() => server.close())

/** As a browser sends it: fetch() of Node.js does not let headers about itself be set. */
async function get(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const asked = request({ host: '127.0.0.1', port: server.port, path, headers, agent: false }).end()
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  answer.resume()
  return answer
}

test('the page has its own policy, and no page may show it in a frame', async () => {
  const { statusCode, headers } = await get('/')
  expect(statusCode).toBe(200)
  expect(headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'content-length': '15',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  })
  expect(headers['content-security-policy']).toMatch(/script-src 'self'.*frame-ancestors 'none'/)
})

test('what the browser has is not sent again', async () => {
  const gzip = { 'accept-encoding': 'gzip' }
  const { headers } = await get('/assets/a-1.js', gzip)
  expect(headers).toMatchObject({ 'content-encoding': 'gzip', 'content-length': '2' })
  expect((await get('/assets/a-1.js', { ...gzip, 'if-none-match': headers.etag! })).statusCode).toBe(304)
})

const LINK = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }

test('a link on a page of another site opens the console, and nothing else', async () => {
  expect((await get('/', LINK)).statusCode).toBe(200)
  expect((await get('/api/v1/overview', LINK)).statusCode).toBe(403)
  expect((await get('/', { ...LINK, 'sec-fetch-dest': 'iframe' })).statusCode).toBe(403)
  expect((await get('/', { ...LINK, 'sec-fetch-mode': 'no-cors' })).statusCode).toBe(403)
})
