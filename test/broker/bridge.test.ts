import { describe, expect, test } from 'vitest'
import type { ProtocolVersion, Will } from '../../src/mqtt/packets.ts'
import { Wire } from '../mqtt/wire.ts'
import { VERSIONS, WireClient } from '../mqtt/wire-client.ts'

const OLD = [3, 4] as const

const bridge = (protocolVersion: ProtocolVersion, more: { cleanStart?: boolean; will?: Will } = {}) => ({
  clientId: 'house.b1',
  protocolVersion,
  bridge: true,
  cleanStart: false,
  ...more,
})

describe.each(OLD)('a bridge of version %i', (version) => {
  test('does not get what it publishes, and gets retained messages as such', () => {
    const world = new Wire()
    const client = WireClient.connect(world, bridge(version)).subscribed(['both/#', '$share/g/both/#'], 1)
    const other = WireClient.connect(world).subscribed('both/#', 1)
    client.publish('both/a', 'mine', 1)
    // The shared subscription has no No Local.
    expect(client.hears()).toEqual(['PUBACK #1', 'both/a=mine q1 #1'])
    client.unsubscribe('$share/g/both/#')
    client.publish('both/a', 'mine', 1, { retain: true })
    expect(client.hears()).toEqual(['UNSUBACK #101', 'PUBACK #2'])
    expect(other.hears()).toEqual(['both/a=mine q1 #1', 'both/a=mine q1 #2'])
    other.publish('both/b', 'theirs', 1, { retain: true })
    other.publish('both/c', 'theirs', 1)
    expect(client.hears()).toEqual(['both/b=theirs q1 #2 retain', 'both/c=theirs q1 #3'])
    // Its own retained messages do not come with a subscription either.
    client.subscribe('both/a', 1)
    expect(client.hears()).toEqual(['SUBACK #100 0x01'])
  })

  test('resumes a session whose subscriptions were made without the bit, also after a restart', () => {
    let world = Wire.stored()
    WireClient.connect(world, { ...bridge(version), bridge: false })
      .subscribed('both/#', 1)
      .lost()
    world = world.restarted()
    let client = WireClient.connect(world, bridge(version))
    const other = WireClient.connect(world)
    client.publish('both/a', 'mine', 1)
    other.publish('both/b', 'theirs', 1, { retain: true })
    expect(client.hears()).toEqual(['PUBACK #1', 'both/b=theirs q1 #1 retain'])
    client.ack(4, 1)
    client.lost()
    world = world.restarted()
    WireClient.connect(world).publish('both/c', 'meanwhile', 1, { retain: true })
    client = new WireClient(world, bridge(version))
    expect(client.hears().slice(1)).toEqual(['both/c=meanwhile q1 #1 retain'])
    client.publish('both/a', 'mine', 1)
    expect(client.hears()).toEqual(['PUBACK #1'])
  })
})

test('a client that is no bridge gets its own messages, and RETAIN is lost', () => {
  for (const protocolVersion of VERSIONS) {
    const client = WireClient.connect(new Wire(), { protocolVersion }).subscribed('a')
    client.publish('a', 'x', 0, { retain: true })
    expect(client.hears()).toEqual(['a=x q0'])
  }
})
