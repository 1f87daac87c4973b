import type { NoticeCode } from './notice.ts'

/** What notices say of a client: something for it was dropped, or it was refused something. */
export const COUNTED_NOTICES: Partial<Record<NoticeCode, 'dropped' | 'refused'>> = {
  'message-dropped': 'dropped',
  'queue-full': 'dropped',
  'request-refused': 'refused',
  'client-refused': 'refused',
  'publish-refused': 'refused',
  'subscribe-refused': 'refused',
}

/** Counters of one MQTT client, as long as its session lasts and the process runs; they begin again at 2^32. */
export const CLIENT_COUNTERS = [
  'messagesReceived',
  'messagesSent',
  'bytesReceived',
  'bytesSent',
  'retransmissions',
  'dropped',
  'refused',
] as const
export type ClientCounter = (typeof CLIENT_COUNTERS)[number]
export type ClientCounters = Readonly<Record<ClientCounter, number>>

/** Words of 32 bits for each client: 32 bytes. The last one is the number of its place. */
const WORDS = 8
const OWNER = WORDS - 1
/** Clients of a piece, 4 KiB: the first client does not take much of a small memory_limit. */
const CHUNK_CLIENTS = 128

/** A place among the figures, and whose it is: another client may have the place later. */
export interface FiguresPlace {
  readonly place: number
  readonly owner: number
}

export const NO_FIGURES = -1

/**
 * Figures of each MQTT client, outside of the heap: 32 bytes a session, for the sessions that exist. A connection counts for itself
 * and adds what it has counted when it ends, so that nothing is paid here per message.
 */
export class ClientFigures {
  readonly #chunks: Uint32Array[] = []
  #vacant: number[] = []
  #used = 0
  #owners = 0

  /** Bytes of memory. */
  get bytes(): number {
    return this.#chunks.length * CHUNK_CLIENTS * WORDS * 4 + this.#vacant.length * 8
  }

  /** A place for a new session. */
  add(): number {
    const place = this.#vacant.pop() ?? this.#used++
    if (this.#chunks.length <= Math.floor(place / CHUNK_CLIENTS)) this.#chunks.push(new Uint32Array(CHUNK_CLIENTS * WORDS))
    const start = at(place)
    const chunk = this.#chunk(place)
    chunk.fill(0, start, start + WORDS)
    this.#owners = (this.#owners + 1) >>> 0 || 1
    chunk[start + OWNER] = this.#owners
    return place
  }

  /** The session has ended. */
  remove(place: number): void {
    if (place < 0) return
    this.#chunk(place)[at(place) + OWNER] = 0
    this.#vacant.push(place)
    if (this.#vacant.length < this.#used) return
    // No session is left.
    this.#chunks.length = 0
    this.#vacant = []
    this.#used = 0
  }

  /** The place with its owner. */
  placeOf(place: number): FiguresPlace | undefined {
    return place < 0 ? undefined : { place, owner: this.#chunk(place)[at(place) + OWNER]! }
  }

  count(place: number, counter: ClientCounter, by = 1): void {
    if (place >= 0) this.#chunk(place)[at(place) + CLIENT_COUNTERS.indexOf(counter)]! += by
  }

  /** Adds what a connection has counted, unless the session has ended meanwhile. */
  addAll({ place, owner }: FiguresPlace, counted: Partial<ClientCounters>): void {
    if (place >= this.#used || this.#chunk(place)[at(place) + OWNER] !== owner) return
    for (const counter of CLIENT_COUNTERS) this.count(place, counter, counted[counter] ?? 0)
  }

  /** The counters, with those of a connection that has not ended. */
  counters(place: number, counted: Partial<ClientCounters> = {}): ClientCounters {
    const [chunk, start] = [this.#chunk(place), at(place)]
    const sum = (counter: ClientCounter, i: number): number => (chunk[start + i]! + (counted[counter] ?? 0)) % 2 ** 32
    return Object.fromEntries(CLIENT_COUNTERS.map((counter, i) => [counter, sum(counter, i)])) as ClientCounters
  }

  #chunk(place: number): Uint32Array {
    return this.#chunks[Math.floor(place / CHUNK_CLIENTS)]!
  }
}

const at = (place: number): number => (place % CHUNK_CLIENTS) * WORDS
