import { expect, test } from 'vitest'
import { PACKET_MAX } from '../../src/mqtt/encode.ts'
import { writeDelivery } from '../../src/mqtt/encode-delivery.ts'
import { type Delivery, OutgoingType } from '../../src/mqtt/link.ts'
import type { ProtocolVersion, QoS } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../../src/mqtt/properties.ts'
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
