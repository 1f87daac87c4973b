import { describe, expect, test, vi } from 'vitest'
import { Framer } from '../../src/mqtt/framer.ts'
import type { Connect, Packet } from '../../src/mqtt/packets.ts'
import { Publish, type QoS } from '../../src/mqtt/publish.ts'
import { type Message, MsgType } from '../../src/mqttsn/messages.ts'
import { traceLine } from '../../src/trace/event.ts'
import { redacted } from '../../src/trace/redact.ts'
import { connectPacket } from '../broker/harness.ts'
import { TracedServer } from './traced-server.ts'

const subscribe = (filter: string, qos: QoS = 0, packetId = 1): Packet => ({
  type: 8,
  packetId,
  subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  properties: {},
})
const connect = (clientId: string, more: Partial<Connect> = {}): Packet => ({ ...connectPacket(clientId), ...more }) as Packet
const snConnect = (clientId: string): Message => ({
  type: MsgType.CONNECT,
  will: false,
  cleanSession: true,
  protocolId: 1,
  duration: 60,
  clientId,
})
const snPublish = { type: MsgType.PUBLISH, dup: false, retain: false, topicIdType: 'normal', data: Buffer.from('21.5') } as const

describe('MQTT', () => {
  test('a client is known by its CONNECT, and shown by its id', () => {
    const traced = new TracedServer()
    traced.open(1)
    traced.say(1, connect('c1', { protocolVersion: 4, username: 'ann', password: Buffer.from('secret') }), subscribe('a/#', 1))
    expect(traced.traced()).toEqual([
      'c1 at 10.0.0.1:5000 -> CONNECT client="c1" version=3.1.1 clean keepalive=0 user="ann" password',
      'c1 <- CONNACK accepted',
      'c1 -> SUBSCRIBE topic="a/#" qos=1 msgid=1',
      'c1 <- SUBACK qos=1 msgid=1',
    ])
  })

  test('every receiver of a message, whether its copy was encoded or copied', () => {
    const traced = new TracedServer()
    for (const [id, version] of [
      [1, 4],
      [2, 4],
      [3, 5],
    ] as const) {
      traced.open(id, version)
      traced.say(id, connect(`c${id}`, { protocolVersion: version }), subscribe('a', 0))
    }
    traced.traced()
    traced.say(1, Publish.of('a', Buffer.from('one')), Publish.of('a', Buffer.from('two!')))
    expect(traced.traced().sort()).toEqual(
      [
        ...['c1 -> PUBLISH topic="a" qos=0 3 bytes', 'c1 -> PUBLISH topic="a" qos=0 4 bytes'],
        ...[1, 2, 3].flatMap((id) => [3, 4].map((size) => `c${id} <- PUBLISH topic="a" qos=0 ${size} bytes`)),
      ].sort(),
    )
    expect(traced.heard(2).length).toBe(4)
  })

  test('payloads only if asked for; large ones, which are shared by all sockets, too', () => {
    const traced = new TracedServer({ payloads: true })
    traced.open(1)
    traced.say(1, connect('c1', { protocolVersion: 4 }), subscribe('a'), Publish.of('a', Buffer.from('on')))
    expect(traced.traced().slice(-2)).toEqual([
      'c1 -> PUBLISH topic="a" qos=0 2 bytes "on"',
      'c1 <- PUBLISH topic="a" qos=0 2 bytes "on"',
    ])
    traced.say(1, Publish.of('a', Buffer.alloc(20_000, 'x')))
    expect(traced.traced().at(-1)).toBe(`c1 <- PUBLISH topic="a" qos=0 20000 bytes "${'x'.repeat(64)}"...`)
  })

  test('without payloads nothing that a publisher says of them, neither in lines nor in captures', () => {
    const traced = new TracedServer()
    const captured: Buffer[] = []
    traced.watch({ seen: (event) => captured.push(Buffer.from(redacted(event, false))) })
    const properties = {
      contentType: 'hidden-type',
      responseTopic: 'hidden/answers',
      correlationData: Buffer.from('hidden-data'),
      userProperties: [['hidden-name', 'hidden-value']] as const,
    }
    const will = { topic: 'gone', payload: Buffer.from('hidden'), qos: 0, retain: false, properties } as const
    traced.open(1, 5)
    traced.say(1, connect('c1', { will }), subscribe('a', 1))
    traced.say(1, Publish.of('a', Buffer.from('hidden'), 1, false, 7, properties))
    const words = 'contentType=(11 bytes) responseTopic=(14 bytes) correlationData=(11 bytes) userProperties=1'
    const lines = traced.traced()
    expect(lines).toContain(`c1 -> PUBLISH topic="a" qos=1 msgid=7 6 bytes ${words}`)
    expect(lines.join('\n')).not.toContain('hidden')
    expect(captured).toHaveLength(lines.length)
    expect(Buffer.concat(captured).includes('hidden')).toBe(false)
  })

  test('the topic behind an alias, in both directions', () => {
    const traced = new TracedServer()
    traced.open(1, 5)
    const properties = { topicAliasMaximum: 5 }
    traced.say(1, connect('c1', { properties }), subscribe('site/#'))
    traced.traced()
    traced.say(1, Publish.of('site/boiler', Buffer.from('1'), 0, false, 0, { topicAlias: 3 }))
    traced.say(1, Publish.of('', Buffer.from('2'), 0, false, 0, { topicAlias: 3 }))
    expect(traced.traced()).toEqual([
      'c1 -> PUBLISH topic="site/boiler" qos=0 1 byte topicAlias=3',
      'c1 <- PUBLISH topic="site/boiler" qos=0 1 byte topicAlias=1',
      'c1 -> PUBLISH topic="" (site/boiler) qos=0 1 byte topicAlias=3',
      'c1 <- PUBLISH topic="" (site/boiler) qos=0 1 byte topicAlias=1',
    ])
  })

  test('what cannot be read, refusals, and the end of a connection that another takes over', () => {
    const traced = new TracedServer()
    traced.open(1, 5)
    traced.say(1, connect('c1'))
    traced.open(2, 5)
    traced.say(2, connect('c1'))
    traced.bytes(2, Buffer.from('6000', 'hex'))
    expect(traced.traced()).toEqual([
      'c1 at 10.0.0.1:5000 -> CONNECT client="c1" version=5.0 clean keepalive=0',
      expect.stringMatching(/^c1 <- CONNACK accepted receiveMaximum=\d+/),
      'c1 at 10.0.0.2:5000 -> CONNECT client="c1" version=5.0 clean keepalive=0',
      expect.stringMatching(/^c1 <- DISCONNECT session taken over \(0x8e\)/),
      expect.stringMatching(/^c1 <- CONNACK accepted/),
      'c1 -> malformed: flags 0 of packet type 6 are reserved (MQTT-2.1.3-1)',
      expect.stringMatching(/^c1 <- DISCONNECT malformed packet \(0x81\) reasonString=/),
    ])
  })
})

