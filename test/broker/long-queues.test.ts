import { describe, expect, test, vi } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import { messageOf, SessionQueue } from '../../src/broker/session-queue.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import { Publish, type QoS } from '../../src/mqtt/publish.ts'
import type { Store } from '../../src/store/store.ts'
import { bytes, PERSISTENT, TestBroker, type TestClient } from './harness.ts'

/** Queues become longer than max_queued_messages by retained messages. */
const MESSAGES = 8000
const PER_TURN = 16_384
const SECOND = 1000

const range = <T>(count: number, of: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => of(i))

interface Site {
  readonly store?: Store
  readonly limits?: Partial<BrokerLimits>
  readonly qos?: QoS
  readonly expiry?: (i: number) => number
  readonly connect?: Partial<Connect>
  /** Topics that may not be read. */
  readonly forbidden?: (topic: string) => boolean
}

/** Readers that do not read, with all retained messages in their queues; `reads` counts how often access rules are evaluated. */
function site(readers: number, { store, limits = {}, qos = 1, expiry, connect, forbidden = () => false }: Site = {}) {
  let reads = 0
  const may = { forbidden }
  const read = (_who: object, topic: string): boolean => ++reads > 0 && !may.forbidden(topic)
  const access = { ...OPEN_ACCESS, read, keepsSubscriptions: () => true }
  const world = new TestBroker({ access, limits }, store)
  const publisher = world.connect('publisher')
  for (let i = 0; i < MESSAGES; i++) {
    const properties = expiry === undefined ? {} : { messageExpiryInterval: expiry(i) }
    publisher.publish(`r/${i}`, 'x', qos, qos && 1 + (i % 60_000), { retain: true, properties })
    if (i % 500 === 0 && store instanceof DelayedStore) world.commit()
    publisher.poll()
  }
  const clients = range(readers, (i) => {
    const client = world.connect(`c${i}`, connect ?? {})
    client.subscribe('x', 1)
    client.poll()
    client.link.listen(world.now, false)
    client.subscribe('r/#', qos)
    world.advance(0)
    return client
  })
  const sessions = clients.map(({ link }) => link.client!)
  const waiting = (): number => sessions.reduce((sum, { queueLength }) => sum + queueLength, 0)
  expect(waiting()).toBe(readers * MESSAGES)
  world.broker.endTurn()
  reads = 0
  const taken = (): number => {
    const count = reads
    reads = 0
    return count
  }
  /** What `count` says after this turn, and after each of those that are due. */
  const turns = (count: () => number): number[] => {
    const counts = [count()]
    while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) {
      world.turn()
      counts.push(count())
    }
    return counts
  }
  return { world, publisher, clients, sessions, waiting, reads: taken, turns, may }
}

/** The largest difference between two turns. */
const largestStep = (from: number, counts: readonly number[]): number =>
  Math.max(...counts.map((count, i) => (counts[i - 1] ?? from) - count))

/** How often this is looked at in the retained messages, which clean sessions share. */
function looks(world: TestBroker, key: 'owned' | 'expiresAt'): () => number {
  let count = 0
  for (const message of world.broker.retained) {
    let value: unknown = message[key]
    Object.defineProperty(message, key, {
      get: () => ++count > 0 && value,
      set: (to) => {
        value = to
      },
    })
  }
  return () => {
    const taken = count
    count = 0
    return taken
  }
}

describe('clients with long queues that leave together', () => {
  const leave = (clients: readonly TestClient[]): void => {
    for (const client of clients) client.lost()
  }

  test('nothing is done for messages with QoS 1, which were copied when they were queued', () => {
    const { world, clients } = site(3)
    const owned = looks(world, 'owned')
    leave(clients)
    expect(owned()).toBe(0)
  })

  test.each([{}, { connect: PERSISTENT }])('their QoS 0 is dropped and counted over several turns: %j', (more) => {
    const { world, clients, waiting, turns } = site(4, { qos: 0, ...more })
    leave(clients)
    const counts = turns(waiting)
    expect(largestStep(4 * MESSAGES, counts)).toBeLessThanOrEqual(PER_TURN + 64)
    expect(counts.at(-1)).toBe('connect' in more ? 0 : counts[0])
    world.advance(SECOND)
    expect(waiting()).toBe(0)
    expect(world.broker.stats.publishDropped).toBe(4 * MESSAGES)
  })

  test('with queue_qos0_messages it is kept, and copied over several turns', () => {
    const { world, clients, waiting, turns } = site(4, { qos: 0, connect: PERSISTENT, limits: { queueQos0Messages: true } })
    const owned = looks(world, 'owned')
    leave(clients)
    const counts = turns(owned)
    expect(Math.max(...counts)).toBeLessThanOrEqual(PER_TURN + 64)
    expect(counts.reduce((sum, count) => sum + count)).toBe(4 * MESSAGES)
    expect(waiting()).toBe(4 * MESSAGES)
  })
})

