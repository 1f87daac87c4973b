import { expect, test } from 'vitest'
import { describeDatagram, returnCodeName, typeName } from '../../src/mqttsn/describe.ts'
import { SN_VECTORS } from '../vectors/mqttsn.ts'

const unhex = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(' ', ''), 'hex')

test.each([
  ['0b 0c 00 0401 0000 32312e35', 'PUBLISH topic=0x0401 qos=0 msgid=0 4 bytes "21.5"'],
  ['09 0c f2 6162 0001 00ff', 'PUBLISH topic=short:"ab" qos=-1 dup retain msgid=1 2 bytes 0x00ff'],
  ['07 12 21 0009 0001', 'SUBSCRIBE topic=predefined:1 qos=1 msgid=9'],
  ['08 14 00 0009 612f62', 'UNSUBSCRIBE topic="a/b" msgid=9'],
  ['08 04 0c 01 003c 7331', 'CONNECT client="s1" will clean protocol=1 duration=60'],
  ['03 05 03', 'CONNACK rejected: not supported'],
  ['07 0d 0401 0007 00', 'PUBACK topic=0x0401 msgid=7 accepted'],
  ['02 07', 'WILLTOPIC (no will)'],
  ['04 16 7331', 'PINGREQ client="s1"'],
  ['02 16', 'PINGREQ'],
  ['04 18 0258', 'DISCONNECT duration=600'],
  ['05 fe 01 0a0b 03 05 00', 'FORWARDED node=0a0b radius=1 CONNACK accepted'],
  ['04 fe 01 0a 03 05', 'FORWARDED node=0a radius=1 malformed: Length 3 in a datagram of 2 bytes (1.2 section 5.2.1)'],
  ['01 00', 'malformed: Length runs beyond the end (1.2 section 5.2.1)'],
  ['0a 0a 0000 0001 1b5b316d', 'REGISTER topic=0x0000 name="\\u001b[1m" msgid=1'],
  ['09 16 e280ae c29b 7f 61', 'PINGREQ client="\\u202e\\u009b\\u007fa"'],
  ['09 0c f2 9b7f 0001 00ff', 'PUBLISH topic=short:"\\u009b\\u007f" qos=-1 dup retain msgid=1 2 bytes 0x00ff'],
])('%s: %s', (hex, line) => expect(describeDatagram(unhex(hex), { payloads: true })).toBe(line))

test('every message is one line that begins with its name', () => {
  for (const { hex, message } of SN_VECTORS)
    expect(describeDatagram(unhex(hex))).toMatch(new RegExp(`^${typeName(message.type)}( [^\\n]+)?$`))
})

test('a long payload is shown by its beginning', () => {
  const long = Buffer.concat([unhex('01 0409 0c 00 0401 0000'), Buffer.alloc(1024, 0x61)])
  expect(describeDatagram(long, { payloads: true })).toBe(`PUBLISH topic=0x0401 qos=0 msgid=0 1024 bytes "${'a'.repeat(64)}"...`)
  expect(describeDatagram(long)).toBe('PUBLISH topic=0x0401 qos=0 msgid=0 1024 bytes')
  expect(returnCodeName(4)).toBe('reserved return code 4')
})

test('a topic id is shown with its name', () => {
  const shown = { topic: 'site/temp' }
  expect(describeDatagram(unhex('0b 0c 20 0003 000c 32312e35'), shown)).toBe(
    'PUBLISH topic=0x0003 (site/temp) qos=1 msgid=12 4 bytes',
  )
  expect(describeDatagram(unhex('07 0d 0401 0007 00'), { topic: 'a b' })).toBe('PUBACK topic=0x0401 ("a b") msgid=7 accepted')
})
