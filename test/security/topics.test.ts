import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { ByteWriter } from '../../src/base/bytes.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import type { Connect, Packet } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { connectPacket, PERSISTENT, TestBroker, will } from '../broker/harness.ts'
import { Wire } from '../mqtt/wire.ts'

const publish = (topic: string, more: { qos?: QoS; retain?: boolean; properties?: Properties } = {}): Publish =>
  Publish.of(topic, Buffer.from('x'), more.qos ?? 1, more.retain ?? false, 7, more.properties ?? {})
const subscribe = (filter: string): Packet => ({
  type: 8,
  packetId: 1,
  subscriptions: [{ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  properties: {},
})
const unsubscribe = (filter: string): Packet => ({ type: 10, packetId: 2, filters: [filter], properties: {} })

/** Milliseconds of the processor that it takes; other tests run at the same time. */
function timed(work: () => void): number {
  const started = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(started)
  return (user + system) / 1000
}

describe('lesson 3: a topic of 65,535 slashes', () => {
  const deep = '/'.repeat(65_535)
  const codes = (wire: Wire, connection: number): (number | string)[] =>
    wire.packets(connection).flatMap((packet): (number | string)[] => {
      if (typeof packet === 'string') return [packet]
      if ('reasonCodes' in packet) return [...packet.reasonCodes]
      return 'reasonCode' in packet ? [packet.reasonCode] : [packet.type]
    })

  test('lesson 3: is refused at once everywhere, with the reason', () => {
    const wire = new Wire({ maxConnectPacketSize: 200_000 })
    const took = timed(() => {
      const connection = wire.connect()
      for (const packet of [publish(deep), publish(deep, { retain: true }), subscribe(deep), subscribe(`${deep.slice(1)}#`)])
        wire.send(connection, packet)
      wire.send(connection, unsubscribe(deep))
      wire.send(connection, publish('still/here'))
      expect(codes(wire, connection)).toEqual([0, 0x90, 0x90, 0x8f, 0x8f, 0x11, 0x10])
      const dying = wire.connect({ will: { topic: deep, payload: Buffer.from('x'), qos: 0, retain: false, properties: {} } })
      expect(codes(wire, dying)).toEqual([0x90, 'close'])
      const four = wire.connect({ protocolVersion: 4 })
      wire.send(four, subscribe(deep), 4)
      expect(codes(wire, four)).toEqual([0, 0x80])
    })
    expect(took).toBeLessThan(200)
  })

  test('lesson 3: is no harm where max_topic_levels lets it in', () => {
    const topic = '/'.repeat(65_534)
    const took = timed(() => {
      const wire = new Wire({ maxConnectPacketSize: 200_000 }, { limits: { maxTopicLevels: 65_535 } })
      const [reader, writer] = [wire.connect(), wire.connect({ will: { ...will(topic, 'gone'), retain: true } })]
      const filters = [topic, '#', `${'+/'.repeat(65_534)}+`.slice(0, 65_535), `$share/g/${topic.slice(20)}`]
      for (const filter of filters) wire.send(reader, subscribe(filter))
      for (let i = 0; i < 20; i++) wire.send(writer, publish(topic, { retain: true, qos: 0 }))
      wire.close(writer)
      // Each costs a turn.
      wire.advance(0)
      for (const filter of filters) wire.send(reader, unsubscribe(filter))
      expect(wire.packets(reader).filter((packet) => typeof packet === 'object' && packet.type === 3).length).toBeGreaterThan(20)
    })
    expect(took).toBeLessThan(3000)
  })
})

describe('lesson 4: user properties', () => {
  const connect = (count: number): Uint8Array => {
    const writer = new ByteWriter()
    const userProperties = Array.from({ length: count }, (_, i): [string, string] => [`key ${i}`, 'value'])
    encodePacket(writer, connectPacket('c', { properties: { userProperties } }), 5)
    return writer.toBytes()
  }
  const bodyOf = (bytes: Uint8Array): number => bytes.findIndex((byte, i) => i > 0 && byte < 0x80) + 1

  test('lesson 4: 10,000 of them are read in less than 50 ms where they are allowed', () => {
    const bytes = connect(10_000)
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < 5; i++) {
      const decoder = new PacketDecoder('client', 5, { maxUserProperties: 65_535, maxPropertyBytes: Number.POSITIVE_INFINITY })
      least = Math.min(
        least,
        timed(() => {
          const packet = decoder.decode(bytes, 0, bodyOf(bytes), bytes.length) as Connect
          expect(packet.properties.userProperties).toHaveLength(10_000)
        }),
      )
    }
    expect(least).toBeLessThan(50)
  })

  test('lesson 4: and refused as soon as there are too many, or too many bytes', () => {
    const wire = new Wire({ maxConnectPacketSize: 1024 * 1024 })
    const many = wire.open()
    wire.sendHex(many, Buffer.from(connect(10_000)).toString('hex'))
    expect(wire.packets(many)).toMatchObject([{ type: 2, reasonCode: 0x97 }, 'close'])
    const cautious = new Wire()
    const large = cautious.open()
    cautious.sendHex(large, Buffer.from(connect(10_000)).toString('hex'))
    expect(cautious.out(large)).toEqual(['close'])
    expect(cautious.notices).toMatchObject([{ limit: 'max_connect_packet_size' }])
  })
})

describe('lesson 18: what is no UTF-8', () => {
  /** Of Markus Kuhn's stress test: overlong, surrogates, beyond U+10FFFF, cut off, stray; and U+0000. */
  const BAD = [
    ...['00', 'c080', 'e08080', 'f0808080', 'c1bf', 'e09fbf', 'f08fbfbf', 'eda080', 'edbfbf', 'edadbfedb080', 'f4908080'],
    ...['f888808080', 'fc8480808080', '80', 'bf', 'c3', 'e282', 'f09f92', 'fe', 'ff', 'c328', 'e28228', 'f0288cbc'],
  ]
  const PLACE = 'PLACEHOLDER'
  const pair = (one: string, other: string): Properties => ({ userProperties: [[one, other]] })
  /** Every field of a client's packets that is text, by the packet that has it. */
  const FIELDS: Record<string, (text: string) => Packet> = {
    'client id': (text) => connectPacket(text),
    'user name': (text) => connectPacket('c', { username: text }),
    'will topic': (text) => connectPacket('c', { will: will(text, 'x') }),
    'will content type': (text) => connectPacket('c', { will: will('w', 'x', 0, { contentType: text }) }),
    'authentication method': (text) => connectPacket('c', { properties: { authenticationMethod: text } }),
    'name of a property of CONNECT': (text) => connectPacket('c', { properties: pair(text, 'x') }),
    topic: (text) => publish(text),
    'response topic': (text) => publish('t', { properties: { responseTopic: text } }),
    'content type': (text) => publish('t', { properties: { contentType: text } }),
    'name of a property': (text) => publish('t', { properties: pair(text, 'x') }),
    'value of a property': (text) => publish('t', { properties: pair('x', text) }),
    filter: (text) => subscribe(text),
    'share name': (text) => subscribe(`$share/${text}/x`),
    'filter of UNSUBSCRIBE': (text) => unsubscribe(text),
    'reason string': (text) => ({ type: 14, reasonCode: 0, properties: { reasonString: text } }),
  }

  test.each(Object.keys(FIELDS))('lesson 18: in the %s ends the connection, and nobody hears of it', (field) => {
    for (const bad of BAD) {
      const wire = new Wire()
      const reader = wire.connect({ clientId: 'reader' })
      wire.send(reader, subscribe('#'))
      wire.out(reader)
      const writer = new ByteWriter()
      const packet = FIELDS[field]!(PLACE.repeat(3).slice(0, bad.length / 2))
      encodePacket(writer, packet, 5)
      const place = Buffer.from(PLACE.repeat(3).slice(0, bad.length / 2)).toString('hex')
      const hex = Buffer.from(writer.toBytes()).toString('hex')
      // The last one: a single letter may turn up elsewhere, as in MQTT.
      const at = hex.lastIndexOf(place)
      const connection = packet.type === 1 ? wire.open() : wire.connect({ clientId: 'writer' })
      wire.out(connection)
      wire.sendHex(connection, hex.slice(0, at) + bad + hex.slice(at + place.length))
      expect(wire.out(connection).at(-1), bad).toBe('close')
      expect(wire.out(reader), bad).toEqual([])
    }
  })

  test('lesson 18: what the standards allow passes as it is: non-characters, controls, a byte order mark', () => {
    const wire = new Wire()
    const reader = wire.connect()
    wire.send(reader, subscribe('#'))
    wire.out(reader)
    const writer = wire.connect()
    for (const text of ['\uffff', '\ufdd0', '\u{10ffff}', '\u0001', '\u007f', '\ufeff', 'a\ufeffb', '😀']) {
      wire.send(writer, publish(text, { qos: 0, properties: pair(text, text) }))
      const [got] = wire.packets(reader)
      expect(got).toMatchObject({ topic: text, properties: pair(text, text) })
    }
  })
})

describe('lesson 19: odd topics', () => {
  const long = 'x'.repeat(65_535)
  test.each([
    ['$', true],
    ['$x', true],
    ['$other/x', true],
    ['/', true],
    ['//', true],
    ['\ufeff', true],
    [' ', true],
    [long, true],
    ['', false],
    ['+', false],
    ['a/#', false],
    ['a+b', false],
    ['#b', false],
    ['$SYS/x', false],
    ['$SYS', false],
  ])('lesson 19: %j', (topic, allowed) => {
    const wire = new Wire({ maxConnectPacketSize: 200_000 })
    const reader = wire.connect({ clientId: 'reader' })
    if (topic !== '' && !/.[+#]|[+#]./.test(topic)) wire.send(reader, subscribe(topic))
    wire.send(reader, subscribe('#'))
    wire.out(reader)
    const writer = wire.connect({ clientId: 'writer', will: allowed ? { ...will(topic, 'gone'), retain: true } : undefined })
    wire.out(writer)
    const packet = publish(topic, { qos: 0, retain: true })
    wire.send(writer, packet)
    const got = wire.packets(reader)
    if (allowed) expect(got).toMatchObject([{ type: 3, topic }])
    else expect(got).toEqual([])
    wire.close(writer)
    if (allowed) expect(wire.packets(reader)).toMatchObject([{ type: 3, topic }])
    expect(wire.broker.retained.count).toBe(allowed ? 1 : 0)
    wire.send(reader, { type: 12 })
    expect(wire.packets(reader)).toEqual([{ type: 13 }])
  })
})

describe('lesson 25: names of prototypes', () => {
  const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', 'valueOf']

  test.each(NAMES)('lesson 25: %s in every field, and after a restart', (name) => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const properties: Properties = {
      userProperties: [
        [name, name],
        [name, 'again'],
      ],
      contentType: name,
      responseTopic: name,
      correlationData: Uint8Array.from(Buffer.from(name)),
    }
    const options: Partial<Connect> = {
      ...PERSISTENT,
      username: name,
      password: Buffer.from(name),
      will: will(name, name, 1, properties, true),
      properties: { sessionExpiryInterval: 3600, userProperties: [[name, name]] },
    }
    const client = world.connect(name, options)
    for (const filter of [name, `+/${name}`, `${name}/#`, `$share/${name}/${name}/shared`]) client.subscribe(filter, 1)
    world.commit()
    client.poll()
    const publisher = world.connect('publisher')
    for (const topic of [name, `x/${name}`, `${name}/shared`]) publisher.publish(topic, name, 1, 1, { properties, retain: true })
    world.commit()
    const delivered = [`${name}=${name} q1 #1`, `x/${name}=${name} q1 #2`, `${name}/shared=${name} q1 #3`]
    const got = client.poll()
    expect(got.slice(0, 3)).toEqual(delivered)
    expect(got).toHaveLength(4)
    client.lost()
    world.commit()
    expect(world.broker.retained.get(name)?.properties).toMatchObject(properties)

    const again = TestBroker.restarted(store, 0)
    expect(again.broker.retained.get(name)?.properties).toMatchObject(properties)
    const back = again.connect(name, options)
    expect(again.broker.subscriptionCount).toBe(4)
    expect(back.poll().slice(0, 3)).toEqual(delivered)
    back.unsubscribe(name)
    for (const other of NAMES.filter((each) => each !== name)) expect(again.broker.retained.get(other)).toBeUndefined()
    expect(again.broker.sessions.size).toBe(1)
    expect(({} as Record<string, unknown>).again).toBeUndefined()
  })
})
