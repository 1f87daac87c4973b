import { describe, expect, test } from 'vitest'
import type { StreamInfo } from '../../src/mqtt/connection.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { Wire } from '../mqtt/wire.ts'

const from = (ip: string): StreamInfo => ({ peer: `${ip}:1`, listener: 'mqtt' })

/** Connects, retains each message with QoS 1, and returns the reason codes. */
function retain(wire: Wire, peer: StreamInfo, clientId: string, messages: readonly [topic: string, bytes: number][]): number[] {
  const client = wire.connect({ clientId }, peer)
  wire.out(client)
  for (const [i, [topic, bytes]] of messages.entries()) wire.send(client, Publish.of(topic, Buffer.alloc(bytes), 1, true, i + 1))
  return wire.packets(client).map((packet) => (typeof packet === 'object' && 'reasonCode' in packet ? packet.reasonCode : -1))
}

const topics = (many: number, name: string): [string, number][] => Array.from({ length: many }, (_, i) => [`${name}/${i}`, 1])

describe('half of what may be retained is for one address without a user', () => {
  test('of max_retained_messages, over all its client ids, and others can retain the rest', () => {
    const wire = new Wire({}, { limits: { maxRetainedMessages: 10 } })
    expect(retain(wire, from('192.0.2.1'), 'a', topics(3, 'a'))).toEqual([16, 16, 16])
    expect(retain(wire, from('192.0.2.1'), 'b', topics(3, 'b'))).toEqual([16, 16, 0x97])
    expect(wire.notices.findLast(({ code }) => code === 'publish-refused')).toMatchObject({
      client: 'mqtt:b',
      limit: 'max_retained_messages',
      reason: '5 of 10 are its own, and half is for one user: b/2: reason code 0x97',
    })
    expect(retain(wire, from('192.0.2.2'), 'c', topics(6, 'c'))).toEqual([16, 16, 16, 16, 16, 0x97])
    expect(wire.broker.retained.count).toBe(10)
  })

  test('what it has may be replaced and removed, and then there is room again', () => {
    const wire = new Wire({}, { limits: { maxRetainedMessages: 4 } })
    const [one, two] = [from('192.0.2.1'), from('192.0.2.2')]
    expect(retain(wire, one, 'a', topics(2, 'a'))).toEqual([16, 16])
    expect(retain(wire, two, 'b', [['b', 1]])).toEqual([16])
    // The topic of another would be one more of its own.
    expect(
      retain(wire, one, 'a', [
        ['a/0', 9],
        ['b', 1],
        ['a/1', 0],
        ['b', 1],
      ]),
    ).toEqual([16, 0x97, 16, 16])
    expect(retain(wire, two, 'b', topics(3, 'c'))).toEqual([16, 16, 0x97])
  })

  test('after a restart too, and a client at another address can update what it had retained', () => {
    const before = Wire.stored({}, { limits: { maxRetainedMessages: 10 } })
    expect(retain(before, from('192.0.2.1'), 'a', topics(5, 'a'))).toEqual([16, 16, 16, 16, 16])
    const wire = before.restarted()
    expect(retain(wire, from('192.0.2.1'), 'b', topics(1, 'b'))).toEqual([0x97])
    expect(retain(wire, from('192.0.2.2'), 'b', topics(5, 'b'))).toEqual([16, 16, 16, 16, 16])
    expect(retain(wire, from('192.0.2.2'), 'a', topics(6, 'a'))).toEqual([16, 16, 16, 16, 16, 0x97])
  })

  test('half is for one user, wherever its clients are', () => {
    const wire = new Wire({}, { limits: { maxRetainedMessages: 4 } })
    const alice = (ip: string): StreamInfo => ({ ...from(ip), identity: 'alice' })
    expect(retain(wire, alice('192.0.2.1'), 'a', topics(1, 'a'))).toEqual([16])
    expect(retain(wire, alice('192.0.2.2'), 'b', topics(2, 'b'))).toEqual([16, 0x97])
    expect(retain(wire, from('192.0.2.2'), 'c', topics(2, 'c'))).toEqual([16, 16])
  })

  test('of max_retained_bytes', () => {
    const wire = new Wire({}, { limits: { maxRetainedBytes: 1000 } })
    const messages: [string, number][] = [
      ['a', 300],
      ['b', 300],
      ['a', 450],
      ['a', 600],
      ['a', 10],
    ]
    expect(retain(wire, from('192.0.2.1'), 'a', messages)).toEqual([16, 0x97, 16, 0x97, 16])
    expect(retain(wire, from('192.0.2.2'), 'b', [['c', 400]])).toEqual([16])
  })
})
