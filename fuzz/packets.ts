import fc from 'fast-check'
import { ByteWriter } from '../src/base/bytes.ts'
import { PacketDecoder } from '../src/mqtt/decode.ts'
import { encodePacket } from '../src/mqtt/encode.ts'
import { Framer } from '../src/mqtt/framer.ts'
import type { Connect, Packet } from '../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../src/mqtt/publish.ts'
import { Publish } from '../src/mqtt/publish.ts'

export type Sender = 'client' | 'server'

const u16 = fc.nat(0xffff)
const id = fc.integer({ min: 1, max: 0xffff })
const u32 = fc.nat(0xffffffff)
const text = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((value) => !value.includes('\0'))
const level = fc.string({ unit: 'grapheme-ascii', maxLength: 4 }).map((value) => value.replaceAll(/[+#/\0]/g, 'x'))
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/') || 'x')
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => (rest ? [...levels, '#'] : levels).join('/') || '+')
const data = fc.uint8Array({ maxLength: 40 })
const qos = fc.constantFrom(0, 1, 2)
const version = fc.constantFrom<ProtocolVersion>(3, 4, 5)

const USER = { userProperties: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 }) }
const REASON = { reasonString: text, ...USER }
const some = (model: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<object> => fc.record(model, { requiredKeys: [] })

const PUBLISHED = {
  payloadFormatIndicator: fc.constantFrom(0, 1),
  messageExpiryInterval: u32,
  contentType: text,
  responseTopic: topic,
  correlationData: data,
  ...USER,
}
/** Data is for a method only. */
const authentication = (model: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<object> =>
  fc.oneof(
    some(model),
    fc.record({ authenticationMethod: text, authenticationData: data, ...model }, { requiredKeys: ['authenticationMethod'] }),
  )
const LIMITS = { receiveMaximum: id, topicAliasMaximum: u16, maximumPacketSize: fc.integer({ min: 1, max: 0xffffffff }) }
const identifiers = (maxLength: number): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength })

/** Reason codes by packet type, success and failure [5.0 section 2.4]. */
const ACK_CODES = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
const RELEASE_CODES = [0, 0x92]
const CLIENT_DISCONNECT_CODES = [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x99]
const SERVER_DISCONNECT_CODES = [
  0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x97, 0x9c, 0x9d, 0xa0,
]
const CONNACK_CODES = [
  0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
]
/** Those that have a 3.x return code of their own [3.1.1 section 3.2.2.3]. */
const RETURN_CODES = [0, 0x84, 0x85, 0x86, 0x87, 0x88]

