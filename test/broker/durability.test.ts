import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { connectPacket, PERSISTENT, TestBroker, will } from './harness.ts'

/** A broker whose store makes nothing durable by itself, with two persistent clients of which `s` subscribed to `a` with QoS 2. */
function gated(): { world: TestBroker; p: ReturnType<TestBroker['connect']>; s: ReturnType<TestBroker['connect']> } {
  const world = new TestBroker({}, new DelayedStore())
  const p = world.connect('p', PERSISTENT)
  const s = world.connect('s', PERSISTENT)
  s.subscribe('a', 2)
  world.commit()
  s.poll()
  return { world, p, s }
}

describe('nothing leaves before the records that it depends on are durable', () => {
  test('CONNACK with a session', () => {
    const world = new TestBroker({}, new DelayedStore())
    const client = world.open()
    client.send(connectPacket('c', PERSISTENT))
    expect(client.poll()).toEqual([])
    world.commit()
    expect(client.poll()).toEqual(['CONNACK'])
  })

  test('CONNACK with a will', () => {
    const world = new TestBroker({}, new DelayedStore())
    const client = world.open()
    client.send(connectPacket('c', { will: will('w', 'gone') }))
    expect(client.poll()).toEqual([])
    world.commit()
    expect(client.poll()).toEqual(['CONNACK'])
  })

  test('CONNACK without either waits for nothing', () => {
    const world = new TestBroker({}, new DelayedStore())
    const client = world.open()
    client.send(connectPacket('c'))
    expect(client.poll()).toEqual(['CONNACK'])
  })

  test('SUBACK, and what follows from it behind it', () => {
    const { world, p } = gated()
    p.publish('r', 'kept', 0, 0, { retain: true })
    p.subscribe('r', 1)
    expect(p.poll()).toEqual([])
    world.commit()
    expect(p.poll()).toEqual(['SUBACK #100 1', 'r=kept q0 retain'])
  })

  test('UNSUBACK', () => {
    const { world, s } = gated()
    s.unsubscribe('a')
    expect(s.poll()).toEqual([])
    world.commit()
    expect(s.poll()).toEqual(['UNSUBACK #101'])
  })

  test('PUBACK', () => {
    const { world, p, s } = gated()
    p.publish('a', 'x', 1, 5)
    expect(p.poll()).toEqual([])
    // QoS 1 may come twice after a crash, so it does not wait.
    expect(s.poll()).toEqual(['a=x q1 #1'])
    world.commit()
    expect(p.poll()).toEqual(['PUBACK #5'])
  })

  test('PUBACK of a retained message that nobody subscribes to', () => {
    const { world, p } = gated()
    p.publish('r', 'x', 1, 5, { retain: true })
    expect(p.poll()).toEqual([])
    world.commit()
    expect(p.poll()).toEqual(['PUBACK #5 16'])
  })

  test('PUBREC, also when it is asked for again', () => {
    const { world, p } = gated()
    p.publish('a', 'x', 2, 5)
    p.publish('a', 'x', 2, 5)
    expect(p.poll()).toEqual([])
    world.commit()
    expect(p.poll()).toEqual(['PUBREC #5', 'PUBREC #5'])
  })

  test('QoS 2: the onward delivery waits for the receipt, even at QoS 0', () => {
    const { world, p } = gated()
    const watcher = world.connect('w')
    watcher.subscribe('#', 0)
    watcher.poll()
    p.publish('b', 'x', 2, 5)
    expect(watcher.poll()).toEqual([])
    world.commit()
    expect(watcher.poll()).toEqual(['b=x q0'])
  })

  test('QoS 2: the outgoing PUBLISH waits for its packet id', () => {
    const { world, p, s } = gated()
    p.publish('a', 'x', 2, 5)
    world.commit()
    expect(s.poll()).toEqual([])
    world.commit()
    expect(s.poll()).toEqual(['a=x q2 #1'])
  })

  test('PUBREL, also when PUBREC comes again or the client comes back', () => {
    const { world, p, s } = gated()
    p.publish('a', 'x', 2, 5)
    world.commit()
    s.poll()
    world.commit()
    s.poll()
    s.ack(5, 1)
    s.ack(5, 1)
    expect(s.poll()).toEqual([])
    s.lost()
    const again = world.open()
    again.send(connectPacket('s', PERSISTENT))
    expect(again.poll()).toEqual([])
    world.commit()
    expect(again.poll()).toEqual(['CONNACK present', 'PUBREL #1'])
  })

  test('PUBREL for a late PUBREC of a message that was refused: until its end is recorded, a crash sends it again', () => {
    const { world, p, s } = gated()
    p.publish('a', 'x', 2, 5)
    for (let i = 0; i < 2; i++) {
      world.commit()
      s.poll()
    }
    s.ack(5, 1, 0x83)
    s.ack(5, 1)
    expect(s.poll()).toEqual([])
    world.commit()
    expect(s.poll()).toEqual(['PUBREL #1 146'])
    expect(TestBroker.restarted(world.store as DelayedStore, 0).broker.sessions.get('mqtt', 's')?.inflight?.size ?? 0).toBe(0)
  })

  test('the same, where a client whose session is not stored has refused another message meanwhile', () => {
    const { world, p, s } = gated()
    const fleeting = world.connect('fleeting')
    fleeting.subscribe('b', 2)
    p.publish('a', 'x', 2, 5)
    p.publish('b', 'x', 2, 6)
    for (let i = 0; i < 2; i++) {
      world.commit()
      s.poll()
      fleeting.poll()
    }
    s.ack(5, 1, 0x83)
    fleeting.ack(5, 1, 0x83)
    s.ack(5, 1)
    expect(s.poll()).toEqual([])
    world.commit()
    expect(s.poll()).toEqual(['PUBREL #1 146'])
  })

  test('PUBCOMP', () => {
    const { world, p } = gated()
    p.publish('a', 'x', 2, 5)
    world.commit()
    p.poll()
    p.ack(6, 5)
    expect(p.poll()).toEqual([])
    world.commit()
    expect(p.poll()).toEqual(['PUBCOMP #5'])
  })

  test('an acknowledgement that waits does not hold up telemetry', () => {
    const { world, p, s } = gated()
    s.publish('x', 'mine', 2, 9)
    p.publish('a', 'now', 0)
    expect(s.poll()).toEqual(['a=now q0'])
    world.commit()
    expect(s.poll()).toEqual(['PUBREC #9 16'])
  })
})

