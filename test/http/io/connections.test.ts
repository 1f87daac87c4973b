import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Notice } from '../../../src/base/notice.ts'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { plain, type Route } from '../../../src/http/exchange.ts'
import { CONNECTIONS_MAX, PIPELINED_MAX } from '../../../src/http/io/connections.ts'
import { HttpServer, type HttpServerOptions } from '../../../src/http/io/http-server.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'
import { Certificates } from '../../mqtt/io/certificates.ts'
import { testHost } from '../harness.ts'

let answered = 0
const LARGE = 'x'.repeat(4 * 1024 * 1024)
const ROUTES: readonly Route[] = [
  { method: 'GET', path: '/open', needs: undefined, always: true, answer: () => plain('ok') },
  {
    method: 'GET',
    path: '/large',
    needs: 'view',
    answer: () => {
      answered++
      return plain(LARGE)
    },
  },
  {
    method: 'GET',
    path: '/stream',
    needs: 'view',
    answer: () => ({ kind: 'stream', next: () => '', wake: () => {}, close: () => {} }),
  },
]

let dir: string
let server: HttpServer
let notices: Notice[]
const sockets: Socket[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-http-'))
  notices = []
  answered = 0
})
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await server.close()
  rmSync(dir, { recursive: true })
})

async function listen(more: Partial<HttpServerOptions> = {}, files: Partial<typeof DEFAULT_CONFIG> = {}): Promise<void> {
  const notice = (each: Notice): void => void notices.push(each)
  const users = new HttpUsers({ ...DEFAULT_CONFIG, ...files }, 'view', notice)
  const common = { host: '127.0.0.1', port: 0, names: [], routes: ROUTES, running: testHost() }
  server = await HttpServer.listen({ ...common, users, notice, ...more })
}

/** A connection that has sent this, and reads nothing. */
async function open(bytes = ''): Promise<Socket> {
  const socket = connect(server.port, '127.0.0.1')
  sockets.push(socket)
  socket.on('error', () => {})
  socket.pause()
  await once(socket, 'connect')
  if (bytes !== '') socket.write(bytes)
  return socket
}

const request = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`

/** Asks on a connection of its own; '' if it is closed without an answer. */
async function ask(path: string, more = ''): Promise<string> {
  const socket = await open(request(path, `${more}Connection: close\r\n`))
  return text(socket).catch(() => '')
}

const CROWD = CONNECTIONS_MAX + 10

describe('connections on which nothing is done for a known caller give way', () => {
  test.each([
    ['that send nothing', ''],
    ['with half a head', 'GET /open HTTP/1.1\r\nX: '],
    ['with half a body', 'POST /open HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx'],
    ['that are kept for another request', request('/open')],
  ])('those %s', async (_, bytes) => {
    await listen()
    for (let i = 0; i < CROWD; i++) await open(bytes)
    expect(await ask('/open')).toContain(' 200 ')
    expect(notices).toContainEqual({
      code: 'http-refused',
      level: 'info',
      peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      reason: `of ${CONNECTIONS_MAX} connections it has done nothing for the longest time`,
    })
  })

  test('those that send requests without a login', async () => {
    const tokens = join(dir, 'tokens')
    writeFileSync(tokens, `view ${'v'.repeat(32)}\n`, { mode: 0o600 })
    await listen({}, { httpTokenFile: tokens })
    for (let i = 0; i < CROWD; i++) await open(request('/large'))
    expect(await ask('/large', `Authorization: Bearer ${'v'.repeat(32)}\r\n`)).toContain(' 200 ')
    expect(answered).toBe(1)
  })

  test('those whose TLS handshake does not begin', async () => {
    const certificates = new Certificates()
    onTestFinished(() => certificates.remove())
    await listen({ tls: certificates.issue('server', '/CN=localhost', 'server') })
    for (let i = 0; i < CROWD; i++) await open()
    const socket = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false })
    sockets.push(socket)
    socket.write(request('/open', 'Connection: close\r\n'))
    expect(await text(socket)).toContain(' 200 ')
  })

  test('those of the address that has most of them', async () => {
    await listen()
    const other = connect({ port: server.port, host: '127.0.0.1', localAddress: '127.0.0.2' })
    sockets.push(other)
    await once(other, 'connect')
    for (let i = 0; i < CROWD; i++) await open()
    other.write(request('/open', 'Connection: close\r\n'))
    expect(await text(other)).toContain(' 200 ')
  })

  test('but not streams, nor answers on their way', async () => {
    await listen()
    const stream = await open(request('/stream'))
    const reader = await open(request('/large', 'Connection: close\r\n'))
    await vi.waitFor(() => expect([server.streamCount, answered]).toEqual([1, 1]))
    for (let i = 0; i < CROWD; i++) await open()
    expect((await text(reader)).length).toBeGreaterThan(LARGE.length)
    expect(stream.destroyed).toBe(false)
    expect(server.streamCount).toBe(1)
  })

  test('and if all are in use, the next one is refused', async () => {
    await listen({ routes: [...ROUTES, { ...ROUTES[1]!, path: '/waits', answer: waits }] })
    for (let i = 0; i < CONNECTIONS_MAX; i++) await open(request('/waits'))
    await vi.waitFor(() => expect(answered).toBe(CONNECTIONS_MAX))
    expect(await ask('/open')).toBe('')
    expect(notices).toMatchObject([{ code: 'http-refused', reason: `${CONNECTIONS_MAX} connections are in use` }])
  })
})

/** A route that never ends. */
function* waits(): Generator<{ kind: 'room' }, never> {
  answered++
  for (;;) yield { kind: 'room' }
}

test('a connection that sends many requests before the first is answered is closed', async () => {
  await listen()
  await open(request('/large').repeat(1000))
  await vi.waitFor(() => expect(notices.map(({ reason }) => reason)).toContain(TOO_MANY))
  expect(await ask('/open')).toContain(' 200 ')
  expect(answered).toBeLessThanOrEqual(PIPELINED_MAX + 1)
  expect(notices.length).toBe(1)
  const few = await open(request('/open').repeat(PIPELINED_MAX - 1) + request('/open', 'Connection: close\r\n'))
  expect((await text(few)).split('HTTP/1.1 200').length - 1).toBe(PIPELINED_MAX)
})

const TOO_MANY = `more than ${PIPELINED_MAX} requests on a connection before the first is answered`

test('answers that nobody reads are counted, and only so many are made', async () => {
  await listen()
  const readers: Socket[] = []
  for (let i = 0; i < 20; i++) readers.push(await open(request('/large')))
  await vi.waitFor(() => expect(server.outputBytes).toBeGreaterThan(32 * 1024 * 1024))
  expect(await ask('/large')).toContain(' 503 ')
  expect(await ask('/open')).toContain(' 200 ')
  expect(answered).toBeLessThan(15)
  for (const reader of readers) reader.destroy()
  await vi.waitFor(() => expect(server.outputBytes).toBe(0))
  expect(await ask('/large')).toContain(' 200 ')
})

test.each([
  ['head', 'GET /open HTTP/1.1\r\nX: '],
  ['body', 'POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx'],
])('a %s that does not end is given up', async (_, bytes) => {
  await listen({ requestMs: 100 })
  const socket = await open(bytes)
  socket.resume()
  await once(socket, 'close')
})
