import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import type { Publish } from '../../src/mqtt/publish.ts'
import { OLD, type Peer, STAYS, STAYS_OLD, World } from '../mqtt/peers.ts'

const BOTH = [
  ['3.1.1', OLD, STAYS_OLD],
  ['5.0', {}, STAYS],
] as const
const ended = (version: string, reasonCode: string): string[] =>
  version === '5.0' ? [`DISCONNECT ${reasonCode}`, 'close'] : ['close']
const aliasesOf = (messages: readonly Publish[]): [string, number | undefined][] =>
  messages.map(({ topic, properties }) => [topic, properties.topicAlias])
const withAliases = (topicAliasMaximum: number) => ({
  connections: { listeners: new Map([['mqtt', { ...DEFAULT_LISTENER_LIMITS, topicAliasMaximum }]]) },
})

/** A subscriber with QoS 2 messages that have their packet ids, which are not durable yet, so that nothing has left. */
function withRecordedIds(publish: (publisher: Peer) => void, stays: Partial<Connect> = STAYS): { world: World; peer: Peer } {
  const store = new DelayedStore()
  const world = new World({ store })
  const peer = world.peer('s', stays)
  peer.subscribe('a', 2)
  world.commit()
  peer.read()
  publish(world.peer('p'))
  store.commit()
  world.broker.handleDurable()
  world.run()
  expect(store.appended).toBeGreaterThan(store.durable)
  expect(peer.read()).toEqual([])
  return { world, peer }
}

describe.each(BOTH)('behaviour 17: flags that no PUBLISH may have, %s', (version, fresh) => {
  test.each([
    ['DUP with QoS 0', '38 04 0001 61 00'],
    ['QoS 3', '36 06 0001 61 0001 00'],
    ['QoS 3 with DUP and RETAIN', '3f 06 0001 61 0001 00'],
  ])('%s is malformed: told, closed, and not delivered', (_name, hex) => {
    const world = new World()
    const watcher = world.peer('w').subscribed('#')
    const peer = world.peer('c', fresh)
    peer.sendHex(hex)
    expect(peer.read()).toEqual(ended(version, '0x81'))
    expect(watcher.read()).toEqual([])
  })
})

describe.each(BOTH)('behaviour 18: DUP goes out only with what goes out again, %s', (_version, fresh, stays) => {
  test('whatever the publisher set, live, queued and retained', () => {
    const world = new World()
    world.peer('away', stays).subscribed('a', 2).lost()
    const there = world.peer('there', fresh).subscribed('a', 2)
    const publisher = world.peer('p', fresh)
    for (const qos of [1, 2] as const) publisher.publish('a', String(qos), { qos, dup: true, retain: true })
    expect(there.read()).toEqual(['a=1 q1 #1', 'a=2 q2 #2'])
    const back = world.peer('away', stays)
    expect(back.greeting).toBe('CONNACK present,a=1 q1 #1,a=2 q2 #2')
    const late = world.peer('late', fresh)
    late.subscribe('a', 2)
    expect(late.read().slice(1)).toEqual(['a=2 q2 #1 retain'])
    back.lost()
    expect(world.peer('away', stays).greeting).toBe('CONNACK present,a=1 q1 #1 dup,a=2 q2 #2 dup')
  })

  test('a message that had a packet id and never left goes out without it', () => {
    const { world, peer } = withRecordedIds((publisher) => publisher.publish('a', 'x', { qos: 2 }), stays)
    peer.lost()
    expect(world.peer('s', stays).greeting).toBe('CONNACK present,a=x q2 #1')
  })
})

