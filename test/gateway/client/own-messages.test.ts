import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { say, TestGateway } from '../harness.ts'

/** A sensor that is subscribed to what it publishes, before a store that makes nothing durable by itself. */
const gated = (qos: 0 | 1 | 2 = 1, options = {}): TestGateway => {
  const world = new TestGateway(options, new DelayedStore())
  for (const message of [say.connect('s', { clean: false }), say.subscribe('a', qos)]) {
    world.send('r', message)
    world.settle()
  }
  world.sent('r')
  return world
}

describe("a sensor's own message comes back behind its acknowledgement", () => {
  const answers = { 1: 'PUBACK 0401 #5', 2: 'PUBREC #5' } as const
  for (const qos of [1, 2] as const) {
    for (const granted of [0, 1, 2] as const) {
      test(`published with QoS ${qos}, subscribed with QoS ${granted}`, () => {
        const world = gated(granted)
        world.send('r', say.publish(0x401, 'x', qos, 5))
        if (granted > 0 || qos === 2) expect(world.sent('r')).toEqual([])
        world.settle()
        const sent = world.sent('r')
        const back = Math.min(qos, granted)
        expect(sent).toEqual([answers[qos], `PUBLISH 0401=x${back > 0 ? ' #1' : ''} q${back}`])
      })
    }
  }

  test('and what comes behind it stays in order', () => {
    const world = gated(1, { inflightMessages: 3 })
    world.send('r', say.publish(0x401, 'own', 1, 5))
    world.publish('a', 'other', 0)
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r')).toEqual(['PUBACK 0401 #5', 'PUBLISH 0401=own #1 q1', 'PUBLISH 0401=other q0'])
  })

  test('messages of others do not wait for it', () => {
    const world = gated(1, { inflightMessages: 3 })
    const other = world.client('o')
    world.settle()
    other.publish('a', 'other', 0)
    world.send('r', say.publish(0x401, 'own', 1, 5))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=other q0'])
  })

  test('in an awake period too, which PINGRESP ends after it, or without it if the store stands still', () => {
    for (const stalled of [false, true]) {
      const world = gated(1)
      world.send('r', say.disconnect(600))
      world.settle()
      world.publish('a', '1')
      world.settle()
      world.sent('r')
      world.send('r', say.ping('s'), say.publish(0x401, 'own', 1, 5), say.puback(0x401, 1))
      expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1'])
      if (stalled) {
        world.advance(40_000)
        expect(world.sent('r')).toEqual(['PINGRESP'])
        world.send('r', say.ping('s'))
        world.advance(40_000)
        expect(world.sent('r')).toEqual(['PINGRESP'])
        world.settle()
        expect(world.sent('r')).toEqual(['PUBACK 0401 #5'])
        world.send('r', say.ping('s'))
        world.settle()
      } else {
        world.settle()
        expect(world.sent('r').slice(0, 1)).toEqual(['PUBACK 0401 #5'])
      }
      world.send('r', say.puback(0x401, 2))
      world.settle()
      expect(world.sent('r').at(-1)).toBe('PINGRESP')
    }
  })

  test('a connection that ends meanwhile loses nothing of QoS 1, and says so of QoS 0', () => {
    for (const granted of [0, 1] as const) {
      const world = gated(granted)
      world.send('q', say.connect('t', { clean: false }))
      world.settle()
      world.send('q', say.subscribe('a', 1))
      world.settle()
      world.send('r', say.publish(0x401, 'own', 1, 5), say.disconnect())
      world.settle()
      expect(world.sent('r')).toEqual(['DISCONNECT'])
      world.send('r', say.connect('s', { clean: false }))
      world.settle()
      expect(world.sent('r').slice(1)).toEqual(granted === 0 ? [] : [expect.stringMatching(/^REGISTER 0401=a/)])
      expect(world.codes().filter((code) => code === 'message-dropped')).toHaveLength(granted === 0 ? 1 : 0)
    }
  })
})

test('its own message waits behind a retransmission that waits for airtime, where the queue of the port has room for one', () => {
  const retry = { tRetryMs: 10_000, nRetry: 3, backoff: 1, jitter: 0 }
  const airtime = { bytesPerSecond: 1, dutyCycle: 1 }
  const ports = [{ name: 'sn', maxFrame: 100, retry, airtime, maxQueued: 1 }] as const
  const world = new TestGateway({ inflightMessages: 2, ports }, new DelayedStore())
  for (const message of [
    say.connect('s', { clean: false, duration: 3000 }),
    say.subscribeId('short', 0x6161, 0),
    say.subscribeId('short', 0x6262, 1),
  ]) {
    world.send('r', message)
    world.settle()
    world.advance(60_000)
  }
  world.sent('r')
  world.publish('bb', 'x')
  world.settle()
  expect(world.sent('r')).toEqual(['PUBLISH short:6262=x #1 q1'])
  // What is retained has a record, for which PUBACK waits.
  world.send('r', { ...say.publish(0x6161, 'own', 1, 5, 'short'), retain: true })
  world.advance(9_500)
  // PINGRESP takes two seconds: the retransmission waits for one and a half, and PUBACK is recorded meanwhile.
  world.send('r', say.ping())
  world.advance(1000)
  world.settle()
  world.advance(60_000)
  expect(world.sent('r').slice(0, 4)).toEqual([
    'PINGRESP',
    'PUBACK 6161 #5',
    'PUBLISH short:6262=x #1 q1 dup',
    'PUBLISH short:6161=own q0',
  ])
  expect(world.codes()).not.toContain('message-dropped')
})
