import { describe, expect, test, vi } from 'vitest'
import { Seats } from '../../../src/base/seats.ts'
import { ENTRIES_PER_TURN } from '../../../src/http/exchange.ts'
import { NO_PROPERTIES } from '../../../src/mqtt/properties.ts'
import { connectClient, connectSensor, pass, TestApi } from '../harness.ts'

const ids = (body: { clients: { id: string }[] }): string[] => body.clients.map(({ id }) => id)

describe('what is listed', () => {
  test('clients and sensors, with what is known of each, and nothing else', () => {
    const api = new TestApi()
    connectClient(api, 'archive', { username: 'eva' })
    const asleep = connectSensor(api, 'sensor-7')
    asleep.act((client, now) => client.sleep(now, 60))
    pass(api, 1000)
    const gone = connectClient(api, 'gone')
    gone.act((client, now) => client.disconnect(now))
    pass(api, 100)
    const { status, body } = api.ask('GET', '/api/v1/clients')
    expect(status).toBe(200)
    expect(body).toEqual({
      clients: [
        {
          id: 'mqtt:archive',
          client_id: 'archive',
          protocol: 'mqtt',
          state: 'connected',
          since: '2027-01-15T08:00:00Z',
          last_heard: '2027-01-15T08:00:00Z',
          user: 'eva',
          port: 'mqtt',
          address: 'tcp:1',
          subscription_count: 0,
          waiting_messages: 0,
          waiting_bytes: 0,
        },
        {
          id: 'sn:sensor-7',
          client_id: 'sensor-7',
          protocol: 'mqtt-sn',
          state: 'asleep',
          since: '2027-01-15T08:00:01Z',
          last_heard: '2027-01-15T08:00:01Z',
          sleep_seconds: 60,
          next_wake: '2027-01-15T08:01:01Z',
          port: 'sn',
          address: 'sensor:1',
          subscription_count: 0,
          waiting_messages: 0,
          waiting_bytes: 0,
        },
        {
          id: 'mqtt:gone',
          client_id: 'gone',
          protocol: 'mqtt',
          state: 'disconnected',
          since: '2027-01-15T08:00:02Z',
          port: 'mqtt',
          subscription_count: 0,
          waiting_messages: 0,
          waiting_bytes: 0,
        },
      ],
    })
  })

  test('a sensor whose session has ended is listed as long as the gateway knows it', () => {
    const api = new TestApi()
    const clean = api.world.addSensor({ clientId: 'clean', cleanSession: true })
    clean.act((client, now) => client.connect(now))
    pass(api, 1000)
    expect(ids(api.ask('GET', '/api/v1/clients').body)).toEqual(['sn:clean'])
    clean.act((client, now) => client.disconnect(now))
    while (api.server.broker.sessions.size > 0) pass(api, 1000)
    expect(api.ask('GET', '/api/v1/clients').body.clients).toMatchObject([{ id: 'sn:clean', state: 'disconnected' }])
    pass(api, 60_000)
    expect(api.ask('GET', '/api/v1/clients').body).toEqual({ clients: [] })
  })

  test('a client that has not come back since the start of Roost', () => {
    const api = new TestApi()
    connectClient(api, 'archive', { username: 'eva' })
    pass(api, 1000)
    api.world.crash()
    expect(new TestApi(api.world).ask('GET', '/api/v1/clients').body.clients).toMatchObject([
      { id: 'mqtt:archive', state: 'disconnected', user: 'eva', port: 'mqtt' },
    ])
  })
})

describe('what is asked for', () => {
  const api = new TestApi()
  connectClient(api, 'Archive-1', { username: 'eva' })
  connectClient(api, 'archive-2')
  connectSensor(api, 'sensor-7')
  connectSensor(api, 'sensor-8').act((client, now) => client.sleep(now, 600))
  pass(api, 1000)

  test.each([
    ['q=archive', ['mqtt:Archive-1', 'mqtt:archive-2']],
    ['q=EVA', ['mqtt:Archive-1']],
    ['q=-7', ['sn:sensor-7']],
    ['q=', ['mqtt:Archive-1', 'mqtt:archive-2', 'sn:sensor-7', 'sn:sensor-8']],
    ['q=mqtt:', []],
    ['state=connected', ['mqtt:Archive-1', 'mqtt:archive-2']],
    ['state=asleep', ['sn:sensor-8']],
    ['state=lost', []],
    ['protocol=mqtt-sn', ['sn:sensor-7', 'sn:sensor-8']],
    ['protocol=mqtt&q=2', ['mqtt:archive-2']],
    ['port=sn', ['sn:sensor-7', 'sn:sensor-8']],
    ['port=mqtt', ['mqtt:Archive-1', 'mqtt:archive-2']],
    ['port=none', []],
  ])('%s', (query, expected) => {
    expect(ids(api.ask('GET', `/api/v1/clients?${query}`).body)).toEqual(expected)
  })

  test.each([
    'limit=0',
    'limit=1001',
    'limit=-1',
    'limit=1e3',
    'limit=',
    'limit=x',
    'state=happy',
    'state=',
    'protocol=http',
    'cursor=',
    'cursor=c1',
    'cursor=c1-',
    'cursor=c99999999999-x',
    'cursor=__proto__',
    'colour=red',
    '__proto__=1',
  ])('%s is 400', (query) => {
    expect(api.ask('GET', `/api/v1/clients?${query}`)).toMatchObject({
      status: 400,
      body: { title: 'Bad Request', detail: expect.stringContaining(query.split('=')[0]!) },
    })
  })

  test('a cursor of the process before a restart', () => {
    const { cursor } = api.ask('GET', '/api/v1/clients?limit=1').body
    expect(api.ask('GET', `/api/v1/clients?cursor=${cursor}`).status).toBe(200)
    expect(api.ask('GET', `/api/v1/clients?cursor=${cursor}x`).status).toBe(400)
  })
})

