import { describe, expect, test } from 'vitest'
import { say } from '../gateway/harness.ts'
import { taken, World } from '../server-world.ts'

/** Sleepers that subscribe to presence themselves. */
function sleepers(count: number, filter: string): World {
  const world = new World()
  for (let i = 0; i < count; i++)
    world.send(`r${i}`, say.connect(`s${i}`, { clean: false }), say.subscribe(filter, 1), say.disconnect(60_000))
  return world
}

const waiting = (world: World, clientId = 's0'): number | undefined =>
  world.server.gateway.sensors.get(clientId)?.waiting.messages

describe('sleeping sensors that subscribe to presence', () => {
  test.each(['#', 'roost/sensors/+', '$SYS/broker/roost/sensors/+'])(
    'are told of each other once, and come to rest: %s',
    (filter) => {
      const world = sleepers(3, filter)
      world.advance(10_000)
      const settled = waiting(world)
      // Of each sensor, and its discovery message.
      expect(settled).toBeLessThanOrEqual(6)
      const { work } = world.server.broker
      world.advance(300_000)
      expect(waiting(world)).toBe(settled)
      // $SYS and supervision aside, nothing is published.
      expect(world.server.broker.work - work).toBeLessThan(300)
    },
  )

  test('keep the last message about each, and what else waits stays in order', () => {
    const world = sleepers(1, '#')
    const publisher = world.connect('publisher')
    world.send('q', say.connect('other', { clean: false }))
    world.advance(5000)
    world.publish(publisher, 'a/1', 'x', { qos: 1 })
    for (let i = 0; i < 20; i++) {
      world.send('q', say.disconnect(600))
      world.advance(1000)
      world.send('q', say.connect('other', { clean: false }))
      world.advance(1000)
    }
    world.publish(publisher, 'a/2', 'x', { qos: 1 })
    const session = world.server.broker.sessions.byKey('sn:s0')!
    const topics = Array.from(session.queue ?? [], (entry) => ('message' in entry ? entry.message : entry).topic)
    expect(topics.filter((topic) => topic === 'roost/sensors/other')).toHaveLength(1)
    expect(topics.filter((topic) => topic.startsWith('a/'))).toEqual(['a/1', 'a/2'])
    expect(topics.at(-2)).toBe('roost/sensors/other')
    const watcher = world.connect('watcher')
    world.subscribe(watcher, 'roost/sensors/s0')
    expect(JSON.parse(taken(watcher)[0]!.text).waiting_messages).toBe(topics.length)
  })

  test('a sleeper with a long queue misses them, and nothing is dropped for them', () => {
    const world = sleepers(1, '#')
    const publisher = world.connect('publisher')
    for (let i = 0; i < 300; i++) world.publish(publisher, `a/${i}`, 'x', { qos: 1 })
    world.advance(2000)
    const before = waiting(world)
    world.send('q', say.connect('other', { clean: false }))
    world.advance(2000)
    expect(waiting(world)).toBe(before)
    expect(world.notices.filter(({ code }) => code === 'queue-full')).toEqual([])
  })
})
