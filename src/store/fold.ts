import { assert } from '../base/assert.ts'
import { NameMap } from '../base/name-map.ts'
import {
  CLOCK_KEY,
  labelOf,
  messageKey,
  queueKey,
  type RowChange,
  type RowKey,
  type Rows,
  readRow,
  retainedKey,
  rowName,
  rowOf,
  sensorKey,
  sessionKey,
} from './rows.ts'
import type { BrokerRecord, ClockRecord, Lsn, SessionKey, StoredDelivery, StoreRecord } from './store.ts'

/** Position of a record in the log. */
export interface LogPlace {
  readonly lsn: Lsn
  /** Offset in the commit with that number. */
  readonly at: number
}

type MessageRecord = Extract<BrokerRecord, { type: 'message' }>

/** A message of this stretch of the log that is still queued. Its bytes stay in the log. */
interface Waiting extends LogPlace {
  left: number
  /** Sessions that have dequeued it. */
  gone: Set<SessionKey> | undefined
}

/** A QoS 2 message on its way to one session. */
interface Flight {
  readonly sent: Extract<BrokerRecord, { type: 'sent' }>
  received: StoreRecord | undefined
}

/** The changes of one row of a session or a sensor. */
class RowFold {
  /** The previous contents of the row are deleted. */
  readonly cleared: boolean
  /** Messages of this stretch up to this id have been dequeued. */
  readonly clearedUpTo: number
  /** Records by subject; `undefined`: deleted. A later record replaces an earlier one. */
  readonly cells = new NameMap<StoreRecord | undefined>()
  /** By message id, in the order of sending. */
  flights: Map<number, Flight> | undefined = undefined
  /** Messages from before this stretch of the log that have been dequeued. */
  done: Set<number> | undefined = undefined
  /** Formats 2 and 3: packet ids, sent before this stretch, for which PUBREC has arrived. */
  received: Set<number> | undefined = undefined

  constructor(cleared: boolean, clearedUpTo: number) {
    this.cleared = cleared
    this.clearedUpTo = clearedUpTo
  }
}

/**
 * The number of sessions that have each message with a row in their queue. Many small maps, because a large one stalls as it
 * grows.
 */
export class References {
  readonly #shards = Array.from({ length: 256 }, () => new Map<number, number>())

  add(id: number, count: number): void {
    const shard = this.#shards[id % 256]!
    shard.set(id, (shard.get(id) ?? 0) + count)
  }

  /** True if that was the last one. */
  drop(id: number): boolean {
    const shard = this.#shards[id % 256]!
    const count = shard.get(id) ?? 0
    if (count > 1) shard.set(id, count - 1)
    else shard.delete(id)
    return count === 1
  }

  /** Ids that were added with a count of 0 and nothing more. */
  *unused(): Iterable<number> {
    for (const shard of this.#shards) for (const [id, count] of shard) if (count === 0) yield id
  }

  forget(id: number): void {
    this.#shards[id % 256]!.delete(id)
  }
}

/**
 * The changes of one stretch of the log, as changes of rows. What began and ended within the stretch leaves no trace.
 *
 * A change says what a row is, never what to add to it. So the changes of a stretch may be made in any number of transactions,
 * and if the process dies in between, folding the same stretch again over the rows as they are then gives the same rows. Where
 * the new process may divide the log differently, records that began and ended in a stretch may have rows after all: it folds
 * `again`, and deletes them. For example, message 7 is queued in commit 10 and acknowledged in commit 20. Folding 1 to 15 writes
 * its row; after a crash, folding 1 to 30 has to delete it.
 */
export class Fold {
  /** Bytes of log that were folded. */
  bytes = 0
  readonly #again: boolean
  readonly #messages = new Map<number, Waiting>()
  readonly #sessions = new NameMap<RowFold>()
  readonly #sensors = new Map<string, RowFold>()
  /** By topic; `undefined`: deleted. */
  readonly #retained = new NameMap<LogPlace | undefined>()
  #clock: ClockRecord | undefined
  #highestId = 0

  /** `again`: a process that died may have written rows for a part of this stretch. */
  constructor(again = false) {
    this.#again = again
  }

