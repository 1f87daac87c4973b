import fc from 'fast-check'
import { expect, test } from 'vitest'
import { describePacket } from '../src/mqtt/describe.ts'
import { type Packet, PacketType } from '../src/mqtt/packets.ts'
import { describeDatagram } from '../src/mqttsn/describe.ts'
import { encodedMessage } from '../src/mqttsn/encode.ts'
import { wrap } from '../src/mqttsn/forwarder.ts'
import { message } from './messages.ts'
import { decodeAll, encoded, sent } from './packets.ts'
import { runs } from './runs.ts'

const SECRET = 'xX-sEcReT-Xx'
const HEX = Buffer.from(SECRET).toString('hex')

/** The packet with a password, or with authentication data, that can be recognised. */
function withSecret(packet: Packet): Packet {
  const secret = Buffer.from(SECRET)
  if (packet.type === PacketType.CONNECT)
    return { ...packet, username: packet.username ?? 'u', password: secret, properties: marked(packet.properties, secret) }
  return packet.type === PacketType.AUTH || packet.type === PacketType.CONNACK
    ? { ...packet, properties: marked(packet.properties, secret) }
    : packet
}

const marked = (properties: object, authenticationData: Uint8Array): object =>
  'authenticationMethod' in properties ? { ...properties, authenticationData } : properties

const hasSecret = (text: string): boolean => text.includes(SECRET) || text.toLowerCase().includes(HEX)
/** What a terminal would obey, and what would end the line. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

test('a packet of MQTT is one line, and says no password', () => {
  fc.assert(
    fc.property(sent, fc.boolean(), ({ v, sender, packet }, payloads) => {
      const [decoded] = decodeAll([encoded(withSecret(packet), v)], sender, v).packets
      const line = describePacket(decoded!, { payloads, topic: 'a/b' })
      expect(line).toMatch(/^[A-Z]+( |$)/)
      expect(line).not.toMatch(UNSAFE)
      expect(hasSecret(line)).toBe(false)
      expect(line.length).toBeLessThan(20_000)
    }),
    runs(2000),
  )
})

test('payloads are not shown unless asked for', () => {
  const secret = Buffer.from(SECRET)
  fc.assert(
    fc.property(sent, ({ packet }) => {
      const shown = { ...packet } as Record<string, unknown>
      if (packet.type === PacketType.CONNECT && packet.will !== undefined)
        shown.will = { ...packet.will, payload: secret, properties: { ...packet.will.properties, correlationData: secret } }
      if ('properties' in packet) shown.properties = { ...packet.properties, userProperties: [[SECRET, SECRET]] }
      expect(hasSecret(describePacket(packet.type === PacketType.PUBLISH ? packet : (shown as unknown as Packet)))).toBe(false)
    }),
    runs(1000),
  )
})

test('any datagram is one line', () => {
  const octets = fc.oneof(
    message.map(encodedMessage),
    message.map((one) => wrap(Uint8Array.of(1, 2), encodedMessage(one), 1)),
    fc.uint8Array({ maxLength: 40 }),
  )
  fc.assert(
    fc.property(octets, fc.boolean(), (bytes, payloads) => {
      const line = describeDatagram(bytes, { payloads, topic: 'a\nb' })
      expect(line).not.toMatch(UNSAFE)
      expect(line.length).toBeLessThan(2000)
    }),
    runs(2000),
  )
})
