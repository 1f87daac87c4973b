import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import { PERSISTENT, TestBroker, type TestClient } from './harness.ts'

const SECOND = 1000

const expiring = (messageExpiryInterval: number, retain = false) => ({ retain, properties: { messageExpiryInterval } })

/** Records in the rows that a new process would read. */
function rows(store: DelayedStore, table: 'message' | 'delivery'): number {
  store.commit()
  return [...store.crash({ folded: store.durable }).replay()].filter(({ type }) => type === table).length
}

/** A subscriber to `a` that is away, and a publisher. */
function absentReader(world: TestBroker): TestClient {
  const reader = world.connect('reader', PERSISTENT)
  reader.subscribe('a', 1)
  if (world.store instanceof DelayedStore) world.commit()
  reader.poll()
  reader.disconnect()
  return world.connect('publisher')
}

const limited = (limits: Partial<BrokerLimits>, store?: DelayedStore): TestBroker => new TestBroker({ limits }, store)

describe('retained messages that have expired', () => {
  test('leave memory and the store, whether anybody asks for them or not', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const client = world.connect('c')
    for (let i = 0; i < 400; i++) client.publish(`t/${i}`, 'x', 1, i + 1, expiring(60, true))
    client.publish('t/lives', 'x', 1, 500, { retain: true })
    world.advance(59 * SECOND)
    expect(world.broker.retained.count).toBe(401)
    world.advance(SECOND)
    expect([world.broker.retained.count, rows(store, 'message')]).toEqual([1, 1])
    expect(world.broker.nextTimeout()).toBeUndefined()
  })

  test('leave while the process is down', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const client = world.connect('c')
    client.publish('t', 'x', 1, 1, expiring(60, true))
    client.publish('kept', 'x', 1, 2, expiring(600, true))
    world.commit()
    const again = TestBroker.restarted(store, 61 * SECOND)
    expect(again.broker.retained.count).toBe(1)
    expect(rows(again.store as DelayedStore, 'message')).toBe(1)
    again.advance(600 * SECOND)
    expect(rows(again.store as DelayedStore, 'message')).toBe(0)
  })

  test('stay in the counts while a full store cannot delete them, and leave when it can', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    world.connect('c').publish('t', 'x', 1, 1, expiring(60, true))
    store.refuse = true
    world.advance(100 * SECOND)
    expect(world.broker.retained.count).toBe(1)
    store.refuse = false
    world.advance(10 * SECOND)
    expect([world.broker.retained.count, rows(store, 'message')]).toEqual([0, 0])
  })

  test('one that was replaced or cleared in the meantime leaves nothing to expire', () => {
    const world = new TestBroker()
    const client = world.connect('c')
    client.publish('t', 'x', 0, 0, expiring(60, true))
    client.publish('t', 'y', 0, 0, { retain: true })
    client.publish('u', 'x', 0, 0, expiring(60, true))
    client.publish('u', '', 0, 0, { retain: true })
    expect(world.broker.nextTimeout()).toBeUndefined()
    expect(world.broker.retained.count).toBe(1)
  })
})

