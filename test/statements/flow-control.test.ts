import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OLD, type Peer, STAYS, STAYS_OLD, World } from '../mqtt/peers.ts'

const receiving = (receiveMaximum: number) => ({ properties: { receiveMaximum } })
const staying = (receiveMaximum: number) => ({ ...STAYS, properties: { ...STAYS.properties, receiveMaximum } })

describe('what we take of a client', () => {
  /** Nothing becomes durable, so nothing is acknowledged. */
  function unanswered(options = STAYS): { world: World; peer: Peer } {
    const world = new World({ store: new DelayedStore(), broker: { receiveMaximum: 3 } })
    world.peer('s', STAYS).subscribe('a', 2)
    const peer = world.peer('p', options)
    return { world, peer }
  }

  test('MQTT-3.3.4-7: a client that exceeds our Receive Maximum is closed with 0x93', () => {
    const { world, peer } = unanswered()
    expect(world.packets(world.connect())[0]).toMatchObject({ properties: { receiveMaximum: 3 } })
    for (const id of [1, 2, 3]) peer.publish('a', 'x', { qos: id === 2 ? 2 : 1, id })
    peer.publish('a', 'x')
    peer.publish('a', 'x', { qos: 2, id: 2, dup: true })
    expect(peer.read()).toEqual([])
    peer.publish('a', 'x', { qos: 1, id: 4 })
    expect(peer.read()).toEqual(['DISCONNECT 0x93', 'close'])
  })

  test('QoS 2 counts until PUBCOMP, or until a PUBREC that refuses', () => {
    const world = new World({ broker: { receiveMaximum: 2, maxTopicLevels: 2 } })
    const peer = world.peer('c')
    for (let id = 1; id <= 9; id++) peer.publish('a/b/c', 'x', { qos: 2, id })
    peer.publish('a', 'x', { qos: 2, id: 1 })
    peer.publish('a', 'x', { qos: 2, id: 2 })
    peer.ack('PUBREL', 1)
    peer.publish('a', 'x', { qos: 2, id: 3 })
    expect(peer.read()).not.toContain('close')
    peer.publish('a', 'x', { qos: 1, id: 4 })
    expect(peer.read()).toEqual(['DISCONNECT 0x93', 'close'])
  })

  test('3.1.1 has no such bound', () => {
    const { peer } = unanswered(STAYS_OLD)
    for (let id = 1; id <= 9; id++) peer.publish('a', 'x', { qos: id % 2 === 0 ? 1 : 2, id })
    expect(peer.read()).toEqual([])
  })

  test('Receive Maximum applies to one connection: what an earlier one left open counts only when it comes again', () => {
    const { world, peer } = unanswered()
    for (const id of [1, 2, 3]) peer.publish('a', 'x', { qos: 2, id })
    world.commit()
    peer.lost()
    const again = world.peer('p', STAYS)
    for (const id of [4, 5]) again.publish('a', 'x', { qos: 2, id })
    again.publish('a', 'x', { qos: 2, id: 1, dup: true })
    world.commit()
    expect(again.read()).toEqual(['PUBREC #4', 'PUBREC #5', 'PUBREC #1'])
    again.publish('a', 'x', { qos: 2, id: 6 })
    expect(again.read()).toEqual(['DISCONNECT 0x93', 'close'])
  })
})

