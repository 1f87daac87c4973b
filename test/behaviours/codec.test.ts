import { describe, expect, test } from 'vitest'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { VERSIONS, WireClient, world } from '../mqtt/wire-client.ts'

const hexOf = (value: number): string => value.toString(16).padStart(2, '0')

/** A packet with this first byte and body, whose length is below 128. */
const packet = (first: number, ...parts: string[]): string => {
  const body = parts.join('').replaceAll(' ', '')
  return `${hexOf(first)}${hexOf(body.length / 2)}${body}`
}

/** What a client of this version hears that has sent these bytes. */
function answer(protocolVersion: ProtocolVersion, hex: string): string[] {
  const client = WireClient.connect(world(), { protocolVersion })
  client.sendHex(hex)
  return client.hears()
}

/** The same for a first packet. */
function firstAnswer(hex: string): unknown[] {
  const wire = world()
  const connection = wire.open()
  wire.sendHex(connection, hex)
  return wire.lines(connection)
}

const closed = (version: ProtocolVersion, code: string): string[] => (version === 5 ? [`DISCONNECT ${code}`, 'close'] : ['close'])
const string = (bytes: string): string => `${(bytes.length / 2).toString(16).padStart(4, '0')}${bytes}`

describe('behaviour 43: variable byte integers', () => {
  test('are as short as possible in 5.0; 3.x has no such rule for the remaining length', () => {
    expect(answer(5, 'c08000')).toEqual(closed(5, '0x81'))
    expect(answer(5, 'c0808000')).toEqual(closed(5, '0x81'))
    for (const version of [3, 4] as const) expect(answer(version, 'c08000')).toEqual(['PINGRESP'])
    // The length of properties, a property's identifier, and a Subscription Identifier.
    for (const properties of ['8000', '03 8b00 01', '03 0b 8100']) {
      expect(answer(5, packet(0x82, '0001', properties, '000161 00'))).toEqual(closed(5, '0x81'))
    }
  })

  test.each(VERSIONS)('have four bytes at most (version %i)', (version) => {
    expect(answer(version, 'c0ffffffff01')).toEqual(closed(version, '0x81'))
    expect(answer(version, 'c080808080')).toEqual(closed(version, '0x81'))
  })
})

describe('behaviour 43: UTF-8', () => {
  const ILL = ['c080', 'c3', 'ff', 'eda080', 'edbfbf', 'f4908080', 'e0809f', 'f0808080', 'e28280e2', '80', '6100', '00']

  test.each(VERSIONS)('is checked in topic names, filters and all strings of CONNECT (version %i)', (version) => {
    const properties = version === 5 ? '00' : ''
    const name = version === 3 ? '0006 4d5149736470' : '0004 4d515454'
    for (const bytes of ILL) {
      expect(answer(version, packet(0x30, string(bytes), properties))).toEqual(closed(version, '0x81'))
      expect(answer(version, packet(0x82, '0001', properties, string(bytes), '00'))).toEqual(closed(version, '0x81'))
      expect(answer(version, packet(0xa2, '0001', properties, string(bytes)))).toEqual(closed(version, '0x81'))
      const connects = [
        ['02', string(bytes)],
        ['06', string('63'), properties, string(bytes), '0000'],
        ['82', string('63'), string(bytes)],
      ] as const
      for (const [flags, ...payload] of connects) {
        const heard = firstAnswer(packet(0x10, name, hexOf(version), flags, '0000', properties, ...payload))
        expect(heard).toEqual(version === 5 ? ['CONNACK 0x81', 'close'] : ['close'])
      }
    }
    // The neighbours of the surrogates, and the last code point.
    for (const bytes of ['ed9fbf', 'ee8080', 'f48fbfbf']) {
      expect(answer(version, packet(0x82, '0001', properties, string(bytes), '00'))).not.toContain('close')
    }
  })

  test('is checked in string properties of 5.0, user properties included', () => {
    for (const bytes of ILL) {
      const s = string(bytes)
      for (const property of [`03${s}`, `08${s}`, `26${s}000161`, `26000161${s}`]) {
        expect(answer(5, packet(0x30, '000161', hexOf(property.length / 2), property))).toEqual(closed(5, '0x81'))
      }
      expect(answer(5, packet(0xe0, '00', hexOf(3 + bytes.length / 2), `1f${s}`))).toEqual(closed(5, '0x81'))
    }
  })

  test.each(VERSIONS)('with a BOM is not the text without it, and control and non-characters pass (version %i)', (version) => {
    const wire = world()
    const client = WireClient.connect(wire, { protocolVersion: version }).subscribed(['\ufeffa', '\u0001\uffff/\u{10ffff}'])
    const other = WireClient.connect(wire, { protocolVersion: version })
    for (const topic of ['a', '\ufeffa', '\u0001\uffff/\u{10ffff}']) other.publish(topic)
    expect(client.hears()).toEqual(['\ufeffa=x q0', '\u0001\uffff/\u{10ffff}=x q0'])
  })
})

