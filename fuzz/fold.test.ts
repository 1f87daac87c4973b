import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { References } from '../src/store/fold.ts'
import type { StoredDelivery, StoreRecord } from '../src/store/store.ts'
import { runs } from './runs.ts'
import { changesOf, MapRows } from './sim/map-rows.ts'

const LONG = 'l'.repeat(300)
const NAMES = ['mqtt:a', 'mqtt:b', 'sn:a', `mqtt:${LONG}`, `mqtt:${LONG}2`]
const OWNER = { username: undefined, listener: 'l', verified: false }

/** One thing that happens; `message` numbers itself, the others mean the message that was given `back` places before the last. */
interface Step {
  readonly what:
    | 'session'
    | 'will'
    | 'detached'
    | 'session-end'
    | 'subscribe'
    | 'unsubscribe'
    | 'message'
    | 'sent'
    | 'received'
    | 'done'
    | 'released'
    | 'sensor'
    | 'topic'
    | 'topic-end'
    | 'sensor-end'
  readonly who: number
  readonly other: number
  readonly back: number
  readonly flag: boolean
}

const WHATS: Step['what'][] = [
  'session',
  'will',
  'detached',
  'session-end',
  'subscribe',
  'unsubscribe',
  'message',
  'message',
  'message',
  'sent',
  'sent',
  'received',
  'done',
  'done',
  'done',
  'released',
  'sensor',
  'topic',
  'topic-end',
  'sensor-end',
]
const steps = fc.array(
  fc.record<Step>({
    what: fc.constantFrom(...WHATS),
    who: fc.nat(NAMES.length - 1),
    other: fc.nat(NAMES.length - 1),
    back: fc.nat(6),
    flag: fc.boolean(),
  }),
  // Left alone, fast-check makes most of them too short for anything to come of what came before.
  { maxLength: 60, size: 'max' },
)

/** A log that a broker could have written: sessions exist before anything waits for them, messages are sent and acknowledged once. */
function logOf(all: readonly Step[]): StoreRecord[] {
  const log: StoreRecord[] = []
  const model = new Model()
  let id = 0
  let packetId = 0
  const add = (record: StoreRecord): void => {
    log.push(record)
    model.add(record)
  }
  for (const { what, who, other, back, flag } of all) {
    const key = NAMES[who]!
    const session = model.sessions.get(key)
    if (log.length % 7 === 6) add({ type: 'clock', at: log.length, wall: back, bootId: key, uptime: who })
    const waiting = session === undefined ? undefined : [...session.queue.entries()].at(-1 - back)
    const payload = new Uint8Array(Buffer.from(flag ? '' : `${id}`))
    const will = { message: { topic: 'w', payload, qos: 0 as const, retain: false, from: '' }, delaySeconds: back }
    if (what === 'session') add({ type: 'session', key, expirySeconds: back, will: flag ? will : null, owner: OWNER })
    else if (what === 'sensor') {
      add({
        type: 'sn-client',
        clientId: key,
        state: 'asleep',
        route: `${back}`,
        durationSeconds: 1,
        sleepSeconds: 2,
        cleanSession: flag,
        will: null,
        at: back,
      })
    } else if (what === 'topic') {
      if (model.sensors.has(key)) add({ type: 'sn-topic', clientId: key, topicId: back + 1, topicName: `t${other}` })
      if (model.sensors.has(key))
        add({ type: 'sn-qos2', clientId: key, slot: other, msgId: back + 1, fingerprint: id, until: back })
      if (model.sensors.has(key)) add({ type: 'sn-subscription', clientId: key, filter: NAMES[other]!, qos: flag ? 1 : 0 })
    } else if (what === 'topic-end') {
      if (model.sensors.has(key)) add({ type: 'sn-topic-end', clientId: key, topicId: back + 1 })
      if (model.sensors.has(key) && flag) add({ type: 'sn-qos2-end', clientId: key, slot: other })
      if (model.sensors.has(key) && !flag) add({ type: 'sn-subscription-end', clientId: key, filter: NAMES[other]! })
    } else if (what === 'sensor-end') add({ type: 'sn-end', clientId: key })
    else if (what === 'message') {
      const deliveries = [key, NAMES[other]!].filter((name, i, list) => model.sessions.has(name) && list.indexOf(name) === i)
      const retains = flag && back < 3
      if (deliveries.length === 0 && !retains) continue
      add({
        type: 'message',
        id: ++id,
        message: { topic: `r${other % 2}`, payload, qos: 2, retain: retains, from: key },
        deliveries: deliveries.map((name) => ({ key: name, qos: 2, retain: false })),
        ...(retains && { retains: true as const }),
        ...(session !== undefined && { receipt: { key, packetId: back + 1 } }),
        ...(session !== undefined && flag && { willOf: key }),
      })
    } else if (session === undefined) continue
    // Who is away sets no will, and has none that comes back.
    else if (what === 'will') add({ type: 'will', key, will: flag && isAttached(session.fields) ? will : null })
    else if (what === 'detached')
      add({ type: 'detached', key, at: back, expirySeconds: other, will: flag && hasWill(session.fields) })
    else if (what === 'session-end') add({ type: 'session-end', key })
    else if (what === 'subscribe') {
      add({
        type: 'subscribe',
        key,
        filter: NAMES[other]!,
        options: { qos: 1, noLocal: flag, retainAsPublished: false, retainHandling: 0 },
      })
    } else if (what === 'unsubscribe') add({ type: 'unsubscribe', key, filter: NAMES[other]! })
    else if (what === 'released') add({ type: 'released', key, packetId: back + 1 })
    else if (waiting === undefined) continue
    else if (what === 'sent' && waiting[1].packetId === 0)
      add({ type: 'sent', key, id: waiting[0], packetId: (packetId++ % 50) + 1 })
    else if (what === 'received' && waiting[1].packetId !== 0) {
      add({ type: 'received', key, id: flag ? waiting[0] : 0, packetId: waiting[1].packetId })
    } else if (what === 'done') add({ type: 'done', key, id: waiting[0] })
  }
  return log
}

