import { describe, expect, test } from 'vitest'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { PERSISTENT, TestBroker, type TestClient, text } from './harness.ts'

/** A reader with a small window, whose queue a publisher fills; everything else is at its default. */
class Site {
  readonly world: TestBroker
  readonly reader: TestClient
  readonly publisher: TestClient
  readonly other: TestClient
  #sent = 0

  constructor(limits: Partial<BrokerLimits> = {}) {
    this.world = new TestBroker({ limits: { maxQueuedMessages: 100, ...limits } })
    this.reader = this.world.connect('reader')
    this.other = this.world.connect('other')
    for (const client of [this.reader, this.other]) {
      client.subscribe('a', 1)
      client.poll()
    }
    this.publisher = this.world.connect('publisher')
  }

  /** Publishes until the publisher is held up, at most so many; gives how many it took. */
  publish(most: number, payload = 'x', qos: QoS = 1): number {
    for (let count = 1; count <= most; count++) {
      this.#sent = (this.#sent % 60_000) + 1
      this.publisher.publish('a', payload, qos, qos === 0 ? 0 : this.#sent)
      this.take(this.other, 1)
      this.publisher.poll()
      if (this.publisher.link.state === 'held') return count
    }
    return most
  }

  /** The client takes and acknowledges what it can get, at most so many. */
  take(client: TestClient, most: number): number {
    let count = 0
    while (count < most) {
      const out = client.link.poll(this.world.now)
      if (out === undefined) break
      if (out.type !== 0) continue
      count++
      if (out.qos > 0) client.ack(4, out.packetId)
    }
    return count
  }

  get held(): boolean {
    return this.publisher.link.state === 'held'
  }

  get dropped(): number {
    return this.world.notices.filter(({ code }) => code === 'queue-full').length
  }
}

describe('a publisher is paused before its messages are dropped', () => {
  test('at three quarters of the queue, until it is half empty', () => {
    const site = new Site()
    site.publish(50)
    site.take(site.reader, 1)
    expect(site.publish(1000)).toBeLessThan(100)
    expect(site.dropped).toBe(0)
    while (site.held) site.take(site.reader, 1)
    expect(site.world.broker.sessions.get('mqtt', 'reader')!.queueLength).toBe(50)
    // As often as it takes: 10,000 messages come through a queue of 100.
    let through = 0
    while (through < 10_000) {
      through += site.publish(1000)
      site.world.advance(1)
      site.take(site.reader, 60)
    }
    expect(site.dropped).toBe(0)
  })

  test('by bytes as well as by messages', () => {
    const site = new Site({ maxQueuedMessages: 100_000, maxQueuedBytes: 100_000 })
    site.publish(5, 'x'.repeat(1000))
    site.take(site.reader, 1)
    expect(site.publish(1000, 'x'.repeat(1000))).toBeLessThan(100)
    expect(site.held).toBe(true)
    expect(site.dropped).toBe(0)
    while (site.held) site.take(site.reader, 1)
    expect(site.world.broker.sessions.get('mqtt', 'reader')!.queuedBytes).toBeLessThanOrEqual(50_000)
  })
})

describe('a reader that does not read delays nobody', () => {
  test('one that has taken nothing for a while holds no publisher up, and loses what its queue does not hold', () => {
    const site = new Site()
    site.world.advance(2000)
    expect(site.publish(1000)).toBe(1000)
    expect(site.held).toBe(false)
    expect(site.dropped).toBeGreaterThan(800)
  })

  test('one that stops in the middle holds a publisher up for a second in all', () => {
    const site = new Site()
    site.publish(50)
    site.take(site.reader, 1)
    site.publish(1000)
    site.world.advance(999)
    expect(site.held).toBe(true)
    site.world.advance(1)
    expect(site.held).toBe(false)
    expect(site.publish(1000)).toBe(1000)
  })

  test('one that takes a message now and then, to look alive, does not either', () => {
    const site = new Site()
    site.publish(50)
    let heldMs = 0
    let published = 0
    // One message every 100 ms for ten minutes, in front of a publisher that never stops.
    for (let turn = 0; turn < 6000; turn++) {
      site.take(site.reader, 1)
      published += site.publish(10)
      for (let ms = 0; ms < 100; ms++) {
        if (site.held) heldMs++
        site.world.advance(1)
      }
    }
    // A second to begin with, and a millisecond for each of the 6000 messages.
    expect(heldMs).toBeLessThan(1000 + 6000)
    expect(published).toBeGreaterThan(0.9 * 60_000)
    expect(site.dropped).toBeGreaterThan(0)
  })

  test('many of them hold a publisher up no longer than one, and it is told in the log', () => {
    const site = new Site()
    const keeper = site.world.connect('keeper')
    for (let i = 1; i <= 80; i++) keeper.publish(`r/${i}`, 'x', 1, i, { retain: true })
    // What is retained fills their queues at once, and an acknowledgement now and then makes them drain.
    const readers = Array.from({ length: 20 }, (_, i) => site.world.connect(`slow ${i}`))
    for (const reader of readers) {
      reader.subscribe('r/#', 1)
      reader.subscribe('a', 1)
      reader.poll()
    }
    let heldMs = 0
    let published = 0
    for (let turn = 0; turn < 300; turn++) {
      if (turn % 5 === 0) for (const reader of readers) reader.ack(4, 1 + turn / 5)
      for (const reader of readers) reader.poll()
      published += site.publish(5)
      for (let ms = 0; ms < 100; ms++) {
        if (site.held) heldMs++
        site.world.advance(1)
      }
    }
    expect(heldMs).toBeLessThan(1000 + published)
    expect(published).toBeGreaterThan(0.7 * 1500)
    expect(site.world.notices.find(({ code }) => code === 'publisher-paused')).toMatchObject({
      level: 'debug',
      client: 'mqtt:publisher',
      reason: expect.stringMatching(/^\d+ messages, \d+ bytes wait for mqtt:/),
    })
  })

  test('a full socket holds nobody up: the others get everything at once', () => {
    const site = new Site()
    site.reader.link.listen(0, false)
    site.world.advance(2000)
    let got = 0
    for (let i = 0; i < 500; i++) {
      site.publisher.publish('a', 'x', 1, i + 1)
      got += site.take(site.other, 1)
    }
    expect(got).toBe(500)
    expect(site.held).toBe(false)
  })

  test.each([
    ['begins anew', { cleanStart: true }],
    ['is resumed', PERSISTENT],
  ])('a publisher is not held up for a session without a client, and goes on when that %s', (_, then) => {
    const world = new TestBroker({ limits: { maxQueuedMessages: 20, maxInflightMessages: 20 } })
    const away = world.connect('away', PERSISTENT)
    away.subscribe('a', 1)
    away.poll()
    const publisher = world.connect('publisher')
    for (let id = 1; id <= 20; id++) publisher.publish('a', 'x', 1, id)
    away.poll()
    world.advance(100)
    away.lost()
    for (let id = 21; id <= 60; id++) publisher.publish('a', 'x', 1, id)
    expect(publisher.link.state).toBe('open')
    world.connect('away', then).poll()
    world.advance(600_000)
    publisher.publish('a', 'x', 1, 61)
    expect(publisher.link.state).toBe('open')
  })

  test('each publisher is let go when its own patience ends', () => {
    const world = new TestBroker({ limits: { maxQueuedMessages: 100, maxInflightMessages: 5 } })
    const reader = world.connect('reader')
    reader.subscribe('a', 1)
    reader.poll()
    const [patient, other] = [world.connect('patient'), world.connect('other')]
    for (let id = 1; patient.link.state === 'open'; id++) {
      patient.publish('a', 'x', 1, id)
      reader.poll()
    }
    other.link.patienceMs = 10
    other.publish('a', 'x', 1, 1)
    expect([patient.link.state, other.link.state]).toEqual(['held', 'held'])
    world.advance(10)
    expect([patient.link.state, other.link.state]).toEqual(['held', 'open'])
    world.advance(989)
    expect(patient.link.state).toBe('held')
    world.advance(1)
    expect(patient.link.state).toBe('open')
  })

  test('a publisher is let go when the reader that held it up is gone', () => {
    const site = new Site()
    site.publish(50)
    site.take(site.reader, 1)
    site.publish(1000)
    expect(site.held).toBe(true)
    site.reader.lost()
    expect(site.held).toBe(false)
  })
})

describe('what a full queue drops', () => {
  const queued = (limits: Partial<BrokerLimits>, messages: readonly [string, QoS][]): string[] => {
    const world = new TestBroker({ limits: { queueQos0Messages: true, ...limits } })
    const reader = world.connect('reader', PERSISTENT)
    reader.subscribe('a', 2)
    reader.poll()
    reader.lost()
    const publisher = world.connect('publisher')
    for (const [i, [payload, qos]] of messages.entries()) publisher.publish('a', payload, qos, qos === 0 ? 0 : i + 1)
    const again = world.connect('reader', PERSISTENT)
    const got: string[] = []
    for (let out = again.link.poll(world.now); out !== undefined; out = again.link.poll(world.now)) {
      if (out.type === 0) got.push(text(out.message.payload))
    }
    return got
  }
  const four: [string, QoS][] = [
    ['1', 1],
    ['2', 1],
    ['3', 1],
    ['4', 1],
  ]

  test('drop_newest and drop_oldest', () => {
    expect(queued({ maxQueuedMessages: 2 }, four)).toEqual(['1', '2'])
    expect(queued({ maxQueuedMessages: 2, queueFull: 'drop_oldest' }, four)).toEqual(['3', '4'])
  })

  test('by bytes too, each message with its topic', () => {
    const large = four.map(([name, qos]): [string, QoS] => [name.repeat(49), qos])
    expect(queued({ maxQueuedBytes: 100 }, large)).toEqual(['1'.repeat(49), '2'.repeat(49)])
    expect(queued({ maxQueuedBytes: 100, queueFull: 'drop_oldest' }, large)).toEqual(['3'.repeat(49), '4'.repeat(49)])
  })

  test('QoS 0 goes first, under either rule', () => {
    const mixed: [string, QoS][] = [
      ['zero', 0],
      ['one', 1],
      ['zero again', 0],
      ['two', 2],
      ['three', 1],
    ]
    expect(queued({ maxQueuedMessages: 3 }, mixed)).toEqual(['one', 'two', 'three'])
    expect(queued({ maxQueuedMessages: 3, queueFull: 'drop_oldest' }, mixed)).toEqual(['one', 'two', 'three'])
  })

  test('as much QoS 0 goes as takes the room that is needed, the oldest first', () => {
    const zeros = Array.from({ length: 5000 }, (): [string, QoS] => ['0', 0])
    expect(queued({ maxQueuedMessages: 5000 }, [...zeros, ['one', 1]])).toEqual([...new Array(4999).fill('0'), 'one'])
    // Each has a byte of topic, too.
    const large = 'x'.repeat(9001)
    const got = queued({ maxQueuedMessages: 10_000, maxQueuedBytes: 10_000 }, [...zeros, [large, 1]])
    expect(got).toEqual([...new Array(499).fill('0'), large])
  })

  test('a message with QoS 0 never takes the place of another', () => {
    expect(queued({ maxQueuedMessages: 2, queueFull: 'drop_oldest' }, [...four.slice(0, 2), ['zero', 0]])).toEqual(['1', '2'])
  })
})
