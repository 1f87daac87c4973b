import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PacketDecoder } from '../src/mqtt/decode.ts'
import { Framer } from '../src/mqtt/framer.ts'
import type { Packet } from '../src/mqtt/packets.ts'
import { PacketType } from '../src/mqtt/packets.ts'
import type { Properties } from '../src/mqtt/properties.ts'
import type { ProtocolVersion } from '../src/mqtt/publish.ts'
import { decodeMessage } from '../src/mqttsn/decode.ts'
import { encodedMessage } from '../src/mqttsn/encode.ts'
import type { StreamEvent, TraceEvent } from '../src/trace/event.ts'
import { PcapWriter } from '../src/trace/pcap.ts'
import { redacted } from '../src/trace/redact.ts'
import { message } from './messages.ts'
import { decodeAll, encoded, type Sender, said, sent } from './packets.ts'
import { runs } from './runs.ts'

/** The event of a packet that stands in the middle of a buffer, as it does in a chunk. */
function eventOf(packet: Packet, v: ProtocolVersion, sender: Sender): StreamEvent {
  const bytes = Buffer.concat([Buffer.from([0xc0, 0]), encoded(packet, v), Buffer.from([0xc0, 0])]).subarray(2)
  const framer = new Framer(100_000)
  const decoder = new PacketDecoder(sender, v)
  framer.push(bytes)
  framer.next()
  const { start, bodyStart, end } = framer
  const decoded = decoder.decode(framer.bytes, start, bodyStart, end)!
  const way = sender === 'client' ? '->' : '<-'
  const seen = { way, client: undefined, topic: undefined, connection: 1, peer: '127.0.0.1:5' } as const
  return { protocol: 'mqtt', ...seen, packet: decoded, bytes: framer.bytes.subarray(start, end) }
}

const zeros = (bytes: Uint8Array | undefined) => bytes && new Uint8Array(bytes.length)

const zeroText = (text: string): string => '0'.repeat(Buffer.byteLength(text))

/** The properties of a message, without what its publisher says of the payload. */
function withoutWords(properties: Properties): Properties {
  const { contentType, responseTopic, correlationData, userProperties } = properties
  return {
    ...properties,
    ...(contentType !== undefined && { contentType: zeroText(contentType) }),
    ...(responseTopic !== undefined && { responseTopic: zeroText(responseTopic) }),
    ...(correlationData !== undefined && { correlationData: zeros(correlationData)! }),
    ...(userProperties !== undefined && {
      userProperties: userProperties.map(([key, value]) => [zeroText(key), zeroText(value)] as const),
    }),
  }
}

/** What a packet says without its secrets. */
function withoutSecrets(packet: Packet, payloads: boolean): unknown {
  const plain = structuredClone(said(packet)) as Record<string, unknown> & { properties?: Record<string, unknown> }
  const { authenticationData } = plain.properties ?? {}
  if (authenticationData !== undefined) plain.properties!.authenticationData = zeros(authenticationData as Uint8Array)
  if (packet.type === PacketType.CONNECT) {
    plain.password = zeros(packet.password)
    if (packet.will !== undefined && !payloads) {
      const { will } = packet
      plain.will = { ...will, payload: zeros(will.payload), properties: withoutWords(will.properties) }
    }
  }
  if (packet.type === PacketType.PUBLISH && !payloads) {
    plain.payload = zeros(packet.payload)
    plain.properties = withoutWords(packet.properties) as Record<string, unknown>
  }
  return plain
}

test('zeros stand for what is secret, and everything else stays', () => {
  fc.assert(
    fc.property(sent, fc.boolean(), ({ v, sender, packet }, payloads) => {
      const event = eventOf(packet, v, sender)
      const [decoded] = decodeAll([redacted(event, payloads)], sender, v).packets
      expect(JSON.stringify(said(decoded!))).toEqual(JSON.stringify(withoutSecrets(event.packet as Packet, payloads)))
    }),
    runs(2000),
  )
})

test('of a packet that cannot be read, nothing stays that might be secret', () => {
  const bytes = Buffer.concat([Buffer.from([0x10, 12]), Buffer.from('password')])
  const event: TraceEvent = {
    ...{ protocol: 'mqtt', way: '->', client: undefined, topic: undefined, connection: 1, peer: '127.0.0.1:5' },
    packet: { kind: 'malformed', reason: '', reasonCode: 0x81 },
    bytes,
  }
  expect(redacted(event, true)).toEqual(Uint8Array.of(0x10, 12, 0, 0, 0, 0, 0, 0, 0, 0))
})

test('any datagram from anywhere has a record', () => {
  const route = fc.oneof(fc.string(), fc.constantFrom('127.0.0.1:1', '[::1]:2@field', '/dev/ttyS0@line', '[fe80::1%eth0]:7', '*'))
  fc.assert(
    fc.property(fc.oneof(message.map(encodedMessage), fc.uint8Array({ maxLength: 9 })), route, (bytes, carrier) => {
      const packet = decodeMessage(bytes)
      const event: TraceEvent = {
        ...{ protocol: 'mqtt-sn', way: '->', client: undefined, topic: undefined, peer: carrier, carrier, packet, bytes },
      }
      const [record] = new PcapWriter(false).records(1, event)
      expect(Buffer.from(record!).readUInt32LE(8)).toBe(record!.length - 16)
    }),
    runs(1000),
  )
})
