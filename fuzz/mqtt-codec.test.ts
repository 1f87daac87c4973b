import fc from 'fast-check'
import { generate, type Packet as OraclePacket, parser } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../src/base/bytes.ts'
import { MemoryStore } from '../src/base/store.ts'
import { Broker } from '../src/broker/broker.ts'
import { Connections } from '../src/mqtt/connections.ts'
import { PacketDecoder } from '../src/mqtt/decode.ts'
import { encodePacket } from '../src/mqtt/encode.ts'
import { Framer } from '../src/mqtt/framer.ts'
import type { Packet, ProtocolVersion } from '../src/mqtt/packets.ts'
import { Publish } from '../src/mqtt/publish.ts'
import { runs } from './runs.ts'

type Sender = 'client' | 'server'

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
const identifiers = (maxLength: number): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength })

/** Packets that this sender may send in this version, with properties only in 5.0. */
function packets(v: ProtocolVersion, sender: Sender): fc.Arbitrary<Packet> {
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
    password: fc.constant(undefined),
    properties: properties({
      sessionExpiryInterval: u32,
      receiveMaximum: id,
      topicAliasMaximum: u16,
      maximumPacketSize: id,
      requestProblemInformation: fc.boolean(),
      ...USER,
    }),
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
    of(type, { packetId: id, reasonCode: five(type < 6 ? [0, 0x10, 0x97] : [0, 0x92], 0), properties: properties(REASON) }),
  )
  const disconnect = of(14, {
    reasonCode: five([0, 4, 0x8b], 0),
    properties: properties({ sessionExpiryInterval: u32, ...REASON }),
  })
  const common = [publish, ...responses, disconnect]
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
      reasonCode: fc.constantFrom(0, 0x84, 0x85, 0x87),
      properties: properties({
        serverKeepAlive: u16,
        assignedClientIdentifier: text,
        maximumQoS: fc.constantFrom(0, 1),
        retainAvailable: fc.boolean(),
        ...REASON,
      }),
    }),
    of(9, { packetId: id, reasonCodes: codes(v === 5 ? [0, 1, 2, 0x8f] : [0, 1, 2, 0x80]), properties: properties(REASON) }),
    of(11, { packetId: id, reasonCodes: v === 5 ? codes([0, 0x11]) : fc.constant([]), properties: properties(REASON) }),
    of(13, {}),
  )
}

const sent = fc
  .tuple(version, fc.constantFrom<Sender>('client', 'server'))
  .chain(([v, sender]) => packets(v, sender).map((packet) => ({ v, sender, packet })))

function encoded(packet: Packet, v: ProtocolVersion): Uint8Array {
  const writer = new ByteWriter(16)
  encodePacket(writer, packet, v)
  return writer.toBytes()
}

/** Everything that a stream decodes to, and what ended it. */
function decodeAll(
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
function said(packet: Packet): unknown {
  if (!(packet instanceof Publish)) return packet
  const { type, topic, qos, retain, dup, packetId, properties, payload } = packet
  return { type, topic, qos, retain, dup, packetId, properties, payload: Uint8Array.from(payload) }
}

test('what is encoded decodes to itself, and encodes to the same bytes again', () => {
  fc.assert(
    fc.property(sent, ({ v, sender, packet }) => {
      const bytes = encoded(packet, v)
      const { packets: found, error } = decodeAll([bytes], sender, v)
      expect(error).toBeUndefined()
      expect(found.map(said)).toEqual([said(packet)])
      expect(encoded(found[0]!, v)).toEqual(bytes)
    }),
    runs(2000),
  )
})

/** A second one is malformed, whatever it says. */
const withOneConnect = (list: Packet[]): Packet[] => {
  const first = list.find(({ type }) => type === 1)
  return list.filter((packet) => packet.type !== 1 || packet === first)
}

test('any chunking of a stream gives the same packets', () => {
  const stream = fc
    .tuple(version, fc.constantFrom<Sender>('client', 'server'))
    .chain(([v, sender]) =>
      fc.tuple(
        fc.constant(v),
        fc.constant(sender),
        fc.array(packets(v, sender), { maxLength: 6 }).map(withOneConnect),
        fc.array(fc.nat(), { maxLength: 8 }),
      ),
    )
  fc.assert(
    fc.property(stream, ([v, sender, list, cuts]) => {
      const bytes = Buffer.concat(list.map((packet) => encoded(packet, v)))
      const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
      const chunks = ends.map((end, i) => Uint8Array.from(bytes.subarray(ends[i - 1] ?? 0, end)))
      expect(decodeAll(chunks, sender, v).packets.map(said)).toEqual(list.map(said))
    }),
    runs(500),
  )
})

test('any bytes are packets or malformed, never an exception, and never more is kept than allowed', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }),
      version,
      fc.constantFrom<Sender>('client', 'server'),
      (chunks, v, sender) => {
        decodeAll(chunks, sender, v)
        const framer = new Framer(20)
        for (const chunk of chunks) {
          framer.push(chunk)
          while (framer.next());
          expect(framer.buffered).toBeLessThanOrEqual(20)
        }
      },
    ),
    runs(3000),
  )
})

