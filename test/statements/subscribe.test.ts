import { describe, expect, test } from 'vitest'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import { Wire } from '../mqtt/wire.ts'
import { persistent, resumed, VERSIONS, WireClient, world } from '../mqtt/wire-client.ts'

/** What a client hears when its packet is malformed, or breaks the protocol. */
const refused = (version: number, reasonCode: number): string[] =>
  version === 5 ? [`DISCONNECT 0x${reasonCode.toString(16)}`, 'close'] : ['close']

describe.each(VERSIONS)('SUBSCRIBE in version %i', (protocolVersion) => {
  const joined = (wire = world()): WireClient => WireClient.connect(wire, { protocolVersion })

  test('MQTT-3.8.4-1, -2: SUBACK answers, with the same packet id', () => {
    const client = joined()
    for (const packetId of [1, 7, 65_535]) {
      client.subscribe('a', 1, {}, packetId)
      expect(client.hears()).toEqual([`SUBACK #${packetId} 0x01`])
    }
  })

  test('MQTT-3.8.4-3: the same filter again replaces the subscription', () => {
    const wire = world()
    const client = joined(wire).subscribed('a', 0)
    const other = WireClient.connect(wire)
    other.publish('a', 'low', 2)
    expect(client.hears()).toEqual(['a=low q0'])
    client.subscribed('a', 2)
    expect(wire.broker.subscriptionCount).toBe(1)
    other.publish('a', 'high', 2)
    expect(client.hears()).toEqual(['a=high q2 #1'])
  })

  test('MQTT-3.8.4-4: retained messages come again with it, and none that waits is lost', () => {
    const wire = world()
    const other = WireClient.connect(wire)
    other.publish('a', 'retained', 1, { retain: true })
    const client = joined(wire).subscribed('a', 1)
    client.ack(4, 1)
    wire.congested(client.connection, true)
    client.hears()
    other.publish('a', 'live', 1)
    client.subscribe('a', 1)
    wire.congested(client.connection, false)
    expect(client.hears().filter((heard) => heard.includes('='))).toEqual(['a=live q1 #2', 'a=retained q1 #3 retain'])
  })

  test('MQTT-3.8.4-5, -6: many filters are as many packets, with one SUBACK that has a code for each', () => {
    const wire = world()
    const client = joined(wire)
    client.subscribe([
      { filter: 'a', qos: 2 },
      { filter: 'b', qos: 0 },
      { filter: 'c/#', qos: 1 },
      { filter: 'a', qos: 1 },
    ])
    expect(client.hears()).toEqual(['SUBACK #100 0x02 0x00 0x01 0x01'])
    expect(wire.broker.subscriptionCount).toBe(3)
    const other = WireClient.connect(wire)
    for (const topic of ['a', 'b', 'c']) other.publish(topic, 'x', 2)
    expect(client.hears()).toEqual(['a=x q1 #1', 'b=x q0', 'c=x q1 #2'])
  })

  test('MQTT-3.8.4-7: the code is the QoS that is granted, with no more than that granted', () => {
    const wire = new Wire({ listeners: new Map([['mqtt', { ...DEFAULT_LISTENER_LIMITS, maximumQos: 1 as const }]]) })
    const client = joined(wire)
    client.subscribe([
      { filter: 'a', qos: 0 },
      { filter: 'b', qos: 1 },
      { filter: 'c', qos: 2 },
    ])
    expect(client.hears()).toEqual(['SUBACK #100 0x00 0x01 0x01'])
    WireClient.connect(wire, {}, { listener: 'other' }).publish('c', 'x', 2)
    expect(client.hears()).toEqual(['c=x q1 #1'])
  })
})

describe('SUBSCRIBE of 5.0', () => {
  test('5.0 MQTT-3.8.3-4: No Local on a shared subscription breaks the protocol', () => {
    const client = WireClient.connect(world())
    client.subscribe(['a', { filter: '$share/g/a', noLocal: true }])
    expect(client.hears()).toEqual(['DISCONNECT 0x82', 'close'])
    expect(client.wire.broker.subscriptionCount).toBe(0)
  })

  test('5.0 MQTT-3.9.2-1: SUBACK says why something is refused, unless the client takes no packet of that size', () => {
    const told = (properties: object): unknown => {
      const client = WireClient.connect(world(), { properties })
      client.subscribe(['a', '$share/g/'])
      return client.packets()
    }
    const suback = { type: 9, packetId: 100, reasonCodes: [0, 0x8f] }
    const reasonString = 'the topic filter is not valid, or too long (max_topic_levels)'
    expect(told({})).toEqual([{ ...suback, properties: { reasonString } }])
    expect(told({ maximumPacketSize: 40 })).toEqual([{ ...suback, properties: {} }])
    expect(told({ requestProblemInformation: false })).toEqual([{ ...suback, properties: {} }])
  })
})

