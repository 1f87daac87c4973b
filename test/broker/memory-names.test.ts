import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Memory } from '../../src/base/memory.ts'
import { connectPacket, PERSISTENT, TestBroker, will } from './harness.ts'

const KIB = 1024
const LONG = 'x'.repeat(10_000)

/** What CONNECT of this client is answered. */
function answer(world: TestBroker, clientId: string, username?: string): string {
  const client = world.open()
  client.send(connectPacket(clientId, { ...PERSISTENT, username }))
  if (world.store instanceof DelayedStore) world.commit()
  const [first = ''] = client.poll()
  client.lost()
  return first
}

describe('user names of sessions', () => {
  test('count once, and make room when the session ends or its user changes', () => {
    const memory = new Memory()
    const world = new TestBroker({ memory })
    const empty = memory.used
    answer(world, 'short')
    const each = memory.used - empty
    for (let i = 0; i < 20; i++) answer(world, `c${i}`, `${i}${LONG}`)
    expect(memory.used - empty).toBeGreaterThan(20 * LONG.length + 21 * each)
    expect(memory.used - empty).toBeLessThan(20 * (LONG.length + 50) + 21 * each)
    for (let i = 0; i < 10; i++) answer(world, `c${i}`, 'x')
    expect(memory.used - empty).toBeLessThan(10 * (LONG.length + 50) + 21 * (each + 50))
    for (let i = 0; i < 20; i++) world.connect(`c${i}`).disconnect()
    world.connect('short').disconnect()
    expect(memory.used).toBe(empty)
  })

  test('count for a client and an address, and above memory_limit whoever has a long one is refused', () => {
    const world = new TestBroker({ memory: new Memory({ memoryLimit: 200 * KIB, maxMemoryPerClient: 50 * KIB }) })
    expect(answer(world, 'known', 'me')).toBe('CONNACK')
    expect(answer(world, 'greedy', LONG.repeat(6))).toBe('CONNACK 151')
    const answers = Array.from({ length: 30 }, (_, i) => answer(world, `c${i}`, `${i}${LONG}`))
    expect(answers[0]).toBe('CONNACK')
    expect(answers.at(-1)).toBe('CONNACK 151')
    expect(answers.filter((each) => each === 'CONNACK').length).toBeGreaterThan(12)
    // Whoever has a session comes back, but not with a name that is so much longer.
    expect(answer(world, 'known', 'me too')).toBe('CONNACK present')
    expect(answer(world, 'c0', `0${LONG}`)).toBe('CONNACK present')
    expect(answer(world, 'known', LONG.repeat(2))).toBe('CONNACK 151')
  })
})

test('text with characters above U+00FF counts two bytes for each', () => {
  const memory = new Memory()
  const world = new TestBroker({ memory })
  const of = (letter: string): number => {
    const properties = { userProperties: [['key', `${LONG}${letter}`]] as [string, string][] }
    const before = memory.used
    const client = world.connect(`${LONG}${letter}`, {
      ...PERSISTENT,
      username: `${LONG}${letter}`,
      will: will('w', 'x', 0, properties),
    })
    client.publish(`kept/${letter}`, 'x', 1, 1, { retain: true, properties })
    client.poll()
    return memory.used - before
  }
  const [latin, wide] = [of('x'), of('ж')]
  // Client id with and without the kind before it, user name, the will's property and the message's.
  expect(wide - latin).toBeGreaterThan(5 * LONG.length - 1000)
  expect(wide - latin).toBeLessThan(5 * LONG.length + 300)
})

describe('client ids and user names of whoever has published', () => {
  test('count as long as something is retained or waits, once for all of it, and after a restart', () => {
    const store = new DelayedStore()
    const memory = new Memory()
    const world = new TestBroker({ memory }, store)
    const reader = world.connect('reader', PERSISTENT)
    reader.subscribe('waits', 1)
    world.commit()
    reader.lost()
    const empty = memory.used
    for (let i = 0; i < 20; i++) {
      const client = world.connect(`${i}${LONG}`, { username: `${LONG}${i}` })
      for (const topic of ['a', 'b']) client.publish(`kept/${i}/${topic}`, 'x', 1, 1, { retain: true })
      client.disconnect()
    }
    for (let i = 20; i < 40; i++) {
      const client = world.connect(`${i}${LONG}`)
      client.publish('waits', 'x', 1)
      client.disconnect()
    }
    world.commit()
    const names = 60 * LONG.length
    expect(memory.used - empty).toBeGreaterThan(names)
    expect(memory.used - empty).toBeLessThan(names + 60 * 1500)
    const again = new Memory()
    const next = new TestBroker({ memory: again }, store.crash({ folded: store.durable }))
    for (const record of next.store.replay()) next.broker.apply(record as never)
    next.broker.recover(0)
    next.broker.runDownRecovered(0)
    expect(Math.abs(again.used - memory.used)).toBeLessThan(20_000)
    const cleaner = next.connect('cleaner')
    for (let i = 0; i < 20; i++) for (const topic of ['a', 'b']) cleaner.publish(`kept/${i}/${topic}`, '', 0, 0, { retain: true })
    next.connect('reader', { cleanStart: true }).disconnect()
    cleaner.disconnect()
    next.commit()
    expect(again.used).toBeLessThan(empty)
  })

  test('count in the part that retained messages may take, and for the client itself under whatever user names', () => {
    const world = new TestBroker({ memory: new Memory({ memoryLimit: 400 * KIB, maxMemoryPerClient: 100 * KIB }) })
    const retain = (clientId: string, topic: string, username?: string): string => {
      const client = world.connect(clientId, { username })
      client.publish(topic, 'x', 1, 1, { retain: true })
      const [first = ''] = client.poll()
      client.disconnect()
      return first
    }
    const kept = Array.from({ length: 30 }, (_, i) => retain(`${i}${LONG}`, `kept/${i}`))
    expect(kept[10]).toBe('PUBACK #1 16')
    expect(kept.at(-1)).toBe('PUBACK #1 151')
    // What replaces as much is taken.
    expect(retain('other', 'kept/0')).toBe('PUBACK #1 16')
    const cleaner = world.connect('cleaner')
    for (let i = 0; i < 30; i++) cleaner.publish(`kept/${i}`, '', 0, 0, { retain: true })
    const users = Array.from({ length: 12 }, (_, i) => retain('one', `one/${i}`, `${i}${LONG}`))
    expect(users[5]).toBe('PUBACK #1 16')
    expect(users.at(-1)).toBe('PUBACK #1 151')
  })
})
