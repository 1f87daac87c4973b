import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { assert } from '../../src/base/assert.ts'
import { Memory } from '../../src/base/memory.ts'
import type { BrokerOptions } from '../../src/broker/broker-options.ts'
import type { DeliveryAnswer, DeliveryFacts, PublishAnswer, PublishQuestion } from '../../src/broker/hooks.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import { bytes, PERSISTENT, TestBroker, type TestClient, text, will } from './harness.ts'

const YES: PublishAnswer = { kind: 'accepted' }
const NO: PublishAnswer = { kind: 'refused', reasonCode: 0x99, reason: 'not JSON' }

/** A broker whose messages wait for answers that the test gives. */
class AskingBroker extends TestBroker {
  constructor(options: Partial<BrokerOptions> = {}, store?: DelayedStore) {
    super({ hooks: { asksAboutMessages: true }, ...options }, store)
  }

  /** Questions that the broker has not asked before. */
  asked(): PublishQuestion[] {
    const questions: PublishQuestion[] = []
    for (let next = this.broker.asked!.nextQuestion(); next !== undefined; next = this.broker.asked!.nextQuestion())
      questions.push({ ...next, payload: Uint8Array.from(next.payload) })
    return questions
  }

  topics(): string[] {
    return this.asked().map(({ topic, payload }) => `${topic}=${text(payload)}`)
  }

  answer({ id }: PublishQuestion, answer: PublishAnswer = YES): void {
    this.broker.asked!.answered(this.now, id, answer)
  }

  /** Answers the next question. */
  next(answer: PublishAnswer = YES): PublishQuestion {
    const [question] = this.asked()
    assert(question !== undefined, 'a question')
    this.answer(question, answer)
    return question
  }
}

function siteOf(world: AskingBroker): {
  world: AskingBroker
  publisher: TestClient
  reader: TestClient
} {
  const reader = world.connect('reader')
  reader.subscribe('#', 2)
  reader.poll()
  return { world, publisher: world.connect('publisher'), reader }
}

