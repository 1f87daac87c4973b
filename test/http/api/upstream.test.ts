import { expect, test } from 'vitest'
import { overviewLines } from '../../../src/cli/http/overview.ts'
import { upstreamLines } from '../../../src/cli/http/upstream.ts'
import { upstreamCounts, upstreamRoutes } from '../../../src/http/api/upstream.ts'
import { isWork } from '../../../src/http/exchange.ts'
import { metricsRoute } from '../../../src/http/metrics.ts'
import { say } from '../../gateway/harness.ts'
import { describeWithPromtool, promtool } from '../../interop/promtool.ts'
import { target } from '../../upstream/pair.ts'
import { ScriptedFar } from '../../upstream/scripted-far.ts'
import { SENSORS } from '../../upstream/sensors/options.ts'
import { connected, R, SensorWorld } from '../../upstream/sensors/sensor-world.ts'
import { STATUS, TestApi } from '../harness.ts'
import { expectDescribed } from './harness.ts'

const EPOCH = 1_800_000_000_000
const BOTH = { ...SENSORS.targets, addresses: [target('mqtt://one:1883'), target('mqtt://two:1883')] }

/** What the route answers, in as many turns as it takes. */
function ask(world: SensorWorld) {
  const [route] = upstreamRoutes(world.server)
  const work = route!.answer({ now: world.now } as never)
  if (!isWork(work)) throw new Error('it is answered at once')
  let turns = 1
  let step = work.next(world.now)
  for (; step.done !== true; step = work.next(world.now)) turns++
  expectDescribed(route!, step.value)
  return { ...JSON.parse(step.value.body), turns }
}

/** What Prometheus gets. */
function metricsOf(world: SensorWorld, notReady?: string): string {
  const status = { ...STATUS, notReady: () => notReady }
  const answer = metricsRoute(world.server, status).answer({ now: world.now } as never)
  return ((isWork(answer) ? answer.next(world.now).value : answer) as { body: string }).body
}

test('sensors that have their sessions here: 404, and nothing among the totals', () => {
  const api = new TestApi()
  expect(api.ask('GET', '/api/v1/upstream')).toMatchObject({ status: 404, body: { detail: expect.stringContaining('upstream') } })
  expect(api.ask('GET', '/api/v1/overview').body).not.toHaveProperty('upstream')
})

test('a target that is up, fails, is away and comes back', () => {
  const { world, far } = connected()
  expect(ask(world)).toMatchObject({
    targets: [
      {
        ...{ target: 'mqtt://far:1883', state: 'up', since: '2027-01-15T08:00:00Z', version: '5.0' },
        ...{ connections: 1, dialling: 0, dials: 1, connects: 1, failed_dials: 0 },
      },
    ],
    sessions: { connected: 1, connecting: 0, waiting: 0, parked: 0 },
  })
  world.advance(20_000)
  far.away.add('mqtt://far:1883')
  world.breakAll('read ECONNRESET')
  const [lost] = ask(world).targets
  expect(lost).toMatchObject({ state: 'idle', since: '2027-01-15T08:00:20Z', connections: 0, last_error: 'read ECONNRESET' })
  world.advance(2_000)
  expect(ask(world).targets[0]).toMatchObject({ state: 'failing', failed_dials: 1, last_error: 'connect ECONNREFUSED' })
  world.advance(10_000)
  const away = ask(world)
  expect(away).toMatchObject({ targets: [{ state: 'away', connects: 1 }], sessions: { connected: 0, waiting: 1 } })
  expect(away.targets[0].failed_dials).toBe(away.targets[0].dials - 1)
  expect(Date.parse(away.targets[0].retry_at)).toBeGreaterThan(EPOCH + world.now)
  expect(upstreamCounts(world.server)).toEqual({ targets: { up: 0, idle: 0, failing: 0, away: 1 }, connections: 0 })
  far.away.clear()
  world.advance(20_000)
  expect(ask(world)).toMatchObject({ targets: [{ state: 'up', connections: 1, connects: 2 }], sessions: { connected: 1 } })
  expect(ask(world).targets[0]).not.toHaveProperty('retry_at')
})

