import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { readRecord, writeRecord } from './records.ts'
import type { SessionKey, StoreRecord } from './store.ts'

/**
 * Tables that the log is folded into. A row's value is records, one after the other:
 *
 *     messages   one payload each, without deliveries, however many sessions have it queued
 *     queue      one place of a message in one session's queue: delivery
 *     sessions   session, will, detached, subscribe, receipt, sent and received, in the order of their first writing
 *     retained   the retained message of a topic
 *     sensors    sn-client, sn-topic, sn-qos2, sn-subscription
 *
 * The last clock record is the row `clock` in `sessions`, whose names otherwise all have a colon.
 *
 * Replaying the tables in this order gives a new process every record it needs, each message before the sessions
 * that have it queued.
 */
export const ROW_TABLES = ['messages', 'queue', 'sessions', 'retained', 'sensors'] as const
export type RowTable = (typeof ROW_TABLES)[number]

/** Identifies one row. */
export interface RowKey {
  readonly table: RowTable
  /** Session key, topic or client id; empty in `messages`. */
  readonly name: string
  /** Message id in `messages` and `queue`; 0 elsewhere. */
  readonly id: number
}

/** The rows as they are on disk. */
export interface Rows {
  get(key: RowKey): Uint8Array | undefined
  /** Ids of the messages in a session's queue. */
  queueOf(session: SessionKey): readonly number[]
}

/** A row's new value, or `undefined` to delete it. */
export interface RowChange {
  readonly key: RowKey
  readonly value: Uint8Array | undefined
  /** As `labelOf`. */
  readonly label?: string
}

/**
 * The label of a row, in a column of its own for people who open the store with `sqlite3`: the topic of a message, the state of a
 * session or a sensor. It is never read back.
 */
export function labelOf({ table }: RowKey, records: readonly StoreRecord[]): string {
  let label = table === 'sessions' ? 'connected' : ''
  for (const record of records) {
    if (record.type === 'message') label = record.message.topic
    else if (record.type === 'sn-client') label = record.state
    else if (record.type === 'detached') label = 'disconnected'
    else if (record.type === 'clock') label = ''
  }
  return label
}

export const messageKey = (id: number): RowKey => ({ table: 'messages', name: '', id })
export const queueKey = (session: SessionKey, id: number): RowKey => ({ table: 'queue', name: session, id })
export const sessionKey = (session: SessionKey): RowKey => ({ table: 'sessions', name: session, id: 0 })
export const retainedKey = (topic: string): RowKey => ({ table: 'retained', name: topic, id: 0 })
export const sensorKey = (clientId: string): RowKey => ({ table: 'sensors', name: clientId, id: 0 })

export const CLOCK_KEY: RowKey = sessionKey('clock')

/** The name of a row in messages to people. */
export function rowName({ table, name, id }: RowKey): string {
  if (table === 'messages') return `messages ${id}`
  return table === 'queue' ? `queue ${name} ${id}` : `${table} ${name}`
}

const writer = new ByteWriter(4096)

/** The value of a row. */
export function rowOf(records: Iterable<StoreRecord>): Uint8Array {
  writer.length = 0
  for (const record of records) writeRecord(writer, record)
  return writer.toBytes()
}

/** The records of a row, or one line with the error in its bytes. */
export function readRow(value: Uint8Array): StoreRecord[] | string {
  const reader = new ByteReader(value)
  const records: StoreRecord[] = []
  while (reader.remaining > 0) {
    const record = readRecord(reader)
    if (record === undefined) return `record ${records.length + 1}: ${reader.error}`
    records.push(record)
  }
  return records
}
