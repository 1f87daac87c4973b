import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { COST } from '../../../src/base/memory-costs.ts'
import type { GatewayOptions } from '../../../src/gateway/gateway-options.ts'
import { OutgoingType } from '../../../src/mqtt/link.ts'
import { PacketType } from '../../../src/mqtt/packets.ts'
import type { Store } from '../../../src/store/store.ts'
import type { TestClient } from '../../broker/harness.ts'
import { type Surroundings, say, TestGateway } from '../harness.ts'
import { RefusingStore } from '../refusing-store.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
/** Topic `ab`: a short name is its own id. */
const said = (text: string, msgId: number) => say.publish(0x6162, text, 2, msgId, 'short')
const again = (text: string, msgId: number) => ({ ...said(text, msgId), dup: true })

/** A sensor `s` at `r` that is connected, and a reader of what it publishes. */
class Exchanges {
  world: TestGateway
  #reader: TestClient
  readonly #got: string[] = []

  constructor(options: Partial<GatewayOptions> = {}, store?: Store, around: Surroundings = {}) {
    this.world = new TestGateway(options, store, around)
    this.#reader = this.#read()
    this.world.send('r', say.connect('s', { clean: false, duration: 0 }))
    if (store instanceof DelayedStore) this.world.settle()
    this.world.sent('r')
  }

  #read(): TestClient {
    const reader = this.world.client('reader')
    reader.subscribe('ab', 2)
    return reader
  }

  /** A new process, which the sensor does not notice. */
  crash(): void {
    this.world = this.world.restarted(this.world.now)
    this.#reader = this.#read()
  }

  say(...messages: Parameters<TestGateway['send']>[1][]): string[] {
    this.world.send('r', ...messages)
    return this.world.sent('r')
  }

  /** What the reader has got since this was asked last. */
  got(): string[] {
    const { link } = this.#reader
    for (let out = link.poll(this.world.now); out !== undefined; out = link.poll(this.world.now)) {
      if (out.type === OutgoingType.DELIVERY) {
        this.#got.push(Buffer.from(out.message.payload).toString())
        this.#reader.ack(PacketType.PUBREC, out.packetId)
      } else if (out.type === PacketType.PUBREL) this.#reader.ack(PacketType.PUBCOMP, out.packetId)
    }
    return this.#got.splice(0)
  }

  get receipts(): number {
    return this.world.broker.sessions.get('sn', 's')?.receipts?.size ?? 0
  }
}

test.each(['at once', 'after an hour', 'after it has connected again'])(
  'a message with the id of one that was never released is another message, %s',
  (when) => {
    const s = new Exchanges()
    expect(s.say(said('1', 1))).toEqual(['PUBREC #1'])
    if (when === 'after an hour') s.world.advance(HOUR)
    if (when.startsWith('after it')) s.say(say.connect('s', { clean: false, duration: 0 }))
    s.world.notices.length = 0
    expect(s.say(said('2', 1), again('2', 1), say.pubrel(1))).toEqual(['PUBREC #1', 'PUBREC #1', 'PUBCOMP #1'])
    expect(s.got()).toEqual(['1', '2'])
    expect(s.receipts).toBe(0)
    expect(s.world.notices).toContainEqual(expect.objectContaining({ code: 'protocol-error', level: 'debug', client: 'sn:s' }))
  },
)

test('ids that begin anew now and then, of which one a day is left behind: all that is acknowledged arrives', () => {
  const s = new Exchanges()
  let id = 0
  for (let day = 0; day < 200; day++) {
    s.world.advance(24 * HOUR)
    s.say(say.connect('s', { clean: false, duration: 0 }))
    const texts = Array.from({ length: 20 }, (_, i) => `${day}-${i}`)
    for (const text of texts) {
      id = id === 777 ? 1 : id + 1
      s.world.now += 1
      expect(s.say(said(text, id))).toEqual([`PUBREC #${id}`])
      if (text !== texts.at(-1)) s.say(say.pubrel(id))
    }
    expect(s.got()).toEqual(texts)
    s.say(say.disconnect())
  }
})