describe('behaviour 19: topic aliases', () => {
  test('of a client die with its connection, and a takeover gets none of them', () => {
    const world = new World()
    const watcher = world.peer('w').subscribed('#')
    const first = world.peer('c', STAYS)
    first.publish('some/topic', '1', { properties: { topicAlias: 1 } })
    const second = world.peer('c', STAYS)
    expect(first.read()).toEqual(['DISCONNECT 0x8e', 'close'])
    second.publish('', '2', { properties: { topicAlias: 1 } })
    expect(second.read()).toEqual(['DISCONNECT 0x82', 'close'])
    expect(watcher.read()).toEqual(['some/topic=1 q0'])
  })

  test('of the broker die with the connection: what is sent again carries the full topic', () => {
    const world = new World(withAliases(5))
    const options = { ...STAYS, properties: { ...STAYS.properties, topicAliasMaximum: 5 } }
    const first = world.peer('s', options).subscribed('#', 2)
    const publisher = world.peer('p')
    for (const id of [1, 2, 3]) publisher.publish('some/long/topic', String(id), { qos: id === 2 ? 2 : 1, id })
    expect(aliasesOf(first.published())).toEqual([
      ['some/long/topic', 1],
      ['', 1],
      ['', 1],
    ])
    first.lost()
    const again = world.peer('s', options)
    expect(aliasesOf(again.greeted)).toEqual([
      ['some/long/topic', 1],
      ['', 1],
      ['', 1],
    ])
    again.lost()
    expect(aliasesOf(world.peer('s', STAYS).greeted)).toEqual([
      ['some/long/topic', undefined],
      ['some/long/topic', undefined],
      ['some/long/topic', undefined],
    ])
  })

  test('0 and those above the maximum end the connection with 0x94, unknown ones with 0x82', () => {
    for (const [topicAlias, topic, reasonCode] of [
      [0, 'a', '0x94'],
      [3, 'a', '0x94'],
      [65_535, '', '0x94'],
      [2, '', '0x82'],
    ] as const) {
      const peer = new World(withAliases(2)).peer('c')
      peer.publish('a', 'x', { properties: { topicAlias: 1 } })
      peer.publish(topic, 'x', { properties: { topicAlias } })
      expect(peer.read()).toEqual([`DISCONNECT ${reasonCode}`, 'close'])
    }
  })

  test('of both directions are independent, and one may be given to another topic', () => {
    const world = new World()
    const peer = world.peer('c', { properties: { topicAliasMaximum: 5 } }).subscribed('to/the/client')
    const watcher = world.peer('w').subscribed('from/#')
    world.peer('p').publish('to/the/client', 'x')
    peer.publish('from/client', '1', { properties: { topicAlias: 1 } })
    peer.publish('', '2', { properties: { topicAlias: 1 } })
    peer.publish('from/elsewhere', '3', { properties: { topicAlias: 1 } })
    peer.publish('', '4', { properties: { topicAlias: 1 } })
    expect(aliasesOf(peer.published())).toEqual([['to/the/client', 1]])
    expect(watcher.read()).toEqual(['from/client=1 q0', 'from/client=2 q0', 'from/elsewhere=3 q0', 'from/elsewhere=4 q0'])
  })

  test('go no further than the connection that they came by', () => {
    const world = new World()
    const watcher = world.peer('w').subscribed('#')
    world.peer('c').publish('a', 'x', { properties: { topicAlias: 1, contentType: 't' } })
    expect(watcher.published().map(({ properties }) => properties)).toEqual([{ contentType: 't' }])
  })
})

describe('behaviour 20: a response topic with wildcards', () => {
  test.each(['+', '#', 'a/+', 'a/#', 'a+b'])('%s is refused, in PUBLISH and in a will', (responseTopic) => {
    const world = new World()
    const peer = world.peer('c')
    peer.publish('a', 'x', { qos: 1, properties: { responseTopic } })
    expect(peer.read()).toEqual(['DISCONNECT 0x82', 'close'])
    const will = { topic: 'w', payload: Buffer.from('x'), qos: 0 as const, retain: false, properties: { responseTopic } }
    expect(world.peer('d', { will }).greeting).toBe('CONNACK 0x82,close')
  })
})

