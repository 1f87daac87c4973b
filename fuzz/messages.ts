import fc from 'fast-check'
import { type Message, MsgType, type TopicIdType } from '../src/mqttsn/messages.ts'

const u8 = fc.nat(0xff)
const u16 = fc.nat(0xffff)
const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((value) => !value.includes('\0'))
const some = text.filter((value) => value !== '')
const data = fc.uint8Array({ maxLength: 600 })
const qos = fc.constantFrom(-1, 0, 1, 2)
const willQos = fc.constantFrom(0, 1, 2)
const idType = fc.constantFrom<TopicIdType>('normal', 'predefined', 'short')
const of = (type: number, fields: Record<string, fc.Arbitrary<unknown>> = {}): fc.Arbitrary<Message> =>
  fc.record({ type: fc.constant(type), ...fields }) as fc.Arbitrary<unknown> as fc.Arbitrary<Message>

const willTopic = (type: number): fc.Arbitrary<Message> =>
  fc.oneof(
    of(type, { topic: text, qos: willQos, retain: fc.boolean() }),
    fc.constant({ type, topic: undefined, qos: 0, retain: false } as Message),
  )

const topicRequest = (type: number): fc.Arbitrary<Message> =>
  fc
    .record({ dup: fc.boolean(), qos, msgId: u16, topicIdType: idType, topicName: text, topicId: u16 })
    .map((fields) => ({ type, ...fields, ...(fields.topicIdType === 'normal' ? { topicId: 0 } : { topicName: '' }) }) as Message)

/** Any message of MQTT-SN 1.2 with any value in any field; a forwarder's envelope is none. */
export const message: fc.Arbitrary<Message> = fc.oneof(
  of(MsgType.ADVERTISE, { gwId: u8, duration: u16 }),
  of(MsgType.SEARCHGW, { radius: u8 }),
  of(MsgType.GWINFO, { gwId: u8, gwAddr: fc.option(fc.uint8Array({ minLength: 1, maxLength: 20 }), { nil: undefined }) }),
  of(MsgType.CONNECT, { will: fc.boolean(), cleanSession: fc.boolean(), protocolId: u8, duration: u16, clientId: text }),
  ...[MsgType.CONNACK, MsgType.WILLTOPICRESP, MsgType.WILLMSGRESP].map((type) => of(type, { returnCode: u8 })),
  ...[MsgType.WILLTOPICREQ, MsgType.WILLMSGREQ, MsgType.PINGRESP].map((type) => of(type)),
  willTopic(MsgType.WILLTOPIC),
  willTopic(MsgType.WILLTOPICUPD),
  of(MsgType.WILLMSG, { message: data }),
  of(MsgType.WILLMSGUPD, { message: data }),
  of(MsgType.REGISTER, { topicId: u16, msgId: u16, topicName: text }),
  of(MsgType.REGACK, { topicId: u16, msgId: u16, returnCode: u8 }),
  of(MsgType.PUBACK, { topicId: u16, msgId: u16, returnCode: u8 }),
  of(MsgType.PUBLISH, { dup: fc.boolean(), qos, retain: fc.boolean(), topicIdType: idType, topicId: u16, msgId: u16, data }),
  ...[MsgType.PUBREC, MsgType.PUBREL, MsgType.PUBCOMP, MsgType.UNSUBACK].map((type) => of(type, { msgId: u16 })),
  topicRequest(MsgType.SUBSCRIBE),
  topicRequest(MsgType.UNSUBSCRIBE),
  of(MsgType.SUBACK, { qos, topicId: u16, msgId: u16, returnCode: u8 }),
  of(MsgType.PINGREQ, { clientId: fc.option(some, { nil: undefined }) }),
  of(MsgType.DISCONNECT, { duration: fc.option(u16, { nil: undefined }) }),
)
