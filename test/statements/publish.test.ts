import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import { OLD, STAYS, STAYS_OLD, World } from '../mqtt/peers.ts'

const BOTH = [
  ['3.1.1', OLD, STAYS_OLD],
  ['5.0', {}, STAYS],
] as const
/** PUBLISH of `x` to `a` with QoS 0 and these properties, as hex. */
const withProperties = (hex: string): string => {
  const properties = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const body = Buffer.concat([Buffer.from([0, 1, 0x61, properties.length]), properties, Buffer.from('x')])
  return Buffer.concat([Buffer.from([0x30, body.length]), body]).toString('hex')
}
const aliases = (topicAliasMaximum: number) => ({
  connections: { listeners: new Map([['mqtt', { ...DEFAULT_LISTENER_LIMITS, topicAliasMaximum }]]) },
})

describe.each(BOTH)('retained messages, %s', (_version, fresh) => {
  test('MQTT-3.3.1-5: a retained message takes the place of the one before', () => {
    const world = new World()
    const publisher = world.peer('p', fresh)
    publisher.publish('a', 'old', { qos: 1, retain: true })
    publisher.publish('a', 'new', { qos: 1, retain: true })
    const late = world.peer('s', fresh)
    late.subscribe('+', 2)
    expect(late.read()).toEqual(['SUBACK #99 0x02', 'a=new q1 #1 retain'])
  })

  test('MQTT-3.3.1-6: an empty retained message is delivered, and nothing is retained any more', () => {
    const world = new World()
    const publisher = world.peer('p', fresh)
    const live = world.peer('live', fresh).subscribed('a')
    publisher.publish('a', 'kept', { retain: true })
    publisher.publish('a', '', { retain: true })
    expect(live.read()).toEqual(['a=kept q0', 'a= q0'])
    const late = world.peer('s', fresh)
    late.subscribe('a')
    expect(late.read()).toEqual(['SUBACK #99 0x00'])
  })

  test('MQTT-3.3.1-7: an empty message is never retained itself', () => {
    const world = new World()
    world.peer('p', fresh).publish('a', '', { retain: true })
    expect(world.broker.retained.count).toBe(0)
    const late = world.peer('s', fresh)
    late.subscribe('a')
    expect(late.read()).toEqual(['SUBACK #99 0x00'])
  })

  test('MQTT-3.3.1-8: a message without RETAIN leaves alone what is retained', () => {
    const world = new World()
    const publisher = world.peer('p', fresh)
    publisher.publish('a', 'kept', { retain: true })
    publisher.publish('a', 'live')
    publisher.publish('a', '')
    publisher.publish('b', 'live')
    const late = world.peer('s', fresh)
    late.subscribe('#')
    expect(late.read()).toEqual(['SUBACK #99 0x00', 'a=kept q0 retain'])
  })

  test('MQTT-3.3.1-9: a subscription gets what is retained, each time it is made, with RETAIN set', () => {
    const world = new World()
    const publisher = world.peer('p', fresh)
    publisher.publish('a/b', 'x', { retain: true })
    publisher.publish('a/c', 'y', { retain: true })
    publisher.publish('b', 'z', { retain: true })
    const receiver = world.peer('s', fresh)
    for (let i = 0; i < 2; i++) {
      receiver.subscribe('a/+')
      expect(receiver.read().sort()).toEqual(['SUBACK #99 0x00', 'a/b=x q0 retain', 'a/c=y q0 retain'])
    }
  })
})

describe('retained messages of 3.1.1', () => {
  test('3.1.1 MQTT-3.3.1-5: are kept with their QoS', () => {
    const world = new World()
    const publisher = world.peer('p', OLD)
    for (const qos of [0, 1, 2] as const) publisher.publish(`a${qos}`, 'x', { qos, id: 1 + qos, retain: true })
    const late = world.peer('s', OLD)
    late.subscribe('#', 2)
    expect(late.read().sort()).toEqual(['SUBACK #99 0x02', 'a0=x q0 retain', 'a1=x q1 #1 retain', 'a2=x q2 #2 retain'].sort())
  })

  test('3.1.1 MQTT-3.3.1-7: one with QoS 0 takes the place of one with QoS 1', () => {
    const world = new World()
    const publisher = world.peer('p', OLD)
    publisher.publish('a', 'one', { qos: 1, retain: true })
    publisher.publish('a', 'zero', { retain: true })
    const late = world.peer('s', OLD)
    late.subscribe('a', 1)
    expect(late.read()).toEqual(['SUBACK #99 0x01', 'a=zero q0 retain'])
  })
})