describe('behaviour 21: Message Expiry Interval', () => {
  const EXPIRES: Properties = { messageExpiryInterval: 60 }
  const left = (messages: readonly Publish[]): (number | undefined)[] =>
    messages.map(({ properties }) => properties.messageExpiryInterval)
  const retained = (world: World): Publish[] => {
    const late = world.peer('late')
    late.subscribe('a', 1)
    return late.published()
  }

  test('holds for what waits behind a full socket', () => {
    const world = new World()
    const receiver = world.peer('s').subscribed('a', 2).subscribed('b', 2, { retainAsPublished: true })
    world.congested(receiver.connection, true)
    const publisher = world.peer('p')
    for (const qos of [0, 1, 2] as const) {
      publisher.publish('a', 'x', { qos, properties: EXPIRES })
      publisher.publish('b', 'x', { qos, id: 2, retain: true, properties: { messageExpiryInterval: 20 } })
      publisher.ack('PUBREL', 1)
    }
    world.advance(30_000)
    world.congested(receiver.connection, false)
    expect(left(receiver.published())).toEqual([30, 30, 30])
  })

  test('ends what had a packet id and never left', () => {
    const { world, peer } = withRecordedIds((publisher) => {
      publisher.publish('a', '1', { qos: 2, id: 1, properties: EXPIRES })
      publisher.publish('a', '2', { qos: 2, id: 2 })
    })
    peer.lost()
    world.advance(60_000)
    expect(world.peer('s', STAYS).greeting).toBe('CONNACK present,a=2 q2 #2')
    expect(world.broker.sessions.waiting().messages).toBe(1)
  })

  test('counts the time that the broker was down, retained and queued', () => {
    const world = new World({ store: new DelayedStore(), epoch: 1_000_000 })
    const away = world.peer('s', STAYS)
    away.subscribe('a', 2)
    world.commit()
    away.lost()
    world.peer('p').publish('a', 'x', { qos: 1, retain: true, properties: EXPIRES })
    world.commit()
    const after = world.restarted(20_000)
    expect(left(retained(after))).toEqual([40])
    expect(left(after.peer('s', STAYS).greeted)).toEqual([40])
    const much = world.restarted(60_000)
    expect(retained(much)).toEqual([])
    expect(much.peer('s', STAYS).greeting).toBe('CONNACK present')
  })

  test('is less for what waits in a shared subscription, and stays so when another member gets it', () => {
    const world = new World()
    const member = world.peer('m1', STAYS)
    member.subscribed('$share/g/a', 1).lost()
    const publisher = world.peer('p')
    publisher.publish('a', 'short', { qos: 1, properties: { messageExpiryInterval: 15 } })
    publisher.publish('a', 'long', { qos: 1, properties: EXPIRES })
    world.advance(20_000)
    const other = world.peer('m2').subscribed('$share/g/a', 1)
    // A clean start ends the session of the first member.
    world.peer('m1').lost()
    const passedOn = other.published()
    expect(passedOn.map(({ payload }) => Buffer.from(payload).toString())).toEqual(['long'])
    expect(left(passedOn)).toEqual([40])
  })

  test('0 reaches whoever listens now, and waits for nobody', () => {
    const world = new World()
    world.peer('away', STAYS).subscribed('a', 1).lost()
    const there = world.peer('there').subscribed('a', 1)
    world.peer('p').publish('a', 'x', { qos: 1, properties: { messageExpiryInterval: 0 } })
    expect(left(there.published())).toEqual([0])
    world.advance(1000)
    expect(world.peer('away', STAYS).greeting).toBe('CONNACK present')
  })

  test('ends nothing that was sent: QoS 2 completes after it, across reconnect and restart', () => {
    const world = new World({ store: new DelayedStore() })
    const first = world.peer('s', STAYS)
    first.subscribe('a', 2)
    world.commit()
    first.read()
    const publisher = world.peer('p')
    for (const id of [1, 2]) publisher.publish('a', String(id), { qos: 2, id, properties: { messageExpiryInterval: 1 } })
    world.commit()
    expect(first.read()).toEqual(['a=1 q2 #1', 'a=2 q2 #2'])
    world.advance(5000)
    first.ack('PUBREC', 1)
    world.commit()
    expect(first.read()).toEqual(['PUBREL #1'])
    const after = world.restarted(5000)
    const again = after.peer('s', STAYS)
    expect(again.greeting).toBe('CONNACK present,a=2 q2 #2 dup,PUBREL #1')
    expect(left(again.greeted)).toEqual([0])
    again.ack('PUBCOMP', 1)
    again.ack('PUBREC', 2)
    after.commit()
    again.ack('PUBCOMP', 2)
    after.commit()
    expect(again.read()).toEqual(['PUBREL #2'])
    expect(after.restarted(5000).peer('s', STAYS).greeting).toBe('CONNACK present')
  })
})