function pages(api: TestApi, query: string, between: (page: number) => void = () => {}): string[] {
  const found: string[] = []
  let cursor: string | undefined
  for (let page = 0; page === 0 || cursor !== undefined; page++) {
    const { body } = api.ask('GET', `/api/v1/clients?${query}${cursor === undefined ? '' : `&cursor=${cursor}`}`)
    found.push(...ids(body))
    cursor = body.cursor
    between(page)
  }
  return found
}

describe('pages', () => {
  test('together they are the list', () => {
    const api = new TestApi()
    for (let i = 0; i < 5; i++) connectClient(api, `c${i}`)
    for (let i = 0; i < 4; i++) connectSensor(api, `s${i}`)
    const all = ids(api.ask('GET', '/api/v1/clients').body)
    expect(all).toHaveLength(9)
    for (const limit of [1, 2, 3, 8, 9, 10]) expect(pages(api, `limit=${limit}`)).toEqual(all)
  })

  test('whoever is there all the time is listed once, whatever comes and goes between two pages', () => {
    const api = new TestApi()
    const clients = Array.from({ length: 12 }, (_, i) => connectClient(api, `c${i}`, { properties: NO_PROPERTIES }))
    const found = pages(api, 'limit=3', (page) => {
      clients[page]?.act((client, now) => client.disconnect(now))
      pass(api, 100)
      connectClient(api, `new${page}`)
    })
    const stayed = Array.from({ length: 12 }, (_, i) => `mqtt:c${i}`).slice(5)
    for (const id of stayed) expect(found.filter((each) => each === id)).toEqual([id])
    expect(new Set(found).size).toBe(found.length)
  })
})

const COUNT = 100_000

/** Sessions of absent clients, as after a restart. */
function manySessions(api: TestApi): void {
  const { broker } = api.server
  const owner = { username: undefined, listener: 'mqtt', verified: false }
  for (let i = 0; i < COUNT; i++)
    broker.apply({ type: 'session', key: `mqtt:client-${i}`, expirySeconds: 3600, will: null, owner })
  broker.recover(api.world.schedule.now)
}

test('100,000 sessions: a turn examines a thousand of them, and pages are found by their cursor', () => {
  const api = new TestApi()
  manySessions(api)
  const looks = vi.spyOn(Seats.prototype, 'at')
  let most = 0
  const betweenTurns = (): void => {
    most = Math.max(most, looks.mock.calls.length)
    looks.mockClear()
  }
  api.betweenTurns = betweenTurns
  try {
    const { body, turns } = api.ask('GET', '/api/v1/clients?q=99999')
    betweenTurns()
    expect(ids(body)).toEqual(['mqtt:client-99999'])
    expect(turns).toBe(COUNT / ENTRIES_PER_TURN)
    expect(most).toBe(ENTRIES_PER_TURN)

    looks.mockClear()
    const { cursor } = api.ask('GET', '/api/v1/clients?limit=1000').body
    looks.mockClear()
    expect(api.ask('GET', `/api/v1/clients?limit=10&cursor=${cursor}`).body.clients).toHaveLength(10)
    expect(looks).toHaveBeenCalledTimes(10)
  } finally {
    looks.mockRestore()
  }
  expect(new Set(pages(api, 'limit=1000')).size).toBe(COUNT)
})

test('figures, for those who want them: the day of a sensor is 96 letters', () => {
  const api = new TestApi()
  connectSensor(api, 'sensor-7').act((client, now) => client.sleep(now, 36_000))
  pass(api, 2 * 3_600_000)
  connectClient(api, 'archive')
  const list = (query: string) => api.ask('GET', `/api/v1/clients?${query}`).body.clients
  for (const each of list('figures=false')) expect(each).not.toHaveProperty('counters')
  const sensor = list('figures=true').find(({ id }: { id: string }) => id === 'sn:sensor-7')
  expect(sensor.day).toBe(`${'-'.repeat(87)}${'s'.repeat(9)}`)
  expect(sensor.counters).toMatchObject({ messages_received: 0, wakes: 0, retransmissions: 0 })
  const words = { s: 'asleep', '-': 'unknown' } as const
  const { last_day: day } = api.ask('GET', '/api/v1/clients/sensor-7').body
  expect(Array.from(sensor.day as string, (letter) => words[letter as 's'])).toEqual(day)
  expect(api.ask('GET', '/api/v1/clients?figures=yes').status).toBe(400)
})
