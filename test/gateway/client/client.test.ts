import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { say, TestGateway } from '../harness.ts'

/** A gateway with one connected client whose message goes to nobody else. */
const connected = (clean = false): TestGateway => {
  const world = new TestGateway()
  world.send('r', say.connect('s', { clean }))
  world.sent('r')
  return world
}

/** One whose store makes nothing durable by itself. */
const gated = (clean = false): TestGateway => {
  const world = new TestGateway({}, new DelayedStore())
  world.send('r', say.connect('s', { clean }))
  world.settle()
  world.sent('r')
  return world
}

const WILL = [say.connect('s', { clean: false, will: true }), say.willTopic('gone'), say.willMsg('bye')] as const

describe('names and ids', () => {
  test('MQTT-1.5.4-2: a short topic id that is no UTF-8 or holds U+0000 is an unknown id, connected or not', () => {
    const world = connected()
    const watcher = world.client('w')
    watcher.subscribe('#', 0)
    watcher.poll()
    for (const id of [0x0000, 0x6100, 0xc328]) {
      world.send('r', say.publish(id, 'x', 1, 5, 'short'), say.publish(id, 'x', -1, 0, 'short'), say.subscribeId('short', id))
      expect(world.sent('r')).toEqual([`PUBACK ${id.toString(16).padStart(4, '0')} #5 rc2`, 'SUBACK 0000 #9 q0 rc2'])
    }
    expect(watcher.poll()).toEqual([])
    world.send('r', say.publish(0xc3a9, 'x', -1, 0, 'short'))
    expect(watcher.poll()).toEqual(['é=x q0'])
  })

  test('a subscription by predefined id says nothing about the normal id of that number (ruling A11)', () => {
    const world = new TestGateway({ predefinedTopics: [{ pattern: '*', topics: new Map([[0x401, 'predefined/topic']]) }] })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 0), say.connect('s', { clean: false }))
    world.send('r', say.subscribeId('predefined', 0x401, 0))
    world.sent('r')
    world.publish('a', 'x', 0)
    expect(world.sent('r')).toEqual(['REGISTER 0401=a #1'])
  })

  test('a predefined id that the client does not know after all is registered as a normal one', () => {
    const world = connected()
    world.send('r', say.subscribe('predefined/+', 1))
    world.sent('r')
    world.publish('predefined/one', 'x')
    world.send('r', say.puback(1, 1, 2))
    expect(world.sent('r')).toEqual(['PUBLISH predefined:0001=x #1 q1', 'REGISTER 0401=predefined/one #2'])
    world.send('r', say.regack(0x401, 2), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
    expect(world.codes()).not.toContain('message-dropped')
  })
})

describe('an address that changed hands', () => {
  test('gets nothing of the client that had it, whose messages wait for it (section 7.3, complaint 20)', () => {
    const world = connected()
    world.send('r', say.subscribe('of/s', 1), say.connect('t', { clean: false }), say.subscribe('of/t', 1))
    world.sent('r')
    world.publish('of/s', 'x', 0)
    world.publish('of/s', 'y')
    world.advance(60_000)
    expect(world.sent('r')).toEqual([])
    world.send('q', say.connect('s', { clean: false }))
    expect(world.sent('q')).toEqual(['CONNACK', 'REGISTER 0401=of/s #1'])
    world.send('q', say.regack(0x401, 1))
    expect(world.sent('q')).toEqual(['PUBLISH 0401=x q0', 'PUBLISH 0401=y #1 q1'])
  })

  test('also when a sleeper wakes at it', () => {
    const world = connected()
    world.send('r', say.subscribe('of/s', 1))
    world.send('q', say.connect('t', { clean: false }), say.disconnect(600))
    world.send('r', say.ping('t'))
    world.sent('r')
    world.publish('of/s', 'x')
    expect(world.sent('r')).toEqual([])
  })
})

describe('whoever says goodbye leaves no will', () => {
  const watched = (): TestGateway => {
    const world = new TestGateway({}, new DelayedStore())
    world.send('w', say.connect('w', { clean: false }))
    world.settle()
    world.send('w', say.subscribe('gone', 0))
    world.settle()
    world.sent('w')
    return world
  }

  test('while its CONNACK waits for the disk', () => {
    const world = watched()
    world.send('r', ...WILL, say.disconnect())
    world.settle()
    expect(world.sent('w')).toEqual([])
  })

  test('in the middle of a new will dialogue', () => {
    const world = watched()
    world.send('r', ...WILL)
    world.settle()
    world.send('r', WILL[0], say.disconnect())
    world.settle()
    expect(world.sent('w')).toEqual([])
  })

  test('right after a restart of ours; and a sleep request then is granted', () => {
    const world = watched()
    world.send('r', ...WILL)
    world.settle()
    const first = world.restarted()
    const second = world.restarted()
    first.send('r', say.disconnect())
    first.settle()
    expect(first.sent('w')).toEqual([])
    expect(first.gateway.client('s')?.state).toBe('disconnected')
    second.send('r', say.disconnect(600))
    second.settle()
    expect(second.sent('r')).toEqual(['DISCONNECT'])
    expect(second.gateway.client('s')?.state).toBe('asleep')
  })
})

