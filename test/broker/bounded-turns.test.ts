import { describe, expect, it } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Access } from '../../src/broker/access.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import { connectPacket, PERSISTENT, TestBroker, type TestClient, will } from './harness.ts'

const CLIENTS = 600
const PAYLOAD = 'x'.repeat(1000)
/** A tenth of what the wills of all clients take. */
const BUFFER_BYTES = (CLIENTS * PAYLOAD.length) / 10

/** A broker on a store that holds little at a time, and clients with wills. */
function site(store = new DelayedStore(), access: Partial<Access> = {}) {
  const world = new TestBroker({ access: { ...OPEN_ACCESS, ...access } }, store)
  const clients = Array.from({ length: CLIENTS }, (_, i) =>
    world.connect(`c${i}`, { will: will(`gone/${i}`, PAYLOAD, 1, {}, true), properties: { sessionExpiryInterval: 3600 } }),
  )
  world.commit()
  store.maxBytes = BUFFER_BYTES
  return { world, store, clients }
}

/** Time passes, and the store becomes durable between the turns of the event loop. */
function pass(world: TestBroker, ms: number): void {
  for (const until = world.now + ms; world.now < until; world.now += 10) {
    world.turn()
    world.commit()
  }
}

const retained = ({ broker }: TestBroker): number => broker.retained.count
const lost = (clients: readonly TestClient[]): void => {
  for (const { link, world } of clients) link.lost(world.now, 'its network is down')
}

describe('what one turn of the event loop appends is bounded', () => {
  it('clients that are lost together have their wills published, however little the store takes at a time', () => {
    const { world, clients } = site()
    lost(clients)
    expect(retained(world)).toBeLessThan(CLIENTS)
    pass(world, 10_000)
    expect(retained(world)).toBe(CLIENTS)
    expect(world.codes()).not.toContain('will-refused')
    expect(world.broker.sessions.size).toBe(CLIENTS)
  })

  it('at the end of the process too, in pieces that leave room', () => {
    const { world, store } = site()
    let pieces = 1
    for (; pieces < CLIENTS && !world.broker.shutdown.publishWills(world.now); pieces++) {
      expect(store.hasRoom || store.durable < store.appended).toBe(true)
      world.commit()
      world.broker.endTurn()
      world.now += 100
    }
    expect(pieces).toBeGreaterThan(10)
    expect(retained(world)).toBe(CLIENTS)
    for (let i = 0; i < CLIENTS && !world.broker.shutdown.closeAll(world.now, 0x8b); i++) {
      world.commit()
      world.now += 100
    }
    expect(world.broker.sessions.connected).toBe(0)
  })

  it('wills that were not published before the process ended are published by the next', () => {
    const { world, store } = site()
    expect(world.broker.shutdown.publishWills(world.now)).toBe(false)
    const first = retained(world)
    expect(first).toBeGreaterThan(0)
    const again = TestBroker.restarted(store, 10_000)
    world.commit()
    pass(again, 10_000)
    expect(retained(again)).toBe(CLIENTS)
    expect(again.codes()).not.toContain('will-refused')
  })

  it('after a crash all wills follow, one piece after the other', () => {
    const { store } = site()
    const again = TestBroker.restarted(store, 10_000)
    expect(retained(again)).toBeLessThan(CLIENTS / 5)
    pass(again, 10_000)
    expect(retained(again)).toBe(CLIENTS)
    expect(again.broker.sessions.size).toBe(CLIENTS)
  })

  it('a client that comes back before the turn of its will has had it published, and one whose session has expired finds none', () => {
    const { store } = site()
    const again = TestBroker.restarted(store, 10_000)
    const link = again.connect(`c${CLIENTS - 1}`, PERSISTENT).link
    expect(link.resumed).toBe(true)
    expect(again.broker.retained.get(`gone/${CLIENTS - 1}`)).toBeDefined()

    const { world, clients } = site()
    lost(clients)
    pass(world, 10_000)
    world.now += 3600_000
    // Not one clock has been looked at since.
    expect(world.connect('c7', PERSISTENT).link.resumed).toBe(false)
    pass(world, 10_000)
    expect(world.broker.sessions.size).toBe(1)
  })

  it('sessions that expire at the same time end in pieces', () => {
    const { world, clients } = site()
    lost(clients)
    pass(world, 10_000)
    world.now += 3600_000
    world.broker.handleTimeout(world.now)
    expect(world.broker.sessions.size).toBe(CLIENTS - 256)
    expect(world.broker.nextTimeout()).toBeLessThanOrEqual(world.now)
    pass(world, 1000)
    expect(world.broker.sessions.size).toBe(0)
  })

  it('clients who may not stay after a reload are closed in pieces', () => {
    let remains = 0
    const { world } = site(new DelayedStore(), { remains: () => remains })
    remains = 0x87
    world.broker.accessChanged(world.now)
    expect(world.broker.sessions.connected).toBeGreaterThan(CLIENTS / 2)
    pass(world, 10_000)
    expect(world.broker.sessions.connected).toBe(0)
    expect(retained(world)).toBe(CLIENTS)
  })
})

