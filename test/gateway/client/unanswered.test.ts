import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import type { Message } from '../../../src/mqttsn/messages.ts'
import { line, say, TestGateway } from '../harness.ts'

const FAR = '192.0.2.1:1'

/** A connected sensor `s` at `r` with a will, and somebody who sees it. */
const withWill = (options = {}, duration = 60, store?: DelayedStore): { world: TestGateway; gone: { poll(): string[] } } => {
  const world = new TestGateway({ unansweredRounds: 1, ...options }, store)
  const gone = world.client('watcher')
  gone.subscribe('gone', 0)
  gone.poll()
  for (const message of [say.connect('s', { clean: false, will: true, duration }), say.willTopic('gone'), say.willMsg('bye')]) {
    world.send('r', message)
    if (store !== undefined) world.settle()
  }
  world.send('r', say.subscribe('a/#', 2), say.subscribe('b', 2, 8))
  if (store !== undefined) world.settle()
  world.sent('r')
  return { world, gone }
}

/** Time passes, in which the sensor sends `message` every `everyMs`. Returns what it was sent, without answers to it. */
const chatting = (world: TestGateway, ms: number, everyMs = 1000, message: Message = say.ping()): string[] => {
  for (let passed = 0; passed < ms; passed += everyMs) {
    world.advance(everyMs)
    world.send('r', message)
  }
  return world.messages('r').flatMap((each) => (/^(PINGRESP|PUBACK 0001)/.test(line(each)) ? [] : [line(each)]))
}

const stateOf = (world: TestGateway): string | undefined => world.gateway.client('s')?.state
const dropped = (world: TestGateway): unknown[] =>
  world.notices.filter(({ code }) => code === 'message-dropped').map(({ level, client, reason }) => [level, client, reason])

