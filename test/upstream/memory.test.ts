import { beforeEach, describe, expect, test } from 'vitest'
import { COST } from '../../src/base/memory-costs.ts'
import { PacketType, type PublishResponse } from '../../src/mqtt/packets.ts'
import { Publish, type QoS } from '../../src/mqtt/publish.ts'
import { Deliveries } from '../../src/upstream/deliveries.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { say } from '../gateway/harness.ts'
import { Dialling, Owner, response } from './pair.ts'
import { ScriptedFar } from './scripted-far.ts'
import { SENSORS } from './sensors/options.ts'
import { connected, R, SensorWorld } from './sensors/sensor-world.ts'

const { PUBACK, PUBREC, PUBREL, PUBCOMP } = PacketType
const KIB = 1024
const LONG = 'x'.repeat(10_000)
const LIMITS = { maxMemoryPerClient: Number.POSITIVE_INFINITY, maxMemoryPerUser: Number.POSITIVE_INFINITY }

describe('what a link holds of the far side is in the account', () => {
  let near: Dialling
  let far: ScriptedFar
  let owner: Owner
  let link: UpstreamLink

  function open(ofSensor?: typeof SENSORS): void {
    near = new Dialling()
    far = new ScriptedFar(near)
    far.script = (packet) => (packet.type === PUBREC ? undefined : 'usual')
    owner = new Owner()
    owner.acknowledges = false
    link = near.open(owner, ofSensor === undefined ? {} : { ofSensor }, { version: 5 })
    near.connect(link)
  }

  const held = (): number => near.upstream.held.sum
  const answer = (type: 4 | 5 | 7, packetId: number): void => {
    link.send(near.now, response(type, packetId))
    near.run()
  }
  const expectHolds = (isLong: boolean): void => {
    if (isLong) expect(held()).toBeGreaterThan(LONG.length)
    else expect(held()).toBeLessThan(LONG.length)
  }
  const expectNothing = (): void => expect(held()).toBe(0)

  test.each([
    ['of a bridge, which counts what it has been given itself', undefined, false],
    ['of a sensor', SENSORS, true],
  ] as const)('QoS 2 until PUBREL comes: %s', (_, ofSensor, isCounted) => {
    open(ofSensor)
    link.listen(near.now, false)
    far.publish('a', LONG, 2, 1)
    expectHolds(true)
    link.listen(near.now, true)
    near.run()
    expect(owner.messages).toHaveLength(1)
    expectHolds(isCounted)
    answer(PUBREC, 1)
    // It is compared with what comes again.
    expectHolds(true)
    far.send(response(PUBREL, 1))
    near.run()
    expectHolds(false)
    answer(PUBCOMP, 1)
    expectNothing()
  })

  test.each([undefined, SENSORS])('QoS 1, however the exchange ends', (ofSensor) => {
    const ends: (() => void)[] = [
      () => answer(PUBACK, 1),
      () => link.forget(),
      () => {
        link.inbound.decline(1)
        near.run()
      },
      () => {
        // The far side has lost the session.
        far.close()
        near.advance(10_000)
        answer(PUBACK, 1)
      },
      () => link.inbound.forgetEarlier(false),
    ]
    for (const end of ends) {
      open(ofSensor)
      far.publish('a', LONG, 1, 1)
      expectHolds(ofSensor !== undefined)
      end()
      expectNothing()
      link.forget()
      expectNothing()
    }
  })

  test('what waits behind a packet id, once', () => {
    open(SENSORS)
    far.publish('a', LONG, 1, 1)
    far.sessionPresent = false
    far.close()
    near.advance(10_000)
    far.publish('a', LONG, 1, 1)
    expect(link.inbound.waiting).toBe(1)
    expect(held()).toBeGreaterThan(2 * LONG.length)
    expect(held()).toBeLessThan(2.2 * LONG.length)
    answer(PUBACK, 1)
    expect(held()).toBeLessThan(1.2 * LONG.length)
    answer(PUBACK, 1)
    expectNothing()
  })

  test('each message with what it takes beyond its bytes', () => {
    open(SENSORS)
    link.listen(near.now, false)
    for (let i = 0; i < 10; i++) far.publish('a', 'x', 0, 0)
    expect(held()).toBeGreaterThanOrEqual(10 * COST.message)
  })

  test('QoS 0 for a far side that reads nothing', () => {
    open()
    near.server.handle(near.now, { kind: 'congested', connection: far.stream.connection, on: true })
    for (let i = 0; i < 3; i++) near.publish(link, 'a', LONG, 0, 0)
    expect(held()).toBeGreaterThan(3 * LONG.length)
    near.server.handle(near.now, { kind: 'congested', connection: far.stream.connection, on: false })
    near.run()
    expectNothing()
    near.server.handle(near.now, { kind: 'congested', connection: far.stream.connection, on: true })
    near.publish(link, 'a', LONG, 0, 0)
    far.close()
    expectNothing()
  })

  test('part of a packet', () => {
    open()
    const before = near.server.memory.byCategory().get('receive_buffers')!
    const bytes = (): number => near.server.memory.byCategory().get('receive_buffers')! - before
    // PUBLISH of half a mebibyte, of which a part has come.
    far.raw(Uint8Array.from([0x30, 0x80, 0x80, 0x20, ...Buffer.from(LONG)]))
    expect(bytes()).toBeGreaterThanOrEqual(LONG.length)
    far.raw(new Uint8Array(512 * KIB - LONG.length))
    expect(bytes()).toBe(0)
    near.advance(10_000)
    // Of more than the largest that the link takes, which ends the stream.
    far.raw(Uint8Array.from([0x30, 0x80, 0x80, 0x60, ...Buffer.from(LONG)]))
    expect(link.isUp).toBe(false)
    expect(bytes()).toBe(0)
    near.advance(10_000)
    far.raw(Uint8Array.from([0x30, 0x80, 0x80, 0x20, ...Buffer.from(LONG)]))
    far.close()
    expect(bytes()).toBe(0)
  })
})