describe("'full' gives nothing up", () => {
  it('a will that a full disk refuses is published when there is room, and its session ends only then', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const client = world.connect('c', { will: will('gone', 'x', 1, {}, true), properties: { sessionExpiryInterval: 5 } })
    store.refuse = true
    client.link.lost(world.now, 'gone')
    world.advance(60_000)
    expect(retained(world)).toBe(0)
    expect(world.broker.sessions.size).toBe(1)
    expect(world.notices.filter(({ code }) => code === 'store-full')).toHaveLength(1)
    store.refuse = false
    world.advance(20_000)
    expect(retained(world)).toBe(1)
    expect(world.broker.sessions.size).toBe(0)
  })

  it('a goodbye that the store has not taken is recorded when there is room: no will after a crash', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const client = world.connect('c', { will: will('gone', 'x', 1, {}, true), properties: { sessionExpiryInterval: 3600 } })
    store.refuse = true
    client.send({ type: 14, reasonCode: 0, properties: {} } as never)
    store.refuse = false
    world.advance(20_000)
    world.commit()
    const again = TestBroker.restarted(store, 20_000)
    again.advance(60_000)
    expect(retained(again)).toBe(0)
  })

  it('what waited for a member of a shared subscription goes to another one when there is room', () => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const a = world.connect('a', PERSISTENT)
    const b = world.connect('b', PERSISTENT)
    for (const each of [a, b]) each.subscribe('$share/g/work', 1)
    const publisher = world.connect('p')
    b.link.listen(world.now, false)
    a.link.listen(world.now, false)
    for (let i = 0; i < 6; i++) publisher.publish('work', `${i}`, 1, i + 1)
    const waiting = world.broker.sessions.waiting().messages
    expect(waiting).toBe(6)
    world.commit()
    a.link.lost(world.now, 'gone')
    store.refuse = true
    world.advance(3600_000)
    expect(world.broker.sessions.waiting().messages).toBe(6)
    store.refuse = false
    world.advance(20_000)
    expect(world.broker.sessions.byKey('mqtt:b')!.queueLength).toBe(6)
    expect(world.codes()).not.toContain('queue-full')
  })
})

describe('the wills of many clients for many receivers', () => {
  const READERS = 300
  const WILLS = 100
  /** What wills may lead to in one turn, and one will more. */
  const TURN = 4096 + 2 * READERS

  /** Clients with a will that all readers get. */
  function crowd(properties: Properties = {}, willProperties: Properties = {}) {
    const world = new TestBroker()
    for (let i = 0; i < READERS; i++) world.connect(`r${i}`).subscribe('w')
    const clients = Array.from({ length: WILLS }, (_, i) =>
      world.connect(`c${i}`, { will: will('w', 'x', 0, willProperties), properties }),
    )
    world.broker.takeQueued()
    world.turn()
    return { world, clients }
  }

  /** The deliveries of each turn until nothing is due. */
  function turns(world: TestBroker): number[] {
    const counts = [world.broker.takeQueued()]
    while ((world.broker.nextTimeout() ?? Number.POSITIVE_INFINITY) <= world.now) {
      world.turn()
      counts.push(world.broker.takeQueued())
    }
    return counts
  }

  it.each([
    ['whose sessions end with their connections', {}, {}, 0],
    ['whose sessions stay', { sessionExpiryInterval: 3600 }, {}, 0],
    ['at the end of the same delay', { sessionExpiryInterval: 3600 }, { willDelayInterval: 5 }, 5000],
  ])('are published over several turns: of clients %s', (_title, properties, willProperties, delayMs) => {
    const { world, clients } = crowd(properties, willProperties)
    for (const { link } of clients) link.lost(world.now, 'reset')
    const counts = turns(world)
    world.broker.endTurn()
    world.now += delayMs
    world.broker.handleTimeout(world.now)
    counts.push(...turns(world))
    expect(counts.reduce((sum, count) => sum + count)).toBe(READERS * WILLS)
    expect(Math.max(...counts)).toBeLessThanOrEqual(TURN)
    expect(world.broker.stats.willsPublished).toBe(WILLS)
  })

  it('are published over several turns at the end of the process', () => {
    const { world } = crowd()
    const counts: number[] = []
    for (let isOver = false; !isOver; ) {
      isOver = world.broker.shutdown.publishWills(world.now)
      counts.push(world.broker.takeQueued())
      world.broker.endTurn()
    }
    expect(counts.reduce((sum, count) => sum + count)).toBe(READERS * WILLS)
    expect(Math.max(...counts)).toBeLessThanOrEqual(TURN)
  })

  it('are published before their clients are connected again, in their turn or before', () => {
    const { world, clients } = crowd({ sessionExpiryInterval: 3600 })
    for (const { link } of clients) link.lost(world.now, 'reset')
    const published = world.broker.stats.willsPublished
    expect(published).toBeLessThan(WILLS)
    world.open().send(connectPacket(`c${WILLS - 1}`, PERSISTENT))
    expect(world.broker.stats.willsPublished).toBe(published + 1)
    turns(world)
    expect(world.broker.stats.willsPublished).toBe(WILLS)
  })
})
