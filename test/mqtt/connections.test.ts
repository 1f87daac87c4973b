import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import type { Packet } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { Wire } from './wire.ts'

/** DISCONNECT with this reason code, whatever its reason string. */
const disconnect = (reasonCode: number): unknown => expect.stringMatching(new RegExp(`^e0..${reasonCode.toString(16)}`))

const subscribe = (filter: string): Packet => ({
  type: 8,
  packetId: 1,
  subscriptions: [{ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  properties: {},
})
const publish = (topic: string, text: string, properties = {}): Publish =>
  Publish.of(topic, Buffer.from(text), 0, false, 0, properties)

describe('before CONNECT', () => {
  test('a connection that says nothing, or too slowly, is closed at the deadline', () => {
    const wire = new Wire({ connectTimeoutMs: 1000 })
    const silent = wire.open()
    const slow = wire.open()
    for (let i = 0; i < 9; i++) {
      wire.advance(100)
      wire.sendHex(slow, ['10', '0d', '00', '04', '4d', '51', '54', '54', '04'][i]!)
    }
    expect([wire.out(silent), wire.out(slow)]).toEqual([[], []])
    wire.advance(100)
    expect([wire.out(silent), wire.out(slow)]).toEqual([['close'], ['close']])
    expect(wire.connections.size).toBe(0)
  })

  test('MQTT-3.1.0-1: the first byte tells that it is no CONNECT', () => {
    const wire = new Wire()
    const connection = wire.open()
    wire.sendHex(connection, '30')
    expect(wire.out(connection)).toEqual(['close'])
  })

  test('max_connections', () => {
    const wire = new Wire({ maxConnections: 1 })
    const first = wire.open()
    expect(wire.out(wire.open())).toEqual(['close'])
    expect(wire.out(first)).toEqual([])
    expect(wire.notices.map(({ code }) => code)).toEqual(['limit-reached'])
  })

  test('max_connect_packet_size holds for CONNECT, max_packet_size from then on', () => {
    const wire = new Wire({ maxConnectPacketSize: 40, maxPacketSize: 100 })
    const long = wire.connect({ clientId: 'x'.repeat(40) })
    expect(wire.out(long)).toEqual(['close'])
    const connection = wire.connect({ clientId: 'c' })
    wire.out(connection)
    wire.send(connection, publish('a', 'x'.repeat(80)))
    expect(wire.out(connection)).toEqual([])
    wire.send(connection, publish('a', 'x'.repeat(100)))
    expect(wire.out(connection)).toEqual([disconnect(0x95), 'close'])
  })
})

describe('keep alive', () => {
  test('MQTT-3.1.2-22: one and a half times, counted from any packet', () => {
    for (const [version, end] of [
      [5, ['e0018d', 'close']],
      [4, ['close']],
    ] as const) {
      const wire = new Wire()
      const connection = wire.connect({ protocolVersion: version, keepAlive: 10 })
      wire.out(connection)
      wire.advance(14_999)
      wire.send(connection, publish('a', 'x'), version)
      wire.advance(14_999)
      expect(wire.out(connection)).toEqual([])
      wire.advance(1)
      expect(wire.out(connection)).toEqual(end)
    }
  })

  test('parts of a packet are no packet', () => {
    const wire = new Wire()
    const connection = wire.connect({ keepAlive: 10 })
    wire.out(connection)
    wire.advance(14_000)
    wire.sendHex(connection, '30')
    wire.advance(1000)
    expect(wire.out(connection)).toEqual(['e0018d', 'close'])
  })

  test('does not run while the broker itself does not read: a slow reader is no silent one', () => {
    const wire = new Wire()
    const reader = wire.connect({ keepAlive: 10 })
    wire.congested(reader, true)
    wire.out(reader)
    wire.advance(60_000)
    expect(wire.out(reader)).toEqual([])
    wire.congested(reader, false)
    wire.advance(14_999)
    expect(wire.out(reader)).toEqual(['resume'])
    wire.advance(1)
    expect(wire.out(reader)).toEqual(['e0018d', 'close'])
  })

  test('0 is never', () => {
    const wire = new Wire()
    const connection = wire.connect({ keepAlive: 0 })
    wire.advance(1e9)
    expect(wire.out(connection)).toHaveLength(1)
  })

  test('MQTT-3.1.2-21: max_keepalive is told to a 5.0 client, and holds', () => {
    const wire = new Wire({ maxKeepAlive: 20 })
    const connection = wire.connect({ keepAlive: 60 })
    expect(wire.out(connection)[0]).toContain('130014')
    wire.advance(30_000)
    expect(wire.out(connection)).toEqual(['e0018d', 'close'])
  })
})

describe('topic aliases of a client', () => {
  test('MQTT-3.3.2-7 ff.: set, used, replaced; above the maximum and unknown ones end the connection', () => {
    const wire = new Wire({ listeners: new Map([['mqtt', { ...DEFAULT_LISTENER_LIMITS, topicAliasMaximum: 2 }]]) })
    const watcher = wire.connect()
    wire.send(watcher, subscribe('#'))
    wire.out(watcher)
    const connection = wire.connect()
    wire.out(connection)
    wire.send(connection, publish('a', '1', { topicAlias: 1 }))
    wire.send(connection, publish('', '2', { topicAlias: 1 }))
    wire.send(connection, publish('b', '3', { topicAlias: 1 }))
    wire.send(connection, publish('', '4', { topicAlias: 1 }))
    expect(wire.out(watcher)).toEqual(['300500016100' + '31', '30050001610032', '30050001620033', '30050001620034'])
    wire.send(connection, publish('', '5', { topicAlias: 2 }))
    expect(wire.out(connection)).toEqual([disconnect(0x82), 'close'])
    const other = wire.connect()
    wire.out(other)
    wire.send(other, publish('a', '6', { topicAlias: 3 }))
    expect(wire.out(other)).toEqual([disconnect(0x94), 'close'])
  })
})

describe('a socket that is full', () => {
  test('is not read and gets no messages, until it takes bytes again', () => {
    const wire = new Wire()
    const reader = wire.connect()
    wire.send(reader, subscribe('a'))
    wire.out(reader)
    wire.congested(reader, true)
    const writer = wire.connect()
    wire.send(writer, publish('a', 'x'))
    expect(wire.out(reader)).toEqual(['pause'])
    wire.congested(reader, false)
    expect(wire.out(reader).sort()).toEqual(['30050001610078', 'resume'])
  })
})

/** In one chunk. */
function sendTogether(wire: Wire, connection: number, packets: readonly Packet[]): void {
  const writer = new ByteWriter()
  for (const packet of packets) encodePacket(writer, packet, 5)
  wire.sendHex(connection, Buffer.from(writer.toBytes()).toString('hex'))
}

describe('who says a lot', () => {
  const answers = (wire: Wire, connection: number): number =>
    wire.packets(connection).filter((one) => typeof one === 'object').length

  test.each([
    ['PINGREQ', 'c000', 2],
    ['PUBLISH that nobody gets, with QoS 1', '32060001610001 00'.replace(' ', ''), 1],
    ['SUBSCRIBE', '8207000100 00016100'.replace(' ', ''), 16],
  ])('is read on when the others have had their turn: %s', (_title, hex, cost) => {
    const wire = new Wire()
    const loud = wire.connect()
    const quiet = wire.connect()
    for (const connection of [loud, quiet]) wire.out(connection)
    const count = 20_000
    wire.connections.chunk(0, loud, Buffer.from(hex.repeat(count), 'hex'))
    wire.sendHex(quiet, 'c000')
    expect(answers(wire, quiet)).toBe(1)
    const first = answers(wire, loud)
    expect(first).toBeGreaterThan(0)
    expect(first).toBeLessThanOrEqual(4096 / cost + 1)
    // In virtual time the turns follow at once; nothing is lost, and it is read again when all of it has been heard.
    wire.advance(0)
    const rest = wire.packets(loud)
    expect(first + rest.filter((one) => typeof one === 'object').length).toBe(count)
    expect(rest.filter((one) => one === 'resume')).toHaveLength(1)
  })

  test('shares what one turn may cost with others that do', () => {
    const wire = new Wire()
    const loud = Array.from({ length: 10 }, () => wire.connect())
    for (const connection of loud) {
      wire.out(connection)
      wire.connections.chunk(0, connection, Buffer.from('c000'.repeat(5000), 'hex'))
    }
    wire.run()
    for (const connection of loud) wire.out(connection)
    wire.now = 1
    wire.connections.handleTimeout(1)
    wire.run()
    const all = loud.reduce((sum, connection) => sum + answers(wire, connection), 0)
    expect(all).toBeLessThan(6000)
    wire.advance(0)
    for (const connection of loud) expect(wire.packets(connection)).toContain('resume')
  })

  test('looking for who gets a message counts, and so does looking for what is retained', () => {
    const wire = new Wire({}, { limits: { maxWildcardShapesPerSession: 2 ** 12 } })
    const loud = wire.connect()
    for (let i = 0; i < 2 ** 12; i++) {
      const levels = Array.from({ length: 12 }, (_, bit) => ((i >> bit) & 1 ? '+' : 'a'))
      wire.send(loud, subscribe(`${levels.join('/')}/#`))
    }
    const topic = 'a/'.repeat(12)
    const publish = (end: number) => Publish.of(`${topic}${end}`, new Uint8Array(1), 0, true)
    const received = wire.broker.stats.publishReceived
    sendTogether(
      wire,
      loud,
      Array.from({ length: 20 }, (_, i) => publish(i)),
    )
    expect(wire.broker.stats.publishReceived - received).toBeLessThanOrEqual(3)
    wire.advance(0)
    expect(wire.broker.stats.publishReceived - received).toBe(20)

    const other = wire.connect()
    for (let i = 0; i < 20_000; i++) wire.send(other, Publish.of(`r/${i}`, new Uint8Array(1), 0, true))
    const subscribed = wire.broker.subscriptionCount
    sendTogether(
      wire,
      other,
      Array.from({ length: 10 }, (_, i) => subscribe(`+/+/${i}`)),
    )
    expect(wire.broker.subscriptionCount - subscribed).toBeLessThanOrEqual(3)
    wire.advance(0)
    expect(wire.broker.subscriptionCount - subscribed).toBe(10)
  })

  test('user properties count, and so does what is retained', () => {
    const wire = new Wire()
    const loud = wire.connect()
    const userProperties: [string, string][] = Array.from({ length: 1000 }, (_, i) => [`k${i}`, ''])
    const much = Array.from({ length: 10 }, () => Publish.of('a', new Uint8Array(1), 0, false, 0, { userProperties }))
    const received = wire.broker.stats.publishReceived
    sendTogether(wire, loud, much)
    expect(wire.broker.stats.publishReceived - received).toBeLessThanOrEqual(5)
    wire.advance(0)
    expect(wire.broker.stats.publishReceived - received).toBe(10)

    const other = wire.connect()
    const retained = Array.from({ length: 3000 }, (_, i) => Publish.of(`r/${i}`, new Uint8Array(1), 0, true))
    sendTogether(wire, other, retained)
    expect(wire.broker.stats.publishReceived - received - 10).toBeLessThanOrEqual(1024)
    wire.advance(0)
    expect(wire.broker.stats.publishReceived - received - 10).toBe(3000)
  })

  test('is heard to the end when its stream is gone: at once, or in turns if that would hold the others up', () => {
    const wire = new Wire()
    const watcher = wire.connect()
    wire.send(watcher, subscribe('w'))
    wire.out(watcher)
    const will = { topic: 'w', payload: new Uint8Array(1), qos: 0, retain: false, properties: {} } as const
    const goodbye: Packet = { type: 14, reasonCode: 0, properties: {} }
    const said = (count: number) => Array.from({ length: count }, () => Publish.of('a', new Uint8Array(1)))
    const quick = wire.connect({ will })
    sendTogether(wire, quick, [...said(10_000), goodbye])
    wire.close(quick)
    expect(wire.broker.sessions.connected).toBe(1)

    for (let i = 0; i < 1000; i++) wire.send(wire.connect(), subscribe('a'))
    const received = wire.broker.stats.publishReceived
    const loud = wire.connect({ will })
    sendTogether(wire, loud, [...said(1000), goodbye])
    wire.close(loud)
    expect(wire.broker.stats.publishReceived - received).toBeLessThan(500)
    wire.advance(0)
    expect(wire.broker.stats.publishReceived - received).toBe(1000)
    expect([wire.broker.sessions.connected, wire.connections.size]).toEqual([1001, 1001])
    expect(wire.out(watcher)).toEqual([])
  })

  test('is heard in turns where many streams are gone at once', () => {
    const wire = new Wire()
    const loud = Array.from({ length: 20 }, () => wire.connect())
    const said = Array.from({ length: 10_000 }, () => Publish.of('a', new Uint8Array(1)))
    for (const connection of loud) sendTogether(wire, connection, said)
    const received = wire.broker.stats.publishReceived
    for (const connection of loud) wire.close(connection)
    expect(wire.broker.stats.publishReceived - received).toBeLessThan(25_000)
    while (wire.connections.size > 0) wire.advance(0)
    expect(wire.broker.stats.publishReceived).toBe(200_000)
  })

  test('many that send together are read in several turns, in the order of arrival', () => {
    const wire = new Wire()
    const loud = Array.from({ length: 200 }, () => wire.connect())
    for (const connection of loud) wire.out(connection)
    const arrive = (at: number, connections: readonly number[]): void => {
      for (const connection of connections) {
        wire.connections.chunk(at, connection, Buffer.from('c000'.repeat(3), 'hex'))
        // As the loop does when a stream has to pause.
        wire.run(true)
      }
    }
    const heard = (): number[] => loud.filter((connection) => answers(wire, connection) > 0)
    // Reading the first 50 took ten milliseconds.
    arrive(0, loud.slice(0, 50))
    arrive(10, loud.slice(50))
    wire.run()
    expect(heard()).toEqual(loud.slice(0, 50))
    for (const [from, to] of [
      [50, 114],
      [114, 178],
      [178, 200],
    ]) {
      wire.connections.handleTimeout(10)
      wire.run()
      expect(heard()).toEqual(loud.slice(from, to))
    }
    // Those that were read late are read as before.
    wire.now = 11
    wire.sendHex(loud[199]!, 'c000')
    expect(answers(wire, loud[199]!)).toBe(1)
    expect(wire.connections.nextTimeout()).toBeUndefined()
  })

  test('a message for many counts for more', () => {
    const wire = new Wire()
    for (let i = 0; i < 1000; i++) wire.send(wire.connect(), subscribe('a'))
    const loud = wire.connect()
    wire.connections.chunk(0, loud, Buffer.from('300400016100'.repeat(100), 'hex'))
    wire.run()
    expect(wire.broker.stats.publishReceived).toBeLessThanOrEqual(4096 / 126 + 1)
    wire.advance(0)
    expect(wire.broker.stats.publishReceived).toBe(100)
  })
})

test('write_timeout_seconds: a connection whose socket takes nothing ends, its will fires and its session stays', () => {
  const wire = new Wire()
  const watcher = wire.connect()
  wire.send(watcher, subscribe('w'))
  const will = { topic: 'w', payload: Buffer.from('stuck'), qos: 0 as const, retain: false, properties: {} }
  const reader = wire.connect({ clientId: 'reader', will, properties: { sessionExpiryInterval: 60 } })
  wire.congested(reader, true)
  for (const connection of [watcher, reader]) wire.out(connection)
  wire.connections.stuck(wire.now, reader)
  wire.run()
  expect(wire.out(reader)).toEqual(['close'])
  expect(wire.packets(watcher)).toMatchObject([{ type: 3, topic: 'w' }])
  expect(wire.broker.sessions.get('mqtt', 'reader')).toBeDefined()
})

test('max_publish_rate: so many at once, and then one by one; nothing is lost', () => {
  const wire = new Wire({ maxPublishRate: 10 })
  const watcher = wire.connect()
  wire.send(watcher, subscribe('a'))
  wire.out(watcher)
  const connection = wire.connect()
  wire.out(connection)
  wire.sendHex(connection, '30040001 6100'.repeat(40))
  expect(wire.packets(watcher)).toHaveLength(11)
  expect(wire.out(connection)).toEqual(['pause'])
  wire.advance(1000)
  expect(wire.packets(watcher)).toHaveLength(10)
  wire.advance(2000)
  expect(wire.packets(watcher)).toHaveLength(19)
  expect(wire.out(connection).at(-1)).toBe('resume')
})

test('what was sent before the stream ended counts, even while the connection was paused', () => {
  const wire = new Wire()
  const watcher = wire.connect()
  wire.send(watcher, subscribe('w'))
  wire.out(watcher)
  const will = { topic: 'w', payload: Buffer.from('gone'), qos: 0 as const, retain: false, properties: {} }
  const connection = wire.connect({ will })
  wire.out(connection)
  // More questions in one chunk than answers may wait, and then a goodbye.
  wire.connections.chunk(0, connection, Buffer.from(`${'c000'.repeat(1500)}e000`, 'hex'))
  wire.connections.closed(0, connection, 'closed by the client')
  wire.advance(1)
  wire.send(watcher, { type: 12 })
  expect(wire.out(watcher)).toEqual(['d000'])
})

describe("the client's Maximum Packet Size", () => {
  test('MQTT-3.1.2-24, -25: what is larger is not sent, counts as done, and holds nothing up', () => {
    const wire = new Wire()
    const reader = wire.connect({ properties: { maximumPacketSize: 20, receiveMaximum: 1 } })
    wire.send(reader, {
      ...subscribe('a'),
      subscriptions: [{ filter: 'a', qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
    } as Packet)
    wire.out(reader)
    const writer = wire.connect()
    const large = 'x'.repeat(30)
    for (const qos of [0, 1, 2] as const) {
      wire.send(writer, Publish.of('a', Buffer.from(large), qos, false, qos))
      wire.send(writer, Publish.of('a', Buffer.from(large), qos, false, qos + 10, { contentType: 't' }))
    }
    wire.send(writer, Publish.of('a', Buffer.from('small'), 1, false, 9))
    expect(wire.out(reader)).toEqual(['320b00016100050 0736d616c6c'.replace(' ', '')])
    expect(wire.notices.filter(({ code }) => code === 'message-dropped')).toHaveLength(6)
  })
})

describe('what leaves in one turn', () => {
  test('is one write, however many packets it is', () => {
    const wire = new Wire()
    const reader = wire.connect({ protocolVersion: 4 })
    wire.send(reader, subscribe('a'), 4)
    wire.out(reader)
    const writer = wire.connect({ protocolVersion: 4 })
    wire.sendHex(writer, '3004000161 31 3004000161 32 3004000161 33')
    expect(wire.out(reader)).toEqual(['300400016131300400016132300400016133'])
  })

  test('MQTT 3 and 5 readers of the same message get their own form of it', () => {
    const wire = new Wire()
    const four = wire.connect({ protocolVersion: 4 })
    wire.send(four, subscribe('a'), 4)
    const five = wire.connect()
    wire.send(five, subscribe('a'))
    wire.out(four)
    wire.out(five)
    const writer = wire.connect()
    wire.send(writer, Publish.of('a', Buffer.from('x'), 1, false, 9, { contentType: 't' }))
    expect(wire.out(four)).toEqual(['32060001610001 78'.replace(' ', '')])
    expect(wire.out(five)).toEqual(['320b000161000104030001747 8'.replace(' ', '')])
  })
})
