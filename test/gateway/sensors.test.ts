import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Sensor } from '../../src/gateway/sensors.ts'
import { say, TestGateway } from './harness.ts'

const known = (world: TestGateway, clientId = 's'): Sensor => world.gateway.sensors.get(clientId)!
/** State, since when, last heard, and the next wake. */
const times = (world: TestGateway): unknown[] => {
  const { state, since, lastHeard, nextWake } = known(world)
  return [state, since, lastHeard, nextWake]
}

function sleeping(seconds = 60, store?: DelayedStore): TestGateway {
  const world = new TestGateway({}, store)
  world.now = 1000
  for (const message of [say.connect('s', { clean: false }), say.subscribe('a', 1)]) {
    world.send('1.2.3.4:5', message)
    if (store !== undefined) world.settle()
  }
  world.now = 2000
  world.send('1.2.3.4:5', say.disconnect(seconds))
  if (store !== undefined) world.settle()
  return world
}

describe('what is known of a sensor', () => {
  test('while it is active, asleep, awake, lost, disconnected, and when it is forgotten', () => {
    const world = new TestGateway()
    expect(world.gateway.sensors.get('s')).toBeUndefined()
    world.now = 1000
    world.send('1.2.3.4:5', say.connect('s', { clean: false, duration: 30 }), say.subscribe('a', 1))
    expect(times(world)).toEqual(['active', 1000, 1000, undefined])
    expect(known(world)).toMatchObject({ keepAliveSeconds: 30, sleepSeconds: 0, port: 'sn', address: '1.2.3.4:5' })
    world.now = 2000
    world.send('1.2.3.4:5', say.disconnect(60))
    expect(times(world)).toEqual(['asleep', 2000, 2000, 62_000])
    expect(known(world)).toMatchObject({ sleepSeconds: 60, waiting: { messages: 0, bytes: 0 } })
    world.publish('a', 'xy')
    expect(known(world).waiting).toEqual({ messages: 1, bytes: 3 })
    world.now = 50_000
    world.send('1.2.3.4:5', say.ping('s'))
    expect(times(world)).toEqual(['awake', 50_000, 50_000, undefined])
    // It has been sent, but is not acknowledged.
    expect(known(world).waiting).toEqual({ messages: 1, bytes: 3 })
    world.now = 51_000
    world.send('1.2.3.4:5', say.puback(0x401, 1))
    expect(times(world)).toEqual(['asleep', 51_000, 51_000, 111_000])
    world.advance(90_000)
    expect(times(world)).toEqual(['lost', 141_000, 51_000, undefined])
    world.send('1.2.3.4:5', say.connect('s', { clean: true }))
    world.now = 150_000
    world.send('1.2.3.4:5', say.disconnect())
    expect(times(world)).toEqual(['disconnected', 150_000, 150_000, undefined])
    world.advance(100_000)
    expect(world.gateway.sensors.get('s')).toBeUndefined()
    expect(world.gateway.sensors.counts).toEqual({ active: 0, asleep: 0, awake: 0, lost: 0, disconnected: 0 })
  })

  test('at rest, without waking it', () => {
    const world = sleeping()
    expect(world.gateway.clientsAtRest).toBe(1)
    expect(known(world).state).toBe('asleep')
    expect(world.gateway.sensors.page(0, 10).sensors).toEqual([known(world)])
    expect(world.gateway.clientsAtRest).toBe(1)
  })

  test('a message in its sleep is heard, and does not change since when it sleeps', () => {
    const world = sleeping()
    world.now = 10_000
    world.send('1.2.3.4:5', say.publish(0x401, 'x'))
    expect(times(world)).toEqual(['asleep', 2000, 10_000, 70_000])
  })

  test('a will dialogue is not reported: before it, the sensor is what it was', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { will: true }))
    expect([world.gateway.client('s')?.state, world.gateway.sensors.get('s')]).toEqual(['willTopic', undefined])
    world.send('r', say.willTopic('w'), say.willMsg('gone'))
    expect(known(world).state).toBe('active')
    world.send('r', say.disconnect(60))
    world.now = 5000
    world.send('r', say.connect('s', { will: true }))
    expect(times(world)).toEqual(['asleep', 0, 5000, 65_000])
    world.send('r', say.willTopic('w'), say.willMsg('gone'))
    expect(times(world)).toEqual(['active', 5000, 5000, undefined])
  })

  test('behind a forwarder: its node id', () => {
    const world = new TestGateway()
    world.sendVia('9.9.9.9:1', Uint8Array.of(0x0a, 0x1b), say.connect('n'))
    expect(known(world, 'n')).toMatchObject({ address: '9.9.9.9:1', node: '0a1b' })
  })

  test('after a restart: in its state since its last record, and not heard since', () => {
    const world = sleeping(60, new DelayedStore())
    const later = world.restarted(10_000)
    expect(times(later)).toEqual(['asleep', -8000, -8000, 52_000])
    expect(later.gateway.sensors.counts).toMatchObject({ asleep: 1 })
    expect(later.gateway.clientsAtRest).toBe(1)
    later.now = 1000
    later.send('1.2.3.4:5', say.ping('s'))
    expect(times(later)).toEqual(['asleep', 1000, 1000, 61_000])
  })
})

describe('all sensors', () => {
  test('in parts: each once, and what follows the last part is nothing', () => {
    const world = new TestGateway()
    for (let i = 0; i < 10; i++) world.send(`r${i}`, say.connect(`s${i}`), say.disconnect(i % 2 === 0 ? 60 : undefined))
    const { sensors } = world.gateway
    const found: string[] = []
    let parts = 0
    for (let from: number | undefined = 0; from !== undefined; parts++) {
      const page = sensors.page(from, 3)
      found.push(...page.sensors.map(({ clientId }) => clientId))
      from = page.next
    }
    expect([found.join(' '), parts]).toEqual(['s0 s1 s2 s3 s4 s5 s6 s7 s8 s9', 4])
    expect(sensors.counts).toEqual({ active: 0, asleep: 5, awake: 0, lost: 0, disconnected: 5 })
  })
})
