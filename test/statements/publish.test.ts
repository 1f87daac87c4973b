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

describe.each(BOTH)('PUBLISH flags, %s', (_version, fresh, stays) => {
  test('MQTT-3.3.1-1: what is delivered again has DUP set', () => {
    const world = new World()
    const receiver = world.peer('s', stays).subscribed('a', 1)
    world.peer('p', fresh).publish('a', 'x', { qos: 1 })
    expect(receiver.read()).toEqual(['a=x q1 #1'])
    receiver.lost()
    expect(world.peer('s', stays).greeting).toBe('CONNACK present,a=x q1 #1 dup')
  })

  test('MQTT-3.3.1-2: DUP with QoS 0 ends the connection', () => {
    const peer = new World().peer('c', fresh)
    peer.sendHex('38 04 0001 61 00')
    expect(peer.read()).toEqual(fresh === OLD ? ['close'] : ['DISCONNECT 0x81', 'close'])
  })

  test('MQTT-3.3.1-3: the DUP flag of the publisher goes no further', () => {
    const world = new World()
    const receivers = [0, 1, 2].map((qos) => world.peer(`s${qos}`, fresh).subscribed('a', qos as 0 | 1 | 2))
    const publisher = world.peer('p', fresh)
    publisher.publish('a', '1', { qos: 1, id: 1, dup: true })
    publisher.publish('a', '2', { qos: 2, id: 2, dup: true })
    expect(receivers.map((receiver) => receiver.read())).toEqual([
      ['a=1 q0', 'a=2 q0'],
      ['a=1 q1 #1', 'a=2 q1 #2'],
      ['a=1 q1 #1', 'a=2 q2 #2'],
    ])
  })

  test('MQTT-3.3.1-4: QoS 3 ends the connection', () => {
    const world = new World()
    const peer = world.peer('c', fresh)
    peer.sendHex('36 08 0001 61 0001 00 78 78')
    expect(peer.read()).toEqual(fresh === OLD ? ['close'] : ['DISCONNECT 0x81', 'close'])
  })

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

  test('MQTT-3.3.1-12: an established subscription gets RETAIN 0', () => {
    const world = new World()
    const receiver = world.peer('s', fresh).subscribed('a', 1)
    const publisher = world.peer('p', fresh)
    publisher.publish('a', 'x', { retain: true })
    publisher.publish('a', 'y', { qos: 1, retain: true })
    expect(receiver.read()).toEqual(['a=x q0', 'a=y q1 #1'])
  })
})

