import { createHash } from 'node:crypto'
import type { BrokerRecord, GatewayRecord, SessionKey, StoredDelivery, StoreRecord } from '../../src/store/store.ts'

/** The client id of a sensor that exists only to number the states of a store: see `Ledger`. */
export const COUNTER = 'counter'

type Of<T extends StoreRecord['type']> = Extract<StoreRecord, { type: T }>

interface Flight {
  readonly sent: Of<'sent'>
  received: StoreRecord | undefined
}

class Session {
  session: Of<'session'>
  will: StoreRecord | undefined
  detached: StoreRecord | undefined
  last: number | undefined
  readonly subscriptions = new Map<string, StoreRecord>()
  readonly receipts = new Set<number>()
  readonly flights = new Map<number, Flight>()
  readonly queue = new Map<number, StoredDelivery>()

  constructor(session: Of<'session'>) {
    this.session = session
  }
}

class Sensor {
  readonly topics = new Map<number, StoreRecord>()
  readonly slots = new Map<number, StoreRecord>()
  readonly subscriptions = new Map<string, StoreRecord>()
  client: Of<'sn-client'>

  constructor(client: Of<'sn-client'>) {
    this.client = client
  }
}

/** What a store holds after some records, written without a look at src/store/fold.ts. Sessions and sensors have to exist before records name them. */
export class Contents {
  readonly sessions = new Map<SessionKey, Session>()
  readonly sensors = new Map<string, Sensor>()
  /** Messages that at least one session waits for, by id. */
  readonly messages = new Map<number, Of<'message'>>()
  readonly retained = new Map<string, Of<'message'>>()

  constructor(records: Iterable<StoreRecord> = []) {
    for (const record of records) this.apply(record)
  }

  apply(record: StoreRecord): void {
    if ('clientId' in record) this.#ofSensor(record)
    else if (record.type === 'message') this.#message(record)
    else if ('key' in record) this.#ofSession(record)
    else throw new Error(`not a record of the log: ${record.type}`)
  }

  #message(record: Of<'message'>): void {
    const { id, message, deliveries, retains, receipt, willOf } = record
    if (retains && message.payload.length > 0) this.retained.set(message.topic, record)
    else if (retains) this.retained.delete(message.topic)
    if (receipt !== undefined) this.#session(receipt.key).receipts.add(receipt.packetId)
    if (willOf !== undefined) this.#session(willOf).will = { type: 'will', key: willOf, will: null }
    for (const delivery of deliveries) this.#session(delivery.key).queue.set(id, delivery)
    if (deliveries.length > 0) this.messages.set(id, record)
  }

  #ofSession(record: Exclude<BrokerRecord, { type: 'message' | 'delivery' }>): void {
    const { key } = record
    if (record.type === 'session') {
      const before = this.sessions.get(key)
      if (before === undefined) this.sessions.set(key, new Session(record))
      else Object.assign(before, { session: record, will: undefined, detached: undefined })
      return
    }
    const session = this.#session(key)
    if (record.type === 'session-end') {
      for (const id of session.queue.keys()) this.#unqueue(session, id)
      this.sessions.delete(key)
    } else if (record.type === 'will') session.will = record
    else if (record.type === 'detached') session.detached = record
    else if (record.type === 'subscribe') session.subscriptions.set(record.filter, record)
    else if (record.type === 'unsubscribe') session.subscriptions.delete(record.filter)
    else if (record.type === 'receipt') session.receipts.add(record.packetId)
    else if (record.type === 'released') session.receipts.delete(record.packetId)
    else if (record.type === 'done') this.#unqueue(session, record.id)
    else if (record.type === 'sent') {
      session.last = record.packetId
      if (record.id !== 0) session.flights.set(record.id, { sent: record, received: undefined })
    } else {
      const flight = session.flights.get(record.id)
      if (flight !== undefined) flight.received = record
    }
  }

  #unqueue(session: Session, id: number): void {
    session.flights.delete(id)
    session.queue.delete(id)
    if (![...this.sessions.values()].some(({ queue }) => queue.has(id))) this.messages.delete(id)
  }

  #ofSensor(record: GatewayRecord): void {
    const { clientId } = record
    if (record.type === 'sn-client') {
      const sensor = this.sensors.get(clientId)
      if (sensor === undefined) this.sensors.set(clientId, new Sensor(record))
      else sensor.client = record
    } else if (record.type === 'sn-end') this.sensors.delete(clientId)
    else if (record.type === 'sn-topic') this.sensors.get(clientId)!.topics.set(record.topicId, record)
    else if (record.type === 'sn-topic-end') this.sensors.get(clientId)!.topics.delete(record.topicId)
    else if (record.type === 'sn-subscription') this.sensors.get(clientId)!.subscriptions.set(record.filter, record)
    else if (record.type === 'sn-subscription-end') this.sensors.get(clientId)!.subscriptions.delete(record.filter)
    else if (record.type === 'sn-qos2-end') this.sensors.get(clientId)!.slots.delete(record.slot)
    else this.sensors.get(clientId)!.slots.set(record.slot, record)
  }

  #session(key: SessionKey): Session {
    const session = this.sessions.get(key)
    if (session === undefined) throw new Error(`no session ${key}`)
    return session
  }

  /** What a new process replays, as sorted lines. */
  lines(): string[] {
    const records: StoreRecord[] = [...this.sensors.values()].flatMap((s) => [
      s.client,
      ...s.topics.values(),
      ...s.slots.values(),
      ...s.subscriptions.values(),
    ])
    for (const { id, message } of this.messages.values()) records.push({ type: 'message', id, message, deliveries: [] })
    for (const { id, message } of this.retained.values())
      records.push({ type: 'message', id, message, deliveries: [], retains: true })
    for (const [key, session] of this.sessions) {
      records.push(session.session, ...session.subscriptions.values())
      if (session.will !== undefined) records.push(session.will)
      if (session.detached !== undefined) records.push(session.detached)
      for (const packetId of session.receipts) records.push({ type: 'receipt', key, packetId })
      for (const [id, delivery] of session.queue) records.push({ type: 'delivery', id, delivery })
      for (const { sent, received } of session.flights.values()) records.push(sent, ...(received === undefined ? [] : [received]))
      if (session.last !== undefined) records.push({ type: 'sent', key, id: 0, packetId: session.last })
    }
    return linesOf(records)
  }
}

