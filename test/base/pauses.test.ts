import { describe, expect, test } from 'vitest'
import { say, TestGateway } from '../gateway/harness.ts'
import { Wire } from '../mqtt/wire.ts'

describe('the time in which the process did not run is no silence', () => {
  test('of a TCP client: it has as long again, and then it is lost', () => {
    const wire = new Wire()
    const client = wire.connect({ keepAlive: 10 })
    wire.out(client)
    wire.now += 60_000
    wire.connections.paused(wire.now, 60_000)
    wire.advance(14_900)
    expect(wire.out(client)).toEqual([])
    wire.advance(200)
    expect(wire.out(client).at(-1)).toBe('close')
  })

  test('a short pause gives no more than its own length, and does not cut short what a long one has given', () => {
    const wire = new Wire()
    const client = wire.connect({ keepAlive: 10 })
    wire.out(client)
    wire.now += 14_900
    wire.connections.paused(wire.now, 1000)
    wire.advance(900)
    expect(wire.out(client)).toEqual([])
    wire.advance(200)
    expect(wire.out(client).at(-1)).toBe('close')

    const other = wire.connect({ keepAlive: 10 })
    wire.out(other)
    wire.now += 60_000
    wire.connections.paused(wire.now, 60_000)
    wire.advance(5000)
    wire.connections.paused(wire.now, 600)
    wire.advance(9000)
    expect(wire.out(other)).toEqual([])
  })

  test('of one that has yet to send CONNECT', () => {
    const wire = new Wire({ connectTimeoutMs: 5000 })
    const client = wire.open()
    wire.now += 60_000
    wire.connections.paused(wire.now, 60_000)
    wire.advance(4900)
    expect(wire.out(client)).toEqual([])
    wire.advance(200)
    expect(wire.out(client)).toEqual(['close'])
  })

  for (const [name, silenceMs, asleep] of [
    ['of a sensor', 90_000, false],
    ['of a sleeper', 90_000, true],
  ] as const) {
    test(name, () => {
      const world = new TestGateway()
      world.send('r', say.connect('s', { clean: false, duration: 60 }))
      if (asleep) world.send('r', say.disconnect(60))
      world.now += 600_000
      world.gateway.paused(world.now, 600_000)
      world.advance(silenceMs - 100)
      expect(world.gateway.client('s')!.state).toBe(asleep ? 'asleep' : 'active')
      world.advance(200)
      expect(world.gateway.client('s')!.state).toBe('lost')
    })
  }
})

test('a late copy of a QoS 2 message that waited in its socket during a pause is still recognised as one', () => {
  const world = new TestGateway({ qos2HoldDownMs: 30_000 })
  const watcher = world.client('w')
  watcher.subscribe('ab', 0)
  watcher.poll()
  const publish = { ...say.publish(0x6162, 'x', 2, 7), topicIdType: 'short' as const }
  world.send('r', say.connect('s', { clean: false }), publish, say.pubrel(7))
  world.now += 60_000
  world.gateway.paused(world.now, 60_000)
  world.send('r', publish)
  expect(watcher.poll()).toEqual(['ab=x q0'])
  // Later it would be another message.
  world.send('r', say.pubrel(7))
  world.advance(40_000)
  world.send('r', publish)
  expect(watcher.poll()).toEqual(['ab=x q0'])
})
