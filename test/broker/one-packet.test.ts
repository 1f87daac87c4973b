import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Memory } from '../../src/base/memory.ts'
import { TURN_LOOKS } from '../../src/broker/requests.ts'
import { type Packet, PacketType, type SubscriptionRequest } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { MemoryStore, type Store } from '../../src/store/store.ts'
import { Wire } from '../mqtt/wire.ts'
import { connectPacket, PERSISTENT, TestBroker, type TestClient } from './harness.ts'

/** Work is counted, in levels and subscriptions looked at and deliveries queued, because time depends on the machine: a thousand take less than a millisecond. */
const worked = (world: TestBroker, act: () => void): number => {
  const before = world.broker.work
  act()
  return world.broker.work - before
}

const range = <T>(count: number, of: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => of(i))

const subscribe = (client: TestClient, filters: readonly string[], more: Partial<SubscriptionRequest> = {}): void => {
  const subscriptions = filters.map((filter) => ({
    filter,
    qos: 0 as const,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0 as const,
    ...more,
  }))
  client.send({ type: PacketType.SUBSCRIBE, packetId: 1, subscriptions, properties: {} })
}

/** SUBSCRIBE, and the turns that it takes; gives the codes of SUBACK. */
function subscribed(client: TestClient, filters: readonly string[]): readonly number[] {
  subscribe(client, filters)
  client.world.advance(0)
  const suback = client.link.poll(client.world.now)
  return suback?.type === PacketType.SUBACK ? suback.reasonCodes : []
}

/** Filters of `+` and `a` over so many levels, from the `from`th on. */
const branching = (levels: number, from: number, count: number): string[] =>
  range(count, (i) => range(levels, (level) => (((from + i) >> level) & 1 ? '+' : 'a')).join('/'))

describe('what one topic is compared with', () => {
  test('65,530 filters of + and a over 16 levels make no topic cost more than any other', () => {
    const world = new TestBroker()
    const clients = range(7, (i) => world.connect(`c${i}`))
    for (const [i, client] of clients.entries()) subscribed(client, branching(16, i * 9362, 9362))
    const publisher = world.connect('publisher')
    expect(worked(world, () => publisher.publish('a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a', 'x'))).toBeLessThan(5000)
    expect(new Set(world.notices.map(({ limit }) => limit))).toContain('max_wildcard_shapes_per_session')
  })

  test('nor do filters of many sessions with few each', () => {
    const limits = { maxDeepWildcardLevels: 1024 }
    const world = new TestBroker({ limits })
    for (let i = 0; i < 500; i++) subscribed(world.connect(`c${i}`), branching(16, i * 30, 30))
    const publisher = world.connect('publisher')
    // All shapes of up to eight levels lead to 2^9 - 1 places, and deeper ones to as many more as they are allowed levels; each may be subscribed to.
    const most = 2 * (2 ** 9 - 1 + limits.maxDeepWildcardLevels)
    expect(worked(world, () => publisher.publish('a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a', 'x'))).toBeLessThan(most)
    expect(new Set(world.notices.map(({ limit }) => limit))).toContain('max_deep_wildcard_levels')
    // Nobody takes the place of filters as sites have them.
    expect(subscribed(world.connect('site'), ['+/+/+/+/+/+/+/+', 'a/+/c/d/e/f/g/#', 'a/b/c/d/e/f/g/h/i'])).toEqual([0, 0, 0])
    // And whoever has subscribed to something goes on to do so, as others do that have their wildcards in the same places.
    expect(subscribed(world.connect('late'), [branching(16, 1, 1)[0]!.replaceAll('a', 'b')])).toEqual([0])
  })

  test('ten thousand filters that differ in names alone are granted', () => {
    const world = new TestBroker()
    const filters = range(9990, (i) => `site/${i}/+/state/and/then/some/more/levels/#`)
    expect(new Set(subscribed(world.connect('c'), [...filters, 'a', 'b/c', '#']))).toEqual(new Set([0]))
    expect(worked(world, () => world.connect('p').publish('site/1/x/state/and/then/some/more/levels', 'x'))).toBeLessThan(30)
  })

  test('what is unsubscribed from makes room, and subscribing again takes none', () => {
    const world = new TestBroker({ limits: { maxWildcardShapesPerSession: 2, maxDeepWildcardLevels: 2 } })
    const client = world.connect('c')
    const deep = '+/2/3/4/5/6/7/8/9/#'
    const more = '1/+/3/4/5/6/7/8/9'
    expect(subscribed(client, ['a/+', deep, more, 'a/+', deep, 'b/+', '#'])).toEqual([0, 0, 0x97, 0, 0, 0, 0x97])
    client.unsubscribe('a/+')
    client.unsubscribe(deep)
    client.poll()
    expect(subscribed(client, ['#', more])).toEqual([0, 0x97])
    client.unsubscribe('b/+')
    client.poll()
    expect(subscribed(client, [more, deep])).toEqual([0, 0x97])
    client.disconnect()
    expect(subscribed(world.connect('other'), [deep])).toEqual([0])
  })
})

