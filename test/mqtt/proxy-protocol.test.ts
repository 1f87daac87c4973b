import { describe, expect, test } from 'vitest'
import { readProxyHeader } from '../../src/mqtt/proxy-protocol.ts'
import { SIGNATURE, tlv, v2, v4Addresses, v6Addresses } from '../vectors/proxy-protocol.ts'

const read = (bytes: Uint8Array | string) => readProxyHeader(Buffer.from(bytes as string, 'latin1'))
const readBytes = (...parts: Uint8Array[]) => readProxyHeader(Buffer.concat(parts))
const header = (size: number, peer: string | undefined, commonName?: string) => ({ kind: 'header', size, peer, commonName })

describe('version 1', () => {
  test.each([
    ['PROXY TCP4 192.0.2.1 198.51.100.9 51234 1883\r\n', '192.0.2.1:51234'],
    ['PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n', '255.255.255.255:65535'],
    ['PROXY TCP6 2001:db8::1 ::1 0 1883\r\n', '[2001:db8::1]:0'],
    ['PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1883\r\n', '192.0.2.1:1'],
    ['PROXY UNKNOWN\r\n', undefined],
    ['PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n', undefined],
  ])('%j', (line, peer) => {
    expect(read(line)).toEqual(header(line.length, peer))
    expect(read(`${line}\x10\x0c`)).toEqual(header(line.length, peer))
  })

  test.each([
    'PROXY TCP4 192.0.2.256 198.51.100.9 51234 1883\r\n',
    'PROXY TCP4 192.0.2.01 198.51.100.9 51234 1883\r\n',
    'PROXY TCP4 ::1 ::1 51234 1883\r\n',
    'PROXY TCP6 192.0.2.1 198.51.100.9 51234 1883\r\n',
    'PROXY TCP6 1::2::3 ::1 1 1\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.9 65536 1883\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.9 1 65536\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.9 01 1883\r\n',
    'PROXY TCP4  192.0.2.1 198.51.100.9 1 1883\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.9 1 1883 \r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.9 1\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.9 1 1883\n',
    'PROXY UNKNOWNS\r\n',
    'PROXY UDP4 192.0.2.1 198.51.100.9 1 1883\r\n',
    'proxy TCP4',
    '\x10\x0c\x00\x04MQTT',
  ])('refuses %j', (line) => expect(read(line)).toMatchObject({ kind: 'error' }))

  test('is over after 107 bytes', () => {
    expect(read(`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`)).toEqual(header(107, undefined))
    expect(read(`PROXY UNKNOWN ${'x'.repeat(92)}`)).toBeUndefined()
    expect(read(`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`)).toMatchObject({ reason: 'PROXY header without an end in 107 bytes' })
  })
})

describe('version 2', () => {
  const v4 = v4Addresses('192.0.2.1', 51234)

  test('the address of an IPv4 and of an IPv6 client', () => {
    expect(readBytes(v2(0x21, 0x11, v4), Buffer.from('rest'))).toEqual(header(28, '192.0.2.1:51234'))
    expect(readBytes(v2(0x21, 0x21, v6Addresses('20010db8000000000000000000000001', 7)))).toEqual(header(52, '[2001:db8::1]:7'))
  })

  test('a Unix socket, with and without a name', () => {
    const block = Buffer.alloc(216)
    expect(readBytes(v2(0x21, 0x31, block))).toEqual(header(232, undefined))
    block.write('/run/app.sock')
    expect(readBytes(v2(0x21, 0x31, block))).toEqual(header(232, 'unix:/run/app.sock'))
    block.fill('x', 0, 108)
    expect(readBytes(v2(0x21, 0x31, block))).toMatchObject({ peer: `unix:${'x'.repeat(108)}` })
  })

  test('LOCAL and unspecified families say nothing of the address, whatever follows', () => {
    expect(readBytes(v2(0x20, 0x11, v4))).toEqual(header(28, undefined))
    expect(readBytes(v2(0x20, 0x00, Buffer.alloc(0)))).toEqual(header(16, undefined))
    expect(readBytes(v2(0x21, 0x00, Buffer.from('whatever')))).toEqual(header(24, undefined))
  })

  const ssl = (client: number, verify: number, ...tlvs: Buffer[]) =>
    tlv(0x20, Buffer.concat([Buffer.of(client, 0, 0, 0, verify), ...tlvs]))
  const named = (client: number, verify: number) =>
    readBytes(v2(0x21, 0x11, v4, tlv(0x02, Buffer.from('host')), ssl(client, verify, tlv(0x22, Buffer.from('sensor ü')))))

  test('the common name of a certificate that the proxy has verified, and of no other', () => {
    expect(named(0x03, 0)).toMatchObject({ peer: '192.0.2.1:51234', commonName: 'sensor ü' })
    expect(named(0x05, 0)).toMatchObject({ commonName: 'sensor ü' })
    expect(named(0x03, 1)).toMatchObject({ kind: 'header', commonName: undefined })
    expect(named(0x01, 0)).toMatchObject({ kind: 'header', commonName: undefined })
    expect(readBytes(v2(0x21, 0x11, v4, ssl(0x03, 0)))).toMatchObject({ kind: 'header', commonName: undefined })
  })

  test.each<[string, Buffer]>([
    ['version 1 in a binary header', v2(0x11, 0x11, v4)],
    ['an unknown command', v2(0x22, 0x11, v4)],
    ['an unknown family', v2(0x21, 0x41, v4)],
    ['datagrams', v2(0x21, 0x12, v4)],
    ['no room for the addresses', v2(0x21, 0x11, v4.subarray(1))],
    ['a block above the bound', Buffer.concat([SIGNATURE, Buffer.of(0x21, 0x11, 0x10, 0x01)])],
    ['a TLV that reaches beyond the end', v2(0x21, 0x11, v4, Buffer.of(0x02, 0, 2, 0))],
    ['half a TLV', v2(0x21, 0x11, v4, Buffer.of(0x02, 0))],
    ['an SSL TLV that is too short', v2(0x21, 0x11, v4, tlv(0x20, Buffer.alloc(4)))],
    ['an SSL TLV with a malformed one in it', v2(0x21, 0x11, v4, ssl(3, 0, Buffer.of(0x22, 0, 9, 0)))],
    ['a common name that is no UTF-8', v2(0x21, 0x11, v4, ssl(3, 0, tlv(0x22, Buffer.of(0xff))))],
    ['a common name with U+0000', v2(0x21, 0x11, v4, ssl(3, 0, tlv(0x22, Buffer.from('root\0x'))))],
    ['another signature', Buffer.from('\r\n\r\nGET')],
  ])('refuses %s', (_, bytes) => expect(readBytes(bytes)).toMatchObject({ kind: 'error' }))

  test('the largest block there may be', () => {
    const largest = v2(0x21, 0x11, v4, tlv(0x04, Buffer.alloc(4096 - 12 - 3)))
    expect(readBytes(largest)).toEqual(header(16 + 4096, '192.0.2.1:51234'))
  })
})

test('an IPv4 address in IPv6 is the IPv4 address, so that bounds for one address count it once', () => {
  const mapped = v6Addresses('00000000000000000000ffffc0000201', 51_234)
  expect(readProxyHeader(v2(0x21, 0x21, mapped))).toMatchObject({ peer: '192.0.2.1:51234' })
  const line = Buffer.from('PROXY TCP6 ::ffff:192.0.2.1 ::1 51234 1883\r\n')
  expect(readProxyHeader(line)).toMatchObject({ peer: '192.0.2.1:51234' })
})
