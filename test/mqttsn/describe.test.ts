import { expect, test } from 'vitest'
import { describeDatagram, returnCodeName, typeName } from '../../src/mqttsn/describe.ts'
import { SN_VECTORS } from '../vectors/mqttsn.ts'

const unhex = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(' ', ''), 'hex')

test.each([
  ['0b 0c 00 0401 0000 32312e35', 'PUBLISH qos=0 topic=0x0401 msgid=0 data="21.5" (4 octets)'],
  ['09 0c f2 6162 0001 00ff', 'PUBLISH qos=-1 dup retain topic=short:"ab" msgid=1 data=00ff (2 octets)'],
  ['07 12 21 0009 0001', 'SUBSCRIBE qos=1 msgid=9 topic=predefined:1'],
  ['08 14 00 0009 612f62', 'UNSUBSCRIBE msgid=9 topic="a/b"'],
  ['08 04 0c 01 003c 7331', 'CONNECT will clean protocol=1 duration=60 client="s1"'],
  ['03 05 03', 'CONNACK rejected: not supported'],
  ['07 0d 0401 0007 00', 'PUBACK topic=0x0401 msgid=7 accepted'],
  ['02 07', 'WILLTOPIC (no will)'],
  ['04 16 7331', 'PINGREQ client="s1"'],
  ['02 16', 'PINGREQ'],
  ['04 18 0258', 'DISCONNECT duration=600'],
  ['05 fe 01 0a0b 03 05 00', 'FORWARDED node=0a0b radius=1 CONNACK accepted'],
  ['04 fe 01 0a 03 05', 'FORWARDED node=0a radius=1 malformed: Length 3 in a datagram of 2 bytes (1.2 section 5.2.1)'],
  ['01 00', 'malformed: Length runs beyond the end (1.2 section 5.2.1)'],
  ['0a 0a 0000 0001 1b5b316d', 'REGISTER topic=0x0000 msgid=1 name="\\u001b[1m"'],
  ['09 16 e280ae c29b 7f 61', 'PINGREQ client="\\u202e\\u009b\\u007fa"'],
  ['09 0c f2 9b7f 0001 00ff', 'PUBLISH qos=-1 dup retain topic=short:"\\u009b\\u007f" msgid=1 data=00ff (2 octets)'],
])('%s: %s', (hex, line) => expect(describeDatagram(unhex(hex))).toBe(line))

test('every message is one line that begins with its name', () => {
  for (const { hex, message } of SN_VECTORS)
    expect(describeDatagram(unhex(hex))).toMatch(new RegExp(`^${typeName(message.type)}( [^\\n]+)?$`))
})

test('a long payload is shown by its beginning', () => {
  const long = Buffer.concat([unhex('01 0409 0c 00 0401 0000'), Buffer.alloc(1024, 0x61)])
  expect(describeDatagram(long)).toBe(`PUBLISH qos=0 topic=0x0401 msgid=0 data="${'a'.repeat(64)}"... (1024 octets)`)
  expect(returnCodeName(4)).toBe('reserved return code 4')
})
