import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { ANONYMOUS_SENSORS } from '../../src/gateway/gateway-options.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import type { StoreRecord } from '../../src/store/store.ts'
import { say, TestGateway } from './harness.ts'
import { RefusingStore } from './refusing-store.ts'

const SECOND = 1000
const willOf = (world: TestGateway): number => world.broker.stats.willsPublished

/** Lets so much time pass, in which everything becomes durable. */
function pass(world: TestGateway, seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    world.settle()
    world.advance(SECOND)
  }
  world.settle()
}

describe.each([false, true])('the store has no room for a while, CleanSession %s', (clean) => {
  const connected = (): { store: DelayedStore; world: TestGateway } => {
    const store = new DelayedStore()
    const world = new TestGateway({}, store)
    world.send('r', say.connect('s', { clean, will: true }), say.willTopic('gone'), say.willMsg('w'))
    world.settle()
    world.sent('r')
    return { store, world }
  }

  test('a goodbye is answered when it is recorded, and then no will fires, whatever happens', () => {
    const { store, world } = connected()
    store.refuse = true
    world.send('r', say.disconnect(), say.disconnect())
    world.settle()
    expect(world.sent('r')).toEqual([])
    store.refuse = false
    world.send('r', say.disconnect())
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r')).toEqual(['DISCONNECT'])
    const next = world.restarted(10 * SECOND)
    pass(next, 400)
    expect([willOf(world), willOf(next)]).toEqual([0, 0])
  })

  test.each(['at once', 'after a minute'])('a sensor that is lost meanwhile has its will published once, restart %s', (when) => {
    for (const asleep of [false, true]) {
      const { store, world } = connected()
      if (asleep) world.send('r', say.disconnect(60))
      world.settle()
      store.refuse = true
      world.advance(200 * SECOND)
      store.refuse = false
      if (when === 'after a minute') pass(world, 60)
      const next = world.restarted(300 * SECOND)
      pass(next, 400)
      expect(willOf(world) + willOf(next)).toBe(1)
    }
  })

  test('what is recorded late is what the sensor is by then', () => {
    const { store, world } = connected()
    store.refuse = true
    world.advance(200 * SECOND)
    store.refuse = false
    pass(world, 3)
    const records = [...store.crash({ folded: store.durable }).replay()].filter(({ type }) => type === 'sn-client')
    // A clean session is forgotten by then.
    expect(records).toMatchObject(clean ? [] : [{ clientId: 's', state: 'lost' }])
  })
})

test('a sensor that is forgotten while the store has no room leaves nothing to the next one with its id', () => {
  const store = new DelayedStore()
  const world = new TestGateway({}, store)
  world.send('r', say.connect('s'), say.register('a'))
  world.settle()
  world.send('r', say.disconnect())
  world.settle()
  world.sent('r')
  store.refuse = true
  world.advance(120 * SECOND)
  expect(world.gateway.client('s')).toBeUndefined()
  world.send('r', say.connect('s'))
  expect(world.sent('r')).toEqual(['CONNACK rc1'])
  expect(world.codes()).toContain('store-full')
  store.refuse = false
  world.send('r', say.connect('s'))
  world.settle()
  expect(world.sent('r')).toEqual(['CONNACK'])
  const next = world.restarted(130 * SECOND)
  expect(next.gateway.client('s')?.registry.size).toBe(0)
})

