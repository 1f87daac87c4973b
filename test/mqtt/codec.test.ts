import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import type { Packet } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../src/mqtt/properties.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { MALFORMED_CONNECTS, MQTT_MALFORMED, MQTT_VECTORS } from '../vectors/mqtt.ts'

const unhex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))

/** What a packet says, with its binary fields as hex, so that views and copies compare equal. */
function plain(packet: Packet | undefined): unknown {
  const seen = packet instanceof Publish ? pick(packet) : packet
  return JSON.parse(
    JSON.stringify(seen ?? null, (_key, value) =>
      isBytes(value) ? `0x${Buffer.from(value.data ?? value).toString('hex')}` : value,
    ),
  )
}
const pick = ({ type, topic, qos, retain, dup, packetId, properties, payload }: Publish): object => ({
  type,
  topic,
  qos,
  retain,
  dup,
  packetId,
  properties,
  payload,
})
const isBytes = (value: unknown): value is { data?: number[] } & Uint8Array =>
  value instanceof Uint8Array || (typeof value === 'object' && value !== null && (value as { type?: unknown }).type === 'Buffer')

function decode(
  bytes: Uint8Array,
  sender: 'client' | 'server',
  version: ProtocolVersion,
): { packet: Packet | undefined; decoder: PacketDecoder } {
  const framer = new Framer(1_000_000)
  framer.push(bytes)
  expect(framer.next()).toBe(true)
  expect([framer.start, framer.end]).toEqual([0, bytes.length])
  const decoder = new PacketDecoder(sender, version)
  return { packet: decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end), decoder }
}

describe.each(MQTT_VECTORS)('$title', ({ hex, packet, sender, version }) => {
  test('decodes', () => {
    const { packet: decoded, decoder } = decode(unhex(hex), sender, version)
    expect(decoder.error).toBeUndefined()
    expect(plain(decoded)).toEqual(plain(packet))
  })

  test('encodes', () => {
    const writer = new ByteWriter(1)
    encodePacket(writer, packet, version)
    expect(Buffer.from(writer.toBytes()).toString('hex')).toBe(hex.replaceAll(' ', ''))
  })

  test('is malformed when it is cut short, wherever', () => {
    const bytes = unhex(hex)
    const body = bytes.slice(2)
    for (let length = 0; length < body.length; length++) {
      const cut = Uint8Array.of(bytes[0]!, length, ...body.subarray(0, length))
      const { packet: decoded } = decode(cut, sender, version)
      // Payloads, lists and short forms may end anywhere; what decodes is of the same type.
      if (decoded !== undefined) expect(decoded.type).toBe(packet.type)
    }
  })
})

describe('what clients may not send', () => {
  for (const { title, hex, versions, reasonCode, rule } of MQTT_MALFORMED) {
    test.each(versions)(`${title} (version %i)`, (version) => {
      const { packet, decoder } = decode(unhex(hex), 'client', version)
      expect(packet).toBeUndefined()
      expect(decoder.error).toMatchObject({ kind: 'malformed', reasonCode, ...(rule !== undefined && { rule }) })
    })
  }

  for (const { title, hex, reasonCode, rule, answersAs } of MALFORMED_CONNECTS) {
    test(`CONNECT: ${title}`, () => {
      const { packet, decoder } = decode(unhex(hex), 'client', 4)
      expect(packet).toBeUndefined()
      expect(decoder.error).toMatchObject({ kind: 'malformed', reasonCode, ...(rule !== undefined && { rule }) })
      if (answersAs !== undefined) expect(decoder.version).toBe(answersAs)
    })
  }

  test('3.1 reserves no connect flag', () => {
    expect(decode(unhex('100f 0006 4d5149736470 03 03 003c 0001 63'), 'client', 4).packet).toMatchObject({ protocolVersion: 3 })
  })
})

test('3.1 disregards what is said of a will that is not there', () => {
  expect(decode(unhex('100f 0006 4d5149736470 03 3a 003c 0001 63'), 'client', 4).packet).toMatchObject({ will: undefined })
})