describe('a sensor that is heard and does not answer REGISTER', () => {
  for (const qos of [0, 1, 2] as const) {
    test(`keeps its connection; the message with QoS ${qos} is dropped, with a notice, and the rest is delivered`, () => {
      const { world, gone } = withWill()
      world.publish('a/1', 'x', qos)
      world.publish('b', 'y', 1)
      const register = world.sent('r')
      expect(register).toHaveLength(1)
      const sent = chatting(world, 45_000)
      expect(sent.slice(0, 3)).toEqual([register[0], register[0], register[0]])
      expect(sent.slice(3)[0]).toMatch(/^PUBLISH 0401=y #\d q1$/)
      expect([stateOf(world), gone.poll()]).toEqual(['active', []])
      expect(dropped(world)).toEqual([['warn', 'sn:s', 'no REGACK after 3 retries: message on a/1']])
      expect(world.codes()).toContain('retries-exhausted')
    })
  }

  test('gets all retries three times, because the network may have lost them, and once when it has ignored those', () => {
    const { world } = withWill({ unansweredRounds: 3 })
    world.publish('a/1', 'x')
    expect(chatting(world, 121_000).filter((each) => each.startsWith('REGISTER 0402=a/1'))).toHaveLength(12)
    world.publish('a/2', 'y')
    expect(chatting(world, 41_000).filter((each) => each.startsWith('REGISTER 0403=a/2'))).toHaveLength(4)
    expect(dropped(world)).toHaveLength(2)
    expect(stateOf(world)).toBe('active')
  })

  test('is not asked for that topic again in this connection, and the next message on it is dropped with a notice', () => {
    const { world } = withWill()
    world.publish('a/1', 'x')
    chatting(world, 45_000)
    world.publish('a/1', 'y')
    world.publish('a/2', 'z')
    expect(world.sent('r')).toEqual([expect.stringMatching(/^REGISTER 0403=a\/2/)])
    expect(dropped(world)[1]).toEqual(['warn', 'sn:s', 'the client did not answer REGISTER for a/1'])
    world.send('r', say.connect('s', { clean: false }))
    world.sent('r')
    world.publish('a/1', 'again')
    const sent = chatting(world, 45_000)
    expect(sent).toContainEqual(expect.stringMatching(/^REGISTER 0402=a\/1/))
  })

  test('also when it publishes, with any QoS and QoS -1', () => {
    for (const message of [
      say.publish(1, 'up', 0, 0, 'predefined'),
      say.publish(1, 'up', 1, 5, 'predefined'),
      say.publish(1, 'up', -1, 0, 'predefined'),
    ]) {
      const { world, gone } = withWill()
      world.publish('a/1', 'x')
      world.publish('b', 'y')
      expect(chatting(world, 45_000, 1000, message).at(-1)).toMatch(/^PUBLISH 0401=y/)
      expect([stateOf(world), gone.poll()]).toEqual(['active', []])
    }
  })

  test('a SUBSCRIBE or REGISTER for the topic ends that', () => {
    for (const ask of [say.subscribe('a/1', 1, 7), say.register('a/1', 7)]) {
      const { world } = withWill()
      world.publish('a/1', 'x')
      chatting(world, 45_000)
      world.send('r', ask)
      world.sent('r')
      world.publish('a/1', 'y')
      expect(world.sent('r')).toEqual([expect.stringMatching(/^PUBLISH 0402=y/)])
    }
  })

  test('a REGACK that comes late counts', () => {
    const { world } = withWill()
    world.publish('a/1', 'x', 0)
    expect(world.sent('r')).toEqual(['REGISTER 0402=a/1 #1'])
    chatting(world, 45_000)
    world.send('r', say.regack(0x402, 1))
    world.publish('a/1', 'y', 0)
    expect(world.sent('r')).toEqual(['PUBLISH 0402=y q0'])
  })

  test('a REGACK that comes late and refuses unsubscribes, as one in time does', () => {
    const { world } = withWill()
    world.publish('a/1', 'x', 0)
    world.sent('r')
    chatting(world, 45_000)
    world.send('r', say.regack(0x402, 1, 3))
    world.publish('a/1', 'y', 0)
    expect(world.sent('r')).toEqual([])
    expect(dropped(world).at(-1)).toEqual(['warn', 'sn:s', 'the client has refused to register a/1'])
  })

  test('with register: eager the other ids follow', () => {
    const { world } = withWill({ register: 'eager' })
    world.send('r', say.register('c', 1), say.connect('s', { clean: false }))
    expect(world.sent('r').at(-1)).toMatch(/^REGISTER 0401=b/)
    expect(chatting(world, 45_000).at(-1)).toMatch(/^REGISTER 0402=c/)
    chatting(world, 45_000)
    world.publish('b', 'x')
    expect([stateOf(world), dropped(world)]).toEqual(['active', [['warn', 'sn:s', 'the client did not answer REGISTER for b']]])
  })

  test('a REGISTER for the sake of the address says nothing about the topic', () => {
    const world = new TestGateway({ unansweredRounds: 1, trustedNetworks: [] })
    world.send(FAR, say.connect('s'), say.subscribe('b', 0))
    for (let i = 0; i < 12; i++) world.send(FAR, say.ping())
    world.publish('b', 'x'.repeat(400), 0)
    for (let i = 0; i < 45; i++) {
      world.advance(1000)
      world.send(FAR, say.ping())
    }
    world.sent(FAR)
    world.publish('b', 'y', 0)
    expect(world.sent(FAR)).toEqual(['PUBLISH 0401=y q0'])
  })
})

describe('a sensor that is heard and does not acknowledge a message', () => {
  test('QoS 1 and 2: the message is dropped, with a notice, and the next one follows', () => {
    for (const [qos, awaited] of [
      [1, 'PUBACK'],
      [2, 'PUBREC'],
    ] as const) {
      const { world, gone } = withWill()
      world.publish('b', 'x', qos)
      world.publish('b', 'y', qos)
      expect(world.sent('r')).toEqual([`PUBLISH 0401=x #1 q${qos}`])
      const again = `PUBLISH 0401=x #1 q${qos} dup`
      expect(chatting(world, 45_000)).toEqual([again, again, again, `PUBLISH 0401=y #2 q${qos}`])
      expect([stateOf(world), gone.poll()]).toEqual(['active', []])
      expect(dropped(world)).toEqual([['warn', 'sn:s', `no ${awaited} after 3 retries: message on b`]])
    }
  })

  test('QoS 2 whose PUBCOMP is missing is delivered: nothing is dropped', () => {
    const { world, gone } = withWill()
    world.publish('b', 'x', 2)
    world.publish('b', 'y', 2)
    world.send('r', say.pubrec(1))
    world.sent('r')
    expect(chatting(world, 45_000)).toEqual(['PUBREL #1', 'PUBREL #1', 'PUBREL #1', 'PUBLISH 0401=y #2 q2'])
    expect([stateOf(world), gone.poll(), dropped(world)]).toEqual(['active', [], []])
  })

  test('several of a window are dropped together', () => {
    const { world } = withWill({ inflightMessages: 3 })
    for (const text of ['1', '2', '3', '4']) world.publish('b', text)
    world.sent('r')
    expect(chatting(world, 45_000).at(-1)).toBe('PUBLISH 0401=4 #4 q1')
    expect(dropped(world)).toHaveLength(3)
  })

  test('a PUBREC that waits for the store is an answer', () => {
    const store = new DelayedStore()
    const { world } = withWill({}, 60, store)
    world.publish('b', 'x', 2)
    world.settle()
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q2'])
    world.send('r', say.pubrec(1))
    chatting(world, 100_000)
    expect([stateOf(world), dropped(world)]).toEqual(['active', []])
    world.settle()
    expect(world.sent('r').at(-1)).toBe('PUBREL #1')
  })

  test('with keep it waits for T_WAIT and is sent again, and nothing overtakes it', () => {
    const { world, gone } = withWill({ unanswered: 'keep', tWaitMs: 100_000 })
    world.publish('b', 'x')
    world.publish('b', 'y')
    world.sent('r')
    const again = 'PUBLISH 0401=x #1 q1 dup'
    expect(chatting(world, 139_000)).toEqual([again, again, again])
    expect(chatting(world, 2000)).toEqual([again])
    world.send('r', say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=y #2 q1'])
    expect([stateOf(world), gone.poll(), dropped(world)]).toEqual(['active', [], []])
  })
})

describe('silence', () => {
  test('since the first attempt is loss: the will fires, and the message waits', () => {
    const { world, gone } = withWill({}, 0)
    world.publish('b', 'x')
    world.advance(40_000)
    expect([stateOf(world), gone.poll(), dropped(world)]).toEqual(['lost', ['gone=bye q0'], []])
  })

  test('since the last attempt is not enough to drop a message: its sensor may be gone', () => {
    for (const duration of [0, 60]) {
      const { world, gone } = withWill({}, duration)
      world.publish('b', 'x')
      // It has crossed the message, and is the last that the sensor sends.
      world.advance(1)
      world.send('r', say.ping())
      world.advance(100_000)
      expect([stateOf(world), gone.poll(), dropped(world)]).toEqual(['lost', ['gone=bye q0'], []])
      world.sent('r')
      world.send('r', say.connect('s', { clean: false }), say.regack(0x401, 2))
      expect(world.sent('r').at(-1)).toBe('PUBLISH 0401=x #1 q1 dup')
    }
  })

  test('between two messages of a sensor with a long keep alive is neither: the next one shows that it is there', () => {
    const { world, gone } = withWill({}, 600)
    world.publish('b', 'x')
    world.publish('b', 'y')
    world.advance(5000)
    world.send('r', say.ping())
    world.advance(300_000)
    expect([stateOf(world), dropped(world)]).toEqual(['active', []])
    world.sent('r')
    world.send('r', say.ping())
    expect(world.sent('r')).toEqual(['PINGRESP', 'PUBLISH 0401=y #2 q1'])
    expect([gone.poll(), dropped(world)]).toEqual([[], [['warn', 'sn:s', 'no PUBACK after 3 retries: message on b']]])
  })

  test('that ends with the acknowledgement itself drops nothing', () => {
    const { world } = withWill({}, 600)
    world.publish('b', 'x')
    world.advance(5000)
    world.send('r', say.ping())
    world.advance(300_000)
    world.send('r', say.puback(0x401, 1))
    expect(dropped(world)).toEqual([])
  })
})

describe('a sensor that speaks seldom and never answers one REGISTER', () => {
  /** The sensor is lost, is told so when it speaks next, and comes back. */
  const lostAndBack = (world: TestGateway): void => {
    world.advance(41_000)
    expect(stateOf(world)).toBe('lost')
    world.send('r', say.ping())
    expect(world.sent('r').at(-1)).toBe('DISCONNECT')
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')[0]).toBe('CONNACK')
  }

  test('is not lost for it for ever: once it has come back that often, the message is dropped, with a notice, and the rest is delivered', () => {
    const { world } = withWill({ unansweredRounds: 2 })
    world.publish('a/1', 'x')
    world.publish('b', 'y')
    for (let i = 0; i < 2; i++) lostAndBack(world)
    world.advance(41_000)
    expect(stateOf(world)).toBe('active')
    expect(dropped(world)).toEqual([['warn', 'sn:s', 'no REGACK after 3 retries: message on a/1']])
    expect(world.sent('r').some((each) => each.startsWith('REGISTER') && each.includes('=b '))).toBe(true)
  })

  test('one that does not hear anything is lost each time, and its message waits', () => {
    const { world } = withWill({ unansweredRounds: 2 })
    world.publish('a/1', 'x')
    for (let i = 0; i < 4; i++) {
      world.advance(41_000)
      expect(stateOf(world)).toBe('lost')
      world.send('r', say.connect('s', { clean: false }))
    }
    expect(dropped(world)).toEqual([])
  })

  test('as a sleeper fetches the rest', () => {
    const { world } = withWill({ unansweredRounds: 2 })
    world.send('r', say.disconnect(600))
    world.publish('a/1', 'x')
    world.publish('b', 'y', 0)
    for (let i = 0; i < 3; i++) {
      world.send('r', say.ping('s'))
      world.advance(41_000)
    }
    expect(dropped(world)).toEqual([['warn', 'sn:s', 'no REGACK after 3 retries: message on a/1']])
    expect(world.sent('r').filter((each) => each.startsWith('PUBLISH'))).toEqual(['PUBLISH 0401=y q0'])
  })
})

test('requests that wait for the store do not put off the retries of what the sensor has not answered', () => {
  const store = new DelayedStore()
  const { world } = withWill({}, 60, store)
  world.publish('b', 'x')
  world.settle()
  world.sent('r')
  for (let i = 0; i < 12; i++) {
    world.advance(1000)
    world.send('r', say.register(`t/${i}`, 10 + i))
    world.settle()
  }
  expect(world.sent('r').filter((each) => each.startsWith('PUBLISH'))).toEqual(['PUBLISH 0401=x #1 q1 dup'])
})
