import { beforeEach, describe, expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { Dialling, Owner, response } from './pair.ts'
import { ScriptedFar } from './scripted-far.ts'

const { PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT } = PacketType

let near: Dialling
let far: ScriptedFar
let owner: Owner
let link: UpstreamLink

beforeEach(() => {
  near = new Dialling()
  far = new ScriptedFar(near)
  // The far side's own part of the exchange is what each test sends.
  far.script = (packet) => (packet.type === PUBREC ? undefined : 'usual')
  owner = new Owner()
  owner.acknowledges = false
  link = near.open(owner, {}, { version: 5 })
  near.connect(link)
})

function reconnect(sessionPresent = true): void {
  far.sessionPresent = sessionPresent
  far.close()
  near.advance(10_000)
  expect(link.status.state).toBe('up')
}

const answer = (type: 4 | 5 | 7, packetId: number, reasonCode = 0): void => {
  link.send(near.now, response(type, packetId, reasonCode))
  near.run()
}
const texts = (): string[] => owner.messages.map(({ text }) => text)

test('nothing is answered before the owner does', () => {
  far.publish('a', 'one', 1, 1)
  far.publish('a', 'two', 2, 2)
  expect(far.of(PUBACK)).toEqual([])
  answer(PUBREC, 2)
  answer(PUBACK, 1)
  expect(far.got.slice(-2)).toMatchObject([
    { type: PUBREC, packetId: 2 },
    { type: PUBACK, packetId: 1 },
  ])
  far.send(response(PUBREL, 2))
  near.run()
  expect(owner.ids(PUBREL)).toEqual([2])
  expect(far.of(PUBCOMP)).toEqual([])
  answer(PUBCOMP, 2)
  expect(far.of(PUBCOMP)).toEqual(['2'])
  expect(link.inbound.unanswered).toBe(0)
  expect(near.upstream.held.sum).toBe(0)
})

test('reason codes of the owner go along', () => {
  far.publish('a', 'one', 1, 1)
  answer(PUBACK, 1, 0x87)
  expect(far.got.at(-1)).toMatchObject({ type: PUBACK, packetId: 1, reasonCode: 0x87 })
})

describe('a message that comes again', () => {
  test('while the owner has it is not handed out twice, and its answer goes over the stream that is up', () => {
    far.publish('a', 'one', 1, 1)
    far.publish('a', 'two', 2, 2)
    reconnect()
    far.publish('a', 'one', 1, 1, {}, true)
    far.publish('a', 'two', 2, 2, {}, true)
    expect(texts()).toEqual(['one', 'two'])
    answer(PUBACK, 1)
    answer(PUBREC, 2)
    expect(far.of(PUBACK, far.stream.got)).toEqual(['1'])
    expect(far.of(PUBREC, far.stream.got)).toEqual(['2'])
  })

  test('with QoS 2 is the same without DUP: Mosquitto has forgotten in a crash that it had sent it', () => {
    for (const isAnswered of [false, true]) {
      far.publish('a', 'one', 2, 1)
      far.sessionPresent = true
      far.close()
      if (isAnswered) answer(PUBREC, 1)
      near.advance(10_000)
      far.publish('a', 'one', 2, 1)
      if (!isAnswered) answer(PUBREC, 1)
      expect(texts()).toEqual(['one'])
      expect(far.of(PUBREC, far.stream.got)).toEqual(['1'])
      far.send(response(PUBREL, 1))
      near.run()
      answer(PUBCOMP, 1)
      expect(far.of(PUBCOMP, far.stream.got)).toEqual(['1'])
      owner.messages.length = 0
    }
  })

  test('and has other content than the one that is held, waits behind that', () => {
    far.publish('a', 'one', 2, 1)
    reconnect()
    far.publish('a', 'new', 2, 1)
    expect(texts()).toEqual(['one'])
    answer(PUBREC, 1)
    expect(far.of(PUBREC, far.stream.got)).toEqual([])
    expect(owner.ids(PUBREL)).toEqual([1])
    answer(PUBCOMP, 1)
    expect(texts()).toEqual(['one', 'new'])
  })

  test('and was answered while no stream was up, is answered at once', () => {
    far.publish('a', 'one', 1, 1)
    far.publish('a', 'two', 2, 2)
    far.sessionPresent = true
    far.close()
    answer(PUBACK, 1)
    answer(PUBREC, 2)
    near.advance(10_000)
    // Not before they come again: the far side could take it for the answer to the next message with this packet id.
    expect(far.of(PUBACK)).toEqual([])
    far.publish('a', 'one', 1, 1, {}, true)
    far.publish('a', 'two', 2, 2, {}, true)
    expect(texts()).toEqual(['one', 'two'])
    expect(far.of(PUBACK)).toEqual(['1'])
    expect(far.of(PUBREC)).toEqual(['2'])
    far.send(response(PUBREL, 2))
    near.run()
    expect(owner.ids(PUBREL)).toEqual([2])
  })

  test('behind another that was answered in vain, is handed out again too, so that the last one is last', () => {
    for (const isAnswered of [false, true]) {
      far.publish('a', 'one', 1, 1)
      far.publish('a', 'two', 1, 2)
      answer(PUBACK, 1)
      // PUBACK of the first is lost.
      far.sessionPresent = true
      far.close()
      if (isAnswered) answer(PUBACK, 2)
      near.advance(10_000)
      far.publish('a', 'one', 1, 1, {}, true)
      far.publish('a', 'two', 1, 2, {}, true)
      if (!isAnswered) {
        expect(texts()).toEqual(['one', 'two', 'one'])
        answer(PUBACK, 2)
      }
      expect(far.of(PUBACK, far.stream.got)).toEqual([])
      expect(texts()).toEqual(['one', 'two', 'one', 'two'])
      answer(PUBACK, 1)
      answer(PUBACK, 2)
      expect(far.of(PUBACK, far.stream.got)).toEqual(['1', '2'])
      expect(near.upstream.held.sum).toBe(0)
      owner.messages.length = 0
    }
  })

  test('late, as with NATS, is waited for with the answer that the owner gave meanwhile', () => {
    far.publish('a', 'one', 1, 1)
    reconnect()
    answer(PUBACK, 1)
    expect(far.of(PUBACK)).toEqual([])
    near.advance(20_000)
    far.publish('a', 'one', 1, 1, {}, true)
    expect(far.of(PUBACK)).toEqual(['1'])
    far.publish('a', 'next', 1, 1)
    expect(texts()).toEqual(['one', 'next'])
  })

  test.each([
    ['before it', true],
    ['after it', false],
  ])(
    'under another packet id, behind which nothing is repeated: its answer, which the owner gives %s, is not kept',
    (_when, isFirst) => {
      // A broker that is restarted numbers messages with QoS 1 anew.
      far.publish('a', 'one', 1, 1)
      far.sessionPresent = true
      far.close()
      if (isFirst) answer(PUBACK, 1)
      near.advance(10_000)
      far.publish('a', 'one', 1, 2)
      if (!isFirst) answer(PUBACK, 1)
      answer(PUBACK, 2)
      expect(texts()).toEqual(['one', 'one'])
      expect(far.of(PUBACK)).toEqual(['2'])
      expect(link.inbound.unanswered).toBe(0)
      expect(near.upstream.held.sum).toBe(0)
      far.publish('a', 'next', 1, 1)
      answer(PUBACK, 1)
      expect(far.of(PUBACK)).toEqual(['2', '1'])
    },
  )

  test('after PUBREC is given to the owner, which has the receipt', () => {
    far.publish('a', 'two', 2, 2)
    answer(PUBREC, 2)
    reconnect()
    far.publish('a', 'two', 2, 2, {}, true)
    expect(texts()).toEqual(['two', 'two'])
    expect(owner.messages[1]!.dup).toBe(true)
  })

  test('after PUBREC and has other content, waits until the owner has completed that: the session was lost, and no CONNACK said so', () => {
    far.publish('a', 'old', 2, 5)
    answer(PUBREC, 5)
    reconnect()
    far.publish('a', 'new', 2, 5)
    expect(texts()).toEqual(['old'])
    expect(owner.ids(PUBREL)).toEqual([5])
    answer(PUBCOMP, 5)
    expect(far.of(PUBCOMP)).toEqual([])
    expect(texts()).toEqual(['old', 'new'])
    answer(PUBREC, 5)
    far.send(response(PUBREL, 5))
    near.run()
    answer(PUBCOMP, 5)
    expect(far.of(PUBCOMP)).toEqual(['5'])
    expect(near.upstream.held.sum).toBe(0)
  })

  test('under a packet id that the far side has forgotten and uses for QoS 1: the receipt is released before', () => {
    far.publish('a', 'two', 2, 2)
    answer(PUBREC, 2)
    reconnect()
    far.publish('a', 'one', 1, 2)
    expect(owner.ids(PUBREL)).toEqual([2])
    answer(PUBCOMP, 2)
    expect(far.of(PUBCOMP)).toEqual([])
    expect(texts()).toEqual(['two', 'one'])
    answer(PUBACK, 2)
    expect(far.of(PUBACK)).toEqual(['2'])
    expect(link.inbound.unanswered).toBe(0)
  })

  test('PUBREL comes again, and the owner has it', () => {
    far.publish('a', 'two', 2, 2)
    answer(PUBREC, 2)
    far.send(response(PUBREL, 2))
    near.run()
    reconnect()
    far.send(response(PUBREL, 2))
    near.run()
    expect(owner.ids(PUBREL)).toEqual([2])
    answer(PUBCOMP, 2)
    expect(far.of(PUBCOMP)).toEqual(['2'])
  })
})

describe('the far side has lost the session', () => {
  test('answers that belong to the old one are not sent, and packet ids are free', () => {
    far.publish('a', 'old', 1, 1)
    reconnect(false)
    far.publish('a', 'new', 1, 1)
    expect(texts()).toEqual(['old', 'new'])
    answer(PUBACK, 1)
    expect(far.of(PUBACK)).toEqual([])
    answer(PUBACK, 1)
    expect(far.of(PUBACK)).toEqual(['1'])
  })

  test('receipts of the owner are released before a new message has the packet id', () => {
    far.publish('a', 'received', 2, 1)
    answer(PUBREC, 1)
    far.publish('a', 'held', 2, 2)
    reconnect(false)
    expect(owner.ids(PUBREL)).toEqual([1, 2])
    far.publish('a', 'new', 2, 1)
    // The old ones: PUBCOMP of 1; PUBREC and PUBCOMP of 2.
    answer(PUBCOMP, 1)
    answer(PUBREC, 2)
    answer(PUBCOMP, 2)
    expect(far.of(PUBCOMP)).toEqual([])
    expect(far.of(PUBREC)).toEqual(['1'])
    answer(PUBREC, 1)
    expect(far.of(PUBREC)).toEqual(['1', '1'])
  })

  test('also receipts from before a restart of this process', () => {
    const second = near.open(owner, { name: 'restarted' }, { version: 5 })
    second.restoreReceipts([5, 6], () => true)
    near.connect(second)
    expect(owner.ids(PUBREL)).toEqual([5, 6])
    for (const id of [5, 6]) second.send(near.now, response(PUBCOMP, id))
    near.run()
    expect(far.of(PUBCOMP)).toEqual([])
    expect(second.inbound.unanswered).toBe(0)
  })

  test('receipts from before a restart, and the far side has the session', () => {
    const second = near.open(owner, { name: 'restarted' }, { version: 5 })
    second.restoreReceipts([5], () => true)
    far.sessionPresent = true
    near.connect(second)
    expect(owner.ids(PUBREL)).toEqual([])
    far.send(response(PUBREL, 5))
    near.run()
    expect(owner.ids(PUBREL)).toEqual([5])
  })
})

describe('an owner that takes nothing', () => {
  test('gets nothing while it does not listen, but control packets', () => {
    link.listen(near.now, false)
    far.publish('a', 'one', 1, 1)
    near.publish(link, 'b', 'x', 1, 7)
    expect(texts()).toEqual([])
    expect(owner.ids(PUBACK)).toEqual([7])
    expect(link.backlog).toBe(1)
    link.listen(near.now, true)
    near.run()
    expect(texts()).toEqual(['one'])
  })

  test('pauses the socket at 1,000 messages, which is read again when half of them are taken', () => {
    const paused: string[] = []
    near.seen = (out) => {
      if (out.kind === 'pause' || out.kind === 'resume') paused.push(out.kind)
    }
    link.listen(near.now, false)
    for (let i = 0; i < 1000; i++) far.publish('a', `${i}`, 0, 0)
    expect(paused).toEqual(['pause'])
    // Silence is ours: no PINGRESP is missed.
    near.advance(300_000)
    expect(link.status.state).toBe('up')
    link.listen(near.now, true)
    near.run()
    expect(paused).toEqual(['pause', 'resume'])
    expect(texts()).toHaveLength(1000)
    expect(near.upstream.held.sum).toBe(0)
  })

  test('declines a message: it comes again over the next stream', () => {
    far.sessionPresent = true
    far.publish('a', 'one', 1, 1)
    link.decline(near.now, 1, 'the store is full')
    near.run()
    expect(far.stream.got.at(-1)).toMatchObject({ type: DISCONNECT, reasonCode: 0x97 })
    near.advance(10_000)
    expect(link.status).toMatchObject({ state: 'up', lastError: 'the store is full' })
    far.publish('a', 'one', 1, 1, {}, true)
    expect(texts()).toEqual(['one', 'one'])
    answer(PUBACK, 1)
    expect(far.of(PUBACK)).toEqual(['1'])
  })
})

describe('messages behind one that waits for its packet id', () => {
  /** The owner has messages with these packet ids, and the far side begins to count anew. */
  function heldUnder(...packetIds: number[]): void {
    for (const packetId of packetIds) far.publish('a', `old ${packetId}`, 2, packetId)
    reconnect()
    owner.messages.length = 0
  }
  const complete = (packetId: number): void => {
    answer(PUBREC, packetId)
    answer(PUBCOMP, packetId)
  }

  test('do not overtake it, except with QoS 0, which has no packet id and would not come again', () => {
    heldUnder(1)
    far.publish('a', 'first', 2, 1)
    far.publish('a', 'second', 2, 2)
    far.publish('a', 'third', 1, 3)
    far.publish('a', 'unsaved', 0, 0)
    expect(texts()).toEqual(['unsaved'])
    expect(link.backlog).toBe(3)
    complete(1)
    expect(texts()).toEqual(['unsaved', 'first', 'second', 'third'])
    expect(far.of(PUBREC)).toEqual([])
    answer(PUBREC, 1)
    answer(PUBREC, 2)
    answer(PUBACK, 3)
    expect(far.of(PUBREC)).toEqual(['1', '2'])
    expect(far.of(PUBACK)).toEqual(['3'])
    // Nothing waits any more.
    far.publish('a', 'fourth', 1, 4)
    expect(texts().at(-1)).toBe('fourth')
  })

  test('come in order, up to the next one that waits for its packet id', () => {
    heldUnder(1, 2, 3)
    for (const packetId of [1, 4, 2, 5, 3]) far.publish('a', `new ${packetId}`, 2, packetId)
    complete(3)
    expect(texts()).toEqual([])
    complete(1)
    expect(texts()).toEqual(['new 1', 'new 4'])
    complete(2)
    expect(texts()).toEqual(['new 1', 'new 4', 'new 2', 'new 5', 'new 3'])
  })

  test('do not hold up the answer to what the owner has already', () => {
    heldUnder(1, 2)
    answer(PUBREC, 2)
    far.publish('a', 'new', 2, 1)
    far.publish('a', 'old 2', 2, 2, {}, true)
    expect(far.of(PUBREC, far.stream.got)).toEqual(['2'])
    expect(texts()).toEqual([])
  })

  test('wait once, however often they come', () => {
    heldUnder(1)
    far.publish('a', 'first', 1, 1)
    far.publish('a', 'second', 1, 2)
    far.publish('a', 'second', 1, 2, {}, true)
    far.publish('a', 'first', 1, 1, {}, true)
    complete(1)
    expect(texts()).toEqual(['first', 'second'])
  })

  test('weigh, and pause the socket', () => {
    const paused: string[] = []
    near.seen = (out) => {
      if (out.kind === 'pause' || out.kind === 'resume') paused.push(out.kind)
    }
    heldUnder(1)
    const before = near.upstream.held.sum
    far.publish('a', 'first', 1, 1)
    for (let packetId = 2; packetId < 12; packetId++) far.publish('a', 'x'.repeat(100_000), 1, packetId)
    expect(paused).toEqual([])
    expect(near.upstream.held.sum).toBeGreaterThan(before + 1_000_000)
    far.publish('a', 'x'.repeat(100_000), 1, 12)
    expect(paused).toEqual(['pause'])
    near.wipe()
    complete(1)
    expect(paused).toEqual(['pause', 'resume'])
    expect(texts().map((text) => text.slice(0, 5))).toEqual(['first', ...Array.from({ length: 11 }, () => 'xxxxx')])
    for (let packetId = 1; packetId <= 12; packetId++) answer(PUBACK, packetId)
    expect(link.inbound.unanswered).toBe(0)
    expect(near.upstream.held.sum).toBe(0)
  })

  test('are forgotten with the stream, over the next of which they come again', () => {
    heldUnder(1)
    const before = near.upstream.held.sum
    far.publish('a', 'first', 1, 1)
    far.publish('a', 'second', 1, 2)
    expect(link.inbound.unanswered).toBe(3)
    reconnect()
    expect(link.backlog).toBe(0)
    expect(link.inbound.unanswered).toBe(1)
    expect(near.upstream.held.sum).toBe(before)
    far.publish('a', 'first', 1, 1, {}, true)
    far.publish('a', 'second', 1, 2, {}, true)
    complete(1)
    expect(texts()).toEqual(['first', 'second'])
    answer(PUBACK, 1)
    answer(PUBACK, 2)
    expect(far.of(PUBACK, far.stream.got)).toEqual(['1', '2'])
    expect(near.upstream.held.sum).toBe(0)
  })

  test('are not acknowledged to a new session of the far side', () => {
    heldUnder(1)
    far.publish('a', 'first', 1, 1)
    far.publish('a', 'second', 1, 2)
    reconnect(false)
    // The owner has still to complete what it has; what it has not got is gone with the session.
    far.publish('a', 'new', 1, 2)
    expect(texts()).toEqual(['new'])
    complete(1)
    answer(PUBACK, 2)
    expect(texts()).toEqual(['new'])
    expect(far.of(PUBACK, far.stream.got)).toEqual(['2'])
    expect(link.inbound.unanswered).toBe(0)
    expect(near.upstream.held.sum).toBe(0)
  })

  test('are forgotten when the link rests, and when its owner begins anew', () => {
    for (const end of ['rest', 'forget'] as const) {
      const second = near.open(owner, { name: end }, { version: 5 })
      near.connect(second)
      far.publish('a', 'old', 1, 1)
      far.sessionPresent = true
      far.close()
      near.advance(10_000)
      const before = near.upstream.held.sum
      far.publish('a', 'first', 1, 1)
      far.publish('a', 'second', 1, 2)
      expect(second.inbound.waiting).toBe(2)
      if (end === 'rest') second.rest(near.now)
      else second.forget()
      near.run()
      expect(second.inbound.waiting).toBe(0)
      expect(near.upstream.held.sum).toBeLessThanOrEqual(before)
      second.send(near.now, response(PUBACK, 1))
      near.run()
      expect(near.upstream.held.sum).toBe(0)
      expect(texts()).not.toContain('first')
      owner.messages.length = 0
    }
  })
})

test('topic aliases of the far side are resolved, and its subscription identifiers removed', () => {
  const aliased = (topic: string, text: string): void =>
    far.publish(topic, text, 0, 0, { topicAlias: 3, subscriptionIdentifiers: [9], contentType: 'text' })
  aliased('a/b', 'one')
  aliased('', 'two')
  expect(owner.messages.map(({ topic, text }) => `${topic} ${text}`)).toEqual(['a/b one', 'a/b two'])
  expect(owner.properties).toEqual([{ contentType: 'text' }, { contentType: 'text' }])
  far.publish('', 'x', 0, 0, { topicAlias: 4 })
  expect(link.status.lastError).toBe('malformed packet: topic alias 4 was never set')
  expect(far.stream.got.at(-1)).toMatchObject({ type: DISCONNECT, reasonCode: 0x82 })
})

test('a message is kept beyond the turn without the buffer of the socket', () => {
  link.listen(near.now, false)
  far.publish('a', 'kept', 1, 1)
  near.wipe()
  link.listen(near.now, true)
  near.run()
  expect(texts()).toEqual(['kept'])
})
