import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { OPTIONS, say } from '../gateway/harness.ts'
import { type Connected, states, taken, World } from '../server-world.ts'

const ALL = 'roost/sensors/#'

function watched(filter = ALL, world = new World()): { world: World; watcher: Connected } {
  const watcher = world.connect('watcher')
  world.subscribe(watcher, filter)
  return { world, watcher }
}

/** Lets what is due leave. */
function next(world: World, watcher: Connected): string[] {
  world.advance(0)
  return states(taken(watcher))
}

describe('the retained message of a sensor', () => {
  test('is made when somebody subscribes, with what is known then', () => {
    const world = new World()
    world.now = 1000
    world.send('1.2.3.4:5', say.connect('s', { clean: false }), say.subscribe('a', 1))
    world.now = 2000
    world.send('1.2.3.4:5', say.disconnect(60))
    const publisher = world.connect('publisher')
    world.publish(publisher, 'a', 'xy', { qos: 1 })
    const { watcher } = watched('roost/sensors/s', world)
    expect(taken(watcher)).toEqual([{ topic: 'roost/sensors/s', text: expect.any(String), qos: 0, retain: true }])
    world.subscribe(watcher, '$SYS/broker/roost/sensors/+')
    const { topic, text } = taken(watcher)[0]!
    expect(topic).toBe('$SYS/broker/roost/sensors/s')
    expect(JSON.parse(text)).toEqual({
      client_id: 's',
      state: 'asleep',
      since: '2027-01-15T08:00:02Z',
      last_heard: '2027-01-15T08:00:02Z',
      sleep_seconds: 60,
      next_wake: '2027-01-15T08:01:02Z',
      waiting_messages: 1,
      waiting_bytes: 3,
      port: 'sn',
      address: '1.2.3.4:5',
    })
    expect(world.server.gateway.clientsAtRest).toBe(1)
  })

  test.each([
    ['roost/sensors/#', ['a', 'b', 'c']],
    ['roost/sensors/+', ['a', 'b', 'c']],
    ['roost/#', ['a', 'b', 'c']],
    ['+/+/+', ['a', 'b', 'c']],
    ['#', ['a', 'b', 'c']],
    ['roost/sensors/b', ['b']],
    ['roost/sensors/b/#', ['b']],
    ['+/sensors/b', ['b']],
    ['roost/sensors/d', []],
    ['roost/sensors', []],
    ['roost/sensors/+/+', []],
    ['roost/+', []],
    ['roosts/#', []],
    ['$share/g/roost/sensors/#', []],
  ])('is found by %s as any other', (filter, found) => {
    const world = new World({ presence: { topic: 'roost/sensors/%c' } })
    for (const id of ['a', 'b', 'c']) world.send(`r${id}`, say.connect(id), say.disconnect(60))
    const { watcher } = watched(filter, world)
    expect(states(taken(watcher))).toEqual(found.map((id) => `roost/sensors/${id} asleep retain`))
  })

  test('may have its client id in the middle of the topic', () => {
    const world = new World({ presence: { topic: 'site/%c/presence' } })
    world.send('r', say.connect('a'))
    for (const filter of ['site/#', 'site/+/presence', '+/a/#', 'site/a/presence']) {
      const { watcher } = watched(filter, world)
      expect(states(taken(watcher))).toEqual(['site/a/presence active retain'])
    }
    const { watcher } = watched('site/a/other', world)
    expect(taken(watcher)).toEqual([])
  })

  test('is under $SYS alone by default, and nowhere without that', () => {
    for (const [sysInterval, count] of [
      [10, 1],
      [0, 0],
    ] as const) {
      const world = new World({ presence: {}, sysInterval })
      world.send('r', say.connect('a'))
      const { watcher } = watched('#', world)
      world.subscribe(watcher, '$SYS/broker/roost/sensors/#')
      expect(taken(watcher)).toHaveLength(count)
    }
  })

  test('respects Retain Handling', () => {
    const world = new World()
    world.send('r', say.connect('s'))
    const watcher = world.connect('watcher')
    world.subscribe(watcher, ALL, { retainHandling: 2 })
    expect(taken(watcher)).toEqual([])
    world.subscribe(watcher, ALL, { retainHandling: 1 })
    expect(taken(watcher)).toEqual([])
    world.subscribe(watcher, 'roost/sensors/s', { retainHandling: 1 })
    expect(taken(watcher)).toHaveLength(1)
  })

  test('is only for those who may read it', () => {
    const access = { ...OPEN_ACCESS, read: (_: unknown, topic: string) => !topic.endsWith('/secret') }
    const { world, watcher } = watched(ALL, new World({ access }))
    world.send('r', say.connect('secret'))
    world.send('q', say.connect('open'))
    expect(next(world, watcher)).toEqual(['roost/sensors/open active'])
    world.subscribe(watcher, ALL)
    expect(states(taken(watcher))).toEqual(['roost/sensors/open active retain'])
  })

  test('of awkward client ids is on one level', () => {
    const world = new World()
    for (const id of ['a/b', '+', '#', '100%', 'tab\there', 'grün']) world.send(`r ${id}`, say.connect(id))
    const { watcher } = watched(ALL, world)
    expect(taken(watcher).map(({ topic }) => topic)).toEqual(
      ['a%2Fb', '%2B', '%23', '100%25', 'tab%09here', 'grün'].map((level) => `roost/sensors/${level}`),
    )
    world.subscribe(watcher, 'roost/sensors/a%2Fb')
    expect(taken(watcher).map(({ text }) => JSON.parse(text).client_id)).toEqual(['a/b'])
    // Another spelling is no topic.
    for (const level of ['a%2fb', '%61', '%zz']) world.subscribe(watcher, `roost/sensors/${level}`)
    expect(taken(watcher)).toEqual([])
  })
})

