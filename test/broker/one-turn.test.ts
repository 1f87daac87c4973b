import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { type Access, type Identity, OPEN_ACCESS } from '../../src/broker/access.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { bytes, connectPacket, PERSISTENT, TestBroker, type TestClient } from './harness.ts'

const range = <T>(count: number, of: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => of(i))

/** A broker that counts how often it asks what somebody may read: topic by topic, and at all. */
function counting(restricted: () => boolean): { world: TestBroker; reads: () => number; members: () => number } {
  let reads = 0
  let members = 0
  const access: Access = {
    ...OPEN_ACCESS,
    read: () => ++reads > 0,
    readsAll: () => ++members > 0 && !restricted(),
    keepsSubscriptions: () => true,
  }
  const taken = (count: number, reset: () => void): number => {
    reset()
    return count
  }
  return {
    world: new TestBroker({ access }),
    reads: () =>
      taken(reads, () => {
        reads = 0
      }),
    members: () =>
      taken(members, () => {
        members = 0
      }),
  }
}

describe('members of a shared subscription', () => {
  const MEMBERS = 50

  test('are listed once for all topics, and again when one comes or goes, or the rules change', () => {
    let isRestricted = false
    const { world, reads, members } = counting(() => isRestricted)
    const clients = range(MEMBERS, (i) => world.connect(`m${i}`))
    for (const client of clients) client.subscribe('$share/g/#')
    const publisher = world.connect('publisher')
    let count = 0
    const publish = (): number => {
      for (let i = 0; i < 20; i++) publisher.publish(`t/${count++}`, 'x')
      return reads() + members()
    }
    const got = (some: readonly TestClient[]): number =>
      some.reduce((sum, client) => sum + client.poll().filter((line) => line.startsWith('t/')).length, 0)
    members()
    expect(publish()).toBe(MEMBERS)
    expect(publish()).toBe(0)
    expect(got(clients)).toBe(40)
    const late = world.connect('late')
    late.subscribe('$share/g/#')
    members()
    expect(publish()).toBe(MEMBERS + 1)
    expect(got([...clients, late])).toBe(20)
    late.disconnect()
    expect(publish()).toBe(MEMBERS)
    expect(got(clients)).toBe(20)
    isRestricted = true
    world.broker.accessChanged(world.now)
    reads()
    members()
    // One says that all have to be asked, for each topic.
    expect(publish()).toBe(20 * MEMBERS + 20 * MEMBERS - 20 * (MEMBERS - 1))
    isRestricted = false
    world.broker.accessChanged(world.now)
    reads()
    members()
    expect(publish()).toBe(MEMBERS)
  })
})

test('another user of a session with filters that match much makes all routes anew, instead of looking for them', () => {
  const world = new TestBroker()
  const filters = range(2000, (i) => `+/+/x${i}`)
  const subscriptions = filters.map((filter) => ({
    filter,
    qos: 0 as const,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0 as const,
  }))
  const client = world.connect('c', PERSISTENT)
  client.send({ type: PacketType.SUBSCRIBE, packetId: 1, subscriptions, properties: {} })
  world.advance(0)
  client.disconnect()
  const publisher = world.connect('publisher')
  for (let round = 0; round < 2; round++) for (let i = 0; i < 4000; i++) publisher.publish(`a/${i}/b`, 'x')
  const before = world.broker.work
  const other = world.connect('c', { ...PERSISTENT, username: 'other' })
  // One filter alone looks at each of the routes twice.
  expect(world.broker.work - before).toBeLessThan(2048 + 2 * 4000 + 10)
  publisher.publish('a/b/x7', 'x')
  expect(other.poll()).toEqual(['a/b/x7=x q0'])
})

