import { beforeEach, expect, test } from 'vitest'
import { PacketType, type Subscribe } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../src/mqtt/properties.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { Dialling, Owner } from './pair.ts'
import { ScriptedFar } from './scripted-far.ts'

const { SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK } = PacketType

let near: Dialling
let far: ScriptedFar
let owner: Owner
let link: UpstreamLink

beforeEach(() => {
  near = new Dialling()
  far = new ScriptedFar(near)
  owner = new Owner()
  link = near.open(owner, {}, { version: 5 })
})

function reconnect(sessionPresent: boolean): void {
  far.sessionPresent = sessionPresent
  far.close()
  near.advance(10_000)
}

const asked = (got = far.got): string[] =>
  got.flatMap((packet) =>
    packet.type === SUBSCRIBE
      ? [packet.subscriptions.map(({ filter }) => filter).join()]
      : packet.type === UNSUBSCRIBE
        ? [`- ${packet.filters.join()}`]
        : [],
  )

test('subscriptions are made over the first stream, and again only if the far side has lost the session', () => {
  near.subscribe(link, 1, { filter: 'a' }, { filter: 'b' })
  expect(asked()).toEqual([])
  near.connect(link)
  expect(asked()).toEqual(['a,b'])
  expect(owner.ids(SUBACK)).toEqual([1])
  reconnect(true)
  expect(asked()).toEqual(['a,b'])
  reconnect(false)
  expect(asked()).toEqual(['a,b', 'a,b'])
  // The owner has its answer already.
  expect(owner.ids(SUBACK)).toEqual([1])
})

test('a request whose answer was lost with the stream is sent again', () => {
  far.script = (packet) => (packet.type === SUBSCRIBE ? undefined : 'usual')
  near.connect(link)
  near.subscribe(link, 5, { filter: 'a' })
  far.script = () => 'usual'
  reconnect(true)
  expect(asked()).toEqual(['a', 'a'])
  expect(owner.ids(SUBACK)).toEqual([5])
})

test('what was unsubscribed is not subscribed again', () => {
  near.connect(link)
  near.subscribe(link, 1, { filter: 'a' }, { filter: 'b' })
  link.send(near.now, { type: UNSUBSCRIBE, packetId: 2, filters: ['a'], properties: NO_PROPERTIES })
  near.run()
  expect(owner.ids(UNSUBACK)).toEqual([2])
  reconnect(false)
  expect(asked(far.stream.got)).toEqual(['b'])
})

test('options and identifiers stay, and no SUBSCRIBE of the link has more than eight filters', () => {
  near.connect(link)
  const filters = Array.from({ length: 20 }, (_, i) => ({
    filter: `f/${i}`,
    qos: 1 as const,
    noLocal: true,
    retainHandling: 1 as const,
  }))
  link.send(near.now, {
    type: SUBSCRIBE,
    packetId: 1,
    subscriptions: filters.map((each) => ({ ...each, retainAsPublished: true })),
    properties: { subscriptionIdentifiers: [7] },
  })
  near.subscribe(link, 2, { filter: 'other' })
  reconnect(false)
  const again = far.stream.got.filter((packet): packet is Subscribe => packet.type === SUBSCRIBE)
  expect(again.map(({ subscriptions }) => subscriptions.length).sort()).toEqual([1, 4, 8, 8])
  expect(again[0]).toMatchObject({ properties: { subscriptionIdentifiers: [7] } })
  expect(again[0]!.subscriptions[0]).toEqual({ filter: 'f/0', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 1 })
})

test('a filter that is refused is told once, and the others work', () => {
  far.script = (packet) =>
    packet.type === SUBSCRIBE
      ? {
          ...{ type: SUBACK, packetId: packet.packetId, properties: NO_PROPERTIES },
          reasonCodes: packet.subscriptions.map(({ filter }) => (filter === 'no' ? 0x87 : 1)),
        }
      : 'usual'
  near.connect(link)
  near.subscribe(link, 1, { filter: 'no' }, { filter: 'yes' })
  reconnect(false)
  reconnect(false)
  expect(owner.got.find(({ type }) => type === SUBACK)).toMatchObject({ reasonCodes: [0x87, 1] })
  expect(near.codes().filter((line) => line.startsWith('upstream-refused'))).toEqual([
    'upstream-refused: subscription to no: not authorized (0x87)',
  ])
})

