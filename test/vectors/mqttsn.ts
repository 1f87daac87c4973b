import { type Message, MsgType } from '../../src/mqttsn/messages.ts'

export interface SnVector {
  /** With the section of MQTT-SN 1.2 that says so. */
  readonly title: string
  readonly hex: string
  readonly message: Message
  /** Decodes to the message, but is not how we write it. */
  readonly decodeOnly?: true
}

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

export const SN_VECTORS: readonly SnVector[] = [
  { title: '5.4.1 ADVERTISE', hex: '05 00 01 0384', message: { type: MsgType.ADVERTISE, gwId: 1, duration: 900 } },
  { title: '5.4.2 SEARCHGW', hex: '03 01 02', message: { type: MsgType.SEARCHGW, radius: 2 } },
  { title: '5.4.3 GWINFO from a gateway', hex: '03 02 07', message: { type: MsgType.GWINFO, gwId: 7, gwAddr: undefined } },
  {
    title: '5.4.3 GWINFO from a client',
    hex: '07 02 07 c0a80001',
    message: { type: MsgType.GWINFO, gwId: 7, gwAddr: bytes('c0a80001') },
  },
  {
    title: '5.4.4 CONNECT with will and clean session',
    hex: '08 04 0c 01 003c 7331',
    message: { type: MsgType.CONNECT, will: true, cleanSession: true, protocolId: 1, duration: 60, clientId: 's1' },
  },
  {
    title: '5.4.4 CONNECT, unused flags ignored',
    hex: '07 04 f3 01 0000 73',
    message: { type: MsgType.CONNECT, will: false, cleanSession: false, protocolId: 1, duration: 0, clientId: 's' },
    decodeOnly: true,
  },
  {
    title: '5.4.4 CONNECT of another protocol decodes, so that it can be answered',
    hex: '06 04 00 02 0000',
    message: { type: MsgType.CONNECT, will: false, cleanSession: false, protocolId: 2, duration: 0, clientId: '' },
  },
  { title: '5.4.5 CONNACK', hex: '03 05 00', message: { type: MsgType.CONNACK, returnCode: 0 } },
  { title: '5.3.10 CONNACK with a reserved return code', hex: '03 05 80', message: { type: MsgType.CONNACK, returnCode: 0x80 } },
  { title: '5.4.6 WILLTOPICREQ', hex: '02 06', message: { type: MsgType.WILLTOPICREQ } },
  { title: '5.4.7 WILLTOPIC', hex: '06 07 30 772f78', message: { type: MsgType.WILLTOPIC, topic: 'w/x', qos: 1, retain: true } },
  {
    title: '5.4.7 empty WILLTOPIC deletes',
    hex: '02 07',
    message: { type: MsgType.WILLTOPIC, topic: undefined, qos: 0, retain: false },
  },
  { title: '5.4.8 WILLMSGREQ', hex: '02 08', message: { type: MsgType.WILLMSGREQ } },
  { title: '5.4.9 WILLMSG', hex: '05 09 627965', message: { type: MsgType.WILLMSG, message: bytes('627965') } },
  {
    title: '5.4.10 REGISTER from a client',
    hex: '09 0a 0000 0001 612f62',
    message: { type: MsgType.REGISTER, topicId: 0, msgId: 1, topicName: 'a/b' },
  },
  {
    title: '5.4.10 REGISTER from a gateway, UTF-8',
    hex: '08 0a 0401 ffff c3a9',
    message: { type: MsgType.REGISTER, topicId: 0x401, msgId: 0xffff, topicName: 'é' },
  },
  {
    title: '5.4.11 REGACK',
    hex: '07 0b 0401 0001 00',
    message: { type: MsgType.REGACK, topicId: 0x401, msgId: 1, returnCode: 0 },
  },
  {
    title: '5.4.12 PUBLISH QoS 0',
    hex: '09 0c 00 0401 0000 6869',
    message: {
      type: MsgType.PUBLISH,
      dup: false,
      qos: 0,
      retain: false,
      topicIdType: 'normal',
      topicId: 0x401,
      msgId: 0,
      data: bytes('6869'),
    },
  },
  {
    title: '5.4.12 PUBLISH QoS 2, DUP, retain, predefined, no data',
    hex: '07 0c d1 0001 0005',
    message: {
      type: MsgType.PUBLISH,
      dup: true,
      qos: 2,
      retain: true,
      topicIdType: 'predefined',
      topicId: 1,
      msgId: 5,
      data: bytes(''),
    },
  },
  {
    title: '6.8 PUBLISH QoS -1 to a short topic',
    hex: '08 0c 62 6162 0000 78',
    message: {
      type: MsgType.PUBLISH,
      dup: false,
      qos: -1,
      retain: false,
      topicIdType: 'short',
      topicId: 0x6162,
      msgId: 0,
      data: bytes('78'),
    },
  },
  {
    title: '5.4.13 PUBACK',
    hex: '07 0d 0401 0005 02',
    message: { type: MsgType.PUBACK, topicId: 0x401, msgId: 5, returnCode: 2 },
  },
  { title: '5.4.14 PUBCOMP', hex: '04 0e 0005', message: { type: MsgType.PUBCOMP, msgId: 5 } },
  { title: '5.4.14 PUBREC', hex: '04 0f 0005', message: { type: MsgType.PUBREC, msgId: 5 } },
  { title: '5.4.14 PUBREL', hex: '04 10 0005', message: { type: MsgType.PUBREL, msgId: 5 } },
  {
    title: '5.4.15 SUBSCRIBE to a name',
    hex: '08 12 a0 0009 612f23',
    message: { type: MsgType.SUBSCRIBE, dup: true, qos: 1, msgId: 9, topicIdType: 'normal', topicName: 'a/#', topicId: 0 },
  },
  {
    title: '5.4.15 SUBSCRIBE to a predefined id',
    hex: '07 12 01 0009 0001',
    message: { type: MsgType.SUBSCRIBE, dup: false, qos: 0, msgId: 9, topicIdType: 'predefined', topicName: '', topicId: 1 },
  },
  {
    title: '5.4.15 SUBSCRIBE to a short name',
    hex: '07 12 42 0009 6162',
    message: { type: MsgType.SUBSCRIBE, dup: false, qos: 2, msgId: 9, topicIdType: 'short', topicName: '', topicId: 0x6162 },
  },
  {
    title: '5.4.16 SUBACK',
    hex: '08 13 20 0401 0009 00',
    message: { type: MsgType.SUBACK, qos: 1, topicId: 0x401, msgId: 9, returnCode: 0 },
  },
  {
    title: '5.4.17 UNSUBSCRIBE',
    hex: '06 14 00 0009 61',
    message: { type: MsgType.UNSUBSCRIBE, dup: false, qos: 0, msgId: 9, topicIdType: 'normal', topicName: 'a', topicId: 0 },
  },
  { title: '5.4.18 UNSUBACK', hex: '04 15 0009', message: { type: MsgType.UNSUBACK, msgId: 9 } },
  { title: '5.4.19 PINGREQ', hex: '02 16', message: { type: MsgType.PINGREQ, clientId: undefined } },
  { title: '5.4.19 PINGREQ of a sleeper', hex: '04 16 7331', message: { type: MsgType.PINGREQ, clientId: 's1' } },
  { title: '5.4.20 PINGRESP', hex: '02 17', message: { type: MsgType.PINGRESP } },
  { title: '5.4.21 DISCONNECT', hex: '02 18', message: { type: MsgType.DISCONNECT, duration: undefined } },
  { title: '5.4.21 DISCONNECT to sleep', hex: '04 18 003c', message: { type: MsgType.DISCONNECT, duration: 60 } },
  {
    title: '5.4.22 WILLTOPICUPD',
    hex: '04 1a 40 77',
    message: { type: MsgType.WILLTOPICUPD, topic: 'w', qos: 2, retain: false },
  },
  {
    title: '5.4.22 empty WILLTOPICUPD deletes',
    hex: '02 1a',
    message: { type: MsgType.WILLTOPICUPD, topic: undefined, qos: 0, retain: false },
  },
  { title: '5.4.24 WILLTOPICRESP', hex: '03 1b 00', message: { type: MsgType.WILLTOPICRESP, returnCode: 0 } },
  { title: '5.4.23 WILLMSGUPD', hex: '03 1c 78', message: { type: MsgType.WILLMSGUPD, message: bytes('78') } },
  { title: '5.4.25 WILLMSGRESP', hex: '03 1d 01', message: { type: MsgType.WILLMSGRESP, returnCode: 1 } },
  {
    title: '5.2.1 the long form of Length for a short message',
    hex: '01 0004 17',
    message: { type: MsgType.PINGRESP },
    decodeOnly: true,
  },
]