test('messages that are left behind in one conversation after the other count at the broker no more than it allows', () => {
  const s = new Exchanges({}, undefined, { limits: { receiveMaximum: 20 } })
  for (let id = 1; id <= 60; id++) {
    s.world.advance(HOUR)
    const answers = s.say(say.connect('s', { clean: false }), said(`${id}`, id), say.disconnect())
    expect(answers).toEqual(['CONNACK', `PUBREC #${id}`, 'DISCONNECT'])
    expect(s.receipts).toBeLessThanOrEqual(20)
  }
  expect(s.got()).toHaveLength(60)
})

test('one that is left behind is recognised when its client comes back to it, after a restart too', () => {
  const store = new DelayedStore()
  const s = new Exchanges({}, store)
  s.say(said('1', 1))
  s.world.settle()
  expect(s.world.sent('r')).toEqual(['PUBREC #1'])
  const world = s.world.restarted()
  world.send('r', again('1', 1), say.pubrel(1))
  world.settle()
  expect(world.sent('r')).toEqual(['PUBREC #1', 'PUBCOMP #1'])
  expect(world.broker.sessions.get('sn', 's')?.receipts?.size).toBe(0)
})

test('a late copy is not taken for a new message while another one has its id, and is not answered in its place', () => {
  const s = new Exchanges()
  s.say(said('1', 1), say.pubrel(1))
  expect(s.say(said('2', 1))).toEqual(['PUBREC #1'])
  expect(s.say(said('1', 1))).toEqual([])
  expect(s.say(again('2', 1), say.pubrel(1))).toEqual(['PUBREC #1', 'PUBCOMP #1'])
  expect(s.got()).toEqual(['1', '2'])
})

test('a message does not take the id of one that the broker has still to answer', () => {
  const s = new Exchanges({}, new DelayedStore())
  expect(s.say(said('1', 1), said('2', 1))).toEqual([])
  s.world.settle()
  expect(s.world.sent('r')).toEqual(['PUBREC #1'])
  expect(s.say(again('2', 1))).toEqual([])
  s.world.settle()
  expect(s.world.sent('r')).toEqual(['PUBREC #1'])
  expect(s.got()).toEqual(['1', '2'])
})

test('QoS 1 and QoS 2 may have the same id', () => {
  const s = new Exchanges({ uplinkMessages: 1 })
  expect(s.say(said('1', 1))).toEqual(['PUBREC #1'])
  s.world.advance(11_000)
  expect(s.say(say.publish(0x6162, '2', 1, 1, 'short'))).toEqual(['PUBACK 6162 #1'])
  expect(s.say(say.pubrel(1))).toEqual(['PUBCOMP #1'])
  expect(s.got()).toEqual(['1', '2'])
})

test('ids that are over leave memory and store', () => {
  const store = new DelayedStore()
  const s = new Exchanges({}, store)
  const before = s.world.gateway.topicIdTotals.bytes
  for (let id = 1; id <= 600; id++) {
    s.world.now += 1
    s.say(said('x', id), say.pubrel(id))
    if (id % 20 === 0) s.world.settle()
  }
  expect(s.world.gateway.topicIdTotals.bytes - before).toBe(COST.qos2Ids + 1024 * 20)
  s.world.advance(HOUR)
  s.world.settle()
  expect(s.world.gateway.topicIdTotals.bytes).toBe(before)
  expect(s.world.gateway.client('s')!.inbound.qos2.size).toBe(0)
  const rows = [...store.crash({ folded: store.durable }).replay()].filter(({ type }) => type === 'sn-qos2')
  expect(rows).toEqual([])
})

