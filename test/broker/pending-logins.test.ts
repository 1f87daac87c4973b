import { describe, expect, test } from 'vitest'
import { Memory } from '../../src/base/memory.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import { connectPacket, TestBroker, TestClient } from './harness.ts'

const KIB = 1024
const LIMIT = 1024 * KIB
/** An eighth of the limit is for logins. */
const PART = LIMIT / 8

function site(): { readonly world: TestBroker; readonly memory: Memory; login: typeof login } {
  const memory = new Memory({ memoryLimit: LIMIT })
  const world = new TestBroker({ memory, access: { ...OPEN_ACCESS, connect: () => 'ask' } })
  function login(peer: string, passwordBytes: number, options: Partial<Connect> = {}): TestClient {
    const client = new TestClient(world, world.broker.open(world.now, { kind: 'mqtt', peer, listener: 'mqtt' }))
    client.send(connectPacket('', { username: 'u', password: Buffer.alloc(passwordBytes, 'p'), ...options }))
    return client
  }
  return { world, memory, login }
}

const held = (memory: Memory): number => memory.byCategory().get('handshakes')!

describe('logins that wait for an answer', () => {
  test('take an eighth of the limit, wherever they come from', () => {
    const { world, memory, login } = site()
    for (let i = 0; i < 500; i++) {
      login(`10.0.${i % 250}.1:${i}`, 60 * KIB)
      expect(held(memory)).toBeLessThanOrEqual(PART)
    }
    expect(held(memory)).toBeGreaterThan(PART / 2)
    expect(world.notices.filter((notice) => notice.code === 'limit-reached' && notice.limit === 'memory_limit')).not.toEqual([])
  })

  test('an address that holds most loses the one that has waited longest', () => {
    const { world, login } = site()
    const honest = login('192.0.2.1:1', 20)
    const first = login('10.0.0.1:1', 50 * KIB)
    const second = login('10.0.0.1:2', 50 * KIB)
    const third = login('10.0.0.1:3', 50 * KIB)
    const another = login('192.0.2.2:1', 20)
    expect(first.poll()).toEqual(['CONNACK 137', 'CLOSE 137'])
    for (const client of [honest, second, third, another]) expect(client.poll()).toEqual([])
    // Nobody goes on verifying what was given up.
    while (world.broker.nextAuthRequest() !== undefined) {}
    expect(world.broker.nextAbandonedAuth()).toBe(first.link.id)
    expect(world.broker.nextAbandonedAuth()).toBe(undefined)
    // The others are answered as if nothing had been.
    world.broker.authenticated(world.now, honest.link.id, 1, { kind: 'accepted', username: 'u', grant: undefined })
    expect(honest.poll()).toEqual(['CONNACK'])
  })

  test('one that is too large for the part is refused alone', () => {
    const { memory, login } = site()
    const honest = login('192.0.2.1:1', 20)
    const large = login('10.0.0.1:1', 2 * PART)
    expect(large.poll()).toEqual(['CONNACK 137', 'CLOSE 137'])
    expect(honest.poll()).toEqual([])
    expect(held(memory)).toBeLessThan(KIB * 12)
  })

  test('what AUTH brings counts like CONNECT', () => {
    const { world, memory, login } = site()
    const method = { authenticationMethod: 'X', authenticationData: Buffer.alloc(10) }
    const client = login('10.0.0.1:1', 1, { properties: method })
    const { link, step } = world.broker.nextAuthRequest()!
    world.broker.authenticated(world.now, link, step, { kind: 'continue', data: Buffer.alloc(1) })
    const before = held(memory)
    client.send({ type: 15, reasonCode: 0x18, properties: { ...method, authenticationData: Buffer.alloc(60 * KIB) } })
    expect(held(memory) - before).toBeGreaterThan(59 * KIB)
    client.lost()
    expect(held(memory)).toBe(0)
  })
})