interface ModelSession {
  fields: unknown
  readonly subscriptions: Map<string, unknown>
  readonly receipts: Set<number>
  readonly queue: Map<number, { payload: string; delivery: StoredDelivery; packetId: number; received: boolean }>
  last: number
}

interface ModelSensor {
  client: unknown
  readonly topics: Map<number, string>
  readonly qos2: Map<number, string>
  readonly subscriptions: Map<string, number>
}

/** What records mean, in the most direct way there is. */
class Model {
  readonly sessions = new Map<string, ModelSession>()
  readonly retained = new Map<string, string>()
  clock: StoreRecord | undefined = undefined
  readonly sensors = new Map<string, ModelSensor>()
  readonly #payloads = new Map<number, string>()

  constructor(records: Iterable<StoreRecord> = []) {
    for (const record of records) this.add(record)
  }

  /** Sessions and sensors without their main record belong to nobody. */
  get state(): unknown {
    const sessions = [...this.sessions].filter(([, { fields }]) => fields !== undefined)
    const sensors = [...this.sensors].filter(([, { client }]) => client !== undefined)
    const sorted = (entries: [string, unknown][]): unknown => entries.sort(([a], [b]) => (a < b ? -1 : 1))
    return { sessions: sorted(sessions), retained: sorted([...this.retained]), sensors: sorted(sensors), clock: this.clock }
  }

