import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Timer } from '../base/timers.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'
import type { ClientLink } from './client-link.ts'
import type { Holdings } from './holdings.ts'
import type { Session } from './session.ts'

/** A message queued for one client. */
export class Queued {
  readonly message: Publish
  readonly qos: QoS
  readonly retain: boolean
  readonly subscriptionIdentifiers: readonly number[] | undefined
  /** The shared subscription it was delivered through: another member gets it if this session ends first. */
  readonly share: string | undefined

  constructor(
    message: Publish,
    qos: QoS,
    retain: boolean,
    subscriptionIdentifiers: readonly number[] | undefined,
    share: string | undefined,
  ) {
    this.message = message
    this.qos = qos
    this.retain = retain
    this.subscriptionIdentifiers = subscriptionIdentifiers
    this.share = share
  }
}

/** Paused publishers, and since when the first of them is paused. */
export interface PausedPublishers {
  readonly since: Instant
  readonly links: ClientLink[]
}

/**
 * The messages that wait for one client, in order, with what depends on them. A session has a queue when it needs one, and gives it
 * up when it is empty and nobody reads from it, as while a sensor sleeps: a million sessions must not have room for it.
 */
export class SessionQueue {
  /** Queued bytes, for `max_queued_bytes`. */
  bytes = 0
  /** The number of QoS 0 messages, which are dropped first. */
  qos0 = 0
  /** No message expires earlier; one that did may be gone. (Undefined, because Infinity would take memory of its own.) */
  firstExpiry: Instant | undefined = undefined
  /** Made for the first message that expires. */
  expiryTimer: Timer<Session> | undefined = undefined
  /** Publishers that are paused until this queue is shorter. */
  pausedPublishers: PausedPublishers | undefined = undefined
  /** A message was queued while the client did not read, or had much in flight. */
  waited = false
  readonly #holdings: Holdings
  /** QoS 0 messages without options of their own are queued as they are, so that fan-out allocates nothing. */
  readonly #entries = new Fifo<Publish | Queued>()
  /** While retained messages are searched for: messages that arrived since, which follow them. */
  #behind: Fifo<Publish | Queued> | undefined = undefined
  /** QoS 0 messages at the head of the queue of a client that reads: they leave by the end of the turn, and are not counted. */
  #passing = 0
  /** Places at which `sweep` and `dropQos0` continue. */
  #sweptTo = 0
  #qos0From = 0

  constructor(holdings: Holdings) {
    this.#holdings = holdings
  }

  get length(): number {
    return this.#entries.length + (this.#behind === undefined ? 0 : this.#behind.length)
  }

  /** No message is there, and nothing depends on the next one: a new queue is the same. */
  get isUnused(): boolean {
    const isEmpty = this.#entries.length === 0 && this.#behind === undefined
    return isEmpty && !this.waited && this.pausedPublishers === undefined && this.expiryTimer?.armed !== true
  }

  /** `waits`: the client does not read for now. Messages that leave by the end of the turn are not counted. */
  push(entry: Publish | Queued, waits: boolean): void {
    if (this.#behind === undefined) this.#push(entry, waits)
    else {
      this.#behind.push(entry)
      this.#entered(entry)
    }
  }

  /** From now on new messages are held back until all retained messages are queued, because those are older. */
  beginRetained(): void {
    this.#behind ??= new Fifo()
  }

  pushRetained(entry: Queued): void {
    this.#push(entry, true)
  }

  endRetained(): void {
    for (const entry of this.#behind ?? []) this.#entries.push(entry)
    this.#behind = undefined
  }

  #push(entry: Publish | Queued, waits: boolean): void {
    // Messages queue behind those that are held back.
    if (entry instanceof Queued || waits || this.#passing < this.#entries.length) this.#entered(entry)
    else {
      this.#passing++
      this.bytes += entry.weight
      this.qos0++
    }
    this.#entries.push(entry)
  }

  #entered(entry: Publish | Queued): void {
    if (entry instanceof Queued) {
      this.bytes += entry.message.weight
      if (entry.qos === 0) this.qos0++
      this.#holdings.queued++
      this.#holdings.holdWaiting(entry.message)
    } else {
      this.bytes += entry.weight
      this.qos0++
      this.#hold(entry)
    }
  }

  /** The client stops reading: messages that would have left with the turn stay, and count. */
  stops(): void {
    if (this.#passing === 0) return
    let left = this.#passing
    this.#passing = 0
    for (const entry of this.#entries) {
      if (left-- === 0) return
      this.#hold(messageOf(entry))
    }
  }

  #hold(message: Publish): void {
    this.#holdings.holdWaiting(message)
    this.#holdings.plain++
  }

  peek(): Publish | Queued | undefined {
    return this.#entries.peek()
  }

  shift(): Publish | Queued | undefined {
    const entry = this.#entries.shift() ?? this.#behind?.shift()
    if (entry !== undefined) this.#left(entry)
    return entry
  }

  #left(entry: Publish | Queued): void {
    if (entry instanceof Queued) {
      this.bytes -= entry.message.weight
      if (entry.qos === 0) this.qos0--
      this.#holdings.queued--
      this.#holdings.releaseWaiting(entry.message)
      return
    }
    this.bytes -= entry.weight
    this.qos0--
    if (this.#passing > 0) this.#passing--
    else {
      this.#holdings.plain--
      this.#holdings.releaseWaiting(entry)
    }
  }

  /** Everything that is queued, in order. */
  *[Symbol.iterator](): Generator<Publish | Queued, void> {
    yield* this.#entries
    if (this.#behind !== undefined) yield* this.#behind
  }

  /** The next `sweep` begins with the first entry. */
  restartSweep(): void {
    this.#sweptTo = 0
  }

  /**
   * Continues to examine the queue, up to `most` places, and removes the entries that do not pass. Returns the number of places;
   * less than `most` at the end of the queue. Messages that are held back follow when they have joined it.
   */
  sweep(most: number, keep: (entry: Publish | Queued) => boolean): number {
    const begin = Math.max(this.#sweptTo, this.#entries.first)
    this.#sweptTo = this.#sweep(begin, most, keep)
    return this.#sweptTo - begin
  }

  /** Removes the entries that do not pass, except those that are held back. */
  filter(keep: (entry: Publish | Queued) => boolean): void {
    this.#sweep(0, Number.POSITIVE_INFINITY, keep)
  }

  /** Whether `sweep` has examined everything. */
  get isSwept(): boolean {
    return this.#behind === undefined && this.#sweptTo >= this.#entries.end
  }

  /**
   * Removes QoS 0, the oldest first, until there is enough room, from up to `most` places; returns the number of places. It
   * continues where the last call found enough: no QoS 0 is left before that place.
   */
  dropQos0(most: number, isEnough: () => boolean): number {
    const begin = Math.max(this.#qos0From, this.#entries.first)
    this.#qos0From = this.#sweep(begin, most, (entry) => {
      if (this.qos0 === 0 || isEnough()) return undefined
      return qosOf(entry) > 0
    })
    return this.#qos0From - begin
  }

  #sweep(from: number, most: number, keep: (entry: Publish | Queued) => boolean | undefined): number {
    this.stops()
    return this.#entries.sweep(from, most, (entry) => {
      const passes = keep(entry)
      if (passes === false) this.#left(entry)
      return passes
    })
  }
}

export const messageOf = (entry: Publish | Queued): Publish => (entry instanceof Queued ? entry.message : entry)
export const qosOf = (entry: Publish | Queued): QoS => (entry instanceof Queued ? entry.qos : 0)