/** Malformed messages, and why. */
export const SN_MALFORMED: readonly { readonly title: string; readonly hex: string; readonly reason: RegExp }[] = [
  { title: '5.2.1 nothing at all', hex: '', reason: /Length/ },
  { title: '5.2.1 Length 0', hex: '00 17', reason: /Length 0/ },
  { title: '5.2.1 Length alone', hex: '02', reason: /MsgType/ },
  { title: '5.2.1 half of a long Length', hex: '01 00', reason: /Length/ },
  { title: '5.2.1 Length below the datagram', hex: '02 18 00', reason: /Length 2 in a datagram of 3/ },
  { title: '5.2.1 Length above the datagram', hex: '05 18 003c', reason: /Length 5 in a datagram of 4/ },
  { title: '5.2.1 long Length that does not count itself', hex: '01 0002 17', reason: /Length 2/ },
  { title: '5.2.2 reserved type 0x03', hex: '02 03', reason: /0x03 is unknown/ },
  { title: '5.2.2 reserved type 0xff', hex: '02 ff', reason: /0xff is unknown/ },
  { title: '5.3.4 reserved TopicIdType in PUBLISH', hex: '07 0c 03 0001 0000', reason: /TopicIdType/ },
  { title: '5.3.4 reserved TopicIdType in SUBSCRIBE', hex: '07 12 03 0001 0001', reason: /TopicIdType/ },
  { title: '5.4.4 CONNECT without duration', hex: '04 04 00 01', reason: /Duration/ },
  { title: '5.4.4 client id that is no UTF-8', hex: '07 04 00 01 0000 ff', reason: /UTF-8 in ClientId/ },
  { title: '5.4.7 will QoS -1', hex: '04 07 60 77', reason: /will QoS/ },
  { title: '5.4.10 U+0000 in a topic name', hex: '07 0a 0000 0001 00', reason: /U\+0000/ },
  { title: '5.4.12 PUBLISH without message id', hex: '05 0c 00 0401', reason: /MsgId/ },
  { title: '5.4.13 PUBACK without return code', hex: '06 0d 0401 0005', reason: /ReturnCode/ },
  { title: '5.4.14 PUBREL with more than a message id', hex: '05 10 0005 00', reason: /left behind/ },
  { title: '5.4.15 SUBSCRIBE to half an id', hex: '06 12 01 0009 00', reason: /TopicId/ },
  { title: '5.4.15 SUBSCRIBE to three octets as a short name', hex: '08 12 02 0009 616263', reason: /left behind/ },
  { title: '5.4.20 PINGRESP with a body', hex: '03 17 00', reason: /left behind/ },
  { title: '5.4.21 DISCONNECT with half a duration', hex: '03 18 00', reason: /Duration/ },
]