test('an attempt under way, and a target that nobody has tried', () => {
  const world = new SensorWorld({ targets: BOTH })
  // It takes CONNECT, and does not answer.
  const far = new ScriptedFar(world)
  far.script = () => undefined
  world.send(R, say.connect('valve'))
  expect(ask(world)).toMatchObject({
    targets: [
      { target: 'mqtt://one:1883', state: 'idle', dialling: 1, dials: 1 },
      { target: 'mqtt://two:1883', state: 'idle', dialling: 0, dials: 0 },
    ],
    sessions: { connected: 0, connecting: 1 },
  })
  expect(ask(world).targets[1]).toEqual({
    ...{ target: 'mqtt://two:1883', state: 'idle', connections: 0, dialling: 0, dials: 0, connects: 0, failed_dials: 0 },
  })
})

test('a target that refuses the credentials of sensors is not away, and says why', () => {
  const world = new SensorWorld()
  const far = new ScriptedFar(world)
  far.script = (packet) => (packet.type === 1 ? far.accept(0x86) : 'usual')
  for (let i = 0; i < 5; i++) world.send(`10.0.0.1:${i}`, say.connect(`valve-${i}`))
  world.advance(0)
  const [known] = ask(world).targets
  expect(known).toMatchObject({ state: 'idle', connections: 0, dialling: 0, connects: 0 })
  expect(known.failed_dials).toBe(known.dials)
  expect(known.last_error).toMatch(/^CONNECT is refused: /)
})

test('round trip of the last message of any sensor', () => {
  const { world, far } = connected()
  far.onItsWay = []
  world.send(R, say.register('up/a', 1), say.publish(0x401, 'one', 1, 2))
  world.advance(7)
  for (const arrive of far.onItsWay.splice(0)) arrive()
  expect(ask(world).targets[0].round_trip_ms).toBe(7)
})

test('what is held for a sensor, what the cluster has not acknowledged, and what was dropped', () => {
  const { world, far } = connected({ heldMessages: 2 })
  far.script = (packet) => (packet.type === 3 && packet.qos > 0 ? undefined : 'usual')
  world.send(R, say.register('up/a', 1), say.publish(0x401, 'one', 1, 2))
  world.advance(200)
  expect(ask(world)).toMatchObject({ unanswered: 1, held: { messages: 0, bytes: 0 }, dropped: 0 })
  world.send(R, say.disconnect(60))
  for (const text of ['a', 'b', 'c']) far.publish('down/x', text, 0, 0)
  far.publish('down/x', 'd', 1, 9)
  expect(ask(world)).toMatchObject({ held: { messages: 3, bytes: 3 * 'down/x?'.length }, dropped: 1 })
})

test('messages with QoS -1 that wait for the cluster are held, too', () => {
  const { world, far } = connected({ heldMessages: 2 })
  const publish = (text: string) => world.send('10.0.0.9:1', { ...say.publish(1, text), qos: -1, topicIdType: 'predefined' })
  far.away.add('mqtt://far:1883')
  world.breakAll()
  for (const text of ['a', 'b', 'c']) publish(text)
  expect(ask(world)).toMatchObject({ held: { messages: 2, bytes: 2 * 'predefined/one?'.length }, dropped: 1 })
  expect(metricsOf(world)).toContain('roost_upstream_held_messages 2\n')
  far.away.clear()
  world.advance(60_000)
  expect(ask(world)).toMatchObject({ held: { messages: 0, bytes: 0 } })
  publish('d')
  expect(ask(world)).toMatchObject({ held: { messages: 0, bytes: 0 } })
})

