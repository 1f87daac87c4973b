import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../../src/broker/access.ts'
import { line, type Surroundings, say, TestGateway } from '../harness.ts'

/** `s` at `r`, which has subscribed to `a` and sleeps for a minute. */
function sleeping(options = {}, store?: DelayedStore, around: Surroundings = {}): TestGateway {
  const world = new TestGateway(options, store, around)
  for (const message of [say.connect('s', { clean: false }), say.subscribe('a', 1), say.disconnect(60)]) {
    world.send('r', message)
    if (store !== undefined) world.settle()
  }
  world.sent('r')
  return world
}

const atRest = (world: TestGateway): number => world.gateway.clientsAtRest
const counts = ({ gateway, broker }: TestGateway): number[] => [
  gateway.clientsAtRest,
  gateway.clientCount,
  broker.sessions.connected,
  broker.linkCount,
]

describe('a client rests', () => {
  test('as soon as it sleeps, and counts as before; it has no link, and its session is connected', () => {
    const world = sleeping()
    expect(counts(world)).toEqual([1, 1, 1, 0])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PINGRESP'])
    expect(counts(world)).toEqual([1, 1, 1, 0])
    world.send('r', say.connect('s', { clean: false }))
    expect(counts(world)).toEqual([0, 1, 1, 1])
    world.send('r', say.disconnect())
    expect(counts(world)).toEqual([0, 1, 0, 0])
  })

  test('and what is queued for it neither wakes nor disturbs it', () => {
    const world = sleeping()
    world.publish('a', 'x', 1)
    expect(atRest(world)).toBe(1)
    world.send('r', say.ping('s'))
    // It knows the topic id from its SUBSCRIBE: no REGISTER.
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
    expect(atRest(world)).toBe(0)
    world.send('r', say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PINGRESP'])
    expect(atRest(world)).toBe(1)
  })

  test('without its empty queue and window, which begin again with the next message', () => {
    const world = sleeping()
    const session = world.broker.sessions.get('sn', 's')!
    for (const [text, id] of [
      ['x', 1],
      ['y', 2],
    ] as const) {
      world.publish('a', text, 1)
      world.publish('a', `${text}${text}`, 0)
      world.send('r', say.ping('s'))
      expect(world.sent('r')).toEqual([`PUBLISH 0401=${text} #${id} q1`])
      expect(session.inflight?.size).toBe(1)
      world.send('r', say.puback(0x401, id))
      expect(world.sent('r')).toEqual([`PUBLISH 0401=${text}${text} q0`, 'PINGRESP'])
      expect([atRest(world), session.inflight, session.queue]).toEqual([1, undefined, undefined])
    }
  })

  test('between messages that it sends in its sleep', () => {
    const world = sleeping()
    const watcher = world.client('w')
    watcher.subscribe('a', 0)
    watcher.poll()
    for (const text of ['1', '2']) {
      world.send('r', say.publish(0x401, text))
      expect(atRest(world)).toBe(1)
    }
    world.send('r', say.publish(1, 'p', -1, 0, 'predefined'))
    expect(atRest(world)).toBe(1)
    world.send('r', say.publish(0x401, '3', 1, 7))
    expect(world.sent('r')).toEqual(['PUBACK 0401 #7'])
    expect([atRest(world), watcher.poll().length]).toEqual([1, 3])
  })

  test('appends nothing when it rests and wakes', () => {
    const store = new DelayedStore()
    const world = sleeping({}, store)
    const before = store.appended
    world.send('r', say.ping('s'), say.ping('s'))
    expect([atRest(world), store.appended - before]).toEqual([1, 0])
  })

  test('with the time at which it is lost, to the millisecond', () => {
    const world = sleeping()
    // 1.5 times its sleep.
    world.advance(89_999)
    expect(world.gateway.client('s')?.state).toBe('asleep')
    world.advance(1)
    expect(world.gateway.client('s')?.state).toBe('lost')
    expect([atRest(world), world.broker.sessions.connected]).toEqual([0, 0])
  })

  test('with its will, which is published when it is lost, and counted once', () => {
    const world = new TestGateway()
    const watcher = world.client('w')
    watcher.subscribe('gone', 0)
    world.send('r', say.connect('s', { will: true }), say.willTopic('gone'), say.willMsg('bye'), say.disconnect(60))
    expect([atRest(world), world.gateway.wills.kept]).toEqual([1, 0])
    world.send('r', say.ping('s'))
    expect(world.gateway.client('s')?.will?.topic).toBe('gone')
    world.send('r', say.willMsgUpdate('farewell'))
    expect(atRest(world)).toBe(1)
    world.advance(100_000)
    expect(watcher.poll().at(-1)).toContain('farewell')
  })

  test('with what is left of the retained messages that its subscriptions may examine', () => {
    const refused = (rests: boolean): number => {
      const world = sleeping({}, undefined, { limits: { maxRetainedLookupsPerSecond: 20 } })
      if (!rests) world.gateway.mostIdle = Number.POSITIVE_INFINITY
      const keeper = world.client('k')
      for (let i = 0; i < 8; i++) keeper.publish(`kept/${i}`, 'x', 0, 0, { retain: true })
      let count = 0
      for (let i = 0; i < 10; i++) {
        world.send('r', say.subscribe(`kept/+/${i}`, 0, 20 + i))
        if (rests) expect(atRest(world)).toBe(1)
        count += world.sent('r').filter((each) => each.includes('rc')).length
      }
      return count
    }
    expect(refused(true)).toBeGreaterThan(0)
    expect(refused(true)).toBe(refused(false))
  })

  test('after a restart, when the broker has answered the CONNECT that resumes its session', () => {
    const store = new DelayedStore()
    const after = sleeping({}, store).restarted()
    after.settle()
    expect(counts(after)).toEqual([1, 1, 1, 0])
    after.publish('a', 'x', 1)
    after.settle()
    after.send('r', say.ping('s'))
    after.settle()
    // Its packet ids go on behind those that may have been used.
    expect(after.sent('r').map((each) => each.split(' ')[0])).toEqual(['PUBLISH'])
  })
})

describe('a client at rest is found', () => {
  test('in a new session, although an id gave way in the session before', () => {
    const world = new TestGateway({ topicsPerClient: 1 })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('+', 0, 1))
    world.publish('x', '1')
    world.send('r', say.regack(0x401, 1), say.subscribe('y', 0, 2))
    expect(world.sent('r')).toContain('SUBACK 0402 #2 q0')
    world.send('r', say.connect('s'), say.disconnect(60))
    expect(atRest(world)).toBe(1)
  })

  test('at another address of its network, from where it wakes', () => {
    const world = sleeping()
    world.send('q', say.ping('s'))
    expect([world.sent('q'), world.sent('r')]).toEqual([['PINGRESP'], []])
    world.send('r', say.ping())
    expect(world.sent('r')).toEqual(['DISCONNECT'])
    world.send('q', say.ping())
    expect([world.sent('q'), atRest(world)]).toEqual([['PINGRESP'], 1])
  })

  test('when another client comes to its address, which it loses', () => {
    const world = sleeping()
    world.send('r', say.connect('t'))
    expect([world.sent('r'), atRest(world)]).toEqual([['CONNACK'], 1])
    expect(world.codes()).toContain('client-takeover')
    world.publish('a', 'x', 1)
    world.send('r', say.publish(0x401, 'y'))
    expect(world.sent('r')).toEqual(['PUBACK 0401 rc2'])
    // It is where it wakes next; its former address tells whether it may be there.
    world.send('r2', say.ping('s'))
    expect(world.sent('r2')).toEqual(['PUBLISH 0401=x #1 q1'])
  })

  test('behind a forwarder, and with any id', () => {
    const world = new TestGateway()
    const ids = ['größe/°', '温度', 'plain', 's'.repeat(64)]
    for (const [i, id] of ids.entries())
      world.sendVia('f', Uint8Array.of(i, 0xff), say.connect(id, { clean: false }), say.disconnect(60))
    expect(atRest(world)).toBe(4)
    for (const [i, id] of ids.entries()) {
      world.sent(`f/node:0${i}ff`)
      world.sendVia('f', Uint8Array.of(i, 0xff), say.ping(id))
      expect(world.sent(`f/node:0${i}ff`)).toEqual(['PINGRESP'])
    }
    expect(atRest(world)).toBe(4)
  })

  test('when the rules change, by the gateway and by the broker', () => {
    const users = { userOf: () => (allowed ? { username: undefined } : undefined), qosM1User: () => undefined }
    let allowed = true
    const world = sleeping({ users })
    world.gateway.accessChanged(world.now)
    expect(atRest(world)).toBe(1)
    allowed = false
    world.gateway.accessChanged(world.now)
    expect([world.gateway.client('s')?.state, world.broker.sessions.connected]).toEqual(['lost', 0])

    let remains = 0
    const other = sleeping({}, undefined, { access: { ...OPEN_ACCESS, remains: () => remains } })
    other.broker.accessChanged(other.now)
    other.send('x', say.ping())
    expect(counts(other)).toEqual([1, 1, 1, 0])
    remains = 0x87
    other.broker.accessChanged(other.now)
    other.publish('b', 'x')
    expect([other.gateway.client('s')?.state, atRest(other)]).toEqual(['disconnected', 0])
  })

  test('only by its own id and address: a stranger makes no client of it', () => {
    const world = sleeping()
    world.send('x', say.ping('ss'), say.ping(), say.publish(0x401, 'x', 1))
    world.send('r', say.ping('t'))
    expect([world.sent('x').length > 0, counts(world)]).toEqual([true, [1, 1, 1, 0]])
  })
})