test('several hundred exchanges within a minute are remembered after a restart', () => {
  const store = new DelayedStore()
  const s = new Exchanges({}, store)
  for (let id = 1; id <= 400; id++) {
    s.say(said(`${id}`, id), say.pubrel(id))
    if (id % 20 === 0) s.world.settle()
  }
  s.world.settle()
  const world = s.world.restarted()
  for (const id of [1, 145, 256, 257, 400]) world.send('r', again(`${id}`, id))
  world.settle()
  expect(world.notices.filter(({ reason }) => reason?.startsWith('late copy'))).toHaveLength(5)
})

test('PUBREL with an id that stands for nothing is answered, and told', () => {
  const s = new Exchanges()
  expect(s.say(say.pubrel(77))).toEqual(['PUBCOMP #77'])
  expect(s.world.notices.at(-1)).toMatchObject({ code: 'protocol-error', level: 'debug', client: 'sn:s' })
  s.say(said('1', 1), say.pubrel(1))
  s.world.notices.length = 0
  expect(s.say(say.pubrel(1))).toEqual(['PUBCOMP #1'])
  expect(s.world.notices).toEqual([])
})

test('whatever a client leaves and says with one message id, through reboots and crashes: all of it arrives once', () => {
  const saying = fc.record({
    released: fc.boolean(),
    copies: fc.nat(2),
    after: fc.constantFrom('nothing', 'a reboot', 'a crash'),
    gapSeconds: fc.constantFrom(1, 5, 100),
  })
  const property = fc.property(fc.array(saying, { minLength: 2, maxLength: 6 }), (sayings) => {
    const s = new Exchanges({}, new DelayedStore())
    const say1 = (...messages: Parameters<TestGateway['send']>[1][]): string[] => {
      const answers = s.say(...messages)
      s.world.settle()
      return [...answers, ...s.world.sent('r')]
    }
    for (const [i, { released, copies, after, gapSeconds }] of sayings.entries()) {
      const [text, before] = [`${i}`, `${i - 1}`]
      const answers = say1(said(text, 7), ...Array.from({ length: copies }, () => again(text, 7)))
      expect(answers).toContain('PUBREC #7')
      expect(s.got()).toEqual([text])
      if (released) say1(say.pubrel(7))
      if (i > 0 && sayings[i - 1]!.gapSeconds < 60) say1(again(before, 7))
      expect(s.got()).toEqual([])
      if (after === 'a crash') s.crash()
      s.world.advance(gapSeconds * 1000)
      if (after === 'a reboot') say1(say.connect('s', { clean: false, duration: 0 }))
      expect(s.got()).toEqual([])
    }
  })
  fc.assert(property, { numRuns: 200 })
})

test.each(['everything', 'the broker alone'])(
  'PUBREL meets a store that refuses %s: what comes next under its id is another message',
  (what) => {
    const store = new RefusingStore()
    const s = new Exchanges({}, store)
    s.say(said('1', 1))
    store.refuses = (type) => what === 'everything' || type === 'released'
    expect(s.say(say.pubrel(1))).toEqual(['DISCONNECT'])
    store.refuses = () => false
    s.world.advance(HOUR)
    expect(s.say(say.connect('s', { clean: false, duration: 0 }), said('2', 1), say.pubrel(1))).toEqual([
      'CONNACK',
      'PUBREC #1',
      'PUBCOMP #1',
    ])
    expect(s.got()).toEqual(['1', '2'])
  },
)

test('what a client has released is released at the broker when it comes back, although the broker could not record it before', () => {
  const store = new RefusingStore()
  const s = new Exchanges({}, store)
  for (let id = 1; id <= 50; id++) {
    s.say(said(`${id}`, id))
    store.refuses = (type) => type === 'released'
    s.say(say.pubrel(id))
    store.refuses = () => false
    s.say(say.connect('s', { clean: false, duration: 0 }))
    expect(s.receipts).toBe(0)
  }
  // The client asks again for the PUBCOMP that it has not got.
  expect(s.say(say.pubrel(50))).toEqual(['PUBCOMP #50'])
  expect(s.got()).toHaveLength(50)
})
