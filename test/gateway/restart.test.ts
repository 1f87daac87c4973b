import { expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { ByteWriter } from '../../src/base/bytes.ts'
import type { Will } from '../../src/mqtt/packets.ts'
import type { Message } from '../../src/mqttsn/messages.ts'
import { say, TestGateway } from './harness.ts'

const COUNT = 2600
const OPTIONS = { maxSessions: 10_000, sessionExpirySeconds: 3600 }
const idOf = (i: number): string => `sensor-${i}`
const routeOf = (i: number): string => `r${i}`
const WILL = 'w'.repeat(700)

/** Sensors of all kinds: most sleep, for different times, a third of them with wills, some with queues or QoS 2 ids. */
function site(store: DelayedStore): TestGateway {
  const world = new TestGateway(OPTIONS, store)
  const say2 = (i: number, ...messages: Message[]): void => {
    for (const message of messages) {
      world.send(routeOf(i), message)
      world.settle()
    }
  }
  for (let i = 0; i < COUNT; i++) {
    const hasWill = i % 3 === 0
    say2(i, say.connect(idOf(i), { clean: i % 7 === 0, will: hasWill, duration: 30 + (i % 5) }))
    if (hasWill) say2(i, say.willTopic(`gone/${i}`, 1), say.willMsg(`${WILL} ${i}`))
    if (i % 2 === 0) say2(i, say.subscribe(`own/${i}`, 1))
    for (let more = 0; more < i % 4; more++) say2(i, say.register(`more/${more}/${i}`))
    if (i % 19 === 0) say2(i, say.register('q2'), say.publish(0x401, 'x', 2, 5))
    if (i % 23 === 0) say2(i, say.subscribe('wild/+', 0))
    if (i % 11 !== 0) say2(i, say.disconnect(i % 13 === 0 ? undefined : 20 + (i % 40) * 10))
  }
  // The route of some passes to others.
  for (let i = 5; i < COUNT; i += 200) say2(i, say.connect(`taker-${i}`), say.disconnect(600))
  const publisher = world.client('publisher')
  for (let i = 0; i < COUNT; i += 14) publisher.publish(`own/${i}`, `for ${i}`, 1)
  world.settle()
  return world
}

const named = (will: Will | undefined): string =>
  will === undefined ? '' : `${will.topic} ${will.qos} ${Buffer.from(will.payload)}`

/** What lasts of a sensor. */
function kept(world: TestGateway, clientId: string): object | undefined {
  const client = world.gateway.client(clientId)
  const session = world.broker.sessions.get('sn', clientId)
  if (client === undefined) return undefined
  const { state, route, durationSeconds, sleepSeconds, cleanSession, recorded, recordedAt, will, registry } = client
  const ids = Array.from({ length: 8 }, (_, i) => [registry.nameOf(0x401 + i), registry.offeredAs(0x401 + i)])
  // What is in flight when a sensor falls asleep waits again after a restart.
  const waiting = (session?.queueLength ?? 0) + (session?.inflight?.size ?? 0)
  const subscriptions = [...(session?.subscriptions?.values() ?? [])]
  return {
    ...{ state, route, durationSeconds, sleepSeconds, cleanSession, recorded, recordedAt, ids, will: named(will) },
    ...{
      subscriptions,
      waiting,
      willOfSession: named(session?.will),
      isConnected: session?.link !== undefined,
      qos2: client.inbound.qos2.size,
    },
  }
}

/** The same, and what a restart decides. */
function all(world: TestGateway, clientId: string): object | undefined {
  const lasts = kept(world, clientId)
  const client = world.gateway.client(clientId)
  if (client === undefined) return lasts
  const session = world.broker.sessions.get('sn', clientId)!
  const packed = new ByteWriter()
  client.registry.pack(packed)
  const { lastHeard, sleepsSince, formerRoute, username, isPaused, keptBytes } = client
  const restrictions = client.inbound.restrictions
  return {
    ...{ lasts, lastHeard, sleepsSince, formerRoute, username, isPaused, keptBytes, restrictions },
    ids: Buffer.from(packed.toBytes()).toString('hex'),
    session: [session?.keptBytes, session?.heldBytes, session?.unchecked, session?.resumed, session?.recordedAs],
    info: session?.link?.info,
    link: client.link?.id,
  }
}

const ids = [...Array.from({ length: COUNT }, (_, i) => idOf(i)), ...Array.from({ length: 13 }, (_, i) => `taker-${5 + i * 200}`)]

for (const folded of [true, false]) {
  test(`sensors of all kinds come back as they were, ${folded ? 'from rows' : 'from the log'}, as rows or as objects`, () => {
    const store = new DelayedStore()
    const before = site(store)
    const crash = { folded: folded ? store.durable : 0 }
    const epoch = before.now + 15_000
    const around = { epoch, limits: { receiveMaximum: 20 } }
    const rows = new TestGateway(OPTIONS, store.crash(crash), { ...around, mostIdle: 0 })
    const objects = new TestGateway(OPTIONS, store.crash(crash), { ...around, mostIdle: Number.POSITIVE_INFINITY })
    if (folded) expect(rows.gateway.clientsAtRest).toBeGreaterThan(0.7 * COUNT)
    expect(objects.gateway.clientsAtRest).toBe(0)
    expect(rows.gateway.nextTimeout()).toBe(objects.gateway.nextTimeout())
    const whole = ({ broker, gateway }: TestGateway): object => ({
      counts: [gateway.clientCount, broker.sessions.size, broker.sessions.connected, broker.stats, gateway.wills.kept],
      appended: (objects.store as DelayedStore).appended,
    })
    expect(whole(rows)).toEqual(whole(objects))
    for (const id of ids) {
      expect(all(rows, id)).toEqual(all(objects, id))
      const was = kept(before, id) as { state: string } | undefined
      // The others are lost, or hear of it when they send something.
      if (was?.state === 'asleep') expect(kept(rows, id)).toEqual(was)
    }
  })
}

test('the wills of sensors that sleep too long after a restart are published, and no others', () => {
  const store = new DelayedStore()
  const before = site(store)
  const wills = (mostIdle: number): string[] => {
    const world = new TestGateway(OPTIONS, store.crash({ folded: store.durable }), { epoch: before.now + 15_000, mostIdle })
    const watcher = world.client('watcher')
    watcher.subscribe('gone/+', 0)
    world.settle()
    watcher.poll()
    const seen: string[] = []
    for (let second = 0; second < 900; second += 5) {
      world.advance(5000)
      world.settle()
      seen.push(...watcher.poll().map((line) => `${second} ${line.replace(WILL, 'W')}`))
    }
    return seen
  }
  const published = wills(0)
  expect(published).toEqual(wills(Number.POSITIVE_INFINITY))
  const withWill = Array.from({ length: COUNT }, (_, i) => i).filter((i) => i % 3 === 0 && (i % 13 !== 0 || i % 11 === 0))
  expect(published.length).toBe(withWill.length)
})