test('sensors that the rules shut out while nobody was there are lost in pieces, and each will fires once', () => {
  const [store, count] = [new DelayedStore(), 600]
  const world = new TestGateway({ maxSessions: count }, store)
  for (let i = 0; i < count; i++) {
    world.send(
      `r${i}`,
      say.connect(`s${i}`, { clean: false, will: true }),
      say.willTopic(`gone/${i}`),
      say.willMsg('w'.repeat(700)),
    )
    world.settle()
    world.send(`r${i}`, say.disconnect(60))
  }
  world.settle()
  const after = store.crash({ folded: store.durable })
  after.maxBytes = 50_000
  const users = { ...ANONYMOUS_SENSORS, userOf: () => undefined }
  const next = new TestGateway({ maxSessions: count, users }, after, { epoch: SECOND })
  expect(after.refusals).toBe(0)
  pass(next, 120)
  expect(next.codes().filter((code) => code === 'client-revoked')).toHaveLength(count)
  expect([willOf(next), after.refusals]).toEqual([count, 0])
  // Nobody is lost twice, whatever the rules say next.
  const last = new TestGateway({ maxSessions: count }, after.crash({ folded: after.durable }), { epoch: 200 * SECOND })
  pass(last, 200)
  expect(willOf(last)).toBe(0)
})

test('a CONNECT that the store has no room to know is refused, and its will does not fire', () => {
  for (const refused of ['sn-end', 'sn-client']) {
    const store = new RefusingStore()
    const world = new TestGateway({}, store)
    world.send('r', say.connect('s', { clean: false }), say.register('a/b'))
    world.sent('r')
    store.refuses = (type) => type === refused
    world.send('r', say.connect('s', { clean: true, will: true }), say.willTopic('gone'), say.willMsg('bye'))
    expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK rc1'])
    world.advance(10 * SECOND)
    expect(willOf(world)).toBe(0)
    expect(world.gateway.client('s')?.will).toBeUndefined()
  }
})

test.each([300, 400, 500, 600, 700, 800, 900])(
  'a sensor that connects twice while its session ends is connected once: %i messages',
  (messages) => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { clean: false }), say.subscribe('$share/g/q/#', 1), say.disconnect(3600))
    const publisher = world.client('publisher')
    for (let i = 0; i < messages; i++) publisher.publish(`q/${i}`, 'm', 1)
    world.client('helper').subscribe('$share/g/q/#', 1)
    world.broker.endTurn()
    world.sent('r')
    for (const duration of [20, 30]) world.gateway.handleDatagram(world.now, 'r', encodedMessage(say.connect('s', { duration })))
    world.advance(50)
    const session = (): ReturnType<typeof world.broker.sessions.get> => world.broker.sessions.get('sn', 's')
    expect(world.sent('r').at(-1)).toBe('CONNACK')
    expect(world.gateway.client('s')?.link?.id).toBe(session()?.link?.id)
    world.advance(600 * SECOND)
    expect(session()?.link).toBeUndefined()
  },
)

test('CONNECTs under ever new names while the store has no room leave nothing behind, here or there', () => {
  const store = new RefusingStore()
  const records: string[] = []
  store.refuses = (type) => {
    records.push(type)
    return true
  }
  const world = new TestGateway({}, store)
  for (let i = 0; i < 50; i++) world.send(`r${i}`, say.connect(`s${i}`))
  world.advance(300 * SECOND)
  expect(world.gateway.clientCount).toBe(0)
  store.refuses = (type) => {
    records.push(type)
    return false
  }
  world.advance(300 * SECOND)
  expect(records).not.toContain('sn-end')
  expect(world.gateway.client('s0')).toBeUndefined()
})

test('a will that was published is not published again after a restart for which the end of its sensor found no room', () => {
  let isFull = false
  const store = new (class extends DelayedStore {
    override append(record: StoreRecord): number | 'full' {
      return isFull && record.type === 'sn-client' ? 'full' : super.append(record)
    }
  })()
  const world = new TestGateway({}, store)
  world.send('r', say.connect('s', { clean: false, will: true }), say.willTopic('gone'), say.willMsg('w'))
  world.settle()
  isFull = true
  world.advance(200 * SECOND)
  world.settle()
  expect(willOf(world)).toBe(1)
  const next = world.restarted(210 * SECOND)
  // The gateway takes it for connected, with its will.
  expect(next.gateway.client('s')).toMatchObject({ state: 'active', will: { topic: 'gone' } })
  pass(next, 200)
  expect(next.gateway.client('s')?.state).toBe('lost')
  expect(willOf(next)).toBe(0)
})
