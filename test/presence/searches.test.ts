import { afterEach, describe, expect, test, vi } from 'vitest'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { objectIdOf } from '../../src/presence/names.ts'
import type { ServerOptions } from '../../src/server.ts'
import { OPTIONS, say } from '../gateway/harness.ts'
import { taken, World } from '../server-world.ts'

const COUNT = 2000

afterEach(() => {
  vi.restoreAllMocks()
})

function fleet(options: Partial<ServerOptions> = {}): World {
  const world = new World({ gateway: { ...OPTIONS, maxSessions: COUNT + 1 }, ...options })
  for (let i = 0; i < COUNT; i++)
    world.send(`10.0.${i >> 8}.${i & 255}:1`, say.connect(`s${i}`, { clean: false }), say.disconnect(60_000))
  return world
}

/** What a SUBSCRIBE examines and makes, in all and at most in one step of the server. */
function cost(world: World, filters: readonly string[]) {
  const { server } = world
  const watcher = world.connect('watcher')
  const total = { sensors: 0, made: 0, steps: 0 }
  const most = { sensors: 0, made: 0 }
  const page = vi.spyOn(server.gateway.sensors, 'page')
  const made = vi.spyOn(JSON, 'stringify')
  const step = <T extends unknown[]>(work: (...args: T) => void) => {
    return (...args: T): void => {
      page.mockClear()
      made.mockClear()
      work.apply(server, args)
      const sensors = page.mock.calls.reduce((sum, [, seats]) => sum + seats, 0)
      total.sensors += sensors
      total.made += made.mock.calls.length
      total.steps++
      most.sensors = Math.max(most.sensors, sensors)
      most.made = Math.max(most.made, made.mock.calls.length)
    }
  }
  server.handle = step(server.handle)
  server.handleTimeout = step(server.handleTimeout)
  watcher.client.subscribe(
    world.now,
    filters.map((filter) => ({ filter })),
  )
  world.run()
  world.advance(1)
  return { watcher, total, most }
}

describe('a search for discovery messages without a wildcard', () => {
  const config = (objectId: string): string => `homeassistant/device/${objectId}/config`

  test("looks at no sensor if it is not the broker's topic, or can only be one sensor's", () => {
    const world = fleet()
    const filters = Array.from({ length: 50 }, (_, i) => config(i < 25 ? `other_${i}` : `roost_x${i}_00000000`))
    const { watcher, total } = cost(world, filters)
    expect([total.sensors, total.made, taken(watcher)]).toEqual([0, 0, []])
  })

  test('finds the sensor at once if its id stands there as it is', () => {
    const world = fleet()
    world.send('q', say.connect('a_b', { clean: false }))
    const topics = ['s1234', 'a_b'].map((clientId) => config(objectIdOf(clientId)))
    const { watcher, total } = cost(world, [...topics, config('roost_s1_00000000')])
    expect([total.sensors, taken(watcher).map(({ topic }) => topic)]).toEqual([0, topics])
  })

  test('looks at the others a part in each turn', () => {
    const world = fleet()
    world.send('q', say.connect('a/b', { clean: false }))
    const found = config(objectIdOf('a/b'))
    const { watcher, total, most } = cost(world, [config('roost_a_c_00000000'), config('roost_a_b_00000000'), found])
    expect(total.sensors).toBeGreaterThan(3 * COUNT)
    expect(most.sensors).toBeLessThan(2200)
    expect(taken(watcher).map(({ topic }) => topic)).toEqual([found])
  })

  test('counts in what a client may look through, as a wildcard does', () => {
    const world = fleet({ broker: { maxRetainedLookupsPerSecond: COUNT } })
    const filters = Array.from({ length: 5 }, (_, i) => config(`roost_a_${i}_00000000`))
    const { watcher, total } = cost(world, filters)
    expect(watcher.codes.filter((code) => code === 0x97 || code === 0x80).length).toBeGreaterThanOrEqual(3)
    expect(total.sensors).toBeLessThan(3 * COUNT)
  })
})

describe('a search with a wildcard', () => {
  test.each([
    ['roost/#', 1],
    // The client id and the topic.
    ['homeassistant/#', 2],
  ])('makes few messages in one step: %s', (filter, texts) => {
    const { watcher, total, most } = cost(fleet(), [filter])
    expect([total.made, taken(watcher).length]).toEqual([texts * COUNT, COUNT])
    expect(most.made).toBeLessThan(texts * 150)
  })

  test('makes no message that may not be read', () => {
    const { total } = cost(fleet({ access: { ...OPEN_ACCESS, read: () => false } }), ['homeassistant/#'])
    expect(total.made).toBe(0)
    expect(total.sensors).toBeGreaterThanOrEqual(COUNT)
  })

  test('makes no message that finds the queue full', () => {
    const world = fleet({ broker: { maxQueuedBytes: 10_000, maxRetainedBytes: 0 } })
    const { total } = cost(world, ['homeassistant/#'])
    expect(total.made).toBeLessThan(COUNT / 2)
    expect(world.notices.find(({ code }) => code === 'queue-full')).toMatchObject({ client: 'mqtt:watcher' })
  })
})
