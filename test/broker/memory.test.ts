import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Memory, type MemoryLimits } from '../../src/base/memory.ts'
import { COST } from '../../src/base/memory-costs.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import { PERSISTENT, TestBroker, TestClient, will } from './harness.ts'

const KIB = 1024
const LONG = 'x'.repeat(10_000)

interface Site {
  readonly world: TestBroker
  readonly memory: Memory
  /** What the account says before anybody came. */
  readonly empty: number
}

function site(limits: Partial<MemoryLimits>): Site {
  const memory = new Memory(limits)
  const world = new TestBroker({ memory })
  return { world, memory, empty: memory.used }
}

/** Subscribes to long filters until one is refused; gives how many were granted, and what the last SUBACK said. */
function fill(client: TestClient, prefix = ''): { granted: number; last: string } {
  for (let granted = 0; ; granted++) {
    client.subscribe(`${prefix}${granted}/${LONG}`, 1)
    const [last = ''] = client.poll()
    if (last !== 'SUBACK #100 1') return { granted, last }
  }
}

const bounded = (world: TestBroker, limit: string): number => world.notices.filter((notice) => notice.limit === limit).length

describe('above memory_limit', () => {
  test('subscriptions are refused with 0x97 and figures, and those that there are stay', () => {
    const { world, memory } = site({ memoryLimit: 499 * KIB })
    const client = world.connect('c')
    const { granted, last } = fill(client)
    expect(granted).toBeGreaterThan(20)
    expect(granted).toBeLessThan(50)
    expect(last).toContain('151')
    expect(memory.used).toBeLessThanOrEqual(499 * KIB)
    expect(bounded(world, 'memory_limit')).toBe(1)
    expect(world.notices.at(-1)?.reason).toMatch(/^reason code 0x97, 0\.5 MiB of 0\.5 MiB in use, subscriptions 0\.5 MiB/)
    // The same filter again, with another QoS, takes nothing more.
    client.subscribe(`0/${LONG}`, 2)
    expect(client.poll()).toEqual(['SUBACK #100 2'])
    client.publish(`0/${LONG}`, 'still served', 1)
    expect(client.poll().filter((line) => line.includes('still served'))).toHaveLength(1)
    // What is given back makes room.
    client.unsubscribe(`0/${LONG}`)
    client.unsubscribe(`1/${LONG}`)
    client.poll()
    client.subscribe(`new/${LONG}`)
    expect(client.poll()).toEqual(['SUBACK #100'])
  })

  test('new sessions are refused with 0x97, and whoever has one comes back, with its will', () => {
    const { world } = site({ memoryLimit: 500 * KIB })
    const options = { ...PERSISTENT, will: will('w', 'gone') }
    world.connect('away', options).lost()
    const filler = world.connect('filler')
    fill(filler)
    while (filler.world.broker.sessions.size < 50) {
      const client = world.open()
      client.send({ ...CONNECT, clientId: `new ${world.broker.sessions.size}` })
      const [first = ''] = client.poll()
      if (first === 'CONNACK 151') break
    }
    expect(world.broker.sessions.size).toBeLessThan(30)
    expect(world.connect('away', options).link.session).toBe('mqtt:away')
    expect(bounded(world, 'memory_limit')).toBeGreaterThan(1)
  })

  test('a message that would have to wait is refused, and goes to those who take it at once', () => {
    const { world } = site({ memoryLimit: 500 * KIB })
    const away = world.connect('away', PERSISTENT)
    away.subscribe('both/#', 1)
    away.subscribe('away/#', 1)
    away.lost()
    const reader = world.connect('reader')
    reader.subscribe('both/#', 1)
    reader.poll()
    const publisher = world.connect('publisher')
    fill(reader)
    let refused = ''
    for (let id = 1; refused === '' && id < 100; id++) {
      publisher.publish('away/a', LONG, 1, id)
      refused = publisher.poll().find((line) => line !== `PUBACK #${id}` && line !== `PUBACK #${id} 16`) ?? ''
    }
    expect(refused).toContain('151')
    const waiting = world.broker.sessions.waiting().messages
    for (let id = 1; id <= 100; id++) {
      publisher.publish('both/a', LONG, 1, id)
      expect(publisher.poll()).toEqual([`PUBACK #${id}`])
      expect(reader.poll()).toEqual([`both/a=${LONG} q1 #${id}`])
      reader.ack(4, id)
    }
    expect(world.broker.sessions.waiting().messages).toBe(waiting)
    expect(world.notices.filter(({ code, limit }) => code === 'queue-full' && limit === 'memory_limit')).toHaveLength(100)
    publisher.publish('retained', LONG, 1, 1, { retain: true })
    expect(publisher.poll()[0]).toContain('151')
    // QoS 0 goes on as well.
    publisher.publish('both/b', 'q0')
    expect(reader.poll()).toEqual(['both/b=q0 q0'])
  })

  test('what readers do not acknowledge is in the account, and in the share of each', () => {
    const { world, memory } = site({ memoryLimit: 2020 * KIB, maxMemoryPerClient: 500 * KIB })
    const publisher = world.connect('publisher')
    const refused: number[] = []
    for (let n = 0; n < 10; n++) {
      const reader = world.connect(`reader ${n}`)
      reader.subscribe(`r/${n}`, 1)
      reader.poll()
      for (let id = 1; id <= 20; id++) {
        publisher.publish(`r/${n}`, 'x'.repeat(50_000), 1, id)
        refused.push(...publisher.poll().map((answer) => Number(answer.endsWith(' 151'))))
        // It reads everything, and acknowledges nothing.
        reader.poll()
      }
    }
    expect(refused.slice(0, 20)).toEqual([...Array(10).fill(0), ...Array(10).fill(1)])
    expect(refused.slice(-20)).toEqual(Array(20).fill(1))
    expect(memory.used).toBeLessThan(2020 * KIB)
    expect([bounded(world, 'max_memory_per_client') > 0, bounded(world, 'memory_limit') > 0]).toEqual([true, true])
  })

  test('what has been acknowledged does not count in the shares any more', () => {
    const { world } = site({ maxMemoryPerClient: 500 * KIB })
    const publisher = world.connect('publisher')
    const reader = world.connect('reader')
    reader.subscribe('r', 1)
    reader.poll()
    for (let id = 1; id <= 100; id++) {
      publisher.publish('r', 'x'.repeat(300_000), 1, id)
      expect(publisher.poll()).toEqual([`PUBACK #${id}`])
      reader.poll()
      reader.ack(4, id)
    }
    expect(world.broker.sessions.get('mqtt', 'reader')!.tallied).toBeLessThan(2000)
  })

  test('nor do packet ids that have been released', () => {
    const { world } = site({ maxMemoryPerAddress: 500 * KIB })
    const client = world.connect('c', { protocolVersion: 4 })
    for (let id = 1; id <= 5000; id++) client.publish('t', 'x', 2, id)
    for (let id = 1; id <= 5000; id++) client.ack(6, id)
    expect(world.broker.sessions.get('mqtt', 'c')!.tallied).toBeLessThan(3000)
  })

  test('topics and properties count as well as payloads', () => {
    const { world, memory } = site({ memoryLimit: 2000 * KIB, maxMemoryPerClient: 200 * KIB })
    const publisher = world.connect('publisher')
    const properties: Properties = { userProperties: [['a', 'x'.repeat(15_000)]] }
    for (let n = 0; n < 20; n++) {
      const reader = world.connect(`reader ${n}`)
      reader.subscribe(`r/${n}`, 1)
      for (let id = 1; id <= 20; id++) {
        publisher.publish(`r/${n}`, '', 1, id, { properties })
        publisher.poll()
        reader.poll()
      }
    }
    expect(memory.used).toBeLessThan(2100 * KIB)
    expect(bounded(world, 'max_memory_per_client')).toBeGreaterThan(0)
  })

  test('with upgrade_outgoing_qos, QoS 0 that has to wait does', () => {
    const { world, memory } = site({ memoryLimit: 500 * KIB, maxMemoryPerClient: 100 * KIB })
    const upgrading = new TestBroker({ memory, limits: { upgradeOutgoingQos: true } })
    const away = upgrading.connect('away', PERSISTENT)
    away.subscribe('r', 1)
    away.lost()
    const publisher = upgrading.connect('publisher')
    for (let i = 0; i < 100; i++) publisher.publish('r', 'x'.repeat(8000))
    expect(upgrading.broker.sessions.get('mqtt', 'away')!.heldBytes).toBeLessThan(100 * KIB)
    expect(world.broker.sessions.size).toBe(0)
  })

  test('a second copy through a shared subscription does', () => {
    const { world } = site({ maxMemoryPerClient: 100 * KIB })
    const away = world.connect('away', PERSISTENT)
    away.subscribe('r', 1)
    away.subscribe('$share/g/r', 1)
    away.lost()
    const reader = world.connect('reader')
    reader.subscribe('r', 1)
    reader.poll()
    const publisher = world.connect('publisher')
    for (let id = 1; id <= 50; id++) {
      publisher.publish('r', 'x'.repeat(8000), 1, id)
      reader.poll()
      reader.ack(4, id)
    }
    expect(world.broker.sessions.get('mqtt', 'away')!.heldBytes).toBeLessThan(110 * KIB)
  })

  test('QoS 2 packet ids that are never released are in the account: 5.0 is told 0x97, and 3.1.1 is disconnected', () => {
    const { world } = site({ maxMemoryPerClient: 10 * KIB })
    for (const [protocolVersion, last] of [
      [5, 'PUBREC #200 151'],
      [4, 'CLOSE 151'],
    ] as const) {
      const id = `version ${protocolVersion}`
      const client = world.connect(id, { ...PERSISTENT, protocolVersion })
      for (let packetId = 1; packetId <= 200; packetId++) client.publish('t', 'x', 2, packetId)
      expect(client.poll().at(-1)).toBe(last)
      const { size } = world.broker.sessions.get('mqtt', id)!.receipts!
      expect(size).toBeGreaterThan(150)
      expect(size).toBeLessThan(200)
    }
  })

  test('a burst for a reader that reads is not refused: after a while without messages, and after a pause of the process', () => {
    const { world } = site({ memoryLimit: 500 * KIB })
    const reader = world.connect('reader')
    const publisher = world.connect('publisher')
    reader.subscribe('r', 1)
    reader.poll()
    fill(publisher)
    const burst = (): string[] => {
      for (let id = 1; id <= 50; id++) publisher.publish('r', 'x', 1, id)
      return publisher.poll().filter((answer) => answer.includes('151'))
    }
    const ids = (lines: readonly string[]): number[] => lines.map((text) => Number(/#(\d+)/.exec(text)![1]))
    // Its first messages, and those after a minute without any.
    for (let i = 0; i < 2; i++) {
      expect(burst()).toEqual([])
      for (let sent = ids(reader.poll()); sent.length > 0; sent = ids(reader.poll())) for (const id of sent) reader.ack(4, id)
      world.advance(60_000)
    }
    expect(burst()).toEqual([])
    const sent = ids(reader.poll())
    expect(sent).toHaveLength(20)
    world.advance(1500)
    world.broker.pauses.ended(world.now, 1400)
    expect(burst()).toEqual([])
    for (const id of sent) reader.ack(4, id)
    reader.poll()
    // Now it is the reader that takes nothing.
    world.advance(1500)
    expect(burst()).toHaveLength(50)
  })

  test('MQTT 3.1.1 is told as it is where the store is full: SUBACK 0x80, and the end of the connection after a PUBLISH', () => {
    const { world } = site({ memoryLimit: 300 * KIB })
    const away = world.connect('away', PERSISTENT)
    away.subscribe('away', 1)
    away.lost()
    const old = world.connect('old', { protocolVersion: 4 })
    fill(old)
    let lines: string[] = []
    for (let id = 1; id < 100 && !lines.some((line) => line.startsWith('CLOSE')); id++) {
      old.publish('away', LONG, 1, id)
      lines = old.poll()
    }
    expect(lines).toEqual(['CLOSE 151'])
  })

  test('everything can go: acknowledgements, UNSUBSCRIBE, retained messages, clean starts and ends of sessions', () => {
    const { world, memory, empty } = site({ memoryLimit: 500 * KIB })
    const publisher = world.connect('publisher')
    const away = world.connect('away', { ...PERSISTENT, will: will('will', LONG, 1, {}, true) })
    away.subscribe('#', 2)
    for (let id = 1; id < 20; id++) publisher.publish(`retained/${id}`, LONG, 1, id, { retain: true })
    away.lost()
    publisher.poll()
    fill(publisher)
    const full = memory.used
    expect(full).toBeGreaterThan(450 * KIB)
    for (let id = 1; id < 20; id++) publisher.publish(`retained/${id}`, '', 0, 0, { retain: true })
    publisher.publish('will', '', 0, 0, { retain: true })
    expect(world.broker.retained.count).toBe(0)
    for (let i = 0; i < 100; i++) publisher.unsubscribe(`${i}/${LONG}`)
    world.connect('away', { cleanStart: true }).disconnect()
    publisher.publish('will', '', 0, 0, { retain: true })
    publisher.poll()
    publisher.disconnect()
    expect(world.broker.sessions.size).toBe(0)
    // Routes are kept for topics that nobody subscribes to, too.
    expect(memory.used - memory.byCategory().get('routes')!).toBe(empty)
  })
})

describe('shares', () => {
  test('of a client: its filters, and what waits for it', () => {
    const { world } = site({ memoryLimit: 10_000 * KIB, maxMemoryPerClient: 200 * KIB })
    const greedy = world.connect('greedy', PERSISTENT)
    greedy.subscribe('greedy', 1)
    greedy.poll()
    expect(fill(greedy).granted).toBeLessThan(20)
    expect(bounded(world, 'max_memory_per_client')).toBe(1)
    greedy.lost()
    const other = world.connect('other', PERSISTENT)
    other.subscribe('other', 1)
    other.lost()
    const publisher = world.connect('publisher')
    publisher.publish('greedy', LONG, 1)
    expect(publisher.poll()[0]).toContain('151')
    expect(world.notices.at(-1)).toMatchObject({
      code: 'publish-refused',
      client: 'mqtt:publisher',
      reason: 'receiver mqtt:greedy: the client holds 0.2 MiB of 0.2 MiB',
      limit: 'max_memory_per_client',
    })
    publisher.publish('other', LONG, 1)
    expect(publisher.poll()).toEqual(['PUBACK #1'])
  })

  test('what a client has retained counts in its share, and in that of its user when it has gone', () => {
    const { world, memory } = site({ memoryLimit: 10_000 * KIB, maxMemoryPerClient: 200 * KIB, maxMemoryPerUser: 300 * KIB })
    const retain = (client: TestClient, name = client.link.session): number => {
      for (let id = 1; ; id++) {
        client.publish(`${name}/${id}`, LONG, 1, id, { retain: true })
        if (client.poll()[0]?.includes('151') === true) return id - 1
      }
    }
    const one = as(world, 'greedy', 'one')
    expect(retain(one)).toBeGreaterThan(10)
    one.disconnect()
    // The same client id has no more room, another one of that user a little, and others have theirs.
    expect(retain(as(world, 'greedy', 'one'), 'more')).toBe(0)
    expect(retain(as(world, 'greedy', 'two'))).toBeLessThan(15)
    const honest = as(world, 'honest', 'honest')
    expect(retain(honest)).toBeGreaterThan(10)
    for (let id = 1; id < 30; id++)
      for (const name of ['one', 'two', 'honest']) honest.publish(`mqtt:${name}/${id}`, '', 1, 1, { retain: true })
    honest.poll()
    expect(memory.byCategory().get('retained')).toBe(0)
    expect(retain(honest)).toBeGreaterThan(10)
  })

  test('of a user: 60 absent sessions with full queues leave room for others', () => {
    const { world, memory } = site({ memoryLimit: 4000 * KIB, maxMemoryPerUser: 1000 * KIB })
    const publisher = as(world, 'honest', 'publisher')
    for (let i = 0; i < 60; i++) {
      const client = as(world, 'greedy', `greedy ${i}`, PERSISTENT)
      client.subscribe('greedy', 1)
      client.lost()
    }
    const answers = Array.from({ length: 60 }, (_, i) => {
      publisher.publish('greedy', LONG.slice(i), 1, i + 1)
      return publisher.poll()[0]!
    })
    expect(answers.at(-1)).toContain('151')
    expect(bounded(world, 'max_memory_per_user')).toBeGreaterThan(10)
    // They share what waits, but the share counts it for each.
    expect(memory.used).toBeLessThan(1500 * KIB)
    const honest = as(world, 'honest', 'honest', PERSISTENT)
    honest.subscribe('honest', 1)
    honest.lost()
    publisher.publish('honest', LONG, 1)
    expect(publisher.poll()).toEqual(['PUBACK #1'])
    // They read what waits, and there is room again.
    for (let i = 0; i < 60; i++) drain(as(world, 'greedy', `greedy ${i}`, PERSISTENT))
    publisher.publish('greedy', LONG, 1)
    expect(publisher.poll()).toEqual(['PUBACK #1'])
  })
})

test('the share of a user counts nothing for whoever only says its name', () => {
  const { world } = site({ memoryLimit: 4000 * KIB, maxMemoryPerUser: 100 * KIB })
  for (let i = 0; i < 20; i++) {
    const client = world.connect(`claims ${i}`, { ...PERSISTENT, username: 'alice' })
    client.subscribe(`${i}/${LONG}`, 1)
    expect(client.poll()).toEqual(['SUBACK #100 1'])
    client.publish(`kept/${i}`, LONG, 1, 1, { retain: true })
    expect(client.poll()).toEqual(['PUBACK #1 16'])
  }
  const alice = as(world, 'alice', 'alice')
  expect(alice.link.session).toBe('mqtt:alice')
  expect(fill(alice).granted).toBeGreaterThan(5)
  expect(bounded(world, 'max_memory_per_user')).toBe(1)
})

describe('the account', () => {
  test('counts what follows retained messages that are still looked for', () => {
    const { world, memory } = site({})
    const publisher = world.connect('publisher')
    for (let id = 1; id <= 1000; id++) publisher.publish(`kept/${id}`, 'x', 1, id, { retain: true })
    publisher.poll()
    const reader = world.connect('reader')
    const before = memory.byCategory()
    reader.subscribe('kept/+')
    for (let i = 0; i < 20; i++) publisher.publish('kept/1', LONG, 0)
    expect(reader.link.session !== undefined && world.broker.nextTimeout()).toBe(0)
    expect(memory.byCategory().get('messages')! - before.get('messages')!).toBeGreaterThan(20 * LONG.length)
    for (let turn = 0; turn < 50; turn++) {
      world.turn()
      reader.poll()
    }
    expect(memory.byCategory().get('messages')).toBe(before.get('messages'))
    expect(memory.byCategory().get('queues')).toBe(before.get('queues')! + COST.queue)
  })

  test('is empty again when filters by the thousand have left the tree, turn by turn', () => {
    const { world, memory, empty } = site({})
    const client = world.connect('c')
    for (let i = 0; i < 3000; i++) client.subscribe(['a/$', 'b/+/$', '$share/g/$/c'][i % 3]!.replace('/$', `/${i}`))
    client.poll()
    expect(memory.byCategory().get('subscriptions')).toBeGreaterThan(3000 * 100)
    client.disconnect()
    expect(memory.byCategory().get('subscriptions')).toBeGreaterThan(0)
    for (let turn = 0; turn < 5; turn++) world.turn()
    expect(memory.byCategory().get('subscriptions')).toBe(0)
    expect(memory.used).toBe(empty)
  })
})

describe('a restart', () => {
  test('counts nothing for sessions that have ended, and counts the others for their addresses', () => {
    const store = new DelayedStore()
    const before = new TestBroker({ memory: new Memory() }, store)
    for (let i = 0; i < 30; i++) {
      const client = from(before, `c${i}`, '192.0.2.1')
      client.subscribe(`${i}/${LONG}`, 1)
      before.commit()
      client.lost()
    }
    const memory = new Memory({ maxMemoryPerAddress: 200 * KIB })
    const world = new TestBroker({ memory }, store.crash({ folded: 0 }))
    for (const record of world.store.replay()) world.broker.apply(record as never)
    world.broker.recover(0)
    world.broker.runDownRecovered(0)
    world.commit()
    expect(from(world, 'new', '192.0.2.1').link.session).toBeUndefined()
    expect(bounded(world, 'max_memory_per_address')).toBe(1)
    expect(from(world, 'new', '192.0.2.2').link.session).toBe('mqtt:new')
    for (let i = 0; i < 30; i++) from(world, `c${i}`, '192.0.2.1').disconnect(0, { sessionExpiryInterval: 0 })
    from(world, 'new', '192.0.2.2').disconnect(0, { sessionExpiryInterval: 0 })
    world.commit()
    // Their beginnings and ends are all in the log.
    const again = new Memory()
    const empty = new TestBroker({ memory: again }, new DelayedStore())
    const nothing = again.used
    for (const record of store.crash({ folded: 0 }).replay()) empty.broker.apply(record as never)
    for (let i = 0; i < 30; i++) empty.broker.apply({ type: 'session-end', key: `mqtt:c${i}` })
    expect(again.used).toBe(nothing)
  })

  test('takes in what the store has, though it is above the limit, shares what was shared, and can be emptied', () => {
    const store = new DelayedStore()
    const before = new TestBroker({ memory: new Memory() }, store)
    const publisher = before.connect('publisher')
    publisher.publish('kept', LONG, 1, 1, { retain: true })
    for (let i = 0; i < 50; i++) {
      const client = before.connect(`away ${i}`, PERSISTENT)
      client.subscribe('kept', 1)
      client.subscribe(`${i}/#`, 1)
      before.commit()
      client.lost()
      publisher.publish(`${i}/a`, LONG, 1, i + 2)
    }
    before.commit()
    const memory = new Memory({ memoryLimit: 300 * KIB })
    const world = new TestBroker({ memory }, store.crash({ folded: store.durable }))
    for (const record of world.store.replay()) world.broker.apply(record as never)
    world.broker.recover(0)
    world.broker.runDownRecovered(0)
    // 50 messages of their own, and the retained one once for all.
    expect(memory.used).toBeGreaterThan(500 * KIB)
    expect(memory.used).toBeLessThan(700 * KIB)
    const stranger = world.open()
    stranger.send({ ...CONNECT, clientId: 'new' })
    expect(stranger.poll()[0]).toBe('CONNACK 151')
    for (let i = 0; i < 50; i++) {
      const client = world.connect(`away ${i}`, PERSISTENT)
      const got = client.poll()
      expect(got).toHaveLength(2)
      for (const line of got) client.ack(4, Number(/#(\d+)/.exec(line)?.[1]))
      client.unsubscribe(`${i}/#`)
      world.commit()
      client.poll()
      client.disconnect(0, { sessionExpiryInterval: 0 })
    }
    expect(world.connect('new').link.session).toBe('mqtt:new')
  })
})

/** Connects from this address, to a session that stays. */
function from(world: TestBroker, clientId: string, address: string): TestClient {
  const client = new TestClient(world, world.broker.open(world.now, { kind: 'mqtt', peer: `${address}:51234`, listener: 'mqtt' }))
  client.send({ ...CONNECT, ...PERSISTENT, clientId })
  if (world.store instanceof DelayedStore) world.commit()
  client.poll()
  return client
}

/** A client whose user name was verified. */
function as(world: TestBroker, username: string, clientId: string, options: Partial<Connect> = {}): TestClient {
  const info = { kind: 'mqtt', peer: 'test', listener: 'mqtt', identity: username } as const
  const client = new TestClient(world, world.broker.open(world.now, info))
  client.send({ ...CONNECT, ...options, clientId })
  client.link.poll(world.now)
  return client
}

function drain(client: TestClient): void {
  for (let lines = client.poll(); lines.length > 0; lines = client.poll())
    for (const line of lines) client.ack(4, Number(/#(\d+)/.exec(line)?.[1]))
}

const CONNECT: Connect = {
  type: 1,
  protocolVersion: 5,
  bridge: false,
  clientId: '',
  cleanStart: true,
  keepAlive: 0,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: {},
}