describe('sessions', () => {
  test('MQTT-3.1.2-6: clean session 0 after a clean one begins a session that lasts', () => {
    const world = connected(true)
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 1), say.disconnect())
    world.publish('a', 'x')
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2'])
  })

  test('what a clean session said by QoS 2 does not silence the next one; within a session a late copy is told', () => {
    const world = connected(true)
    const watcher = world.client('w')
    watcher.subscribe('predefined/one', 0)
    watcher.poll()
    const boot = say.publish(1, 'boot', 2, 1, 'predefined')
    world.send('r', boot, say.pubrel(1), boot)
    expect(world.codes()).toContain('message-dropped')
    world.send('r', say.connect('s'), boot, say.pubrel(1))
    expect(watcher.poll()).toEqual(['predefined/one=boot q0', 'predefined/one=boot q0'])
  })

  test('a predefined topic id of QoS -1 means to a connected client what its own table says, and to others the common one', () => {
    const world = new TestGateway({
      predefinedTopics: [
        { pattern: '*', topics: new Map([[1, 'common']]) },
        { pattern: 'dev-*', topics: new Map([[1, 'own']]) },
      ],
    })
    const listener = world.client('listener')
    listener.subscribe('#')
    listener.poll()
    world.send('r', say.connect('dev-1'), say.disconnect(60), say.publish(1, 'a', -1, 0, 'predefined'))
    world.send('x', say.publish(1, 'b', -1, 0, 'predefined'))
    world.send('r', say.disconnect(), say.publish(1, 'c', -1, 0, 'predefined'))
    expect(listener.poll()).toEqual(['own=a q0', 'common=b q0', 'common=c q0'])
  })

  test('QoS -1 from a connected client counts as heard', () => {
    const world = connected()
    for (let i = 0; i < 5; i++) {
      world.advance(50_000)
      world.send('r', say.publish(1, 'x', -1, 0, 'predefined'))
    }
    expect(world.gateway.client('s')?.state).toBe('active')
  })
})

describe('a store that stalls', () => {
  test('CONNECT that comes again meanwhile is answered once; one that asks for something else counts', () => {
    const connect = say.connect('s', { clean: false })
    const world = new TestGateway({}, new DelayedStore())
    world.send('r', connect, connect)
    world.settle()
    expect([world.sent('r'), world.codes().filter((code) => code === 'client-connected')]).toEqual([
      ['CONNACK'],
      ['client-connected'],
    ])
    world.send('r', say.register('a'))
    world.settle()
    world.sent('r')
    world.send('r', say.connect('s', { clean: true }), say.connect('s', { clean: true }), connect)
    world.settle()
    expect(world.sent('r')).toEqual(['CONNACK'])
    expect([world.gateway.client('s')?.cleanSession, world.gateway.client('s')?.registry.size]).toEqual([false, 0])
  })

  test('a client that begins its will dialogue anew meanwhile is connected, and stays so', () => {
    const world = new TestGateway({}, new DelayedStore())
    world.send('r', ...WILL)
    world.advance(10_000)
    world.send('r', WILL[0], say.ping())
    expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'WILLTOPICREQ'])
    world.settle()
    expect(world.sent('r')).toEqual(['CONNACK'])
    world.advance(50_000)
    world.send('r', say.ping())
    expect(world.sent('r')).toEqual(['PINGRESP'])
  })

  test('while CONNACK waits for it, what else comes is not answered and does no harm, in a will dialogue too', () => {
    const world = new TestGateway({}, new DelayedStore())
    world.send('r', ...WILL)
    expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'WILLMSGREQ'])
    world.send('r', say.ping(), say.register('a'), say.publish(1, 'x', 1, 5, 'predefined'), WILL[1], WILL[2])
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r')).toEqual(['CONNACK'])
    expect(world.gateway.client('s')?.will?.topic).toBe('gone')
  })

  test('a client whose requests pile up is told congestion, and taken again when they are answered', () => {
    const world = gated()
    world.send('r', say.subscribe('x/#', 1))
    for (let i = 0; i < 3000; i++) world.send('r', say.publish(1, 'x', 1, i + 1, 'predefined'), say.pubrel(7))
    expect(world.sent('r').filter((line) => line.endsWith('rc1')).length).toBeGreaterThan(2000)
    world.settle()
    expect(world.sent('r').length).toBeLessThanOrEqual(1001)
    world.send('r', say.publish(1, 'x', 1, 5, 'predefined'))
    expect(world.sent('r')).toEqual(['PUBACK 0001 #5'])
  })

  test('SUBACK of a clean session waits for its topic id, and so does a name that is asked for again', () => {
    const world = gated(true)
    world.send('r', say.subscribe('a', 1), say.register('a', 3))
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r').sort()).toEqual(['REGACK 0401 #3', 'SUBACK 0401 #9 q1'])
  })

  test('CONNACK goes before the message that comes again', () => {
    const world = gated()
    world.send('r', say.subscribe('a', 1))
    world.settle()
    world.publish('a', 'x')
    world.settle()
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2'])
  })
})

test('WILLMSG that comes when its dialogue was given up gets no CONNACK, for its CONNECT has come to nothing', () => {
  const world = new TestGateway()
  world.send('r', say.connect('s', { clean: false, duration: 600 }))
  world.send('r', say.connect('s', { clean: false, duration: 600, will: true }), say.willTopic('gone'))
  world.advance(40_000)
  expect(world.codes()).toContain('retries-exhausted')
  expect(world.gateway.client('s')?.state).toBe('active')
  world.sent('r')
  world.send('r', say.willMsg('bye'))
  expect(world.sent('r')).toEqual([])
  world.send('r', say.ping())
  expect(world.sent('r')).toEqual(['PINGRESP'])
})
