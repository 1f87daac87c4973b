import { expect, test } from 'vitest'
import { Holdings } from '../../../src/broker/holdings.ts'
import { OldestWaiting } from '../../../src/broker/oldest-waiting.ts'
import { Session } from '../../../src/broker/session.ts'
import { Publish } from '../../../src/mqtt/publish.ts'
import { bytes } from '../../broker/harness.ts'
import { connectClient, connectSensor, pass, TestApi } from '../harness.ts'
import { apiOf, listens, publisher, sleep, subscribed } from './reason-harness.ts'

const ageOf = (api: TestApi): number =>
  Number(/^roost_oldest_waiting_message_age_seconds (\d+)$/m.exec(api.ask('GET', '/metrics').body)?.[1])

test('when a session began, and since when a message waits; what an earlier process knew is left out', () => {
  const api = apiOf()
  pass(api, 10_000)
  const sensor = subscribed(api, connectSensor(api, 's'))
  sleep(api, sensor, 36_000)
  const publish = publisher(api)
  pass(api, 60_000)
  publish('site/valve', 'open')
  pass(api, 60_000)
  publish('site/valve', 'shut')
  pass(api, 60_000)
  const { body } = api.ask('GET', '/api/v1/clients/s')
  expect(body).toMatchObject({
    created: '2027-01-15T08:00:10Z',
    queue: {
      oldest: '2027-01-15T08:01:13Z',
      first: [{ accepted: '2027-01-15T08:01:13Z' }, { accepted: '2027-01-15T08:02:13Z' }],
    },
  })
  expect(ageOf(api)).toBe(120)
  api.world.crash()
  const again = new TestApi(api.world)
  const after = again.ask('GET', '/api/v1/clients/s').body
  expect(after).not.toHaveProperty('created')
  expect(after.queue).not.toHaveProperty('oldest')
  expect(after.queue.first[0]).not.toHaveProperty('accepted')
  expect(ageOf(again)).toBe(0)
  sensor.act((client, now) => client.wake(now))
  pass(again, 5000)
  expect(again.ask('GET', '/api/v1/clients/s').body.queue.messages).toBe(0)
})

test('a message in flight waits, too, and QoS 0 for a sensor that sleeps', () => {
  const api = apiOf()
  const client = listens(api, connectClient(api, 'c'))
  client.say = () => {}
  const publish = publisher(api)
  publish('site/valve')
  pass(api, 30_000)
  expect(ageOf(api)).toBe(30)
  const other = apiOf()
  const sensor = subscribed(other, connectSensor(other, 's'), 'site/valve', 0)
  sleep(other, sensor, 600)
  publisher(other)('site/valve')
  pass(other, 40_000)
  expect(ageOf(other)).toBe(40)
  sensor.act((each, now) => each.wake(now))
  pass(other, 5000)
  expect(ageOf(other)).toBe(0)
})

test('a retained message does not count as old because it was retained long ago', () => {
  const api = apiOf({}, { maxInflightMessages: 1 })
  publisher(api)('site/valve', 'x', { retain: true })
  pass(api, 3_600_000)
  const client = connectClient(api, 'c')
  const { say } = client
  client.act((mqtt, now) => mqtt.subscribe(now, [{ filter: 'site/#', qos: 1 }]))
  client.say = () => {}
  pass(api, 1000)
  client.say = say
  expect(api.ask('GET', '/api/v1/clients/c').body.in_flight.messages).toBe(1)
  expect(api.ask('GET', '/api/v1/clients/c').body.queue).not.toHaveProperty('oldest')
  expect(ageOf(api)).toBe(0)
})

test('among more sessions than one look examines, the oldest is found after a few, and then always', () => {
  const holdings = new Holdings()
  const sessions = Array.from({ length: 25_000 }, (_, i) => new Session('mqtt', `c${i}`, holdings))
  const waits = (at: number, second: number): void => {
    const message = Publish.of('t', bytes('x'))
    message.acceptedAt = second
    sessions[at]!.openQueue().push(message, true)
  }
  waits(5, 300)
  waits(22_000, 100)
  waits(15_000, 200)
  const oldest = new OldestWaiting({ at: (seat) => sessions[seat], end: sessions.length })
  expect([1, 2, 3, 4, 5].map(() => oldest.look())).toEqual([300, 200, 100, 100, 100])
  sessions[22_000]!.queue!.shift()
  expect([1, 2, 3].map(() => oldest.look()).at(-1)).toBe(200)
})