describe('shared subscriptions of one session', () => {
  test('bring it a bounded number of copies of each message', () => {
    const world = new TestBroker()
    const client = world.connect('c')
    subscribed(
      client,
      range(9000, (i) => `$share/${i}/#`),
    )
    client.poll()
    const publisher = world.connect('publisher')
    expect(worked(world, () => publisher.publish('a', 'x'))).toBeLessThan(60)
    expect(client.poll()).toHaveLength(16)
    expect(new Set(world.notices.map(({ limit }) => limit))).toContain('max_shared_copies_per_session')
  })

  test('any number of filters in one group are granted that match nothing together', () => {
    const world = new TestBroker()
    const filters = [...range(1000, (i) => `$share/workers/jobs/${i}`), ...range(1000, (i) => `$share/workers/site/${i}/+`)]
    expect(new Set(subscribed(world.connect('c'), filters))).toEqual(new Set([0]))
  })

  test('asking many busy members costs a publisher its share of the turn', () => {
    const wire = new Wire({}, { limits: { maxInflightMessages: 1 } })
    for (let i = 0; i < 500; i++) wire.send(wire.connect(), subscribePacket(['$share/g/a'], 1))
    const publisher = wire.connect()
    const message = (id: number): Publish => Publish.of('a', Buffer.from('x'), 1, false, id)
    for (let id = 1; id <= 500; id++) wire.send(publisher, message(id))
    const before = wire.broker.work
    wire.send(publisher, message(501))
    expect(wire.broker.work - before).toBeGreaterThanOrEqual(500 / 8)
  })
})

const subscribePacket = (filters: readonly string[], qos: 0 | 1 = 0): Packet => ({
  type: PacketType.SUBSCRIBE,
  packetId: 1,
  subscriptions: filters.map((filter) => ({ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 })),
  properties: {},
})

/** What a turn may cost beyond its share: a last step. */
const SLACK = 200

