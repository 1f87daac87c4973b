import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { say, TestGateway } from '../harness.ts'

const connected = (options = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false }))
  world.sent('r')
  return world
}

/** One whose store makes nothing durable by itself. */
const gated = (options = {}): TestGateway => {
  const world = new TestGateway(options, new DelayedStore())
  world.send('r', say.connect('s', { clean: false }))
  world.settle()
  world.sent('r')
  return world
}

describe('SUBACK of a short topic name', () => {
  test('has its two octets as topic id, which its messages have too', () => {
    const world = connected()
    world.send('r', say.subscribeId('short', 0x6162, 1))
    expect(world.sent('r')).toEqual(['SUBACK 6162 #9 q1'])
    world.publish('ab', 'x')
    expect(world.sent('r')).toEqual(['PUBLISH short:6162=x #1 q1'])
  })

  test('also where the two octets are one character', () => {
    const world = connected()
    world.send('r', say.subscribeId('short', 0xc3a9, 1))
    expect(world.sent('r')).toEqual(['SUBACK c3a9 #9 q1'])
    world.publish('é', 'x')
    expect(world.sent('r')).toEqual(['PUBLISH short:c3a9=x #1 q1'])
  })

  test('a topic of two characters that needs more octets has a normal id', () => {
    const world = connected()
    world.send('r', say.subscribe('éé', 1))
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1'])
    world.publish('éé', 'x')
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  })

  test('says nothing about the normal id of that number', () => {
    const world = connected()
    world.send('r', say.subscribe('0x0401', 1, 1), say.connect('s', { clean: false }), say.subscribeId('short', 0x0401, 0, 2))
    expect(world.sent('r')).toEqual(['SUBACK 0401 #1 q1', 'CONNACK', 'SUBACK 0401 #2 q0'])
    world.publish('0x0401', 'x')
    expect(world.sent('r')).toEqual([expect.stringMatching(/^REGISTER 0401=0x0401/)])
  })
})

describe('a request that comes again before it is answered gets the same answer', () => {
  test('SUBSCRIBE', () => {
    const requests = [
      [say.subscribe('a'), 'SUBACK 0401 #9 q1'],
      [say.subscribe('a/+'), 'SUBACK 0000 #9 q1'],
      [say.subscribeId('predefined', 1), 'SUBACK 0001 #9 q1'],
      [say.subscribeId('short', 0x6162), 'SUBACK 6162 #9 q1'],
    ] as const
    for (const [request, answer] of requests) {
      const world = gated()
      world.send('r', request, { ...request, dup: true } as never)
      world.settle()
      expect(world.sent('r')).toEqual([answer, answer])
      world.send('r', { ...request, dup: true } as never)
      world.settle()
      expect(world.sent('r')).toEqual([answer])
    }
  })

  test('SUBSCRIBE with the message id of another one that is open', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 1, 9), say.subscribe('b', 2, 9))
    world.settle()
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'SUBACK 0402 #9 q2'])
  })

  test('PUBLISH with QoS 1, whose PUBACK has the topic id, and which is published once', () => {
    const world = gated()
    const watcher = world.client('w')
    watcher.subscribe('#', 1)
    world.settle()
    watcher.poll()
    world.send('q', say.connect('t', { clean: false }))
    world.settle()
    world.send('q', say.subscribe('up', 1, 1))
    world.settle()
    world.send('r', say.register('up', 1))
    world.settle()
    world.sent('r')
    const publish = say.publish(0x401, 'x', 1, 5)
    world.send('r', publish, { ...publish, dup: true }, { ...publish, dup: true })
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r')).toEqual(['PUBACK 0401 #5'])
    expect(watcher.poll()).toEqual(['up=x q1 #1'])
    world.send('r', { ...publish, dup: true })
    world.settle()
    expect(world.sent('r')).toEqual(['PUBACK 0401 #5'])
  })

  test('REGISTER', () => {
    const world = gated()
    world.send('r', say.register('a', 5), say.register('a', 5))
    world.settle()
    expect(world.sent('r')).toEqual(['REGACK 0401 #5', 'REGACK 0401 #5'])
  })
})

