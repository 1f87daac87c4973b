import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { generate, type Packet as OraclePacket, parser } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { type Packet, PacketType } from '../src/mqtt/packets.ts'
import type { Properties } from '../src/mqtt/properties.ts'
import type { ProtocolVersion } from '../src/mqtt/publish.ts'
import { Publish } from '../src/mqtt/publish.ts'
import { decodeAll, encoded, said, sent } from './packets.ts'
import { runs } from './runs.ts'

type Fields = Record<string, unknown>

const CMD = ['', 'connect', 'connack', 'publish', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'subscribe', 'suback', 'unsubscribe']
CMD.push('unsuback', 'pingreq', 'pingresp', 'disconnect', 'auth')
/** Of CONNACK before 5.0 [3.1.1 section 3.2.2.3]. */
const RETURN_CODE: Record<number, number> = { 0: 0, 132: 1, 133: 2, 136: 3, 134: 4, 135: 5 }

const known = (fields: Fields): Fields => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

/** User properties by name: what has a name more than once is a list. */
function pairs(properties: Pairs): Fields {
  const found: Record<string, string | string[]> = Object.create(null)
  for (const [name, value] of properties) {
    const before = found[name]
    found[name] = before === undefined ? value : [before, value].flat()
  }
  return { ...found }
}

function propertiesOf(properties: Properties, v: ProtocolVersion): Fields {
  const { userProperties, subscriptionIdentifiers: ids, payloadFormatIndicator, correlationData, authenticationData } = properties
  const all = known({
    ...properties,
    subscriptionIdentifiers: undefined,
    subscriptionIdentifier: ids?.length === 1 ? ids[0] : ids,
    payloadFormatIndicator: payloadFormatIndicator === undefined ? undefined : payloadFormatIndicator === 1,
    correlationData: correlationData && Buffer.from(correlationData),
    authenticationData: authenticationData && Buffer.from(authenticationData),
    userProperties: userProperties && pairs(userProperties),
  })
  return v === 5 && Object.keys(all).length > 0 ? { properties: all } : {}
}

/** The packet in mqtt-packet's terms, made from our packet and not from our bytes. */
function translated(packet: Packet, v: ProtocolVersion): Fields {
  const cmd = CMD[packet.type]
  const properties = 'properties' in packet ? propertiesOf(packet.properties, v) : {}
  if (packet instanceof Publish) {
    const { topic, payload, qos, retain, dup, packetId } = packet
    return { cmd, topic, payload: Buffer.from(payload), qos, retain, dup, ...(qos > 0 && { messageId: packetId }), ...properties }
  }
  switch (packet.type) {
    case PacketType.CONNECT: {
      const { clientId, cleanStart: clean, keepAlive: keepalive, username, password, will } = packet
      const protocolId = v === 3 ? 'MQIsdp' : 'MQTT'
      return known({
        ...{ cmd, protocolId, protocolVersion: v, clientId, clean, keepalive, username, ...properties },
        password: password && Buffer.from(password),
        will: will && {
          ...{ topic: will.topic, payload: Buffer.from(will.payload), qos: will.qos, retain: will.retain },
          ...propertiesOf(will.properties, v),
        },
      })
    }
    case PacketType.CONNACK: {
      const { sessionPresent, reasonCode } = packet
      return { cmd, sessionPresent, ...(v === 5 ? { reasonCode } : { returnCode: RETURN_CODE[reasonCode] }), ...properties }
    }
    case PacketType.SUBSCRIBE: {
      const subscriptions = packet.subscriptions.map(({ filter: topic, qos, noLocal, retainAsPublished, retainHandling }) =>
        v === 5 ? { topic, qos, nl: noLocal, rap: retainAsPublished, rh: retainHandling } : { topic, qos },
      )
      return { cmd, messageId: packet.packetId, subscriptions, ...properties }
    }
    case PacketType.SUBACK:
    case PacketType.UNSUBACK:
      return {
        cmd,
        messageId: packet.packetId,
        ...((v === 5 || packet.type === PacketType.SUBACK) && { granted: packet.reasonCodes }),
        ...properties,
      }
    case PacketType.UNSUBSCRIBE:
      return { cmd, messageId: packet.packetId, unsubscriptions: packet.filters, ...properties }
    case PacketType.PUBACK:
    case PacketType.PUBREC:
    case PacketType.PUBREL:
    case PacketType.PUBCOMP:
      return { cmd, messageId: packet.packetId, ...(v === 5 && { reasonCode: packet.reasonCode }), ...properties }
    case PacketType.DISCONNECT:
    case PacketType.AUTH:
      return { cmd, ...(v === 5 && { reasonCode: packet.reasonCode }), ...properties }
    default:
      return { cmd }
  }
}