describe('a message waits for the hook onPublish', () => {
  test('and its publisher is not read meanwhile; others are', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    const other = world.connect('other')
    publisher.publish('a', '1', 1, 7)
    expect(publisher.link.state).toBe('held')
    expect(other.link.state).toBe('open')
    expect([...publisher.poll(), ...reader.poll()]).toEqual([])
    const [question] = world.asked()
    expect(question).toMatchObject({ kind: 'mqtt', clientId: 'publisher', listener: 'mqtt', topic: 'a', qos: 1, retain: false })
    other.publish('b', '2')
    world.next()
    expect(reader.poll()).toEqual(['b=2 q0'])
    world.answer(question!)
    expect(publisher.link.state).toBe('open')
    expect(publisher.poll()).toEqual(['PUBACK #7'])
    expect(reader.poll()).toEqual(['a=1 q1 #1'])
  })

  test('while it receives what others publish', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    reader.publish('a', '1')
    expect(reader.link.state).toBe('held')
    publisher.publish('b', '2')
    const [, second] = world.asked()
    world.answer(second!)
    expect(reader.poll()).toEqual(['b=2 q0'])
  })

  test('messages of one client are asked about one after the other, in order', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    // A stream that has ended is read to its end although the link is held.
    publisher.publish('a', '1')
    publisher.publish('a', '2', 1, 2)
    publisher.publish('a', '3', 2, 3)
    expect(world.topics()).toEqual(['a=1'])
    publisher.lost()
    world.broker.asked!.answered(world.now, 1, YES)
    expect(world.topics()).toEqual(['a=2'])
    world.broker.asked!.answered(world.now, 2, YES)
    expect(world.topics()).toEqual(['a=3'])
    world.broker.asked!.answered(world.now, 3, YES)
    expect(world.topics()).toEqual([])
    expect(reader.poll()).toEqual(['a=1 q0', 'a=2 q1 #1', 'a=3 q2 #2'])
    expect(world.broker.asked!.size).toBe(0)
  })

  test('what was refused is told with its reason code, and goes to nobody', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    publisher.publish('a', '1', 1, 7)
    world.next(NO)
    publisher.publish('a', '2', 2, 8)
    world.next(NO)
    publisher.publish('a', '3')
    world.next(NO)
    expect(publisher.poll()).toEqual(['PUBACK #7 153', 'PUBREC #8 153'])
    expect(reader.poll()).toEqual([])
    expect(world.notices.filter(({ code }) => code === 'publish-refused')).toHaveLength(3)
    expect(world.notices.at(-1)!.reason).toBe('not JSON: a: reason code 0x99')
    // The packet id of what was refused is free.
    publisher.publish('a', '4', 2, 8)
    world.next()
    expect(publisher.poll()).toEqual(['PUBREC #8'])
  })

  test('3.x has no word for a refusal: it is acknowledged, and goes to nobody', () => {
    const { world, reader } = siteOf(new AskingBroker())
    const old = world.connect('old', { protocolVersion: 4 })
    old.publish('a', '1', 1, 7)
    world.next(NO)
    expect(old.link.closed).toBe(false)
    expect(old.poll().map((line) => line.slice(0, 9))).toEqual(['PUBACK #7'])
    expect(reader.poll()).toEqual([])
  })

  test('a second answer, and one to a question that nobody asked, are ignored', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    publisher.publish('a', '1', 1, 7)
    const question = world.next()
    world.answer(question)
    world.broker.asked!.answered(world.now, 99, YES)
    expect(publisher.poll()).toEqual(['PUBACK #7'])
    expect(reader.poll()).toEqual(['a=1 q1 #1'])
  })

  test('what access rules or limits refuse is not asked about', () => {
    const world = new AskingBroker({ limits: { messageSizeLimit: 10 } })
    const publisher = world.connect('publisher')
    publisher.publish('a', 'x'.repeat(11), 1, 7)
    publisher.publish('$SYS/x', '1', 1, 8)
    expect(world.topics()).toEqual([])
    expect(publisher.poll()).toEqual(['PUBACK #7 151', 'PUBACK #8 135'])
  })

  test('the messages of one client leave room for those of others', () => {
    const { world, publisher } = siteOf(new AskingBroker({ memory: new Memory({ memoryLimit: 800_000 }) }))
    const other = world.connect('other')
    // A sensor, or a stream that has ended, goes on while its messages wait.
    for (let i = 1; i <= 200; i++) publisher.publish('a', 'x'.repeat(1000), 1, i)
    expect(world.broker.asked!.size).toBeGreaterThan(5)
    expect(world.broker.asked!.size).toBeLessThan(30)
    expect(world.notices.at(-1)).toMatchObject({ code: 'publish-refused', limit: 'memory_limit' })
    other.publish('a', 'x'.repeat(1000), 1, 1)
    expect(other.poll()).toEqual([])
    while (world.broker.asked!.size > 0) for (const question of world.asked()) world.answer(question)
    expect(other.poll()).toEqual(['PUBACK #1'])
  })

  test('of a stream that has ended while it subscribes: what is left of that is abandoned', () => {
    const { world, publisher } = siteOf(new AskingBroker())
    const many = Array.from({ length: 2000 }, (_, i) => ({
      filter: `f/${i}`,
      qos: 0 as const,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
    }))
    publisher.send({ type: PacketType.SUBSCRIBE, packetId: 1, subscriptions: many, properties: {} })
    expect(publisher.link.busy).toBe('request')
    publisher.publish('a', '1', 1, 2)
    publisher.lost()
    const before = world.broker.subscriptionCount
    world.advance(100)
    expect(world.broker.subscriptionCount).toBeLessThanOrEqual(before)
  })

  test('too much that waits is refused, and counts in memory', () => {
    const memory = new Memory({ memoryLimit: 80_000 })
    const { world, publisher } = siteOf(new AskingBroker({ memory }))
    const big = world.connect('big')
    const before = memory.byCategory().get('receive_buffers')
    big.publish('a', 'x'.repeat(7000), 1, 7)
    expect(memory.byCategory().get('receive_buffers')! - before!).toBeGreaterThan(7000)
    publisher.publish('b', 'x'.repeat(7000), 1, 8)
    expect(publisher.poll()).toEqual(['PUBACK #8 151'])
    expect(world.notices.at(-1)).toMatchObject({ code: 'publish-refused', limit: 'memory_limit' })
    world.next()
    expect(memory.byCategory().get('receive_buffers')).toBe(before)
    publisher.publish('b', 'x'.repeat(7000), 1, 9)
    world.next()
    expect(publisher.poll()).toEqual(['PUBACK #9'])
  })
})

