import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type CalloutAnswer, HttpCallout } from '../../../src/access/io/http-callout.ts'
import type { AuthRequest } from '../../../src/broker/access.ts'

const REQUEST: AuthRequest = {
  link: 1,
  step: 1,
  info: { kind: 'mqtt', peer: '192.0.2.1:7', listener: 'mqtt-1883' },
  clientId: 'c1',
  username: 'alice',
  password: Buffer.from('secret'),
  method: undefined,
  data: undefined,
  again: false,
}
const STAYS = new AbortController().signal

let server: Server
let url: string
let handle: (request: IncomingMessage, response: ServerResponse, body: string) => void
beforeEach(async () => {
  server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    handle(request, response, body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth`
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

const answering = (status: number, body = '', headers: Record<string, string> = {}): void => {
  handle = (_, response) => response.writeHead(status, headers).end(body)
}
const ask = (request: Partial<AuthRequest> = {}, timeout = 5, signal = STAYS): Promise<CalloutAnswer> =>
  new HttpCallout(url, timeout).ask({ ...REQUEST, ...request }, signal)
const ALLOWED = { kind: 'allow', publish: undefined, subscribe: undefined, validSeconds: undefined }

test('the service is told who asks, and what the client has shown', async () => {
  const seen: unknown[] = []
  handle = ({ method, url, headers }, response, body) => {
    seen.push([method, url, headers['content-type'], JSON.parse(body)])
    response.end()
  }
  expect(await ask()).toEqual(ALLOWED)
  expect(await ask({ username: undefined, password: undefined, clientId: '' })).toEqual(ALLOWED)
  const where = { peer: '192.0.2.1:7', listener: 'mqtt-1883' }
  expect(seen).toEqual([
    ['POST', '/auth', 'application/json', { username: 'alice', password: 'secret', client_id: 'c1', ...where }],
    ['POST', '/auth', 'application/json', { username: null, password: null, client_id: '', ...where }],
  ])
})

describe('lets in', () => {
  test.each<[number, string, object]>([
    [200, '', {}],
    [204, '', {}],
    [200, ' \n', {}],
    [200, '{"result":"allow"}', {}],
    [201, '{"result":"allow","more":1}', {}],
    [200, '{"result":"allow","publish":["a/%c"],"subscribe":[]}', { publish: ['a/%c'], subscribe: [] }],
    [200, '{"result":"allow","expires_in":60.5}', { validSeconds: 60.5 }],
  ])('%i %s', async (status, body, more) => {
    answering(status, body)
    expect(await ask()).toEqual({ ...ALLOWED, ...more })
  })
})

describe('lets nobody in', () => {
  test.each([
    [401, ''],
    [403, '{"result":"allow"}'],
    [404, ''],
    [200, '{"result":"deny"}'],
    [200, '{"result":"deny","publish":["#"]}'],
  ])('%i %s is a denial', async (status, body) => {
    answering(status, body)
    expect(await ask()).toEqual({ kind: 'deny' })
  })

  test.each([
    [500, '{"result":"allow"}', 'answered with status 500'],
    [503, '', 'answered with status 503'],
    [200, '<html>', 'is not JSON'],
    [200, '{"result":"allow"', 'is not JSON'],
    [200, 'true', 'is no JSON object'],
    [200, 'null', 'is no JSON object'],
    [200, '{}', 'neither allow nor deny'],
    [200, '[]', 'neither allow nor deny'],
    [200, '{"Ok":false,"Error":"no"}', 'neither allow nor deny'],
    [200, '{"result":"ALLOW"}', 'neither allow nor deny'],
    [200, '{"result":true}', 'neither allow nor deny'],
    [200, '{"result":"allow","publish":"#"}', 'lists of filters'],
    [200, '{"result":"allow","subscribe":[1]}', 'lists of filters'],
    [200, '{"result":"allow","subscribe":["a/#/b"]}', 'lists of filters'],
    [200, '{"result":"allow","expires_in":-1}', 'no number of seconds'],
    [200, '{"result":"allow","expires_in":"60"}', 'no number of seconds'],
    [200, 'x'.repeat(70_000), 'more than 65536 bytes'],
  ])('%i %.40s makes no sense', async (status, body, reason) => {
    answering(status, body)
    expect(await ask()).toEqual({ kind: 'failed', reason: expect.stringContaining(reason) })
  })

  test('a redirect is not followed: where credentials go is for the configuration to say', async () => {
    let asked = 0
    handle = (_, response) => {
      asked++
      response.writeHead(asked === 1 ? 307 : 200, { location: '/elsewhere' }).end()
    }
    expect(await ask()).toMatchObject({ kind: 'failed' })
    expect(asked).toBe(1)
  })

  test('no answer in time, and one that never ends', async () => {
    handle = () => {}
    expect(await ask({}, 0.1)).toEqual({ kind: 'failed', reason: 'the HTTP service: no answer within 100 ms' })
    handle = (_, response) => response.writeHead(200).write(' ')
    expect(await ask({}, 0.1)).toMatchObject({ kind: 'failed' })
  })

  test('nobody there, and a connection that breaks', async () => {
    handle = (_, response) => response.destroy()
    expect(await ask()).toMatchObject({ kind: 'failed' })
    server.close()
    server.closeAllConnections()
    expect(await ask()).toEqual({ kind: 'failed', reason: expect.stringContaining('ECONNREFUSED') })
  })
})

test('a client that has gone is asked about no longer', async () => {
  const gone = new AbortController()
  const closed = new Promise((resolve) => {
    handle = (request) => {
      request.socket.once('close', resolve)
      gone.abort()
    }
  })
  expect(await ask({}, 60, gone.signal)).toMatchObject({ kind: 'failed' })
  await closed
})

test('so many are asked about at once and no more; those who left while they waited not at all', async () => {
  let open = 0
  let most = 0
  const held: ServerResponse[] = []
  handle = (_, response) => {
    open++
    most = Math.max(most, open)
    held.push(response)
    response.once('close', () => open--)
    if (held.length === 50) for (const each of held) each.end()
    if (held.length > 50) response.end()
  }
  const callout = new HttpCallout(url, 60)
  const gone = new AbortController()
  const stay = Array.from({ length: 60 }, () => callout.ask(REQUEST, STAYS))
  const left = Array.from({ length: 20 }, () => callout.ask(REQUEST, gone.signal))
  gone.abort()
  expect((await Promise.all(stay)).every(({ kind }) => kind === 'allow')).toBe(true)
  expect((await Promise.all(left)).every(({ kind }) => kind === 'failed')).toBe(true)
  expect(most).toBeLessThanOrEqual(50)
  expect(held).toHaveLength(60)
})