describe('MQTT-SN', () => {
  test('topic ids with their names, in both directions', () => {
    const traced = new TracedServer()
    traced.sn('10.0.0.9:1000', snConnect('s1'))
    traced.sn('10.0.0.9:1000', { type: MsgType.REGISTER, topicId: 0, msgId: 1, topicName: 'site/temp' })
    traced.sn('10.0.0.9:1000', { ...snPublish, topicId: 0x401, qos: 1, msgId: 12 })
    traced.sn('10.0.0.9:1000', { ...snPublish, topicIdType: 'predefined', topicId: 1, qos: 0, msgId: 0 })
    traced.sn('10.0.0.9:1000', { type: MsgType.DISCONNECT, duration: 600 })
    traced.sn('10.0.0.9:1001', { type: MsgType.PINGREQ, clientId: 's1' })
    traced.sn('10.0.0.8:1000', { type: MsgType.PINGREQ, clientId: undefined })
    const id = traced.lines[3]!.match(/topic=(0x\w+)/)![1]
    expect(traced.traced()).toEqual([
      's1 at 10.0.0.9:1000 -> CONNECT client="s1" clean protocol=1 duration=60',
      's1 <- CONNACK accepted',
      's1 -> REGISTER topic=0x0000 name="site/temp" msgid=1',
      `s1 <- REGACK topic=${id} (site/temp) msgid=1 accepted`,
      's1 -> PUBLISH topic=0x0401 (site/temp) qos=1 msgid=12 4 bytes',
      's1 <- PUBACK topic=0x0401 (site/temp) msgid=12 accepted',
      's1 -> PUBLISH topic=predefined:1 (predefined/one) qos=0 msgid=0 4 bytes',
      's1 -> DISCONNECT duration=600',
      's1 <- DISCONNECT',
      's1 at 10.0.0.9:1001 -> PINGREQ client="s1"',
      's1 <- PINGRESP',
      '10.0.0.8:1000 -> PINGREQ',
      '10.0.0.8:1000 <- DISCONNECT',
    ])
  })

  test('a sensor behind a forwarder has an address of its own', () => {
    const traced = new TracedServer()
    traced.sn('10.0.0.9:1000', snConnect('s1'), Uint8Array.of(0xab, 1))
    expect(traced.traced()).toEqual([
      's1 at 10.0.0.9:1000/node:ab01 -> FORWARDED node=ab01 radius=0 CONNECT client="s1" clean protocol=1 duration=60',
      's1 <- FORWARDED node=ab01 radius=0 CONNACK accepted',
    ])
  })

  test('sensors at rest are traced, and rest again', () => {
    const traced = new TracedServer()
    traced.server.gateway.mostIdle = 0
    traced.sn('10.0.0.9:1000', snConnect('s1'))
    traced.sn('10.0.0.9:1000', { type: MsgType.REGISTER, topicId: 0, msgId: 1, topicName: 'site/temp' })
    traced.sn('10.0.0.9:1000', { type: MsgType.DISCONNECT, duration: 600 })
    expect(traced.server.gateway.clientsAtRest).toBe(1)
    traced.sn('10.0.0.9:1000', { ...snPublish, topicId: 0x401, qos: 0, msgId: 0 })
    expect(traced.traced().at(-1)).toBe('s1 -> PUBLISH topic=0x0401 (site/temp) qos=0 msgid=0 4 bytes')
    expect(traced.server.gateway.clientsAtRest).toBe(1)
  })
})

