import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { MsgType } from '../../../src/mqttsn/messages.ts'
import { say, TestGateway } from '../harness.ts'

/** A connected client `s` at `r`, whose session lasts. */
const connected = (options = {}, connect = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false, ...connect }))
  expect(world.sent('r')).toEqual(['CONNACK'])
  return world
}

/** The same, subscribed to `a` with QoS 1, asleep for a minute. */
const asleep = (options = {}, connect = {}): TestGateway => {
  const world = connected(options, connect)
  world.send('r', say.subscribe('a'), say.disconnect(60))
  expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'DISCONNECT'])
  return world
}

const watcher = (world: TestGateway, filter: string): { poll(): string[] } => {
  const client = world.client('watcher')
  client.subscribe(filter, 1)
  client.poll()
  return client
}

const stateOf = (world: TestGateway, clientId = 's'): string | undefined => world.gateway.client(clientId)?.state

describe('ruling A1: CONNECT from sleep counts, with its flags', () => {
  test('clean 0 without a will goes on with the session, takes the new duration and brings what waited', () => {
    const world = asleep({}, { duration: 60 })
    world.publish('a', 'x')
    world.send('r', say.connect('s', { clean: false, duration: 600 }), say.regack(0x401, 2))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2', 'PUBLISH 0401=x #1 q1'])
    expect(world.gateway.client('s')?.durationSeconds).toBe(600)
  })

  test('clean 1 begins anew', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.connect('s', { clean: true }), say.register('b'))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGACK 0401 #1'])
    expect(world.broker.subscriptionCount).toBe(0)
  })

  test('with a will it is prompted again, also while it is awake', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.ping('s'))
    world.sent('r')
    world.send('r', say.connect('s', { clean: false, will: true }), say.willTopic('gone'), say.willMsg('bye'))
    expect(world.sent('r').slice(0, 3)).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK'])
    expect(world.gateway.client('s')?.will?.topic).toBe('gone')
  })
})

test('ruling A2: a sleeper is lost after its duration times the margin, or its duration and T_retry if that is longer', () => {
  for (const [seconds, options, ms] of [
    [1000, {}, 1_500_000],
    [1000, { sleepMargin: 1.1 }, 1_100_000],
    [10, {}, 20_000],
    [20, {}, 30_000],
    [21, {}, 31_500],
    [100, { sleepMargin: 1 }, 110_000],
  ] as const) {
    const world = asleep(options)
    world.send('r', say.disconnect(seconds))
    world.advance(ms - 1)
    expect(stateOf(world)).toBe('asleep')
    // Any message counts.
    world.send('r', say.register('b'))
    world.advance(ms - 1)
    expect(stateOf(world)).toBe('asleep')
    world.advance(2)
    expect(stateOf(world)).toBe('lost')
  }
})

test('ruling A2: the sleep begins with PINGRESP, however long the awake period was', () => {
  const world = asleep({ sleepMargin: 1 })
  world.send('r', say.disconnect(100))
  world.publish('a', 'x')
  world.send('r', say.ping('s'))
  world.advance(40_000)
  expect(world.sent('r').at(-1)).toBe('PINGRESP')
  world.advance(109_999)
  expect(stateOf(world)).toBe('asleep')
  world.advance(2)
  expect(stateOf(world)).toBe('lost')
})

test('ruling A3: keep alive does not run in sleep', () => {
  const world = asleep({}, { duration: 5 })
  world.send('r', say.disconnect(3600))
  world.advance(3_600_000)
  expect(stateOf(world)).toBe('asleep')
})

test('ruling A4: PINGRESP comes after the last acknowledgement, or after N_retry, and what is not acknowledged waits', () => {
  const world = asleep()
  world.send('r', say.disconnect(1000))
  world.publish('a', 'x')
  world.publish('a', 'y')
  world.sent('r')
  world.send('r', say.ping('s'))
  world.send('r', say.puback(0x401, 1))
  expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1', 'PUBLISH 0401=y #2 q1'])
  world.advance(40_000)
  expect(world.sent('r')).toEqual([...Array(3).fill('PUBLISH 0401=y #2 q1 dup'), 'PINGRESP'])
  world.send('r', say.ping('s'))
  expect(world.sent('r')).toEqual(['PUBLISH 0401=y #2 q1 dup'])
})

