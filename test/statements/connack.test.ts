import { describe, expect, test } from 'vitest'
import { type Access, OPEN_ACCESS } from '../../src/broker/access.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import { DEFAULT_LISTENER_LIMITS, type ListenerLimits } from '../../src/mqtt/connection-limits.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { mayCarry } from '../../src/mqtt/reason-codes.ts'
import { connectPacket, TestBroker, will } from '../broker/harness.ts'
import { disconnect, LASTING, publish, subscribe } from '../mqtt/requests.ts'
import { Wire } from '../mqtt/wire.ts'

// Chapter 3.2 (CONNACK) of MQTT 5.0; of 3.1.1 where it says the same.

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5]
const STRICT: Access = { ...OPEN_ACCESS, connect: () => 0x87 }

const listening = (settings: Partial<ListenerLimits>, limits: Partial<BrokerLimits> = {}): Wire =>
  new Wire({ listeners: new Map([['mqtt', { ...DEFAULT_LISTENER_LIMITS, ...settings }]]) }, { limits })

function connected(wire: Wire, options: Partial<Connect> = {}): number {
  const connection = wire.connect(options)
  expect(wire.lines(connection)[0]).toMatch(/^CONNACK( present)?$/)
  return connection
}

test.each(VERSIONS)('MQTT-3.2.2-1: of the acknowledge flags only bit 0 is ever set (version %i)', (protocolVersion) => {
  const wire = new Wire()
  const options = { clientId: 'c', protocolVersion, ...(protocolVersion === 5 ? LASTING : { cleanStart: false }) }
  const flags = [1, 2].map(() => {
    const [connack] = wire.out(wire.connect(options)).filter((hex) => hex.startsWith('20'))
    return connack!.slice(4, 6)
  })
  expect(flags).toEqual(protocolVersion === 3 ? ['00', '00'] : ['00', '01'])
})

describe('MQTT-3.2.2-8: a reason code of CONNACK', () => {
  const refusals: Record<string, () => string[]> = {
    'a bad id': () => lines(listening({ clientIdPrefix: 'x' }), {}),
    'a bad will topic': () => lines(new Wire({}, { limits: { maxTopicLevels: 1 } }), { will: will('a/b', 'x') }),
    'a will on a topic of the broker': () => lines(new Wire(), { will: will('$SYS/x', 'x') }),
    'a will QoS': () => lines(listening({ maximumQos: 0 }), { will: will('w', 'x', 1) }),
    'a retained will': () => lines(listening({}, { retainAvailable: false }), { will: will('w', 'x', 0, {}, true) }),
    'a large will': () => lines(listening({}, { messageSizeLimit: 1 }), { will: will('w', 'xx') }),
    'no right to the will': () =>
      lines(new Wire({}, { access: { ...OPEN_ACCESS, publish: () => false } }), { will: will('w', 'x') }),
    'too many sessions': () => lines(listening({}, { maxSessions: 0 }), {}),
    'no right to connect': () => lines(new Wire({}, { access: STRICT }), {}),
    'no user of this name': () => {
      const wire = new Wire({}, { access: { ...OPEN_ACCESS, connect: () => 'ask' } })
      const connection = wire.connect()
      const { link, step } = wire.broker.nextAuthRequest()!
      wire.broker.authenticated(0, link, step, { kind: 'refused', reasonCode: 0x86, reason: 'no' })
      wire.run()
      return wire.lines(connection).slice(1)
    },
  }
  function lines(wire: Wire, options: Partial<Connect>): string[] {
    return wire.lines(wire.connect(options))
  }

  test.each(Object.keys(refusals))('for %s', (name) => {
    const [connack, end] = refusals[name]!()
    const code = Number(/^CONNACK (0x..)$/.exec(connack!)![1])
    expect([code >= 0x80, mayCarry(2, code), end]).toEqual([true, true, 'close'])
  })
})

describe.each([0, 1] as const)('maximum_qos %i', (maximumQos) => {
  test('MQTT-3.2.2-9: CONNACK says it', () => {
    const wire = listening({ maximumQos })
    expect(wire.packets(wire.connect())).toMatchObject([{ properties: { maximumQoS: maximumQos } }])
    const free = new Wire()
    expect(free.packets(free.connect())[0]).not.toHaveProperty('properties.maximumQoS')
  })

  test('MQTT-3.2.2-10: SUBSCRIBE may ask for more', () => {
    const wire = listening({ maximumQos })
    for (const protocolVersion of VERSIONS) {
      const connection = connected(wire, { protocolVersion })
      wire.send(connection, subscribe('a', 2))
      expect(wire.lines(connection)).toEqual([`SUBACK #1 0x0${maximumQos}`])
    }
  })

  test('MQTT-3.2.2-11: PUBLISH may not have more', () => {
    for (const protocolVersion of VERSIONS) {
      const wire = listening({ maximumQos })
      const connection = connected(wire, { protocolVersion })
      wire.send(connection, publish('a', 'x', maximumQos))
      expect(wire.lines(connection)).not.toContain('close')
      wire.send(connection, publish('a', 'x', 2))
      expect(wire.lines(connection)).toEqual(protocolVersion === 5 ? ['DISCONNECT 0x9b', 'close'] : ['close'])
    }
  })
})

