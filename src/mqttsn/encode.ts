import { type ByteWriter, copyBytes, pooledBytes, utf8Length, ByteWriter as Writer } from '../base/bytes.ts'
import { writeEnvelope } from './forwarder.ts'
import { type Message, MsgType, type SnQoS, type TopicIdType } from './messages.ts'

/** Maximum size of a message in octets, as Length can express. */
export const MESSAGE_BYTES_MAX = 65_535

const TOPIC_ID_TYPE: Record<TopicIdType, number> = { normal: 0, predefined: 1, short: 2 }
const bit = (on: boolean, mask: number): number => (on ? mask : 0)
const qosBits = (qos: SnQoS): number => (qos & 3) << 5

/**
 * Appends a message, with the short form of Length if it fits. The caller must ensure that `messageLength` is at most
 * MESSAGE_BYTES_MAX.
 */
export function encodeMessage(w: ByteWriter, message: Message): void {
  const length = messageLength(message)
  if (length < 256) w.u8(length)
  else {
    w.u8(1)
    w.u16(length)
  }
  w.u8(message.type)
  writeBody(w, message)
}

const shared = new Writer(1500)

/**
 * Returns the encoded message, with memory of the pool; for a node behind a forwarder with the encapsulation in front of it. Written
 * together, because each array of bytes on the way takes 100 to 200 ns.
 */
export function encodedMessage(message: Message, nodeId?: Uint8Array, radius = 0): Uint8Array {
  shared.length = 0
  if (nodeId !== undefined) writeEnvelope(shared, nodeId, radius)
  encodeMessage(shared, message)
  const bytes = pooledBytes(shared.length)
  copyBytes(bytes, 0, shared.bytes, 0, shared.length)
  return bytes
}

/** Returns the size of the whole message in octets, with Length [1.2 section 5.2.1]. */
export function messageLength(message: Message): number {
  const short = 2 + bodyLength(message)
  return short < 256 ? short : short + 2
}

function bodyLength(m: Message): number {
  switch (m.type) {
    case MsgType.ADVERTISE:
      return 3
    case MsgType.SEARCHGW:
    case MsgType.CONNACK:
    case MsgType.WILLTOPICRESP:
    case MsgType.WILLMSGRESP:
      return 1
    case MsgType.GWINFO:
      return 1 + (m.gwAddr?.length ?? 0)
    case MsgType.CONNECT:
      return 4 + utf8Length(m.clientId)
    case MsgType.WILLTOPICREQ:
    case MsgType.WILLMSGREQ:
    case MsgType.PINGRESP:
      return 0
    case MsgType.WILLTOPIC:
    case MsgType.WILLTOPICUPD:
      return m.topic === undefined ? 0 : 1 + utf8Length(m.topic)
    case MsgType.WILLMSG:
    case MsgType.WILLMSGUPD:
      return m.message.length
    case MsgType.REGISTER:
      return 4 + utf8Length(m.topicName)
    case MsgType.REGACK:
    case MsgType.PUBACK:
      return 5
    case MsgType.PUBLISH:
      return 5 + m.data.length
    case MsgType.PUBREC:
    case MsgType.PUBREL:
    case MsgType.PUBCOMP:
    case MsgType.UNSUBACK:
      return 2
    case MsgType.SUBSCRIBE:
    case MsgType.UNSUBSCRIBE:
      return 3 + (m.topicIdType === 'normal' ? utf8Length(m.topicName) : 2)
    case MsgType.SUBACK:
      return 6
    case MsgType.PINGREQ:
      return m.clientId === undefined ? 0 : utf8Length(m.clientId)
    case MsgType.DISCONNECT:
      return m.duration === undefined ? 0 : 2
  }
}

function writeBody(w: ByteWriter, m: Message): void {
  switch (m.type) {
    case MsgType.ADVERTISE:
      w.u8(m.gwId)
      w.u16(m.duration)
      break
    case MsgType.SEARCHGW:
      w.u8(m.radius)
      break
    case MsgType.GWINFO:
      w.u8(m.gwId)
      if (m.gwAddr !== undefined) w.raw(m.gwAddr)
      break
    case MsgType.CONNECT:
      w.u8(bit(m.will, 0x08) | bit(m.cleanSession, 0x04))
      w.u8(m.protocolId)
      w.u16(m.duration)
      w.text(m.clientId)
      break
    case MsgType.CONNACK:
    case MsgType.WILLTOPICRESP:
    case MsgType.WILLMSGRESP:
      w.u8(m.returnCode)
      break
    case MsgType.WILLTOPICREQ:
    case MsgType.WILLMSGREQ:
    case MsgType.PINGRESP:
      break
    case MsgType.WILLTOPIC:
    case MsgType.WILLTOPICUPD:
      if (m.topic === undefined) break
      w.u8(qosBits(m.qos) | bit(m.retain, 0x10))
      w.text(m.topic)
      break
    case MsgType.WILLMSG:
    case MsgType.WILLMSGUPD:
      w.raw(m.message)
      break
    case MsgType.REGISTER:
      w.u16(m.topicId)
      w.u16(m.msgId)
      w.text(m.topicName)
      break
    case MsgType.REGACK:
    case MsgType.PUBACK:
      w.u16(m.topicId)
      w.u16(m.msgId)
      w.u8(m.returnCode)
      break
    case MsgType.PUBLISH:
      w.u8(bit(m.dup, 0x80) | qosBits(m.qos) | bit(m.retain, 0x10) | TOPIC_ID_TYPE[m.topicIdType])
      w.u16(m.topicId)
      w.u16(m.msgId)
      w.raw(m.data)
      break
    case MsgType.PUBREC:
    case MsgType.PUBREL:
    case MsgType.PUBCOMP:
    case MsgType.UNSUBACK:
      w.u16(m.msgId)
      break
    case MsgType.SUBSCRIBE:
    case MsgType.UNSUBSCRIBE:
      w.u8(bit(m.dup, 0x80) | qosBits(m.qos) | TOPIC_ID_TYPE[m.topicIdType])
      w.u16(m.msgId)
      if (m.topicIdType === 'normal') w.text(m.topicName)
      else w.u16(m.topicId)
      break
    case MsgType.SUBACK:
      w.u8(qosBits(m.qos))
      w.u16(m.topicId)
      w.u16(m.msgId)
      w.u8(m.returnCode)
      break
    case MsgType.PINGREQ:
      if (m.clientId !== undefined) w.text(m.clientId)
      break
    case MsgType.DISCONNECT:
      if (m.duration !== undefined) w.u16(m.duration)
  }
}
