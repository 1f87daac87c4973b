import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Memory, type MemoryLimits } from '../../src/base/memory.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import { connectPacket, PERSISTENT, TestBroker, TestClient, will } from './harness.ts'

const KIB = 1024
const LONG = 'x'.repeat(10_000)
/** Levels that no other topic has. */
const deep = (i: number): string => Array.from({ length: 100 }, (_, level) => `${i}-${level}`).join('/')

function site(limits: Partial<MemoryLimits>, store?: DelayedStore): { world: TestBroker; memory: Memory } {
  const memory = new Memory(limits)
  return { world: new TestBroker({ memory }, store), memory }
}

function from(world: TestBroker, address: string, clientId: string, options: Partial<Connect> = PERSISTENT) {
  const link = world.broker.open(world.now, { kind: 'mqtt', peer: `${address}:51234`, listener: 'mqtt' })
  const client = new TestClient(world, link)
  client.send(connectPacket(clientId, options))
  if (world.store instanceof DelayedStore) world.commit()
  const [answer = ''] = client.poll()
  return { client, answer }
}

/** Takes all that memory has left, but for some hundred bytes. */
function fill(world: TestBroker, memory: Memory): TestClient {
  const client = world.connect('filler')
  for (const size of [10_000, 1000, 100]) {
    for (let i = 0, answer = ''; !answer.includes('151'); i++) {
      client.subscribe(`${i}/${'f'.repeat(size)}`, 1)
      if (world.store instanceof DelayedStore) world.commit()
      answer = client.poll()[0] ?? ''
    }
  }
  expect(memory.used).toBeGreaterThan(memory.limits.memoryLimit - KIB)
  return client
}

const told = (world: TestBroker, code: string): string[] =>
  world.notices.filter((notice) => notice.code === code).map(({ reason = '' }) => reason)

describe('a will that is to be retained, above memory_limit', () => {
  test('counts at CONNECT with the levels of its topic that are new', () => {
    const { world, memory } = site({ memoryLimit: 500 * KIB })
    const options = (i: number): Partial<Connect> => ({ ...PERSISTENT, will: will(deep(i), 'x', 0, {}, true) })
    expect(from(world, '192.0.2.1', 'with', options(1)).answer).toBe('CONNACK')
    const without = from(world, '192.0.2.1', 'without')
    without.client.disconnect()
    fill(world, memory)
    expect(from(world, '192.0.2.1', 'new', options(2)).answer).toBe('CONNACK 151')
    expect(from(world, '192.0.2.1', 'without', options(3)).answer).toBe('CONNACK 151')
    expect(from(world, '192.0.2.1', 'without').answer).toBe('CONNACK present')
    // With the will that it had, whoever comes back is let in.
    expect(from(world, '192.0.2.1', 'with', options(4)).answer).toBe('CONNACK present')
  })

  test('is published without being retained, and told, unless it replaces as much', () => {
    const { world, memory } = site({ memoryLimit: 500 * KIB })
    const reader = world.connect('reader', { cleanStart: true })
    reader.subscribe('#', 1)
    reader.poll()
    const publisher = world.connect('publisher')
    publisher.publish('kept/last', LONG, 1, 1, { retain: true })
    const clients = [deep(1), 'kept/last'].map((topic, i) =>
      world.connect(`c${i}`, { ...PERSISTENT, will: will(topic, topic === 'kept/last' ? LONG : 'x', 1, {}, true) }),
    )
    reader.poll()
    reader.ack(4, 1)
    fill(world, memory)
    const before = memory.used
    for (const client of clients) client.lost()
    expect(reader.poll()).toEqual([`${deep(1)}=x q1 #2`, `kept/last=${LONG} q1 #3`])
    expect(world.broker.retained.get(deep(1))).toBeUndefined()
    expect(world.broker.retained.get('kept/last')?.from).toBe('mqtt:c1')
    expect(told(world, 'will-refused')).toEqual([
      expect.stringMatching(/^it is not retained on 1-0.*: 0\.5 MiB of 0\.5 MiB in use/),
    ])
    expect(told(world, 'will-published')).toHaveLength(2)
    expect(memory.used).toBeLessThanOrEqual(before)
  })

  test('and what is sent with QoS 1 waits for nobody who is away, comes once to who is there, and not again after a restart', () => {
    const store = new DelayedStore()
    const { world, memory } = site({ memoryLimit: 500 * KIB }, store)
    for (const clientId of ['away', 'here']) {
      const client = world.connect(clientId, PERSISTENT)
      client.subscribe('will/#', 1)
      world.commit()
      client.poll()
      if (clientId === 'away') client.lost()
    }
    const text = (i: number): string => `${i}${'x'.repeat(1000)}`
    const dying = Array.from({ length: 5 }, (_, i) => world.connect(`c${i}`, { ...PERSISTENT, will: will('will/a', text(i), 1) }))
    fill(world, memory)
    const here = world.connect('here', PERSISTENT)
    for (const client of dying) client.lost()
    world.commit()
    expect(here.poll()).toEqual(dying.map((_, i) => `will/a=${text(i)} q1 #${i + 1}`))
    const waiting = world.broker.sessions.get('mqtt', 'away')!.queueLength
    expect(waiting).toBeLessThan(5)
    expect(memory.used).toBeLessThanOrEqual(500 * KIB)
    const lost = world.notices.filter(({ code, client }) => code === 'queue-full' && client === 'mqtt:away')
    expect(lost).toHaveLength(5 - waiting)
    expect(lost[0]).toMatchObject({ limit: 'memory_limit' })
    const next = TestBroker.restarted(store, 0)
    next.advance(4_000_000)
    expect(told(next, 'will-published')).toEqual([])
  })
})

describe('the share of an address is given back', () => {
  const limits = { memoryLimit: 10_000 * KIB, maxMemoryPerAddress: 100 * KIB }
  const options = (i: number): Partial<Connect> => ({ ...PERSISTENT, will: will(`will/${i}`, LONG) })

  test.each([
    ['by who says goodbye', (client: TestClient) => client.disconnect()],
    ['when wills fire', (client: TestClient) => client.lost()],
    ['by an update of the will', (client: TestClient) => void client.link.setWill(0, undefined)],
  ])('%s', (_, leave) => {
    const { world } = site(limits)
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 7; i++) {
        const { client, answer } = from(world, '192.0.2.1', `c${i}`, options(i))
        expect(answer).toContain('CONNACK')
        expect(answer).not.toContain('151')
        leave(client)
      }
    }
    for (let i = 7; i < 14; i++) expect(from(world, '192.0.2.1', `c${i}`, options(i)).answer).toBe('CONNACK')
    expect(from(world, '192.0.2.1', 'c15', { ...PERSISTENT, will: will('w', LONG.repeat(3)) }).answer).toBe('CONNACK 151')
  })

  test('by messages that expire', () => {
    const { world } = site(limits)
    const { client } = from(world, '192.0.2.1', 'away')
    client.subscribe('a', 1)
    client.lost()
    const publisher = world.connect('publisher')
    for (let id = 1; id <= 8; id++) publisher.publish('a', LONG, 1, id, { properties: { messageExpiryInterval: 10 } })
    expect(from(world, '192.0.2.1', 'new', options(1)).answer).toBe('CONNACK')
    expect(from(world, '192.0.2.1', 'newer', options(2)).answer).toBe('CONNACK 151')
    world.advance(30_000)
    expect(from(world, '192.0.2.1', 'newer', options(2)).answer).toBe('CONNACK')
  })
})
