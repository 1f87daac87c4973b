import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import { ROW_MAX } from '../../base/slab-rows.ts'
import type { Will } from '../../mqtt/packets.ts'
import { readInteger, readNumber, writeInteger, writeNumber } from '../../store/record-fields.ts'
import type { WallTime } from '../../store/store.ts'
import type { RouteKey } from '../ports/route.ts'
import type { TopicRegistry } from '../topics/registry.ts'
import { GatewayClient } from './client.ts'
import type { ClientHost } from './client-host.ts'
import type { ClientRecord } from './client-record.ts'
import { readRoute, writeRoute } from './resting.ts'
import { reportedAs } from './sensor-states.ts'
import { STATES, type State } from './state-table.ts'

/**
 * A client of the store between the replay and its resumption, as a row of bytes: a million of them as objects would be 2 GB. It
 * has no session yet, so this stands for it in the table. The row begins as that of a client at rest (`resting.ts`), then follow
 * the rest of its record and `TopicRegistry.pack`, which has `idBytes` bytes of memory in a live client.
 */
export class ReplayedClient {
  readonly clientId: string
  readonly will: Will | undefined

  constructor(clientId: string, will: Will | undefined) {
    this.clientId = clientId
    this.will = will
  }
}

/** Writes a row. Returns false if it is too long. */
export function packReplayed(w: ByteWriter, record: ClientRecord, topicIds: TopicRegistry): boolean {
  if (topicIds.packedBytes > ROW_MAX) return false
  writeRoute(w, record.route)
  w.u8(STATES.indexOf(record.state))
  w.u8(record.cleanSession ? 1 : 0)
  writeInteger(w, record.durationSeconds)
  writeInteger(w, record.sleepSeconds)
  writeNumber(w, record.at)
  writeInteger(w, topicIds.bytes)
  const lengthAt = w.length
  w.u16(0)
  topicIds.pack(w)
  const length = w.length - lengthAt - 2
  w.bytes[lengthAt] = length >>> 8
  w.bytes[lengthAt + 1] = length & 0xff
  return w.length <= ROW_MAX
}

/** What a row says; its topic ids as they were packed. Valid until rows change. */
export class ReplayedRow {
  readonly route: RouteKey
  readonly state: State
  readonly cleanSession: boolean
  readonly durationSeconds: number
  readonly sleepSeconds: number
  readonly recordedAt: WallTime
  /** Bytes of memory of its topic ids. */
  readonly idBytes: number
  readonly #bytes: Uint8Array
  readonly #start: number
  readonly #end: number

  constructor(r: ByteReader) {
    this.route = readRoute(r)
    this.state = STATES[r.u8('state')]!
    this.cleanSession = r.u8('flags') === 1
    this.durationSeconds = readInteger(r, 'duration')
    this.sleepSeconds = readInteger(r, 'duration')
    this.recordedAt = readNumber(r, 'time')
    this.idBytes = readInteger(r, 'topic ids')
    const length = r.u16('topic ids')
    this.#bytes = r.bytes
    this.#start = r.at
    this.#end = r.at + length
  }

  pack(w: ByteWriter): void {
    w.range(this.#bytes, this.#start, this.#end)
  }
}

/** Makes the client whose row the reader is at. */
export function wakeReplayed(r: ByteReader, { clientId, will }: ReplayedClient, host: ClientHost): GatewayClient {
  const row = new ReplayedRow(r)
  const client = new GatewayClient(clientId, row.route, host)
  client.recorded = true
  client.recordedAt = row.recordedAt
  client.state = row.state
  client.reported = reportedAs(row.state)
  client.durationSeconds = row.durationSeconds
  client.sleepSeconds = row.sleepSeconds
  client.cleanSession = row.cleanSession
  client.will = will
  client.registry.unpack(r)
  return client
}