describe('a change', () => {
  test('is sent to subscribers: a sensor connects, sleeps, wakes, is lost, ends', () => {
    const { world, watcher } = watched()
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 1))
    expect(next(world, watcher)).toEqual(['roost/sensors/s active'])
    world.advance(1000)
    world.send('r', say.disconnect(60))
    expect(next(world, watcher)).toEqual(['roost/sensors/s asleep'])
    const publisher = world.connect('publisher')
    world.advance(1000)
    world.publish(publisher, 'a', 'x', { qos: 1 })
    world.advance(0)
    expect(taken(watcher).map(({ text }) => JSON.parse(text).waiting_messages)).toEqual([1])
    world.advance(1000)
    world.send('r', say.ping('s'))
    expect(next(world, watcher)).toEqual(['roost/sensors/s awake'])
    world.advance(1000)
    world.send('r', say.puback(0x401, 1))
    expect(next(world, watcher)).toEqual(['roost/sensors/s asleep'])
    world.advance(90_000)
    expect(states(taken(watcher))).toEqual(['roost/sensors/s lost'])
    world.advance(1000)
    world.send('r', say.connect('s'))
    expect(next(world, watcher)).toEqual(['roost/sensors/s active'])
    world.send('r', say.disconnect())
    world.advance(1000)
    expect(states(taken(watcher))).toEqual(['roost/sensors/s disconnected'])
    world.advance(60_000)
    expect(states(taken(watcher))).toEqual(['roost/sensors/s -'])
    world.subscribe(watcher, ALL)
    expect(taken(watcher)).toEqual([])
  })

  test('a sensor that wakes and sleeps again at once, or often: the first change at once, then one message a second', () => {
    const { world, watcher } = watched()
    world.send('r', say.connect('s'), say.disconnect(60))
    expect(next(world, watcher)).toEqual(['roost/sensors/s asleep'])
    world.advance(5000)
    taken(watcher)
    for (let i = 0; i < 50; i++) {
      world.send('r', say.ping('s'))
      world.advance(100)
    }
    const got = taken(watcher)
    expect(got.length).toBeGreaterThanOrEqual(5)
    expect(got.length).toBeLessThanOrEqual(6)
    world.advance(1000)
    taken(watcher)
    expect(world.server.nextTimeout()! - world.now).toBeGreaterThan(1000)
  })

  test('the last message says how it is, whatever came before it', () => {
    const { world, watcher } = watched()
    world.send('r', say.connect('s'))
    world.advance(0)
    world.send('r', say.disconnect(60), say.connect('s'), say.disconnect(30))
    world.advance(1000)
    const last = taken(watcher).at(-1)!
    expect(JSON.parse(last.text)).toMatchObject({ state: 'asleep', sleep_seconds: 30 })
  })

  test('what waits for an active sensor is told until nothing does', () => {
    const { world, watcher } = watched()
    const publisher = world.connect('publisher')
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 1), say.disconnect())
    for (const text of ['1', '2']) world.publish(publisher, 'a', text, { qos: 1 })
    world.advance(5000)
    taken(watcher)
    world.send('r', say.connect('s', { clean: false }))
    const waiting = (): unknown[] => taken(watcher).map(({ text }) => JSON.parse(text).waiting_messages)
    world.advance(0)
    expect(waiting()).toEqual([2])
    world.advance(2500)
    expect(waiting()).toEqual([])
    world.answering.add('r')
    // It was sent one with REGISTER, which is sent again, and gets the rest then.
    world.advance(10_000)
    expect(waiting()).toEqual([0])
    world.advance(5000)
    expect(waiting()).toEqual([])
  })

  test('what waited for a sleeper and has expired is told', () => {
    const { world, watcher } = watched()
    const publisher = world.connect('publisher')
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 1), say.disconnect(60_000))
    const waiting = (): unknown[] => taken(watcher).map(({ text }) => JSON.parse(text).waiting_messages)
    world.advance(5000)
    waiting()
    const properties = { messageExpiryInterval: 5 }
    publisher.client.publish(world.now, { topic: 'a', payload: Buffer.from('x'), qos: 1, properties })
    world.run()
    world.advance(2000)
    expect(waiting()).toEqual([1])
    world.advance(20_000)
    expect(waiting()).toEqual([0])
  })

  test('what waited for a sleeper and may not be read any more is told', () => {
    let mayRead = true
    const access = { ...OPEN_ACCESS, read: (_: unknown, topic: string) => mayRead || topic !== 'a', readsAll: () => false }
    const { world, watcher } = watched(ALL, new World({ access }))
    const publisher = world.connect('publisher')
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 1), say.disconnect(60_000))
    world.publish(publisher, 'a', 'x', { qos: 1 })
    world.advance(5000)
    expect(JSON.parse(taken(watcher).at(-1)!.text).waiting_messages).toBe(1)
    mayRead = false
    world.server.broker.accessChanged(world.now)
    world.advance(2000)
    expect(taken(watcher).map(({ text }) => JSON.parse(text).waiting_messages)).toEqual([0])
  })

  test('has Retain only for who asked for Retain As Published, and QoS 0', () => {
    const { world, watcher } = watched()
    const other = world.connect('other')
    world.subscribe(other, ALL, { retainAsPublished: true, qos: 2 })
    world.send('r', say.connect('s'))
    world.advance(0)
    expect([taken(watcher), taken(other)].map((got) => got.map(({ qos, retain }) => [qos, retain]))).toEqual([
      [[0, false]],
      [[0, true]],
    ])
  })

  test.each(['unsubscribes', 'disconnects', 'breaks off'])(
    'nobody is told, and nothing is due, when the last subscriber %s',
    (how) => {
      const { world, watcher } = watched()
      world.send('r', say.connect('s'))
      world.advance(5000)
      taken(watcher)
      if (how === 'unsubscribes') watcher.client.unsubscribe(world.now, [ALL])
      else if (how === 'disconnects') watcher.client.disconnect(world.now)
      else world.breakOff(watcher)
      world.run()
      world.send('r', say.disconnect(60))
      expect(world.server.nextTimeout()).toBeGreaterThan(world.now)
      world.advance(5000)
      expect(taken(watcher)).toEqual([])
    },
  )

  test('one member of a shared subscription gets it', () => {
    const world = new World()
    const members = ['a', 'b'].map((id) => {
      const watcher = world.connect(id)
      world.subscribe(watcher, `$share/g/${ALL}`)
      return { id, watcher }
    })
    world.send('r', say.connect('s'))
    world.advance(0)
    expect(members.flatMap(({ watcher }) => states(taken(watcher)))).toEqual(['roost/sensors/s active'])
  })
})

