import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Memory, type MemoryLimits } from '../../src/base/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { say, TestGateway } from './harness.ts'

const KIB = 1024
const LONG = 'w'.repeat(10_000)

function site(limits: Partial<MemoryLimits>, store?: Store): { world: TestGateway; memory: Memory; wills: () => number } {
  const memory = new Memory(limits)
  const world = new TestGateway({}, store, { memory })
  return { world, memory, wills: () => memory.byCategory().get('wills')! }
}

/** What CONNECT with such a will is answered in the end. */
function connect(world: TestGateway, name: string, topic: string, message: string): string {
  world.send(name, say.connect(name, { clean: false, will: true }), say.willTopic(topic), say.willMsg(message))
  if (world.store instanceof DelayedStore) world.settle()
  return world.sent(name).at(-1) ?? ''
}

const limit = (world: TestGateway): (string | undefined)[] => world.notices.flatMap((notice) => notice.limit ?? [])

describe('the topic of a will whose message has not come', () => {
  test('counts until the message comes, the dialogue ends, or nobody answers', () => {
    const { world, wills } = site({})
    for (const name of ['a', 'b', 'c']) world.send(name, say.connect(name, { will: true }), say.willTopic(LONG))
    expect(wills()).toBeGreaterThan(3 * LONG.length)
    expect(wills()).toBeLessThan(3 * LONG.length + 200)
    world.send('a', say.disconnect())
    world.send('b', say.connect('b', { will: true }))
    expect(wills()).toBeLessThan(LONG.length + 100)
    world.advance(600_000)
    expect(wills()).toBe(0)
  })

  test('is refused with congestion where all of them have an eighth of memory_limit', () => {
    const { world, wills } = site({ memoryLimit: 800 * KIB })
    const names = Array.from({ length: 30 }, (_, i) => `s${i}`)
    for (const name of names) world.send(name, say.connect(name, { will: true }), say.willTopic(LONG))
    const refused = names.filter((name) => world.sent(name).includes('CONNACK rc1'))
    expect(refused.length).toBeGreaterThan(15)
    expect(wills()).toBeLessThan(100 * KIB)
    expect(limit(world)).toContain('memory_limit')
    // Others connect as ever.
    world.send('other', say.connect('other'))
    expect(world.sent('other')).toEqual(['CONNACK'])
  })
})

describe('the will of a sensor that has said goodbye', () => {
  test('counts once: for the session, then for the gateway, and for nobody when it is forgotten', () => {
    const store = new DelayedStore()
    const { world, wills } = site({}, store)
    expect(connect(world, 's', LONG, LONG)).toBe('CONNACK')
    const counted = wills()
    expect(counted).toBeGreaterThan(2 * LONG.length)
    world.send('s', say.disconnect())
    world.settle()
    expect(wills()).toBe(counted)
    const memory = new Memory()
    const next = new TestGateway({}, store.crash({ folded: store.durable }), { memory })
    expect(memory.byCategory().get('wills')).toBe(counted)
    next.send('s', say.connect('s', { clean: false }))
    next.settle()
    expect(memory.byCategory().get('wills')).toBe(counted)
    next.send('s', say.connect('s', { clean: true }))
    next.settle()
    expect(memory.byCategory().get('wills')).toBe(0)
  })

  test('of one that is connected while the process ends is one object for both', () => {
    const store = new DelayedStore()
    const { world } = site({}, store)
    expect(connect(world, 's', LONG, LONG)).toBe('CONNACK')
    const next = world.restarted()
    expect(next.gateway.client('s')?.will).toBe(next.broker.sessions.get('sn', 's')?.will)
  })

  test('stays in the share of its address', () => {
    const { world, memory } = site({ memoryLimit: 10_000 * KIB, maxMemoryPerAddress: 100 * KIB })
    const answers = Array.from({ length: 20 }, (_, i) => {
      const answer = connect(world, `10.0.0.1:${i + 1}`, LONG, LONG)
      world.send(`10.0.0.1:${i + 1}`, say.disconnect())
      return answer
    })
    expect(answers[3]).toBe('CONNACK')
    expect(answers.at(-1)).toBe('CONNACK rc1')
    expect(limit(world)).toContain('max_memory_per_address')
    expect(memory.byCategory().get('wills')).toBeLessThan(100 * KIB)
  })

  test('that the broker refused is not kept: the one before is', () => {
    const { world } = site({ memoryLimit: 10_000 * KIB, maxMemoryPerClient: 30 * KIB })
    expect(connect(world, 's', 'short', 'x')).toBe('CONNACK')
    world.send('s', say.disconnect())
    expect(connect(world, 's', LONG, LONG.repeat(3))).toBe('CONNACK rc1')
    expect(world.gateway.client('s')?.will?.topic).toBe('short')
  })
})