describe('a client does not rest', () => {
  test('while a message to it is in flight', () => {
    const world = sleeping()
    world.publish('a', 'x', 1)
    world.send('r', say.ping('s'))
    world.advance(40_000)
    expect(world.messages('r').map(line).at(-1)).toBe('PINGRESP')
    expect([world.gateway.client('s')?.state, atRest(world)]).toEqual(['asleep', 0])
    world.send('r', say.puback(0x401, 1))
    expect(atRest(world)).toBe(1)
  })

  test('while one of its QoS 2 message ids is remembered', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { clean: false }), say.register('a'), say.publish(0x401, 'x', 2, 3), say.pubrel(3))
    world.send('r', say.disconnect(6000))
    expect(world.sent('r').at(-1)).toBe('DISCONNECT')
    expect(atRest(world)).toBe(0)
    world.advance(200_000)
    expect(atRest(world)).toBe(1)
  })

  test('while an answer waits for the store', () => {
    const world = sleeping({}, new DelayedStore())
    expect(atRest(world)).toBe(1)
    world.send('r', say.register('b'))
    expect([world.sent('r'), atRest(world)]).toEqual([[], 0])
    world.commit()
    expect([world.sent('r'), atRest(world)]).toEqual([['REGACK 0402 #1'], 1])
  })

  test('while its address was not recorded, because the store is full', () => {
    const store = new DelayedStore()
    const world = sleeping({}, store)
    store.refuse = true
    world.send('q', say.ping('s'))
    expect([world.sent('q'), atRest(world)]).toEqual([['PINGRESP'], 0])
    store.refuse = false
    world.advance(2000)
    world.settle()
    expect(atRest(world)).toBe(1)
  })

  test('with more topic ids than a row has room for', () => {
    const world = new TestGateway({ topicsPerClient: 1000 })
    world.send('r', say.connect('s', { clean: false }))
    for (let i = 0; i < 50; i++) world.send('r', say.register(`${i}${'x'.repeat(90)}`, 1 + i))
    world.send('r', say.disconnect(60))
    expect(atRest(world)).toBe(0)
    world.send('r', say.connect('s', { clean: true }), say.register('a'), say.disconnect(60))
    expect(atRest(world)).toBe(1)
  })
})

