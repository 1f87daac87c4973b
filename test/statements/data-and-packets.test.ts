import { describe, expect, test } from 'vitest'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { PINGREQ, publish, subscribe } from '../mqtt/requests.ts'
import { Wire } from '../mqtt/wire.ts'

// Chapters 1.5 (data representation) and 2 (packet format) of MQTT 5.0; of 3.1.1 where it says the same.

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5]

function connected(wire: Wire, protocolVersion: ProtocolVersion = 5, clientId?: string): number {
  const connection = wire.connect({ protocolVersion, ...(clientId !== undefined && { clientId }) })
  wire.out(connection)
  return connection
}

/** What comes of these bytes from a client that is connected. */
function answerTo(protocolVersion: ProtocolVersion, hex: string): string[] {
  const wire = new Wire()
  const connection = connected(wire, protocolVersion)
  wire.sendHex(connection, hex)
  return wire.lines(connection)
}

const malformed = (version: ProtocolVersion): string[] => (version === 5 ? ['DISCONNECT 0x81', 'close'] : ['close'])

/** PUBLISH, SUBSCRIBE and UNSUBSCRIBE with this string (hex) as topic or filter. */
function named(version: ProtocolVersion, hex: string): string[] {
  const size = hex.length / 2
  const string = size.toString(16).padStart(4, '0') + hex
  const none = version === 5 ? '00' : ''
  const packet = (first: string, body: string): string => first + (body.length / 2).toString(16).padStart(2, '0') + body
  return [packet('30', string + none), packet('82', `0001${none}${string}00`), packet('a2', `0001${none}${string}`)]
}

describe.each(VERSIONS)('strings (version %i)', (version) => {
  test('MQTT-1.5.4-1: ill-formed UTF-8, overlong forms and surrogates end the connection', () => {
    for (const ill of ['ff', 'c080', 'eda080', 'edbfbf', 'f4908080', 'e28280e2'])
      for (const hex of named(version, ill)) expect(answerTo(version, hex)).toEqual(malformed(version))
    // The last surrogate's neighbours, and the last code point.
    for (const well of ['ed9fbf', 'ee8080', 'f48fbfbf'])
      for (const hex of named(version, well)) expect(answerTo(version, hex)).not.toContain('close')
  })

  test('MQTT-1.5.4-2: U+0000 ends the connection', () => {
    for (const hex of named(version, '610062')) expect(answerTo(version, hex)).toEqual(malformed(version))
  })

  test('MQTT-1.5.4-3: EF BB BF is U+FEFF, at the beginning too', () => {
    const wire = new Wire()
    const reader = connected(wire, version)
    wire.send(reader, subscribe('\ufeffa', 0, 1))
    wire.send(reader, subscribe('b', 0, 2))
    wire.out(reader)
    const writer = connected(wire)
    for (const topic of ['a', '\ufeffb', '\ufeffa']) wire.send(writer, publish(topic, topic, 0, 0, { contentType: 't' }))
    expect(wire.lines(reader)).toEqual(['\ufeffa=\ufeffa q0'])
  })
})

test('MQTT-1.5.5-1: a variable byte integer takes no more bytes than it needs', () => {
  expect(answerTo(5, 'c08000')).toEqual(malformed(5))
  expect(answerTo(5, '30050001618000')).toEqual(malformed(5))
  expect(answerTo(5, '820a0001030b80000001 6100')).toEqual(malformed(5))
  // 3.1.1 has no such statement.
  expect(answerTo(4, 'c08000')).toEqual(['PINGRESP'])
})

test('MQTT-1.5.7-1: both strings of a pair are UTF-8 strings', () => {
  const pair = (name: string, value: string): string => `300b 0001 61 07 26 0001 ${name} 0001 ${value}`
  expect(answerTo(5, pair('78', '79'))).toEqual([])
  for (const ill of ['ff', '00', 'c0']) {
    expect(answerTo(5, pair(ill, '79'))).toEqual(malformed(5))
    expect(answerTo(5, pair('78', ill))).toEqual(malformed(5))
  }
})

