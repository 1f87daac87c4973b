import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByteReader, ByteWriter } from '../src/base/bytes.ts'
import { readSavedState, type SavedState } from '../src/mosquitto/persistence-file.ts'
import { StateRecords } from '../src/mosquitto/state-records.ts'
import { readRecord, writeRecord } from '../src/store/records.ts'
import type { StoreRecord } from '../src/store/store.ts'
import { type EncodedMessage, type EncodedPlace, fileOf, type Layout, StateEncoder } from '../test/mosquitto/encode-state.ts'
import { runs } from './runs.ts'

const text = fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme-ascii' }).map((name) => name.replaceAll(/[+#]/g, '_'))
const layout: fc.Arbitrary<Layout> = fc.record({
  format: fc.constantFrom(5, 6),
  machine: fc.constantFrom('x86-64', 'i386', 'mips'),
})
const qos = fc.integer({ min: 0, max: 2 })
const seconds = fc.constantFrom(0, 1_000, 1_800_000_000, 4_000_000_000)

const message = fc.record({
  topic: text,
  payload: fc.uint8Array({ maxLength: 20 }),
  qos,
  retain: fc.boolean(),
  sourceId: fc.constantFrom('', 'one', 'other'),
  sourceUsername: fc.constantFrom('', 'ann'),
  expiresAt: seconds,
  properties: fc.constantFrom({}, { contentType: 'text/plain' }, { userProperties: [['a', 'b']] as [string, string][] }),
})
const place = fc.record({
  at: fc.nat(9),
  client: fc.nat(4),
  packetId: fc.constantFrom(0, 1, 2, 65_535),
  qos,
  state: fc.constantFrom(2, 3, 4, 5, 6, 7, 9, 11),
  retain: fc.boolean(),
  direction: fc.constantFrom<0 | 1>(0, 1),
  identifier: fc.constantFrom(0, 7, 268_435_455),
})
const site = fc.record({
  layout,
  messages: fc.array(message, { maxLength: 8 }),
  sessions: fc.array(
    fc.record({ username: fc.constantFrom('', 'ann'), expiresAt: seconds, expiry: fc.constantFrom(0, 60, 0xffff_ffff) }),
    { maxLength: 4 },
  ),
  places: fc.array(place, { maxLength: 12 }),
  filters: fc.array(fc.record({ client: fc.nat(4), filter: fc.constantFrom('#', '+', 'a/b', '#/no'), qos }), { maxLength: 6 }),
  retained: fc.array(fc.nat(9), { maxLength: 4 }),
})
type Site = typeof site extends fc.Arbitrary<infer T> ? T : never

/** Clients and messages are named by their places, of which some are not in the file. */
const clientId = (at: number): string => `client ${at}`
const numbered = (at: number): bigint => BigInt(at + 1) * 3n

/** Mosquitto never has a message in a state of the other direction. */
const isPossible = ({ direction, state }: { direction: 0 | 1; state: number }): boolean =>
  direction === 0 ? state === 7 || state === 11 : state !== 7

function written({ layout: how, messages, sessions, places, filters, retained }: Site): Uint8Array {
  const encoder = new StateEncoder(how)
  messages.forEach((one, at) => void encoder.message({ number: numbered(at), ...one } satisfies EncodedMessage))
  sessions.forEach((one, at) => void encoder.session({ clientId: clientId(at), lastPacketId: 7, ...one }))
  for (const { at, client, ...one } of places.filter(isPossible))
    encoder.place({ number: numbered(at), clientId: clientId(client), ...one } satisfies EncodedPlace)
  for (const { client, ...one } of filters)
    encoder.subscription({ clientId: clientId(client), options: 0x0c, identifier: 3, ...one })
  for (const at of new Set(retained)) encoder.retained(numbered(at))
  return new Uint8Array(encoder.bytes())
}

const NOW = 1_700_000_000_000

