import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { encodePacket, PACKET_MAX } from '../../src/mqtt/encode.ts'
import { writeDelivery } from '../../src/mqtt/encode-delivery.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import { type Delivery, OutgoingType } from '../../src/mqtt/link.ts'
import { NO_PROPERTIES, type Properties } from '../../src/mqtt/properties.ts'
import type { ProtocolVersion, QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { Slab } from '../../src/mqtt/slab.ts'
import { TopicAliases } from '../../src/mqtt/topic-aliases.ts'
import { Wire } from './wire.ts'
import { WireClient } from './wire-client.ts'

const REMAINING_MAX = 268_435_455
/** Memory for all messages here; only the first bytes are ever written. */
const MEMORY = Buffer.alloc(PACKET_MAX)

/** A message whose packet has the largest remaining length that MQTT has, in the form of `version` with `qos`. */
function largest(topic: string, version: ProtocolVersion, qos: QoS, properties: Properties = NO_PROPERTIES, extra = 0): Publish {
  const rest = 2 + topic.length + (qos > 0 ? 2 : 0) + (version === 5 ? 1 + extra : 0)
  return Publish.of(topic, MEMORY.subarray(0, REMAINING_MAX - rest), qos, false, qos > 0 ? 1 : 0, properties)
}

const delivered = (message: Publish, qos: QoS = message.qos, subscriptionIdentifiers?: readonly number[]): Delivery => ({
  type: OutgoingType.DELIVERY,
  message,
  qos,
  packetId: qos > 0 ? 7 : 0,
  retain: false,
  dup: false,
  subscriptionIdentifiers,
})

test.each<[string, Delivery, ProtocolVersion, TopicAliases | undefined]>([
  ['version 5.0', delivered(largest('a', 4, 0)), 5, undefined],
  ['version 5.0 and QoS 1', delivered(largest('a', 4, 1)), 5, undefined],
  ['an upgraded QoS', delivered(largest('a', 4, 0), 1), 4, undefined],
  ['a subscription identifier', delivered(largest('a', 5, 0), 0, [1]), 5, undefined],
  ['a mount point', delivered(Object.assign(largest('a', 4, 0), { topic: 'mounted/a' })), 4, undefined],
  ['a topic alias beside the topic', delivered(largest('a', 4, 0)), 5, new TopicAliases(1, 100)],
])('a message that grows beyond the largest packet of MQTT by %s is not written', (_by, delivery, version, aliases) => {
  const slab = new Slab()
  expect(writeDelivery(slab, delivery, version, 0, Number.POSITIVE_INFINITY, aliases)).toBe(false)
  expect(slab.pending).toBe(0)
})

test('a subscriber that cannot be sent so large a message gets the next one, and the publisher is acknowledged', () => {
  const wire = new Wire({ maxPacketSize: PACKET_MAX })
  const reader = WireClient.connect(wire, { clientId: 'reader' }).subscribed('a', 2)
  const publisher = WireClient.connect(wire, { protocolVersion: 4 })
  for (const qos of [1, 2]) {
    MEMORY.set([0x30 | (qos << 1), 0xff, 0xff, 0xff, 0x7f, 0, 1, 0x61, 0, qos])
    wire.connections.chunk(0, publisher.connection, MEMORY)
    wire.run()
  }
  expect(publisher.hears()).toEqual(['PUBACK #1', 'PUBREC #2'])
  expect(reader.hears()).toEqual([])
  const dropped = wire.notices.filter(({ code }) => code === 'message-dropped')
  const reason = 'message on a is in the form for this client above 268435460 bytes, the largest packet of MQTT'
  expect(dropped).toEqual(
    [1, 2].map(() => ({ code: 'message-dropped', level: 'info', client: 'mqtt:reader', peer: 'test', reason })),
  )
  publisher.publish('a', 'next', 1)
  expect(reader.hears()).toEqual(['a=next q1 #3'])
  expect(wire.broker.sessions.waiting().messages).toBe(1)
})

test('what exceeds the Maximum Packet Size of one client is encoded for another, and the other way round', () => {
  const message = Publish.of('a', Buffer.alloc(100))
  const slab = new Slab()
  const sizes = [50, 200, 50].map((limit) => writeDelivery(slab, delivered(message), 5, 0, limit))
  expect(sizes).toEqual([false, true, false])
  expect(slab.take().map(({ length }) => length)).toEqual([106])
})

describe('properties that are large', () => {
  const text = 'x'.repeat(60_000)
  const properties: Properties = {
    messageExpiryInterval: 60,
    contentType: 'text',
    userProperties: [
      ['k', text],
      ['k', text],
    ],
  }

  function messageOf(given: Properties, payload = Buffer.from('payload')): Publish {
    const message = Publish.of('a', payload, 1, false, 1, given)
    if (given.messageExpiryInterval !== undefined) message.expiresAt = given.messageExpiryInterval * 1000
    return message
  }

  /** The packets that were written, and how many bytes of them are nobody else's. */
  function written(slab: Slab, deliveries: readonly Delivery[], now = 0): { packets: Publish[]; own: number } {
    const packets: Publish[] = []
    const buffers = new Map<ArrayBufferLike, number>()
    for (const delivery of deliveries) {
      expect(writeDelivery(slab, delivery, 5, now, Number.POSITIVE_INFINITY)).toBe(true)
      const pieces = slab.take()
      for (const { buffer, length } of pieces) buffers.set(buffer, (buffers.get(buffer) ?? 0) + length)
      const framer = new Framer(PACKET_MAX)
      framer.push(Buffer.concat(pieces))
      expect(framer.next()).toBe(true)
      const { bytes, start, bodyStart, end } = framer
      packets.push(new PacketDecoder('server', 5).decode(bytes, start, bodyStart, end) as Publish)
    }
    const shared = Math.max(...buffers.values())
    return { packets, own: [...buffers.values()].reduce((sum, bytes) => sum + bytes) - shared }
  }

  test('are encoded once, whatever each receiver has beside them', () => {
    const slab = new Slab()
    const message = messageOf(properties)
    const deliveries = Array.from({ length: 50 }, (_, i) =>
      delivered(message, i % 2 === 0 ? 0 : 1, i % 3 === 0 ? [i + 1] : undefined),
    )
    const { packets, own } = written(slab, deliveries, 20_500)
    expect(own).toBeLessThan(50 * 100)
    for (const [i, packet] of packets.entries()) {
      const identifiers = i % 3 === 0 ? { subscriptionIdentifiers: [i + 1] } : {}
      expect(packet.properties).toEqual({ ...properties, messageExpiryInterval: 40, ...identifiers })
      expect([packet.topic, packet.qos, packet.packetId]).toEqual(['a', i % 2, i % 2 === 0 ? 0 : 7])
      expect(Buffer.from(packet.payload).toString()).toBe('payload')
    }
  })

  test('go beside a payload that is large too', () => {
    const payload = Buffer.alloc(20_000, 'p')
    const { messageExpiryInterval: _none, ...lasting } = properties
    const { packets } = written(new Slab(), [
      delivered(messageOf(lasting, payload), 0),
      delivered(messageOf(lasting, payload), 1),
    ])
    for (const packet of packets) {
      expect(packet.properties).toEqual(lasting)
      expect(payload.equals(packet.payload)).toBe(true)
    }
  })

  test('are not encoded again for each receiver where they are of middle size and one of them is its own', () => {
    const slab = new Slab()
    const message = messageOf({ messageExpiryInterval: 60, contentType: 'y'.repeat(2000) })
    written(slab, [delivered(message)])
    const made = slab.forms.bytes
    written(slab, [delivered(message, 0), delivered(message, 1, [5])])
    expect(made).toBeGreaterThan(2000)
    expect(slab.forms.bytes).toBe(made)
  })

  test('do not count against what a client of 3.1.1 takes, and do against that of 5.0', () => {
    const sizes = ([4, 5] as const).map((version) =>
      writeDelivery(new Slab(), delivered(messageOf(properties)), version, 0, 100_000),
    )
    expect(sizes).toEqual([true, false])
  })

  test('are kept once, as text, by a message that has to wait', () => {
    const bytes = new ByteWriter()
    encodePacket(bytes, messageOf(properties), 5)
    const framer = new Framer(PACKET_MAX)
    framer.push(bytes.toBytes())
    framer.next()
    const message = new PacketDecoder('client', 5).decode(framer.bytes, framer.start, framer.bodyStart, framer.end) as Publish
    message.own()
    expect(message.packed).toBe('payload')
    expect(message.properties).toEqual(properties)
  })
})

describe('a packet as it was received', () => {
  /** The message of a packet among others in a buffer. */
  function received(payload: number, version: ProtocolVersion, qos: QoS, isOwned: boolean): Publish {
    const bytes = new ByteWriter()
    bytes.raw(Buffer.alloc(7, 0xff))
    const sent = Publish.of('topic/ü', Buffer.alloc(payload, 'p'), qos, true, qos > 0 ? 0x1234 : 0)
    encodePacket(bytes, sent, version)
    const framer = new Framer(PACKET_MAX)
    framer.push(bytes.toBytes().subarray(7))
    framer.next()
    const decoder = new PacketDecoder('client', version)
    const message = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end) as Publish
    if (isOwned) message.own()
    return message
  }

  const versions = [3, 4, 5] as const
  const kinds = versions.flatMap((from) => versions.flatMap((to) => [0, 1, 2].flatMap((qos) => [{ from, to, qos: qos as QoS }])))

  test.each(kinds)(
    'of version $from and QoS $qos becomes what version $to writes, whatever its length takes',
    ({ from, to, qos }) => {
      for (const granted of [0, 1, 2].filter((each) => each <= qos) as QoS[]) {
        for (const length of [0, 1, 50, 112, 113, 114, 115, 116, 117, 118, 119, 120, 200, 5000]) {
          for (const isOwned of [false, true]) {
            const slab = new Slab()
            const delivery = { ...delivered(received(length, from, qos, isOwned), granted), retain: true, dup: granted > 0 }
            const wanted = new ByteWriter()
            const packet = Publish.of('topic/ü', Buffer.alloc(length, 'p'), granted, true, granted > 0 ? 7 : 0)
            packet.dup = delivery.dup
            encodePacket(wanted, packet, to)
            const { length: size } = wanted.toBytes()
            expect(writeDelivery(slab, delivery, to, 0, size - 1)).toBe(false)
            expect(slab.pending).toBe(0)
            for (let i = 0; i < 3; i++) expect(writeDelivery(slab, delivery, to, 0, size)).toBe(true)
            expect(Buffer.concat(slab.take()).toString('hex')).toBe(Buffer.from(wanted.toBytes()).toString('hex').repeat(3))
          }
        }
      }
    },
  )

  test('leaves without its packet id, for any number of receivers, without a form of its own', () => {
    for (const isOwned of [false, true]) {
      const slab = new Slab()
      const message = received(64, 4, 1, isOwned)
      for (let i = 0; i < 3; i++) writeDelivery(slab, delivered(message, 0), 4, 0, Number.POSITIVE_INFINITY)
      expect(slab.forms.bytes).toBe(0)
      expect(message.encoded).toBe(undefined)
    }
  })
})
