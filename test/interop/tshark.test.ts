import { beforeAll, expect, test } from 'vitest'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { wrap } from '../../src/mqttsn/forwarder.ts'
import { type Message, MsgType, type TopicIdType } from '../../src/mqttsn/messages.ts'
import { type Dissected, describeWithTshark, dissect } from './tshark.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const hex = (value: number): string => `0x${value.toString(16).padStart(2, '0')}`
const ID_TYPES: Record<TopicIdType, string> = { normal: '0x00', predefined: '0x01', short: '0x02' }
const on = (flag: boolean): string => (flag ? '1' : '0')
/** tshark shows a topic id in a SUBSCRIBE as the characters that it is. */
const asText = (id: number): string => String.fromCharCode(id >> 8, id & 0xff)

/**
 * What tshark has to say, from our message and not from our bytes. It does not show the QoS of SUBSCRIBE, UNSUBSCRIBE, SUBACK and
 * WILLTOPIC, nor the retain flag of WILLTOPIC.
 */
function expected(m: Message, length: number): Dissected {
  const fields: Record<string, string> = { 'msg.type': hex(m.type), 'msg.len': String(length) }
  const add = (more: Record<string, string>): void => {
    Object.assign(fields, more)
  }
  switch (m.type) {
    case MsgType.ADVERTISE:
      add({ 'gw.id': String(m.gwId), 'adv.interv': String(m.duration) })
      break
    case MsgType.SEARCHGW:
      add({ radius: String(m.radius) })
      break
    case MsgType.GWINFO:
      add({ 'gw.id': String(m.gwId), ...(m.gwAddr && { 'gw.addr': Buffer.from(m.gwAddr).toString() }) })
      break
    case MsgType.CONNECT:
      add({ will: on(m.will), 'clean.session': on(m.cleanSession), 'protocol.id': hex(m.protocolId) })
      add({ 'keep.alive': String(m.duration), 'client.id': m.clientId })
      break
    case MsgType.CONNACK:
    case MsgType.WILLTOPICRESP:
    case MsgType.WILLMSGRESP:
      add({ 'return.code': hex(m.returnCode) })
      break
    case MsgType.WILLTOPIC:
    case MsgType.WILLTOPICUPD:
      if (m.topic !== undefined) add({ 'will.topic': m.topic })
      break
    case MsgType.WILLMSG:
    case MsgType.WILLMSGUPD:
      add({ 'will.msg': Buffer.from(m.message).toString() })
      break
    case MsgType.REGISTER:
      add({ 'topic.id': String(m.topicId), 'msg.id': String(m.msgId), topic: m.topicName })
      break
    case MsgType.REGACK:
    case MsgType.PUBACK:
      add({ 'topic.id': String(m.topicId), 'msg.id': String(m.msgId), 'return.code': hex(m.returnCode) })
      break
    case MsgType.PUBLISH:
      add({ dup: on(m.dup), qos: hex(m.qos & 3), retain: on(m.retain), 'topic.id.type': ID_TYPES[m.topicIdType] })
      add({ 'topic.id': String(m.topicId), 'msg.id': String(m.msgId), 'pub.msg': Buffer.from(m.data).toString() })
      break
    case MsgType.SUBSCRIBE:
    case MsgType.UNSUBSCRIBE:
      add({ 'topic.id.type': ID_TYPES[m.topicIdType], 'msg.id': String(m.msgId) })
      add({ 'topic.name.or.id': m.topicIdType === 'normal' ? m.topicName : asText(m.topicId) })
      break
    case MsgType.SUBACK:
      add({ 'topic.id': String(m.topicId), 'msg.id': String(m.msgId), 'return.code': hex(m.returnCode) })
      break
    case MsgType.PUBREC:
    case MsgType.PUBREL:
    case MsgType.PUBCOMP:
    case MsgType.UNSUBACK:
      add({ 'msg.id': String(m.msgId) })
      break
    case MsgType.PINGREQ:
      if (m.clientId !== undefined) add({ 'client.id': m.clientId })
      break
    case MsgType.DISCONNECT:
      if (m.duration !== undefined) add({ 'sleep.timer': String(m.duration) })
      break
    default:
  }
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [`mqttsn.${name}`, value]))
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
    const datagrams = MESSAGES.map(encodedMessage)
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
      const length = encodedMessage(message).length
      expect(plain[i]).toMatchObject(expected(message, length))
      expect(JSON.stringify(plain[i])).not.toContain('_ws.')
    },
  )

  test('and in the envelope of a forwarder', () => {
    for (const [i, message] of MESSAGES.entries()) {
      const envelope = { 'mqttsn.msg.type': '0xfe', 'mqttsn.msg.len': '5', 'mqttsn.wireless.node.id': String(0x1234) }
      expect(wrapped[i]).toMatchObject({ ...envelope, 'mqttsn.msg': expected(message, encodedMessage(message).length) })
    }
  })
})
