import { connect } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DEFAULT_CONFIG } from '../src/config/config.ts'
import { isStream, isWork, type Route } from '../src/http/exchange.ts'
import { HttpServer } from '../src/http/io/http-server.ts'
import { HttpUsers } from '../src/http/io/http-users.ts'
import { expectDescribed, isPassedOn } from '../test/http/api/harness.ts'
import { connectClient, connectSensor, pass, TestApi } from '../test/http/harness.ts'
import { runs } from './runs.ts'

/** A site with some of everything that the routes look at. */
function site(): TestApi {
  const api = new TestApi()
  const archive = connectClient(api, 'archive', { username: 'eva' })
  archive.act((client, now) => client.subscribe(now, [{ filter: 'site/#', qos: 1 }]))
  connectClient(api, 'a/ü%')
  connectClient(api, 'twin')
  const sensor = connectSensor(api, 'twin')
  sensor.act((client, now) => client.subscribe(now, 'site/valve', 1))
  connectSensor(api, 'asleep').act((client, now) => client.sleep(now, 60))
  pass(api, 1000)
  return api
}

const odd = fc.oneof(
  fc.constantFrom(
    '',
    '0',
    '1',
    '1000',
    '-1',
    '1e9',
    'NaN',
    'c0-',
    's1-',
    '__proto__',
    'constructor',
    'toString',
    'asleep',
    'connected',
    'mqtt',
    'mqtt-sn',
    'client-lost',
    'true',
    '#',
    '+/+',
    'site/#',
    'site/valve',
    'YQ',
    'YQ.1',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
)
const id = fc.oneof(
  fc.constantFrom('archive', 'mqtt:archive', 'twin', 'sn:twin', 'sn:asleep', 'a/ü%', 'mqtt:', 'sn:', 'site/valve', 'a'),
  odd,
)
const query = fc.dictionary(
  fc.oneof(
    fc.constantFrom('q', 'state', 'port', 'protocol', 'cursor', 'limit', 'code', 'client', 'filter', 'level', 'dry_run'),
    odd,
  ),
  odd,
  { maxKeys: 3 },
)

/** What POST takes, with oddities that its schema lets pass. */
const message = fc.record(
  {
    topic: fc.oneof(fc.constantFrom('site/valve', 'site/a', 'a', '$SYS/x', 'a/#'), odd),
    payload: odd,
    payload_base64: fc.constantFrom('', 'eA==', 'x'),
    qos: fc.constantFrom(0, 1, 2),
    retain: fc.boolean(),
    expiry: fc.constantFrom(1, 4_294_967_295),
    properties: fc.record(
      { content_type: odd, response_topic: odd, correlation_data: fc.constant('eA==') },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: ['topic'] },
)

test('no request, whatever is in it, is a fault of ours', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          route: fc.nat(),
          id,
          query,
          body: fc.oneof(fc.anything(), message),
          lastEventId: fc.option(odd),
          manage: fc.boolean(),
        }),
        {
          maxLength: 12,
        },
      ),
      (requests) => {
        const api = site()
        for (const { route: number, id, query, body, lastEventId, manage } of requests) {
          const route = api.routes[number % api.routes.length]!
          if (route.needs === 'manage' && !manage) continue
          const params = route.path.includes(':') ? { [/:(\w+)/.exec(route.path)![1]!]: id } : {}
          ask(api, route, { params, query, body, lastEventId: lastEventId ?? undefined, role: manage ? 'manage' : 'view' })
        }
      },
    ),
    runs(200),
  )
})

type Given = Pick<Parameters<Route['answer']>[0], 'params' | 'query' | 'body' | 'lastEventId' | 'role'>

function ask(api: TestApi, route: Route, given: Given): void {
  const { schedule } = api.world
  if (!isPassedOn(route, given.query, given.body)) return
  const answer = route.answer({ ...given, now: schedule.now, user: undefined, csrfToken: 'csrf' })
  if (!isWork(answer) && isStream(answer)) {
    for (let text = answer.next(); text !== ''; text = answer.next()) expect(text.length).toBeGreaterThan(0)
    answer.close()
    return
  }
  const response = isWork(answer) ? api.finish(() => answer.next(schedule.now)).response : answer
  expect([200, 204, 400, 403, 404, 409, 503]).toContain(response.status)
  expectDescribed(route, response)
  if (response.type.includes('json')) JSON.parse(response.body)
}

const line = fc
  .tuple(
    fc.constantFrom('GET', 'POST', 'DELETE', 'PUT', 'HEAD', 'OPTIONS', 'BREW', ''),
    fc.oneof(
      fc.constantFrom(
        '/api/v1/clients',
        '/api/v1/clients/%zz',
        '/api/v1/clients/a%2Fb/disconnect',
        '/api/v1/events',
        '/api/v1/publish',
        '/api/v1/retained?filter=%23',
        '/metrics',
        '//',
        '*',
      ),
      odd.map((text) => `/api/v1/clients/${encodeURIComponent(text)}?q=${text}`),
    ),
    fc.constantFrom('HTTP/1.1', 'HTTP/1.0', 'HTTP/9', ''),
  )
  .map((parts) => parts.join(' '))
const head = fc.array(
  fc.oneof(
    fc.constantFrom(
      'Host: localhost',
      'Content-Type: application/json',
      'Authorization: Basic ===',
      'Authorization: Bearer',
      'Origin: null',
    ),
    fc.constantFrom(
      'Transfer-Encoding: chunked',
      'Content-Length: 5',
      'Last-Event-ID: 1-',
      'X-CSRF-Token: x',
      'Expect: 100-continue',
    ),
    fc.string({ maxLength: 20 }),
  ),
  { maxLength: 4 },
)

test('nor is anything that is sent to its port', async () => {
  const api = site()
  const faults: string[] = []
  const server = await HttpServer.listen({
    host: '127.0.0.1',
    port: 0,
    names: [],
    users: new HttpUsers(DEFAULT_CONFIG, 'manage'),
    routes: api.routes,
    running: {
      notReady: undefined,
      run: (step) => step(api.world.schedule.now),
      durable: async () => true,
      reload: async () => ({ warnings: [] }),
      changeAccount: async () => ({ outcome: 'set' }),
    },
    notice: ({ code, reason }) => code === 'http-failed' && faults.push(reason ?? ''),
  })
  try {
    await fc.assert(
      fc.asyncProperty(line, head, fc.oneof(fc.json(), fc.string()), async (request, headers, body) => {
        const answer = await say(server.port, `${[request, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n${body}`)
        expect(answer).not.toMatch(/^HTTP\/1.1 500/)
        expect(faults).toEqual([])
      }),
      runs(60),
    )
    expect(await say(server.port, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')).toContain(' 200 ')
  } finally {
    await server.close()
  }
})

/** Sends everything at once, and returns the beginning of the answer; '' if there is none, as to half a request. */
async function say(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  try {
    return await new Promise((resolve) => {
      socket.on('error', () => resolve(''))
      socket.on('close', () => resolve(''))
      socket.on('data', (data) => resolve(data.toString()))
      socket.end(text)
    })
  } finally {
    socket.destroy()
  }
}