/** Records in a form that does not depend on their order, nor on that of their fields. */
export function linesOf(records: Iterable<StoreRecord>): string[] {
  return Array.from(records, (record) => JSON.stringify(plain(record))).sort()
}

const digests = new WeakMap<Uint8Array, string>()

function digestOf(bytes: Uint8Array): string {
  const known = digests.get(bytes)
  if (known !== undefined) return known
  const digest = `${bytes.length} bytes ${createHash('sha1').update(bytes).digest('hex')}`
  digests.set(bytes, digest)
  return digest
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return digestOf(value)
  if (typeof value === 'number' && !Number.isFinite(value)) return `${value}`
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, field]) => field !== undefined)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, field]) => [name, plain(field)]))
}

/**
 * Everything that was appended to a store, in order, and how much of it was acknowledged. A store may lose the end of what was not acknowledged, and
 * nothing else: it has to hold exactly what the first `n` records make, with all that were acknowledged among them. A sensor of its own counts, so that
 * `n` is known from the contents, give or take the records between two counts.
 */
export class Ledger {
  #records: StoreRecord[] = []
  #acknowledged = 0
  #contents = new Contents()
  /** Counts, with their indexes. */
  #counts: { readonly count: number; readonly index: number }[] = []

  get length(): number {
    return this.#records.length
  }

  /** The first so many records were acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** After all that was appended. */
  get contents(): Contents {
    return this.#contents
  }

  append(record: StoreRecord): void {
    this.#contents.apply(record)
    const count = countOf(record)
    if (count !== undefined) this.#counts.push({ count, index: this.#records.length })
    this.#records.push(record)
  }

  /** Takes back records that the store refused, by index. */
  refuse(indexes: readonly number[]): void {
    if (indexes.length > 0) this.#rebuild(this.#records.filter((_, i) => !indexes.includes(i)))
  }

  acknowledge(count: number): void {
    if (count > this.#records.length) throw new Error(`${count} acknowledged of ${this.#records.length}`)
    this.#acknowledged = Math.max(this.#acknowledged, count)
  }

  /** The first `count` records are what the store has found when it was opened: what was appended after them never happened. */
  settle(count: number): void {
    this.#rebuild(this.#records.slice(0, count))
    this.acknowledge(count)
  }

  copy(): Ledger {
    const copy = new Ledger()
    copy.#rebuild(this.#records)
    copy.#acknowledged = this.#acknowledged
    return copy
  }

  #rebuild(records: readonly StoreRecord[]): void {
    this.#records = []
    this.#contents = new Contents()
    this.#counts = []
    for (const record of records) this.append(record)
  }

  /** How many of the records make what a store replays, or in a few lines what is wrong with it. */
  find(replayed: Iterable<StoreRecord>): number | string {
    const records = [...replayed]
    const count = records.reduce((max, record) => Math.max(max, countOf(record) ?? 0), 0)
    const at = this.#counts.findIndex((each) => each.count === count)
    if (at < 0 && count > 0) return `count ${count} was never appended`
    const first = at < 0 ? 0 : this.#counts[at]!.index
    const last = this.#counts[at + 1]?.index ?? this.#records.length
    const lines = linesOf(records)
    const text = lines.join('\n')
    const contents = new Contents(this.#records.slice(0, first))
    const found: number[] = []
    for (let n = first; n <= last; n++) {
      if (contents.lines().join('\n') === text) found.push(n)
      if (n < last) contents.apply(this.#records[n]!)
    }
    return found.at(-1) ?? `not what the first ${first} to ${last} records make: ${differences(contents.lines(), lines)}`
  }
}

function countOf(record: StoreRecord): number | undefined {
  return record.type === 'sn-qos2' && record.clientId === COUNTER ? record.fingerprint : undefined
}

function differences(expected: readonly string[], found: readonly string[]): string {
  const only = (some: readonly string[], others: readonly string[]): string[] => {
    const left = new Map<string, number>()
    for (const line of others) left.set(line, (left.get(line) ?? 0) + 1)
    return some.filter((line) => {
      const count = left.get(line) ?? 0
      left.set(line, count - 1)
      return count <= 0
    })
  }
  const shown = (title: string, lines: string[]): string =>
    `\n${lines.length} ${title}\n  ${lines
      .slice(0, 8)
      .map((line) => line.slice(0, 200))
      .join('\n  ')}`
  return shown('missing:', only(expected, found)) + shown('not expected:', only(found, expected))
}