describe('what waits for those who are away', () => {
  const SESSIONS = 30
  const MESSAGES = 500

  function waiting(restricted: boolean): ReturnType<typeof counting> {
    const site = counting(() => restricted)
    const { world } = site
    for (let i = 0; i < SESSIONS; i++) {
      const client = world.connect(`c${i}`, PERSISTENT)
      client.subscribe('q/#', 1)
      client.disconnect()
    }
    const publisher = world.connect('publisher')
    for (let i = 0; i < MESSAGES; i++) publisher.publish(`q/${i}`, 'x', 1)
    site.reads()
    return site
  }

  test('is held against new rules over several turns', () => {
    const { world, reads } = waiting(true)
    world.broker.accessChanged(world.now)
    const counts = [reads()]
    while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) {
      world.turn()
      counts.push(reads())
    }
    expect(counts.reduce((sum, count) => sum + count)).toBe(SESSIONS * MESSAGES)
    expect(Math.max(...counts)).toBeLessThan(4096 + MESSAGES + 10)
  })

  test('is not looked through when the same client comes back under the same rules, and once when they have changed', () => {
    const { world, reads } = waiting(true)
    const back = (username?: string): number => {
      const client = world.connect('c0', { ...PERSISTENT, username })
      client.poll()
      client.lost()
      return reads()
    }
    expect(back()).toBe(0)
    world.broker.accessChanged(world.now)
    world.advance(0)
    reads()
    expect(back()).toBe(0)
    expect(back('other')).toBe(MESSAGES)
    expect(back('other')).toBe(0)
    // Before its turn has come: only what it gets.
    world.broker.endTurn()
    world.broker.accessChanged(world.now)
    reads()
    const late = world.connect(`c${SESSIONS - 1}`, PERSISTENT)
    expect([late.poll().length, reads()]).toEqual([20, 20])
    late.lost()
    world.advance(0)
    expect(reads()).toBeLessThanOrEqual((SESSIONS - 2) * MESSAGES)
  })

  test('is held against the rules over several turns when many come back under another name together', () => {
    const { world, reads } = waiting(true)
    world.broker.endTurn()
    const clients = range(SESSIONS, (i) => {
      const client = world.open()
      client.link.send(world.now, connectPacket(`c${i}`, { ...PERSISTENT, username: 'other' }))
      return client
    })
    const counts = [reads()]
    // Until a queue has been examined, each message is checked before it is sent.
    expect(clients.map((client) => client.poll().length)).toEqual(range(SESSIONS, () => 21))
    while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) {
      world.turn()
      counts.push(reads())
    }
    expect(counts.reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(SESSIONS * MESSAGES)
    expect(Math.max(...counts)).toBeLessThan(4096 + MESSAGES + SESSIONS * 20 + 10)
  })

  test('and may not be read any more is never delivered, before the session is checked or after', () => {
    const store = new DelayedStore()
    const options = { access: { ...OPEN_ACCESS, readsAll: () => false, read: ({ username }: Identity) => username !== 'other' } }
    const world = new TestBroker(options, store)
    for (let i = 0; i < SESSIONS; i++) {
      const client = world.connect(`c${i}`, PERSISTENT)
      client.subscribe('q', 1)
      for (let k = 1; k < MESSAGES; k++) client.subscribe(`f/${k}`)
      world.commit()
      client.disconnect()
    }
    const publisher = world.connect('publisher')
    for (let i = 0; i < MESSAGES; i++) publisher.publish('q', 'x', 1)
    world.commit()
    world.broker.endTurn()
    const clients = range(SESSIONS, (i) => {
      const client = world.open()
      client.link.send(world.now, connectPacket(`c${i}`, { ...PERSISTENT, username: i % 2 === 0 ? 'other' : 'one' }))
      return client
    })
    const lines = (): number[] => clients.map((client) => client.poll().length)
    world.commit()
    // Not all sessions have been checked in this turn, but each message that is sent has.
    expect(clients.some(({ link }) => link.client!.unchecked)).toBe(true)
    expect(lines()).toEqual(range(SESSIONS, (i) => (i % 2 === 1 ? 21 : 1)))
    world.advance(0)
    expect(clients.some(({ link }) => link.client!.unchecked)).toBe(false)
    expect(lines()).toEqual(range(SESSIONS, () => 0))
    const left = (i: number): number => world.broker.sessions.byKey(`mqtt:c${i}`)!.queueLength
    expect(range(SESSIONS, left)).toEqual(range(SESSIONS, (i) => (i % 2 === 0 ? 0 : MESSAGES - 20)))
  })

  test('and may not be read any more is not sent again either', () => {
    const access = { ...OPEN_ACCESS, readsAll: () => false, read: ({ username }: Identity) => username !== 'other' }
    const world = new TestBroker({ access })
    const publisher = world.connect('publisher')
    for (let i = 0; i < SESSIONS; i++) {
      const client = world.connect(`c${i}`, PERSISTENT)
      client.subscribe(`q/${i}`, 1)
      for (let k = 1; k < MESSAGES; k++) client.subscribe(`f/${k}`)
      publisher.publish(`q/${i}`, 'x', 1)
      expect(client.poll().at(-1)).toBe(`q/${i}=x q1 #1`)
      client.lost()
    }
    world.broker.endTurn()
    const clients = range(SESSIONS, (i) => {
      const client = world.open()
      client.link.send(world.now, connectPacket(`c${i}`, { ...PERSISTENT, username: 'other' }))
      return client
    })
    expect(clients.some(({ link }) => link.client!.unchecked)).toBe(true)
    expect(clients.map((client) => client.poll())).toEqual(range(SESSIONS, () => ['CONNACK present']))
    world.advance(0)
    expect(clients.map((client) => client.poll())).toEqual(range(SESSIONS, () => []))
  })

  test('is not looked through where no rule restricts what its client reads', () => {
    const { world, reads } = waiting(false)
    world.broker.accessChanged(world.now)
    world.advance(0)
    expect(world.connect('c0', PERSISTENT).poll()).toHaveLength(20)
    expect(reads()).toBe(0)
  })
})