describe('a store that takes nothing more', () => {
  test('a 3.1.1 publisher, who cannot be refused, is closed', () => {
    const { world } = gated()
    const old = world.connect('old', { protocolVersion: 4, cleanStart: false })
    ;(world.store as DelayedStore).refuse = true
    old.publish('a', 'x', 1, 5)
    expect(old.poll()).toEqual(['CLOSE 151'])
  })

  test('refuses what it would have to acknowledge, says why, and loses nothing', () => {
    const { world, p, s } = gated()
    ;(world.store as DelayedStore).refuse = true
    s.subscribe('b', 1)
    expect(s.poll()).toEqual(['SUBACK #100 151'])
    const client = world.open()
    client.send(connectPacket('new', PERSISTENT))
    expect(client.poll()).toEqual(['CONNACK 151', 'CLOSE 151'])
    p.publish('a', 'x', 1, 5)
    p.publish('a', 'x', 2, 6)
    expect(p.poll()).toEqual(['PUBACK #5 151', 'PUBREC #6 151'])
    expect(s.poll()).toEqual([])
    expect(world.codes()).toContain('store-full')
  })
})

describe('MQTT-2.2.1-3: QoS 1 under a packet id that is unreleased since an earlier connection', () => {
  function forgetful(qos: 0 | 1) {
    const world = new TestBroker({}, new DelayedStore())
    const reader = world.connect('r', PERSISTENT)
    reader.subscribe('a', qos)
    const first = world.connect('c', PERSISTENT)
    first.publish('a', 'unreleased', 2, 4)
    world.commit()
    expect(first.poll()).toEqual(['PUBREC #4'])
    expect(published(reader.poll())).toEqual(['unreleased'])
    first.lost()
    const second = world.connect('c', PERSISTENT)
    world.commit()
    second.poll()
    second.publish('a', 'another', 1, 4)
    return { world, reader, second, store: world.store as DelayedStore }
  }
  const published = (all: string[]): string[] => all.flatMap((each) => /^a=(\w+)/.exec(each)?.[1] ?? [])

  test.each([
    ['stored', 1],
    ['not stored, because its receiver takes QoS 0', 0],
  ] as const)('a restart after PUBACK swallows no later message, and doubles none: %s', (_, qos) => {
    const { world, reader, second, store } = forgetful(qos)
    const isStored = qos > 0
    expect(second.poll()).toEqual([])
    if (!isStored) expect(published(reader.poll())).toEqual(['another'])
    world.commit()
    expect(second.poll()).toEqual(['PUBACK #4'])
    for (let folded = 0; folded <= store.durable; folded++) {
      const again = TestBroker.restarted(store, 1_000, folded)
      const back = again.connect('r', PERSISTENT)
      const third = again.connect('c', PERSISTENT)
      again.commit()
      third.poll()
      const before = published(back.poll())
      expect(before).toEqual(isStored ? ['unreleased', 'another'] : [])
      third.publish('a', 'new', 2, 4)
      again.commit()
      expect(third.poll()).toEqual(['PUBREC #4'])
      third.publish('a', 'new', 2, 4)
      again.commit()
      expect(third.poll()).toEqual(['PUBREC #4'])
      expect(published(back.poll())).toEqual(['new'])
    }
  })

  test('it is refused while that cannot be recorded: its client sends it again', () => {
    const world = new TestBroker({}, new DelayedStore())
    const reader = world.connect('r')
    reader.subscribe('a', 0)
    const first = world.connect('c', PERSISTENT)
    first.publish('a', 'unreleased', 2, 4)
    first.lost()
    const second = world.connect('c', PERSISTENT)
    world.commit()
    second.poll()
    reader.poll()
    const store = world.store as DelayedStore
    store.refuse = true
    second.publish('a', 'another', 1, 4)
    expect(second.poll()).toEqual(['PUBACK #4 151'])
    expect(reader.poll()).toEqual([])
    store.refuse = false
    second.publish('a', 'another', 1, 4)
    second.publish('a', 'new', 2, 4)
    world.commit()
    expect(second.poll()).toEqual(['PUBACK #4', 'PUBREC #4'])
    expect(published(reader.poll())).toEqual(['another', 'new'])
  })
})