describe('what the hook has changed', () => {
  test('is what everybody gets, and what is retained and stored', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    publisher.publish('a', '1', 1, 7, { retain: true, properties: { contentType: 'old' } })
    world.next({ kind: 'accepted', change: { topic: 'b', payload: bytes('two'), properties: { contentType: 'new' } } })
    expect(reader.poll()).toEqual(['b=two q1 #1'])
    const late = world.connect('late')
    late.subscribe('#')
    expect(late.poll()).toEqual(['SUBACK #100', 'b=two q0 retain'])
    expect(world.broker.retained.get('b')?.properties).toEqual({ contentType: 'new' })
    expect(world.broker.retained.get('a')).toBeUndefined()
  })

  test.each([
    ['a wildcard', 'a/#', 0x90],
    ['a topic of the broker', '$SYS/broker/uptime', 0x87],
    ['too many levels', 'a/b/c/d', 0x90],
    ['a topic that the client may not publish on', 'secret', 0x87],
  ])('is refused where the client itself would be: %s', (_what, topic, reasonCode) => {
    const world = new AskingBroker({
      limits: { maxTopicLevels: 3 },
      access: {
        connect: () => 0,
        remains: () => 0,
        publish: (_who, on) => on !== 'secret',
        subscribe: () => true,
        read: () => true,
        stored: () => undefined,
        restored: () => ({}),
      },
    })
    const publisher = world.connect('publisher')
    publisher.publish('a', '1', 1, 7)
    world.next({ kind: 'accepted', change: { topic } })
    expect(publisher.poll()).toEqual([`PUBACK #7 ${reasonCode}`])
    // A hook that is wrong does not cost a QoS 0 publisher its connection.
    publisher.publish('a', '1')
    world.next({ kind: 'accepted', change: { topic } })
    expect(publisher.link.closed).toBe(false)
  })

  test('has the limits of a message', () => {
    const world = new AskingBroker({ limits: { messageSizeLimit: 10 } })
    const publisher = world.connect('publisher')
    publisher.publish('a', '1', 1, 7)
    world.next({ kind: 'accepted', change: { payload: bytes('x'.repeat(11)) } })
    expect(publisher.poll()).toEqual(['PUBACK #7 151'])
  })
})

