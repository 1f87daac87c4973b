import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import { connectPacket, PERSISTENT, TestClient } from '../broker/harness.ts'
import { say, TestGateway } from './harness.ts'

// Ruling A32: one client id on both protocols. Neither keeps the other out, or sees anything of the other's session.

/** A TCP client; `identity`: the user that its certificate names. */
function tcp(world: TestGateway, clientId: string, options: Partial<Connect> = {}, identity?: string): TestClient {
  const info = { kind: 'mqtt', peer: 'test', listener: 'mqtt', ...(identity !== undefined && { identity }) } as const
  const client = new TestClient(world as never, world.broker.open(world.now, info))
  client.send(connectPacket(clientId, options))
  if (world.store instanceof DelayedStore) world.settle()
  return client
}

describe('G9: a sensor and a TCP client with one client id', () => {
  test('the sensor first: the TCP client is let in, and the sensor stays', () => {
    const world = new TestGateway()
    world.send('r', say.connect('house', { clean: false }))
    expect(tcp(world, 'house').poll()).toEqual(['CONNACK'])
    world.send('r', say.ping())
    expect(world.sent('r')).toEqual(['CONNACK', 'PINGRESP'])
    expect(world.codes()).not.toContain('client-takeover')
  })

  test('a sensor that sleeps, and never wakes, keeps nobody out', () => {
    const world = new TestGateway()
    world.send('r', say.connect('house', { clean: false }), say.disconnect(0xffff))
    const client = tcp(world, 'house', PERSISTENT)
    expect(client.poll()).toEqual(['CONNACK'])
    client.subscribe('a')
    world.publish('a', 'x', 0)
    expect(client.poll()).toEqual(['SUBACK #100', 'a=x q0'])
  })

  test('the TCP client first: the sensor is let in, and the TCP client stays', () => {
    const world = new TestGateway()
    const client = tcp(world, 'house')
    world.send('r', say.connect('house'))
    expect(world.sent('r')).toEqual(['CONNACK'])
    expect(client.poll()).toEqual(['CONNACK'])
    client.subscribe('a')
    expect(client.poll()).toEqual(['SUBACK #100'])
  })

  test('a sensor that nobody vouches for, and a TCP client with a user: neither has the session or the rights of the other', () => {
    const world = new TestGateway()
    world.send('r', say.connect('house', { clean: false }), say.subscribe('a'), say.disconnect(600))
    const client = tcp(world, 'house', PERSISTENT, 'alice')
    // No session of the sensor's.
    expect(client.poll()).toEqual(['CONNACK'])
    expect(world.broker.sessions.get('mqtt', 'house')?.username).toBe('alice')
    expect(world.broker.sessions.get('sn', 'house')?.username).toBeUndefined()
    client.subscribe('b')
    client.disconnect()
    // No session of the TCP client's, and nothing for it to throw away.
    world.send('q', say.connect('house', { clean: true }))
    expect(tcp(world, 'house', PERSISTENT, 'alice').poll()).toEqual(['CONNACK present'])
  })

  test('within one protocol the session is taken over as ever', () => {
    const world = new TestGateway()
    world.send('r', say.connect('house'))
    const first = tcp(world, 'house')
    const second = tcp(world, 'house')
    expect([first.poll(), second.poll()]).toEqual([['CONNACK', 'CLOSE 142'], ['CONNACK']])
    world.send('q', say.connect('house'))
    expect(world.sent('q')).toEqual(['CONNACK'])
    world.send('r', say.ping())
    expect(world.sent('r')).toContain('DISCONNECT')
  })

  test('No Local is about the session, not the name', () => {
    const world = new TestGateway()
    world.send('r', say.connect('house'), say.register('a'))
    const client = tcp(world, 'house')
    client.subscribe('a', 0, { noLocal: true })
    client.publish('a', 'own')
    world.send('r', say.publish(0x401, 'from the sensor'))
    expect(client.poll()).toEqual(['CONNACK', 'SUBACK #100', 'a=from the sensor q0'])
  })

  test.each([
    ['the sensor first', true],
    ['the TCP client first', false],
  ])('lasting sessions of both outlive the other, and a restart: %s', (_, sensorFirst) => {
    const world = new TestGateway({}, new DelayedStore())
    const sensor = (): void => {
      world.send('r', say.connect('house', { clean: false }))
      world.settle()
      world.send('r', say.subscribe('a', 1))
      world.settle()
      world.send('r', say.disconnect(600))
      world.settle()
      expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0401 #9 q1', 'DISCONNECT'])
    }
    const station = (): void => {
      const client = tcp(world, 'house', PERSISTENT)
      client.subscribe('b', 1)
      world.settle()
      expect(client.poll()).toEqual(['CONNACK', 'SUBACK #100 1'])
      client.disconnect()
    }
    if (sensorFirst) {
      sensor()
      station()
    } else {
      station()
      sensor()
    }
    world.publish('a', 'for the sensor')
    world.publish('b', 'for the client')
    world.settle()
    const after = world.restarted()
    after.settle()
    after.send('r', say.ping('house'))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBLISH 0401=for the sensor #64 q1'])
    expect(tcp(after, 'house', PERSISTENT).poll()).toEqual(['CONNACK present', 'b=for the client q1 #1'])
    // One that ends leaves the other.
    tcp(after, 'house', { cleanStart: true }).disconnect()
    after.send('r', say.puback(0x401, 64))
    after.settle()
    expect(after.sent('r')).toEqual(['PINGRESP'])
  })
})

describe("G9: the client of the gateway's own QoS -1 messages", () => {
  const own = 'roost-gateway-7-qos-1'
  const beacon = say.publish(1, 'x', -1, 0, 'predefined')
  const heard = (world: TestGateway): string[] => {
    const client = world.client('watcher')
    client.subscribe('predefined/one')
    client.poll()
    world.send('x', beacon)
    return client.poll()
  }

  test('a TCP client of its name does not block it, and is not thrown out by it', () => {
    for (const identity of [undefined, 'mallory']) {
      const world = new TestGateway()
      const client = tcp(world, own, PERSISTENT, identity)
      expect(heard(world)).toEqual(['predefined/one=x q0'])
      expect(client.poll()).toEqual(['CONNACK'])
      client.disconnect()
      expect(heard(world)).toEqual(['predefined/one=x q0'])
    }
  })

  test('a sensor cannot have its name, nor that of the same gateway with another id', () => {
    const world = new TestGateway()
    world.send('r', say.connect(own), say.connect('roost-gateway-8-qos-1'), say.connect('roost-gateway-8'))
    expect(world.sent('r')).toEqual(['CONNACK rc3', 'CONNACK rc3', 'CONNACK'])
    expect(heard(world)).toEqual(['predefined/one=x q0'])
  })
})