describe('a full queue that is long', () => {
  const publish = (publisher: TestClient, packetId: number): void => {
    publisher.link.send(publisher.world.now, Publish.of('x', bytes('new'), 1, false, packetId))
  }

  test('is not examined for each message that finds it full, nor all queues in one turn', () => {
    const { world, publisher } = site(8, { expiry: (i) => 60 + Math.floor(i / 100) })
    const expiresAt = looks(world, 'expiresAt')
    for (let second = 60; second < 65; second++) {
      world.now = second * SECOND
      for (let id = 1; id <= 10; id++) publish(publisher, id)
      // Once for each place, and once more for what expires.
      expect(expiresAt()).toBeLessThanOrEqual(PER_TURN + 1000)
      world.broker.endTurn()
      world.broker.handleTimeout(world.now)
      expiresAt()
    }
  })

  test('drops QoS 0 over several turns, and what has found no room so far is dropped', () => {
    const { world, publisher, waiting } = site(5, { qos: 0, limits: { maxQueuedMessages: 1000 } })
    // Their windows are full.
    publish(publisher, 1)
    const counts = range(4, () => {
      for (let id = 1; id <= 14; id++) publish(publisher, id)
      world.broker.endTurn()
      return waiting()
    })
    expect(largestStep(5 * MESSAGES, counts)).toBeLessThanOrEqual(PER_TURN)
    expect(counts.at(-1)).toBe(5 * 1000)
    expect(world.codes()).toContain('queue-full')
  })

  test('drops the oldest over several turns', () => {
    const { world, publisher, waiting } = site(4, { limits: { maxQueuedMessages: 1000, queueFull: 'drop_oldest' } })
    const counts = range(4, (i) => {
      publish(publisher, i + 1)
      world.broker.endTurn()
      return waiting()
    })
    expect(largestStep(4 * MESSAGES, counts)).toBeLessThanOrEqual(PER_TURN)
    expect(counts.at(-1)).toBe(4 * 1000)
  })

  test('is searched for QoS 0 once, not again for each message', () => {
    const world = new TestBroker({ limits: { maxQueuedMessages: 1000, queueQos0Messages: true } })
    const reader = world.connect('reader', PERSISTENT)
    reader.subscribe('x', 1)
    reader.disconnect()
    const publisher = world.connect('publisher')
    for (let i = 0; i < 1000; i++) publisher.publish('x', `${i}`, i < 900 ? 1 : 0)
    const searches = vi.spyOn(SessionQueue.prototype, 'dropQos0')
    for (let i = 0; i < 100; i++) publisher.publish('x', 'new', 1)
    const places = searches.mock.results.reduce((sum, { value }) => sum + (value as number), 0)
    searches.mockRestore()
    expect(places).toBeLessThanOrEqual(2 * 1000)
    expect(world.broker.sessions.byKey('mqtt:reader')).toMatchObject({ queueLength: 1000, queuedQos0: 0 })
  })
})

test('the queue of one absent session that expires leaves over several turns, in the store too', () => {
  const store = new DelayedStore()
  const { world, publisher, clients, waiting, turns } = site(3, { store, connect: PERSISTENT, expiry: () => 60 })
  for (const client of clients) client.lost()
  world.commit()
  world.now = 60 * SECOND
  world.broker.endTurn()
  world.broker.handleTimeout(world.now)
  expect(waiting()).toBeGreaterThanOrEqual(3 * MESSAGES - PER_TURN - 64)
  const back = world.connect('c2', PERSISTENT)
  const before = waiting()
  expect(back.poll()).toEqual([])
  expect(before - waiting()).toBe(4096)
  expect(largestStep(before, turns(waiting))).toBeLessThanOrEqual(PER_TURN + 64)
  expect(waiting()).toBe(0)
  publisher.publish('x', 'new', 1)
  expect(back.poll()).toEqual(['x=new q1 #1'])
  store.commit()
  const rows = [...store.crash({ folded: store.durable }).replay()]
  expect(rows.filter(({ type }) => type === 'delivery')).toHaveLength(3)
  expect(world.broker.stats.publishDropped).toBe(3 * MESSAGES)
})

