import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { ANONYMOUS_SENSORS } from '../../src/gateway/gateway-options.ts'
import type { Message } from '../../src/mqttsn/messages.ts'
import { say, TestGateway } from './harness.ts'

/** A gateway whose store makes nothing durable by itself, with one connected client that has a will. */
const gated = (): TestGateway => {
  const world = new TestGateway({}, new DelayedStore())
  world.send('r', say.connect('s', { clean: false, will: true }), say.willTopic('gone'), say.willMsg('bye'))
  world.settle()
  expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK'])
  return world
}

/** The same, asleep, which wakes while a message for it waits for the store. */
const wakes = (): TestGateway => {
  const world = gated()
  world.send('r', say.subscribe('a', 2), say.disconnect(600))
  world.settle()
  world.sent('r')
  world.publish('a', 'x', 2)
  world.send('r', say.ping('s'))
  return world
}

/** The process does not run for so long. Timers come before what waits in its sockets. */
const pause = (world: TestGateway, ms: number): void => {
  world.now += ms
  world.gateway.paused(world.now, ms)
  world.advance(0)
}

/** Commits record by record, and says after how many the answer came and how many there were. */
const answeredAfterAll = (world: TestGateway): { answers: string[]; early: string[] } => {
  const store = world.store as DelayedStore
  const early: string[] = []
  for (;;) {
    const last = store.durable + 1 >= store.appended
    if (last) break
    store.commit(store.durable + 1)
    world.broker.handleDurable()
    world.gateway.durable(world.now)
    world.send('nobody', { type: 0x17 })
    early.push(...world.sent('r'))
  }
  world.settle()
  return { answers: world.sent('r'), early }
}