describe.each(BOTH)('topic names, %s', (_version, fresh) => {
  test('MQTT-3.3.2-2: have no wildcards', () => {
    for (const topic of ['23', '2b']) {
      const peer = new World().peer('c', fresh)
      peer.sendHex(`3004 0001 ${topic} 00`)
      expect(peer.read()).toEqual(fresh === OLD ? ['close'] : ['DISCONNECT 0x90', 'close'])
    }
  })
})

describe('properties that travel with a message', () => {
  const PAIRS = [
    ['b', '1'],
    ['a', '2'],
    ['b', '1'],
    ['', ''],
    ['__proto__', 'x'],
  ] as const
  const EVERY: readonly (readonly [string, Properties])[] = [
    ['MQTT-3.3.2-4: payload format indicator', { payloadFormatIndicator: 1 }],
    ['MQTT-3.3.2-4: payload format indicator, 0 as well', { payloadFormatIndicator: 0 }],
    ['MQTT-3.3.2-15: response topic', { responseTopic: 'an/answer' }],
    ['MQTT-3.3.2-16: correlation data', { correlationData: Buffer.from('0001ff', 'hex') }],
    ['MQTT-3.3.2-17: user properties, all of them', { userProperties: PAIRS }],
    ['MQTT-3.3.2-20: content type', { contentType: 'text/plain' }],
  ]

  /** The properties that come out where `properties` went in: live, to one who was away, retained, and the last two after a restart too. */
  function travelled(properties: Properties): Properties[] {
    const world = new World({ store: new DelayedStore() })
    const live = world.peer('live').subscribed('a', 1)
    const away = world.peer('away', STAYS)
    away.subscribe('a', 2)
    world.commit()
    away.lost()
    world.peer('p').publish('a', 'x', { qos: 2, retain: true, properties })
    world.commit()
    const all = live.published()
    for (const each of [world, world.restarted()]) {
      all.push(...each.peer('away', STAYS).greeted)
      const late = each.peer('late')
      late.subscribe('a')
      all.push(...late.published())
    }
    return all.map((message) => plain(message.properties))
  }
  /** Binary data compares by its bytes. */
  const plain = (properties: Properties): Properties =>
    properties.correlationData === undefined
      ? properties
      : { ...properties, correlationData: Buffer.from(properties.correlationData) }

  test.each(EVERY)('%s comes out unaltered everywhere', (_name, properties) => {
    expect(travelled(properties)).toEqual(Array(5).fill(properties))
  })

  test('MQTT-3.3.2-18: user properties stay in their order, and may repeat', () => {
    const world = new World()
    const receiver = world.peer('s').subscribed('a')
    const pairs = '26 0001 62 0001 31 26 0001 61 0001 32 26 0001 62 0001 33'
    world.peer('p').sendHex(withProperties(pairs))
    expect(world.out(receiver.connection)).toEqual([withProperties(pairs)])
    expect(travelled({ userProperties: PAIRS }).map(({ userProperties }) => userProperties)).toEqual(Array(5).fill(PAIRS))
  })

  test('a 3.1.1 receiver gets the message without them', () => {
    const world = new World()
    const receiver = world.peer('s', OLD).subscribed('a', 1)
    world
      .peer('p')
      .publish('a', 'x', { qos: 1, properties: { contentType: 't', messageExpiryInterval: 9, userProperties: PAIRS } })
    expect(receiver.read()).toEqual(['a=x q1 #1'])
  })
})

describe('Message Expiry Interval', () => {
  test('MQTT-3.3.2-5: a message that waited longer than it lives is dropped, and others go on', () => {
    const world = new World()
    world.peer('s', STAYS).subscribed('a', 2).lost()
    const publisher = world.peer('p')
    for (const qos of [1, 2] as const) {
      publisher.publish('a', 'short', { qos, id: qos, properties: { messageExpiryInterval: 5 } })
      publisher.publish('a', 'long', { qos, id: qos + 10 })
    }
    world.advance(5001)
    expect(world.peer('s', STAYS).greeting).toBe('CONNACK present,a=long q1 #1,a=long q2 #2')
  })

  test('MQTT-3.3.2-6: what is left of it goes out with the message', () => {
    const world = new World()
    world.peer('s', STAYS).subscribed('a', 1).lost()
    const live = world.peer('live').subscribed('a', 1)
    world.peer('p').publish('a', 'x', { qos: 1, retain: true, properties: { messageExpiryInterval: 60 } })
    expect(live.published()[0]?.properties).toEqual({ messageExpiryInterval: 60 })
    world.advance(20_400)
    const late = world.peer('late')
    late.subscribe('a', 1)
    const both = [...world.peer('s', STAYS).greeted, ...late.published()]
    expect(both.map(({ properties }) => properties)).toEqual([{ messageExpiryInterval: 40 }, { messageExpiryInterval: 40 }])
    world.advance(39_600)
    const tooLate = world.peer('too late')
    tooLate.subscribe('a', 1)
    expect(tooLate.read()).toEqual(['SUBACK #99 0x01'])
  })
})