describe('the topics of presence', () => {
  test.each(['roost/sensors/s', 'roost/sensors/other', 'homeassistant/device/roost_x/config'])(
    "are the broker's: nobody publishes on %s, nor has a will there",
    (topic) => {
      const { world, watcher } = watched()
      const publisher = world.connect('publisher')
      for (const qos of [0, 1, 2] as const) world.publish(publisher, topic, 'forged', { qos, retain: true })
      expect([publisher.codes, taken(watcher)]).toEqual([[0x87, 0x87], []])
      const refused = world.notices.filter(({ code }) => code === 'publish-refused')
      expect(refused.map(({ reason }) => reason)).toEqual(
        Array.from({ length: 3 }, () => `only the broker publishes here: ${topic}: reason code 0x87`),
      )
      const will = { topic, payload: Buffer.from('x'), qos: 0, retain: false, properties: {} } as const
      expect(world.connect('willed', { will }).codes).toEqual([0x87])
      world.subscribe(publisher, topic)
      expect(taken(publisher)).toEqual([])
    },
  )

  test.each(['roost/sensors/s', 'homeassistant/device/roost_x/config'])('an operator publishes nothing on %s either', (topic) => {
    const { world, watcher } = watched()
    const { broker } = world.server
    const published = broker.operator.publish(world.now, 'u', Publish.of(topic, Buffer.from('forged'), 1, true))
    world.run()
    expect(published).toMatchObject({ kind: 'refused', reasonCode: 0x87, reason: 'only the broker publishes there' })
    expect([broker.retained.count, taken(watcher)]).toEqual([0, []])
  })

  test("what lies beside them is anybody's", () => {
    const world = new World()
    const publisher = world.connect('publisher')
    for (const topic of [
      'roost/sensors',
      'roost/sensors/s/battery',
      'homeassistant/device/kitchen/config',
      'homeassistant/status',
    ])
      world.publish(publisher, topic, 'x', { qos: 1, retain: true })
    expect(publisher.codes).toEqual([0x10, 0x10, 0x10, 0x10])
  })

  test('a retained message from before they were is not shown in their place', () => {
    const store = new DelayedStore()
    const before = new World({ presence: {} }, store)
    const publisher = before.connect('publisher')
    for (const topic of ['roost/sensors/s', 'roost/sensors/gone'])
      before.publish(publisher, topic, '{"state":"forged"}', { retain: true })
    before.commit(store)
    const world = new World({}, store.crash({ folded: store.durable }))
    world.send('r', say.connect('s'))
    world.commit(world.store as DelayedStore)
    const { watcher } = watched(ALL, world)
    expect(states(taken(watcher))).toEqual(['roost/sensors/s active retain'])
  })
})