describe.each(VERSIONS)('flags and packet identifiers (version %i)', (version) => {
  test('MQTT-2.1.3-1: reserved flags have their value, or the connection ends', () => {
    const none = version === 5 ? '00' : ''
    const bodies: Record<string, string> = {
      4: '0001',
      5: '0001',
      6: '0001',
      7: '0001',
      8: `0001${none}00016100`,
      a: `0001${none}000161`,
      c: '',
      e: '',
    }
    for (const [type, body] of Object.entries(bodies)) {
      const wanted = type === '6' || type === '8' || type === 'a' ? 2 : 0
      for (let flags = 0; flags < 16; flags++) {
        // PUBREL, SUBSCRIBE and UNSUBSCRIBE of 3.1 may be repeated.
        if (flags === wanted || (version === 3 && wanted === 2 && flags === 10)) continue
        const hex = type + flags.toString(16) + (body.length / 2).toString(16).padStart(2, '0') + body
        expect(answerTo(version, hex)).toEqual(malformed(version))
      }
    }
  })

  test('MQTT-2.2.1-2: PUBLISH with QoS 0 has no packet identifier', () => {
    const wire = new Wire()
    const reader = connected(wire, version)
    wire.send(reader, subscribe('a', 0))
    wire.out(reader)
    const writer = connected(wire, version === 5 ? 4 : 5)
    wire.send(writer, publish('a', 'x', 1, 0x4142))
    expect(wire.out(reader)).toEqual([version === 5 ? '30050001610078' : '300400016178'])
  })

  test('MQTT-2.2.1-5: acknowledgements name the PUBLISH that they are for', () => {
    const wire = new Wire()
    const watcher = connected(wire)
    wire.send(watcher, subscribe('#', 0))
    const writer = connected(wire, version)
    wire.send(writer, publish('a', 'x', 1, 7))
    wire.send(writer, publish('a', 'y', 2, 8))
    wire.send(writer, { type: 6, packetId: 8, reasonCode: 0, properties: {} })
    expect(wire.lines(writer)).toEqual(['PUBACK #7', 'PUBREC #8', 'PUBCOMP #8'])
    const reader = connected(wire, version)
    wire.send(reader, subscribe('b', 2))
    wire.out(reader)
    for (const text of ['1', '2']) wire.send(writer, publish('b', text, 2, 9 + Number(text)))
    expect(wire.lines(reader)).toEqual(['b=1 q2 #1', 'b=2 q2 #2'])
    for (const packetId of [2, 1]) wire.send(reader, { type: 5, packetId, reasonCode: 0, properties: {} })
    expect(wire.lines(reader)).toEqual(['PUBREL #2', 'PUBREL #1'])
  })

  test('MQTT-2.2.1-6: SUBACK and UNSUBACK name their request', () => {
    const wire = new Wire()
    const connection = connected(wire, version)
    wire.send(connection, subscribe('a', 1, 0x1234))
    wire.send(connection, { type: 10, packetId: 0x4321, filters: ['a'], properties: {} })
    const unsuback = `UNSUBACK #${0x4321}${version === 5 ? ' 0x00' : ''}`
    expect(wire.lines(connection)).toEqual([`SUBACK #${0x1234} 0x01`, unsuback])
  })
})

test('MQTT-2.2.1-4: a new PUBLISH has a packet identifier that is not 0 and not in use', () => {
  const ids = 65_535
  const wire = new Wire({}, { limits: { maxInflightMessages: ids, maxQueuedMessages: ids } })
  const reader = connected(wire)
  wire.send(reader, subscribe('a', 1))
  wire.out(reader)
  const writer = connected(wire, 4)
  const send = (count: number): void => wire.sendHex(writer, '3206 0001 61 0001 78'.repeat(count))
  /** Packet ids of what has come. */
  const received = (): number[] => wire.packets(reader).map((packet) => (packet as { packetId: number }).packetId)
  const acknowledge = (list: number[]): void =>
    wire.sendHex(reader, list.map((id) => `4002${id.toString(16).padStart(4, '0')}`).join(''))
  send(2)
  expect(received()).toEqual([1, 2])
  // Once around, with 1 and 2 still on their way.
  for (let next = 3; next <= ids; next += 700) {
    send(Math.min(700, ids - next + 1))
    const some = received()
    expect([some[0], some.at(-1)]).toEqual([next, Math.min(next + 699, ids)])
    acknowledge(some)
  }
  send(2)
  expect(received()).toEqual([3, 4])
})

test('MQTT-2.2.2-1: no properties are a property length of zero', () => {
  const wire = new Wire()
  const connection = connected(wire)
  wire.send(connection, subscribe('a', 1))
  expect(wire.out(connection)).toEqual(['900400010001'])
  wire.send(connection, PINGREQ)
  wire.send(connected(wire, 4), publish('a', 'x', 1))
  expect(wire.out(connection)).toEqual(['d000', '3207000161000100 78'.replace(' ', '')])
})
