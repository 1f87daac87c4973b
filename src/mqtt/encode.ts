import { assert } from '../base/assert.ts'
import { type ByteWriter, utf8Length } from '../base/bytes.ts'
import {
  type Auth,
  type Connack,
  type Connect,
  type Disconnect,
  type Packet,
  PacketType,
  type PublishResponse,
  type Subscribe,
  type Unsubscribe,
} from './packets.ts'
import type { Properties } from './properties.ts'
import { propertiesLength, varintLength, writeProperties, writeVarint } from './properties-codec.ts'
import type { ProtocolVersion, Publish } from './publish.ts'
import { connackReturnCode } from './reason-codes.ts'

/** Largest remaining length of a packet [5.0 section 1.5.5]. */
const REMAINING_MAX = 268_435_455
/** Maximum size of an MQTT packet, fixed header included. */
export const PACKET_MAX = REMAINING_MAX + 5

/**
 * Appends a packet in the format of this version. Fields that a version does not have (properties, reason codes before 5.0) are
 * left out.
 */
export function encodePacket(writer: ByteWriter, packet: Packet, version: ProtocolVersion): void {
  switch (packet.type) {
    case PacketType.CONNECT:
      writeConnect(writer, packet)
      break
    case PacketType.CONNACK:
      writeConnack(writer, packet, version)
      break
    case PacketType.PUBLISH:
      writePublish(writer, packet, version)
      break
    case PacketType.PUBACK:
    case PacketType.PUBREC:
    case PacketType.PUBREL:
    case PacketType.PUBCOMP:
      writeResponse(writer, packet, version)
      break
    case PacketType.SUBSCRIBE:
      writeSubscribe(writer, packet, version)
      break
    case PacketType.UNSUBSCRIBE:
      writeUnsubscribe(writer, packet, version)
      break
    case PacketType.SUBACK:
      writeListHeader(writer, 0x90, packet.packetId, packet.reasonCodes.length, packet.properties, version)
      // [3.1.1 MQTT-3.9.3-2]
      for (const code of packet.reasonCodes) writer.u8(version === 5 || code < 0x80 ? code : 0x80)
      break
    case PacketType.UNSUBACK:
      writeListHeader(writer, 0xb0, packet.packetId, version === 5 ? packet.reasonCodes.length : 0, packet.properties, version)
      if (version === 5) for (const code of packet.reasonCodes) writer.u8(code)
      break
    case PacketType.PINGREQ:
    case PacketType.PINGRESP:
      writeHeader(writer, packet.type << 4, 0)
      break
    case PacketType.DISCONNECT:
    case PacketType.AUTH:
      writeReasoned(writer, packet, version)
  }
}

function writeConnack(writer: ByteWriter, packet: Connack, version: ProtocolVersion): void {
  writeHeader(writer, 0x20, 2 + (version === 5 ? blockLength(packet.properties) : 0))
  // MQTT 3.1 has no such flag: the byte is reserved there.
  // [MQTT-3.2.2-1]
  writer.u8(packet.sessionPresent && version > 3 ? 1 : 0)
  writer.u8(version === 5 ? packet.reasonCode : connackReturnCode(packet.reasonCode))
  if (version === 5) writeProperties(writer, packet.properties)
}

function writeReasoned(writer: ByteWriter, packet: Disconnect | Auth, version: ProtocolVersion): void {
  const extra = propertiesLength(packet.properties)
  const bare = version < 5 || (packet.reasonCode === 0 && extra === 0)
  writeHeader(writer, packet.type << 4, bare ? 0 : extra === 0 ? 1 : 1 + varintLength(extra) + extra)
  if (bare) return
  writer.u8(packet.reasonCode)
  if (extra > 0) writeProperties(writer, packet.properties, extra)
}

function writeHeader(writer: ByteWriter, first: number, remaining: number): void {
  assert(remaining <= REMAINING_MAX, 'packet within 268,435,455 bytes')
  writer.u8(first)
  writeVarint(writer, remaining)
}

/** Size of properties with their length prefix; `more`: bytes of further properties that follow. */
function blockLength(properties: Properties, more = 0): number {
  const length = propertiesLength(properties) + more
  return varintLength(length) + length
}

const stringLength = (text: string): number => 2 + utf8Length(text)

/**
 * Size of a PUBLISH packet in the format of this version, fixed header included; Infinity if MQTT cannot express its length.
 * `more`: bytes of properties that are already encoded.
 */