describe('exactly once', () => {
  test('a QoS 2 message that comes again before its answer, on another connection, is published once', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    const first = world.connect('p', PERSISTENT)
    first.publish('a', '1', 2, 5)
    const [question] = world.asked()
    first.lost()
    const again = world.connect('p', PERSISTENT)
    again.publish('a', '1', 2, 5)
    world.answer(question!)
    // The second copy is asked about behind the first, and found to be one.
    world.next()
    expect(again.poll()).toEqual(['PUBREC #5'])
    again.ack(PacketType.PUBREL, 5)
    expect(again.poll()).toEqual(['PUBCOMP #5'])
    expect(reader.poll()).toEqual(['a=1 q2 #1'])
    expect(publisher.poll()).toEqual([])
  })

  test('a client that begins anew under the same packet id sends another message', () => {
    const { world, reader } = siteOf(new AskingBroker())
    const first = world.connect('p', PERSISTENT)
    first.publish('a', '1', 2, 5)
    first.lost()
    const anew = world.connect('p')
    anew.publish('a', '2', 2, 5)
    world.next()
    world.next()
    expect(anew.poll()).toEqual(['PUBREC #5'])
    expect(reader.poll()).toEqual(['a=1 q2 #1', 'a=2 q2 #2'])
  })

  test('nothing is acknowledged before the answer and its record', () => {
    const store = new DelayedStore(1000)
    const world = new AskingBroker({}, store)
    const publisher = world.connect('publisher', PERSISTENT)
    publisher.publish('a', '1', 2, 5)
    world.commit()
    expect(publisher.poll()).toEqual([])
    world.next()
    expect(publisher.poll()).toEqual([])
    world.commit()
    expect(publisher.poll()).toEqual(['PUBREC #5 16'])
  })

  test('a crash before the answer loses what was not acknowledged, and its repetition is a new message', () => {
    const store = new DelayedStore(1000)
    const world = new AskingBroker({}, store)
    const publisher = world.connect('publisher', PERSISTENT)
    publisher.publish('a', '1', 2, 5)
    world.commit()
    const again = TestBroker.restarted(store, 0)
    const back = again.connect('publisher', PERSISTENT)
    back.publish('a', '1', 2, 5)
    again.commit()
    expect(back.poll()).toEqual(['PUBREC #5 16'])
  })
})

describe('a client that leaves before the answer', () => {
  test('has published what was read from it: by DISCONNECT', () => {
    const { world, publisher, reader } = siteOf(new AskingBroker())
    publisher.publish('a', '1')
    publisher.disconnect()
    world.next()
    expect(reader.poll()).toEqual(['a=1 q0'])
    expect(publisher.poll()).toEqual(['CLOSE'])
  })

  test('and its will does not come before what it has said: that is refused, and sent again', () => {
    const { world, reader } = siteOf(new AskingBroker())
    const sensor = world.connect('p', { ...PERSISTENT, will: will('state', 'offline') })
    sensor.publish('state', 'online', 1, 7)
    sensor.lost()
    expect(reader.poll()).toEqual(['state=offline q0'])
    expect(world.broker.asked!.size).toBe(0)
    const [question] = world.asked()
    expect(question).toBeUndefined()
    world.broker.asked!.answered(world.now, 1, YES)
    expect(reader.poll()).toEqual([])
    expect(world.notices.map(({ reason }) => reason)).toContainEqual(expect.stringContaining('before the hook onPublish'))
  })
})