describe('queued messages that have expired', () => {
  test('leave memory, the store and the counts of an absent client', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const publisher = absentReader(world)
    for (const id of [1, 2, 3]) publisher.publish('a', 'x', 1, id, expiring(60))
    publisher.publish('a', 'lives', 1, 4)
    expect(world.broker.sessions.waiting().messages).toBe(4)
    world.advance(70 * SECOND)
    expect(world.broker.sessions.waiting()).toEqual({ messages: 1, bytes: 6 })
    expect(rows(store, 'delivery')).toBe(1)
    expect(world.broker.stats.publishDropped).toBe(3)
    const reason = 'expired, the first of 3 on a'
    expect(world.notices.at(-1)).toEqual({ code: 'message-dropped', level: 'debug', client: 'mqtt:reader', reason, count: 3 })
  })

  test('leave after a time in which the process was down', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const publisher = absentReader(world)
    publisher.publish('a', 'x', 1, 1, expiring(60))
    publisher.publish('a', 'lives', 1, 2)
    world.commit()
    const again = TestBroker.restarted(store, 70 * SECOND)
    again.advance(0)
    expect(again.broker.sessions.waiting().messages).toBe(1)
    expect(rows(again.store as DelayedStore, 'delivery')).toBe(1)
  })

  test.each(['drop_newest', 'drop_oldest'] as const)('make room for one that lives (queue_full: %s)', (queueFull) => {
    const world = limited({ maxQueuedMessages: 3, queueFull })
    const publisher = absentReader(world)
    publisher.publish('a', 'first', 1, 1)
    for (const id of [2, 3]) publisher.publish('a', 'x', 1, id, expiring(1))
    world.now += SECOND
    publisher.publish('a', 'second', 1, 4)
    const reader = world.connect('reader', PERSISTENT)
    expect(reader.poll()).toEqual(['a=first q1 #1', 'a=second q1 #2'])
    expect(world.codes()).not.toContain('queue-full')
  })

  test('the session ends before they expire: no timer is left', () => {
    const world = new TestBroker()
    const publisher = absentReader(world)
    publisher.publish('a', 'x', 1, 1, expiring(7200))
    world.advance(3600 * SECOND)
    expect(world.broker.nextTimeout()).toBeUndefined()
  })

  test('or that were delivered leave neither queue nor timer when the client leaves, and the next one expires on its own time', () => {
    const world = new TestBroker()
    const publisher = absentReader(world)
    publisher.publish('a', 'read', 1, 1, expiring(60))
    const reader = world.connect('reader', PERSISTENT)
    expect(reader.poll()).toEqual(['a=read q1 #1'])
    reader.ack(PacketType.PUBACK, 1)
    const session = world.broker.sessions.get('mqtt', 'reader')!
    expect([session.queue?.length, session.queue?.expiryTimer?.armed]).toEqual([0, true])
    reader.disconnect()
    expect([session.queue, session.inflight]).toEqual([undefined, undefined])
    publisher.publish('a', 'x', 1, 2, expiring(120))
    world.advance(119 * SECOND)
    expect(session.queueLength).toBe(1)
    world.advance(11 * SECOND)
    expect(session.queue).toBeUndefined()
  })

  test('expire on time behind one that was the last to be sent before the client was lost', () => {
    const world = new TestBroker()
    const publisher = absentReader(world)
    publisher.publish('a', 'read', 1, 1, expiring(60))
    const reader = world.connect('reader', PERSISTENT)
    reader.link.poll(world.now)
    while (reader.link.backlog > 0) reader.link.poll(world.now)
    reader.lost()
    publisher.publish('a', 'x', 1, 2, expiring(120))
    const session = world.broker.sessions.get('mqtt', 'reader')!
    world.advance(131 * SECOND)
    expect([session.queueLength, session.inflight?.size]).toEqual([0, 1])
  })

  test('with QoS 0 that was dropped for a client that left without reading, it has no queue', () => {
    const world = new TestBroker()
    const reader = world.connect('reader', PERSISTENT)
    reader.subscribe('a', 0)
    reader.poll()
    reader.link.listen(world.now, false)
    world.connect('publisher').publish('a', 'x', 0)
    const session = world.broker.sessions.get('mqtt', 'reader')!
    expect(session.queue?.length).toBe(1)
    reader.lost()
    expect(session.queue).toBeUndefined()
  })
})

test('what expires at one moment leaves in steps', () => {
  const world = new TestBroker()
  const client = world.connect('c')
  for (let i = 0; i < 10_000; i++) client.publish(`t/${i}`, 'x', 0, 0, expiring(60, true))
  world.now = 60 * SECOND
  const left: number[] = []
  do {
    world.broker.handleTimeout(world.now)
    left.push(world.broker.retained.count)
  } while (world.broker.nextTimeout() !== undefined)
  expect(left).toEqual([8976, 7952, 6928, 5904, 4880, 3856, 2832, 1808, 784, 0])
})
