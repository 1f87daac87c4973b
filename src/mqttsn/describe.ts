import { quoted } from '../base/quoted.ts'
import { decodeMessage, isMalformed } from './decode.ts'
import { unwrap } from './forwarder.ts'
import { type Message, MsgType, ReturnCode, type TopicIdType } from './messages.ts'

/** Maximum number of payload octets shown. */
const SHOWN_MAX = 64

const TYPE_NAMES = new Map(Object.entries(MsgType).map(([name, type]) => [type as number, name]))
const RETURN_NAMES = ['accepted', 'congestion', 'invalid topic id', 'not supported']

export const typeName = (type: number): string => TYPE_NAMES.get(type) ?? `0x${type.toString(16).padStart(2, '0')}`

/** Name of a return code as in the specification: `congestion` [1.2 section 5.3.10]. */
export const returnCodeName = (code: number): string => RETURN_NAMES[code] ?? `reserved return code ${code}`

/** Describes a datagram in one line: its encapsulation and its message, or what is malformed. */
export function describeDatagram(bytes: Uint8Array): string {
  const inner = unwrap(bytes)
  if (inner !== undefined && 'kind' in inner) return `malformed: ${inner.reason} (${inner.rule})`
  const message = decodeMessage(bytes, inner?.start, inner?.end)
  const text = isMalformed(message) ? `malformed: ${message.reason} (${message.rule})` : describeMessage(message)
  return inner === undefined ? text : `FORWARDED node=${hex(inner.nodeId)} radius=${inner.radius} ${text}`
}

/** Describes a message: `PUBLISH qos=1 topic=0x0401 msgid=7 data="21.5" (4 octets)` */
export function describeMessage(message: Message): string {
  return [typeName(message.type), ...fieldsOf(message)].join(' ')
}

function fieldsOf(m: Message): string[] {
  switch (m.type) {
    case MsgType.ADVERTISE:
      return [`gateway=${m.gwId}`, `duration=${m.duration}`]
    case MsgType.SEARCHGW:
      return [`radius=${m.radius}`]
    case MsgType.GWINFO:
      return [`gateway=${m.gwId}`, ...(m.gwAddr === undefined ? [] : [`address=${hex(m.gwAddr)}`])]
    case MsgType.CONNECT:
      return [
        ...flags({ will: m.will, clean: m.cleanSession }),
        `protocol=${m.protocolId}`,
        `duration=${m.duration}`,
        text('client', m.clientId),
      ]
    case MsgType.CONNACK:
    case MsgType.WILLTOPICRESP:
    case MsgType.WILLMSGRESP:
      return [returnCode(m.returnCode)]
    case MsgType.WILLTOPIC:
    case MsgType.WILLTOPICUPD:
      return m.topic === undefined ? ['(no will)'] : [`qos=${m.qos}`, ...flags({ retain: m.retain }), text('topic', m.topic)]
    case MsgType.WILLMSG:
    case MsgType.WILLMSGUPD:
      return [data(m.message)]
    case MsgType.REGISTER:
      return [`topic=${id(m.topicId)}`, `msgid=${m.msgId}`, text('name', m.topicName)]
    case MsgType.REGACK:
    case MsgType.PUBACK:
      return [`topic=${id(m.topicId)}`, `msgid=${m.msgId}`, returnCode(m.returnCode)]
    case MsgType.PUBLISH:
      return [
        `qos=${m.qos}`,
        ...flags({ dup: m.dup, retain: m.retain }),
        topic(m.topicIdType, m.topicId),
        `msgid=${m.msgId}`,
        data(m.data),
      ]
    case MsgType.SUBSCRIBE:
    case MsgType.UNSUBSCRIBE: {
      const what = m.topicIdType === 'normal' ? text('topic', m.topicName) : topic(m.topicIdType, m.topicId)
      return [...(m.type === MsgType.SUBSCRIBE ? [`qos=${m.qos}`, ...flags({ dup: m.dup })] : []), `msgid=${m.msgId}`, what]
    }
    case MsgType.SUBACK:
      return [`qos=${m.qos}`, `topic=${id(m.topicId)}`, `msgid=${m.msgId}`, returnCode(m.returnCode)]
    case MsgType.PUBREC:
    case MsgType.PUBREL:
    case MsgType.PUBCOMP:
    case MsgType.UNSUBACK:
      return [`msgid=${m.msgId}`]
    case MsgType.PINGREQ:
      return m.clientId === undefined ? [] : [text('client', m.clientId)]
    case MsgType.DISCONNECT:
      return m.duration === undefined ? [] : [`duration=${m.duration}`]
    default:
      return []
  }
}

/** Returns the names of the flags that are set. */
const flags = (named: Readonly<Record<string, boolean>>): string[] => Object.keys(named).filter((name) => named[name])
const id = (value: number): string => `0x${value.toString(16).padStart(4, '0')}`
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const text = (name: string, value: string): string => `${name}=${quoted(value)}`
const returnCode = (code: number): string => (code === ReturnCode.ACCEPTED ? 'accepted' : `rejected: ${returnCodeName(code)}`)

function topic(type: TopicIdType, value: number): string {
  if (type === 'normal') return `topic=${id(value)}`
  return type === 'predefined' ? `topic=predefined:${value}` : `topic=short:${quoted(shortName(value))}`
}

/** Returns the name that a short topic id stands for. */
export const shortName = (topicId: number): string => String.fromCharCode(topicId >> 8, topicId & 0xff)

/** Returns a payload as text if it is printable, otherwise as hex; truncated if it is long. */
function data(bytes: Uint8Array): string {
  const shown = bytes.subarray(0, SHOWN_MAX)
  const printable = shown.every((byte) => byte >= 0x20 && byte < 0x7f)
  const more = bytes.length > SHOWN_MAX ? '...' : ''
  return `data=${printable ? JSON.stringify(String.fromCharCode(...shown)) : hex(shown)}${more} (${bytes.length} octets)`
}
