import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { say, TestGateway } from '../harness.ts'

const connected = (options = {}, store?: DelayedStore, limits = {}): TestGateway => {
  const world = new TestGateway(options, store, { limits })
  for (const message of [say.connect('s', { clean: false }), say.register('up')]) {
    world.send('r', message)
    if (store !== undefined) world.settle()
  }
  world.sent('r')
  return world
}

const publishes = (count: number, qos: 1 | 2, first = 10) =>
  Array.from({ length: count }, (_, i) => say.publish(0x401, `${i}`, qos, first + i))

describe('several messages of a sensor at once', () => {
  test('are all taken, with a store that takes its time as well', () => {
    for (const store of [undefined, new DelayedStore()]) {
      const world = connected({}, store)
      world.send('q', say.connect('t', { clean: false }))
      if (store !== undefined) world.settle()
      world.send('q', say.subscribe('up', 1, 1))
      if (store !== undefined) world.settle()
      world.send('r', ...publishes(5, 1))
      if (store !== undefined) {
        expect(world.sent('r')).toEqual([])
        world.settle()
      }
      expect(world.sent('r')).toEqual([10, 11, 12, 13, 14].map((msgId) => `PUBACK 0401 #${msgId}`))
    }
  })

  test('QoS 2 too, to the end of each', () => {
    const world = connected()
    world.send('r', ...publishes(5, 2), ...[10, 11, 12, 13, 14].map((msgId) => say.pubrel(msgId)))
    expect(world.sent('r').slice(5)).toEqual([10, 11, 12, 13, 14].map((msgId) => `PUBCOMP #${msgId}`))
  })

  test('up to 16 by default, independently of the window to the sensor', () => {
    const world = connected({ inflightMessages: 1 })
    world.send('r', ...publishes(17, 2))
    expect(world.sent('r').slice(15)).toEqual(['PUBREC #25', 'PUBACK 0401 #26 rc1'])
  })

  test('no more than the broker takes, which would end the connection', () => {
    const world = connected({}, undefined, { receiveMaximum: 2 })
    world.send('r', ...publishes(3, 2))
    expect(world.sent('r')).toEqual(['PUBREC #10', 'PUBREC #11', 'PUBACK 0401 #12 rc1'])
    world.send('r', say.pubrel(10), say.publish(0x401, '2', 2, 12))
    expect(world.sent('r')).toEqual(['PUBCOMP #10', 'PUBREC #12'])
    expect(world.gateway.client('s')?.state).toBe('active')
  })
})

describe('a QoS 2 message that the sensor has left', () => {
  test('does not count after T_retry', () => {
    const world = connected({ uplinkMessages: 1 })
    world.send('r', say.publish(0x401, 'x', 2, 5))
    world.advance(9999)
    world.send('r', say.publish(0x401, 'y', 1, 6))
    expect(world.sent('r')).toEqual(['PUBREC #5', 'PUBACK 0401 #6 rc1'])
    world.advance(1)
    world.send('r', say.publish(0x401, 'y', 1, 6))
    expect(world.sent('r')).toEqual(['PUBACK 0401 #6'])
  })

  test('can still be finished, and is published once', () => {
    const world = connected({ uplinkMessages: 1 })
    const watcher = world.client('w')
    watcher.subscribe('up', 1)
    watcher.poll()
    world.send('r', say.publish(0x401, 'x', 2, 5))
    world.advance(20_000)
    world.send('r', say.publish(0x401, 'y', 2, 6))
    world.send('r', { ...say.publish(0x401, 'x', 2, 5), dup: true }, say.pubrel(5), say.pubrel(6))
    expect(world.sent('r')).toEqual(['PUBREC #5', 'PUBREC #6', 'PUBREC #5', 'PUBCOMP #5', 'PUBCOMP #6'])
    expect(watcher.poll()).toHaveLength(2)
  })

  test('makes room at the broker, and a copy that comes then is not published again', () => {
    const world = connected({}, undefined, { receiveMaximum: 1 })
    const watcher = world.client('w')
    watcher.subscribe('up', 1)
    watcher.poll()
    for (let msgId = 5; msgId < 10; msgId++) {
      world.send('r', say.publish(0x401, `${msgId}`, 2, msgId))
      expect(world.sent('r')).toEqual([`PUBREC #${msgId}`])
      world.advance(10_000)
    }
    world.send('r', { ...say.publish(0x401, '8', 2, 8), dup: true }, say.pubrel(8))
    expect(world.sent('r')).toEqual(['PUBREC #8', 'PUBCOMP #8'])
    expect(watcher.poll()).toHaveLength(5)
    expect(world.gateway.client('s')?.state).toBe('active')
  })

  test('by a new CONNECT does not count either', () => {
    const world = connected({ uplinkMessages: 1 })
    world.send('r', say.publish(0x401, 'x', 2, 5), say.connect('s', { clean: false }), say.publish(0x401, 'y', 1, 6))
    expect(world.sent('r')).toEqual(['PUBREC #5', 'CONNACK', 'PUBACK 0401 #6'])
  })
})

test('a topic name with too many levels gets no id, by REGISTER or SUBSCRIBE', () => {
  const world = connected({ maxTopicLevels: 3 }, undefined, { maxTopicLevels: 3 })
  world.notices.length = 0
  world.send('r', say.register('a/b/c', 5), say.register('/'.repeat(65_000), 6), say.subscribe('a/b/c/d', 1, 7))
  expect(world.sent('r')).toEqual(['REGACK 0402 #5', 'REGACK 0000 #6 rc3', 'SUBACK 0000 #7 q0 rc3'])
  expect(world.notices.filter(({ limit }) => limit === 'max_topic_levels')).toHaveLength(2)
  expect(world.gateway.client('s')?.registry.size).toBe(2)
})