describe('more open requests than are remembered', () => {
  test('SUBSCRIBE is told congestion, with a notice, and no SUBACK lacks its topic id', () => {
    const world = gated()
    for (let i = 1; i <= 17; i++) world.send('r', say.subscribe(`t/${i}`, 1, i))
    expect(world.sent('r')).toEqual(['SUBACK 0000 #17 q0 rc1'])
    world.settle()
    const answers = world.sent('r')
    expect(answers).toHaveLength(16)
    expect([answers[0], answers[15]]).toEqual(['SUBACK 0401 #1 q1', 'SUBACK 0410 #16 q1'])
    expect(world.codes()).toContain('limit-reached')
  })

  test('none is remembered beyond its connection with the broker', () => {
    const world = gated()
    for (let round = 0; round < 3; round++) {
      for (let i = 1; i <= 16; i++) world.send('r', say.subscribe('a', 1, i))
      world.send('r', say.connect('s', { clean: true }))
      world.settle()
      world.sent('r')
    }
    world.send('r', say.subscribe('a', 1, 9))
    world.settle()
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1'])
  })
})

describe('an answer that never leaves tells no topic id, so that a message under it is registered first', () => {
  const retry = { tRetryMs: 60_000, nRetry: 3, backoff: 1, jitter: 0 }
  /** An octet a second, and one answer that waits at most. */
  const slow = (): TestGateway => {
    const airtime = { bytesPerSecond: 1, dutyCycle: 1 }
    const world = new TestGateway({ ports: [{ name: 'sn', maxFrame: 100, retry, airtime, maxQueued: 1 }] })
    world.send('r', say.connect('s', { clean: false, duration: 6000 }))
    world.advance(60_000)
    expect(world.sent('r')).toEqual(['CONNACK'])
    return world
  }

  test.each([
    ['SUBACK', say.subscribe('a', 0)],
    ['REGACK', say.register('a', 9)],
  ])('%s without room at its port', (name, request) => {
    const world = slow()
    world.send('r', say.subscribe('+', 0, 1))
    world.advance(60_000)
    // The first PINGRESP is under way, the second one waits.
    world.send('r', say.ping(), say.ping(), request)
    expect(world.notices.at(-1)).toMatchObject({ code: 'message-dropped', limit: 'sn_max_queued_frames' })
    expect(world.notices.at(-1)?.reason).toMatch(name)
    world.advance(60_000)
    world.sent('r')
    world.publish('a', 'x', 0)
    world.advance(30_000)
    expect(world.sent('r')).toEqual(['REGISTER 0401=a #1'])
  })

  test('REGACK that waits at its port when the sensor begins a dialogue about its will, which comes to nothing', () => {
    const world = slow()
    world.send('r', say.subscribe('+', 0, 1))
    world.advance(60_000)
    world.send('r', say.ping(), say.register('a', 9), say.connect('s', { clean: false, will: true }))
    world.advance(600_000)
    expect(world.sent('r').slice(0, 3)).toEqual(['SUBACK 0000 #1 q0', 'PINGRESP', 'WILLTOPICREQ'])
    world.publish('a', 'x', 0)
    world.advance(30_000)
    expect(world.sent('r')).toEqual(['REGISTER 0401=a #1'])
  })

  test('SUBACK behind more answers than may wait for the store', () => {
    const world = gated()
    world.send('r', say.subscribe('+', 0, 1))
    world.settle()
    world.sent('r')
    // The first one waits for its record, and the others behind it.
    for (let i = 0; i < 64; i++) world.send('r', say.register('other', 100 + i))
    world.send('r', say.register('a', 9))
    expect(world.notices.at(-1)).toMatchObject({ code: 'limit-reached', reason: '64 replies wait for the store' })
    world.settle()
    expect(world.sent('r')).toHaveLength(64)
    world.publish('a', 'x', 0)
    expect(world.sent('r')).toEqual(['REGISTER 0402=a #1'])
  })
})
