import { describe, expect, test } from 'vitest'
import { clientRoutes } from '../../../src/http/api/clients.ts'
import { isWork, type Pause, ROOM_MS, type Route } from '../../../src/http/exchange.ts'
import { PacketType } from '../../../src/mqtt/packets.ts'
import { say } from '../../gateway/harness.ts'
import { ScriptedFar } from '../../upstream/scripted-far.ts'
import { SENSORS } from '../../upstream/sensors/options.ts'
import { connected, R, type SensorWorld } from '../../upstream/sensors/sensor-world.ts'

const FAR = 'mqtt://far:1883'
const V4 = { targets: { ...SENSORS.targets, version: 4 as const } }
const VERSIONS = [
  ['5.0', {}],
  ['3.1.1', V4],
] as const

/** Asks as `io/` would: output leaves and time passes where the route pauses. */
function ask(world: SensorWorld, method: Route['method'], path: string, between: (pause: Pause) => void = () => {}) {
  const status = { notReady: () => undefined }
  const routes = clientRoutes({ server: world.server, status, notices: { run: 'run' } as never })
  const route = routes.find((each) => each.method === method && each.path === path)!
  const answer = route.answer({ now: world.now, params: { id: 'valve' }, query: {}, user: 'eva', role: 'manage' } as never)
  if (!isWork(answer)) {
    world.run()
    return answer as { status: number; body: string }
  }
  for (let step = answer.next(world.now); ; step = answer.next(world.now)) {
    if (step.done === true) return step.value
    between(step.value)
    world.run()
    if (step.value.kind === 'room') world.advance(ROOM_MS)
  }
}

const disconnect = (world: SensorWorld) => ask(world, 'POST', '/api/v1/clients/:id/disconnect')
const end = (world: SensorWorld, between?: (pause: Pause) => void) => ask(world, 'DELETE', '/api/v1/clients/:id', between)

const published = (far: ScriptedFar): string[] =>
  far.got.flatMap((packet) => (packet.type === PacketType.PUBLISH ? Buffer.from(packet.payload).toString() : []))

/** How the sessions at the far side ended: by DISCONNECT with an expiry of 0, or with the stream of a CONNECT that is clean. */
const ended = (far: ScriptedFar): boolean => {
  const { connect, got } = far.stream
  const last = got.at(-1)
  if (connect?.protocolVersion === 5 && connect.properties.sessionExpiryInterval !== undefined)
    return last?.type === PacketType.DISCONNECT && last.properties.sessionExpiryInterval === 0
  return connect?.cleanStart === true && last?.type === PacketType.DISCONNECT
}

const operator = (world: SensorWorld) =>
  world.notices.flatMap(({ code, client, user, reason }) => (code === 'operator-action' ? `${client} ${user}: ${reason}` : []))

describe.each(VERSIONS)('an operator disconnects a sensor, in front of %s', (_, options) => {
  test('it is told, and its session at the cluster stays', () => {
    const { world, far } = connected(options)
    expect(disconnect(world).status).toBe(204)
    expect(world.sent()).toEqual(['DISCONNECT'])
    expect(operator(world)).toEqual(['sn:valve eva: disconnected'])
    expect(far.got.at(-1)).toMatchObject({ type: PacketType.DISCONNECT, reasonCode: 0 })
    expect(ended(far)).toBe(false)
    expect(world.server.gateway.sensors.get('valve')?.state).toBe('disconnected')
    expect(disconnect(world).status).toBe(409)
    far.sessionPresent = true
    world.send(R, say.connect('valve', { clean: false }))
    world.advance(0)
    expect(world.sent()).toEqual(['CONNACK'])
    expect(far.stream.connect?.cleanStart).toBe(false)
  })

  test('its will is published, as when it is lost', () => {
    const { world, far } = connected(options, { will: true })
    expect(disconnect(world).status).toBe(204)
    world.advance(5_000)
    if (options === V4) expect(published(far)).toEqual(['gone'])
    else expect(far.got.at(-1)).toMatchObject({ type: PacketType.DISCONNECT, reasonCode: 4 })
    expect(ended(far)).toBe(false)
    expect(world.server.upstream!.links.size).toBe(0)
  })

  test('a clean session ends with it', () => {
    const { world, far } = connected(options, { clean: true })
    expect(disconnect(world).status).toBe(204)
    world.advance(5_000)
    expect(ended(far)).toBe(true)
  })

  test('one that sleeps is not told before it wakes', () => {
    const { world } = connected(options)
    world.send(R, say.disconnect(600))
    world.sent()
    expect(disconnect(world).status).toBe(204)
    expect(world.sent()).toEqual([])
    world.send(R, say.ping('valve'))
    expect(world.sent()).toEqual(['DISCONNECT'])
  })

  test('the cluster is away', () => {
    const { world, far } = connected(options)
    far.away.add(FAR)
    world.breakAll()
    expect(disconnect(world).status).toBe(204)
    expect(world.sent()).toEqual(['DISCONNECT'])
    expect(world.server.upstream!.links.size).toBe(0)
  })
})