/** Packets that this sender may send in this version, with properties only in 5.0. */
export function packets(v: ProtocolVersion, sender: Sender): fc.Arbitrary<Packet> {
  const properties = (model: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<object> =>
    v === 5 ? some(model) : fc.constant({})
  const of = (type: number, fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Packet> =>
    fc.record({ type: fc.constant(type), ...fields }) as fc.Arbitrary<unknown> as fc.Arbitrary<Packet>
  const five = <T>(values: T[], otherwise: T): fc.Arbitrary<T> => (v === 5 ? fc.constantFrom(...values) : fc.constant(otherwise))
  const will = fc.record({
    topic,
    payload: data,
    qos,
    retain: fc.boolean(),
    properties: properties({ willDelayInterval: u32, ...PUBLISHED }),
  })
  const connect = of(1, {
    protocolVersion: fc.constant(v),
    bridge: fc.constant(false),
    clientId: text,
    cleanStart: fc.boolean(),
    keepAlive: u16,
    will: fc.option(will, { nil: undefined }),
    username: fc.option(text, { nil: undefined }),
    password: fc.option(data, { nil: undefined }),
    properties:
      v === 5
        ? authentication({
            sessionExpiryInterval: u32,
            requestProblemInformation: fc.boolean(),
            requestResponseInformation: fc.boolean(),
            ...LIMITS,
            ...USER,
          })
        : fc.constant({}),
    // Before 5.0 no password comes without a user name [3.1.1 MQTT-3.1.2-22], and only a clean session does without a client id [3.1.1 MQTT-3.1.3-8].
  }).map((packet) => {
    const { username, password, clientId, cleanStart, ...others } = packet as Connect
    const named = v === 5 || username !== undefined
    return {
      ...others,
      username,
      clientId,
      password: named ? password : undefined,
      cleanStart: cleanStart || (v < 5 && clientId === ''),
    } as Packet
  })
  const publish = fc
    .tuple(
      topic,
      data,
      qos,
      fc.boolean(),
      fc.boolean(),
      id,
      properties({ ...PUBLISHED, topicAlias: id, ...(sender === 'server' && { subscriptionIdentifiers: identifiers(3) }) }),
    )
    .map(([name, payload, level, retain, dup, packetId, props]) => {
      const packet = Publish.of(name, payload, level as 0 | 1 | 2, retain, level === 0 ? 0 : packetId, props)
      packet.dup = dup && level > 0
      return packet
    })
  const responses = [4, 5, 6, 7].map((type) =>
    of(type, { packetId: id, reasonCode: five(type < 6 ? ACK_CODES : RELEASE_CODES, 0), properties: properties(REASON) }),
  )
  const disconnect = of(14, {
    reasonCode: five(sender === 'client' ? CLIENT_DISCONNECT_CODES : SERVER_DISCONNECT_CODES, 0),
    properties: properties({ ...(sender === 'client' ? { sessionExpiryInterval: u32 } : { serverReference: text }), ...REASON }),
  })
  const auth = of(15, {
    reasonCode: fc.constantFrom(0, 0x18, ...(sender === 'client' ? [0x19] : [])),
    properties: authentication(REASON),
  })
  const common = [publish, ...responses, disconnect, ...(v === 5 ? [auth] : [])]
  const request = fc.record({
    filter,
    qos,
    noLocal: five([true, false], false),
    retainAsPublished: five([true, false], false),
    retainHandling: five([0, 1, 2], 0),
  })
  if (sender === 'client') {
    return fc.oneof(
      ...common,
      connect,
      of(8, {
        packetId: id,
        subscriptions: fc.array(request, { minLength: 1, maxLength: 4 }),
        properties: properties({ subscriptionIdentifiers: identifiers(1), ...USER }),
      }),
      of(10, { packetId: id, filters: fc.array(filter, { minLength: 1, maxLength: 4 }), properties: properties(USER) }),
      of(12, {}),
    )
  }
  const codes = (values: number[]): fc.Arbitrary<number[]> => fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 4 })
  return fc.oneof(
    ...common,
    of(2, {
      sessionPresent: v === 3 ? fc.constant(false) : fc.boolean(),
      reasonCode: fc.constantFrom(...(v === 5 ? CONNACK_CODES : RETURN_CODES)),
      properties:
        v === 5
          ? authentication({
              sessionExpiryInterval: u32,
              serverKeepAlive: u16,
              assignedClientIdentifier: text,
              maximumQoS: fc.constantFrom(0, 1),
              retainAvailable: fc.boolean(),
              wildcardSubscriptionAvailable: fc.boolean(),
              subscriptionIdentifiersAvailable: fc.boolean(),
              sharedSubscriptionAvailable: fc.boolean(),
              responseInformation: text,
              serverReference: text,
              ...LIMITS,
              ...REASON,
            })
          : fc.constant({}),
    }),
    of(9, {
      packetId: id,
      reasonCodes: codes(v === 5 ? [0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2] : [0, 1, 2, 0x80]),
      properties: properties(REASON),
    }),
    of(11, {
      packetId: id,
      reasonCodes: v === 5 ? codes([0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]) : fc.constant([]),
      properties: properties(REASON),
    }),
    of(13, {}),
  )
}

/** Any packet, with its version and its sender. */
export const sent = fc
  .tuple(version, fc.constantFrom<Sender>('client', 'server'))
  .chain(([v, sender]) => packets(v, sender).map((packet) => ({ v, sender, packet })))

export function encoded(packet: Packet, v: ProtocolVersion): Uint8Array {
  const writer = new ByteWriter(16)
  encodePacket(writer, packet, v)
  return writer.toBytes()
}

/** Everything that a stream decodes to, and what ended it. */
export function decodeAll(
  chunks: readonly Uint8Array[],
  sender: Sender,
  v: ProtocolVersion,
): { packets: Packet[]; error: string | undefined } {
  const framer = new Framer(100_000)
  const decoder = new PacketDecoder(sender, v)
  const found: Packet[] = []
  for (const chunk of chunks) {
    framer.push(chunk)
    while (framer.next()) {
      const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      if (packet === undefined) return { packets: found, error: decoder.error!.reason }
      found.push(packet)
    }
  }
  return { packets: found, error: framer.error?.reason }
}

/** What a packet says, whatever buffer its bytes are in. */
export function said(packet: Packet): unknown {
  if (!(packet instanceof Publish)) return packet
  const { type, topic, qos, retain, dup, packetId, properties, payload } = packet
  return { type, topic, qos, retain, dup, packetId, properties, payload: Uint8Array.from(payload) }
}
