import type { Packet } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'

export interface MqttVector {
  /** With the section or statement that says so. */
  readonly title: string
  readonly version: ProtocolVersion
  readonly sender: 'client' | 'server'
  readonly hex: string
  readonly packet: Packet
}

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const publish = (
  topic: string,
  payload: string,
  qos: 0 | 1 | 2 = 0,
  packetId = 0,
  properties = {},
  flags: { dup?: boolean; retain?: boolean } = {},
): Publish => {
  const packet = Publish.of(topic, Buffer.from(payload), qos, flags.retain ?? false, packetId, properties)
  packet.dup = flags.dup ?? false
  return packet
}

const connect = {
  type: 1,
  bridge: false,
  clientId: 'c',
  cleanStart: true,
  keepAlive: 60,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: {},
} as const

const ALL_WILL = {
  willDelayInterval: 5,
  payloadFormatIndicator: 1,
  messageExpiryInterval: 6,
  contentType: 't',
  responseTopic: 'r',
  correlationData: bytes('01'),
  userProperties: [['a', 'b']],
} as const

export const MQTT_VECTORS: readonly MqttVector[] = [
  {
    title: '3.1 CONNECT',
    version: 3,
    sender: 'client',
    hex: '100f 0006 4d5149736470 03 02 003c 0001 63',
    packet: { ...connect, protocolVersion: 3 },
  },
  {
    title: '3.1.1 CONNECT',
    version: 4,
    sender: 'client',
    hex: '100d 0004 4d515454 04 02 003c 0001 63',
    packet: { ...connect, protocolVersion: 4 },
  },
  {
    title: '5.0 CONNECT',
    version: 5,
    sender: 'client',
    hex: '100e 0004 4d515454 05 02 003c 00 0001 63',
    packet: { ...connect, protocolVersion: 5 },
  },
  {
    title: '3.1.1 CONNECT of a bridge',
    version: 4,
    sender: 'client',
    hex: '100d 0004 4d515454 84 02 003c 0001 63',
    packet: { ...connect, protocolVersion: 4, bridge: true },
  },
  {
    title: '3.1.1 CONNECT with everything',
    version: 4,
    sender: 'client',
    hex: '101a 0004 4d515454 04 ec 000a 0001 63 0001 77 0002 6869 0001 75 0001 70',
    packet: {
      ...connect,
      protocolVersion: 4,
      cleanStart: false,
      keepAlive: 10,
      will: { topic: 'w', payload: Buffer.from('hi'), qos: 1, retain: true, properties: {} },
      username: 'u',
      password: Buffer.from('p'),
    },
  },
  {
    title: '5.0 CONNECT with all properties and a will with all of its own',
    version: 5,
    sender: 'client',
    hex:
      '1057 0004 4d515454 05 16 0000 23 11 0000000a 15 0001 6d 16 0001 02 17 00 19 01 21 0014 22 0005 26 0001 61 0001 62 27 00010000 0001 63' +
      '1f 01 01 02 00000006 03 0001 74 08 0001 72 09 0001 01 18 00000005 26 0001 61 0001 62 0001 77 0001 78',
    packet: {
      ...connect,
      protocolVersion: 5,
      keepAlive: 0,
      properties: {
        sessionExpiryInterval: 10,
        authenticationMethod: 'm',
        authenticationData: bytes('02'),
        requestProblemInformation: false,
        requestResponseInformation: true,
        receiveMaximum: 20,
        topicAliasMaximum: 5,
        userProperties: [['a', 'b']],
        maximumPacketSize: 65_536,
      },
      will: { topic: 'w', payload: Buffer.from('x'), qos: 2, retain: false, properties: { ...ALL_WILL } },
    },
  },
  {
    title: '5.0 CONNECT with a password and no user name (MQTT-3.1.2-22)',
    version: 5,
    sender: 'client',
    hex: '1011 0004 4d515454 05 42 003c 00 0001 63 0001 70',
    packet: { ...connect, protocolVersion: 5, password: Buffer.from('p') },
  },
  {
    title: '3.1.1 CONNACK',
    version: 4,
    sender: 'server',
    hex: '2002 01 00',
    packet: { type: 2, sessionPresent: true, reasonCode: 0, properties: {} },
  },
  {
    title: '3.1.1 section 3.2.2.3 CONNACK, identifier rejected',
    version: 4,
    sender: 'server',
    hex: '2002 00 02',
    packet: { type: 2, sessionPresent: false, reasonCode: 0x85, properties: {} },
  },
  {
    title: '5.0 CONNACK with all properties',
    version: 5,
    sender: 'server',
    hex:
      '203f 00 00 3c 11 00000001 12 0001 69 13 000a 15 0001 6d 16 0001 02 1a 0001 72 1c 0001 73 1f 0001 65 21 0001 22 0002 24 01 25 00' +
      '26 0001 61 0001 62 27 00000064 28 01 29 00 2a 01',
    packet: {
      type: 2,
      sessionPresent: false,
      reasonCode: 0,
      properties: {
        sessionExpiryInterval: 1,
        assignedClientIdentifier: 'i',
        serverKeepAlive: 10,
        authenticationMethod: 'm',
        authenticationData: bytes('02'),
        responseInformation: 'r',
        serverReference: 's',
        reasonString: 'e',
        receiveMaximum: 1,
        topicAliasMaximum: 2,
        maximumQoS: 1,
        retainAvailable: false,
        userProperties: [['a', 'b']],
        maximumPacketSize: 100,
        wildcardSubscriptionAvailable: true,
        subscriptionIdentifiersAvailable: false,
        sharedSubscriptionAvailable: true,
      },
    },
  },
  { title: '3.1.1 PUBLISH QoS 0', version: 4, sender: 'client', hex: '3007 0003 612f62 6869', packet: publish('a/b', 'hi') },
  {
    title: '3.1.1 PUBLISH QoS 2, DUP, retain, UTF-8',
    version: 4,
    sender: 'server',
    hex: '3d06 0002 c3a9 1234',
    packet: publish('é', '', 2, 0x1234, {}, { dup: true, retain: true }),
  },
  {
    title: '5.0 PUBLISH QoS 1 without properties',
    version: 5,
    sender: 'client',
    hex: '3207 0001 61 0001 00 78',
    packet: publish('a', 'x', 1, 1),
  },
  {
    title: '5.0 PUBLISH with all properties',
    version: 5,
    sender: 'server',
    hex: '3027 0001 61 22 01 01 02 0000000a 03 0001 74 08 0001 72 09 0001 01 0b 05 0b 8001 23 0003 26 0001 61 0001 62 78',
    packet: publish('a', 'x', 0, 0, {
      payloadFormatIndicator: 1,
      messageExpiryInterval: 10,
      contentType: 't',
      responseTopic: 'r',
      correlationData: bytes('01'),
      subscriptionIdentifiers: [5, 128],
      topicAlias: 3,
      userProperties: [['a', 'b']],
    }),
  },
  {
    title: '5.0 section 3.3.2.3.4 PUBLISH with nothing but a topic alias',
    version: 5,
    sender: 'client',
    hex: '3006 0000 03 23 0003',
    packet: publish('', '', 0, 0, { topicAlias: 3 }),
  },
  ...([4, 5, 6, 7] as const).flatMap((type) => {
    const first = type === 6 ? '62' : `${type}0`
    const name = ['PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP'][type - 4]
    const reasonCode = type < 6 ? 0x10 : 0x92
    const code = reasonCode.toString(16)
    const both = { sender: 'client', packet: { type, packetId: 7, reasonCode: 0, properties: {} } } as const
    return [
      { title: `3.1.1 ${name}`, version: 4, ...both, hex: `${first}02 0007` },
      { title: `5.0 ${name}, short form`, version: 5, ...both, hex: `${first}02 0007` },
      {
        title: `5.0 ${name} with a reason`,
        version: 5,
        sender: 'server',
        hex: `${first}03 0007 ${code}`,
        packet: { ...both.packet, reasonCode },
      },
      {
        title: `5.0 ${name} with properties`,
        version: 5,
        sender: 'server',
        hex: `${first}0f 0007 ${code} 0b 1f 0001 65 26 0001 61 0001 62`,
        packet: { ...both.packet, reasonCode, properties: { reasonString: 'e', userProperties: [['a', 'b']] } },
      },
    ] satisfies MqttVector[]
  }),
  {
    title: '3.1.1 SUBSCRIBE',
    version: 4,
    sender: 'client',
    hex: '820a 0009 0001 61 01 0001 23 02',
    packet: {
      type: 8,
      packetId: 9,
      subscriptions: [
        { filter: 'a', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
        { filter: '#', qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
      properties: {},
    },
  },
  {
    title: '5.0 SUBSCRIBE with options and properties',
    version: 5,
    sender: 'client',
    hex: '8210 0009 09 0b 05 26 0001 61 0001 62 0001 61 2d',
    packet: {
      type: 8,
      packetId: 9,
      subscriptions: [{ filter: 'a', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
      properties: { subscriptionIdentifiers: [5], userProperties: [['a', 'b']] },
    },
  },
  {
    title: '3.1.1 SUBACK',
    version: 4,
    sender: 'server',
    hex: '9004 0009 01 80',
    packet: { type: 9, packetId: 9, reasonCodes: [1, 0x80], properties: {} },
  },
  {
    title: '5.0 SUBACK',
    version: 5,
    sender: 'server',
    hex: '9006 0009 00 00 8f 97',
    packet: { type: 9, packetId: 9, reasonCodes: [0, 0x8f, 0x97], properties: {} },
  },
  {
    title: '3.1.1 UNSUBSCRIBE',
    version: 4,
    sender: 'client',
    hex: 'a205 0009 0001 61',
    packet: { type: 10, packetId: 9, filters: ['a'], properties: {} },
  },
  {
    title: '5.0 UNSUBSCRIBE',
    version: 5,
    sender: 'client',
    hex: 'a20d 0009 07 26 0001 61 0001 62 0001 61',
    packet: { type: 10, packetId: 9, filters: ['a'], properties: { userProperties: [['a', 'b']] } },
  },
  {
    title: '3.1.1 UNSUBACK',
    version: 4,
    sender: 'server',
    hex: 'b002 0009',
    packet: { type: 11, packetId: 9, reasonCodes: [], properties: {} },
  },
  {
    title: '5.0 UNSUBACK',
    version: 5,
    sender: 'server',
    hex: 'b004 0009 00 11',
    packet: { type: 11, packetId: 9, reasonCodes: [0x11], properties: {} },
  },
  { title: 'PINGREQ', version: 4, sender: 'client', hex: 'c000', packet: { type: 12 } },
  { title: 'PINGRESP', version: 5, sender: 'server', hex: 'd000', packet: { type: 13 } },
  { title: '3.1.1 DISCONNECT', version: 4, sender: 'client', hex: 'e000', packet: { type: 14, reasonCode: 0, properties: {} } },
  {
    title: '5.0 DISCONNECT, short form',
    version: 5,
    sender: 'client',
    hex: 'e000',
    packet: { type: 14, reasonCode: 0, properties: {} },
  },
  {
    title: '5.0 DISCONNECT with a reason',
    version: 5,
    sender: 'server',
    hex: 'e001 8b',
    packet: { type: 14, reasonCode: 0x8b, properties: {} },
  },
  {
    title: '5.0 DISCONNECT with properties',
    version: 5,
    sender: 'client',
    hex: 'e00b 04 09 11 00000005 1f 0001 65',
    packet: { type: 14, reasonCode: 4, properties: { sessionExpiryInterval: 5, reasonString: 'e' } },
  },
  {
    title: '5.0 AUTH',
    version: 5,
    sender: 'client',
    hex: 'f00a 18 08 15 0001 6d 16 0001 02',
    packet: { type: 15, reasonCode: 0x18, properties: { authenticationMethod: 'm', authenticationData: bytes('02') } },
  },
]

export interface MalformedVector {
  readonly title: string
  readonly versions: readonly ProtocolVersion[]
  readonly hex: string
  readonly reasonCode: number
  readonly rule?: string
}

const ALL = [3, 4, 5] as const
const OLD = [3, 4] as const
const FIVE = [5] as const

/** What a client may not send, and the reason code with which a 5.0 client is told; 3.x clients are just closed. */
export const MQTT_MALFORMED: readonly MalformedVector[] = [
  { title: 'a packet type that only servers send', versions: ALL, hex: '20020000', reasonCode: 0x82 },
  { title: 'AUTH before 5.0', versions: OLD, hex: 'f000', reasonCode: 0x82 },
  { title: 'reserved flags of PINGREQ', versions: ALL, hex: 'c100', reasonCode: 0x81, rule: 'MQTT-2.1.3-1' },
  { title: 'reserved flags of SUBSCRIBE', versions: ALL, hex: '80060001000161 00', reasonCode: 0x81, rule: 'MQTT-2.1.3-1' },
  { title: 'reserved flags of PUBREL', versions: ALL, hex: '60020001', reasonCode: 0x81, rule: 'MQTT-2.1.3-1' },
  { title: 'reserved flags of DISCONNECT', versions: ALL, hex: 'e100', reasonCode: 0x81, rule: 'MQTT-2.1.3-1' },
  { title: 'bytes behind PINGREQ', versions: ALL, hex: 'c00100', reasonCode: 0x81 },
  { title: 'bytes behind a 3.1.1 PUBACK', versions: OLD, hex: '4003000100', reasonCode: 0x81 },
  { title: 'half a packet id', versions: ALL, hex: '400100', reasonCode: 0x81 },
  { title: 'packet id 0 in PUBACK', versions: ALL, hex: '40020000', reasonCode: 0x82, rule: 'MQTT-2.2.1-3' },
  { title: 'a reason code that PUBACK has not', versions: FIVE, hex: '4003000192', reasonCode: 0x82, rule: 'MQTT-3.4.2-1' },
  { title: 'a reason code that DISCONNECT has not', versions: FIVE, hex: 'e00101', reasonCode: 0x82 },
  { title: 'PUBLISH QoS 3', versions: ALL, hex: '3605000161 0001', reasonCode: 0x81, rule: 'MQTT-3.3.1-4' },
  { title: 'DUP with QoS 0', versions: ALL, hex: '380300 0161', reasonCode: 0x81, rule: 'MQTT-3.3.1-2' },
  { title: 'PUBLISH without a whole topic', versions: ALL, hex: '3003000561', reasonCode: 0x81 },
  { title: 'PUBLISH without a whole packet id', versions: ALL, hex: '320400016100', reasonCode: 0x81 },
  { title: 'PUBLISH with packet id 0', versions: ALL, hex: '32060001610000 00', reasonCode: 0x82, rule: 'MQTT-2.2.1-3' },
  { title: 'an empty topic', versions: OLD, hex: '30020000', reasonCode: 0x82, rule: 'MQTT-4.7.3-1' },
  { title: 'an empty topic without an alias', versions: FIVE, hex: '3003000000', reasonCode: 0x82, rule: 'MQTT-4.7.3-1' },
  { title: '+ in a topic name', versions: ALL, hex: '300400012b00', reasonCode: 0x90, rule: 'MQTT-3.3.2-2' },
  { title: '# in a topic name', versions: ALL, hex: '300600 03612f2300', reasonCode: 0x90, rule: 'MQTT-3.3.2-2' },
  { title: 'U+0000 in a topic name', versions: ALL, hex: '3004 0001 00 00', reasonCode: 0x81, rule: 'MQTT-1.5.4-2' },
  { title: 'an overlong form in a topic name', versions: ALL, hex: '3005 0002 c080 00', reasonCode: 0x81, rule: 'MQTT-1.5.4-1' },
  { title: 'a surrogate in a topic name', versions: ALL, hex: '3006 0003 eda080 00', reasonCode: 0x81, rule: 'MQTT-1.5.4-1' },
  { title: 'a property that PUBLISH has not', versions: FIVE, hex: '3009 0001 61 05 1100000001', reasonCode: 0x81 },
  { title: 'an unknown property', versions: FIVE, hex: '3006 0001 61 02 0400', reasonCode: 0x81 },
  { title: 'a property twice', versions: FIVE, hex: '3008 0001 61 04 01000101', reasonCode: 0x82 },
  { title: 'a property length beyond the packet', versions: FIVE, hex: '3005 0001 61 05 01', reasonCode: 0x81 },
  {
    title: 'a property that runs beyond the property length',
    versions: FIVE,
    hex: '3009 0001 61 02 02 00000001',
    reasonCode: 0x81,
  },
  { title: 'a property length that is not minimal', versions: FIVE, hex: '3005 0001 61 8000', reasonCode: 0x81 },
  {
    title: 'a response topic with a wildcard',
    versions: FIVE,
    hex: '3008 0001 61 04 08 0001 2b',
    reasonCode: 0x82,
    rule: 'MQTT-3.3.2-14',
  },
  {
    title: 'a subscription identifier from a client',
    versions: FIVE,
    hex: '3006 0001 61 02 0b05',
    reasonCode: 0x82,
    rule: 'MQTT-3.3.4-6',
  },
  { title: 'payload format indicator 2', versions: FIVE, hex: '3006 0001 61 02 0102', reasonCode: 0x82 },
  { title: 'topic alias 0', versions: FIVE, hex: '3007 0001 61 03 230000', reasonCode: 0x94, rule: 'MQTT-3.3.2-8' },
  { title: 'SUBSCRIBE without a filter', versions: OLD, hex: '82020001', reasonCode: 0x82, rule: 'MQTT-3.8.3-2' },
  { title: 'SUBSCRIBE without a filter', versions: FIVE, hex: '8203000100', reasonCode: 0x82, rule: 'MQTT-3.8.3-2' },
  { title: 'SUBSCRIBE with packet id 0', versions: OLD, hex: '8206 0000 0001 61 00', reasonCode: 0x82, rule: 'MQTT-2.2.1-3' },
  { title: 'SUBSCRIBE without options', versions: OLD, hex: '8205 0001 0001 61', reasonCode: 0x81 },
  { title: 'SUBSCRIBE QoS 3', versions: OLD, hex: '8206 0001 0001 61 03', reasonCode: 0x82 },
  {
    title: 'reserved subscription options of 3.1.1',
    versions: OLD,
    hex: '8206 0001 0001 61 04',
    reasonCode: 0x81,
    rule: 'MQTT-3.8.3-5',
  },
  {
    title: 'reserved subscription options of 5.0',
    versions: FIVE,
    hex: '8207 0001 00 0001 61 40',
    reasonCode: 0x81,
    rule: 'MQTT-3.8.3-5',
  },
  { title: 'retain handling 3', versions: FIVE, hex: '8207 0001 00 0001 61 30', reasonCode: 0x82 },
  {
    title: 'No Local on a shared subscription',
    versions: FIVE,
    hex: '8210 0001 00 000a 2473686172652f672f61 04',
    reasonCode: 0x82,
    rule: 'MQTT-3.8.3-4',
  },
  {
    title: '# that is not the last level',
    versions: OLD,
    hex: '8208 0001 0003 232f61 00',
    reasonCode: 0x81,
    rule: 'MQTT-4.7.1-1',
  },
  { title: '+ that is not a whole level', versions: OLD, hex: '8207 0001 0002 612b 00', reasonCode: 0x81, rule: 'MQTT-4.7.1-2' },
  { title: 'an empty filter', versions: OLD, hex: '8205 0001 0000 00', reasonCode: 0x81, rule: 'MQTT-4.7.3-1' },
  { title: 'subscription identifier 0', versions: FIVE, hex: '8209 0001 02 0b00 0001 61 00', reasonCode: 0x82 },
  { title: 'two subscription identifiers', versions: FIVE, hex: '820b 0001 04 0b010b02 0001 61 00', reasonCode: 0x82 },
  { title: 'UNSUBSCRIBE without a filter', versions: OLD, hex: 'a2020001', reasonCode: 0x82, rule: 'MQTT-3.10.3-2' },
  { title: 'DISCONNECT with a body in 3.1.1', versions: OLD, hex: 'e00100', reasonCode: 0x81 },
]

/** CONNECT packets that are refused, whoever sends them. */
export const MALFORMED_CONNECTS: readonly (Omit<MalformedVector, 'versions'> & { readonly answersAs?: ProtocolVersion })[] = [
  { title: 'an unknown protocol name', hex: '100d 0004 4d515858 04 02 003c 0001 63', reasonCode: 0x81, rule: 'MQTT-3.1.2-1' },
  { title: 'level 6', hex: '100d 0004 4d515454 06 02 003c 0001 63', reasonCode: 0x84, rule: 'MQTT-3.1.2-2', answersAs: 5 },
  {
    title: 'MQTT with level 3',
    hex: '100d 0004 4d515454 03 02 003c 0001 63',
    reasonCode: 0x84,
    rule: 'MQTT-3.1.2-2',
    answersAs: 4,
  },
  {
    title: 'MQIsdp with level 4',
    hex: '100f 0006 4d5149736470 04 02 003c 0001 63',
    reasonCode: 0x84,
    rule: 'MQTT-3.1.2-2',
    answersAs: 4,
  },
  {
    title: 'the reserved flag',
    hex: '100d 0004 4d515454 04 03 003c 0001 63',
    reasonCode: 0x81,
    rule: 'MQTT-3.1.2-3',
    answersAs: 4,
  },
  { title: 'will QoS 3', hex: '100d 0004 4d515454 04 1e 003c 0001 63', reasonCode: 0x81, rule: 'MQTT-3.1.2-12' },
  { title: 'will QoS without a will', hex: '100d 0004 4d515454 04 0a 003c 0001 63', reasonCode: 0x81, rule: 'MQTT-3.1.2-11' },
  { title: 'will retain without a will', hex: '100d 0004 4d515454 04 22 003c 0001 63', reasonCode: 0x81, rule: 'MQTT-3.1.2-13' },
  {
    title: 'a password without a user name in 3.1.1',
    hex: '1010 0004 4d515454 04 42 003c 0001 63 0001 70',
    reasonCode: 0x81,
    rule: '3.1.1 MQTT-3.1.2-22',
  },
  { title: 'a user name that is announced and missing', hex: '100d 0004 4d515454 04 82 003c 0001 63', reasonCode: 0x81 },
  { title: 'bytes behind the last field', hex: '100e 0004 4d515454 04 02 003c 0001 63 00', reasonCode: 0x81 },
  { title: 'a client id that is no UTF-8', hex: '100d 0004 4d515454 04 02 003c 0001 ff', reasonCode: 0x81 },
  { title: 'an empty will topic', hex: '1012 0004 4d515454 04 06 003c 0001 63 0000 0001 78', reasonCode: 0x90 },
  { title: 'a wildcard in the will topic', hex: '1013 0004 4d515454 04 06 003c 0001 63 0001 23 0001 78', reasonCode: 0x90 },
  { title: 'receive maximum 0', hex: '1011 0004 4d515454 05 02 003c 03 210000 0001 63', reasonCode: 0x82, answersAs: 5 },
  { title: 'maximum packet size 0', hex: '1013 0004 4d515454 05 02 003c 05 2700000000 0001 63', reasonCode: 0x82, answersAs: 5 },
  {
    title: 'authentication data without method',
    hex: '1012 0004 4d515454 05 02 003c 04 16000101 0001 63',
    reasonCode: 0x82,
    answersAs: 5,
  },
]