describe('many sensors', () => {
  const COUNT = 5000

  function many(): World {
    const world = new World({ gateway: { ...OPTIONS, maxSessions: COUNT } })
    for (let i = 0; i < COUNT; i++)
      world.send(`10.0.${i >> 8}.${i & 255}:1`, say.connect(`s${i}`, { clean: false }), say.disconnect(60))
    return world
  }

  test('are searched in many turns, in which others are served', () => {
    const world = many()
    const watcher = world.connect('watcher')
    watcher.client.subscribe(world.now, [{ filter: ALL }])
    world.run()
    const begun = watcher.got.length
    expect(begun).toBeLessThan(COUNT / 5)
    world.advance(0)
    expect(new Set(taken(watcher).map(({ topic }) => topic)).size).toBe(COUNT)
    expect(world.server.gateway.clientsAtRest).toBe(COUNT)
  })

  test('change in many turns', () => {
    const world = many()
    const { watcher } = watched(ALL, world)
    world.advance(10)
    taken(watcher)
    world.advance(89_000)
    const before = world.turns
    world.advance(2000)
    const lost = states(taken(watcher)).filter((line) => line.endsWith(' lost'))
    expect(lost).toHaveLength(COUNT)
    expect(world.turns - before).toBeGreaterThan(COUNT / 256)
  })
})

test('counts of the states are under $SYS, apart from a sensor with such a name', () => {
  const world = new World()
  world.send('r', say.connect('asleep'))
  world.send('q', say.connect('s'), say.disconnect(60))
  world.advance(10_000)
  const { watcher } = watched('$SYS/broker/roost/sensor_states/+', world)
  expect(Object.fromEntries(taken(watcher).map(({ topic, text }) => [topic.split('/').at(-1), text]))).toEqual({
    active: '1',
    asleep: '1',
    awake: '0',
    lost: '0',
    disconnected: '0',
  })
  world.subscribe(watcher, '$SYS/broker/roost/sensors/asleep')
  expect(states(taken(watcher))).toEqual(['$SYS/broker/roost/sensors/asleep active retain'])
})
