import { describe, expect, test } from 'vitest'
import { LengthFraming, SlipFraming } from '../../../src/gateway/ports/framing.ts'

const unhex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('SLIP with CRC-16', () => {
  test('the CRC is that of RFC 1662: 906e for "123456789", low octet first', () => {
    expect(hex(new SlipFraming(100).encode(Buffer.from('123456789')))).toBe('c0 313233343536373839 6e90 c0'.replaceAll(' ', ''))
  })

  test('RFC 1055: END and ESC within a frame', () => {
    const line = hex(new SlipFraming(100).encode(unhex('03c0db')))
    expect(line).toMatch(/^c003dbdcdbdd.{4}c0$/)
    expect(new SlipFraming(100).decode(0, unhex(line))).toEqual([unhex('03c0db')])
  })

  test.each([
    ['noise before the first END', '1122', ['wrong CRC|no frame']],
    ['ENDs alone', 'c0c0c0', []],
    ['ESC before something else', 'c0 db01 0203 c0', ['ESC before 0x1']],
    ['ESC before END', 'c0 010203 db c0', ['ESC before END']],
    ['too long', `c0 ${'01'.repeat(20)} c0`, ['more than 10 octets in a frame']],
    ['nothing but a CRC', 'c0 0000 c0', ['2 octets are no frame']],
  ])('%s', (_, line, defects) => {
    const framing = new SlipFraming(10)
    const whole = framing.encode(unhex('0218'))
    const decoded = [...framing.decode(0, unhex(line)), ...framing.decode(0, whole)]
    expect(decoded).toEqual([
      ...defects.map((defect) => ({
        kind: 'malformed',
        reason: expect.stringMatching(defect),
        rule: 'framing',
        reasonCode: 0x81,
      })),
      unhex('0218'),
    ])
  })
})

describe("MQTT-SN's own Length", () => {
  const decode = (...chunks: string[]): string[] => {
    const framing = new LengthFraming(300)
    return chunks.flatMap((chunk) => framing.decode(0, unhex(chunk)).map((each) => ('kind' in each ? each.reason : hex(each))))
  }

  test('both forms, several at once, in pieces', () => {
    expect(decode('0218 0216', '03', '01', '00', '01 0006 0d 0000')).toEqual(['0218', '0216', '030100', '0100060d0000'])
  })

  test('a forwarder envelope goes with its message', () => {
    expect(decode('05fe01aabb', '0218', '04fe0001 01 0006 0d', '0000')).toEqual(['05fe01aabb0218', '04fe00010100060d0000'])
  })

  test.each([
    ['Length 0', '00 01 02'],
    ['Length 1 to 3 in the long form', '01 0003 0c'],
    ['nested envelopes', '04fe0001 04fe0001 0218'],
  ])('%s costs what has come with it', (_, line) => expect(decode(line, '0218')).toEqual(['no Length', '0218']))

  test('more than may be', () => expect(decode('01 ffff 0c')).toEqual(['more than 300 octets in a frame']))
})