/** All records of a file, each as it comes back from the store. */
function recordsOf(state: SavedState, bytes: Uint8Array): StoreRecord[] {
  const records = new StateRecords(state, {
    now: NOW,
    usersVerified: true,
    payloadOf: ({ payloadAt, payloadLength }) => bytes.subarray(payloadAt, payloadAt + payloadLength),
  })
  return Array.from(records.records(), (record) => {
    const w = new ByteWriter()
    writeRecord(w, record)
    const back = readRecord(new ByteReader(w.toBytes()))
    expect(back).toEqual(record)
    return back!
  })
}

/** Each session that goes on has its messages in their order: that of their ids, as after a restart. */
function expectQueues({ messages, sessions, places }: Site, records: readonly StoreRecord[]): void {
  const isOver = (expiresAt: number): boolean => expiresAt > 0 && expiresAt * 1000 <= NOW
  const posted = records.flatMap((record) => (record.type === 'message' ? [record] : [])).sort((a, b) => a.id - b.id)
  expect(new Set(posted.map(({ id }) => id)).size).toBe(posted.length)
  sessions.forEach(({ expiry, expiresAt }, at) => {
    const key = `mqtt:${clientId(at)}`
    // Those that came from a publisher's own exchange have a receipt, and are behind the others.
    const queue = posted.filter(({ deliveries, receipt }) => receipt === undefined && deliveries.some((one) => one.key === key))
    const isEnded = expiry === 0 || (expiry !== 0xffff_ffff && isOver(expiresAt))
    const expected = places.flatMap(({ client, direction, at: number, ...place }) => {
      const message = messages[number]
      const isOut = client === at && direction === 1 && isPossible({ direction, state: place.state })
      return isOut && message !== undefined && !isOver(message.expiresAt) ? [message.topic] : []
    })
    expect(queue.map(({ message: { topic } }) => topic)).toEqual(isEnded ? [] : expected)
  })
}

test('what Mosquitto writes is read as it was, on each machine and in both formats', () => {
  fc.assert(
    fc.property(site, (given) => {
      const bytes = written(given)
      const state = readSavedState(fileOf(bytes)) as SavedState
      expect(state).toMatchObject({ format: given.layout.format, atEnd: true })
      expect(state.messages.size).toBe(given.messages.length)
      given.messages.forEach((one, at) => {
        const { payloadAt, payloadLength, ...found } = state.messages.get(numbered(at))!
        const { payload, sourceUsername, ...expected } = one
        expect(found).toEqual({ ...expected, number: numbered(at), sourceUsername: sourceUsername || undefined })
        expect(bytes.subarray(payloadAt, payloadAt + payloadLength)).toEqual(new Uint8Array(payload))
      })
      given.sessions.forEach((one, at) => {
        const found = state.sessions.get(clientId(at))!
        expect(found.username).toBe(given.layout.format === 5 ? undefined : one.username || undefined)
        const mine = given.places.filter((each) => each.client === at && isPossible(each))
        expect(found.places.map(({ message: number, packetId }) => [number, packetId])).toEqual(
          mine.map((each) => [numbered(each.at), each.packetId]),
        )
      })
      expectQueues(given, recordsOf(state, bytes))
    }),
    runs(200),
  )
})

test('a file with any bytes changed, or cut anywhere, is read or refused in one line, never more than it has', () => {
  const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) })
  fc.assert(
    fc.property(site, fc.array(change, { maxLength: 4 }), fc.option(fc.nat()), (given, changes, cut) => {
      const whole = written(given)
      for (const { at, byte } of changes) whole[at % whole.length] = byte
      const bytes = cut === null ? whole : whole.subarray(0, cut % (whole.length + 1))
      const state = readSavedState(fileOf(bytes))
      if (typeof state === 'string') expect(state).toMatch(/^[^\n]{5,200}$/)
      else recordsOf(state, bytes)
    }),
    runs(400),
  )
})

test('any bytes behind a header are read or refused', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(7), fc.uint8Array({ maxLength: 80 })), { maxLength: 6 }), (chunks) => {
      const encoder = new StateEncoder()
      for (const [kind, body] of chunks) encoder.chunk(kind, (w) => w.raw(body))
      const bytes = new Uint8Array(encoder.bytes())
      const state = readSavedState(fileOf(bytes))
      if (typeof state !== 'string') recordsOf(state, bytes)
    }),
    runs(400),
  )
})
