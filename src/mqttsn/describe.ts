import { field, flags, hex, name, payload, plainName, type Shown } from '../base/describe.ts'
import { decodeMessage, isMalformed } from './decode.ts'
import { unwrap } from './forwarder.ts'
import { type Message, MsgType, ReturnCode, type TopicIdType } from './messages.ts'

const TYPE_NAMES = new Map(Object.entries(MsgType).map(([name, type]) => [type as number, name]))
const RETURN_NAMES = ['accepted', 'congestion', 'invalid topic id', 'not supported']

export const typeName = (type: number): string => TYPE_NAMES.get(type) ?? `0x${type.toString(16).padStart(2, '0')}`

/** Name of a return code as in the specification: `congestion` [1.2 section 5.3.10]. */
export const returnCodeName = (code: number): string => RETURN_NAMES[code] ?? `reserved return code ${code}`

/** Describes a datagram in one line: its encapsulation and its message, or what is malformed. */
export function describeDatagram(bytes: Uint8Array, shown: Shown = {}): string {
  const inner = unwrap(bytes)
  if (inner !== undefined && 'kind' in inner) return `malformed: ${inner.reason} (${inner.rule})`
  const message = decodeMessage(bytes, inner?.start, inner?.end)
  const text = isMalformed(message) ? `malformed: ${message.reason} (${message.rule})` : describeMessage(message, shown)
  return inner === undefined ? text : `FORWARDED node=${hex(inner.nodeId)} radius=${inner.radius} ${text}`
}

/** Describes a message: `PUBLISH topic=0x0401 (site/temp) qos=1 msgid=7 4 bytes`, with payloads `4 bytes "21.5"` */
export function describeMessage(message: Message, shown: Shown = {}): string {
  return [typeName(message.type), ...fieldsOf(message, shown)].join(' ')
}

function fieldsOf(m: Message, shown: Shown): string[] {
  switch (m.type) {
    case MsgType.ADVERTISE:
      return [`gateway=${m.gwId}`, `duration=${m.duration}`]
    case MsgType.SEARCHGW:
      return [`radius=${m.radius}`]
    case MsgType.GWINFO:
      return [`gateway=${m.gwId}`, ...(m.gwAddr === undefined ? [] : [`address=${hex(m.gwAddr)}`])]
    case MsgType.CONNECT:
      return [
        field('client', m.clientId),
        ...flags({ will: m.will, clean: m.cleanSession }),
        `protocol=${m.protocolId}`,
        `duration=${m.duration}`,
      ]
    case MsgType.CONNACK:
    case MsgType.WILLTOPICRESP:
    case MsgType.WILLMSGRESP:
      return [returnCode(m.returnCode)]
    case MsgType.WILLTOPIC:
    case MsgType.WILLTOPICUPD:
      return m.topic === undefined ? ['(no will)'] : [field('topic', m.topic), `qos=${m.qos}`, ...flags({ retain: m.retain })]
    case MsgType.WILLMSG:
    case MsgType.WILLMSGUPD:
      return [payload(m.message, shown)]
    case MsgType.REGISTER:
      return [`topic=${id(m.topicId)}`, field('name', m.topicName), `msgid=${m.msgId}`]
    case MsgType.REGACK:
    case MsgType.PUBACK:
      return [topic('normal', m.topicId, shown), `msgid=${m.msgId}`, returnCode(m.returnCode)]
    case MsgType.PUBLISH:
      return [
        topic(m.topicIdType, m.topicId, shown),
        `qos=${m.qos}`,
        ...flags({ dup: m.dup, retain: m.retain }),
        `msgid=${m.msgId}`,
        payload(m.data, shown),
      ]
    case MsgType.SUBSCRIBE:
    case MsgType.UNSUBSCRIBE: {
      const what = m.topicIdType === 'normal' ? field('topic', m.topicName) : topic(m.topicIdType, m.topicId, shown)
      return [what, ...(m.type === MsgType.SUBSCRIBE ? [`qos=${m.qos}`, ...flags({ dup: m.dup })] : []), `msgid=${m.msgId}`]
    }
    case MsgType.SUBACK:
      return [topic('normal', m.topicId, shown), `qos=${m.qos}`, `msgid=${m.msgId}`, returnCode(m.returnCode)]
    case MsgType.PUBREC:
    case MsgType.PUBREL:
    case MsgType.PUBCOMP:
    case MsgType.UNSUBACK:
      return [`msgid=${m.msgId}`]
    case MsgType.PINGREQ:
      return m.clientId === undefined ? [] : [field('client', m.clientId)]
    case MsgType.DISCONNECT:
      return m.duration === undefined ? [] : [`duration=${m.duration}`]
    default:
      return []
  }
}

const id = (value: number): string => `0x${value.toString(16).padStart(4, '0')}`
const returnCode = (code: number): string => (code === ReturnCode.ACCEPTED ? 'accepted' : `rejected: ${returnCodeName(code)}`)

function topic(type: TopicIdType, value: number, { topic: named }: Shown): string {
  if (type === 'short') return `topic=short:${name(shortName(value))}`
  const what = type === 'normal' ? id(value) : `predefined:${value}`
  return `topic=${what}${named === undefined ? '' : ` (${plainName(named)})`}`
}

/** Returns the name that a short topic id stands for. */
export const shortName = (topicId: number): string => String.fromCharCode(topicId >> 8, topicId & 0xff)