describe('SUBSCRIBE and UNSUBSCRIBE take as many turns as they need', () => {
  const RETAINED = 20_000

  function siteWithRetained(): { world: TestBroker; publisher: TestClient } {
    const world = new TestBroker()
    const publisher = world.connect('publisher')
    for (let i = 0; i < RETAINED; i++) publisher.publish(`r/${i % 100}/${i}`, 'old', 0, 0, { retain: true })
    return { world, publisher }
  }

  /** Turns until nothing is due, each with what it has cost. */
  function turns(world: TestBroker): number[] {
    const costs: number[] = []
    while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) costs.push(worked(world, () => world.turn()))
    return costs
  }

  test('20 wildcards among many retained messages', () => {
    const { world } = siteWithRetained()
    const client = world.connect('c')
    const filters = ['#', 'r/#', '+/+/#', ...range(17, (i) => `r/+/${i}`)]
    const first = worked(world, () => subscribe(client, filters))
    expect(client.link.state).toBe('held')
    // SUBACK comes before what is retained, and after all of it has been found.
    expect(client.poll()).toEqual([])
    const costs = turns(world)
    // The routes that the first filter makes invalid are looked at in one go.
    expect(first).toBeLessThanOrEqual(2 * TURN_LOOKS)
    for (const cost of costs) expect(cost).toBeLessThanOrEqual(TURN_LOOKS + SLACK)
    expect(costs.length).toBeGreaterThan(20)
    expect(client.link.state).toBe('open')
    const [suback, ...messages] = client.poll()
    expect(suback).toMatch(/^SUBACK/)
    expect(messages).toHaveLength(3 * RETAINED + 17)
  })

  test('a message that comes meanwhile follows what was retained before it, and comes once', () => {
    const { world, publisher } = siteWithRetained()
    const client = world.connect('c')
    subscribe(client, ['r/#'])
    expect(client.link.state).toBe('held')
    for (let i = 0; i < RETAINED; i += 10) publisher.publish(`r/${i % 100}/${i}`, 'replaced', 0, 0, { retain: true })
    for (let i = 1; i < RETAINED; i += 10) publisher.publish(`r/${i % 100}/${i}`, 'live')
    publisher.publish('r/new', 'new', 0, 0, { retain: true })
    turns(world)
    const got = client.poll().slice(1)
    const ofTopic = byTopic(got)
    expect(ofTopic.get('r/new')).toEqual(['r/new=new q0'])
    for (let i = 0; i < RETAINED; i++) {
      const topic = `r/${i % 100}/${i}`
      const lines = ofTopic.get(topic)
      const old = `${topic}=old q0 retain`
      // Whether the old one was found before it was replaced is nobody's business; that it never comes after the new one is.
      if (i % 10 === 0) expect([[`${topic}=replaced q0`], [old, `${topic}=replaced q0`]]).toContainEqual(lines)
      else expect(lines).toEqual(i % 10 === 1 ? [old, `${topic}=live q0`] : [old])
    }
  })

  const byTopic = (lines: readonly string[]): Map<string, string[]> => {
    const groups = new Map<string, string[]>()
    for (const line of lines) {
      const topic = line.split('=')[0]!
      groups.set(topic, [...(groups.get(topic) ?? []), line])
    }
    return groups
  }

  test('a client that is gone before the answer leaves nothing under way, and finds its messages when it is back', () => {
    const { world, publisher } = siteWithRetained()
    const client = world.connect('c', PERSISTENT)
    client.subscribe('live', 1)
    subscribe(client, ['r/#'], { qos: 1 })
    publisher.publish('live', 'x', 1)
    client.lost()
    turns(world)
    expect(world.broker.nextTimeout()).toBe(3600_000)
    const again = world.connect('c', PERSISTENT)
    expect(again.poll().filter((line) => line.startsWith('live'))).toEqual(['live=x q1 #1'])
  })

  test('what the same client sends next waits for the answer', () => {
    const wire = new Wire()
    const client = wire.connect()
    wire.out(client)
    wire.send(client, subscribePacket(range(5000, (i) => `a/${i}/+`)))
    wire.send(client, { type: PacketType.PINGREQ })
    expect(wire.lines(client)).toEqual(['pause'])
    const bystander = wire.connect()
    wire.send(bystander, { type: PacketType.PINGREQ })
    expect(wire.lines(bystander)).toContain('PINGRESP')
    wire.advance(0)
    expect(wire.lines(client).map((line) => line.slice(0, 8))).toEqual(['SUBACK #', 'resume', 'PINGRESP'])
  })

  test('10,000 filters, there and back', () => {
    const world = new TestBroker()
    const client = world.connect('c')
    const filters = range(10_000, (i) => `a/${i}/+`)
    const counts = (before: number): number[] => {
      const seen: number[] = [before, world.broker.subscriptionCount]
      while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) {
        world.turn()
        seen.push(world.broker.subscriptionCount)
      }
      return seen
    }
    const largestStep = (seen: readonly number[]): number =>
      Math.max(...seen.map((count, i) => Math.abs(count - (seen[i - 1] ?? count))))
    subscribe(client, filters)
    const growing = counts(0)
    expect(growing.at(-1)).toBe(10_000)
    expect(largestStep(growing)).toBeLessThanOrEqual(TURN_LOOKS / 16)
    client.send({ type: PacketType.UNSUBSCRIBE, packetId: 2, filters, properties: {} })
    const shrinking = counts(10_000)
    expect(shrinking.at(-1)).toBe(0)
    expect(largestStep(shrinking)).toBeLessThanOrEqual(TURN_LOOKS / 16)
  })

  test('all of them together have the same turn, and each gets on', () => {
    const { world } = siteWithRetained()
    const clients = range(20, (i) => world.connect(`c${i}`))
    for (const client of clients) expect(worked(world, () => subscribe(client, ['r/#']))).toBeLessThanOrEqual(2 * TURN_LOOKS)
    const costs = turns(world)
    for (const cost of costs) expect(cost).toBeLessThanOrEqual(TURN_LOOKS + 20 * SLACK)
    for (const client of clients) expect(client.poll()).toHaveLength(RETAINED + 1)
  })
})

