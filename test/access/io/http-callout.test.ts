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

test('a password that is no UTF-8 comes as it is, in base64: no two are the same to the service', async () => {
  const seen: { password: unknown; password_base64?: unknown }[] = []
  handle = (_, response, body) => {
    seen.push(JSON.parse(body))
    response.end()
  }
  const passwords = [[0xff], [0xfe], [0x61, 0xc3], [0xed, 0xa0, 0x80], [0xc3, 0xa9], [0xef, 0xbb, 0xbf, 0x61], [0]]
  for (const bytes of passwords) await ask({ password: Uint8Array.from(bytes) })
  const told = seen.map(({ password, password_base64 }) => [password, password_base64])
  expect(told).toEqual([
    ...passwords.slice(0, 4).map((bytes) => [null, Buffer.from(bytes).toString('base64')]),
    ...['é', '\ufeffa', '\0'].map((text) => [text, undefined]),
  ])
})

test('a user name and a password in the URL are sent as HTTP Basic, and told to nobody', async () => {
  const seen: unknown[] = []
  handle = ({ headers, url: path }, response) => {
    seen.push([headers.authorization, path])
    response.end()
  }
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`
  for (const credentials of ['roost:s%3Acret', 'roost', ':only', 'a:100%'])
    expect(await new HttpCallout(url.replace('//', `//${credentials}@`), 5).ask(REQUEST, STAYS)).toEqual(ALLOWED)
  expect(seen).toEqual(['roost:s:cret', 'roost:', ':only', 'a:100%'].map((text) => [basic(text), '/auth']))
  server.close()
  server.closeAllConnections()
  const failed = await new HttpCallout(url.replace('//', '//roost:s%3Acret@'), 5).ask(REQUEST, STAYS)
  expect(JSON.stringify(failed)).not.toMatch(/cret|roost/)
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
    [429, '', 'answered with status 429'],
    [413, '', 'answered with status 413'],
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

  test.each([200, 500, 403])('an answer of status %i without an end is not read to its end', async (status) => {
    let sent = 0
    const closed = new Promise((resolve) => {
      handle = (_, response) => {
        const pump = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536, ' '))) sent += 65_536
          if (!response.destroyed) response.once('drain', pump)
        }
        response.once('close', resolve).writeHead(status)
        pump()
      }
    })
    expect((await ask({}, 60)).kind).toBe(status === 403 ? 'deny' : 'failed')
    await closed
    // What the sockets take beyond it differs.
    expect(sent).toBeLessThan(16 * 1024 * 1024)
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
