import { expect, test } from 'vitest'
import { connectClient, connectSensor, pass, TestApi } from '../harness.ts'
import { apiOf, listens, publisher } from './reason-harness.ts'

const counters = (api: TestApi, id: string) => api.ask('GET', `/api/v1/clients/${id}`).body.counters

test('counters of an MQTT client last as long as its session, beyond a connection', () => {
  const api = apiOf()
  const client = listens(api, connectClient(api, 'c'))
  const publish = publisher(api)
  publish('site/valve', 'open')
  const first = counters(api, 'c')
  // CONNECT counts, too.
  expect(first).toMatchObject({ messages_received: 0, messages_sent: 1, retransmissions: 0, dropped: 0, refused: 0 })
  expect(first).not.toHaveProperty('wakes')
  expect(counters(api, 'from')).toMatchObject({ messages_received: 1, messages_sent: 0 })
  // What it does not acknowledge comes again on its next connection.
  const { say } = client
  client.say = () => {}
  publish('site/valve', 'shut')
  client.say = say
  client.breakStream()
  pass(api, 100)
  const away = counters(api, 'c')
  expect(away).toMatchObject({ messages_sent: 2, bytes_received: first.bytes_received })
  client.connect()
  pass(api, 100)
  const back = counters(api, 'c')
  expect(back).toMatchObject({ messages_sent: 3, retransmissions: 1 })
  expect(back.bytes_received).toBeGreaterThan(away.bytes_received)
  const { traffic } = api.server.connections
  expect(back.bytes_sent + counters(api, 'from').bytes_sent).toBe(traffic.bytesSent)
  expect(back.bytes_received + counters(api, 'from').bytes_received).toBe(traffic.bytesReceived)
})

test('what was dropped and refused', () => {
  const api = apiOf({}, { maxQueuedMessages: 1, messageSizeLimit: 10 })
  const client = listens(api, connectClient(api, 'c'))
  client.act((mqtt, now) => mqtt.disconnect(now))
  pass(api, 100)
  const publish = publisher(api)
  for (let i = 0; i < 3; i++) publish('site/valve')
  publish('site/valve', 'x'.repeat(11))
  expect(counters(api, 'c')).toMatchObject({ dropped: 2, refused: 0 })
  expect(counters(api, 'from')).toMatchObject({ dropped: 0, refused: 1 })
  expect(api.ask('GET', '/api/v1/clients?figures=true&q=c').body.clients).toMatchObject([{ counters: { dropped: 2 } }])
})

test('a takeover, and a session that ends', () => {
  const api = apiOf()
  connectClient(api, 'c')
  connectClient(api, 'c')
  expect(counters(api, 'c').bytes_sent).toBeGreaterThan(0)
  const clean = connectClient(api, 'c', { cleanStart: true })
  const { bytes_received: bytes } = counters(api, 'c')
  expect(bytes).toBeLessThan(60)
  clean.breakStream()
  pass(api, 3_700_000)
  expect(api.server.clientFigures?.bytes).toBe(0)
})

test('topic ids in use: through sleep, restart and the end of sessions', () => {
  const api = new TestApi()
  const total = () => Number(/^roost_sensor_topic_ids (\d+)$/m.exec(api.ask('GET', '/metrics').body)?.[1])
  const { world } = api
  expect(total()).toBe(0)
  const sensors = ['s1', 's2', 's3'].map((id) => connectSensor(api, id))
  for (const [i, sensor] of sensors.entries())
    for (let topic = 0; topic <= i; topic++) {
      sensor.act((client, now) => client.register(now, `site/${topic}`))
      pass(api, 1000)
    }
  expect(total()).toBe(6)
  for (const sensor of sensors) sensor.act((client, now) => client.sleep(now, 600))
  pass(api, 1000)
  expect(api.server.gateway.clientsAtRest).toBe(3)
  expect(total()).toBe(6)
  for (let i = 0; i < 3; i++) {
    sensors[2]!.act((client, now) => client.wake(now))
    pass(api, 1000)
  }
  expect(total()).toBe(6)
  world.crash()
  const again = new TestApi(world)
  const after = () => world.server.gateway.topicIdTotals.count
  expect(after()).toBe(6)
  sensors[2]!.act((client, now) => client.wake(now))
  pass(again, 1000)
  expect(after()).toBe(6)
  again.ask('DELETE', '/api/v1/clients/s3')
  expect(after()).toBe(3)
  for (const id of ['s1', 's2']) again.ask('DELETE', `/api/v1/clients/${id}`)
  expect(after()).toBe(0)
})