describe('onDeliver', () => {
  const deliveringTo = (answer: (delivery: DeliveryFacts) => DeliveryAnswer, store?: DelayedStore): TestBroker =>
    new TestBroker({ hooks: { onDeliver: answer } }, store)

  test('changes and drops for one recipient, at every QoS', () => {
    const world = deliveringTo(({ clientId, payload, topic }) =>
      topic === 'hidden' ? 'drop' : clientId === 'a' ? { payload: bytes(`<${text(payload)}>`) } : undefined,
    )
    const [a, b] = [world.connect('a'), world.connect('b')]
    for (const each of [a, b]) each.subscribe('#', 2)
    for (const each of [a, b]) each.poll()
    const publisher = world.connect('publisher')
    for (const [i, qos] of ([0, 1, 2] as const).entries()) {
      publisher.publish('t', `${qos}`, qos, i)
      publisher.publish('hidden', `${qos}`, qos, i + 10)
    }
    expect(a.poll()).toEqual(['t=<0> q0', 't=<1> q1 #1', 't=<2> q2 #2'])
    expect(b.poll()).toEqual(['t=0 q0', 't=1 q1 #1', 't=2 q2 #2'])
    expect(world.broker.stats.publishDropped).toBe(6)
    expect(world.notices.filter(({ code }) => code === 'message-dropped')).toHaveLength(6)
  })

  test('is asked once for a message that is sent again on another connection, and the copy is the same', () => {
    let count = 0
    const world = deliveringTo(() => ({ payload: bytes(`${++count}`) }))
    const first = world.connect('a', PERSISTENT)
    first.subscribe('#', 2)
    first.poll()
    const publisher = world.connect('publisher')
    publisher.publish('t', 'x', 1, 1)
    publisher.publish('t', 'y', 2, 2)
    expect(first.poll()).toEqual(['t=1 q1 #1', 't=2 q2 #2'])
    first.lost()
    expect(world.connect('a', PERSISTENT).poll()).toEqual(['t=1 q1 #1 dup', 't=2 q2 #2 dup'])
    expect(count).toBe(2)
  })

  test('is asked again by the next process, and what it drops then is over', () => {
    const store = new DelayedStore(1000)
    const world = deliveringTo(() => undefined, store)
    const first = world.connect('a', PERSISTENT)
    first.subscribe('#', 1)
    world.commit()
    first.poll()
    world.connect('publisher').publish('t', 'x', 1, 1)
    world.commit()
    expect(first.poll()).toEqual(['t=x q1 #1'])
    const again = new TestBroker({ hooks: { onDeliver: () => 'drop' } }, store.crash({ folded: store.durable }))
    for (const record of again.store.replay()) if (!record.type.startsWith('sn-')) again.broker.apply(record as never)
    again.broker.recover(0)
    again.broker.runDownRecovered(0)
    const back = again.connect('a', PERSISTENT)
    expect(back.poll()).toEqual([])
    expect(back.link.backlog).toBe(0)
  })

  test('another member of a shared subscription gets the message as it was published', () => {
    const world = deliveringTo(({ clientId, payload }) => ({ payload: bytes(`${text(payload)} for ${clientId}`) }))
    const [a, b] = [world.connect('a'), world.connect('b')]
    a.subscribe('$share/g/t', 1)
    a.poll()
    world.connect('publisher').publish('t', 'x', 1, 1)
    expect(a.poll()).toEqual(['t=x for a q1 #1'])
    b.subscribe('$share/g/t', 1)
    b.poll()
    a.lost()
    expect(b.poll()).toEqual(['t=x for b q1 #1'])
  })

  test('memory and windows count the message as it is sent', () => {
    const memory = new Memory()
    const long = bytes('x'.repeat(5000))
    const world = new TestBroker({ memory, hooks: { onDeliver: () => ({ payload: long }) } })
    const reader = world.connect('a')
    reader.subscribe('#', 1)
    reader.poll()
    const before = memory.byCategory().get('messages')!
    world.connect('publisher').publish('t', 'x', 1, 1)
    reader.poll()
    expect(memory.byCategory().get('messages')! - before).toBeGreaterThan(5000)
    reader.ack(PacketType.PUBACK, 1)
    expect(memory.byCategory().get('messages')).toBe(before)
  })
})

test('events say who came and who left', () => {
  const told: string[] = []
  const world = new TestBroker({
    hooks: {
      events: {
        onConnect: ({ clientId, sessionPresent, cleanStart }) => told.push(`${clientId} came ${sessionPresent} ${cleanStart}`),
        onDisconnect: ({ clientId, isLost, reason }) => told.push(`${clientId} left ${isLost} ${reason}`),
      },
    },
  })
  const a = world.connect('a', PERSISTENT)
  a.disconnect()
  world.connect('a', PERSISTENT)
  world.connect('a', PERSISTENT).lost()
  expect(told).toEqual([
    'a came false false',
    'a left false DISCONNECT',
    'a came true false',
    'a left true closed with reason code 0x8e',
    'a came true false',
    'a left true test',
  ])
})
