import { expect, test } from 'vitest'
import { detailLines } from '../../../src/cli/http/client-detail.ts'
import { clientTable, sensorTable } from '../../../src/cli/http/client-table.ts'
import { clientDetail, sensorEntry, summaryOf } from '../../../src/http/api/client-json.ts'
import { clientRoutes } from '../../../src/http/api/clients.ts'
import { say } from '../../gateway/harness.ts'
import { connected, R, type SensorWorld } from '../../upstream/sensors/sensor-world.ts'
import { expectDescribed } from './harness.ts'

const EPOCH = 1_800_000_000_000

const STATUS = { notReady: () => undefined }

function entryOf(world: SensorWorld) {
  return sensorEntry(world.server.gateway.sensors.get('valve')!, undefined)
}

// biome-ignore lint/suspicious/noExplicitAny: the tests look into it.
const asJson = (value: object): any => JSON.parse(JSON.stringify(value))
const summary = (world: SensorWorld) => asJson(summaryOf(world.server, entryOf(world)))
const detail = (world: SensorWorld) => asJson(clientDetail(world.server, world.now, entryOf(world), true))

test('a sensor in the list says where its session is', () => {
  const { world, far } = connected({ sleepers: 'park' })
  expect(summary(world)).toMatchObject({ id: 'sn:valve', upstream: { state: 'connected', target: 'mqtt://far:1883' } })
  const [head, row] = sensorTable([summary(world)], EPOCH + world.now)
  expect(head).toMatch(/ADDRESS +CLUSTER\n$/)
  expect(row).toMatch(/ connected mqtt:\/\/far:1883\n$/)
  expect(clientTable([summary(world)], EPOCH)[0]).toMatch(/ADDRESS +CLUSTER\n$/)
  // Elsewhere there is no such column.
  const { upstream: _upstream, ...here } = summary(world)
  expect(sensorTable([here], EPOCH)[0]).toMatch(/ADDRESS\n$/)
  world.send(R, say.disconnect(600))
  world.advance(10_000)
  expect(summary(world)).toMatchObject({ state: 'asleep', upstream: { state: 'parked' } })
  far.away.add('mqtt://far:1883')
  world.send(R, say.ping('valve'))
  world.advance(0)
  expect(summary(world)).toMatchObject({ upstream: { state: 'waiting' } })
})

test('a sensor that has left has no connection, and none is said', () => {
  const { world } = connected()
  world.send(R, say.disconnect())
  world.advance(0)
  expect(summary(world)).toMatchObject({ state: 'disconnected', waiting_messages: 0 })
  expect(summary(world)).not.toHaveProperty('upstream')
})

test('what waits for a sensor here, and what it has subscribed to', () => {
  const { world, far } = connected()
  world.send(R, say.subscribe('down/#', 1))
  world.advance(200)
  world.send(R, say.disconnect(600))
  far.publish('down/x', 'a', 0, 0)
  far.publish('down/x', 'b', 1, 9)
  expect(summary(world)).toMatchObject({ subscription_count: 1, waiting_messages: 2, waiting_bytes: 2 * 'down/x?'.length })
  expect(detail(world).subscriptions).toEqual([
    { filter: 'down/#', qos: 1, no_local: false, retain_as_published: false, retain_handling: 1 },
  ])
})

test('one sensor: its connection, and the last error', () => {
  const { world, far } = connected()
  world.send(R, say.register('up/a', 1), say.publish(0x401, 'one', 1, 2))
  expect(detail(world).upstream).toEqual({
    ...{ state: 'connected', target: 'mqtt://far:1883', since: '2027-01-15T08:00:00Z', client_id: 'valve', version: '5.0' },
    ...{ unanswered: 0, sent: 1, received: 0, resent: 0, dropped: 0, sessions_lost: 0, dials: 1, connects: 1, round_trip_ms: 0 },
  })
  world.advance(20_000)
  far.away.add('mqtt://far:1883')
  world.breakAll('read ECONNRESET')
  world.advance(10_000)
  const { state, last_error } = detail(world).upstream
  expect([state, last_error]).toEqual(['waiting', 'connect ECONNREFUSED'])
  const lines = detailLines(detail(world), EPOCH + world.now)
  expect(lines).toContain('Session at the cluster\n')
  expect(lines).toContain('  state               waiting\n')
  expect(lines).toContain('  target              mqtt://far:1883\n')
  expect(lines).toContain('  last error          connect ECONNREFUSED\n')
})

test('the answers are as described', () => {
  const { world } = connected()
  const routes = clientRoutes({ server: world.server, status: STATUS, notices: { run: 'run' } as never })
  for (const path of ['/api/v1/clients', '/api/v1/clients/:id']) {
    const route = routes.find((each) => each.method === 'GET' && each.path === path)!
    const answer = route.answer({ now: world.now, params: { id: 'valve' }, query: {}, role: 'manage' } as never)
    const response = 'next' in answer && 'throw' in answer ? answer.next(world.now).value : answer
    expect(response).toMatchObject({ status: 200, body: expect.stringContaining('"upstream":{"state":"connected"') })
    expectDescribed(route, response as never)
  }
})
