import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Memory } from '../../src/base/memory.ts'
import { type Connect, PacketType } from '../../src/mqtt/packets.ts'
import { connectPacket, PERSISTENT, TestBroker, type TestClient } from './harness.ts'

const LASTING: Partial<Connect> = { properties: { sessionExpiryInterval: 3600 } }

/** Session x is away, and so many messages wait for it as a member of a shared subscription, which has another member by now. */
function away(messages: number, memory = new Memory()): TestBroker {
  const world = new TestBroker({ memory })
  const x = world.connect('x', PERSISTENT)
  x.subscribe('$share/g/q/#', 1)
  x.disconnect()
  const publisher = world.connect('publisher')
  for (let i = 0; i < messages; i++) publisher.publish(`q/${i}`, 'm', 1)
  world.connect('helper', PERSISTENT).subscribe('$share/g/q/#', 1)
  return world
}

function clean(world: TestBroker): TestClient {
  const client = world.open()
  client.send(connectPacket('x', LASTING))
  return client
}

describe('a clean start on a session that takes some turns to end', () => {
  test.each([300, 400, 500, 600, 700, 800, 900])('of two that wait, the newer is let in: %i messages', (messages) => {
    const world = away(messages)
    const older = clean(world)
    const newer = clean(world)
    world.advance(50)
    expect([older.link.closed, newer.link.closed]).toEqual([true, false])
    expect(newer.poll()[0]).toBe('CONNACK')
    expect(world.broker.sessions.get('mqtt', 'x')?.link).toBe(newer.link)
  })

  test('one that comes when the rest is ended in one go is let in, with what it sends next', () => {
    const world = away(800)
    const older = clean(world)
    expect(older.link.busy).toBe('request')
    for (let left = Number.POSITIVE_INFINITY; left * 4 >= 1500; ) {
      world.turn()
      left = world.broker.sessions.get('mqtt', 'x')?.queueLength ?? 0
    }
    const newer = clean(world)
    const options = { qos: 0 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
    const subscriptions = Array.from({ length: 400 }, (_, i) => ({ filter: `f/${i}`, ...options }))
    newer.link.send(world.now, { type: PacketType.SUBSCRIBE, packetId: 1, subscriptions, properties: {} })
    for (let i = 0; i < 20; i++) world.turn()
    expect([older.link.closed, newer.link.closed]).toEqual([true, false])
    expect(newer.poll().map((line) => line.slice(0, 7))).toEqual(['CONNACK', 'SUBACK '])
  })

  test.each([50, 800])('goes on above memory_limit: %i messages', (messages) => {
    const memory = new Memory({ memoryLimit: 1e9 })
    const world = away(messages, memory)
    Object.assign(memory.limits, { memoryLimit: 1000 })
    const client = clean(world)
    world.advance(50)
    expect(client.poll()).toEqual(['CONNACK'])
  })

  test('who goes away meanwhile leaves nothing', () => {
    const world = away(800)
    const client = clean(world)
    client.lost()
    world.advance(50)
    expect(world.broker.sessions.get('mqtt', 'x')).toBeUndefined()
    expect(clean(world).poll()[0]).toBe('CONNACK')
  })
})

test('whatever clients of one id do while its session ends: the last one is connected alone, and each message is with one member', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ what: fc.constantFrom('connect', 'resume'), subscribes: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ what: fc.constant('turn') }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constantFrom('lose first', 'lose last') }) },
  )
  const many = Array.from({ length: 400 }, (_, i) => ({
    filter: `f/${i}`,
    qos: 0 as const,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0 as const,
  }))
  const property = fc.property(
    fc.integer({ min: 400, max: 900 }),
    fc.array(step, { minLength: 2, maxLength: 12 }),
    (messages, steps) => {
      const world = away(messages)
      const helper = world.broker.sessions.get('mqtt', 'helper')!
      const clients: TestClient[] = []
      let last: TestClient | undefined
      for (const each of steps) {
        if (each.what === 'turn') world.turn()
        else if ('subscribes' in each) {
          const client = world.open()
          clients.push(client)
          last = client
          client.send(connectPacket('x', { ...LASTING, cleanStart: each.what === 'connect' }))
          if (each.subscribes && client.link.client !== undefined)
            client.link.send(world.now, { type: PacketType.SUBSCRIBE, packetId: 1, subscriptions: many, properties: {} })
        } else {
          const gone = each.what === 'lose first' ? clients.shift() : clients.pop()
          gone?.lost()
          if (gone === last) last = undefined
        }
      }
      world.advance(100)
      const open = clients.filter(({ link }) => !link.closed)
      const session = world.broker.sessions.get('mqtt', 'x')
      expect(open).toEqual(last === undefined ? [] : [last])
      expect(session?.link).toBe(open[0]?.link)
      const waits = (helper.queueLength ?? 0) + (helper.inflight?.size ?? 0) + (session?.queueLength ?? 0)
      expect(waits).toBe(messages)
    },
  )
  fc.assert(property, { numRuns: 100 })
})