describe.each(VERSIONS)('behaviour 43: flags of the fixed header of all 15 types (version %i)', (version) => {
  const properties = version === 5 ? '00' : ''
  /** A good body for each type that clients send, and its flags. */
  const GOOD: readonly (readonly [type: number, flags: readonly number[], body: string])[] = [
    [3, [0, 1], `0001 61 ${properties}`],
    [3, [2, 3, 4, 5, 10, 11, 12, 13], `0001 61 0001 ${properties}`],
    [4, [0], '0001'],
    [5, [0], '0001'],
    // 3.1 repeats these three with DUP.
    [6, version === 3 ? [2, 10] : [2], '0001'],
    [7, [0], '0001'],
    [8, version === 3 ? [2, 10] : [2], `0001 ${properties} 0001 61 00`],
    [10, version === 3 ? [2, 10] : [2], `0001 ${properties} 0001 61`],
    [12, [0], ''],
    [14, [0], ''],
  ]

  test.each(GOOD)('type %i has flags %j', (type, flags, body) => {
    for (let flag = 0; flag < 16; flag++) {
      const qos = type === 3 ? (flag >> 1) & 3 : 0
      // Of another QoS, with another body.
      if (type === 3 && qos !== 3 && qos > 0 !== flags.includes(2)) continue
      const heard = answer(version, packet((type << 4) | flag, body))
      // Whoever says goodbye is closed, and nothing more.
      if (!flags.includes(flag)) expect(heard).toEqual(closed(version, '0x81'))
      else if (type === 14) expect(heard).toEqual(['close'])
      else expect(heard).not.toContain('close')
    }
  })

  test('CONNECT has flags 0; 3.1 does not use them', () => {
    const name = version === 3 ? '0006 4d5149736470' : '0004 4d515454'
    for (let flag = 0; flag < 16; flag++) {
      const wire = world()
      const connection = wire.open()
      wire.sendHex(connection, packet(0x10 | flag, name, hexOf(version), '02 0000', properties, '0001 63'))
      expect(wire.out(connection)).toEqual([flag === 0 || version === 3 ? expect.stringMatching(/^20..0000/) : 'close'])
    }
  })

  test('AUTH has flags 0 in 5.0, and is no packet before it', () => {
    for (let flag = 0; flag < 16; flag++) {
      const heard = answer(version, packet(0xf0 | flag, '19 00'))
      expect(heard).toEqual(closed(version, version === 5 && flag > 0 ? '0x81' : '0x82'))
    }
  })

  test('types 0, CONNACK, SUBACK, UNSUBACK and PINGRESP are not for clients, whatever their flags', () => {
    for (const type of [0, 2, 9, 11, 13]) {
      for (const flag of [0, 1, 2, 15]) {
        const [first, last] = answer(version, packet((type << 4) | flag, '0000'))
        expect([first, last]).toEqual(
          version === 5 ? [expect.stringMatching(/^DISCONNECT 0x8[12]$/), 'close'] : ['close', undefined],
        )
      }
    }
  })
})

