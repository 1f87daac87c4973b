import { expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { say, TestGateway } from '../harness.ts'
import { RefusingStore } from '../refusing-store.ts'

const WILL = [say.willTopic('gone'), say.willMsg('bye')]

/** What somebody who has subscribed to the will gets, each time it is asked. */
function watcher(world: TestGateway): () => unknown[] {
  const client = world.client('watcher')
  client.subscribe('gone')
  client.poll()
  return () => client.poll()
}

test('DISCONNECT while its CONNECT waits for the store: no CONNACK follows the answer', () => {
  const world = new TestGateway({}, new DelayedStore())
  world.send('r', say.connect('s'), say.disconnect())
  expect(world.sent('r')).toEqual([])
  world.settle()
  expect(world.sent('r')).toEqual(['DISCONNECT'])
  expect(world.gateway.client('s')?.state).toBe('disconnected')
})

test('a client is not forgotten while its CONNECT waits for the store, however long ago it was last there', () => {
  const world = new TestGateway({}, new DelayedStore())
  world.send('r', say.connect('s'))
  world.settle()
  world.send('r', say.disconnect())
  world.settle()
  world.send('r', say.connect('s'))
  world.sent('r')
  world.advance(60_000)
  world.settle()
  expect(world.sent('r')).toEqual(['CONNACK'])
  expect(world.gateway.client('s')?.state).toBe('active')
})

test('what waits for the store when its client is lost is not sent any more', () => {
  const world = new TestGateway({}, new DelayedStore())
  world.send('r', say.connect('s', { duration: 10 }))
  world.settle()
  world.send('r', say.register('a'))
  world.sent('r')
  world.advance(20_000)
  expect(world.gateway.client('s')?.state).toBe('lost')
  world.settle()
  expect(world.sent('r')).toEqual([])
})

test('the will of a connection that its sensor has replaced itself is not published when a full store has room again', () => {
  const store = new RefusingStore()
  const world = new TestGateway({}, store)
  const heard = watcher(world)
  world.send('r', say.connect('s', { will: true }), ...WILL)
  store.refuses = () => true
  world.send('r', say.connect('s', { will: true }), ...WILL)
  expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK', 'WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK rc1'])
  store.refuses = () => false
  world.advance(60_000)
  expect(heard()).toEqual([])
})

test('QoS 0 that waits behind an answer is reported as dropped when its client connects anew', () => {
  const world = new TestGateway({}, new DelayedStore())
  for (const message of [say.connect('s', { clean: false }), say.subscribe('a/#', 0)]) {
    world.send('r', message)
    world.settle()
  }
  world.publish('a/b', 'x', 0)
  world.settle()
  world.send('r', say.register('c'), say.regack(0x401, 1))
  expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0000 #9 q0', 'REGISTER 0401=a/b #1'])
  world.send('r', say.connect('s', { clean: false }))
  expect(world.codes()).toContain('message-dropped')
})

test('DISCONNECT of a sensor that was lost while the store was full takes no will along', () => {
  const store = new RefusingStore()
  const world = new TestGateway({}, store)
  const heard = watcher(world)
  world.send('r', say.connect('s', { clean: false, will: true, duration: 10 }), ...WILL)
  store.refuses = () => true
  world.advance(20_000)
  world.sent('r')
  world.send('r', say.disconnect())
  expect(world.sent('r')).toEqual(['DISCONNECT'])
  expect(world.gateway.client('s')?.state).toBe('lost')
  store.refuses = () => false
  world.advance(60_000)
  expect(heard()).toEqual(['gone=bye q0'])
})

test('time in which the process was paused is no silence of its clients', () => {
  const world = new TestGateway()
  world.send('r', say.connect('s', { duration: 10 }))
  world.now += 60_000
  world.gateway.paused(world.now, 60_000)
  world.advance(14_000)
  expect(world.gateway.client('s')?.state).toBe('active')
  world.advance(2000)
  expect(world.gateway.client('s')?.state).toBe('lost')
})

test.each([undefined, 60])(
  'DISCONNECT in the will dialogue of a sensor that was being told its topic ids, duration %s',
  (duration) => {
    const world = new TestGateway({ register: 'eager' })
    world.send('r', say.connect('s', { clean: false }), say.register('a'), say.connect('s', { clean: false }))
    expect(world.sent('r').at(-1)).toBe('REGISTER 0401=a #1')
    world.send('r', say.connect('s', { clean: false, will: true }), say.disconnect(duration))
    expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'DISCONNECT'])
  },
)