describe('what a bridge has handed to the local session is in the account', () => {
  let deliveries: Deliveries
  const held = { sum: 0 }
  beforeEach(() => {
    deliveries = new Deliveries(() => {}, held)
  })
  const deliver = (qos: QoS, packetId: number): void =>
    deliveries.deliver(0, Publish.of('a', Buffer.from(LONG), qos, false, packetId))
  const answered = (type: 4 | 5 | 7, packetId: number): void =>
    deliveries.answered(0, response(type, packetId) as PublishResponse)

  test('until it is answered, and what waits behind it', () => {
    deliver(1, 1)
    deliver(2, 2)
    deliver(1, 1)
    deliver(1, 3)
    expect(held.sum).toBeGreaterThan(4 * LONG.length)
    answered(PUBACK, 1)
    expect(held.sum).toBeLessThan(3.2 * LONG.length)
    deliveries.postpone(2)
    answered(PUBREC, 2)
    answered(PUBACK, 1)
    answered(PUBACK, 3)
    expect(held.sum).toBe(0)
    deliver(0, 0)
    expect(held.sum).toBe(0)
  })

  test('and given back when both sessions are new', () => {
    deliver(1, 1)
    deliver(1, 1)
    deliveries.forget()
    expect(held.sum).toBe(0)
  })
})

/** Connections whose sockets are not read. */
function pausedOf(world: Dialling): Set<number> {
  const paused = new Set<number>()
  const { seen } = world
  world.seen = (out) => {
    seen(out)
    if (out.kind === 'pause') paused.add(out.connection)
    else if (out.kind === 'resume') paused.delete(out.connection)
  }
  return paused
}