describe("the client's Receive Maximum", () => {
  test("MQTT-3.3.4-9: no more is in flight than the client's Receive Maximum", () => {
    const world = new World()
    const receiver = world.peer('s', receiving(2)).subscribed('a', 2)
    const publisher = world.peer('p')
    for (let id = 1; id <= 5; id++) publisher.publish('a', String(id), { qos: id % 2 === 0 ? 2 : 1, id })
    expect(receiver.read()).toEqual(['a=1 q1 #1', 'a=2 q2 #2'])
    receiver.ack('PUBREC', 2)
    expect(receiver.read()).toEqual(['PUBREL #2'])
    receiver.ack('PUBCOMP', 2)
    expect(receiver.read()).toEqual(['a=3 q1 #3'])
    receiver.ack('PUBACK', 1)
    expect(receiver.read()).toEqual(['a=4 q2 #4'])
    receiver.ack('PUBREC', 4, 0x80)
    expect(receiver.read()).toEqual(['a=5 q1 #5'])
  })

  test('MQTT-4.9.0-1: one that asks for less than we would send gets less, from the first message on', () => {
    const world = new World({ broker: { maxInflightMessages: 3 } })
    const publisher = world.peer('p')
    const receivers = [1, 2, 3, 4, 65_535].map((most) => world.peer(`s${most}`, receiving(most)).subscribed('a', 1))
    const old = world.peer('old', OLD).subscribed('a', 1)
    for (let id = 1; id <= 9; id++) publisher.publish('a', 'x', { qos: 1, id })
    expect([...receivers, old].map((receiver) => receiver.read().length)).toEqual([1, 2, 3, 3, 3, 3])
  })

  test('MQTT-4.9.0-2: an acknowledgement more than there were messages widens nothing', () => {
    const world = new World()
    const receiver = world.peer('s', receiving(1)).subscribed('a', 1)
    const publisher = world.peer('p')
    publisher.publish('a', '1', { qos: 1 })
    receiver.ack('PUBACK', 1)
    receiver.ack('PUBACK', 1)
    receiver.ack('PUBCOMP', 7)
    receiver.read()
    for (const id of [2, 3, 4]) publisher.publish('a', String(id), { qos: 1, id })
    expect(receiver.read()).toEqual(['a=2 q1 #2'])
  })

  test('what is sent again after a reconnect counts, and only so much is sent at once', () => {
    const world = new World()
    const first = world.peer('s', staying(5)).subscribed('a', 2)
    const publisher = world.peer('p')
    for (let id = 1; id <= 5; id++) publisher.publish('a', String(id), { qos: id === 3 ? 2 : 1, id })
    expect(first.read()).toHaveLength(5)
    first.lost()
    publisher.publish('a', '6', { qos: 1 })
    const again = world.peer('s', staying(2))
    expect(again.greeting).toBe('CONNACK present,a=1 q1 #1 dup,a=2 q1 #2 dup')
    again.ack('PUBACK', 2)
    expect(again.read()).toEqual(['a=3 q2 #3 dup'])
    again.ack('PUBREC', 3)
    expect(again.read()).toEqual(['PUBREL #3'])
    again.ack('PUBACK', 1)
    expect(again.read()).toEqual(['a=4 q1 #4 dup'])
    again.ack('PUBCOMP', 3)
    expect(again.read()).toEqual(['a=5 q1 #5 dup'])
    again.ack('PUBACK', 5)
    again.ack('PUBACK', 4)
    expect(again.read()).toEqual(['a=6 q1 #6'])
  })

  test('an acknowledgement of what the new connection has not sent yet widens nothing', () => {
    const world = new World()
    const first = world.peer('s', staying(5)).subscribed('a', 1)
    const publisher = world.peer('p')
    for (let id = 1; id <= 5; id++) publisher.publish('a', String(id), { qos: 1, id })
    first.lost()
    const again = world.peer('s', staying(2))
    again.ack('PUBACK', 4)
    expect(again.read()).toEqual([])
    again.ack('PUBACK', 1)
    again.ack('PUBACK', 2)
    expect(again.read()).toEqual(['a=3 q1 #3 dup', 'a=5 q1 #5 dup'])
  })
})

describe('while the window is shut', () => {
  const shut = (): { world: World; peer: Peer } => {
    const world = new World()
    const peer = world.peer('s', receiving(1)).subscribed('a', 2)
    const publisher = world.peer('p')
    publisher.publish('a', '1', { qos: 2, id: 1 })
    publisher.publish('a', '2', { qos: 2, id: 2 })
    expect(peer.read()).toEqual(['a=1 q2 #1'])
    return { world, peer }
  }

  test('MQTT-3.3.4-10: everything but PUBLISH goes on while the window is shut', () => {
    const { peer } = shut()
    peer.send({ type: 12 })
    peer.subscribe('b', 1)
    peer.publish('c', 'x', { qos: 1, id: 5 })
    peer.publish('c', 'x', { qos: 2, id: 6 })
    peer.ack('PUBREL', 6)
    peer.ack('PUBREC', 1)
    expect(peer.read()).toEqual(['PINGRESP', 'SUBACK #99 0x01', 'PUBACK #5 0x10', 'PUBREC #6 0x10', 'PUBCOMP #6', 'PUBREL #1'])
  })

  test('MQTT-4.9.0-3: what the client sends is processed', () => {
    const { world, peer } = shut()
    const watcher = world.peer('w').subscribed('c')
    peer.publish('c', 'x', { qos: 2, id: 6 })
    peer.send({ type: 10, packetId: 7, filters: ['a'], properties: {} })
    expect(peer.read()).toEqual(['PUBREC #6', 'UNSUBACK #7 0x00'])
    expect(watcher.read()).toEqual(['c=x q0'])
  })

  test('a PUBREL that is owed after a reconnect does not wait for it', () => {
    const world = new World()
    const first = world.peer('s', staying(5)).subscribed('a', 2)
    const publisher = world.peer('p')
    for (const id of [1, 2, 3, 4]) publisher.publish('a', String(id), { qos: 2, id })
    first.ack('PUBREC', 4)
    first.ack('PUBREC', 3)
    first.lost()
    expect(world.peer('s', staying(1)).greeting).toBe('CONNACK present,a=1 q2 #1 dup,PUBREL #4,PUBREL #3')
  })
})