describe('a long queue is held against new rules over several turns', () => {
  const even = (topic: string): boolean => Number(topic.slice(2)) % 2 === 0
  const topics = (lines: readonly string[]): string[] => lines.map((line) => line.split('=')[0]!)

  test('and nothing is delivered meanwhile that may not be read', () => {
    const { world, clients, reads, turns, may, waiting } = site(2)
    may.forbidden = even
    world.broker.accessChanged(world.now)
    expect(reads()).toBeLessThanOrEqual(4096 + 64)
    const last = clients[1]!
    last.link.listen(world.now, true)
    const got = topics(last.poll().slice(1))
    expect(got).toHaveLength(20)
    expect(got.filter(even)).toEqual([])
    reads()
    expect(Math.max(...turns(reads))).toBeLessThanOrEqual(4096 + 64)
    expect(waiting()).toBe(MESSAGES - 20)
    expect(world.broker.stats.publishDropped).toBe(MESSAGES)
  })

  test('a second change starts again from the first message', () => {
    const { world, turns, may, reads, sessions } = site(1)
    may.forbidden = even
    world.broker.accessChanged(world.now)
    world.turn()
    may.forbidden = (topic) => !even(topic)
    world.broker.accessChanged(world.now)
    turns(reads)
    // Of the others, some had left after the first change.
    const left = Array.from(sessions[0]!.queue ?? [], (entry) => messageOf(entry).topic)
    expect(left.length).toBeLessThan(MESSAGES / 4)
    expect(left.filter((topic) => !even(topic))).toEqual([])
  })

  test('after CONNECT of another user too', () => {
    const { world, clients, sessions, turns, may, reads } = site(2, { connect: PERSISTENT, limits: { sessionOwnership: false } })
    for (const client of clients) client.lost()
    may.forbidden = even
    const again = clients.map((_, i) => world.connect(`c${i}`, { ...PERSISTENT, username: 'other' }))
    for (const client of again) {
      const got = topics(client.poll())
      expect(got).toHaveLength(20)
      expect(got.filter(even)).toEqual([])
    }
    // Each CONNECT has a turn of its own.
    expect(reads()).toBeLessThanOrEqual(2 * (4096 + 64 + 50))
    world.broker.endTurn()
    expect(Math.max(...turns(reads))).toBeLessThanOrEqual(4096 + 64)
    expect(sessions.map(({ queueLength }) => queueLength)).toEqual([MESSAGES / 2 - 20, MESSAGES / 2 - 20])
  })

  test.each([0, 1, 2] as const)('and nothing is delivered before its session has had its turn, with QoS %i', (qos) => {
    const store = new DelayedStore()
    const may = { read: true }
    const access = { ...OPEN_ACCESS, read: () => may.read, keepsSubscriptions: () => true }
    const world = new TestBroker({ access }, store)
    for (let i = 0; i < 300; i++) world.connect(`other${i}`)
    const reader = world.connect('reader', PERSISTENT)
    reader.subscribe('x', 2)
    world.commit()
    reader.poll()
    const publisher = world.connect('publisher')
    publisher.publish('x', 'secret', qos)
    world.commit()
    // With QoS 2 its packet id is recorded, and it waits for that.
    if (qos === 2) expect(reader.poll()).toEqual([])
    may.read = false
    world.broker.accessChanged(world.now)
    world.commit()
    expect(reader.poll()).toEqual([])
    world.turn()
    may.read = true
    world.broker.accessChanged(world.now)
    world.turn()
    expect(reader.poll()).toEqual([])
    expect(reader.link.client!.inflight?.size ?? 0).toBe(0)
  })
})

test('a full store, which stops the check against new rules, holds up no message that may be read', () => {
  const store = new DelayedStore()
  const access = {
    ...OPEN_ACCESS,
    readsAll: () => false,
    read: (_: unknown, topic: string) => topic !== 'secret',
    keepsSubscriptions: () => true,
  }
  const world = new TestBroker({ access }, store)
  const reader = world.connect('reader')
  reader.subscribe('#')
  reader.poll()
  const publisher = world.connect('publisher')
  publisher.publish('kept', 'x', 0, 0, { retain: true })
  store.maxBytes = 1
  reader.poll()
  expect(store.hasRoom).toBe(false)
  world.broker.accessChanged(world.now)
  world.advance(1000)
  publisher.publish('secret', 'x')
  publisher.publish('telemetry', 'x')
  expect(reader.poll()).toEqual(['telemetry=x q0'])
})