describe('nothing leaves before the records that it depends on are durable', () => {
  test('CONNACK: the session first, and then what the gateway has to remember of the client', () => {
    const world = new TestGateway({}, new DelayedStore())
    world.send('r', say.connect('s'))
    expect(world.sent('r')).toEqual([])
    world.commit()
    expect(world.sent('r')).toEqual([])
    world.commit()
    expect(world.sent('r')).toEqual(['CONNACK'])
  })

  const cases: [string, Message, string][] = [
    ['REGACK', say.register('a'), 'REGACK 0401 #1'],
    ['SUBACK with a topic id', say.subscribe('a', 1), 'SUBACK 0401 #9 q1'],
    ['SUBACK of a wildcard', say.subscribe('a/#', 1), 'SUBACK 0000 #9 q1'],
    ['the DISCONNECT that grants sleep', say.disconnect(60), 'DISCONNECT'],
    ['the DISCONNECT that says goodbye', say.disconnect(), 'DISCONNECT'],
    ['WILLTOPICRESP', say.willTopicUpdate('other'), 'WILLTOPICRESP'],
    ['WILLMSGRESP', say.willMsgUpdate('other'), 'WILLMSGRESP'],
    ['PUBREC', say.publish(1, 'x', 2, 5, 'predefined'), 'PUBREC #5'],
  ]
  for (const [name, message, answer] of cases) {
    test(name, () => {
      const world = gated()
      world.send('r', message)
      expect(world.sent('r')).toEqual([])
      expect(answeredAfterAll(world)).toEqual({ answers: [answer], early: [] })
    })
  }

  // A sleeping sensor takes a second one for the end of its session.
  test.each([
    ['says goodbye', undefined],
    ['grants sleep', 60],
  ])('the DISCONNECT that %s, asked for again meanwhile', (_, duration) => {
    const world = gated()
    world.send('r', say.disconnect(duration))
    world.send('r', say.disconnect(duration))
    expect(world.sent('r')).toEqual([])
    expect(answeredAfterAll(world)).toEqual({ answers: ['DISCONNECT'], early: [] })
  })

  test('PUBACK for a message that waits for somebody', () => {
    const world = gated()
    world.send('r', say.subscribeId('predefined', 1, 1))
    world.settle()
    world.sent('r')
    world.send('q', say.connect('t'))
    world.settle()
    world.sent('q')
    world.send('q', say.publish(1, 'x', 1, 5, 'predefined'))
    expect(world.sent('q')).toEqual([])
    world.settle()
    expect(world.sent('q')).toEqual(['PUBACK 0001 #5'])
  })

  test('PUBCOMP', () => {
    const world = gated()
    world.send('r', say.publish(1, 'x', 2, 5, 'predefined'))
    world.settle()
    world.sent('r')
    world.send('r', say.pubrel(5))
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r')).toEqual(['PUBCOMP #5'])
  })

  test('the REGISTER of a new topic id', () => {
    const world = gated()
    world.send('r', say.subscribe('a/#', 0))
    world.settle()
    world.sent('r')
    world.publish('a/b', 'x', 0)
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r')).toEqual(['REGISTER 0401=a/b #1'])
  })

  test('QoS 2 to the client: PUBLISH waits for its packet id, PUBREL for PUBREC', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 2))
    world.settle()
    world.sent('r')
    world.publish('a', 'x', 2)
    expect(world.sent('r')).toEqual([])
    world.commit()
    expect(world.sent('r')).toEqual([])
    world.commit()
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q2'])
    world.send('r', say.pubrec(1))
    expect(world.sent('r')).toEqual([])
    world.commit()
    expect(world.sent('r')).toEqual(['PUBREL #1'])
  })

  test('MQTT-4.3.3-6: CONNECT again while PUBREC waits for the disk does not send PUBLISH again', () => {
    const world = gated()
    world.send('r', say.subscribeId('short', 0x6162, 2))
    world.settle()
    world.publish('ab', 'x', 2)
    world.publish('ab', 'y', 2)
    world.settle()
    world.sent('r')
    world.send('r', say.pubrec(1), say.connect('s', { clean: false }))
    ;(world.store as DelayedStore).commit()
    world.broker.handleDurable()
    // The broker's PUBREL comes before CONNACK has left.
    world.send('elsewhere', say.ping())
    world.settle()
    expect(world.sent('r')).toEqual(['CONNACK', 'PUBREL #1'])
    world.send('r', say.pubcomp(1))
    world.settle()
    expect(world.sent('r')).toEqual(['PUBLISH short:6162=y #2 q2'])
  })

  test('PINGRESP waits for messages that wait for the disk, but not for ever', () => {
    const world = wakes()
    expect(world.sent('r')).toEqual([])
    world.advance(40_000)
    expect(world.sent('r')).toEqual(['PINGRESP'])
    world.settle()
    world.send('r', say.ping('s'))
    world.settle()
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q2'])
  })

  test('a sensor that has answered PUBREC is not lost because the store is slow', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 2))
    world.settle()
    world.sent('r')
    world.publish('a', 'x', 2)
    world.commit()
    world.commit()
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q2'])
    world.send('r', say.pubrec(1))
    for (let minute = 0; minute < 5; minute++) {
      world.advance(59_000)
      world.send('r', say.ping())
    }
    expect(new Set(world.sent('r'))).toEqual(new Set(['PINGRESP']))
    expect(world.notices.map(({ code }) => code)).not.toContain('retries-exhausted')
    world.settle()
    expect(world.sent('r')).toEqual(['PUBREL #1'])
    // From here on it is asked.
    world.advance(10_000)
    expect(world.sent('r')).toEqual(['PUBREL #1'])
  })

  test('PINGRESP waits for the store behind PUBREC for T_retry, but not for ever', () => {
    const world = wakes()
    world.settle()
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q2'])
    // T_retry counts from here, not from the PUBLISH.
    world.advance(9_000)
    world.send('r', say.pubrec(1))
    world.advance(9_000)
    expect(world.sent('r')).toEqual([])
    world.advance(40_000)
    expect(world.sent('r')).toEqual(['PINGRESP'])
    expect(world.notices.map(({ code }) => code)).not.toContain('retries-exhausted')
    world.settle()
    world.send('r', say.ping('s'))
    world.settle()
    expect(world.sent('r')).toEqual(['PUBREL #1'])
  })

  test('a pause of the process is no time in which PINGRESP could have waited for the disk', () => {
    const world = wakes()
    pause(world, 60_000)
    world.settle()
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q2'])
    world.send('r', say.pubrec(1))
    world.settle()
    world.send('r', say.pubcomp(1))
    world.settle()
    expect(world.sent('r')).toEqual(['PUBREL #1', 'PINGRESP'])
  })

  test('after a pause of the process PINGRESP does not wait for ever either', () => {
    const world = wakes()
    pause(world, 60_000)
    expect(world.sent('r')).toEqual([])
    world.advance(60_000)
    expect(world.sent('r')).toEqual(['PINGRESP'])
  })

  test('a full store: what would have to be remembered is refused with congestion or not answered, and nothing is lost', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 1))
    world.settle()
    world.sent('r')
    ;(world.store as DelayedStore).refuse = true
    world.send(
      'r',
      say.register('b', 2),
      say.subscribe('b', 1, 3),
      say.willMsgUpdate('x'),
      say.publish(0x401, 'x', 1, 5),
      say.disconnect(60),
    )
    expect(world.sent('r')).toEqual(['REGACK 0000 #2 rc1', 'SUBACK 0000 #3 q0 rc1', 'WILLMSGRESP rc1', 'PUBACK 0401 #5 rc1'])
    expect(world.gateway.client('s')?.state).toBe('active')
    ;(world.store as DelayedStore).refuse = false
    world.send('r', say.register('b', 4))
    world.settle()
    expect(world.sent('r')).toEqual(['REGACK 0402 #4'])
  })
})

