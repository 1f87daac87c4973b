import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/base/bytes.ts'
import { readRecord, writeRecord } from '../src/store/records.ts'
import type { StoredMessage, StoredReceipt, StoredWill, StoreRecord } from '../src/store/store.ts'
import { runs } from './runs.ts'

/** Every field, the optional ones too, so that a field which is new in the type does not compile until it is stored. */
type Fields<T> = { [K in keyof Required<T>]: fc.Arbitrary<Exclude<T[K], undefined>> }
type RecordOf<K extends StoreRecord['type']> = Extract<StoreRecord, { type: K }>

function record<T>(fields: Fields<T>, required: (keyof T)[]): fc.Arbitrary<T> {
  return fc.record(fields, { requiredKeys: required as never, noNullPrototype: true }) as unknown as fc.Arbitrary<T>
}

const text = fc.string({ unit: 'binary', maxLength: 40 })
const bytes = fc.uint8Array({ maxLength: 300 })
const id = fc.oneof(fc.nat(300), fc.maxSafeNat())
const u16 = fc.nat(0xffff)
const qos = fc.constantFrom(0, 1, 2)
const fingerprint = fc.nat(0xffffffff)
const number = fc.oneof(fc.double(), fc.constantFrom(0, -0, Number.POSITIVE_INFINITY, 0xffffffff))
const value = fc.letrec((tie) => ({
  leaf: fc.oneof(text, number, fc.integer(), fc.boolean(), fc.constantFrom(null, undefined), bytes),
  any: fc.oneof(
    { maxDepth: 3 },
    tie('leaf'),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(text, fc.constant('__proto__')), tie('any'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).any

const owner = fc.record(
  { username: fc.option(text, { nil: undefined }), listener: text, verified: fc.boolean(), rights: text, address: text },
  { requiredKeys: ['username', 'listener', 'verified'], noNullPrototype: true },
)
const message = record<StoredMessage>(
  {
    topic: text,
    payload: bytes,
    qos,
    retain: fc.boolean(),
    from: text,
    properties: value.filter((properties) => properties !== undefined),
    expiresAt: number,
    source: owner,
  },
  ['topic', 'payload', 'qos', 'retain', 'from'],
)
const will = fc.option(record<StoredWill>({ message, delaySeconds: number }, ['message', 'delaySeconds']))
const delivery = record<RecordOf<'message'>['deliveries'][number]>(
  { key: text, qos, retain: fc.boolean(), subscriptionIdentifiers: fc.array(id, { maxLength: 5 }), share: text },
  ['key', 'qos', 'retain'],
)
const options = record<RecordOf<'subscribe'>['options']>(
  {
    qos,
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    retainHandling: qos,
    subscriptionIdentifier: id,
    condition: text,
  },
  ['qos', 'noLocal', 'retainAsPublished', 'retainHandling'],
)

type Layouts = { [K in StoreRecord['type']]: Omit<Fields<RecordOf<K>>, 'type'> }
const LAYOUTS: Layouts = {
  session: { key: text, expirySeconds: number, will, owner },
  will: { key: text, will },
  detached: { key: text, at: number, expirySeconds: number, will: fc.boolean() },
  'session-end': { key: text },
  subscribe: { key: text, filter: text, options },
  unsubscribe: { key: text, filter: text },
  message: {
    id,
    message,
    deliveries: fc.array(delivery, { maxLength: 5 }),
    retains: fc.constant(true),
    receipt: record<StoredReceipt>({ key: text, packetId: u16, fingerprint }, ['key', 'packetId']),
    willOf: text,
  },
  sent: { key: text, id, packetId: u16 },
  received: { key: text, id, packetId: u16 },
  done: { key: text, id },
  released: { key: text, packetId: u16 },
  delivery: { id, delivery },
  receipt: { key: text, packetId: u16, fingerprint },
  'sn-client': {
    clientId: text,
    state: fc.constantFrom('active', 'asleep', 'disconnected', 'lost'),
    route: text,
    durationSeconds: number,
    sleepSeconds: number,
    cleanSession: fc.boolean(),
    will,
    at: number,
  },
  'sn-topic': { clientId: text, topicId: u16, topicName: text, offered: fc.constantFrom('first', 'again') },
  'sn-qos2': { clientId: text, slot: fc.nat(1023), msgId: u16, fingerprint, until: number },
  'sn-qos2-end': { clientId: text, slot: fc.nat(1023) },
  'sn-subscription': { clientId: text, filter: text, qos },
  'sn-subscription-end': { clientId: text, filter: text },
  'sn-topic-end': { clientId: text, topicId: u16 },
  'sn-end': { clientId: text },
  clock: { at: number, wall: number, bootId: text, uptime: number },
}

const OPTIONAL = new Set(['retains', 'receipt', 'willOf', 'offered', 'receipt fingerprint'])

function arbitrary(type: StoreRecord['type']): fc.Arbitrary<StoreRecord> {
  const fields: Record<string, fc.Arbitrary<unknown>> = { type: fc.constant(type), ...LAYOUTS[type] }
  const requiredKeys = Object.keys(fields).filter((field) => !OPTIONAL.has(field) && !OPTIONAL.has(`${type} ${field}`))
  return fc.record(fields, { requiredKeys: requiredKeys as never, noNullPrototype: true }) as unknown as fc.Arbitrary<StoreRecord>
}

const TYPES = Object.keys(LAYOUTS) as StoreRecord['type'][]
const any = fc.oneof(...TYPES.map(arbitrary))

function written(...records: StoreRecord[]): Uint8Array {
  const writer = new ByteWriter(1)
  for (const record of records) writeRecord(writer, record)
  return writer.toBytes()
}

describe('records', () => {
  it.each(TYPES)('%s comes back as it was written', (type) => {
    fc.assert(
      fc.property(arbitrary(type), (record) => {
        const reader = new ByteReader(written(record))
        expect(readRecord(reader)).toStrictEqual(record)
        expect(reader.remaining).toBe(0)
      }),
    )
  })

  it('come back one after the other', () => {
    fc.assert(
      fc.property(fc.array(any, { maxLength: 10 }), (records) => {
        const reader = new ByteReader(written(...records))
        for (const record of records) expect(readRecord(reader)).toStrictEqual(record)
        expect(reader.remaining).toBe(0)
      }),
    )
  })

  it('cut short at any place are errors', () => {
    fc.assert(
      fc.property(any, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (record, cut) => {
        const whole = written(record)
        const reader = new ByteReader(whole, 0, Math.floor(whole.length * cut))
        expect(readRecord(reader)).toBeUndefined()
        expect(reader.error).not.toBe('')
      }),
    )
  })

  it('are read from any bytes without an exception', () => {
    const tagged = fc.tuple(fc.nat(40), fc.uint8Array({ maxLength: 200 })).map(([tag, rest]) => Uint8Array.of(tag, ...rest))
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), tagged), (bytes) => {
        const reader = new ByteReader(bytes)
        expect(readRecord(reader) === undefined).toBe(reader.error !== '')
      }),
      runs(2000),
    )
  })

  it('with one byte changed are read without an exception', () => {
    fc.assert(
      fc.property(any, fc.nat(), fc.nat(255), (record, at, byte) => {
        const bytes = written(record)
        bytes[at % bytes.length] = byte
        const reader = new ByteReader(bytes)
        expect(readRecord(reader) === undefined).toBe(reader.error !== '')
      }),
      runs(1000),
    )
  })
})
