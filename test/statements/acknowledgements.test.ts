import { describe, expect, test } from 'vitest'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { Connections } from '../../src/mqtt/connections.ts'
import type { Link, Outgoing, Uplink } from '../../src/mqtt/link.ts'
import { type Packet, PacketType, type PublishResponse } from '../../src/mqtt/packets.ts'
import { World } from '../mqtt/peers.ts'
import { Wire } from '../mqtt/wire.ts'

const ACKS = [
  ['PUBACK', PacketType.PUBACK],
  ['PUBREC', PacketType.PUBREC],
  ['PUBREL', PacketType.PUBREL],
  ['PUBCOMP', PacketType.PUBCOMP],
] as const

describe('reason codes of acknowledgements', () => {
  /** Whatever a client publishes, and whatever is wrong with it. */
  const answers = (qos: 1 | 2): string[] => {
    const access = { ...OPEN_ACCESS, publish: (_who: unknown, topic: string) => topic !== 'denied' }
    const world = new World({ access, broker: { messageSizeLimit: 10, maxTopicLevels: 2, maxRetainedMessages: 0 } })
    world.peer('s').subscribed('a', 2)
    const peer = world.peer('c')
    const topics = ['a', 'nobody', 'denied', 'a/b/c', '$SYS/x']
    for (const [i, topic] of topics.entries()) peer.publish(topic, 'x', { qos, id: i + 1 })
    peer.publish('a', 'much too long', { qos, id: 10 })
    peer.publish('a', 'x', { qos, id: 11, retain: true })
    return peer.read()
  }
  const codes = (type: string): string[] =>
    ['#1', '#2 0x10', '#3 0x87', '#4 0x90', '#5 0x87', '#10 0x97', '#11 0x97'].map((code) => `${type} ${code}`)

  test('MQTT-3.4.2-1: PUBACK has one of its own', () => {
    expect(answers(1)).toEqual(codes('PUBACK'))
  })

  test('MQTT-3.5.2-1: PUBREC has one of its own', () => {
    expect(answers(2)).toEqual(codes('PUBREC'))
  })

  test('MQTT-3.6.2-1: PUBREL has one of its own', () => {
    const world = new World()
    const peer = world.peer('c').subscribed('a', 2)
    peer.publish('a', 'x', { qos: 2 })
    peer.read()
    peer.ack('PUBREC', 1)
    peer.ack('PUBREC', 7)
    expect(peer.read()).toEqual(['PUBREL #1', 'PUBREL #7 0x92'])
  })

  test('MQTT-3.7.2-1: PUBCOMP has one of its own', () => {
    const peer = new World().peer('c')
    peer.publish('a', 'x', { qos: 2 })
    peer.read()
    peer.ack('PUBREL', 1)
    peer.ack('PUBREL', 1)
    expect(peer.read()).toEqual(['PUBCOMP #1', 'PUBCOMP #1 0x92'])
  })

  test.each(ACKS)('%s with the reason code of another packet ends the connection', (_name, type) => {
    const peer = new World().peer('c')
    peer.sendHex(`${type.toString(16)}${type === PacketType.PUBREL ? 2 : 0} 03 0001 8e`)
    expect(peer.read()).toEqual(['DISCONNECT 0x82', 'close'])
  })

  test('a refusal says why, unless the client wants no such thing', () => {
    const world = new World({ access: { ...OPEN_ACCESS, publish: () => false } })
    for (const [requestProblemInformation, told] of [
      [true, { reasonString: expect.any(String) }],
      [false, {}],
    ] as const) {
      const connection = world.peer('c', { properties: { requestProblemInformation } })
      for (const qos of [1, 2] as const) connection.publish('a', 'x', { qos, id: qos })
      expect(world.packets(connection.connection)).toMatchObject([
        { type: PacketType.PUBACK, reasonCode: 0x87, properties: told },
        { type: PacketType.PUBREC, reasonCode: 0x87, properties: told },
      ])
    }
  })
})

describe("acknowledgements within the client's Maximum Packet Size", () => {
  /** What a client that takes packets of `maximumPacketSize` bytes gets where the broker says `packet`. */
  function sent(packet: Packet, maximumPacketSize: number): unknown[] {
    const said: Outgoing[] = [{ type: PacketType.CONNACK, sessionPresent: false, reasonCode: 0, properties: {} }, packet]
    const link: Partial<Link> = { id: 1, state: 'open', send: () => 'go', poll: () => said.shift() }
    const uplink: Uplink = {
      work: 0,
      hasRoom: true,
      open: () => link as Link,
      nextReadyLink: () => undefined,
      endUnused: () => false,
    }
    const wire = new Wire()
    const connections = new Connections(uplink, { maxPacketSize: 0xff }, () => {})
    Object.assign(wire, { connections })
    const connection = wire.connect({ properties: { maximumPacketSize } })
    connections.linkReady(0, 1)
    wire.run()
    return wire.packets(connection).slice(1)
  }

  const USER_PROPERTIES = [['key', 'value']] as const

  test.each([
    ['MQTT-3.4.2-2: PUBACK', PacketType.PUBACK],
    ['MQTT-3.5.2-2: PUBREC', PacketType.PUBREC],
    ['MQTT-3.6.2-2: PUBREL', PacketType.PUBREL],
    ['MQTT-3.7.2-2: PUBCOMP', PacketType.PUBCOMP],
  ] as const)('%s: a reason string that does not fit is left out', (_name, type) => {
    const packet: PublishResponse = { type, packetId: 1, reasonCode: 0, properties: { reasonString: 'because' } }
    expect(sent(packet, 30)).toEqual([packet])
    expect(sent(packet, 16)).toEqual([packet])
    expect(sent(packet, 15)).toEqual([{ ...packet, properties: {} }])
  })

  test.each([
    ['MQTT-3.4.2-3: PUBACK', PacketType.PUBACK],
    ['MQTT-3.5.2-3: PUBREC', PacketType.PUBREC],
    ['MQTT-3.6.2-3: PUBREL', PacketType.PUBREL],
    ['MQTT-3.7.2-3: PUBCOMP', PacketType.PUBCOMP],
  ] as const)('%s: user properties that do not fit are left out', (_name, type) => {
    const packet: PublishResponse = { type, packetId: 1, reasonCode: 0, properties: { userProperties: USER_PROPERTIES } }
    expect(sent(packet, 30)).toEqual([packet])
    expect(sent(packet, 14)).toEqual([{ ...packet, properties: {} }])
  })
})

test('3.1 sections 3.6, 3.8 and 3.10: PUBREL, SUBSCRIBE and UNSUBSCRIBE may have DUP set', () => {
  const peer = new World().peer('c', { protocolVersion: 3 })
  peer.publish('a', 'x', { qos: 2 })
  peer.sendHex('6a02 0001 8a06 0002 0001 61 00 aa05 0003 0001 61')
  expect(peer.read()).toEqual(['PUBREC #1', 'PUBCOMP #1', 'SUBACK #2 0x00', 'UNSUBACK #3'])
})
