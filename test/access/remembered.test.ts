import { describe, expect, test } from 'vitest'
import { type Acl, parseAcl } from '../../src/access/acl.ts'
import { AccessPolicy, type ListenerPolicy } from '../../src/access/policy.ts'
import { Memory } from '../../src/base/memory.ts'
import { TestBroker } from '../broker/harness.ts'
import { reachableBytes } from '../security/heap.ts'

const MIB = 1024 * 1024
const ACL = 'topic readwrite a/#\npattern write %c/#\n'

function site(memoryLimit: number): { world: TestBroker; memory: Memory; access: AccessPolicy } {
  const memory = new Memory({ memoryLimit })
  const open: ListenerPolicy = {
    allowAnonymous: true,
    verifies: false,
    methods: [],
    passwords: undefined,
    tokenKeys: new Set(),
    acl: parseAcl(ACL) as Acl,
  }
  const access = new AccessPolicy(new Map(), open)
  return { world: new TestBroker({ memory, access }), memory, access }
}

const answers = (memory: Memory): number => memory.byCategory().get('access_answers')!

describe('what access rules remember', () => {
  test('is in the account, with what it takes', () => {
    const { world, memory, access } = site(Number.POSITIVE_INFINITY)
    const clients = Array.from({ length: 50 }, (_, i) => world.connect(`client ${i}`))
    for (const [i, client] of clients.entries())
      for (let topic = 0; topic < 200; topic++) client.publish(`a/${i}/${'x'.repeat(150)}/${topic}`, 'x')
    const [filled, counted] = [reachableBytes(), answers(memory)]
    access.remembered.clear()
    const real = filled - reachableBytes()
    expect(counted).toBeGreaterThan(50 * 200 * 200)
    expect(counted / real).toBeGreaterThan(0.75)
    expect(counted / real).toBeLessThan(1.25)
  })

  test('has no topic of more than 256 characters, is bounded in bytes, and gives way when something else needs the room', () => {
    const { world, memory, access } = site(16 * MIB)
    const client = world.connect('c')
    for (let i = 0; i < 100; i++) client.publish(`a/${i}/${'x'.repeat(60_000)}`, 'x')
    expect(answers(memory)).toBeLessThan(2000)
    for (let i = 0; i < 100; i++) {
      const other = world.connect(`c${i}`)
      for (let topic = 0; topic < 250; topic++) other.publish(`a/${i}/${'x'.repeat(200)}/${topic}`, 'x')
      expect(answers(memory)).toBeLessThanOrEqual(MIB)
    }
    expect(answers(memory)).toBeGreaterThan(MIB / 20)
    memory.hasRoom(20 * MIB)
    expect(answers(memory)).toBe(0)
    // The answers are the same as ever.
    expect(['a/1', 'c/1', 'b/1'].map((topic) => access.publish(client.link.client!, topic))).toEqual([true, true, false])
    expect(['a/1', 'c/1', 'b/1'].map((topic) => access.publish(client.link.client!, topic))).toEqual([true, true, false])
  })

  test('counts rules with long names put in', () => {
    const { world, memory } = site(64 * MIB)
    for (let i = 0; i < 20; i++) world.connect(`${i}${'x'.repeat(50_000)}`).publish('a/1', 'x')
    expect(answers(memory)).toBeGreaterThan(20 * 50_000)
    world.connect('c').publish('a/1', 'x')
    expect(answers(memory)).toBeLessThan(20 * 51_000)
  })
})