describe('ruling A5: what is published during an awake period is part of it', () => {
  test('up to wake_messages', () => {
    const world = asleep({ wakeMessages: 2 })
    world.publish('a', '1')
    world.send('r', say.ping('s'))
    world.publish('a', '2')
    world.publish('a', '3')
    world.send('r', say.puback(0x401, 1), say.puback(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1', 'PUBLISH 0401=2 #2 q1', 'PINGRESP'])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=3 #3 q1'])
  })

  test('up to wake_bytes, which the message that goes beyond them still gets', () => {
    const world = asleep({ wakeBytes: 20 })
    for (const text of ['0123456789', 'abcdefghij', 'later']) world.publish('a', text)
    world.send('r', say.ping('s'), say.puback(0x401, 1), say.puback(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=0123456789 #1 q1', 'PUBLISH 0401=abcdefghij #2 q1', 'PINGRESP'])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=later #3 q1'])
  })
})

test('ruling A6: PINGREQ without a client id wakes whoever sleeps at that address', () => {
  const world = asleep()
  world.publish('a', 'x')
  world.send('r', say.ping(), say.puback(0x401, 1))
  expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1', 'PINGRESP'])
})

describe('ruling A7: PINGREQ with a client id from another address', () => {
  test('is followed if that client sleeps', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('elsewhere', say.ping('s'), say.puback(0x401, 1), say.ping())
    expect(world.sent('elsewhere')).toEqual(['PUBLISH 0401=x #1 q1', 'PINGRESP', 'PINGRESP'])
    expect(world.sent('r')).toEqual([])
  })

  test('a restart finds it where it woke', () => {
    const world = new TestGateway({}, new DelayedStore())
    for (const message of [say.connect('s', { clean: false }), say.disconnect(60)]) {
      world.send('r', message)
      world.settle()
    }
    world.send('elsewhere', say.ping('s'))
    world.settle()
    const after = world.restarted()
    after.settle()
    after.send('elsewhere', say.ping())
    after.send('r', say.ping())
    expect([after.sent('elsewhere'), after.sent('r')]).toEqual([['PINGRESP'], ['DISCONNECT']])
  })

  test('is told to connect if the client is active, or nobody, or if roam is never', () => {
    const world = connected()
    world.send('elsewhere', say.ping('s'))
    world.send('somewhere', say.ping('nobody'))
    expect([world.sent('elsewhere'), world.sent('somewhere')]).toEqual([['DISCONNECT'], ['DISCONNECT']])
    expect(world.gateway.client('s')?.route).toBe('r')
    const still = asleep({ roam: 'never' })
    still.send('elsewhere', say.ping('s'))
    expect(still.sent('elsewhere')).toEqual(['DISCONNECT'])
    still.send('r', say.ping('s'))
    expect(still.sent('r')).toEqual(['PINGRESP'])
  })
})

test('ruling A8: strangers are told to connect, each once a second and all within a budget, never in answer to what could go round', () => {
  const world = new TestGateway({ unknownSenderPerSecond: 2 })
  world.send('x', say.ping(), say.ping())
  world.send('y', say.subscribe('a'))
  world.send('z', say.register('a'))
  expect([world.sent('x'), world.sent('y'), world.sent('z')]).toEqual([['DISCONNECT'], ['DISCONNECT'], []])
  world.advance(1000)
  world.send('x', say.disconnect(), { type: 0x17 }, say.publish(1, 'a', -1, 0, 'predefined'))
  expect(world.sent('x')).toEqual([])
  // One that falls asleep would take DISCONNECT for the answer to its own.
  for (const type of [MsgType.REGACK, MsgType.PUBACK] as const) world.send('x', { type, topicId: 1, msgId: 1, returnCode: 0 })
  world.send('x', { type: MsgType.PUBCOMP, msgId: 1 })
  expect(world.sent('x')).toEqual([])
  world.send('x', say.ping())
  expect(world.sent('x')).toEqual(['DISCONNECT'])
})

test('ruling A8: two gateways cannot say goodbye to each other for ever', () => {
  const world = connected()
  world.send('r', say.disconnect())
  expect(world.sent('r')).toEqual(['DISCONNECT'])
  let rounds = 0
  for (world.send('r', say.disconnect()); world.sent('r').length > 0 && rounds < 100; rounds++) world.send('r', say.disconnect())
  expect(rounds).toBe(1)
  // Whoever lost our answer asks after T_retry, and is told.
  world.advance(10_000)
  world.send('r', say.disconnect())
  expect(world.sent('r')).toEqual(['DISCONNECT'])
})

test('ruling A9: CONNECT again is answered again; clean 1 cleans again', () => {
  const world = connected()
  world.send('r', say.register('a'), say.connect('s', { clean: false }), say.register('b', 2))
  expect(world.sent('r')).toEqual(['REGACK 0401 #1', 'CONNACK', 'REGACK 0402 #2'])
  world.send('r', say.connect('s'), say.connect('s'), say.register('c', 3))
  expect(world.sent('r')).toEqual(['CONNACK', 'CONNACK', 'REGACK 0401 #3'])
})

test('ruling A9: a late copy of a CONNECT with a will costs nothing', () => {
  const world = new TestGateway()
  const gone = watcher(world, 'gone')
  world.send('r', say.connect('s', { will: true, duration: 0 }), say.willTopic('gone'), say.willMsg('bye'), say.register('a'))
  world.sent('r')
  world.send('r', say.connect('s', { will: true, duration: 0 }), say.publish(0x401, 'x', 1, 2))
  expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'PUBACK 0401 #2'])
  world.send('r', say.connect('s', { will: true, duration: 0 }))
  world.advance(1e6)
  expect(stateOf(world)).toBe('active')
  expect(gone.poll()).toEqual([])
  world.send('r', say.publish(0x401, 'y', 1, 3))
  expect(world.sent('r').at(-1)).toBe('PUBACK 0401 #3')
})

describe('ruling A10: ids live as long as the session', () => {
  const again = (register: 'lazy' | 'eager' | 'never'): TestGateway => {
    const world = connected({ register })
    world.send('r', say.subscribe('a'), say.register('b', 2), say.disconnect())
    world.sent('r')
    world.publish('a', 'x')
    world.send('r', say.connect('s', { clean: false }))
    return world
  }

  test('lazy: told again before the first message of a new connection', () => {
    const world = again('lazy')
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2'])
    world.send('r', say.regack(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  })

  test('eager: all of them after CONNACK, one after the other, then the messages', () => {
    const world = again('eager')
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #1'])
    world.send('r', say.regack(0x401, 1))
    expect(world.sent('r')).toEqual(['REGISTER 0402=b #2'])
    world.send('r', say.regack(0x402, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  })

  test('eager: in the middle of a delivery the delivery goes on afterwards', () => {
    const world = connected({ register: 'eager' })
    world.send('r', say.subscribe('a'))
    world.publish('a', 'x')
    world.send('r', say.connect('s', { clean: false }), say.connect('s', { clean: false }))
    world.sent('r')
    world.send('r', say.regack(0x401, 3))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1 dup'])
    world.send('r', say.puback(0x401, 1))
    world.publish('a', 'y')
    expect(world.sent('r')).toEqual(['PUBLISH 0401=y #2 q1'])
  })

  test('eager: a client that went to sleep meanwhile is told the rest when it wakes', () => {
    const world = again('eager')
    world.send('r', say.disconnect(60), say.regack(0x401, 1))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #1', 'DISCONNECT'])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['REGISTER 0402=b #2'])
    world.send('r', say.regack(0x402, 2), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1', 'PINGRESP'])
  })

  test('never: a client that forgets nothing is told nothing', () => {
    expect(again('never').sent('r')).toEqual(['CONNACK', 'PUBLISH 0401=x #1 q1'])
  })

  test('they outlive sleep', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  })
})

test('ruling A11: normal and predefined ids are two spaces, and normal ones begin at 0x0401', () => {
  const world = connected({ predefinedTopics: [{ pattern: '*', topics: new Map([[0x401, 'predefined']]) }] })
  const all = watcher(world, '#')
  world.send('r', say.register('normal'), say.publish(0x401, '1'), say.publish(0x401, '2', 0, 0, 'predefined'))
  expect(world.sent('r')).toEqual(['REGACK 0401 #1'])
  expect(all.poll()).toEqual(['normal=1 q0', 'predefined=2 q0'])
})

test('ruling A12: a name gets a normal id even if it is predefined too, because SUBACK cannot say which is meant', () => {
  const world = connected()
  world.send('r', say.subscribe('predefined/one'), say.register('predefined/one', 2))
  expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'REGACK 0401 #2'])
  world.publish('predefined/one', 'x', 0)
  expect(world.sent('r')).toEqual(['PUBLISH 0401=x q0'])
})

test('ruling A13: SUBACK of a wildcard has topic id 0x0000, that of a short name its two octets', () => {
  const world = connected()
  world.send('r', say.subscribe('a/+', 1, 1), say.subscribeId('short', 0x6162, 1, 2))
  expect(world.sent('r')).toEqual(['SUBACK 0000 #1 q1', 'SUBACK 6162 #2 q1'])
})

test('ruling A14: message ids of both directions are apart, PUBLISH keeps its id over a reconnect, REGISTER takes one that is free', () => {
  const world = connected()
  world.send('r', say.subscribe('t/#'))
  world.sent('r')
  world.publish('t/a', 'x')
  expect(world.sent('r')).toEqual(['REGISTER 0401=t/a #2'])
  // The client's own message 2 is another one.
  world.send('r', say.publish(1, 'up', 1, 2, 'predefined'))
  expect(world.sent('r')).toEqual(['PUBACK 0001 #2'])
  world.send('r', say.regack(0x401, 2))
  expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  world.send('q', say.connect('s', { clean: false }))
  expect(world.sent('q')).toEqual(['CONNACK', 'REGISTER 0401=t/a #3'])
  world.send('q', say.regack(0x401, 3))
  expect(world.sent('q')).toEqual(['PUBLISH 0401=x #1 q1 dup'])
})

describe('ruling A15: as many messages on their way as may be in each direction', () => {
  test('towards the broker: what is more is told congestion, what comes again is not more', () => {
    const world = connected({ uplinkMessages: 1 })
    world.send('r', say.register('a'), say.publish(0x401, 'x', 2, 5))
    expect(world.sent('r')).toEqual(['REGACK 0401 #1', 'PUBREC #5'])
    world.send('r', say.publish(0x401, 'y', 1, 6), { ...say.publish(0x401, 'x', 2, 5), dup: true })
    expect(world.sent('r')).toEqual(['PUBACK 0401 #6 rc1', 'PUBREC #5'])
    world.send('r', say.publish(0x401, 'zero'), say.pubrel(5), say.publish(0x401, 'y', 1, 6))
    expect(world.sent('r')).toEqual(['PUBCOMP #5', 'PUBACK 0401 #6'])
  })

  test('an exchange that its client gave up, by a new connection or by silence, does not block the next', () => {
    const world = connected({}, { duration: 0 })
    world.send('r', say.register('a'), say.publish(0x401, 'x', 2, 5), say.connect('s', { clean: false, duration: 0 }))
    world.send('r', say.publish(0x401, 'y', 2, 6))
    expect(world.sent('r').slice(-1)).toEqual(['PUBREC #6'])
    world.advance(40_000)
    world.send('r', say.publish(0x401, 'z', 1, 7))
    expect(world.sent('r')).toEqual(['PUBACK 0401 #7'])
  })

  test('sn_uplink_messages allows more', () => {
    const world = connected({ uplinkMessages: 2 })
    world.send('r', say.register('a'))
    world.sent('r')
    world.send('r', say.publish(0x401, 'x', 2, 5), say.publish(0x401, 'y', 2, 6), say.publish(0x401, 'z', 2, 7))
    expect(world.sent('r')).toEqual(['PUBREC #5', 'PUBREC #6', 'PUBACK 0401 #7 rc1'])
  })

  test('sn_inflight_messages allows more towards the client too: in order, together again, each acknowledged on its own', () => {
    const world = connected({ inflightMessages: 3 })
    world.send('r', say.subscribe('a', 2), say.subscribe('t/#', 1, 8))
    world.sent('r')
    for (const text of ['1', '2', '3', '4']) world.publish('a', text)
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1', 'PUBLISH 0401=2 #2 q1', 'PUBLISH 0401=3 #3 q1'])
    world.send('r', say.puback(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=4 #4 q1'])
    world.advance(10_000)
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1 dup', 'PUBLISH 0401=3 #3 q1 dup', 'PUBLISH 0401=4 #4 q1 dup'])
    world.send('r', say.puback(0x401, 1), say.puback(0x401, 3), say.puback(0x401, 4))
    // Nothing overtakes a message whose topic has to be registered first.
    world.publish('t/x', 'x')
    world.publish('a', '5', 2)
    expect(world.sent('r')).toEqual(['REGISTER 0402=t/x #1'])
    world.send('r', say.regack(0x402, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0402=x #5 q1', 'PUBLISH 0401=5 #6 q2'])
    world.send('r', say.pubrec(6), say.puback(0x402, 5), say.pubcomp(6))
    expect(world.sent('r')).toEqual(['PUBREL #6'])
  })

  test('in an awake period PINGRESP waits for all of them, and what is not acknowledged comes again at the next, in order', () => {
    const world = asleep({ inflightMessages: 2 })
    world.send('r', say.disconnect(1000))
    for (const text of ['1', '2', '3']) world.publish('a', text)
    world.sent('r')
    world.send('r', say.ping('s'), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1', 'PUBLISH 0401=2 #2 q1', 'PUBLISH 0401=3 #3 q1'])
    world.advance(40_000)
    expect(world.sent('r').at(-1)).toBe('PINGRESP')
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=2 #2 q1 dup', 'PUBLISH 0401=3 #3 q1 dup'])
    world.send('r', say.puback(0x401, 3), say.puback(0x401, 2))
    expect(world.sent('r')).toEqual(['PINGRESP'])
  })

  test('a new connection begins them again, each after its topic is registered', () => {
    const world = connected({ inflightMessages: 2 })
    world.send('r', say.subscribe('a'), say.subscribe('b', 1, 8))
    world.publish('a', '1')
    world.publish('b', '2')
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #3'])
    world.send('r', say.regack(0x401, 3))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1 dup', 'REGISTER 0402=b #4'])
    world.send('r', say.regack(0x402, 4), say.puback(0x401, 1), say.puback(0x402, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0402=2 #2 q1 dup'])
    world.advance(60_000)
    expect(world.sent('r')).toEqual([])
  })

  test('towards the client: the next begins when the one before is acknowledged', () => {
    const world = connected()
    world.send('r', say.subscribe('a', 1))
    world.publish('a', 'x')
    world.publish('a', 'y')
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'PUBLISH 0401=x #1 q1'])
    world.send('r', say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=y #2 q1'])
  })
})

test('ruling A16: PUBACK tells of an unknown topic id for QoS 0, 1 and 2, and nothing for QoS -1', () => {
  const world = connected()
  world.send(
    'r',
    say.publish(0x999, 'x'),
    say.publish(0x999, 'x', 1, 5),
    say.publish(0x999, 'x', 2, 6),
    say.publish(0x99, 'x', -1),
  )
  expect(world.sent('r')).toEqual(['PUBACK 0999 rc2', 'PUBACK 0999 #5 rc2', 'PUBACK 0999 #6 rc2'])
})