test('a row that is just too long, whatever it is that makes it so, is none', () => {
  const long = 'r'.repeat(150)
  const rested = [0, 0]
  for (let size = 3500; size < 4100; size += 7) {
    const world = new TestGateway()
    world.send(long, say.connect('s', { clean: false }), say.register('x'.repeat(size)), say.disconnect(60))
    // At another address the row has both; without an address it has the former one.
    if (size % 2 === 0) world.send('q', say.ping('s'))
    else world.send(long, say.connect('t'))
    rested[atRest(world)]!++
    world.send('q', say.ping('s'))
    expect(world.sent('q').at(-1)).toBe('PINGRESP')
  }
  expect(Math.min(...rested)).toBeGreaterThan(10)
})

test('the first clients that sleep stay objects, so that a small site never makes rows', () => {
  const world = new TestGateway({ maxSessions: 10_000 })
  world.gateway.mostIdle = 10
  for (let i = 0; i < 30; i++) world.send(`r${i}`, say.connect(`s${i}`, { clean: false }), say.disconnect(60))
  expect(atRest(world)).toBe(20)
  for (let i = 0; i < 30; i++) world.send(`r${i}`, say.ping(`s${i}`))
  expect([world.sent('r0').at(-1), world.sent('r29').at(-1), atRest(world)]).toEqual(['PINGRESP', 'PINGRESP', 20])
  // A clean session ends with its client, which makes room for one that sleeps later.
  world.send('r0', say.connect('s0', { clean: true }), say.disconnect())
  world.advance(45_000)
  for (let i = 1; i < 30; i++) world.send(`r${i}`, say.ping(`s${i}`))
  expect([world.gateway.clientCount, atRest(world)]).toEqual([29, 19])
})

test('rows are counted in the memory account as what they take, and topic ids of clients at rest with them', () => {
  const world = new TestGateway({ maxSessions: 10_000 })
  const sessions = (): number => world.gateway.memory.byCategory().get('sessions')!
  const topicIds = (): number => world.gateway.memory.byCategory().get('topic_ids')!
  for (let i = 0; i < 1000; i++) world.send(`r${i}`, say.connect(`s${i}`, { clean: false }), say.subscribe(`topic/of/${i}`))
  const awake = [sessions(), topicIds()]
  for (let i = 0; i < 1000; i++) world.send(`r${i}`, say.disconnect(60))
  expect([atRest(world), topicIds()]).toEqual([1000, 0])
  // Without the objects of the gateway and the link.
  expect((awake[0]! - sessions()) / 1000).toBeGreaterThan(1500)
  for (let i = 0; i < 1000; i++) world.send(`r${i}`, say.connect(`s${i}`, { clean: false }))
  expect([sessions(), topicIds()].map((bytes, i) => Math.abs(bytes - awake[i]!) < 0.1 * awake[i]!)).toEqual([true, true])
})