describe('a re-authentication', () => {
  const CLIENTS = 30
  const FILTERS = 400
  const method = { authenticationMethod: 'M' }

  /** Clients with many filters, whose grants are their rights; the checks of filters are counted. */
  function site() {
    let checks = 0
    const access: Access = {
      ...OPEN_ACCESS,
      connect: (_info, { properties }) => (properties.authenticationMethod === undefined ? 0 : 'ask'),
      subscribe: ({ grant }, filter) => ++checks > 0 && filter.startsWith((grant as { may: string }).may),
      read: ({ grant }, topic) => topic.startsWith((grant as { may: string } | undefined)?.may ?? ''),
      stored: (grant) => (grant as { may: string } | undefined)?.may,
    }
    const world = new TestBroker({ access })
    const answer = (may: string): void => {
      const { link, step } = world.broker.nextAuthRequest()!
      world.broker.authenticated(world.now, link, step, { kind: 'accepted', username: 'u', grant: { may } })
    }
    const clients = range(CLIENTS, (i) => {
      const client = world.open()
      client.send(connectPacket(`c${i}`, { properties: method }))
      answer('t/')
      for (let k = 0; k < FILTERS; k++) client.subscribe(k === 0 ? 't/x' : `t/${i}/${k}`)
      client.poll()
      return client
    })
    const taken = (): number => {
      const count = checks
      checks = 0
      return count
    }
    /** The answers to all clients come in one turn. */
    const renew = (may: string): void => {
      for (const client of clients) client.send({ type: PacketType.AUTH, reasonCode: 0x19, properties: method })
      world.broker.endTurn()
      taken()
      for (const _ of clients) answer(may)
    }
    /** The checks of this turn, and of those that follow. */
    const turns = (): number[] => {
      const counts = [taken()]
      while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) {
        world.turn()
        counts.push(taken())
      }
      return counts
    }
    return { world, clients, renew, turns }
  }

  test('with the same rights checks nothing again', () => {
    const { clients, renew, turns } = site()
    renew('t/')
    expect(turns()).toEqual([0])
    expect(clients.map((client) => client.poll())).toEqual(range(CLIENTS, () => ['AUTH']))
  })

  test('with other rights checks everything, in several turns where many come together', () => {
    const { world, clients, renew, turns } = site()
    const publisher = world.connect('publisher')
    // This finds the receivers under the old rights.
    publisher.publish('t/29/1', 'x')
    expect(clients[29]!.poll()).toEqual(['t/29/1=x q0'])
    renew('t/x')
    expect(world.broker.subscriptionCount).toBeGreaterThan((CLIENTS * FILTERS) / 2)
    // Not checked yet, and already subject to the new rights.
    publisher.link.send(world.now, Publish.of('t/29/1', bytes('x'), 0, false, 0))
    const counts = turns()
    expect(counts.reduce((sum, count) => sum + count)).toBe(CLIENTS * FILTERS)
    expect(Math.max(...counts)).toBeLessThan(4096 + FILTERS)
    expect(world.broker.subscriptionCount).toBe(CLIENTS)
    publisher.publish('t/x', 'x')
    for (const client of clients) expect(client.poll()).toEqual(['AUTH', 't/x=x q0'])
  })
})
