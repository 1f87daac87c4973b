import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { OLD, STAYS, STAYS_OLD, World } from '../mqtt/peers.ts'

describe.each([
  ['3.1.1', OLD, STAYS_OLD],
  ['5.0', {}, STAYS],
] as const)('as a sender, %s', (_version, fresh, stays) => {
  test('MQTT-4.3.1-1: QoS 0 goes out with QoS 0 and without DUP', () => {
    const world = new World()
    const receiver = world.peer('s', fresh).subscribed('a', 2).subscribed('b', 0)
    for (const publisher of [world.peer('p4', OLD), world.peer('p5')]) {
      publisher.publish('a', 'x')
      publisher.publish('b', 'x', { qos: 2, dup: true })
    }
    expect(receiver.read()).toEqual(['a=x q0', 'b=x q0', 'a=x q0', 'b=x q0'])
  })

  test('MQTT-4.3.2-3: QoS 1 is unacknowledged until PUBACK', () => {
    const world = new World()
    const receiver = world.peer('s', stays).subscribed('a', 1)
    const publisher = world.peer('p')
    publisher.publish('a', '1', { qos: 1 })
    publisher.publish('a', '2', { qos: 1 })
    receiver.ack('PUBACK', 2)
    receiver.lost()
    const again = world.peer('s', stays)
    expect(again.greeting).toBe('CONNACK present,a=1 q1 #1 dup')
    again.ack('PUBACK', 1)
    again.lost()
    expect(world.peer('s', stays).greeting).toBe('CONNACK present')
  })

  test('MQTT-4.3.3-5: PUBREL is unacknowledged until PUBCOMP', () => {
    const world = new World()
    const receiver = world.peer('s', stays).subscribed('a', 2)
    world.peer('p').publish('a', 'x', { qos: 2 })
    receiver.ack('PUBREC', 1)
    receiver.lost()
    for (let i = 0; i < 3; i++) expect(world.peer('s', stays).greeting).toBe('CONNACK present,PUBREL #1')
    world.peer('s', stays).ack('PUBCOMP', 1)
    expect(world.peer('s', stays).greeting).toBe('CONNACK present')
  })
})

test('MQTT-4.3.3-7: a message that was sent does not expire, and comes again with no time left', () => {
  const world = new World()
  const receiver = world.peer('s', STAYS).subscribed('a', 2)
  const publisher = world.peer('p')
  for (const qos of [1, 2] as const) publisher.publish('a', 'x', { qos, properties: { messageExpiryInterval: 5 } })
  expect(receiver.read()).toEqual(['a=x q1 #1', 'a=x q2 #2'])
  receiver.lost()
  world.advance(10_000)
  const again = world.peer('s', STAYS)
  expect(again.greeting).toBe('CONNACK present,a=x q1 #1 dup,a=x q2 #2 dup')
  expect(again.greeted.map(({ properties }) => properties)).toEqual([{ messageExpiryInterval: 0 }, { messageExpiryInterval: 0 }])
  again.ack('PUBREC', 2)
  world.advance(10_000)
  again.ack('PUBCOMP', 2)
  expect(again.read()).toEqual(['PUBREL #2'])
})

