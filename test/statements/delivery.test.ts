import { describe, expect, test } from 'vitest'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { OLD, STAYS, STAYS_OLD, World } from '../mqtt/peers.ts'

const BOTH = [
  ['3.1.1', OLD, STAYS_OLD],
  ['5.0', {}, STAYS],
] as const

describe.each(BOTH)('delivery, %s', (_version, fresh, stays) => {
  test('MQTT-4.4.0-1: what is unacknowledged is sent again under its packet id, on reconnect and never else', () => {
    const world = new World()
    const receiver = world.peer('s', stays).subscribed('a', 2)
    const publisher = world.peer('p')
    for (let id = 1; id <= 5; id++) publisher.publish('a', String(id), { qos: id % 2 === 0 ? 2 : 1, id })
    receiver.ack('PUBACK', 1)
    receiver.ack('PUBREC', 2)
    expect(receiver.read()).toEqual(['a=1 q1 #1', 'a=2 q2 #2', 'a=3 q1 #3', 'a=4 q2 #4', 'a=5 q1 #5', 'PUBREL #2'])
    receiver.send({ type: 12 })
    receiver.subscribe('b')
    world.congested(receiver.connection, true)
    world.congested(receiver.connection, false)
    world.advance(10_000_000)
    expect(receiver.read().filter((line) => line.startsWith('a='))).toEqual([])
    receiver.lost()
    expect(world.peer('s', stays).greeting).toBe('CONNACK present,a=3 q1 #3 dup,a=4 q2 #4 dup,a=5 q1 #5 dup,PUBREL #2')
    expect(world.peer('s', fresh).greeting).toBe('CONNACK')
    expect(world.peer('s', stays).greeting).toBe('CONNACK')
  })

  test('MQTT-4.5.0-1: a message is added to the session of everybody who subscribed, there or away', () => {
    const world = new World()
    world.peer('away', stays).subscribed('a/#', 1).lost()
    const there = world.peer('there', fresh).subscribed('+/b', 1)
    const publisher = world.peer('p')
    publisher.publish('a/b', '1', { qos: 1 })
    publisher.publish('a/c', '2', { qos: 1 })
    publisher.publish('d/b', '3', { qos: 1 })
    expect(there.read()).toEqual(['a/b=1 q1 #1', 'd/b=3 q1 #2'])
    expect(world.peer('away', stays).greeting).toBe('CONNACK present,a/b=1 q1 #1,a/c=2 q1 #2')
  })

  test('MQTT-4.6.0-5: messages of one topic and QoS come in their order, those sent again before new ones', () => {
    for (const qos of [1, 2] as const) {
      const world = new World()
      const first = world.peer('s', stays).subscribed('a', 2)
      const publisher = world.peer('p')
      for (const id of [1, 2]) publisher.publish('a', String(id), { qos, id })
      first.lost()
      for (const id of [3, 4]) publisher.publish('a', String(id), { qos, id })
      const again = world.peer('s', stays)
      publisher.publish('a', '5', { qos, id: 5 })
      const order = [...again.greeting.split(','), ...again.read()].map((line) => /a=(\d)/.exec(line)?.[1] ?? '')
      expect(order.join('')).toBe('12345')
    }
  })

  test.each([-1, 4])(
    'MQTT-4.6.0-6: every topic is ordered, whatever the QoS of its messages (%i of them behind a full socket)',
    (last) => {
      const world = new World()
      const receiver = world.peer('s', fresh).subscribed('#', 2)
      const publisher = world.peer('p')
      let id = 1
      // What waits behind a full socket leaves in one go, and the rest as it comes.
      if (last >= 0) world.congested(receiver.connection, true)
      for (const [i, qos] of ([2, 0, 1, 1, 2, 2] as const).entries()) {
        for (const topic of ['a', 'b/c', '/']) publisher.publish(topic, String(i), { qos, id: id++ })
        if (i === last) world.congested(receiver.connection, false)
      }
      const lines = receiver.read()
      for (const topic of ['a', 'b/c', '/']) {
        const order = lines.filter((line) => line.startsWith(`${topic}=`)).map((line) => line[topic.length + 1])
        expect(order.join('')).toBe('012345')
      }
    },
  )
})

test('3.1.1 MQTT-4.6.0-6: PUBRELs go out, and out again, in the order of the PUBRECs', () => {
  const world = new World()
  const receiver = world.peer('s', STAYS_OLD).subscribed('a', 2)
  const publisher = world.peer('p')
  for (const id of [1, 2, 3]) publisher.publish('a', String(id), { qos: 2, id })
  receiver.read()
  for (const id of [3, 1, 2]) receiver.ack('PUBREC', id)
  expect(receiver.read()).toEqual(['PUBREL #3', 'PUBREL #1', 'PUBREL #2'])
  receiver.lost()
  expect(world.peer('s', STAYS_OLD).greeting).toBe('CONNACK present,PUBREL #3,PUBREL #1,PUBREL #2')
})

test('MQTT-4.4.0-2: PUBACK and PUBREC that refuse end the exchange', () => {
  const world = new World()
  const receiver = world.peer('s', STAYS).subscribed('a', 2)
  const publisher = world.peer('p')
  publisher.publish('a', '1', { qos: 1, id: 1 })
  publisher.publish('a', '2', { qos: 2, id: 2 })
  receiver.read()
  receiver.ack('PUBACK', 1, 0x97)
  receiver.ack('PUBREC', 2, 0x80)
  expect(receiver.read()).toEqual([])
  receiver.lost()
  expect(world.peer('s', STAYS).greeting).toBe('CONNACK present')
})

test('3.1.1 MQTT-3.3.5-2: what a client may not publish is acknowledged like the rest, and goes nowhere', () => {
  const world = new World({ access: { ...OPEN_ACCESS, publish: () => false } })
  const watcher = world.peer('w').subscribed('#')
  const peer = world.peer('c', OLD)
  for (const qos of [0, 1, 2] as const) peer.publish('a', 'x', { qos, id: 5 + qos, retain: true })
  peer.ack('PUBREL', 7)
  expect(peer.read()).toEqual(['PUBACK #6', 'PUBREC #7', 'PUBCOMP #7'])
  expect(watcher.read()).toEqual([])
  expect(world.broker.retained.count).toBe(0)
})
