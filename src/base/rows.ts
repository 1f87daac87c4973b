import { ByteReader, ByteWriter, utf8Length } from './bytes.ts'
import { readRecord, writeRecord } from './records.ts'
import type { SessionKey, StoreRecord } from './store.ts'

/**
 * What the log is folded into: rows under binary keys, whose values are records one after the other. Reading all rows in the order of their
 * keys gives the records that a new process needs, each message before the sessions that wait for it.
 *
 *     01 <message id, 8 bytes>              message, without deliveries: one payload, however many sessions wait for it
 *     02 <session> 00 <message id>          delivery: one place in one session's queue
 *     02 <session> 01                       session, will, detached, subscribe, receipt, sent and received, in that order of their first writing
 *     03 <topic>                            message that is retained
 *     04 <client id>                        sn-client, sn-topic, sn-qos2
 *
 * A name is its length in one byte and its UTF-8; one that is longer than `NAME_MAX` is ff and its digest, because keys have a bound.
 */
const PAYLOAD = 1
const SESSION = 2
const RETAINED = 3
const SENSOR = 4
const QUEUE = 0
const OWN = 1

/** Octets of a name that is its own key. */
const NAME_MAX = 200
const LONG_NAME = 0xff
const DIGEST_BYTES = 32

/** SHA-256 of the UTF-8 of a text. */
export type Digest = (text: string) => Uint8Array

/** Where rows are: sorted by their keys. */
export interface Rows {
  get(key: Uint8Array): Uint8Array | undefined
  keysUnder(prefix: Uint8Array): Iterable<Uint8Array>
}

/** A row's new value, or `undefined` where it goes. */
export interface RowChange {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

/** Makes keys. */
export class RowKeys {
  readonly #digest: Digest

  constructor(digest: Digest) {
    this.#digest = digest
  }

  payload(id: number): Uint8Array {
    const w = new ByteWriter(9)
    w.u8(PAYLOAD)
    writeId(w, id)
    return w.toBytes()
  }

  queued(session: SessionKey, id: number): Uint8Array {
    const w = this.#named(SESSION, session)
    w.u8(QUEUE)
    writeId(w, id)
    return w.toBytes()
  }

  session(session: SessionKey): Uint8Array {
    const w = this.#named(SESSION, session)
    w.u8(OWN)
    return w.toBytes()
  }

  /** Prefix of all that is one session's. */
  allOf(session: SessionKey): Uint8Array {
    return this.#named(SESSION, session).toBytes()
  }

  retained(topic: string): Uint8Array {
    return this.#named(RETAINED, topic).toBytes()
  }

  sensor(clientId: string): Uint8Array {
    return this.#named(SENSOR, clientId).toBytes()
  }

  #named(kind: number, name: string): ByteWriter {
    const length = utf8Length(name)
    const w = new ByteWriter(2 + Math.min(length, DIGEST_BYTES + NAME_MAX) + 9)
    w.u8(kind)
    if (length <= NAME_MAX) {
      w.u8(length)
      w.text(name)
    } else {
      w.u8(LONG_NAME)
      w.raw(this.#digest(name))
    }
    return w
  }
}

/** Message id of a key of the kinds `payload` and `queued`; 0 for any other, which no message has. */
export function idOf(key: Uint8Array): number {
  const kind = key[0]
  if (kind === PAYLOAD) return key.length === 9 ? readId(key, 1) : 0
  if (kind !== SESSION) return 0
  const after = 2 + (key[1] === LONG_NAME ? DIGEST_BYTES : key[1]!)
  return key.length === after + 9 && key[after] === QUEUE ? readId(key, after + 1) : 0
}

export const isPayload = (key: Uint8Array): boolean => key[0] === PAYLOAD

const writer = new ByteWriter(4096)

/** The value of a row. */
export function rowOf(records: Iterable<StoreRecord>): Uint8Array {
  writer.length = 0
  for (const record of records) writeRecord(writer, record)
  return writer.toBytes()
}

/** The records of a row, or in one line what is wrong with its bytes. */
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

function writeId(w: ByteWriter, id: number): void {
  w.u32(Math.floor(id / 0x1_0000_0000))
  w.u32(id % 0x1_0000_0000)
}

function readId(key: Uint8Array, at: number): number {
  let id = 0
  for (let i = at; i < at + 8; i++) id = id * 0x100 + key[i]!
  return id
}