describe('the end of a session with many filters', () => {
  test('takes them out over several turns, and nothing is delivered to it meanwhile', () => {
    const world = new TestBroker()
    const client = world.connect('c')
    expect(
      subscribed(
        client,
        range(9000, (i) => `a/${i}/+`),
      ),
    ).toHaveLength(9000)
    subscribed(client, ['$share/g/a/#'])
    const other = world.connect('other')
    subscribed(other, ['a/8999/+', '$share/g/a/#'])
    const publisher = world.connect('publisher')
    publisher.publish('a/8999/x', 'before')
    const [seen] = [client.poll().length + other.poll().length]
    expect(seen).toBe(3)
    world.broker.endTurn()
    client.disconnect()
    expect(world.broker.subscriptionCount).toBeGreaterThan(7000)
    expect(client.link.session).toBeUndefined()
    for (let i = 0; i < 4; i++) publisher.publish('a/8999/x', 'after')
    expect(other.poll()).toEqual(range(8, () => 'a/8999/x=after q0'))
    let before = world.broker.subscriptionCount
    while (world.broker.nextTimeout() !== undefined) {
      world.turn()
      expect(before - world.broker.subscriptionCount).toBeLessThanOrEqual(1024)
      before = world.broker.subscriptionCount
    }
    expect(world.broker.subscriptionCount).toBe(2)
  })

  test('a client that is back at once has none of them', () => {
    const world = new TestBroker()
    const client = world.connect('c')
    subscribed(
      client,
      range(9000, (i) => `a/${i}`),
    )
    client.disconnect()
    const again = world.connect('c')
    subscribed(again, ['a/8000'])
    const publisher = world.connect('publisher')
    publisher.publish('a/8000', 'x')
    publisher.publish('a/8001', 'x')
    expect(again.poll()).toEqual(['a/8000=x q0'])
    world.advance(0)
    publisher.publish('a/8000', 'y')
    expect(again.poll()).toEqual(['a/8000=y q0'])
    expect(world.broker.subscriptionCount).toBe(1)
  })
})