describe.each([
  ['3.1.1', OLD, STAYS_OLD],
  ['5.0', {}, STAYS],
] as const)('as a receiver, %s', (_version, fresh, stays) => {
  /** A publisher whose messages somebody waits for, with a store that makes nothing durable by itself. */
  function owing(): { world: World; peer: ReturnType<World['peer']> } {
    const world = new World({ store: new DelayedStore() })
    world.peer('s', STAYS).subscribe('a', 2)
    world.commit()
    return { world, peer: world.peer('p', stays) }
  }

  test('MQTT-4.3.2-4: QoS 1 is answered with PUBACK of its packet id, once the message is safe', () => {
    const { world, peer } = owing()
    peer.publish('a', 'x', { qos: 1, id: 777 })
    expect(peer.read()).toEqual([])
    world.commit()
    expect(peer.read()).toEqual(['PUBACK #777'])
    expect(world.restarted().peer('s', STAYS).greeting).toContain('a=x q1')
  })

  test('MQTT-4.3.2-5: after PUBACK the same packet id is a new message, DUP or not', () => {
    const world = new World()
    const watcher = world.peer('w').subscribed('a')
    const peer = world.peer('p', fresh)
    for (const dup of [false, true, false]) peer.publish('a', 'x', { qos: 1, id: 4, dup })
    expect(peer.read()).toEqual(['PUBACK #4', 'PUBACK #4', 'PUBACK #4'])
    expect(watcher.read()).toEqual(['a=x q0', 'a=x q0', 'a=x q0'])
  })

  test('MQTT-4.3.3-8: QoS 2 is answered with PUBREC of its packet id, once the message is safe', () => {
    const { world, peer } = owing()
    peer.publish('a', 'x', { qos: 2, id: 777 })
    expect(peer.read()).toEqual([])
    world.commit()
    expect(peer.read()).toEqual(['PUBREC #777'])
    expect(world.restarted().peer('s', STAYS).greeting).toContain('a=x q2')
  })

  test('MQTT-4.3.3-11: PUBREL is answered with PUBCOMP of its packet id', () => {
    const { world, peer } = owing()
    for (const id of [5, 6]) peer.publish('a', 'x', { qos: 2, id })
    world.commit()
    peer.read()
    for (const id of [6, 5]) peer.ack('PUBREL', id)
    world.commit()
    expect(peer.read()).toEqual(['PUBCOMP #6', 'PUBCOMP #5'])
  })

  test('MQTT-4.3.3-12: after PUBCOMP the same packet id is a new message', () => {
    const { world, peer } = owing()
    const watcher = world.peer('w').subscribed('a')
    for (const payload of ['1', '2']) {
      peer.publish('a', payload, { qos: 2, id: 4 })
      world.commit()
      peer.ack('PUBREL', 4)
      world.commit()
    }
    expect(peer.read()).toEqual(['PUBREC #4', 'PUBCOMP #4', 'PUBREC #4', 'PUBCOMP #4'])
    expect(watcher.read()).toEqual(['a=1 q0', 'a=2 q0'])
  })
})

test('MQTT-4.3.3-9: after a PUBREC that refuses, the same packet id is a new message', () => {
  let allowed = false
  const world = new World({ access: { ...OPEN_ACCESS, publish: () => allowed } })
  const watcher = world.peer('w').subscribed('a')
  const peer = world.peer('p')
  peer.publish('a', '1', { qos: 2, id: 4 })
  allowed = true
  peer.publish('a', '2', { qos: 2, id: 4 })
  peer.ack('PUBREL', 4)
  expect(peer.read()).toEqual(['PUBREC #4 0x87', 'PUBREC #4', 'PUBCOMP #4'])
  expect(watcher.read()).toEqual(['a=2 q0'])
})

test('MQTT-4.3.3-13: the exchange goes on after the message has expired', () => {
  const world = new World()
  world.peer('s', STAYS).subscribed('a', 2).lost()
  const peer = world.peer('p')
  peer.publish('a', 'x', { qos: 2, id: 4, properties: { messageExpiryInterval: 1 } })
  world.advance(10_000)
  peer.publish('a', 'x', { qos: 2, id: 4, dup: true, properties: { messageExpiryInterval: 1 } })
  peer.ack('PUBREL', 4)
  expect(peer.read()).toEqual(['PUBREC #4', 'PUBREC #4', 'PUBCOMP #4'])
  expect(world.peer('s', STAYS).greeting).toBe('CONNACK present')
})

test.each([1, 2] as const)(
  'what one session gets by a plain and a shared subscription is two copies, each with an end of its own, over a restart too, QoS %i',
  (qos) => {
    const world = new World({ store: new DelayedStore() })
    const receiver = world.peer('s', STAYS)
    receiver.subscribe('a', 2)
    receiver.subscribe('$share/g/a', 2)
    world.commit()
    receiver.lost()
    world.peer('p').publish('a', 'x', { qos })
    world.commit()
    const after = world.restarted()
    const again = after.peer('s', STAYS)
    expect(again.greeting).toBe(`CONNACK present,a=x q${qos} #1,a=x q${qos} #2`)
    if (qos === 1) again.ack('PUBACK', 1)
    else {
      again.ack('PUBREC', 1)
      after.commit()
      again.ack('PUBCOMP', 1)
    }
    after.commit()
    const last = after.restarted().peer('s', STAYS)
    expect(last.greeting).toMatch(/^CONNACK present,a=x q. #\d( dup)?$/)
  },
)