test('every truncation and every flipped bit gives packets or malformed', () => {
  fc.assert(
    fc.property(sent, fc.nat(), fc.nat(), ({ v, sender, packet }, cut, flip) => {
      const bytes = encoded(packet, v)
      expect(decodeAll([bytes.slice(0, cut % bytes.length)], sender, v).packets).toEqual([])
      bytes[flip % bytes.length]! ^= 1 << (flip % 8)
      decodeAll([bytes], sender, v)
    }),
    runs(2000),
  )
})

test('a broker behind its connections survives any bytes, and forgets who sent them', () => {
  const connectFirst = encoded(
    {
      type: 1,
      protocolVersion: 5,
      bridge: false,
      clientId: 'f',
      cleanStart: true,
      keepAlive: 0,
      will: undefined,
      username: undefined,
      password: undefined,
      properties: {},
    },
    5,
  )
  const step = fc.oneof(
    packets(5, 'client').map((packet) => encoded(packet, 5)),
    packets(4, 'client').map((packet) => encoded(packet, 4)),
    fc.uint8Array({ maxLength: 30 }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), fc.boolean(), (steps, connected) => {
      const broker = new Broker({ store: new MemoryStore(), clock: { epoch: 0 }, notice: () => {}, random: () => 0.5 })
      const connections = new Connections(broker, {}, () => {})
      connections.open(0, 1, { peer: 'fuzz', listener: 'mqtt' })
      for (const chunk of connected ? [connectFirst, ...steps] : steps) {
        if (chunk.length > 0) connections.chunk(0, 1, chunk)
        for (let link = broker.nextReadyLink(); link !== undefined; link = broker.nextReadyLink()) connections.linkReady(0, link)
        while (connections.poll() !== undefined);
      }
      connections.closed(0, 1, 'end')
      for (let link = broker.nextReadyLink(); link !== undefined; link = broker.nextReadyLink()) connections.linkReady(0, link)
      expect(connections.size).toBe(0)
      expect(broker.linkCount).toBe(0)
    }),
    runs(500),
  )
})

describe('beside mqtt-packet, an independent codec', () => {
  test('it reads what we write', () => {
    fc.assert(
      fc.property(sent, ({ v, packet }) => {
        // Its parser reads an acknowledgement of 5.0 with a reason code and a property length, but not the form without the length.
        const bytes = Buffer.from(encoded(packet, v))
        const found: OraclePacket[] = []
        const oracle = parser({ protocolVersion: v })
        oracle.on('packet', (each: OraclePacket) => found.push(each))
        oracle.on('error', (error: Error) => {
          throw error
        })
        oracle.parse(bytes)
        expect(found).toHaveLength(1)
        if (packet instanceof Publish) {
          expect(found[0]).toMatchObject({
            cmd: 'publish',
            topic: packet.topic,
            qos: packet.qos,
            retain: packet.retain,
            dup: packet.dup,
          })
          expect(Uint8Array.from((found[0] as { payload: Buffer }).payload)).toEqual(Uint8Array.from(packet.payload))
        }
      }),
      runs(1000),
    )
  })

  test('we read what it writes', () => {
    const oracle = fc.oneof(
      fc.record({
        cmd: fc.constant('publish'),
        topic,
        payload: data.map((bytes) => Buffer.from(bytes)),
        qos,
        messageId: id,
        retain: fc.boolean(),
        dup: fc.constant(false),
      }),
      fc.record({
        cmd: fc.constant('subscribe'),
        messageId: id,
        subscriptions: fc.array(fc.record({ topic: filter, qos }), { minLength: 1, maxLength: 3 }),
      }),
      fc.record({
        cmd: fc.constant('unsubscribe'),
        messageId: id,
        unsubscriptions: fc.array(filter, { minLength: 1, maxLength: 3 }),
      }),
      fc.record({ cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'), messageId: id }),
      fc.record({ cmd: fc.constantFrom('pingreq', 'disconnect') }),
    )
    fc.assert(
      fc.property(oracle, fc.constantFrom<ProtocolVersion>(4, 5), (packet, v) => {
        const bytes = Uint8Array.from(generate(packet as unknown as OraclePacket, { protocolVersion: v }))
        const { packets: found, error } = decodeAll([bytes], 'client', v)
        expect(error).toBeUndefined()
        expect(found).toHaveLength(1)
      }),
      runs(1000),
    )
  })
})