test('messages with large properties are encoded over several turns', () => {
  const wire = new Wire({}, { limits: { maxInflightMessages: 100 } })
  const publisher = wire.connect()
  const readers = range(3, () => wire.connect())
  for (const reader of readers) {
    wire.send(reader, subscribePacket(['r'], 1))
    wire.congested(reader, true)
  }
  const count = 25
  const userProperties = range(4, () => ['k', 'x'.repeat(60_000)] as const)
  for (let id = 1; id <= count; id++)
    wire.send(publisher, Publish.of('r', Buffer.from(`${id}`), 1, false, id, { userProperties }))
  const ids = (reader: number): string[] => wire.lines(reader).flatMap((line) => /^r=(\d+)/.exec(line)?.[1] ?? [])
  for (const reader of readers) expect(ids(reader)).toEqual([])
  const got = range(readers.length, (): string[] => [])
  const mostPerTurn: number[] = []
  for (const reader of readers) wire.connections.congested(wire.now, reader, false)
  for (;;) {
    wire.run()
    const written = readers.map(ids)
    for (const [i, some] of written.entries()) got[i]!.push(...some)
    mostPerTurn.push(Math.max(...written.map(({ length }) => length)))
    if (wire.nextTimeout() > wire.now) break
    wire.connections.handleTimeout(wire.now)
  }
  for (const all of got) expect(all).toEqual(range(count, (i) => `${i + 1}`))
  // 1 MiB, and one more; later there are some that another reader has had encoded.
  expect(mostPerTurn[0]).toBeLessThanOrEqual(6)
})

test('a long queue is written over several turns', () => {
  const wire = new Wire()
  const publisher = wire.connect()
  for (let i = 0; i < 20_000; i++) wire.send(publisher, Publish.of(`r/${i}`, Buffer.from('x'), 0, true, 0))
  const client = wire.connect()
  wire.out(client)
  wire.send(client, subscribePacket(['r/#']))
  const written: number[] = []
  while (wire.nextTimeout() <= wire.now) {
    wire.broker.handleTimeout(wire.now)
    wire.connections.handleTimeout(wire.now)
    wire.run()
    written.push(wire.lines(client).filter((line) => line.startsWith('r/')).length)
  }
  expect(written.reduce((sum, count) => sum + count)).toBe(20_000)
  expect(Math.max(...written)).toBeLessThanOrEqual(2048)
})

describe('a session that ends with much to pass on to the other members of its shared subscriptions', () => {
  const MEMBERS = 400
  const MESSAGES = 150

  /** Messages wait for `c`, because all other members are away; those in flight are what its window allows. */
  function waiting(store: Store = new MemoryStore()): TestBroker {
    const world = new TestBroker({}, store)
    const lasting = { ...PERSISTENT, properties: { ...PERSISTENT.properties, receiveMaximum: 1 } }
    for (let i = 0; i < MEMBERS; i++) {
      const member = world.connect(`m${i}`, PERSISTENT)
      member.subscribe('$share/g/s/#', 2)
      if (store instanceof DelayedStore) world.commit()
      member.disconnect()
    }
    const client = world.connect('c', lasting)
    client.subscribe('$share/g/s/#', 2)
    if (store instanceof DelayedStore) world.commit()
    client.poll()
    const publisher = world.connect('publisher')
    for (let i = 0; i < MESSAGES; i++) publisher.publish(`s/${i}`, `${i}`, i % 2 === 0 ? 1 : 2, i + 1)
    if (store instanceof DelayedStore) world.commit()
    client.poll()
    return world
  }

  /** What each member has got, once it is back. */
  const received = (world: TestBroker): string[][] =>
    range(MEMBERS, (i) => {
      const member = world.connect(`m${i}`, { ...PERSISTENT, properties: { ...PERSISTENT.properties, receiveMaximum: 1000 } })
      const lines = member.poll()
      if (world.store instanceof DelayedStore) {
        // The packet ids of QoS 2 are recorded before it leaves, some at a time.
        for (let before = -1; before < lines.length; ) {
          before = lines.length
          world.commit()
          lines.push(...member.poll())
        }
      }
      return lines.flatMap((line) => /^s\/(\d+)=/.exec(line)?.[1] ?? [])
    })

  const sorted = (ids: readonly string[]): string[] => ids.toSorted((a, b) => Number(a) - Number(b))
  const all = range(MESSAGES, String)

  test('does so over several turns, before CONNACK for the next one under its id; each gets there once, in order', () => {
    const world = waiting()
    const again = world.open()
    const costs = [worked(world, () => again.send(connectPacket('c')))]
    expect(again.poll()).toEqual([])
    // What its client sends meanwhile waits.
    expect(again.link.state).toBe('held')
    while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) costs.push(worked(world, () => world.turn()))
    expect(again.poll()).toEqual(['CONNACK'])
    expect(costs.length).toBeGreaterThan(3)
    for (const cost of costs) expect(cost).toBeLessThanOrEqual(TURN_LOOKS + SLACK)
    const got = received(world)
    expect(sorted(got.flat())).toEqual(all)
    for (const ids of got) expect(ids).toEqual(sorted(ids))
  })

  test('goes on with that when the client that wanted it has gone', () => {
    const world = waiting()
    const again = world.open()
    again.send(connectPacket('c'))
    again.lost()
    world.advance(1000)
    expect(world.broker.sessions.get('mqtt', 'c')).toBeUndefined()
    expect(sorted(received(world).flat())).toEqual(all)
  })

  test('loses nothing and gives nothing twice where the process ends meanwhile', () => {
    for (const turns of [0, 1, 3]) {
      const store = new DelayedStore()
      const world = waiting(store)
      world.open().send(connectPacket('c'))
      for (let i = 0; i < turns; i++) world.turn()
      store.commit()
      const restarted = TestBroker.restarted(store, world.now)
      restarted.commit()
      expect(restarted.broker.sessions.get('mqtt', 'c')).toBeDefined()
      restarted.open().send(connectPacket('c'))
      restarted.advance(100)
      restarted.commit()
      expect(restarted.broker.sessions.get('mqtt', 'c')?.queueLength).toBe(0)
      expect(sorted(received(restarted).flat())).toEqual(all)
    }
  })
})