/** Answers SUBSCRIBE with this code for the filter `no`. */
function refuse(code: () => number): void {
  far.script = (packet) =>
    packet.type === SUBSCRIBE
      ? {
          ...{ type: SUBACK, packetId: packet.packetId, properties: NO_PROPERTIES },
          reasonCodes: packet.subscriptions.map(({ filter }) => (filter === 'no' ? code() : 1)),
        }
      : 'usual'
}

test('what found no room at the far side is asked for again over the same stream, with the backoff, until it does', () => {
  let code = 0x97
  refuse(() => code)
  near.connect(link)
  near.subscribe(link, 1, { filter: 'no' }, { filter: 'yes' })
  near.advance(600_000)
  const attempts = asked().slice(1)
  expect(new Set(attempts)).toEqual(new Set(['no']))
  expect(attempts.length).toBeGreaterThan(5)
  expect(attempts.length).toBeLessThan(40)
  code = 1
  near.advance(120_000)
  const before = asked().length
  near.advance(600_000)
  expect(asked()).toHaveLength(before)
  // Its owner has been told once.
  expect(owner.ids(SUBACK)).toEqual([1])
})

test('what is refused for good is asked for again over the next stream only', () => {
  refuse(() => 0x87)
  near.connect(link)
  near.subscribe(link, 1, { filter: 'no' }, { filter: 'yes' })
  near.advance(600_000)
  expect(asked()).toEqual(['no,yes'])
  reconnect(true)
  near.advance(600_000)
  expect(asked()).toEqual(['no,yes', 'no'])
})

test('what the owner has given up since is not asked for again', () => {
  refuse(() => 0x97)
  near.connect(link)
  near.subscribe(link, 1, { filter: 'no' })
  link.send(near.now, { type: UNSUBSCRIBE, packetId: 2, filters: ['no'], properties: NO_PROPERTIES })
  near.advance(600_000)
  reconnect(true)
  expect(asked()).toEqual(['no', '- no'])
})

test('what the far side does not have is not asked for', () => {
  far.connack = {
    ...{ wildcardSubscriptionAvailable: false, sharedSubscriptionAvailable: false },
    subscriptionIdentifiersAvailable: false,
  }
  near.connect(link)
  link.send(near.now, {
    type: SUBSCRIBE,
    packetId: 1,
    subscriptions: ['a', 'b/+', '$share/g/c', 'd'].map((filter) => ({
      ...{ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
    })),
    properties: { subscriptionIdentifiers: [1] },
  })
  near.subscribe(link, 2, { filter: '#' })
  expect(asked()).toEqual(['a,d'])
  expect(far.got.find(({ type }) => type === SUBSCRIBE)).toMatchObject({ properties: {} })
  expect(owner.got.filter(({ type }) => type === SUBACK)).toMatchObject([
    { packetId: 2, reasonCodes: [0xa2] },
    { packetId: 1, reasonCodes: [1, 0xa2, 0x9e, 1] },
  ])
})

test('packet ids of requests are not those of messages in flight', () => {
  far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
  near.connect(link)
  near.publish(link, 'a', 'x', 1, 65_535)
  near.subscribe(link, 65_535, { filter: 'a' })
  expect(far.of(SUBSCRIBE)).toEqual(['65534'])
  expect(owner.ids(SUBACK)).toEqual([65_535])
  // The other way round the message waits.
  far.script = (packet) => (packet.type === SUBSCRIBE ? undefined : 'usual')
  near.subscribe(link, 1, { filter: 'b' })
  near.publish(link, 'a', 'x', 1, 65_533)
  expect(far.of(PacketType.PUBLISH)).toEqual(['65535'])
  far.send({ type: SUBACK, packetId: 65_533, reasonCodes: [1], properties: NO_PROPERTIES })
  near.run()
  expect(far.of(PacketType.PUBLISH)).toEqual(['65535', '65533'])
})

test('an answer to no request is told once; one that does not come ends the stream', () => {
  far.script = (packet) =>
    packet.type === SUBSCRIBE
      ? { type: SUBACK, packetId: packet.packetId - 7, reasonCodes: [0], properties: NO_PROPERTIES }
      : 'usual'
  near.connect(link)
  near.subscribe(link, 1, { filter: 'a' })
  expect(near.codes().at(-1)).toBe('upstream-limited: SUBACK for a packet id that no request has: ignored')
  near.advance(31_000)
  expect(link.status.lastError).toBe('SUBSCRIBE is not answered within 30 s')
  far.script = () => 'usual'
  near.advance(10_000)
  expect(owner.ids(SUBACK)).toEqual([1])
})