export function publishLength(packet: Publish, version: ProtocolVersion, more = 0): number {
  const remaining = publishRemaining(packet, version, more)
  return remaining > REMAINING_MAX ? Number.POSITIVE_INFINITY : 1 + varintLength(remaining) + remaining
}

function publishRemaining({ qos, topic, payloadLength, properties }: Publish, version: ProtocolVersion, more: number): number {
  return stringLength(topic) + (qos > 0 ? 2 : 0) + (version === 5 ? blockLength(properties, more) : 0) + payloadLength
}

function writePublish(writer: ByteWriter, packet: Publish, version: ProtocolVersion): void {
  writePublishHead(writer, packet, version)
  writer.raw(packet.payload)
}

/** Writes all but the payload and `more` bytes of properties, which follow. */
export function writePublishHead(writer: ByteWriter, packet: Publish, version: ProtocolVersion, more = 0): void {
  const { qos, topic, properties } = packet
  const flags = (packet.dup ? 8 : 0) | (qos << 1) | (packet.retain ? 1 : 0)
  writeHeader(writer, 0x30 | flags, publishRemaining(packet, version, more))
  writer.string(topic)
  // [MQTT-2.2.1-2]
  if (qos > 0) writer.u16(packet.packetId)
  if (version === 5) writeProperties(writer, properties, propertiesLength(properties) + more)
}

function writeResponse(writer: ByteWriter, packet: PublishResponse, version: ProtocolVersion): void {
  const first = (packet.type << 4) | (packet.type === PacketType.PUBREL ? 2 : 0)
  const extra = version === 5 ? propertiesLength(packet.properties) : 0
  const reasoned = version === 5 && (packet.reasonCode !== 0 || extra > 0)
  writeHeader(writer, first, 2 + (reasoned ? 1 : 0) + (extra > 0 ? varintLength(extra) + extra : 0))
  writer.u16(packet.packetId)
  if (reasoned) writer.u8(packet.reasonCode)
  if (extra > 0) writeProperties(writer, packet.properties, extra)
}

function writeConnect(writer: ByteWriter, packet: Connect): void {
  const { protocolVersion: version, will, username, password } = packet
  const name = version === 3 ? 'MQIsdp' : 'MQTT'
  let length = stringLength(name) + 4 + stringLength(packet.clientId)
  if (version === 5) length += blockLength(packet.properties)
  if (will !== undefined)
    length += stringLength(will.topic) + 2 + will.payload.length + (version === 5 ? blockLength(will.properties) : 0)
  if (username !== undefined) length += stringLength(username)
  if (password !== undefined) length += 2 + password.length
  writeHeader(writer, 0x10, length)
  writer.string(name)
  writer.u8(version | (packet.bridge ? 0x80 : 0))
  const willFlags = will === undefined ? 0 : 4 | (will.qos << 3) | (will.retain ? 0x20 : 0)
  writer.u8((packet.cleanStart ? 2 : 0) | willFlags | (username === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40))
  writer.u16(packet.keepAlive)
  if (version === 5) writeProperties(writer, packet.properties)
  writer.string(packet.clientId)
  if (will !== undefined) {
    if (version === 5) writeProperties(writer, will.properties)
    writer.string(will.topic)
    writer.binary(will.payload)
  }
  if (username !== undefined) writer.string(username)
  if (password !== undefined) writer.binary(password)
}

function writeListHeader(
  writer: ByteWriter,
  first: number,
  packetId: number,
  length: number,
  properties: Properties,
  version: ProtocolVersion,
): void {
  writeHeader(writer, first, 2 + length + (version === 5 ? blockLength(properties) : 0))
  writer.u16(packetId)
  if (version === 5) writeProperties(writer, properties)
}

function writeSubscribe(writer: ByteWriter, packet: Subscribe, version: ProtocolVersion): void {
  const length = packet.subscriptions.reduce((sum, { filter }) => sum + stringLength(filter) + 1, 0)
  writeListHeader(writer, 0x82, packet.packetId, length, packet.properties, version)
  for (const { filter, qos, noLocal, retainAsPublished, retainHandling } of packet.subscriptions) {
    writer.string(filter)
    writer.u8(version === 5 ? qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4) : qos)
  }
}

function writeUnsubscribe(writer: ByteWriter, packet: Unsubscribe, version: ProtocolVersion): void {
  const length = packet.filters.reduce((sum, filter) => sum + stringLength(filter), 0)
  writeListHeader(writer, 0xa2, packet.packetId, length, packet.properties, version)
  for (const filter of packet.filters) writer.string(filter)
}