  /** Takes the next record of the log, at `at` in commit `lsn`. */
  add(record: StoreRecord, lsn: Lsn, at: number): void {
    switch (record.type) {
      case 'message':
        this.#message(record, lsn, at)
        return
      case 'done':
        this.#done(record.key, record.id)
        return
      case 'sent':
        this.#sent(record)
        return
      case 'received':
        this.#received(record)
        return
      case 'session-end':
        this.#sessions.set(record.key, new RowFold(true, this.#highestId))
        return
      case 'sn-end':
        this.#sensors.set(record.clientId, new RowFold(true, 0))
        return
      case 'sn-client':
        rowFold(this.#sensors, record.clientId).cells.set(cellOf(record), record)
        return
      case 'sn-topic':
      case 'sn-qos2':
      case 'sn-subscription':
        rowFold(this.#sensors, record.clientId).cells.set(cellOf(record), record)
        return
      case 'sn-topic-end':
        rowFold(this.#sensors, record.clientId).cells.set(topicCell(record.topicId), undefined)
        return
      case 'sn-qos2-end':
        rowFold(this.#sensors, record.clientId).cells.set(qos2Cell(record.slot), undefined)
        return
      case 'sn-subscription-end':
        rowFold(this.#sensors, record.clientId).cells.set(subscriptionCell(record.filter), undefined)
        return
      case 'clock':
        this.#clock = record
        return
      case 'delivery':
        assert(false, 'a delivery is in rows, not in the log')
        return
      default:
        this.#cell(record)
    }
  }

  /** Whether this session exists at the end; `undefined` if this stretch says nothing about it. */
  hasSession(key: SessionKey): boolean | undefined {
    const session = this.#sessions.get(key)
    if (session?.cells.has('session')) return true
    return session?.cleared ? false : undefined
  }

  #cell(
    record: Extract<
      BrokerRecord,
      { type: 'session' | 'will' | 'detached' | 'subscribe' | 'unsubscribe' | 'released' | 'receipt' }
    >,
  ): void {
    const { cells } = rowFold(this.#sessions, record.key)
    if (record.type === 'unsubscribe') cells.set(subscriptionCell(record.filter), undefined)
    else if (record.type === 'released') cells.set(receiptCell(record.packetId), undefined)
    else {
      cells.set(cellOf(record), record)
      if (record.type === 'session') cells.set('will', undefined).set('detached', undefined)
    }
  }

  #message(record: MessageRecord, lsn: Lsn, at: number): void {
    const { id, message, deliveries, receipt, retains, willOf } = record
    this.#highestId = Math.max(this.#highestId, id)
    if (deliveries.length > 0) this.#messages.set(id, { lsn, at, left: deliveries.length, gone: undefined })
    if (receipt !== undefined) this.#cell({ type: 'receipt', ...receipt })
    if (willOf !== undefined) this.#cell({ type: 'will', key: willOf, will: null })
    if (retains) this.#retained.set(message.topic, message.payload.length === 0 ? undefined : { lsn, at })
  }

  #done(key: SessionKey, id: number): void {
    const message = this.#messages.get(id)
    if (message === undefined || this.#again) {
      const session = rowFold(this.#sessions, key)
      session.flights?.delete(id)
      session.done ??= new Set()
      session.done.add(id)
    } else this.#sessions.get(key)?.flights?.delete(id)
    if (message === undefined) return
    if (message.gone?.has(key)) return
    if (--message.left === 0) this.#messages.delete(id)
    else {
      message.gone ??= new Set()
      message.gone.add(key)
    }
  }

  #sent(record: Extract<BrokerRecord, { type: 'sent' }>): void {
    const { key, id, packetId } = record
    const session = rowFold(this.#sessions, key)
    session.cells.set('last', { type: 'sent', key, id: 0, packetId })
    if (id === 0) return
    session.flights ??= new Map()
    session.flights.set(id, { sent: record, received: undefined })
  }

  #received(record: Extract<BrokerRecord, { type: 'received' }>): void {
    const session = rowFold(this.#sessions, record.key)
    const flights = [...(session.flights?.values() ?? [])]
    const sent =
      record.id === 0 ? flights.findLast((flight) => flight.sent.packetId === record.packetId) : session.flights?.get(record.id)
    if (sent !== undefined) sent.received = { ...record, id: sent.sent.id }
    else {
      session.received ??= new Set()
      session.received.add(record.packetId)
    }
  }

  /**
   * The changes, computed one by one. `read` reads a record of the log; `references` counts the sessions per message with a row,
   * and is updated: without it, payloads that are no longer queued stay.
   */
  *changes(rows: Rows, read: (place: LogPlace) => StoreRecord, references?: References): Iterable<RowChange> {
    // All places of one queue together: they are adjacent on the disk.
    const queues = new NameMap<RowChange[]>()
    for (const [id, waiting] of this.#messages) yield* this.#newMessage(id, waiting, read, queues, references)
    for (const places of queues.values()) yield* places
    for (const [key, session] of this.#sessions) yield* this.#session(key, session, rows, references)
    for (const [topic, place] of this.#retained) {
      const key = retainedKey(topic)
      if (place !== undefined) yield { key, value: rowOf([withoutDeliveries(read(place))]) }
      else if (rows.get(key) !== undefined) yield { key, value: undefined }
    }
    if (this.#clock !== undefined) yield { key: CLOCK_KEY, value: rowOf([this.#clock]), label: labelOf(CLOCK_KEY, [this.#clock]) }
    for (const [clientId, sensor] of this.#sensors) yield* this.#row(sensorKey(clientId), sensor, rows, 'client')
  }

  *#newMessage(
    id: number,
    waiting: Waiting,
    read: (place: LogPlace) => StoreRecord,
    queues: Map<SessionKey, RowChange[]>,
    references?: References,
  ): Iterable<RowChange> {
    const record = read(waiting)
    assert(record.type === 'message', 'the log has a message where it was folded from')
    const live = new NameMap<StoredDelivery>()
    for (const delivery of record.deliveries) {
      const { key } = delivery
      if (!waiting.gone?.has(key) && !((this.#sessions.get(key)?.clearedUpTo ?? 0) >= id)) live.set(key, delivery)
    }
    if (live.size === 0) return
    const { message } = record
    yield { key: messageKey(id), value: rowOf([{ type: 'message', id, message, deliveries: [] }]), label: message.topic }
    references?.add(id, live.size)
    for (const [key, delivery] of live) {
      const place = { key: queueKey(key, id), value: rowOf([{ type: 'delivery', id, delivery }]) }
      const places = queues.get(key)
      if (places === undefined) queues.set(key, [place])
      else places.push(place)
    }
  }

  *#session(name: SessionKey, session: RowFold, rows: Rows, references?: References): Iterable<RowChange> {
    if (session.cleared) {
      for (const id of rows.queueOf(name)) {
        // Places queued in this stretch have just been written.
        const since = id > session.clearedUpTo && this.#messages.has(id)
        if (!since) yield* this.#unqueued(name, id, references)
      }
    }
    for (const id of session.done ?? []) {
      if (rows.get(queueKey(name, id)) !== undefined) yield* this.#unqueued(name, id, references)
    }
    yield* this.#row(sessionKey(name), session, rows, 'session')
  }

  *#unqueued(session: SessionKey, id: number, references?: References): Iterable<RowChange> {
    yield { key: queueKey(session, id), value: undefined }
    if (references?.drop(id)) yield { key: messageKey(id), value: undefined }
  }

  /** A row without its `main` record is deleted. */
  *#row(key: RowKey, fold: RowFold, rows: Rows, main: string): Iterable<RowChange> {
    const before = rows.get(key)
    const { cells, flights } = fold.cleared || before === undefined ? NOTHING() : parseRow(key, before)
    for (const id of fold.done ?? []) flights.delete(id)
    for (const packetId of fold.received ?? []) {
      for (const flight of flights.values()) {
        if (flight.sent.packetId !== packetId) continue
        const { key: session, id } = flight.sent
        flight.received = { type: 'received', key: session, id, packetId }
      }
    }
    for (const [cell, record] of fold.cells) {
      if (record === undefined) cells.delete(cell)
      else cells.set(cell, record)
    }
    for (const [id, flight] of fold.flights ?? []) flights.set(id, flight)
    if (!cells.has(main)) {
      if (before !== undefined) yield { key, value: undefined }
      return
    }
    const records = [...recordsOf(cells, flights)]
    const value = rowOf(records)
    if (before === undefined || !sameBytes(before, value)) yield { key, value, label: labelOf(key, records) }
  }
}

function rowFold<K>(folds: Map<K, RowFold>, key: K): RowFold {
  let fold = folds.get(key)
  if (fold === undefined) {
    fold = new RowFold(false, 0)
    folds.set(key, fold)
  }
  return fold
}

interface ParsedRow {
  readonly cells: Map<string, StoreRecord>
  readonly flights: Map<number, Flight>
}

const NOTHING = (): ParsedRow => ({ cells: new NameMap(), flights: new Map() })

function parseRow(key: RowKey, value: Uint8Array): ParsedRow {
  const row = NOTHING()
  const records = readRow(value)
  // Its checksum matched, so this version of Roost or another one wrote it so.
  assert(typeof records !== 'string', `row ${rowName(key)} can be read`)
  for (const record of records) {
    if (record.type === 'sent' && record.id !== 0) row.flights.set(record.id, { sent: record, received: undefined })
    else if (record.type === 'received') row.flights.get(record.id)!.received = record
    else row.cells.set(cellOf(record), record)
  }
  return row
}

function* recordsOf(cells: Map<string, StoreRecord>, flights: Map<number, Flight>): Iterable<StoreRecord> {
  const last = cells.get('last')
  const detached = cells.get('detached')
  for (const [cell, record] of cells) if (cell !== 'last' && cell !== 'detached') yield record
  // An absent client sets no will: disconnecting deletes it, whichever record was in this row first.
  if (detached !== undefined) yield detached
  for (const { sent, received } of flights.values()) {
    yield sent
    if (received !== undefined) yield received
  }
  if (last !== undefined) yield last
}

const subscriptionCell = (filter: string): string => `subscription:${filter}`
const topicCell = (topicId: number): string => `topic:${topicId}`
const qos2Cell = (slot: number): string => `qos2:${slot}`
const receiptCell = (packetId: number): string => `receipt:${packetId}`

/** The subject of a record in the row of a session or a sensor. */
function cellOf(record: StoreRecord): string {
  switch (record.type) {
    case 'subscribe':
    case 'sn-subscription':
      return subscriptionCell(record.filter)
    case 'receipt':
      return receiptCell(record.packetId)
    case 'sent':
      return 'last'
    case 'sn-client':
      return 'client'
    case 'sn-topic':
      return topicCell(record.topicId)
    case 'sn-qos2':
      return qos2Cell(record.slot)
    default:
      return record.type
  }
}

function withoutDeliveries(record: StoreRecord): StoreRecord {
  assert(record.type === 'message', 'what is retained is a message')
  const { id, message } = record
  return { type: 'message', id, message, deliveries: [], retains: true }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