test('QoS 0 that comes while a reply waits for the store waits in its queue, and is not lost behind it', () => {
  const world = gated()
  world.send('r', say.subscribe('a', 0))
  world.settle()
  world.sent('r')
  world.send('r', say.register('b', 2))
  for (let i = 0; i < 200; i++) world.publish('a', `${i}`, 0)
  expect(world.sent('r')).toEqual([])
  world.settle()
  expect(world.sent('r')).toHaveLength(201)
})

describe('after kill -9', () => {
  test('an address that changed hands is with whoever had it last, also when the log was folded', () => {
    const world = new TestGateway({}, new DelayedStore())
    for (const [route, clientId] of [
      ['q', 'a'],
      ['r', 'b'],
      ['r', 'a'],
    ] as const) {
      world.advance(1000)
      world.send(route, say.connect(clientId, { clean: false }))
      world.settle()
    }
    for (const after of [world.restarted(), world.restarted(0, 0)]) {
      after.settle()
      expect([after.gateway.client('a')?.route, after.gateway.client('b')?.route]).toEqual(['r', ''])
    }
  })

  test('a sleeper wakes to its backlog, with the ids it knows, and never notices', () => {
    const world = gated()
    for (const message of [say.subscribe('a', 1), say.register('up', 2), say.disconnect(600)]) {
      world.send('r', message)
      world.settle()
    }
    world.publish('a', 'one')
    world.settle()
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'REGACK 0402 #2', 'DISCONNECT'])
    const after = world.restarted()
    after.settle()
    expect(after.sent('r')).toEqual([])
    after.publish('a', 'two')
    after.settle()
    after.send('r', say.ping('s'))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBLISH 0401=one #64 q1'])
    after.send('r', say.puback(0x401, 64))
    after.settle()
    after.send('r', say.puback(0x401, 65))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBLISH 0401=two #65 q1', 'PINGRESP'])
  })

  test('a sleeper that wakes before its session is taken up again gets its backlog too', () => {
    const world = gated()
    for (const message of [say.subscribe('a', 1), say.disconnect(600)]) {
      world.send('r', message)
      world.settle()
    }
    world.publish('a', 'one')
    world.settle()
    const after = world.restarted()
    after.send('r', say.ping('s'))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBLISH 0401=one #64 q1'])
  })

  test('an id that a sensor may have lost is told again before QoS 0 comes under it, whose loss nobody would hear of', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 1))
    world.settle()
    // It has lost its memory, and the process ends before it is sent anything.
    world.send('r', say.connect('s', { clean: false }))
    world.settle()
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'CONNACK'])
    const after = world.restarted()
    after.settle()
    after.publish('a', 'one', 0)
    after.settle()
    expect(after.sent('r')).toEqual(['REGISTER 0401=a #1'])
    after.send('r', say.regack(0x401, 1))
    after.publish('a', 'two', 0)
    after.settle()
    expect(after.sent('r')).toEqual(['PUBLISH 0401=one q0', 'PUBLISH 0401=two q0'])
  })

  test('a REGACK that is late is not taken for that of another topic', () => {
    const world = gated()
    world.send('r', say.subscribe('#', 1))
    world.settle()
    world.publish('a', 'one')
    world.settle()
    expect(world.sent('r')).toEqual(['SUBACK 0000 #9 q1', 'REGISTER 0401=a #2'])
    world.publish('b', 'two')
    world.settle()
    const after = world.restarted()
    after.settle()
    after.sent('r')
    after.send('r', say.puback(0x401, 64))
    after.settle()
    expect(after.sent('r')).toEqual(['REGISTER 0402=b #1'])
    after.send('r', say.regack(0x401, 1))
    after.settle()
    expect(after.sent('r')).toEqual([])
    after.send('r', say.regack(0x402, 1))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBLISH 0402=two #65 q1'])
  })

  test('a PUBACK that is late is not taken for that of another message, however often the process ends', () => {
    let world = gated()
    world.send('r', say.subscribe('a', 1))
    world.settle()
    for (const text of ['one', 'two', 'three']) world.publish('a', text)
    world.settle()
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'PUBLISH 0401=one #1 q1'])
    for (const first of [64, 128, 192]) {
      world = world.restarted()
      world.settle()
      expect(world.sent('r')).toEqual([`PUBLISH 0401=one #${first} q1`])
      for (let msgId = 1; msgId < first; msgId++) world.send('r', say.puback(0x401, msgId))
      world.settle()
      expect(world.sent('r')).toEqual([])
    }
    world.send('r', say.puback(0x401, 192))
    world.settle()
    expect(world.sent('r')).toEqual(['PUBLISH 0401=two #193 q1'])
  })

  test('an id is recorded before a new process could use it again, and no message waits for that while there is time', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 1))
    world.settle()
    world.sent('r')
    const { store } = world
    for (let msgId = 1; msgId < 200; msgId++) {
      world.publish('a', 'x')
      world.settle()
      expect(world.sent('r')).toEqual([`PUBLISH 0401=x #${msgId} q1`])
      if (msgId % 50 === 49) {
        const next = world.restarted().broker.sessions.get('sn', 's')!.freePacketId()
        expect(next).toBeGreaterThan(msgId)
        expect(next).toBeLessThanOrEqual(msgId + 64)
      }
      world.send('r', say.puback(0x401, msgId))
    }
    expect([...store.replay()].filter((record) => record.type === 'sent').length).toBeLessThan(8)
  })

  describe('the sleep of 600 s runs on, with one grace period of half of it', () => {
    const asleep = (): TestGateway => {
      const world = gated()
      world.send('r', say.disconnect(600))
      world.settle()
      return world
    }
    /** Seconds after a restart at this wall time at which the sleeper is lost. */
    const lostAfter = (world: TestGateway, wallSeconds: number): number => {
      const after = world.restarted(wallSeconds * 1000)
      after.settle()
      for (let seconds = 0; seconds < 2000; seconds += 10) {
        if (after.gateway.client('s')?.state === 'lost') return seconds
        after.advance(10_000)
        after.settle()
      }
      return Number.POSITIVE_INFINITY
    }

    test.each([
      ['at once', 0, 900],
      ['within the grace period', 300, 900],
      ['later', 500, 700],
      ['when it is overdue', 900, 300],
      ['long after', 1e6, 300],
      ['when the wall clock has gone backwards', -1e6, 900],
    ])('restarted %s', (_when, wallSeconds, seconds) => {
      expect(lostAfter(asleep(), wallSeconds)).toBe(seconds)
    })

    test('a wake counts, and is recorded once in half a sleep at most', () => {
      const world = asleep()
      const { appended } = world.store as DelayedStore
      for (let i = 0; i < 60; i++) {
        world.advance(10_000)
        world.send('r', say.ping('s'))
        world.settle()
      }
      expect((world.store as DelayedStore).appended - appended).toBe(2)
      expect(lostAfter(world, 600)).toBe(900)
      expect(lostAfter(asleep(), 600)).toBe(600)
    })
  })

  test('who is gone is forgotten when its session expires, the time that the process was away included', () => {
    const world = new TestGateway({ sessionExpirySeconds: 1000 }, new DelayedStore())
    for (const message of [say.connect('s', { clean: false }), say.disconnect()]) {
      world.send('r', message)
      world.settle()
    }
    const store = (world.store as DelayedStore).crash({})
    const after = new TestGateway({ sessionExpirySeconds: 1000 }, store, { epoch: 400_000 })
    after.advance(599_000)
    expect(after.gateway.client('s')).toBeDefined()
    after.advance(2000)
    expect(after.gateway.client('s')).toBeUndefined()
  })

  test('an active client goes on; its will fires once if it does not', () => {
    const world = gated()
    const after = world.restarted()
    after.settle()
    expect(after.sent('r')).toEqual([])
    after.send('r', say.publish(1, 'x', 1, 3, 'predefined'))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBACK 0001 #3'])
    const watcher = after.client('w')
    watcher.subscribe('gone')
    watcher.poll()
    after.advance(1e6)
    expect(watcher.poll()).toEqual(['gone=bye q0'])
  })

  test('QoS 2 stays exactly once in both directions', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 2))
    world.settle()
    world.publish('a', 'down', 2)
    world.settle()
    world.send('r', say.pubrec(1), say.publish(1, 'up', 2, 5, 'predefined'))
    world.settle()
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q2', 'PUBLISH 0401=down #1 q2', 'PUBREL #1', 'PUBREC #5'])
    const after = world.restarted()
    after.settle()
    expect(after.sent('r')).toEqual(['PUBREL #1'])
    const watcher = after.client('w')
    watcher.subscribe('#')
    watcher.poll()
    after.send('r', say.pubcomp(1), say.publish(1, 'up', 2, 5, 'predefined'), say.pubrel(5))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBREC #5', 'PUBCOMP #5'])
    expect(watcher.poll()).toEqual([])
  })

  test('a late copy of a QoS 2 message that was finished before is no new message, for as long as a datagram may live', () => {
    const world = gated()
    world.send('r', say.publish(1, 'up', 2, 5, 'predefined'))
    world.settle()
    world.send('r', say.pubrel(5))
    world.settle()
    expect(world.sent('r')).toEqual(['PUBREC #5', 'PUBCOMP #5'])
    // Half of the hold-down has passed before the new process is there.
    const after = world.restarted(30_000)
    after.settle()
    const watcher = after.client('w')
    watcher.subscribe('#')
    watcher.poll()
    after.advance(29_000)
    after.send('r', say.publish(1, 'up', 2, 5, 'predefined'))
    after.settle()
    expect(watcher.poll()).toEqual([])
    after.advance(2_000)
    after.send('r', say.publish(1, 'up', 2, 5, 'predefined'))
    after.settle()
    expect(watcher.poll()).toEqual(['predefined/one=up q0'])
  })

  test('a will that was updated is the one that fires, one that was deleted does not', () => {
    for (const [update, expected] of [
      [say.willMsgUpdate('new'), ['gone=new q0']],
      [say.willTopicUpdate(undefined), []],
    ] as const) {
      const world = gated()
      world.send('r', update)
      world.settle()
      const after = world.restarted()
      after.settle()
      const watcher = after.client('w')
      watcher.subscribe('gone')
      watcher.poll()
      after.advance(1e6)
      expect(watcher.poll()).toEqual(expected)
    }
  })
})

test('a sensor that sn_users shuts out while the process is down is lost: its will fires, and it is told', () => {
  const world = gated()
  const users = { ...ANONYMOUS_SENSORS, userOf: () => undefined }
  const after = world.restarted(0, undefined, { users })
  expect(after.notices.filter(({ client }) => client === 'sn:s')).toMatchObject([
    { code: 'client-revoked', reason: 'no rule of sn_users lets it in any more' },
    { code: 'will-published', reason: 'on gone' },
  ])
  after.settle()
  // Once, whatever follows.
  expect(after.restarted(0, undefined, { users }).codes()).not.toContain('will-published')
})
