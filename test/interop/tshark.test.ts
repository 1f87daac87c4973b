import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { message } from '../../fuzz/messages.ts'
import { runs } from '../../fuzz/runs.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { wrap } from '../../src/mqttsn/forwarder.ts'
import { type Message, MsgType, type TopicIdType } from '../../src/mqttsn/messages.ts'
import { type Dissected, describeWithTshark, dissect } from './tshark.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const u8 = (value: number): string => value.toString(16).padStart(2, '0')
const u16 = (value: number): string => value.toString(16).padStart(4, '0')
const text = (value: string): string => Buffer.from(value).toString('hex')
const octets = (value: Uint8Array): string => Buffer.from(value).toString('hex')
const bit = (flag: boolean): string => (flag ? '1' : '0')
const ID_TYPES: Record<TopicIdType, string> = { normal: '0', predefined: '1', short: '2' }

/**
 * The octets, or bits, of each field as tshark has to find them, from our message and not from our bytes. It does not show DUP and QoS of SUBSCRIBE and
 * UNSUBSCRIBE, nor QoS of SUBACK and WILLTOPIC, nor the retain flag of WILLTOPIC; of CONNECT, WILLTOPIC and SUBACK it shows an id type that they do not have.
 */
function fieldsOf(m: Message): Record<string, string> {
  switch (m.type) {
    case MsgType.ADVERTISE:
      return { 'gw.id': u8(m.gwId), 'adv.interv': u16(m.duration) }
    case MsgType.SEARCHGW:
      return { radius: u8(m.radius) }
    case MsgType.GWINFO:
      return { 'gw.id': u8(m.gwId), ...(m.gwAddr && { 'gw.addr': octets(m.gwAddr) }) }
    case MsgType.CONNECT:
      return {
        ...{ will: bit(m.will), 'clean.session': bit(m.cleanSession), 'protocol.id': u8(m.protocolId) },
        ...{ 'topic.id.type': '0', 'keep.alive': u16(m.duration), 'client.id': text(m.clientId) },
      }
    case MsgType.CONNACK:
    case MsgType.WILLTOPICRESP:
    case MsgType.WILLMSGRESP:
      return { 'return.code': u8(m.returnCode) }
    case MsgType.WILLTOPIC:
    case MsgType.WILLTOPICUPD:
      return m.topic === undefined ? {} : { 'topic.id.type': '0', 'will.topic': text(m.topic) }
    case MsgType.WILLMSG:
    case MsgType.WILLMSGUPD:
      return { 'will.msg': octets(m.message) }
    case MsgType.REGISTER:
      return { 'topic.id': u16(m.topicId), 'msg.id': u16(m.msgId), topic: text(m.topicName) }
    case MsgType.REGACK:
    case MsgType.PUBACK:
      return { 'topic.id': u16(m.topicId), 'msg.id': u16(m.msgId), 'return.code': u8(m.returnCode) }
    case MsgType.PUBLISH:
      return {
        ...{ dup: bit(m.dup), qos: String(m.qos & 3), retain: bit(m.retain), 'topic.id.type': ID_TYPES[m.topicIdType] },
        ...{ 'topic.id': u16(m.topicId), 'msg.id': u16(m.msgId), 'pub.msg': octets(m.data) },
      }
    case MsgType.SUBSCRIBE:
    case MsgType.UNSUBSCRIBE: {
      const name = m.topicIdType === 'normal' ? text(m.topicName) : u16(m.topicId)
      return { 'topic.id.type': ID_TYPES[m.topicIdType], 'msg.id': u16(m.msgId), 'topic.name.or.id': name }
    }
    case MsgType.SUBACK:
      return { 'topic.id.type': '0', 'topic.id': u16(m.topicId), 'msg.id': u16(m.msgId), 'return.code': u8(m.returnCode) }
    case MsgType.PUBREC:
    case MsgType.PUBREL:
    case MsgType.PUBCOMP:
    case MsgType.UNSUBACK:
      return { 'msg.id': u16(m.msgId) }
    case MsgType.PINGREQ:
      return m.clientId === undefined ? {} : { 'client.id': text(m.clientId) }
    case MsgType.DISCONNECT:
      return m.duration === undefined ? {} : { 'sleep.timer': u16(m.duration) }
    default:
      return {}
  }
}

const expected = (m: Message): Record<string, string> => ({
  ...{ 'msg.type': u8(m.type), 'msg.len': String(encodedMessage(m).length) },
  ...fieldsOf(m),
})

/** Everything that tshark has found, in the same form. An empty field has no octets to show. */
function found(dissected: Dissected | undefined): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const [name, value] of Object.entries(dissected ?? {})) {
    const field = name.replace(/^mqttsn[.]/, '')
    if (name.endsWith('_raw') && Array.isArray(value)) fields[field.slice(0, -'_raw'.length)] = String(value[0])
    else if (value === '') fields[field] ??= ''
  }
  // Its length is a number, in whichever form.
  return { ...fields, 'msg.len': String(dissected?.['mqttsn.msg.len']) }
}