describe('above the limit, a link of a bridge', () => {
  const memoryLimit = 10 * 1024 * KIB
  let near: Dialling
  let far: ScriptedFar
  let owner: Owner
  let link: UpstreamLink
  let others: number
  let outputs: string[]
  let paused: Set<number>
  beforeEach(() => {
    near = new Dialling({ memory: { memoryLimit, ...LIMITS } })
    near.server.memory.count('messages', () => others)
    others = memoryLimit
    outputs = []
    near.seen = ({ kind }) => outputs.push(kind)
    paused = pausedOf(near)
    far = new ScriptedFar(near)
    far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
    far.sessionPresent = true
    owner = new Owner()
    link = near.open(owner)
    near.connect(link)
  })
  const notices = () => near.notices.filter(({ limit }) => limit === 'memory_limit')

  test('is read as long as its owner takes the messages, and no cache is emptied for that', () => {
    let emptied = 0
    near.server.memory.cache(() => emptied++)
    for (let packetId = 1; packetId <= 10; packetId++) far.publish('a', LONG, 1, packetId)
    expect(owner.messages).toHaveLength(10)
    expect(outputs).not.toContain('pause')
    expect(notices()).toEqual([])
    expect(emptied).toBe(0)
    link.listen(near.now, false)
    far.publish('a', LONG, 1, 11)
    expect(paused.size).toBe(1)
    expect(notices()).toHaveLength(1)
  })

  test('is not read while a message waits, whatever is written to it', () => {
    link.listen(near.now, false)
    far.publish('a', LONG, 1, 1)
    const expectPaused = (): void => expect(paused).toEqual(new Set([far.stream.connection]))
    expectPaused()
    outputs = []
    for (let packetId = 1; packetId <= 5; packetId++) near.publish(link, 'out', 'x', 1, packetId)
    expect(far.of(PacketType.PUBLISH)).toHaveLength(5)
    near.subscribe(link, 10, { filter: 'b' })
    expectPaused()
    expect(outputs).not.toContain('resume')
    // The message that waits is still here when the next stream is up.
    paused.clear()
    far.close()
    near.advance(10_000)
    expect(link.isUp).toBe(true)
    expectPaused()
    link.listen(near.now, true)
    near.run()
    expect(owner.messages).toHaveLength(1)
    expect(paused.size).toBe(0)
  })

  test('is read once a second while messages to it are unanswered, which may be what takes the memory', () => {
    link.listen(near.now, false)
    for (let packetId = 1; packetId <= 3; packetId++) {
      far.publish('a', LONG, 1, packetId)
      near.publish(link, 'out', 'x', 1, packetId)
      expect(paused.size).toBe(1)
      near.advance(1_000)
      link.poll(near.now)
      near.run()
      expect(paused.size).toBe(0)
    }
    for (let packetId = 1; packetId <= 3; packetId++) far.send(response(PUBACK, packetId))
    near.run()
    expect(owner.ids(PUBACK)).toEqual([1, 2, 3])
    near.advance(1_000)
    link.poll(near.now)
    near.run()
    expect(paused.size).toBe(1)
  })

  test('is read again when there is memory, and something is written', () => {
    link.listen(near.now, false)
    far.publish('a', LONG, 1, 1)
    others = 0
    near.publish(link, 'out', 'x', 1, 1)
    expect(paused.size).toBe(0)
    expect(link.inbound.waiting).toBe(1)
  })
})