describe('retain handling and Retain As Published', () => {
  const subscribedTwice = (retainHandling: 0 | 1 | 2): string[][] => {
    const world = new World()
    world.peer('p').publish('a', 'x', { retain: true })
    const receiver = world.peer('s')
    return [1, 2].map(() => {
      receiver.subscribe('a', 0, { retainHandling })
      return receiver.read().slice(1)
    })
  }

  test('MQTT-3.3.1-10: 1 gives what is retained to a new subscription only', () => {
    expect(subscribedTwice(1)).toEqual([['a=x q0 retain'], []])
  })

  test('MQTT-3.3.1-11: 2 never gives what is retained', () => {
    expect(subscribedTwice(2)).toEqual([[], []])
  })

  test('MQTT-3.3.1-13: Retain As Published keeps the flag as it came', () => {
    const world = new World()
    const receiver = world.peer('s').subscribed('a', 1, { retainAsPublished: true })
    const publisher = world.peer('p')
    for (const qos of [0, 1] as const) {
      publisher.publish('a', 'x', { qos, retain: true })
      publisher.publish('a', 'y', { qos })
    }
    expect(receiver.read()).toEqual(['a=x q0 retain', 'a=y q0', 'a=x q1 #1 retain', 'a=y q1 #2'])
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

  test('3.1.1 MQTT-3.3.1-6: the last of each matching topic goes to a new subscription', () => {
    const world = new World()
    const publisher = world.peer('p', OLD)
    for (const payload of ['1', '2', '3']) {
      publisher.publish('a/b', payload, { retain: true })
      publisher.publish('a/c', payload, { retain: true })
    }
    const late = world.peer('s', OLD)
    late.subscribe('a/#')
    expect(late.read().sort()).toEqual(['SUBACK #99 0x00', 'a/b=3 q0 retain', 'a/c=3 q0 retain'])
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

  test('3.1.1 MQTT-3.3.1-8: come with RETAIN set', () => {
    const world = new World()
    world.peer('p', OLD).publish('a', 'x', { qos: 1, retain: true })
    const late = world.peer('s', OLD)
    late.subscribe('a', 1)
    expect(late.read()).toEqual(['SUBACK #99 0x01', 'a=x q1 #1 retain'])
  })
})

describe.each(BOTH)('topic names, %s', (_version, fresh) => {
  test('MQTT-3.3.2-1: are UTF-8', () => {
    const peer = new World().peer('c', fresh)
    peer.sendHex('3005 0002 c0af 00')
    expect(peer.read()).toEqual(fresh === OLD ? ['close'] : ['DISCONNECT 0x81', 'close'])
  })

  test('MQTT-3.3.2-2: have no wildcards', () => {
    for (const topic of ['23', '2b']) {
      const peer = new World().peer('c', fresh)
      peer.sendHex(`3004 0001 ${topic} 00`)
      expect(peer.read()).toEqual(fresh === OLD ? ['close'] : ['DISCONNECT 0x90', 'close'])
    }
  })

  test('MQTT-3.3.2-3: that a client gets match its filter', () => {
    const world = new World()
    const receivers = ['a', 'b/c', '+/c', 'b/#'].map((filter) => world.peer(filter, fresh).subscribed(filter))
    const publisher = world.peer('p', fresh)
    for (const topic of ['a', 'b', 'b/c', 'd/c', 'd']) publisher.publish(topic, '')
    expect(receivers.map((receiver) => receiver.read())).toEqual([
      ['a= q0'],
      ['b/c= q0'],
      ['b/c= q0', 'd/c= q0'],
      ['b= q0', 'b/c= q0'],
    ])
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

  test.each([
    ['MQTT-3.3.2-13: a response topic', '08 0002 c0af', 0x81],
    ['MQTT-3.3.2-19: a content type', '03 0002 c0af', 0x81],
  ])('%s is UTF-8', (_name, hex, reasonCode) => {
    const peer = new World().peer('c')
    peer.sendHex(withProperties(hex))
    expect(peer.read()).toEqual([`DISCONNECT 0x${reasonCode.toString(16)}`, 'close'])
  })

  test('MQTT-3.3.2-14: a response topic has no wildcards', () => {
    for (const topic of ['2b', '23', '612f2b', '612f23']) {
      const peer = new World().peer('c')
      peer.sendHex(withProperties(`08 000${topic.length / 2} ${topic}`))
      expect(peer.read()).toEqual(['DISCONNECT 0x82', 'close'])
    }
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
  })
})

test('5.0 section 3.3.1.3: a retained message that has expired takes no place in what may be retained', () => {
  const world = new World({ broker: { maxRetainedMessages: 2 } })
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
  test('MQTT-3.3.2-7: end with the connection', () => {
    const world = new World(aliases(5))
    const watcher = world.peer('w').subscribed('#')
    const first = world.peer('c', STAYS)
    first.publish('some/topic', '1', { properties: { topicAlias: 1 } })
    first.publish('', '2', { properties: { topicAlias: 1 } })
    first.lost()
    const second = world.peer('c', STAYS)
    second.publish('', '3', { properties: { topicAlias: 1 } })
    expect(second.read()).toEqual(['DISCONNECT 0x82', 'close'])
    expect(watcher.read()).toEqual(['some/topic=1 q0', 'some/topic=2 q0'])
  })

  test('MQTT-3.3.2-8: 0 is none', () => {
    const peer = new World(aliases(5)).peer('c')
    peer.sendHex(withProperties('23 0000'))
    expect(peer.read()).toEqual(['DISCONNECT 0x94', 'close'])
  })

  test('MQTT-3.3.2-9: above the maximum that CONNACK told, they end the connection', () => {
    const peer = new World(aliases(5)).peer('c')
    peer.publish('a', 'x', { properties: { topicAlias: 6 } })
    expect(peer.read()).toEqual(['DISCONNECT 0x94', 'close'])
  })

  test('MQTT-3.3.2-11: towards a client are within the maximum that it told', () => {
    const world = new World(aliases(5))
    for (const most of [0, 2, 5, 9]) {
      const receiver = world.peer(`s${most}`, { properties: { topicAliasMaximum: most } }).subscribed('#')
      const publisher = world.peer('p')
      for (let round = 0; round < 2; round++) for (let i = 0; i < 8; i++) publisher.publish(`a/long/topic/${i}`, '')
      const used = receiver.published().map(({ properties }) => properties.topicAlias ?? 0)
      expect(new Set(used)).toEqual(new Set([...Array(Math.min(most, 5) + 1).keys()]))
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

  test('MQTT-3.3.4-2: overlapping subscriptions give the highest QoS of them', () => {
    const world = new World()
    const receiver = world.peer('s', fresh).subscribed('a/#', 0).subscribed('a/+', 2).subscribed('a/b', 1)
    world.peer('p', fresh).publish('a/b', 'x', { qos: 2 })
    expect(receiver.read()).toEqual(['a/b=x q2 #1'])
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

  test('MQTT-3.3.4-6: have no place in the PUBLISH of a client', () => {
    const peer = new World().peer('c')
    peer.sendHex(withProperties('0b 01'))
    expect(peer.read()).toEqual(['DISCONNECT 0x82', 'close'])
  })
})