test('a QoS 2 message that its receiver refuses stays in flight while that cannot be recorded', () => {
  const { world, p, s } = gated()
  p.publish('a', 'x', 2, 5)
  for (let i = 0; i < 2; i++) {
    world.commit()
    s.poll()
  }
  ;(world.store as DelayedStore).refuse = true
  s.ack(5, 1, 0x83)
  expect([s.poll(), world.codes().includes('store-full')]).toEqual([['CLOSE 151'], true])
  ;(world.store as DelayedStore).refuse = false
  const again = world.open()
  again.send(connectPacket('s', PERSISTENT))
  world.commit()
  expect(again.poll()).toEqual(['CONNACK present', 'a=x q2 #1 dup'])
})

/** Links that the broker wants to be polled, since this was asked last. */
function readyLinks({ broker }: TestBroker): number[] {
  const found: number[] = []
  for (let link = broker.nextReadyLink(); link !== undefined; link = broker.nextReadyLink()) found.push(link)
  return found
}

/** Nothing else is on its way to the disk, so that no commit reminds the broker. */
test('a QoS 2 message whose packet id found no room is sent soon after there is room', () => {
  const { world, p, s } = gated()
  const store = world.store as DelayedStore
  p.publish('a', 'x', 2, 5)
  store.refuse = true
  world.commit()
  expect([p.poll(), s.poll()]).toEqual([['PUBREC #5'], []])
  world.advance(10_000)
  expect(s.poll()).toEqual([])
  store.refuse = false
  readyLinks(world)
  world.advance(1000)
  expect(readyLinks(world)).toEqual([s.link.id])
  expect(s.poll()).toEqual([])
  world.commit()
  // Each attempt has taken a packet id.
  expect(s.poll()).toEqual([expect.stringMatching(/^a=x q2 #\d+$/)])
  expect(world.broker.nextTimeout()).toBeUndefined()
})

test('the same of the message ids of QoS 1 that are recorded ahead for a sensor', () => {
  const world = new TestBroker({}, new DelayedStore())
  const store = world.store as DelayedStore
  const p = world.connect('p', PERSISTENT)
  const sensor = world.connect('sensor', PERSISTENT, 'sn')
  sensor.subscribe('a', 1)
  world.commit()
  sensor.poll()
  let sent = 0
  const next = (): string | undefined => {
    store.refuse = false
    p.publish('a', `${++sent}`, 1, 5)
    world.commit()
    store.refuse = true
    const got = sensor.poll().at(-1)
    if (got !== undefined) sensor.ack(4, Number(/#(\d+)/.exec(got)?.[1]))
    return got
  }
  // Those with their ids recorded ahead leave while the store is full.
  while (next() !== undefined) expect(sent).toBeLessThan(100)
  world.advance(5000)
  expect(sensor.poll()).toEqual([])
  store.refuse = false
  readyLinks(world)
  world.advance(1000)
  expect(readyLinks(world)).toEqual([sensor.link.id])
  sensor.poll()
  world.commit()
  expect(sensor.poll()).toEqual([`a=${sent} q1 #${sent}`])
})

test('the end of a session that a full store was not told of is told before the next one begins', () => {
  const { world } = gated()
  const store = world.store as DelayedStore
  store.refuse = true
  const clean = world.open()
  clean.send(connectPacket('s', { cleanStart: true }))
  expect(clean.poll()).toEqual(['CONNACK 151', 'CLOSE 151'])
  store.refuse = false
  const next = world.open()
  next.send(connectPacket('s', PERSISTENT))
  world.commit()
  expect(next.poll()).toEqual(['CONNACK'])
  const after = TestBroker.restarted(store, 1000)
  expect(after.broker.subscriptionCount).toBe(0)
})

describe('after a crash', () => {
  test('sessions, queues, packet ids, receipts and retained messages are what was durable', () => {
    const { world, p, s } = gated()
    p.publish('a', 'one', 1, 1)
    p.publish('a', 'two', 2, 2)
    p.publish('r', 'kept', 1, 3, { retain: true })
    world.commit()
    expect(p.poll()).toEqual(['PUBACK #1', 'PUBREC #2', 'PUBACK #3 16'])
    s.poll()
    world.commit()
    expect(s.poll()).toEqual(['a=two q2 #2'])
    p.publish('a', 'never acknowledged', 1, 4)

    const after = TestBroker.restarted(world.store as DelayedStore, 1000)
    const s2 = after.open()
    s2.send(connectPacket('s', PERSISTENT))
    after.commit()
    expect(s2.poll()).toEqual(['CONNACK present', 'a=two q2 #2 dup', 'a=one q1 #3'])
    const p2 = after.connect('p', PERSISTENT)
    p2.publish('a', 'two', 2, 2)
    after.commit()
    expect(p2.poll()).toEqual(['PUBREC #2'])
    expect(s2.poll()).toEqual([])
    p2.subscribe('r', 0)
    after.commit()
    expect(p2.poll()).toEqual(['SUBACK #100', 'r=kept q0 retain'])
  })

  test('what was acknowledged by a subscriber does not come again', () => {
    const { world, p, s } = gated()
    p.publish('a', 'one', 1, 1)
    p.publish('a', 'two', 2, 2)
    world.commit()
    s.poll()
    world.commit()
    s.poll()
    s.ack(4, 1)
    s.ack(5, 2)
    world.commit()
    expect(s.poll()).toEqual(['PUBREL #2'])
    const after = TestBroker.restarted(world.store as DelayedStore, 0)
    const s2 = after.open()
    s2.send(connectPacket('s', PERSISTENT))
    after.commit()
    expect(s2.poll()).toEqual(['CONNACK present', 'PUBREL #2'])
    s2.ack(7, 2)
    after.commit()
    const last = TestBroker.restarted(after.store as DelayedStore, 0).open()
    last.send(connectPacket('s', PERSISTENT))
    last.world.commit()
    expect(last.poll()).toEqual(['CONNACK present'])
  })

  test('retained messages queued for a persistent session before the crash are still owed to it', () => {
    const { world, p } = gated()
    p.publish('r', 'kept', 1, 3, { retain: true })
    p.subscribe('r', 1)
    world.commit()
    const after = TestBroker.restarted(world.store as DelayedStore, 0)
    const p2 = after.open()
    p2.send(connectPacket('p', PERSISTENT))
    after.commit()
    expect(p2.poll()).toEqual(['CONNACK present', 'r=kept q1 #1 retain'])
  })

  test('MQTT-3.1.2-8: the will of a client that was connected fires, with its delay, unless it resumes', () => {
    const world = new TestBroker({}, new DelayedStore())
    const properties = { willDelayInterval: 10 }
    world.connect('now', { will: will('w/now', 'gone', 1) })
    world.connect('late', { ...PERSISTENT, will: will('w/late', 'gone', 1, properties) })
    world.connect('back', { ...PERSISTENT, will: will('w/back', 'gone', 1, properties) })
    const watcher = world.connect('watcher', PERSISTENT)
    watcher.subscribe('w/#', 1)
    world.commit()
    const after = TestBroker.restarted(world.store as DelayedStore, 5000)
    after.connect('back', PERSISTENT)
    after.advance(60_000)
    const again = after.open()
    again.send(connectPacket('watcher', PERSISTENT))
    after.commit()
    expect(again.poll()).toEqual(['CONNACK present', 'w/now=gone q1 #1', 'w/late=gone q1 #2'])
  })

  test('expiry clocks count the time that passed, and none where the wall clock went backwards', () => {
    const world = new TestBroker({}, new DelayedStore(), 1_000_000)
    world.connect('short', PERSISTENT).lost()
    world.connect('long', { cleanStart: false, properties: { sessionExpiryInterval: 10_000 } }).lost()
    world.commit()
    const present = (epoch: number): string[] => {
      const after = TestBroker.restarted(world.store as DelayedStore, epoch)
      after.advance(1)
      return ['short', 'long'].flatMap((id) => {
        const client = after.open()
        client.send(connectPacket(id, PERSISTENT))
        after.commit()
        return client.poll()
      })
    }
    expect(present(1_000_000 + 3_599_000)).toEqual(['CONNACK present', 'CONNACK present'])
    expect(present(1_000_000 + 3_600_000)).toEqual(['CONNACK', 'CONNACK present'])
    expect(present(0)).toEqual(['CONNACK present', 'CONNACK present'])
  })
})
