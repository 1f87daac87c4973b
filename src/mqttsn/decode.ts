import { ByteReader } from '../base/bytes.ts'
import type { Malformed } from '../base/malformed.ts'
import { type Message, MsgType, type SnQoS, type TopicIdType } from './messages.ts'

// Flags [1.2 section 5.3.4].
const DUP = 0x80
const RETAIN = 0x10
const WILL = 0x08
const CLEAN_SESSION = 0x04

const TOPIC_ID_TYPES: readonly (TopicIdType | undefined)[] = ['normal', 'predefined', 'short', undefined]

const qosOf = (flags: number): SnQoS => ((flags & 0x60) === 0x60 ? -1 : ((flags >> 5) as 0 | 1 | 2) & 3) as SnQoS

export const isMalformed = (decoded: Message | Malformed): decoded is Malformed => 'kind' in decoded

/**
 * Decodes one message, which fills [start, end) exactly [1.2 section 5.2]. Both forms of Length are accepted for any
 * size. Payloads are views of `bytes`.
 */
export function decodeMessage(bytes: Uint8Array, start = 0, end = bytes.length): Message | Malformed {
  const reader = new ByteReader(bytes, start, end)
  let length = reader.u8('Length')
  if (length === 1) length = reader.u16('Length')
  const type = reader.u8('MsgType')
  if (reader.error !== '') return malformed(reader.error, '1.2 section 5.2.1')
  if (length !== end - start) return malformed(`Length ${length} in a datagram of ${end - start} bytes`, '1.2 section 5.2.1')
  const message = body(reader, type)
  if ('kind' in message) return message
  if (reader.error !== '') return malformed(reader.error, '1.2 section 5.4')
  if (reader.remaining > 0) return malformed(`${reader.remaining} bytes left behind the last field`, '1.2 section 5.4')
  return message
}

function body(r: ByteReader, type: number): Message | Malformed {
  switch (type) {
    case MsgType.ADVERTISE:
      return { type, gwId: r.u8('GwId'), duration: r.u16('Duration') }
    case MsgType.SEARCHGW:
      return { type, radius: r.u8('Radius') }
    case MsgType.GWINFO:
      return { type, gwId: r.u8('GwId'), gwAddr: r.remaining > 0 ? r.take(r.remaining, 'GwAdd') : undefined }
    case MsgType.CONNECT: {
      const flags = r.u8('Flags')
      const protocolId = r.u8('ProtocolId')
      const duration = r.u16('Duration')
      const clientId = r.text(r.remaining, 'ClientId')
      return { type, will: (flags & WILL) !== 0, cleanSession: (flags & CLEAN_SESSION) !== 0, protocolId, duration, clientId }
    }
    case MsgType.CONNACK:
    case MsgType.WILLTOPICRESP:
    case MsgType.WILLMSGRESP:
      return { type, returnCode: r.u8('ReturnCode') }
    case MsgType.WILLTOPICREQ:
    case MsgType.WILLMSGREQ:
    case MsgType.PINGRESP:
      return { type }
    case MsgType.WILLTOPIC:
    case MsgType.WILLTOPICUPD:
      return willTopic(r, type)
    case MsgType.WILLMSG:
    case MsgType.WILLMSGUPD:
      return { type, message: r.take(r.remaining, 'WillMsg') }
    case MsgType.REGISTER:
      return { type, topicId: r.u16('TopicId'), msgId: r.u16('MsgId'), topicName: r.text(r.remaining, 'TopicName') }
    case MsgType.REGACK:
    case MsgType.PUBACK:
      return { type, topicId: r.u16('TopicId'), msgId: r.u16('MsgId'), returnCode: r.u8('ReturnCode') }
    case MsgType.PUBLISH:
      return publish(r)
    case MsgType.PUBREC:
    case MsgType.PUBREL:
    case MsgType.PUBCOMP:
    case MsgType.UNSUBACK:
      return { type, msgId: r.u16('MsgId') }
    case MsgType.SUBSCRIBE:
    case MsgType.UNSUBSCRIBE:
      return topicRequest(r, type)
    case MsgType.SUBACK:
      return { type, qos: qosOf(r.u8('Flags')), topicId: r.u16('TopicId'), msgId: r.u16('MsgId'), returnCode: r.u8('ReturnCode') }
    case MsgType.PINGREQ:
      return { type, clientId: r.remaining > 0 ? r.text(r.remaining, 'ClientId') : undefined }
    case MsgType.DISCONNECT:
      return { type, duration: r.remaining > 0 ? r.u16('Duration') : undefined }
    default:
      return malformed(`MsgType 0x${type.toString(16).padStart(2, '0')} is unknown`, '1.2 section 5.2.2')
  }
}

function willTopic(r: ByteReader, type: typeof MsgType.WILLTOPIC | typeof MsgType.WILLTOPICUPD): Message | Malformed {
  // Exactly two octets: the will is deleted [1.2 sections 5.4.7, 5.4.22].
  if (r.remaining === 0) return { type, topic: undefined, qos: 0, retain: false }
  const flags = r.u8('Flags')
  const qos = qosOf(flags)
  if (qos === -1) return malformed('will QoS -1', '1.2 section 5.4.7')
  return { type, topic: r.text(r.remaining, 'WillTopic'), qos, retain: (flags & RETAIN) !== 0 }
}

function publish(r: ByteReader): Message | Malformed {
  const flags = r.u8('Flags')
  const topicIdType = TOPIC_ID_TYPES[flags & 3]
  if (topicIdType === undefined) return malformed('TopicIdType 0b11 is reserved', '1.2 section 5.3.4')
  const topicId = r.u16('TopicId')
  const msgId = r.u16('MsgId')
  const data = r.take(r.remaining, 'Data')
  return {
    type: MsgType.PUBLISH,
    dup: (flags & DUP) !== 0,
    qos: qosOf(flags),
    retain: (flags & RETAIN) !== 0,
    topicIdType,
    topicId,
    msgId,
    data,
  }
}

function topicRequest(r: ByteReader, type: typeof MsgType.SUBSCRIBE | typeof MsgType.UNSUBSCRIBE): Message | Malformed {
  const flags = r.u8('Flags')
  const topicIdType = TOPIC_ID_TYPES[flags & 3]
  if (topicIdType === undefined) return malformed('TopicIdType 0b11 is reserved', '1.2 section 5.3.4')
  const msgId = r.u16('MsgId')
  const named = topicIdType === 'normal'
  const topicName = named ? r.text(r.remaining, 'TopicName') : ''
  const topicId = named ? 0 : r.u16('TopicId')
  return { type, dup: (flags & DUP) !== 0, qos: qosOf(flags), msgId, topicIdType, topicName, topicId }
}

const malformed = (reason: string, rule: string): Malformed => ({ kind: 'malformed', reason, rule, reasonCode: 0x81 })
