import { beforeEach, expect, test } from 'vitest'
import { type Packet, PacketType, type PublishResponse } from '../../src/mqtt/packets.ts'
import { Publish, type QoS } from '../../src/mqtt/publish.ts'
import { Deliveries } from '../../src/upstream/deliveries.ts'
import { response } from './pair.ts'

const { PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP } = PacketType

let deliveries: Deliveries
let sent: string[]

beforeEach(() => {
  sent = []
  deliveries = new Deliveries(
    (_now, packet: Packet) => {
      if (packet.type === PUBLISH) sent.push(`${Buffer.from(packet.payload)}`)
      else if (packet.type === PUBREL) sent.push(`PUBREL ${packet.packetId}`)
    },
    { sum: 0 },
  )
})

const deliver = (text: string, qos: QoS, packetId: number): void =>
  deliveries.deliver(0, Publish.of('a', Buffer.from(text), qos, false, packetId))
const released = (packetId: number): void => deliveries.released(0, response(PUBREL, packetId) as PublishResponse)
const answered = (type: 4 | 5 | 7, packetId: number): void => deliveries.answered(0, response(type, packetId) as PublishResponse)

test('a message that waits for its packet id is not overtaken by those behind it, except with QoS 0', () => {
  deliver('old 1', 2, 1)
  deliver('old 2', 1, 2)
  // The remote broker has lost the session.
  deliver('new 1', 1, 1)
  deliver('new 3', 1, 3)
  deliver('new 2', 2, 2)
  deliver('unsaved', 0, 0)
  deliver('new 4', 2, 4)
  expect(sent.splice(0)).toEqual(['old 1', 'old 2', 'unsaved'])
  answered(PUBREC, 1)
  expect(sent.splice(0)).toEqual(['new 1', 'new 3'])
  answered(PUBACK, 3)
  expect(sent.splice(0)).toEqual([])
  answered(PUBACK, 2)
  expect(sent.splice(0)).toEqual(['new 2', 'new 4'])
  deliver('new 5', 1, 5)
  expect(sent).toEqual(['new 5'])
})

test('PUBREL for a message that waits for its packet id comes behind it', () => {
  deliver('old', 2, 1)
  released(1)
  deliver('new', 2, 1)
  // The session is lost once more, and the receipt of the message that waits is released for the next one with its packet id.
  released(1)
  deliver('newer', 2, 1)
  expect(sent.splice(0)).toEqual(['old', 'PUBREL 1'])
  answered(PUBREC, 1)
  expect(sent.splice(0)).toEqual([])
  answered(PUBCOMP, 1)
  expect(sent.splice(0)).toEqual(['new', 'PUBREL 1'])
  answered(PUBREC, 1)
  answered(PUBCOMP, 1)
  expect(sent).toEqual(['newer'])
  answered(PUBREC, 1)
  expect(deliveries.isOver).toBe(true)
})
