import { expect, test } from 'vitest'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import { Wire } from './wire.ts'
import { persistent, WireClient } from './wire-client.ts'

const mounted = { ...DEFAULT_LISTENER_LIMITS, mountPoint: 'devices/' }
const INSIDE = { listener: 'mounted' }
const wire = (): Wire => new Wire({ listeners: new Map([['mounted', mounted]]) })

test('what a session has subscribed to elsewhere ends where it comes back below a mount point, with what waits', () => {
  const world = wire()
  const away = { ...persistent(5), clientId: 'roams' }
  WireClient.connect(world, away).subscribed(['a/b/longer-than-the-prefix', 'devices/d', '$share/g/other'], 1).disconnect()
  const outside = WireClient.connect(world)
  outside.publish('a/b/longer-than-the-prefix', 'secret', 1)
  outside.publish('devices/d', 'mine', 1)
  const client = new WireClient(world, away, INSIDE)
  expect(client.hears()).toEqual(['CONNACK present', 'd=mine q1 #1'])
  outside.publish('a/b/longer-than-the-prefix', 'secret', 1)
  outside.publish('other', 'secret', 1)
  expect(client.hears()).toEqual([])
  expect(world.broker.subscriptionCount).toBe(1)
})

test('wills, shared subscriptions, retained messages and No Local stay below the mount point', () => {
  const world = wire()
  const outside = WireClient.connect(world).subscribed('#')
  const will = { topic: 'gone', payload: Buffer.from('x'), qos: 0, retain: false, properties: {} } as const
  const inside = WireClient.connect(world, { will }, INSIDE)
  inside.publish('kept', 'r', 0, { retain: true })
  inside.subscribed(['$share/g/work', { filter: '#', noLocal: true }])
  expect(inside.hears()).toEqual([])
  const other = WireClient.connect(world, {}, INSIDE)
  other.subscribe('#')
  expect(other.hears()).toEqual(['SUBACK #100 0x00', 'kept=r q0 retain'])
  outside.publish('work', 'not theirs')
  outside.publish('devices/work', 'theirs')
  expect(inside.hears()).toEqual(['work=theirs q0', 'work=theirs q0'])
  inside.lost()
  expect(other.hears()).toEqual(['work=theirs q0', 'gone=x q0'])
  expect(outside.hears()).toEqual(['devices/kept=r q0', 'work=not theirs q0', 'devices/work=theirs q0', 'devices/gone=x q0'])
})

test('a topic that has no name below the mount point is not delivered, whatever its QoS', () => {
  const world = wire()
  const outside = WireClient.connect(world)
  for (const topic of ['devices', 'devices/']) outside.publish(topic, 'kept', 1, { retain: true })
  const lasting = { ...persistent(5), clientId: 'inside' }
  const inside = new WireClient(world, lasting, INSIDE)
  inside.subscribed(['#', '$share/g/#'], 2)
  const publishAll = (): void => {
    for (const topic of ['devices', 'devices/']) for (const qos of [0, 1, 2] as const) outside.publish(topic, 'not theirs', qos)
  }
  publishAll()
  outside.publish('devices/d', 'theirs', 2)
  expect(inside.hears()).toEqual(['d=theirs q2 #1', 'd=theirs q2 #2'])
  // Nor does any wait for a client that is away.
  inside.lost()
  publishAll()
  expect(world.broker.sessions.get('mqtt', 'inside')?.queueLength).toBe(0)
  expect(new WireClient(world, lasting, INSIDE).hears()).toEqual(['CONNACK present', 'd=theirs q2 #1 dup', 'd=theirs q2 #2 dup'])
})

test('what has waited in the store for a client that is mounted again is dropped, unless it has a name there', () => {
  const before = Wire.stored({ listeners: new Map([['mounted', mounted]]) })
  const lasting = { ...persistent(5), clientId: 'inside' }
  new WireClient(before, lasting, INSIDE).subscribed(['#'], 1).lost()
  const world = before.restarted()
  const outside = WireClient.connect(world)
  for (const topic of ['devices', 'devices/', 'devices/d']) outside.publish(topic, topic, 1)
  expect(new WireClient(world, lasting, INSIDE).hears()).toEqual(['CONNACK present', 'd=devices/d q1 #1'])
})