describe('SUBSCRIBEs that are under way', () => {
  const FILTER_BYTES = 20_000
  const limit = 8 * 1024 * 1024

  /** `#` keeps the request under way, and the others wait behind it. */
  const filters = (count: number): string[] => ['#', ...range(count, (i) => `${i}/${'f'.repeat(FILTER_BYTES)}`)]

  function siteWithRetained(): { world: TestBroker; underWay: () => number } {
    const memory = new Memory({ memoryLimit: limit })
    const world = new TestBroker({ memory })
    const publisher = world.connect('publisher')
    for (let i = 0; i < 3000; i++) publisher.publish(`r/${i}`, 'x', 0, 0, { retain: true })
    return { world, underWay: () => memory.byCategory().get('receive_buffers') ?? 0 }
  }

  test('are in the account, until they are done or nobody waits for them', () => {
    const { world, underWay } = siteWithRetained()
    for (const end of [(client: TestClient): void => client.lost(), (): void => world.advance(0)]) {
      const client = world.connect('c')
      subscribe(client, filters(20))
      expect(client.link.state).toBe('held')
      expect(underWay()).toBeGreaterThan(20 * FILTER_BYTES)
      expect(underWay()).toBeLessThan(1.2 * 20 * FILTER_BYTES)
      end(client)
      expect(underWay()).toBe(0)
    }
  })

  test('leave no room for further large ones above a part of the memory, and always for small ones', () => {
    const { world } = siteWithRetained()
    const clients = range(5, (i) => world.connect(`c${i}`))
    for (const client of clients) subscribe(client, filters(20))
    expect(clients.map(({ link }) => link.closed)).toEqual([false, false, true, true, true])
    expect(clients[2]!.poll()).toEqual([`CLOSE ${0x97}`])
    expect(world.notices.filter(({ limit: key }) => key === 'memory_limit').map(({ code }) => code)).toEqual([
      'protocol-error',
      'protocol-error',
      'protocol-error',
    ])
    const small = world.connect('small')
    subscribe(small, ['#', 'a', 'b'])
    expect(small.link.closed).toBe(false)
    world.advance(0)
    expect(small.poll()[0]).toBe('SUBACK #1 0,0,0')
    expect(clients[0]!.poll()[0]).toMatch(/^SUBACK #1 0,0,0/)
  })
})