  add(record: StoreRecord): void {
    if (record.type === 'sn-end') this.sensors.delete(record.clientId)
    else if (record.type === 'sn-client') this.#sensor(record.clientId).client = record
    else if (record.type === 'sn-topic') this.#sensor(record.clientId).topics.set(record.topicId, record.topicName)
    else if (record.type === 'sn-qos2')
      this.#sensor(record.clientId).qos2.set(record.slot, `${record.msgId} ${record.fingerprint} ${record.until}`)
    else if (record.type === 'sn-qos2-end') this.#sensor(record.clientId).qos2.delete(record.slot)
    else if (record.type === 'sn-subscription') this.#sensor(record.clientId).subscriptions.set(record.filter, record.qos)
    else if (record.type === 'sn-subscription-end') this.#sensor(record.clientId).subscriptions.delete(record.filter)
    else if (record.type === 'sn-topic-end') this.#sensor(record.clientId).topics.delete(record.topicId)
    else if (record.type === 'session-end') this.sessions.delete(record.key)
    else if (record.type === 'delivery') this.#queue(record.id, record.delivery, this.#payloads.get(record.id)!)
    else if (record.type === 'message') {
      const payload = Buffer.from(record.message.payload).toString()
      this.#payloads.set(record.id, payload)
      for (const delivery of record.deliveries) this.#queue(record.id, delivery, payload)
      if (record.receipt !== undefined) this.#session(record.receipt.key).receipts.add(record.receipt.packetId)
      if (record.willOf !== undefined) {
        const session = this.#session(record.willOf)
        session.fields = { ...(session.fields as object), will: null }
      }
      if (record.retains && payload === '') this.retained.delete(record.message.topic)
      else if (record.retains) this.retained.set(record.message.topic, payload)
    } else if (record.type === 'clock') this.clock = record
    else this.#inSession(record, this.#session(record.key))
  }

  #inSession(record: Extract<StoreRecord, { key: string }>, session: ModelSession): void {
    if (record.type === 'session') session.fields = { expiry: record.expirySeconds, will: record.will, at: undefined }
    else if (record.type === 'will') session.fields = { ...(session.fields as object), will: record.will }
    else if (record.type === 'detached') {
      const { will } = session.fields as { will: unknown }
      session.fields = { expiry: record.expirySeconds, will: record.will ? will : null, at: record.at }
    } else if (record.type === 'subscribe') session.subscriptions.set(record.filter, record.options)
    else if (record.type === 'unsubscribe') session.subscriptions.delete(record.filter)
    else if (record.type === 'receipt') session.receipts.add(record.packetId)
    else if (record.type === 'released') session.receipts.delete(record.packetId)
    else if (record.type === 'done') session.queue.delete(record.id)
    else if (record.type === 'sent') {
      session.last = record.packetId
      const waiting = session.queue.get(record.id)
      if (waiting !== undefined) waiting.packetId = record.packetId
    } else if (record.type === 'received') {
      for (const waiting of session.queue.values()) if (waiting.packetId === record.packetId) waiting.received = true
    }
  }

  #queue(id: number, delivery: StoredDelivery, payload: string): void {
    this.#session(delivery.key).queue.set(id, { payload, delivery, packetId: 0, received: false })
  }

  #session(key: string): ModelSession {
    let session = this.sessions.get(key)
    if (session === undefined) {
      session = { fields: undefined, subscriptions: new Map(), receipts: new Set(), queue: new Map(), last: 0 }
      this.sessions.set(key, session)
    }
    return session
  }

  #sensor(clientId: string): ModelSensor {
    let sensor = this.sensors.get(clientId)
    if (sensor === undefined) {
      sensor = { client: undefined, topics: new Map(), qos2: new Map(), subscriptions: new Map() }
      this.sensors.set(clientId, sensor)
    }
    return sensor
  }
}

const isAttached = (fields: unknown): boolean => (fields as { at: unknown }).at === undefined
const hasWill = (fields: unknown): boolean => (fields as { will: unknown }).will !== null

/** Cuts a log into stretches at these places. */
function stretches(log: readonly StoreRecord[], cuts: readonly number[]): StoreRecord[][] {
  const at = [0, ...cuts.map((cut) => cut % (log.length + 1)).sort((a, b) => a - b), log.length]
  return at.slice(1).map((end, i) => log.slice(at[i], end))
}

const cuts = fc.array(fc.nat(60), { maxLength: 5 })