test('5.0 section 3.3.1.3: a retained message that has expired takes no place in what may be retained', () => {
  const world = new World({ broker: { maxRetainedMessages: 4 } })
  const publisher = world.peer('p')
  const retain = (topic: string, properties: Properties = {}): void =>
    publisher.publish(topic, 'x', { qos: 1, retain: true, properties })
  retain('a', { messageExpiryInterval: 5 })
  retain('b', { messageExpiryInterval: 9 })
  retain('c')
  world.advance(5000)
  retain('c')
  retain('d')
  world.advance(5000)
  retain('d')
  expect(publisher.read().map((line) => line.slice(-4))).toEqual(['0x10', '0x10', '0x97', '0x10', '0x97', '0x10'])
})

describe('topic aliases', () => {
  test('MQTT-3.3.2-11: towards a client are within the maximum that it told', () => {
    const world = new World(aliases(5))
    for (const most of [undefined, 0, 1, 2, 5, 9]) {
      const properties = most === undefined ? {} : { topicAliasMaximum: most }
      const receiver = world.peer(`s${most}`, { properties }).subscribed('#')
      const publisher = world.peer('p')
      for (let round = 0; round < 2; round++) for (let i = 0; i < 8; i++) publisher.publish(`a/long/topic/${i}`, '')
      const used = receiver.published().map(({ properties }) => properties.topicAlias ?? 0)
      expect(new Set(used)).toEqual(new Set([...Array(Math.min(most ?? 0, 5) + 1).keys()]))
    }
  })

  test('MQTT-3.3.2-12: all up to the maximum are taken', () => {
    const world = new World(aliases(5))
    const watcher = world.peer('w').subscribed('#')
    const peer = world.peer('c')
    for (let topicAlias = 1; topicAlias <= 5; topicAlias++) peer.publish(`a/${topicAlias}`, 'set', { properties: { topicAlias } })
    for (let topicAlias = 5; topicAlias >= 1; topicAlias--) peer.publish('', 'used', { properties: { topicAlias } })
    expect(peer.read()).toEqual([])
    expect(watcher.read().slice(5)).toEqual([5, 4, 3, 2, 1].map((alias) => `a/${alias}=used q0`))
  })
})

describe.each(BOTH)('what follows a PUBLISH, %s', (_version, fresh) => {
  test('MQTT-3.3.4-1: nothing for QoS 0, PUBACK for 1, PUBREC for 2', () => {
    const world = new World()
    world.peer('s').subscribed('a')
    const peer = world.peer('c', fresh)
    for (const qos of [0, 1, 2] as const) peer.publish('a', 'x', { qos, id: 7 + qos })
    expect(peer.read()).toEqual(['PUBACK #8', 'PUBREC #9'])
  })
})

describe('subscription identifiers', () => {
  test('MQTT-3.3.4-3: come with the message', () => {
    const world = new World()
    const receiver = world.peer('s').subscribed('a', 1, {}, { subscriptionIdentifiers: [268_435_455] })
    world.peer('p').publish('a', 'x', { qos: 1 })
    expect(receiver.published()[0]?.properties).toEqual({ subscriptionIdentifiers: [268_435_455] })
  })

  test('MQTT-3.3.4-4: of all matching subscriptions come in the one copy', () => {
    const world = new World({ store: new DelayedStore() })
    const receiver = world.peer('s', STAYS)
    receiver.subscribe('a/#', 1, {}, { subscriptionIdentifiers: [1] })
    receiver.subscribe('a/+', 0, {}, { subscriptionIdentifiers: [200] })
    receiver.subscribe('+/b', 0, {}, { subscriptionIdentifiers: [200] })
    receiver.subscribe('#', 0)
    receiver.subscribe('b', 0, {}, { subscriptionIdentifiers: [4] })
    world.commit()
    receiver.read()
    world.peer('p').publish('a/b', 'x', { qos: 1 })
    world.commit()
    for (const copies of [receiver.published(), world.restarted().peer('s', STAYS).greeted]) {
      expect(copies).toHaveLength(1)
      expect(copies[0]?.properties.subscriptionIdentifiers?.toSorted((a, b) => a - b)).toEqual([1, 200, 200])
    }
  })

  test('MQTT-3.3.4-5: of two copies, each comes with that of its subscription', () => {
    const world = new World()
    const receiver = world.peer('s')
    receiver.subscribed('a', 1, {}, { subscriptionIdentifiers: [1] })
    receiver.subscribed('$share/g/a', 1, {}, { subscriptionIdentifiers: [2] })
    world.peer('p').publish('a', 'x', { qos: 1 })
    expect(receiver.published().map(({ properties }) => properties.subscriptionIdentifiers)).toEqual([[1], [2]])
  })
})