test.each(['8a06 0001 0001 61 00', '6a02 0001', 'aa05 0001 0001 61'])(
  '3.1 repeats what it sends with QoS 1: DUP of %s',
  (hex) => {
    expect(decode(unhex(hex), 'client', 3).packet).toMatchObject({ packetId: 1 })
    expect(decode(unhex(hex), 'client', 4).decoder.error).toMatchObject({ rule: 'MQTT-2.1.3-1' })
  },
)

test('MQTT-1.5.5-1: the length of CONNECT is minimal in 5.0, which only its body tells', () => {
  expect(decode(unhex('108e00 0004 4d515454 05 02 0000 00 0001 63'), 'client', 4).decoder.error).toMatchObject({
    rule: 'MQTT-1.5.5-1',
  })
  expect(decode(unhex('108d00 0004 4d515454 04 02 0000 0001 63'), 'client', 4).packet).toMatchObject({ clientId: 'c' })
})

describe('PUBLISH', () => {
  test('is read in place: the payload is a range of the chunk, and a repeated topic is the same string', () => {
    const chunk = unhex('3007 0003 612f62 6869 3007 0003 612f62 6869')
    const framer = new Framer(100)
    framer.push(chunk)
    const decoder = new PacketDecoder('client')
    const packets: Publish[] = []
    while (framer.next()) packets.push(decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end) as Publish)
    expect(
      packets.map(({ buffer, payloadStart, payloadEnd, frameStart }) => [buffer === chunk, payloadStart, payloadEnd, frameStart]),
    ).toEqual([
      [true, 7, 9, 0],
      [true, 16, 18, 9],
    ])
    expect(packets[1]!.topic).toBe(packets[0]!.topic)
  })

  test('own() leaves nothing in the chunk, correlation data included', () => {
    const chunk = Buffer.alloc(64 * 1024)
    const properties = { correlationData: chunk.subarray(100, 103) }
    const publish = new Publish('a', 1, false, false, 1, properties, chunk, 10, 1010, -1, 5)
    publish.own()
    expect(publish.buffer.buffer.byteLength).toBe(1000)
    expect(publish.properties.correlationData).toEqual(new Uint8Array(3))
    expect(publish.properties.correlationData!.buffer.byteLength).toBe(3)
  })

  test('own() takes the packet out of the chunk', () => {
    const { packet } = decode(unhex('3007 0003 612f62 6869'), 'client', 4)
    const publish = packet as Publish
    const { buffer } = publish
    publish.own()
    publish.own()
    expect(publish.buffer).not.toBe(buffer)
    expect(Buffer.from(publish.payload).toString()).toBe('hi')
  })

  test('own() changes nothing in the content, whether it is packed or not', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 400 }),
        fc.nat(9),
        fc.boolean(),
        fc.boolean(),
        (payload, before, hasFrame, hasAll) => {
          const chunk = Buffer.concat([Buffer.alloc(before + 5, 1), payload, Buffer.alloc(3, 2)])
          const start = before + 5
          const properties = hasAll ? NO_PROPERTIES : { contentType: 'text' }
          const frame = hasFrame ? before : -1
          const publish = new Publish('a', 1, false, false, 1, properties, chunk, start, start + payload.length, frame, 5)
          publish.own()
          chunk.fill(3)
          const copy = publish.copy()
          expect(publish.packed === undefined).toBe(payload.length + (hasFrame && hasAll ? 5 : 0) > 256)
          expect(Buffer.from(publish.payload)).toEqual(Buffer.from(payload))
          expect(Buffer.from(copy.payload)).toEqual(Buffer.from(payload))
          expect(copy.payloadLength).toBe(payload.length)
        },
      ),
    )
  })

  test('payloads are compared, packed or not', () => {
    const size = fc.constantFrom(1, 20, 256, 257, 400)
    fc.assert(
      fc.property(size, fc.nat(400), fc.boolean(), (length, changed, isCopy) => {
        const [one, other] = [isCopy, true].map((isOwned) => {
          const message = Publish.of('a', new Uint8Array(length).fill(200))
          if (!isOwned && changed < length) message.buffer[changed] = 1
          message.own()
          return message
        })
        expect(one!.hasContentOf(other!)).toBe(isCopy || changed >= length)
      }),
    )
  })
})