const LONG = 'a topic name that needs the long form of Length/'.repeat(6)
const publish = { type: MsgType.PUBLISH, dup: false, retain: false, topicIdType: 'normal', topicId: 0x401, msgId: 0 } as const
const request = { dup: false, qos: 1, msgId: 9, topicName: '', topicId: 0 } as const
/** Every type, and where a field has no fixed length both forms of Length [1.2 section 5.2.1]. */
const MESSAGES: readonly Message[] = [
  { type: MsgType.ADVERTISE, gwId: 7, duration: 900 },
  { type: MsgType.SEARCHGW, radius: 2 },
  { type: MsgType.GWINFO, gwId: 7, gwAddr: undefined },
  { type: MsgType.GWINFO, gwId: 7, gwAddr: bytes('10.0.0.1') },
  { type: MsgType.CONNECT, will: false, cleanSession: true, protocolId: 1, duration: 60, clientId: 'sensor-1' },
  { type: MsgType.CONNECT, will: true, cleanSession: false, protocolId: 1, duration: 65_535, clientId: LONG },
  ...[0, 1, 2, 3].map((returnCode): Message => ({ type: MsgType.CONNACK, returnCode })),
  { type: MsgType.WILLTOPICREQ },
  ...[MsgType.WILLTOPIC, MsgType.WILLTOPICUPD].flatMap((type): Message[] => [
    { type, topic: 'will/sensor-1', qos: 1, retain: true },
    { type, topic: LONG, qos: 2, retain: false },
    { type, topic: undefined, qos: 0, retain: false },
  ]),
  { type: MsgType.WILLMSGREQ },
  ...[MsgType.WILLMSG, MsgType.WILLMSGUPD].flatMap((type): Message[] => [
    { type, message: bytes('gone') },
    { type, message: bytes(LONG) },
  ]),
  { type: MsgType.WILLTOPICRESP, returnCode: 0 },
  { type: MsgType.WILLMSGRESP, returnCode: 3 },
  { type: MsgType.REGISTER, topicId: 0, msgId: 1, topicName: 'sensors/1' },
  { type: MsgType.REGISTER, topicId: 0xfffe, msgId: 0xffff, topicName: LONG },
  { type: MsgType.REGACK, topicId: 0x401, msgId: 1, returnCode: 0 },
  { ...publish, qos: 0, data: bytes('21.5') },
  { ...publish, qos: 1, msgId: 1, dup: true, data: bytes('21.5') },
  { ...publish, qos: 2, msgId: 0xfffe, retain: true, data: bytes('21.5') },
  { ...publish, qos: -1, topicIdType: 'predefined', topicId: 1, data: bytes('21.5') },
  { ...publish, qos: -1, topicIdType: 'short', topicId: 0x7465, data: bytes('21.5') },
  ...[246, 248, 249, 250, 1400, 65_000].map((length): Message => ({ ...publish, qos: 0, data: bytes('x'.repeat(length)) })),
  { type: MsgType.PUBACK, topicId: 0x401, msgId: 1, returnCode: 2 },
  ...[MsgType.PUBREC, MsgType.PUBREL, MsgType.PUBCOMP, MsgType.UNSUBACK].map((type): Message => ({ type, msgId: 0x102 })),
  ...[MsgType.SUBSCRIBE, MsgType.UNSUBSCRIBE].flatMap((type): Message[] => [
    { type, ...request, topicIdType: 'normal', topicName: 'commands/#' },
    { type, ...request, topicIdType: 'normal', topicName: LONG },
    { type, ...request, topicIdType: 'predefined', topicId: 0x3132 },
    { type, ...request, topicIdType: 'short', topicId: 0x7465 },
  ]),
  { type: MsgType.SUBACK, qos: 1, topicId: 0x401, msgId: 9, returnCode: 0 },
  { type: MsgType.PINGREQ, clientId: undefined },
  { type: MsgType.PINGREQ, clientId: 'sensor-1' },
  { type: MsgType.PINGREQ, clientId: LONG },
  { type: MsgType.PINGRESP },
  { type: MsgType.DISCONNECT, duration: undefined },
  { type: MsgType.DISCONNECT, duration: 600 },
]

describeWithTshark('tshark reads what we write', () => {
  let plain: (Dissected | undefined)[] = []
  let wrapped: (Dissected | undefined)[] = []
  beforeAll(() => {
    const datagrams = MESSAGES.map((message) => encodedMessage(message))
    const read = dissect([...datagrams, ...datagrams.map((datagram) => wrap(Uint8Array.of(0x12, 0x34), datagram, 1))])
    plain = read.slice(0, datagrams.length)
    wrapped = read.slice(datagrams.length)
  })

  test('the table has every type', () => {
    expect(new Set(MESSAGES.map(({ type }) => type))).toEqual(new Set(Object.values(MsgType)))
  })

  test.each(MESSAGES.map((message, i) => [i, encodedMessage(message).subarray(0, 16), message] as const))(
    '%i: %o',
    (i, _, message) => {
      expect(found(plain[i])).toEqual(expected(message))
      expect(JSON.stringify(plain[i])).not.toContain('_ws.')
    },
  )

  test('and in the envelope of a forwarder', () => {
    for (const [i, message] of MESSAGES.entries()) {
      const envelope = { 'mqttsn.msg.type': '0xfe', 'mqttsn.msg.len': '5', 'mqttsn.wireless.node.id': String(0x1234) }
      expect(wrapped[i]).toMatchObject(envelope)
      expect(found(wrapped[i]?.['mqttsn.msg'] as Dissected)).toEqual(expected(message))
    }
  })

  test('any message, with any value in any field', () => {
    const some = fc.sample(message, runs(400))
    const read = dissect(some.map((message) => encodedMessage(message)))
    for (const [i, each] of some.entries()) expect({ each, ...found(read[i]) }).toEqual({ each, ...expected(each) })
    expect(new Set(some.map(({ type }) => type)).size).toBe(Object.values(MsgType).length)
  })
})