interface Difference {
  readonly reason: string
  of(packet: Packet, v: ProtocolVersion): boolean
}

/** What mqtt-packet does not read, though the specification has it. */
const NOT_READ: readonly Difference[] = [
  {
    reason: 'AUTH without a reason code, which means success [5.0 section 3.15.2.1]',
    of: (packet) => packet.type === PacketType.AUTH && packet.reasonCode === 0 && isBare(packet.properties),
  },
  {
    reason: 'an empty value of a user property whose name comes again: it counts as none',
    of: (packet) =>
      userProperties(packet).some((list) =>
        list.some(([name, value], i) => value === '' && list.slice(i + 1).some(([next]) => next === name)),
      ),
  },
]

/** What mqtt-packet does not write, or not as it was told. */
const NOT_WRITTEN: readonly Difference[] = [
  {
    reason: 'CONNECT of 3.1 without a client id, which 3.1 does not allow, and which we read and refuse',
    of: (packet, v) => packet.type === PacketType.CONNECT && v === 3 && packet.clientId === '',
  },
  {
    reason: 'CONNECT of 5.0 that wants an id, and a session if there is one [5.0 section 3.1.3.1]',
    of: (packet) => packet.type === PacketType.CONNECT && packet.clientId === '' && !packet.cleanStart,
  },
  {
    reason: 'CONNECT of 5.0 with a password and no user name [5.0 section 3.1.2.9]',
    of: (packet) => packet.type === PacketType.CONNECT && packet.password !== undefined && packet.username === undefined,
  },
  {
    reason: 'the order of user properties where an object has another one: a name that comes again later, or is a number',
    of: (packet) => userProperties(packet).some((list) => !isDeepStrictEqual(flat(pairs(list)), list)),
  },
]

type Pairs = readonly (readonly [string, string])[]

const flat = (fields: Fields): Pairs =>
  Object.entries(fields).flatMap(([name, values]) => [values].flat().map((value): [string, string] => [name, value as string]))

/** Of the packet, and of its will. */
function userProperties(packet: Packet): Pairs[] {
  const own = 'properties' in packet ? packet.properties.userProperties : undefined
  const ofWill = packet.type === PacketType.CONNECT ? packet.will?.properties.userProperties : undefined
  return [own ?? [], ofWill ?? []]
}

const isBare = (properties: Properties): boolean => Object.keys(properties).length === 0
const differs = (list: readonly Difference[], packet: Packet, v: ProtocolVersion): boolean => list.some(({ of }) => of(packet, v))

/** Fields that every object of mqtt-packet has, and that only PUBLISH uses. */
const ONLY_PUBLISH = ['qos', 'retain', 'dup', 'topic', 'payload']

/** What mqtt-packet reads. */
function read(bytes: Uint8Array, v: ProtocolVersion): Fields[] {
  const found: Fields[] = []
  const oracle = parser({ protocolVersion: v })
  oracle.on('packet', (packet) => {
    const { length: _length, ...fields } = packet as unknown as Fields
    const said = Object.entries(fields).filter(([name]) => fields.cmd === 'publish' || !ONLY_PUBLISH.includes(name))
    found.push(Object.fromEntries(said))
  })
  oracle.on('error', (error: Error) => {
    throw error
  })
  oracle.parse(Buffer.from(bytes))
  return found
}

describe('beside mqtt-packet, an independent codec', () => {
  test('it reads in every field what we write', () => {
    fc.assert(
      fc.property(sent, ({ v, packet }) => {
        fc.pre(!differs(NOT_READ, packet, v))
        expect(read(encoded(packet, v), v)).toEqual([translated(packet, v)])
      }),
      runs(1000),
    )
  })

  test('we read in every field what it writes', () => {
    fc.assert(
      fc.property(sent, ({ v, sender, packet }) => {
        fc.pre(!differs(NOT_WRITTEN, packet, v))
        const bytes = Uint8Array.from(generate(translated(packet, v) as unknown as OraclePacket, { protocolVersion: v }))
        const { packets, error } = decodeAll([bytes], sender, v)
        expect(error).toBeUndefined()
        expect(packets.map(said)).toEqual([said(packet)])
      }),
      runs(1000),
    )
  })
})
