import type { Instant } from '../../base/machine.ts'
import { messageLength } from '../../mqttsn/encode.ts'
import { type Message, MsgType } from '../../mqttsn/messages.ts'
import type { SensorState } from './state-table.ts'

/** Counters of one sensor, since the process started; they begin again at 2^32. */
export const COUNTERS = [
  'messagesReceived',
  'messagesSent',
  'bytesReceived',
  'bytesSent',
  'retransmissions',
  'dropped',
  'refused',
  'wakes',
] as const
export type Counter = (typeof COUNTERS)[number]

const AT = Object.fromEntries(COUNTERS.map((name, i) => [name, i])) as Readonly<Record<Counter, number>>

/** What a sensor mostly did in a quarter of an hour. Active counts as awake; disconnected, or not known yet, as unknown. */
export const DAY_STATES = ['unknown', 'asleep', 'awake', 'lost'] as const
/** A letter for each: sleeps, wakes. */
export const DAY_LETTERS = '-swl'

const CODES: Readonly<Record<SensorState, number>> = { disconnected: 0, asleep: 1, active: 2, awake: 2, lost: 3 }
export const QUARTERS = 96
const QUARTER_SECONDS = 900

/** Words of 32 bits for each sensor: 64 bytes. */
const WORDS = 16
/** The current state in the lowest 8 bits, then the units that this quarter was spent asleep, awake and lost, in 8 bits each. */
const NOW = 8
/** Seconds since 1970 up to which time is accounted for; 0 for a place that is not in use. */
const SINCE = 9
/** The last 96 quarters, 2 bits each, at the place of their number modulo 96. */
const DAY = 10
/** Time is accounted for in units of so many seconds, of which a quarter has 225. */
const UNIT_SECONDS = 4

/** Sensors of a piece, 8 KiB: the first sensor does not take much of a small memory_limit. */
const CHUNK_SENSORS = 128

/**
 * Figures of each sensor by its seat, outside of the heap and of the rows: counters, and what it did in the last day. They cost 64
 * bytes a sensor and a few nanoseconds a message. They are not stored: a restart begins them again.
 */
export class SensorFigures {
  readonly #chunks: Uint32Array[] = []
  readonly #epoch: number
  /** Since when all states are known, seconds since 1970. */
  readonly #since: number

  /** `epoch`: the wall clock at instant 0, in milliseconds. */
  constructor(now: Instant, epoch: number) {
    this.#epoch = epoch
    this.#since = this.#wall(now)
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#chunks.length * CHUNK_SENSORS * WORDS * 4
  }

  count(seat: number, counter: Counter, by = 1): void {
    this.#chunk(seat)[at(seat) + AT[counter]]! += by
  }

