import { describe, expect, test } from 'vitest'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { encodedMessage, messageLength } from '../../src/mqttsn/encode.ts'
import { unwrap, wrap } from '../../src/mqttsn/forwarder.ts'
import { MsgType, type SnPublish } from '../../src/mqttsn/messages.ts'
import { SN_MALFORMED, SN_VECTORS } from '../vectors/mqttsn.ts'

const unhex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('decodeMessage', () => {
  for (const { title, hex, message } of SN_VECTORS) test(title, () => expect(decodeMessage(unhex(hex))).toEqual(message))

  for (const { title, hex, reason } of SN_MALFORMED) {
    test(`${title} is malformed`, () => {
      const decoded = decodeMessage(unhex(hex))
      expect(decoded).toMatchObject({
        kind: 'malformed',
        reason: expect.stringMatching(reason),
        rule: expect.stringMatching(/^1\.2 section/),
      })
    })
  }

  test('reads a range of a larger buffer, and nothing outside it', () => {
    const bytes = unhex('ffff 0218 ffff')
    expect(decodeMessage(bytes, 2, 4)).toEqual({ type: MsgType.DISCONNECT, duration: undefined })
    expect(isMalformed(decodeMessage(bytes, 2, 3))).toBe(true)
  })

  test('data is a view, not a copy', () => {
    const bytes = unhex('09 0c 00 0401 0000 6869')
    expect((decodeMessage(bytes) as SnPublish).data.buffer).toBe(bytes.buffer)
  })
})

describe('encodeMessage', () => {
  for (const { title, hex: wanted, message, decodeOnly } of SN_VECTORS) {
    if (decodeOnly) continue
    test(title, () => {
      expect(hex(encodedMessage(message))).toBe(wanted.replaceAll(' ', ''))
      expect(messageLength(message)).toBe(unhex(wanted).length)
    })
  }

  test('5.2.1 both forms of Length at their border, and the longest message (complaint 25)', () => {
    for (const total of [253, 254, 255, 258, 259, 260, 65_535]) {
      const header = total < 256 ? 7 : 9
      const message: SnPublish = {
        type: MsgType.PUBLISH,
        dup: false,
        qos: 0,
        retain: false,
        topicIdType: 'normal',
        topicId: 0x401,
        msgId: 0,
        data: new Uint8Array(total - header).fill(7),
      }
      const encoded = encodedMessage(message)
      expect(encoded.length).toBe(total)
      expect(encoded[0]).toBe(total < 256 ? total : 1)
      expect(decodeMessage(encoded)).toEqual(message)
    }
  })
})

describe('forwarder encapsulation [1.2 section 5.5]', () => {
  test('wraps and unwraps; Length counts up to the node id only', () => {
    const wrapped = wrap(Uint8Array.of(0xaa, 0xbb), unhex('0218'), 1)
    expect(hex(wrapped)).toBe('05fe01aabb0218')
    expect(unwrap(wrapped)).toEqual({ nodeId: Uint8Array.of(0xaa, 0xbb), radius: 1, start: 5, end: 7 })
  })

  test('A26: node ids of 1 to 252 octets', () => {
    for (const size of [1, 251, 252]) {
      const unwrapped = unwrap(wrap(new Uint8Array(size).fill(3), unhex('0217')))
      expect(unwrapped).toMatchObject({ nodeId: new Uint8Array(size).fill(3) })
    }
  })

  test('what is not encapsulated is left alone', () => {
    expect(unwrap(unhex('0218'))).toBeUndefined()
    expect(unwrap(unhex(''))).toBeUndefined()
  })

  for (const [title, bytes] of [
    ['nothing inside', '04fe0001'],
    ['no node id', '03fe000217'],
    ['header beyond the datagram', '09fe0001'],
    ['nested', '04fe000104fe0001 0218'],
  ] as const) {
    test(`${title} is malformed`, () => expect(unwrap(unhex(bytes))).toMatchObject({ kind: 'malformed' }))
  }
})
