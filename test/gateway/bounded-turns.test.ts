import { expect, it } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { ANONYMOUS_SENSORS } from '../../src/gateway/gateway-options.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { connectPacket } from '../broker/harness.ts'
import { say, TestGateway } from './harness.ts'

const SENSORS = 600
const WILL = 'w'.repeat(700)
/** A tenth of what the sessions of all sensors take. */
const BUFFER_BYTES = (SENSORS * WILL.length) / 10

/** Sleepers with wills, on a store that takes little at a time from now on. */
function sleepers(options = {}): { world: TestGateway; store: DelayedStore } {
  const store = new DelayedStore()
  const world = new TestGateway({ maxSessions: SENSORS, ...options }, store)
  for (let i = 0; i < SENSORS; i++) {
    world.send(`r${i}`, say.connect(`s${i}`, { clean: false, will: true }), say.willTopic(`gone/${i}`), say.willMsg(WILL))
    world.settle()
    world.send(`r${i}`, say.disconnect(60))
  }
  world.settle()
  store.maxBytes = BUFFER_BYTES
  return { world, store }
}

/** Time passes, and the store becomes durable between the turns of the event loop. */
function pass(world: TestGateway, ms: number): void {
  for (const until = world.now + ms; world.now < until; ) {
    world.settle()
    world.advance(100)
  }
}

const stateOf = ({ gateway }: TestGateway): Map<string, number> => {
  const states = new Map<string, number>()
  for (let i = 0; i < SENSORS; i++) {
    const state = gateway.client(`s${i}`)?.state ?? 'forgotten'
    states.set(state, (states.get(state) ?? 0) + 1)
  }
  return states
}

it('after a restart all sleepers sleep on, and nothing is written for it', () => {
  const { store } = sleepers()
  const after = store.crash({ folded: store.durable })
  const before = after.appended
  const again = new TestGateway({ maxSessions: SENSORS }, after, { epoch: 1000 })
  expect([...stateOf(again)]).toEqual([['asleep', SENSORS]])
  expect(after.appended).toBe(before)
  pass(again, 200_000)
  expect(again.broker.stats.willsPublished).toBe(SENSORS)
})

it('sensors whose sleep ends at the same time are lost one piece after the other, each with its will', () => {
  const { world } = sleepers()
  world.now += 200_000
  world.gateway.handleTimeout(world.now)
  expect(stateOf(world).get('lost')).toBeLessThanOrEqual(256)
  pass(world, 20_000)
  expect([...stateOf(world)]).toEqual([['lost', SENSORS]])
  expect(world.broker.stats.willsPublished).toBe(SENSORS)
  expect(world.codes()).not.toContain('will-refused')
})

it('sensors whose sleep ended while the process was down are lost one piece after the other, each with its will', () => {
  const { store } = sleepers()
  const after = store.crash({ folded: store.durable })
  const again = new TestGateway({ maxSessions: SENSORS }, after, { epoch: 1_000_000 })
  pass(again, 100_000)
  expect([...stateOf(again)]).toEqual([['lost', SENSORS]])
  expect(again.broker.stats.willsPublished).toBe(SENSORS)
})

it('sensors that a reload shuts out end in pieces', () => {
  let isOpen = true
  const users = { ...ANONYMOUS_SENSORS, userOf: () => (isOpen ? {} : undefined) }
  const { world } = sleepers({ users })
  isOpen = false
  world.gateway.accessChanged(world.now)
  expect(stateOf(world).get('lost')).toBeLessThanOrEqual(256)
  pass(world, 20_000)
  expect([...stateOf(world)]).toEqual([['lost', SENSORS]])
  expect(world.broker.stats.willsPublished).toBe(SENSORS)
})

it('a wildcard among many retained messages is looked for over several turns, in which the sensor is answered, and nothing overtakes SUBACK', () => {
  const world = new TestGateway()
  const publisher = world.broker.open(0, { kind: 'mqtt', peer: 'test', listener: 'mqtt' })
  publisher.send(0, connectPacket('publisher'))
  for (let i = 0; i < 20_000; i++) publisher.send(0, Publish.of(`r/${i}`, Buffer.from('x'), 0, true))
  world.send('r', say.connect('s', { duration: 600 }), say.subscribe('#'), say.ping())
  expect(world.sent('r')).toEqual(['CONNACK', 'PINGRESP'])
  // The same again before it is answered is one too many.
  world.send('r', say.subscribe('#'))
  expect(world.sent('r')).toEqual(['SUBACK 0000 #9 q0 rc1'])
  let turns = 0
  while ((world.broker.nextTimeout() ?? 1) <= world.now) {
    world.broker.handleTimeout(world.now)
    turns++
    world.send('elsewhere', say.ping())
  }
  expect(turns).toBeGreaterThan(10)
  expect(world.sent('r')).toEqual(['SUBACK 0000 #9 q1', 'REGISTER 0401=r/0 #1'])
})