test('MQTT-3.2.2-14: no PUBLISH with RETAIN where CONNACK said that nothing is retained', () => {
  const wire = listening({}, { retainAvailable: false })
  const connection = wire.connect()
  expect(wire.packets(connection)).toMatchObject([{ properties: { retainAvailable: false } }])
  wire.send(connection, Publish.of('a', Buffer.from('x'), 0, true))
  expect(wire.lines(connection)).toEqual(['DISCONNECT 0x9a', 'close'])
  expect(wire.broker.retained.count).toBe(0)
})

test('MQTT-3.2.2-15: CONNACK says the largest packet, and a larger one ends the connection', () => {
  const wire = new Wire({ maxPacketSize: 100 })
  const connection = wire.connect()
  expect(wire.packets(connection)).toMatchObject([{ properties: { maximumPacketSize: 100 } }])
  wire.send(connection, publish('a', 'x'.repeat(94)))
  expect(wire.lines(connection)).toEqual([])
  wire.send(connection, publish('a', 'x'.repeat(95)))
  expect(wire.lines(connection)).toEqual(['DISCONNECT 0x95', 'close'])
})

test('MQTT-3.2.2-16: an assigned id is of no other session, sensors included', () => {
  const world = new TestBroker()
  const nameless = (): string => {
    const client = world.open()
    client.send(connectPacket(''))
    return (client.link.poll(0) as { properties: { assignedClientIdentifier: string } }).properties.assignedClientIdentifier
  }
  const first = nameless()
  world.broker.sessions.end(0, world.broker.sessions.get('mqtt', first)!)
  world.connect(first, {}, 'sn')
  const second = nameless()
  expect(second).toMatch(/^auto-./)
  expect(second).not.toBe(first)
})

test('MQTT-3.2.2-17: topic aliases go up to Topic Alias Maximum', () => {
  const wire = listening({ topicAliasMaximum: 2 })
  const connection = wire.connect()
  expect(wire.packets(connection)).toMatchObject([{ properties: { topicAliasMaximum: 2 } }])
  wire.send(connection, publish('a', 'x', 0, 0, { topicAlias: 2 }))
  expect(wire.lines(connection)).toEqual([])
  wire.send(connection, publish('a', 'x', 0, 0, { topicAlias: 3 }))
  expect(wire.lines(connection)).toEqual(['DISCONNECT 0x94', 'close'])
})

test('MQTT-3.2.2-18: none where there is no Topic Alias Maximum', () => {
  const wire = listening({ topicAliasMaximum: 0 })
  const connection = wire.connect()
  expect(wire.packets(connection)[0]).not.toHaveProperty('properties.topicAliasMaximum')
  wire.send(connection, publish('a', 'x', 0, 0, { topicAlias: 1 }))
  expect(wire.lines(connection)).toEqual(['DISCONNECT 0x94', 'close'])
})

test('MQTT-3.2.2-19: no Reason String where the client takes no packet of that size', () => {
  const refusal = (maximumPacketSize?: number): unknown => {
    const wire = new Wire({}, { access: STRICT })
    const properties = maximumPacketSize === undefined ? {} : { maximumPacketSize }
    return wire.packets(wire.connect({ properties }))
  }
  expect(refusal()).toMatchObject([{ type: 2, reasonCode: 0x87, properties: { reasonString: 'not allowed' } }, 'close'])
  expect(refusal(10)).toMatchObject([{ type: 2, reasonCode: 0x87, properties: {} }, 'close'])
  expect((refusal(10) as [object])[0]).not.toHaveProperty('properties.reasonString')
})

test('MQTT-3.1.2-29: without Request Problem Information only CONNACK and DISCONNECT have a Reason String', () => {
  const told = (requestProblemInformation?: boolean): unknown[] => {
    const wire = new Wire()
    const properties = requestProblemInformation === undefined ? {} : { requestProblemInformation }
    const connection = connected(wire, { properties })
    wire.send(connection, subscribe('$share//x', 0))
    wire.send(connection, disconnect(0, { sessionExpiryInterval: 5 }))
    return wire
      .packets(connection)
      .flatMap((packet) =>
        typeof packet === 'string' ? [] : [[packet.type, 'reasonString' in (packet as { properties: object }).properties]],
      )
  }
  const all = [
    [9, true],
    [14, true],
  ]
  expect(told()).toEqual(all)
  expect(told(true)).toEqual(all)
  expect(told(false)).toEqual([
    [9, false],
    [14, true],
  ])
})