test('sleepers that are parked, and sensors that are gone while the cluster is away', () => {
  const { world, far } = connected({ sleepers: 'park' }, { will: true })
  world.advance(200)
  world.send(R, say.disconnect(600))
  world.advance(10_000)
  expect(ask(world)).toMatchObject({ targets: [{ state: 'idle', connections: 0 }], sessions: { connected: 0, parked: 1 } })
  far.away.add('mqtt://far:1883')
  world.advance(2_000_000)
  expect(ask(world)).toMatchObject({ sessions: { connected: 0, parked: 0, waiting: 0 }, ending: 1 })
})

test('the same as metrics, by target and in total', () => {
  const { world, far } = connected({ targets: BOTH })
  world.send(R, say.disconnect(60))
  far.publish('down/x', 'd', 1, 9)
  const text = metricsOf(world)
  for (const line of [
    'roost_upstream_connections{target="mqtt://one:1883"} 1',
    'roost_upstream_connections{target="mqtt://two:1883"} 0',
    'roost_upstream_away{target="mqtt://one:1883"} 0',
    'roost_upstream_dials_total{target="mqtt://one:1883"} 1',
    'roost_upstream_sessions{state="connected"} 1',
    'roost_upstream_held_messages 1',
    'roost_upstream_held_bytes 7',
    'roost_upstream_dropped_total 0',
  ])
    expect(text.split('\n')).toContain(line)
  // What takes several turns is not answered then.
  expect(metricsOf(world, 'Roost is stopping')).toContain('roost_ready 0\n')
  expect(metricsOf(world, 'Roost is stopping')).not.toContain('roost_upstream_held_messages')
  expect(new TestApi().ask('GET', '/metrics').body).not.toContain('roost_upstream_')
})

describeWithPromtool('promtool', () => {
  test('accepts the metrics', () => {
    const { world } = connected({ targets: BOTH })
    const text = metricsOf(world)
    expect(text).toContain('roost_upstream_connections')
    expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, output: '' })
  })
})

test('more sensors than a turn looks at', () => {
  const { world } = connected()
  for (let i = 0; i < 2_500; i++) world.server.sensors!.sessionOf(`sensor-${i}`)
  expect(ask(world)).toMatchObject({ sessions: { connected: 1 }, turns: 3 })
})

test('roost upstream and roost status', () => {
  const { world, far } = connected({ targets: BOTH })
  const lines = () => upstreamLines(ask(world), EPOCH + world.now)
  expect(lines()).toEqual([
    expect.stringMatching(/^TARGET +STATE +SINCE +MQTT +CONNECTIONS/),
    expect.stringMatching(/^mqtt:\/\/one:1883 +up +0 s ago +5\.0 +1 +0 +1 +0 +-\n$/),
    expect.stringMatching(/^mqtt:\/\/two:1883 +idle +- +- +0 +0 +0 +0 +-\n$/),
    '\n',
    'sessions of sensors: 1 connected, 0 connecting, 0 waiting to be dialled, 0 parked, 0 ending\n',
    'held: 0 messages, 0 B; unanswered by the cluster: 0 messages; dropped: 0 messages\n',
  ])
  const overview = new TestApi().ask('GET', '/api/v1/overview').body
  const shown = () => overviewLines({ ...overview, upstream: upstreamCounts(world.server) }, '', 0)
  expect(shown()).toContain('  cluster       targets: 1 up, 1 idle; 1 connection of sensors\n')
  for (const name of ['one', 'two']) far.away.add(`mqtt://${name}:1883`)
  world.breakAll()
  world.advance(30_000)
  expect(shown()).toContain('  cluster       targets: 2 away; 0 connections of sensors\n')
  const trouble = lines().filter((line) => line.startsWith('mqtt:') && line.includes(' has been '))
  expect(trouble).toHaveLength(2)
  expect(trouble[0]).toMatch(/^mqtt:\/\/one:1883 has been away for \d+ s, next attempt in \d+ s: connect ECONNREFUSED\n$/)
})
