import { describe, expect, test } from 'vitest'
import { say, TestGateway } from '../harness.ts'

/** A client that subscribed to `a` and sleeps for a minute. */
const sleeping = (options = {}, connect = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false, ...connect }), say.subscribe('a', 2), say.disconnect(60))
  expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0401 #9 q2', 'DISCONNECT'])
  return world
}

describe('sleep [1.2 section 6.14]', () => {
  test('everything is buffered in order; a wake delivers it, each through its acknowledgement, then PINGRESP (complaints 1 to 4)', () => {
    const world = sleeping()
    world.publish('a', 'one', 1)
    world.publish('a', 'two', 2)
    world.publish('a', 'zero', 0)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=one #1 q1'])
    world.send('r', say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=two #2 q2'])
    world.send('r', say.pubrec(2))
    expect(world.sent('r')).toEqual(['PUBREL #2'])
    world.send('r', say.pubcomp(2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=zero q0', 'PINGRESP'])
    world.publish('a', 'later', 1)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'))
    world.send('r', say.puback(0x401, 3))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=later #3 q1', 'PINGRESP'])
  })

  test('with nothing buffered PINGRESP comes at once, for a PINGREQ without a client id too (ruling A6)', () => {
    const world = sleeping()
    world.send('r', say.ping('s'), say.ping())
    expect(world.sent('r')).toEqual(['PINGRESP', 'PINGRESP'])
  })

  test('a new topic is registered inside the awake period (complaint 5)', () => {
    const world = sleeping()
    world.send('r', say.subscribe('t/#', 1, 10))
    expect(world.sent('r')).toEqual(['SUBACK 0000 #10 q1'])
    world.publish('t/x', 'new')
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'))
    world.send('r', say.regack(0x402, 1))
    world.send('r', say.puback(0x402, 1))
    expect(world.sent('r')).toEqual(['REGISTER 0402=t/x #2', 'PINGRESP'].slice(0, 1))
    world.send('r', say.regack(0x402, 2))
    world.send('r', say.puback(0x402, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0402=t/x'.replace('t/x', 'new #1 q1'), 'PINGRESP'])
  })

  test('a wake delivers at most wake_messages; the rest waits for the next (ruling A5)', () => {
    const world = sleeping({ wakeMessages: 2 })
    for (const text of ['1', '2', '3']) world.publish('a', text, 0)
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 q0', 'PUBLISH 0401=2 q0', 'PINGRESP'])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=3 q0', 'PINGRESP'])
  })

  test('what is not acknowledged ends with PINGRESP all the same, and comes again at the next wake (rulings A4, A28)', () => {
    const world = sleeping({}, {})
    world.send('r', say.disconnect(1000))
    world.publish('a', 'x', 1)
    world.sent('r')
    world.send('r', say.ping('s'))
    world.advance(40_000)
    expect(world.sent('r')).toEqual([
      'PUBLISH 0401=x #1 q1',
      'PUBLISH 0401=x #1 q1 dup',
      'PUBLISH 0401=x #1 q1 dup',
      'PUBLISH 0401=x #1 q1 dup',
      'PINGRESP',
    ])
    world.advance(100_000)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1 dup'])
    world.send('r', say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PINGRESP'])
  })

  test('going to sleep in the middle of a delivery suspends it', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s'), say.subscribe('a', 1))
    world.publish('a', 'x', 1)
    world.send('r', say.disconnect(60))
    expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0401 #9 q1', 'PUBLISH 0401=x #1 q1', 'DISCONNECT'])
    world.advance(80_000)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1 dup', 'PINGRESP'])
  })

  test('PUBREC that crosses PINGRESP is answered at the next wake, not into the sleep', () => {
    const world = sleeping()
    world.send('r', say.disconnect(1000))
    world.publish('a', 'x', 2)
    world.send('r', say.ping('s'))
    world.sent('r')
    world.advance(40_000)
    world.sent('r')
    world.send('r', say.pubrec(1))
    world.advance(100_000)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'), say.pubcomp(1))
    expect(world.sent('r')).toEqual(['PUBREL #1', 'PINGRESP'])
  })

  test('neither is a REGACK or a refusal of the topic id that crosses PINGRESP', () => {
    const world = sleeping()
    world.send('r', say.disconnect(1000), say.subscribe('t/#', 1, 10))
    world.publish('t/x', 'x', 1)
    world.send('r', say.ping('s'))
    world.advance(40_000)
    world.sent('r')
    world.send('r', say.regack(0x402, 2))
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0402=x #1 q1'])
    world.advance(40_000)
    world.sent('r')
    world.send('r', say.puback(0x402, 1, 2))
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['REGISTER 0402=t/x #3'])
  })

  test('CONNECT from sleep drains too (complaint 6, ruling A1)', () => {
    const world = sleeping()
    world.publish('a', 'x', 1)
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #1'].map((text) => text.replace('#1', '#2')).slice(0, 2))
    world.send('r', say.regack(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  })

  test('keep alive does not run while asleep; the sleep duration does, with its margin (complaint 7, rulings A2, A3)', () => {
    const world = sleeping({}, { duration: 5 })
    const watcher = world.client('w')
    watcher.subscribe('gone')
    watcher.poll()
    world.advance(89_999)
    expect(world.gateway.client('s')?.state).toBe('asleep')
    world.send('r', say.ping('s'))
    world.advance(89_999)
    expect(world.gateway.client('s')?.state).toBe('asleep')
    world.advance(2)
    expect(world.gateway.client('s')?.state).toBe('lost')
    expect(world.codes()).toContain('client-lost')
  })

  test('a sleeper that is lost fires its will once, and keeps its session and its messages (complaint 8)', () => {
    const world = new TestGateway()
    const watcher = world.client('w')
    watcher.subscribe('gone')
    watcher.poll()
    world.send('r', say.connect('s', { clean: false, will: true }), say.willTopic('gone'), say.willMsg('bye'))
    world.send('r', say.subscribe('a', 1), say.disconnect(60))
    world.publish('a', 'kept', 1)
    world.sent('r')
    world.advance(1e7)
    expect(watcher.poll()).toEqual(['gone=bye q0'])
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['DISCONNECT'])
    world.send('r', say.connect('s', { clean: false }), say.regack(0x401, 1))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2'])
    world.send('r', say.regack(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=kept #1 q1'])
  })

  test('sleep again with a new duration; goodbye from sleep, twice if our answer was lost', () => {
    const world = sleeping()
    world.send('r', say.disconnect(600), say.disconnect(), say.disconnect())
    expect(world.sent('r')).toEqual(['DISCONNECT', 'DISCONNECT', 'DISCONNECT'])
    expect(world.gateway.client('s')?.state).toBe('disconnected')
  })

  test('a sleeper may publish without waking, and is acknowledged (ruling A23)', () => {
    const world = sleeping()
    const watcher = world.client('w')
    watcher.subscribe('a')
    watcher.poll()
    world.send('r', say.publish(0x401, 'x', 1, 5))
    expect(world.sent('r')).toEqual(['PUBACK 0401 #5'])
    expect(watcher.poll()).toEqual(['a=x q0'])
    expect(world.gateway.client('s')?.state).toBe('asleep')
  })
})

describe('supervision while active', () => {
  test('section 7.2: half as long again for a minute and less, a tenth more above; any message counts', () => {
    for (const [duration, ms] of [
      [10, 15_000],
      [60, 90_000],
      [100, 110_000],
    ] as const) {
      const world = new TestGateway()
      world.send('r', say.connect('s', { duration, clean: false }))
      world.advance(ms - 1)
      world.send('r', say.register('a'))
      world.advance(ms - 1)
      expect(world.gateway.client('s')?.state).toBe('active')
      world.advance(2)
      expect(world.gateway.client('s')?.state).toBe('lost')
    }
  })

  test('duration 0 is not supervised, unless max_sn_idle_seconds says so (ruling A21)', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { duration: 0, clean: false }))
    world.advance(1e9)
    expect(world.gateway.client('s')?.state).toBe('active')
    const strict = new TestGateway({ maxIdleMs: 1000 })
    strict.send('r', say.connect('s', { duration: 0, clean: false }))
    strict.advance(1001)
    expect(strict.gateway.client('s')?.state).toBe('lost')
  })

  test('a clean session that went leaves nothing behind', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s'), say.subscribe('a'), say.disconnect())
    world.advance(1e6)
    expect(world.gateway.clientCount).toBe(0)
    expect(world.broker.sessions.size).toBe(0)
    expect(world.broker.subscriptionCount).toBe(0)
    expect(world.gateway.nextTimeout()).toBeUndefined()
  })
})