test('a packet whose length is wrong has no bytes', () => {
  const traced = new TracedServer()
  const bytes: Uint8Array[] = []
  traced.watch({ seen: (event) => bytes.push(Uint8Array.from(event.bytes)) })
  traced.open(1)
  traced.say(1, connect('c1', { protocolVersion: 4 }))
  traced.bytes(1, Buffer.from('30ffffffffff', 'hex'))
  expect(traced.traced().at(-1)).toBe('c1 -> malformed: remaining length has more than four bytes (5.0 section 1.5.5)')
  expect(bytes.at(-1)).toEqual(new Uint8Array(0))
})

test('with the last watcher the taps go', () => {
  const traced = new TracedServer()
  const second: unknown[] = []
  const stop = traced.watch({ seen: (event) => second.push(event) })
  traced.open(1)
  traced.say(1, connect('c1', { protocolVersion: 4 }))
  expect(second.length).toBe(2)
  stop()
  expect(traced.server.tap).toBe(traced.tracer)
  traced.stop()
  expect(traced.server.tap).toBeUndefined()
  traced.say(1, subscribe('a'))
  expect([second.length, traced.lines.length]).toEqual([2, 2])
})

describe('packets of clients that no watcher wants', () => {
  const clients = (traced: TracedServer): void => {
    for (const id of [1, 2]) {
      traced.open(id)
      traced.say(id, connect(`c${id}`, { protocolVersion: 4 }), subscribe('site/#', 1))
    }
    traced.sn('10.0.0.9:1000', snConnect('c1'))
    traced.sn('10.0.0.9:1001', snConnect('s2'))
    traced.sn('10.0.0.9:1001', { type: MsgType.REGISTER, topicId: 0, msgId: 1, topicName: 'site/temp' })
    traced.sn('10.0.0.9:1001', { ...snPublish, topicId: 0x401, qos: 1, msgId: 2 })
    traced.sn('10.0.0.9:1002', { type: MsgType.PINGREQ, clientId: 'c1' })
    // Another client on the same address.
    traced.sn('10.0.0.9:1001', snConnect('c1'))
    traced.say(2, Publish.of('site/x', Buffer.from('one')))
  }

  test('are left out, and others are shown as they are without', () => {
    const traced = new TracedServer()
    clients(traced)
    const all = traced.traced()
    const few = new TracedServer()
    few.stop()
    const wants = (client: string | undefined): boolean => client === 'c1'
    few.watch({ wants, seen: (event) => wants(event.client) && few.lines.push(traceLine(event, false)) })
    clients(few)
    expect(few.traced()).toEqual(all.filter((line) => line.startsWith('c1 ')))
    expect(all.length).toBeGreaterThan(15)
  })

  test('are not decoded again', () => {
    const traced = new TracedServer()
    traced.stop()
    const seen: string[] = []
    const stop = traced.watch({ wants: (client) => client === 'c1', seen: ({ client = '?' }) => seen.push(client) })
    clients(traced)
    expect([...new Set(seen)].sort()).toEqual(['c1', 'c2', 's2'])
    seen.length = 0
    const framers = vi.spyOn(Framer.prototype, 'push')
    traced.say(2, Publish.of('a', Buffer.from('x')), subscribe('b'))
    expect([seen, framers.mock.calls.length]).toEqual([[], 2])
    const others: string[] = []
    traced.watch({ seen: ({ client = '?' }) => others.push(client) })
    traced.say(2, subscribe('c'))
    expect(others).toEqual(['c2', 'c2'])
    stop()
    framers.mockRestore()
  })
})