test('behaviour 22: a subscription identifier in the PUBLISH of a client is a protocol error', () => {
  const world = new World()
  const watcher = world.peer('w').subscribed('#')
  const peer = world.peer('c')
  peer.publish('a', 'x', { qos: 1, properties: { subscriptionIdentifiers: [1] } })
  expect(peer.read()).toEqual(['DISCONNECT 0x82', 'close'])
  expect(watcher.read()).toEqual([])
})

describe('behaviour 23: Receive Maximum', () => {
  const receiving = (receiveMaximum: number) => ({ ...STAYS, properties: { ...STAYS.properties, receiveMaximum } })

  test('does not hold up QoS 0 of others, nor what a publisher is owed', () => {
    const world = new World()
    const peer = world.peer('s', receiving(1)).subscribed('a', 1)
    const other = world.peer('o').subscribed('a', 1)
    const publisher = world.peer('p')
    for (const id of [1, 2, 3]) publisher.publish('a', String(id), { qos: 1, id })
    expect(peer.read()).toEqual(['a=1 q1 #1'])
    expect(other.read()).toHaveLength(3)
    expect(publisher.read()).toEqual(['PUBACK #1', 'PUBACK #2', 'PUBACK #3'])
  })
})

describe('behaviour 24: 0x10, no matching subscribers,', () => {
  const answers = (publisher: Peer, topic = 'a/b'): string[] => {
    for (const qos of [1, 2] as const) {
      publisher.publish(topic, 'x', { qos, id: qos })
      publisher.publish(topic, 'x', { qos, id: qos + 10, retain: true })
    }
    return publisher.read()
  }
  const NONE = ['PUBACK #1 0x10', 'PUBACK #11 0x10', 'PUBREC #2 0x10', 'PUBREC #12 0x10']
  const SOME = ['PUBACK #1', 'PUBACK #11', 'PUBREC #2', 'PUBREC #12']

  test.each(['a/b', 'a/+', '#', '+/+/#', '$share/g/a/b', '$share/g/#'])('is not told where %s is subscribed', (filter) => {
    const world = new World()
    world.peer('s').subscribed(filter)
    expect(answers(world.peer('p'))).toEqual(SOME)
  })

  test('is not told where the only subscriber is away, or the publisher itself', () => {
    const world = new World()
    world.peer('away', STAYS).subscribed('a/b', 1).lost()
    expect(answers(world.peer('p'))).toEqual(SOME)
    const own = new World()
    expect(answers(own.peer('p').subscribed('#'))).toHaveLength(8)
  })

  test('is told where there is nobody, nobody any more, or nobody whose filter matches', () => {
    const world = new World()
    const subscriber = world.peer('s', STAYS).subscribed('a/b').subscribed('$share/g/a/#')
    world.peer('x').subscribed('a').subscribed('a/b/c').subscribed('+')
    const publisher = world.peer('p')
    subscriber.send({ type: 10, packetId: 1, filters: ['a/b', '$share/g/a/#'], properties: {} })
    expect(answers(publisher)).toEqual(NONE)
    subscriber.subscribed('$x/#')
    subscriber.subscribed('#')
    world.peer('s').lost()
    expect(answers(world.peer('q'))).toEqual(NONE)
    world.peer('y').subscribed('#')
    expect(answers(world.peer('r'), '$x/y')).toEqual(NONE)
  })

  test('is never told to 3.1.1, which has no reason codes', () => {
    expect(answers(new World().peer('p', OLD))).toEqual(SOME)
  })
})
