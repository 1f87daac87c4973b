import { ClientPattern } from '../base/client-pattern.ts'
import { isoTime } from '../base/iso-time.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import { type TraceEvent, traceLine } from '../trace/event.ts'
import { PcapWriter } from '../trace/pcap.ts'
import { topicFits } from '../trace/topic-match.ts'
import type { Tracer, Watcher } from '../trace/tracer.ts'
import { type EventStream, STREAM_CHUNK } from './exchange.ts'

/** Characters that wait for a slow reader. Packets beyond that are left out and counted. */
const WAITING_MAX = 256 * 1024

export interface TraceFilter {
  /** Pattern of client ids, with `*`. Packets before a client has said who it is match none. */
  readonly client: string | undefined
  /** Topic filter. Packets without a topic match none. */
  readonly topic: string | undefined
  /** Shows payloads; otherwise their length stands for them. */
  readonly payloads: boolean
  /** Adds the records of a capture file to each event. */
  readonly pcap: boolean
}

/** Packets as server-sent events. What a slow reader misses is counted. */
export class TraceStream implements EventStream, Watcher {
  readonly kind = 'stream'
  wake: () => void = () => {}
  readonly close: () => void
  readonly #filter: TraceFilter
  readonly #client: ClientPattern | undefined
  readonly #now: () => number
  readonly #pcap: PcapWriter | undefined
  #waiting: string[] = []
  #length = 0
  #missed = 0

  /** `now`: milliseconds since 1970. */
  constructor(tracer: Tracer, filter: TraceFilter, now: () => number) {
    this.#filter = filter
    this.#client = filter.client === undefined ? undefined : new ClientPattern(filter.client)
    this.#now = now
    this.#pcap = filter.pcap ? new PcapWriter(filter.payloads) : undefined
    this.close = tracer.watch(this)
  }

  /** Bytes of memory. */
  get bytes(): number {
    return 2 * this.#length + (this.#pcap?.bytes ?? 0)
  }

  seen(event: TraceEvent): void {
    if (!this.#fits(event)) return
    // Before the packet is described and copied for nothing.
    if (this.#isFull) {
      this.#missed++
      return
    }
    const { protocol, way, client, peer, topic } = event
    const at = this.#now()
    this.#add('packet', {
      time: withMilliseconds(at),
      protocol,
      direction: way === '->' ? 'received' : 'sent',
      client,
      peer,
      topic,
      line: traceLine(event, this.#filter.payloads),
      ...(this.#pcap !== undefined && { pcap: base64(this.#pcap.records(at, event)) }),
    })
  }

  streamClosed(connection: ConnectionId): void {
    const records = this.#pcap?.closed(this.#now(), connection) ?? []
    if (records.length > 0) this.#add('closed', { pcap: base64(records) })
  }

  next(): string {
    let text = this.#missed > 0 && this.#waiting.length === 0 ? this.#takeMissed() : ''
    let count = 0
    while (count < this.#waiting.length && text.length < STREAM_CHUNK) text += this.#waiting[count++]
    this.#waiting.splice(0, count)
    this.#length = this.#waiting.reduce((sum, { length }) => sum + length, 0)
    return text
  }

  #takeMissed(): string {
    const text = eventText('missed', { packets: this.#missed })
    this.#missed = 0
    return text
  }

  #add(name: string, data: object): void {
    if (this.#isFull) {
      this.#missed++
      return
    }
    const text = (this.#missed > 0 ? this.#takeMissed() : '') + eventText(name, data)
    this.#waiting.push(text)
    this.#length += text.length
    this.wake()
  }

  get #isFull(): boolean {
    return this.#length > WAITING_MAX
  }

  #fits({ client, topic }: TraceEvent): boolean {
    if (this.#client !== undefined && (client === undefined || !this.#client.fits(client))) return false
    return this.#filter.topic === undefined || (topic !== undefined && topicFits(this.#filter.topic, topic))
  }
}

const eventText = (name: string, data: object): string => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

/** Packets come many to a second: `2026-12-01T04:10:24.120Z`. */
const withMilliseconds = (at: number): string =>
  isoTime(at).replace('Z', `.${String(Math.floor(at) % 1000).padStart(3, '0')}Z`)

const base64 = (records: readonly Uint8Array[]): string => Buffer.concat(records).toString('base64')