/** One of each property [5.0 table 2-4], by its identifier. */
const PROPERTIES: Readonly<Record<string, string>> = {
  '01': '00',
  '02': '00000001',
  '03': '000161',
  '08': '000161',
  '09': '000161',
  '0b': '01',
  '11': '00000001',
  '12': '000161',
  '13': '0001',
  '15': '000161',
  '16': '000161',
  '17': '00',
  '18': '00000001',
  '19': '00',
  '1a': '000161',
  '1c': '000161',
  '1f': '000161',
  '21': '0001',
  '22': '0001',
  '23': '0001',
  '24': '00',
  '25': '00',
  '26': '000161000161',
  '27': '00000100',
  '28': '00',
  '29': '00',
  '2a': '00',
}

/** What a client's packets may carry, with the bytes of such a packet around its properties. */
const MAY_CARRY: readonly (readonly [string, readonly string[], (properties: string) => string])[] = [
  [
    'CONNECT',
    ['11', '15', '16', '17', '19', '21', '22', '26', '27'],
    (p) => packet(0x10, '0004 4d515454 05 02 0000', p, '0001 63'),
  ],
  [
    'the will in CONNECT',
    ['01', '02', '03', '08', '09', '18', '26'],
    (p) => packet(0x10, '0004 4d515454 05 06 0000 00 0001 63', p, '0001 77 0000'),
  ],
  ['PUBLISH', ['01', '02', '03', '08', '09', '23', '26'], (p) => packet(0x30, '0001 61', p)],
  ['PUBACK', ['1f', '26'], (p) => packet(0x40, '0001 00', p)],
  ['PUBREC', ['1f', '26'], (p) => packet(0x50, '0001 00', p)],
  ['PUBREL', ['1f', '26'], (p) => packet(0x62, '0001 00', p)],
  ['PUBCOMP', ['1f', '26'], (p) => packet(0x70, '0001 00', p)],
  ['SUBSCRIBE', ['0b', '26'], (p) => packet(0x82, '0001', p, '0001 61 00')],
  ['UNSUBSCRIBE', ['26'], (p) => packet(0xa2, '0001', p, '0001 61')],
  ['DISCONNECT', ['11', '1c', '1f', '26'], (p) => packet(0xe0, '04', p)],
  ['AUTH', ['15', '16', '1f', '26'], (p) => packet(0xf0, '19', p)],
]

describe.each(MAY_CARRY)('behaviour 43: properties of %s', (name, may, around) => {
  const isConnect = name.endsWith('CONNECT') && name !== 'DISCONNECT'
  const heard = (...properties: string[]): unknown[] => {
    const all = properties.join('')
    const hex = around(`${hexOf(all.length / 2)}${all}`)
    return isConnect ? firstAnswer(hex) : answer(5, hex)
  }
  const refusal = (code: string): string[] => [`${isConnect ? 'CONNACK' : 'DISCONNECT'} ${code}`, 'close']
  const of = (id: string): string => `${id}${PROPERTIES[id]}`
  const all = Object.keys(PROPERTIES)

  test('those of other packets, and unknown ones, are malformed', () => {
    // A Subscription Identifier in PUBLISH is behaviour 22.
    for (const id of all.filter((one) => !may.includes(one) && !(name === 'PUBLISH' && one === '0b'))) {
      expect([id, heard(of(id))]).toEqual([id, refusal('0x81')])
    }
    for (const unknown of ['0001', '0401', '2b01', '7f01']) expect(heard(unknown)).toEqual(refusal('0x81'))
  })

  test('comes twice: only user properties may', () => {
    for (const id of may) {
      const twice = heard(of(id), of(id))
      if (id === '26') expect([id, twice]).not.toEqual([id, refusal('0x81')])
      else expect([id, twice]).toEqual([id, refusal('0x82')])
    }
  })

  test('that run beyond their length are malformed', () => {
    expect(heard(of('26').slice(0, -2))).toEqual(refusal('0x81'))
  })
})