describe('rows that a log was folded into', () => {
  it('mean what the log means, whatever stretches it was folded in', () => {
    fc.assert(
      fc.property(steps, cuts, (all, at) => {
        const log = logOf(all)
        const rows = new MapRows()
        for (const stretch of stretches(log, at)) rows.fold(stretch)
        expect(new Model(rows.records()).state).toEqual(new Model(log).state)
      }),
      runs(500),
    )
  })

  it('mean the same if the process died between two transactions, and the stretch was folded again', () => {
    fc.assert(
      fc.property(steps, cuts, fc.array(fc.nat(30), { maxLength: 6 }), (all, at, deaths) => {
        const log = logOf(all)
        const rows = new MapRows()
        for (const [i, stretch] of stretches(log, at).entries()) {
          let left = deaths[i] ?? 0
          for (const change of changesOf(stretch, rows.copy())) if (left-- > 0) rows.change(change)
          rows.fold(stretch)
        }
        expect(new Model(rows.records()).state).toEqual(new Model(log).state)
      }),
      runs(500),
    )
  })

  it('mean the same if the new process cuts what is left of the log in other places than the one that died', () => {
    fc.assert(
      fc.property(steps, cuts, cuts, fc.nat(5), fc.nat(30), (all, at, after, dies, left) => {
        const log = logOf(all)
        const rows = new MapRows()
        const before = stretches(log, at)
        const last = dies % before.length
        for (const stretch of before.slice(0, last)) rows.fold(stretch)
        for (const [i, change] of [...changesOf(before[last]!, rows.copy())].entries()) if (i < left) rows.change(change)
        const rest = before.slice(last).flat()
        const references = rows.references()
        for (const stretch of stretches(rest, after)) rows.fold(stretch, references, true)
        expect(new Model(rows.records()).state).toEqual(new Model(log).state)
      }),
      runs(500),
    )
  })

  it('hold nothing that nobody waits for, and one payload however many wait', () => {
    fc.assert(
      fc.property(steps, cuts, (all, at) => {
        const log = logOf(all)
        const rows = new MapRows()
        const references = new References()
        for (const stretch of stretches(log, at)) rows.fold(stretch, references)
        const waiting = new Set([...new Model(log).sessions.values()].flatMap(({ queue }) => [...queue.keys()]))
        const payloads = rows.keys.filter(({ table }) => table === 'messages')
        expect(new Set(payloads.map(({ id }) => id))).toEqual(waiting)
        expect(payloads).toHaveLength(waiting.size)
      }),
      runs(500),
    )
  })

  it('have no will that a goodbye took along, though the row knew of a goodbye before it knew of the will', () => {
    const key = 'sn:a'
    const will = {
      message: { topic: 'w', payload: Buffer.from('gone'), qos: 1 as const, retain: false, from: '' },
      delaySeconds: 0,
    }
    const comes: StoreRecord = { type: 'session', key, expirySeconds: 1, will: null, owner: OWNER }
    const goes: StoreRecord = { type: 'detached', key, at: 1, expirySeconds: 1, will: false }
    const rows = new MapRows()
    rows.fold([comes])
    rows.fold([goes, comes, { type: 'will', key, will }, goes])
    expect(new Model(rows.records()).sessions.get(key)?.fields).toMatchObject({ will: null })
  })

  it('are not touched by what came and went in one stretch', () => {
    const message = { topic: 'a', payload: Buffer.from('x'), qos: 2 as const, retain: false, from: 'mqtt:p' }
    const came: StoreRecord[] = [
      {
        type: 'message',
        id: 1,
        message,
        deliveries: [{ key: 'mqtt:a', qos: 2, retain: false }],
        receipt: { key: 'mqtt:p', packetId: 1 },
      },
      { type: 'released', key: 'mqtt:p', packetId: 1 },
      { type: 'done', key: 'mqtt:a', id: 1 },
    ]
    const rows = new MapRows()
    rows.fold(['mqtt:a', 'mqtt:p'].map((key) => ({ type: 'session', key, expirySeconds: 1, will: null, owner: OWNER })))
    expect([...changesOf(came, rows)]).toEqual([])
  })
})