describe.each(VERSIONS)('an operator ends the session of a sensor, in front of %s', (_, options) => {
  /** Nothing is left of it: neither here, after a restart too, nor at the cluster. */
  function expectEnded(world: SensorWorld, far: ScriptedFar): void {
    expect(ended(far)).toBe(true)
    expect(world.server.gateway.client('valve')).toBeUndefined()
    expect(world.server.sensors!.sessions.size).toBe(0)
    expect(world.server.upstream!.links.size).toBe(0)
    const { server } = world.crashed()
    expect([server.gateway.clientCount, server.sensors!.sessions.size]).toEqual([0, 0])
  }

  test('it is told, its topic ids and subscriptions are forgotten, and its session ends at the cluster', () => {
    const { world, far } = connected(options)
    world.send(R, say.subscribe('down/valve', 1), say.register('up/valve', 2))
    world.advance(200)
    world.sent()
    expect(end(world).status).toBe(204)
    expect(world.sent()).toEqual(['DISCONNECT'])
    expect(operator(world)).toEqual(['sn:valve eva: its session is ended'])
    expectEnded(world, far)
  })

  test('of one that sleeps, parked', () => {
    const { world, far } = connected({ ...options, sleepers: 'park' })
    world.send(R, say.disconnect(600))
    world.advance(10_000)
    world.sent()
    expect(world.streams.size).toBe(0)
    expect(end(world).status).toBe(204)
    expectEnded(world, far)
    world.send(R, say.ping('valve'))
    expect(world.sent()).toEqual(['DISCONNECT'])
  })

  test('of one that has left: it is connected to for that, as the sensor, and without its will', () => {
    const { world, far } = connected({ ...options, clientId: 'site/%c', username: '%g' }, { will: true })
    world.send(R, say.disconnect())
    world.advance(5_000)
    expect(world.streams.size).toBe(0)
    expect(end(world).status).toBe(204)
    expect(far.stream.connect).toMatchObject({ clientId: 'site/valve', username: '7', cleanStart: true, will: undefined })
    expect(published(far)).toEqual([])
    expectEnded(world, far)
  })

  test('of one that is known from before a restart only', () => {
    let { world } = connected(options)
    world.send(R, say.disconnect())
    world = world.crashed()
    const far = new ScriptedFar(world)
    expect(end(world).status).toBe(204)
    expect(far.streams).toHaveLength(1)
    expectEnded(world, far)
  })

  test('its will is published before', () => {
    const { world, far } = connected(options, { will: true })
    expect(end(world).status).toBe(204)
    if (options === V4) expect(published(far)).toEqual(['gone'])
    else expect(far.got.at(-1)).toMatchObject({ type: PacketType.DISCONNECT, reasonCode: 4 })
    expectEnded(world, far)
  })

  test('of one whose will still waits for the cluster', () => {
    const { world, far } = connected(V4, { will: true })
    far.away.add(FAR)
    world.breakAll()
    world.advance(100_000)
    expect(world.server.sensors!.farewells.size).toBe(1)
    far.away.clear()
    world.advance(60_000 - 1)
    world.advance(1)
    expect(published(far)).toEqual(['gone'])
    expect(end(world).status).toBe(204)
    expectEnded(world, far)
  })

  test('the cluster is away: it ends when it is back, and until then the answer is that it has not', () => {
    const { world, far } = connected(options, { will: true })
    far.away.add(FAR)
    world.breakAll('read ECONNRESET')
    world.advance(20_000)
    const before = world.now
    const { status, body } = end(world)
    expect(status).toBe(503)
    expect(JSON.parse(body).detail).toMatch(/cluster.*ECONNREFUSED/)
    // Nobody waits for a target that is known to be away.
    expect(world.now - before).toBeLessThan(100)
    expect(world.server.gateway.client('valve')).toBeUndefined()
    far.away.clear()
    world.advance(60_000)
    if (options === V4) expect(published(far)).toEqual(['gone'])
    expectEnded(world, far)
  })

  test('asked for while its will waits for the cluster', () => {
    const { world, far } = connected(V4, { will: true })
    far.away.add(FAR)
    world.breakAll()
    world.advance(100_000)
    expect(end(world).status).toBe(503)
    far.away.clear()
    world.advance(60_000)
    expect(published(far)).toEqual(['gone'])
    expectEnded(world, far)
  })

  test('the cluster does not answer', () => {
    const { world, far } = connected(options)
    world.send(R, say.disconnect())
    world.advance(100)
    far.script = () => undefined
    const before = world.now
    const { status, body } = end(world)
    expect(status).toBe(503)
    expect(JSON.parse(body).detail).toBe('its session at the cluster ends when that can be reached')
    expect(world.now - before).toBeGreaterThanOrEqual(5_000)
    expect(world.now - before).toBeLessThan(6_000)
  })

  test('a sensor that connects in between begins with a new session', () => {
    const { world, far } = connected(options)
    far.away.add(FAR)
    world.breakAll()
    let isBack = false
    const answer = end(world, ({ kind }) => {
      if (kind !== 'room' || isBack) return
      isBack = true
      far.away.clear()
      world.send(R, say.connect('valve', { clean: false }))
    })
    world.advance(60_000)
    expect([isBack, answer.status]).toEqual([true, 204])
    expect(world.sent()).toEqual(['DISCONNECT', 'CONNACK'])
    // As a first CONNECT of 3.1.1, which makes it clean.
    expect(far.streams.at(options === V4 ? -2 : -1)?.connect?.cleanStart).toBe(true)
    expect(world.server.gateway.sensors.get('valve')?.state).toBe('active')
  })
})

test('3.1.1 with the will at the cluster: a clean session that is lost ends there after its will', () => {
  const { world, far } = connected({ ...V4, wills: 'upstream' }, { clean: true, will: true })
  const first = far.streams.at(-1)!
  expect(first.connect?.will).toBeDefined()
  world.advance(120_000)
  // DISCONNECT would delete the will.
  expect(first.got.at(-1)?.type).not.toBe(PacketType.DISCONNECT)
  expect(ended(far)).toBe(true)
})