  received(seat: number, message: Message): void {
    const [chunk, start] = [this.#chunk(seat), at(seat)]
    chunk[start + AT.bytesReceived]! += messageLength(message)
    if (message.type === MsgType.PUBLISH) chunk[start + AT.messagesReceived]!++
  }

  sent(seat: number, message: Message): void {
    // The last answer to a client that is forgotten leaves after it.
    if (seat < 0) return
    const [chunk, start] = [this.#chunk(seat), at(seat)]
    chunk[start + AT.bytesSent]! += messageLength(message)
    if (message.type === MsgType.PUBLISH) chunk[start + AT.messagesSent]!++
  }

  counters(seat: number): Readonly<Record<Counter, number>> {
    const [chunk, start] = [this.#chunk(seat), at(seat)]
    return Object.fromEntries(COUNTERS.map((name, i) => [name, chunk[start + i]!])) as Record<Counter, number>
  }

  /** The sensor is in this state from now on. `before`: the one that it was in, undefined for a new sensor. */
  entered(now: Instant, seat: number, before: SensorState | undefined, state: SensorState): void {
    const [chunk, start] = [this.#chunk(seat), at(seat)]
    const wall = this.#wall(now)
    if (before !== undefined) this.#begin(chunk, start, before)
    advance(chunk, start, wall)
    chunk[start + NOW] = (chunk[start + NOW]! & ~0xff) | CODES[state]
  }

  /** The last 96 quarters of an hour, the current one last: a letter for each. `state`: the one that the sensor is in. */
  day(now: Instant, seat: number, state: SensorState): string {
    const [chunk, start] = [this.#chunk(seat), at(seat)]
    const wall = this.#wall(now)
    this.#begin(chunk, start, state)
    advance(chunk, start, wall)
    const current = quarterOf(chunk[start + SINCE]!)
    let letters = ''
    for (let quarter = current - QUARTERS + 1; quarter < current; quarter++)
      letters += DAY_LETTERS[bitsOf(chunk, start, quarter)]!
    // What was before the process knew the sensor does not hide what it has done since.
    return letters + DAY_LETTERS[mostly(chunk, start, 0)]!
  }

  /** The sensor has gone: its place is for another one. */
  clear(seat: number): void {
    this.#chunk(seat).fill(0, at(seat), at(seat) + WORDS)
  }

  /** No sensor is left. */
  free(): void {
    this.#chunks.length = 0
  }

  /** A sensor that was there at the start, and has been in this state since. */
  #begin(chunk: Uint32Array, start: number, state: SensorState): void {
    if (chunk[start + SINCE] !== 0) return
    chunk[start + SINCE] = this.#since
    chunk[start + NOW] = CODES[state]
  }

  #wall(now: Instant): number {
    return Math.floor((this.#epoch + now) / 1000)
  }

  #chunk(seat: number): Uint32Array {
    const number = Math.floor(seat / CHUNK_SENSORS)
    while (this.#chunks.length <= number) this.#chunks.push(new Uint32Array(CHUNK_SENSORS * WORDS))
    return this.#chunks[number]!
  }
}

const at = (seat: number): number => (seat % CHUNK_SENSORS) * WORDS

const quarterOf = (wall: number): number => Math.floor(wall / QUARTER_SECONDS)

/** Accounts for the time up to now. What is less than a unit is left for the next state. */
function advance(chunk: Uint32Array, start: number, wall: number): void {
  let since = chunk[start + SINCE]!
  if (since === 0) {
    chunk[start + SINCE] = wall
    return
  }
  const now = chunk[start + NOW]!
  const code = now & 0xff
  for (let quarter = quarterOf(since); quarter < quarterOf(wall); quarter = quarterOf(since)) {
    const end = (quarter + 1) * QUARTER_SECONDS
    spend(chunk, start, code, Math.round((end - since) / UNIT_SECONDS))
    setBits(chunk, start, quarter, mostly(chunk, start, QUARTER_SECONDS))
    chunk[start + NOW] = code
    since = end
    // Of a state that has lasted for days only the last one shows.
    const first = quarterOf(wall) - QUARTERS
    if (quarterOf(since) < first) since = first * QUARTER_SECONDS
  }
  const units = Math.floor(Math.max(0, wall - since) / UNIT_SECONDS)
  spend(chunk, start, code, units)
  chunk[start + SINCE] = since + units * UNIT_SECONDS
}

/** Adds units to what this quarter was spent in a state; time of which nothing is known is what is left. */
function spend(chunk: Uint32Array, start: number, code: number, units: number): void {
  if (code === 0 || units === 0) return
  const shift = 8 * code
  const before = (chunk[start + NOW]! >>> shift) & 0xff
  const after = Math.min(0xff, before + units)
  chunk[start + NOW] = (chunk[start + NOW]! & ~(0xff << shift)) | (after << shift)
}

/** The state in which most of these first seconds of the quarter was spent; the current one where several are level. */
function mostly(chunk: Uint32Array, start: number, seconds: number): number {
  const now = chunk[start + NOW]!
  const spent = [0, (now >>> 8) & 0xff, (now >>> 16) & 0xff, now >>> 24]
  spent[0] = Math.max(0, Math.floor(seconds / UNIT_SECONDS) - spent[1]! - spent[2]! - spent[3]!)
  let most = now & 0xff
  for (let code = 0; code < spent.length; code++) if (spent[code]! > spent[most]!) most = code
  return most
}

function setBits(chunk: Uint32Array, start: number, quarter: number, code: number): void {
  const place = quarter % QUARTERS
  const word = start + DAY + (place >> 4)
  const shift = 2 * (place & 15)
  chunk[word] = (chunk[word]! & ~(3 << shift)) | (code << shift)
}

function bitsOf(chunk: Uint32Array, start: number, quarter: number): number {
  const place = quarter % QUARTERS
  return (chunk[start + DAY + (place >> 4)]! >>> (2 * (place & 15))) & 3
}
