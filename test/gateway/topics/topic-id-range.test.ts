import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { say, TestGateway } from '../harness.ts'

const RANGE = { topicIds: { from: 9001, to: 9003 } }

describe('gateway_topic_ids', () => {
  test('ids begin where the range does, and REGISTER beyond it is refused', () => {
    const world = new TestGateway(RANGE)
    world.send('r', say.connect('s', { clean: false }))
    for (const [i, topic] of ['a', 'b', 'c', 'd', 'a'].entries()) world.send('r', say.register(topic, i + 1))
    expect(world.sent('r')).toEqual([
      'CONNACK',
      ...['REGACK 2329 #1', 'REGACK 232a #2', 'REGACK 232b #3'],
      ...['REGACK 0000 #4 rc3', 'REGACK 2329 #5'],
    ])
    world.send('r', say.subscribe('e', 1, 6))
    expect(world.sent('r')).toEqual(['SUBACK 0000 #6 q0 rc3'])
    expect(world.notices.filter(({ code }) => code === 'limit-reached').map(({ limit }) => limit)).toEqual([
      'gateway_topic_ids',
      'gateway_topic_ids',
    ])
  })

  test('ids that the gateway offers stay in the range, and are given again', () => {
    const world = new TestGateway(RANGE)
    world.send('r', say.connect('s', { clean: false }), say.subscribe('t/#', 0))
    world.sent('r')
    const ids = new Set<string>()
    for (let i = 0; i < 8; i++) {
      world.publish(`t/${i}`, 'x', 0)
      const [register] = world.sent('r')
      const id = register!.slice(9, 13)
      ids.add(id)
      world.send('r', say.regack(Number.parseInt(id, 16), Number(register!.split('#')[1])))
      expect(world.sent('r')).toEqual([expect.stringContaining(`PUBLISH ${id}`)])
    }
    // One of the three is reserved for what the sensor asks for itself.
    expect([...ids].sort()).toEqual(['2329', '232a'])
  })

  test('an id that was learnt at another gateway is invalid here, whatever the QoS', () => {
    const world = new TestGateway(RANGE)
    const watcher = world.client('w')
    watcher.subscribe('#')
    watcher.poll()
    world.send('r', say.connect('s', { clean: false }), say.register('a', 1))
    world.sent('r')
    for (const qos of [1, 2] as const) {
      world.send('r', say.publish(0x401, 'elsewhere', qos, 7 + qos))
      expect(world.sent('r')).toEqual([`PUBACK 0401 #${7 + qos} rc2`])
    }
    world.send('r', say.publish(0x401, 'elsewhere', 0))
    expect(watcher.poll()).toEqual([])
    world.send('r', say.publish(9001, 'here', 1, 4))
    expect(watcher.poll()).toEqual(['a=here q0'])
  })

  test('after a change of the range nothing is left of the former one, also over a restart', () => {
    const world = new TestGateway(RANGE, new DelayedStore())
    world.send('r', say.connect('s', { clean: false }))
    world.settle()
    world.send('r', say.register('a', 1))
    world.settle()
    expect(world.sent('r')).toEqual(['CONNACK', 'REGACK 2329 #1'])
    const other = { topicIds: { from: 20_000, to: 20_010 } }
    const after = world.restarted(0, undefined, other)
    after.send('r', say.publish(9001, 'x', 1, 2), say.register('a', 3))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBACK 2329 #2 rc2', 'REGACK 4e20 #3'])
  })
})