describe.each(VERSIONS)('UNSUBSCRIBE in version %i', (protocolVersion) => {
  const joined = (wire = world()): WireClient => WireClient.connect(wire, { protocolVersion })
  const unsuback = (codes: string, packetId = 101): string[] => [
    `UNSUBACK #${packetId}${protocolVersion === 5 ? ` ${codes}` : ''}`,
  ]

  test('MQTT-3.10.3-2: one without any filter breaks the protocol', () => {
    const client = joined()
    client.unsubscribe([])
    expect(client.hears()).toEqual(refused(protocolVersion, 0x82))
  })

  test('MQTT-3.10.4-1: filters are compared character by character, and what is the same is deleted', () => {
    const wire = world()
    const client = joined(wire).subscribed(['a/+', 'a/#', 'A/b', '$share/g/a/b'])
    client.unsubscribe(['a/b', 'a', 'A/B', '+/b', '$share/h/a/b', 'a/+/'])
    client.hears()
    expect(wire.broker.subscriptionCount).toBe(4)
    client.unsubscribe(['a/#', '$share/g/a/b'])
    expect(client.hears()).toEqual(unsuback('0x00 0x00'))
    expect(wire.broker.subscriptionCount).toBe(2)
  })

  test('MQTT-3.10.4-2: no new messages are added, only those of other subscriptions', () => {
    const wire = world()
    const client = joined(wire).subscribed(['a', 'a/#', 'b'], 1)
    const other = WireClient.connect(wire)
    other.publish('a', 'both')
    client.unsubscribe('a/#')
    other.publish('a', 'one')
    client.unsubscribe('a')
    other.publish('a', 'none')
    other.publish('b', 'still')
    expect(client.hears().filter((heard) => heard.includes('='))).toEqual(['a=both q0', 'a=one q0', 'b=still q0'])
  })

  test('MQTT-3.10.4-3: what was sent of QoS 1 and 2 is delivered to its end, after a reconnect too', () => {
    const wire = world()
    const options = { clientId: 'c', ...persistent(protocolVersion) }
    const client = WireClient.connect(wire, options).subscribed('a', 2)
    const other = WireClient.connect(wire)
    other.publish('a', 'one', 1)
    other.publish('a', 'two', 2)
    client.unsubscribe('a')
    expect(client.hears()).toEqual(['a=one q1 #1', 'a=two q2 #2', ...unsuback('0x00')])
    client.ack(5, 2)
    expect(client.hears()).toEqual(['PUBREL #2'])
    client.lost()
    const again = WireClient.connect(wire, options)
    again.lost()
    const third = new WireClient(wire, options)
    expect(third.hears()).toEqual([resumed(protocolVersion), 'a=one q1 #1 dup', 'PUBREL #2'])
    third.ack(4, 1)
    third.ack(7, 2)
    expect(wire.broker.sessions.waiting().messages).toBe(0)
  })

  test('MQTT-3.10.4-4, -5: UNSUBACK answers with the same packet id, whether anything was deleted or not', () => {
    const client = joined().subscribed('a')
    client.unsubscribe('a', 7)
    client.unsubscribe('a', 65_535)
    expect(client.hears()).toEqual([...unsuback('0x00', 7), ...unsuback('0x11', 65_535)])
  })

  test('MQTT-3.10.4-6: many filters are as many packets, with one UNSUBACK', () => {
    const wire = world()
    const client = joined(wire).subscribed(['a', 'b', 'c'])
    client.unsubscribe(['a', 'b', 'c'])
    expect(client.hears()).toEqual(unsuback('0x00 0x00 0x00'))
    expect(wire.broker.subscriptionCount).toBe(0)
  })
})

describe('UNSUBACK of 5.0', () => {
  test('5.0 MQTT-3.11.3-1, -2: a code for each filter, in their order', () => {
    const client = WireClient.connect(world()).subscribed(['b', '$share/g/d'])
    client.unsubscribe(['a', 'b', 'c', '$share/g/d', 'd', 'b'])
    expect(client.hears()).toEqual(['UNSUBACK #101 0x11 0x00 0x11 0x00 0x11 0x11'])
  })
})

describe.each(VERSIONS)('PINGREQ in version %i', (protocolVersion) => {
  test('MQTT-3.12.4-1: PINGRESP answers each', () => {
    const client = WireClient.connect(world(), { protocolVersion })
    client.sendHex('c000c000')
    expect(client.hears()).toEqual(['PINGRESP', 'PINGRESP'])
  })
})