describe('the limit for all', () => {
  test('sleeping sensors are sent large messages: their connections are not read, and nothing is lost', () => {
    const memory = { memoryLimit: 2000 * KIB, ...LIMITS }
    const world = new SensorWorld({}, undefined, { memory })
    const far = new ScriptedFar(world)
    const paused = pausedOf(world)
    /** A socket that is not read. */
    const unread = new Map<number, (() => void)[]>()
    const publish = (at: number, packetId: number): void => {
      const stream = far.streams[at]!
      const send = (): void => {
        far.send(Publish.of('t/a', Buffer.from('x'.repeat(40_000)), 1, false, packetId), stream)
        world.run()
      }
      if (!paused.has(stream.connection)) send()
      else unread.set(stream.connection, [...(unread.get(stream.connection) ?? []), send])
    }
    const routes = Array.from({ length: 10 }, (_, i) => `10.0.1.${i}:1`)
    for (const [i, route] of routes.entries()) {
      world.send(route, say.connect(`sensor${i}`, { clean: false }), say.subscribe('t/a', 1))
      world.advance(200)
      world.send(route, say.disconnect(600))
    }
    for (let packetId = 1; packetId <= 10; packetId++) for (const i of routes.keys()) publish(i, packetId)
    expect(paused.size).toBe(10)
    expect(world.server.memory.used).toBeLessThan(memory.memoryLimit + 10 * 41_000)
    const notices = world.notices.filter(({ limit }) => limit === 'memory_limit')
    expect(notices).toMatchObject([{ code: 'limit-reached', reason: expect.stringMatching(/MiB in use.*are not read$/) }])
    // Without the pause it would be twice the limit.
    const [route] = routes
    world.sent(route)
    world.send(route!, say.ping('sensor0'))
    let got = 0
    for (let rounds = 0; rounds < 50 && got < 10; rounds++) {
      for (const [connection, sends] of unread) if (!paused.has(connection)) sends.shift()?.()
      for (const line of world.sent(route)) {
        const [, topicId, msgId] = /^PUBLISH (\w+)=.* #(\d+) q1/s.exec(line) ?? []
        if (msgId !== undefined) {
          got++
          world.send(route!, say.puback(Number.parseInt(topicId!, 16), Number(msgId)))
        } else if (line === 'PINGRESP') world.send(route!, say.ping('sensor0'))
      }
      world.advance(200)
    }
    expect(got).toBe(10)
  })

  test.each([0, 1, 2] as const)('a lost sensor is sent a message with QoS %s: the answer to its will is read', (qos) => {
    const options = { targets: { ...SENSORS.targets, version: 4 as const } }
    const { used } = connected(options, { will: true }).world.server.memory
    const { world, far } = connected(options, { will: true }, { memory: { memoryLimit: used + 20_000, ...LIMITS } })
    const paused = pausedOf(world)
    far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
    world.advance(100_000)
    const [id] = far.of(PacketType.PUBLISH).map(Number)
    // The cluster numbers its messages itself.
    far.publish('t/a', LONG, qos, qos === 0 ? 0 : id!)
    far.publish('t/a', LONG, qos, qos === 0 ? 0 : 2)
    expect(paused.size).toBe(0)
    far.send(response(PUBREL, id!))
    world.run()
    expect(world.server.sensors!.owesWill('valve')).toBe(true)
    // Nothing is answered, and nothing is kept.
    expect(far.got.at(-1)?.type).toBe(PacketType.PUBLISH)
    expect(world.upstream.held.sum).toBeLessThan(LONG.length)
    far.send(response(PUBACK, id!))
    world.run()
    expect(world.server.sensors!.owesWill('valve')).toBe(false)
    expect(world.upstream.links.size).toBe(0)
  })

  test('topic filters of sensors: above it SUBSCRIBE is refused', () => {
    const { world } = connected({}, {})
    const before = world.server.memory.used
    world.send(R, say.subscribe(`${'a/'.repeat(100)}#`, 1))
    expect(world.server.memory.used).toBeGreaterThan(before + 200)
    const memory = { memoryLimit: world.server.memory.used + 100, ...LIMITS }
    const again = world.crashed({}, { memory })
    const far = new ScriptedFar(again)
    far.sessionPresent = true
    again.run()
    expect(again.server.memory.used).toBeGreaterThan(before)
    again.sent()
    again.send(R, say.subscribe(`${'b/'.repeat(100)}#`, 1))
    expect(again.sent()).toEqual(['SUBACK 0000 #9 q0 rc1'])
    expect(again.notices).toContainEqual(expect.objectContaining({ code: 'limit-reached', limit: 'memory_limit' }))
    again.send(R, say.disconnect())
    again.server.gateway.forget(again.server.gateway.client('valve')!)
    expect(again.server.sensors!.filterBytes.sum).toBe(0)
  })

  test('sensors that are gone, and whose will waits for the cluster', () => {
    const { world, far } = connected({ targets: { ...SENSORS.targets, version: 4 } }, { will: true })
    far.away.add('mqtt://far:1883')
    world.breakAll()
    world.advance(100_000)
    expect(world.server.sensors!.farewells.size).toBe(1)
    world.server.gateway.forget(world.server.gateway.client('valve')!)
    expect(world.server.memory.byCategory().get('sessions')).toBeGreaterThanOrEqual(COST.sensorSession)
  })
})
