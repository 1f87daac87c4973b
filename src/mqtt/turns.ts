import type { Instant } from '../base/machine.ts'
import type { Connection } from './connection.ts'
import { type Packet, PacketType } from './packets.ts'

/** What connections may cost in one turn, counted in packets: some milliseconds, which those share that want more. */
const TURN_COST = 4096
/** How much more of it one may have that has ended: what a socket brings at once, unless it is out of the ordinary. */
const LAST_COST = 4 * TURN_COST
const SHARE_LEAST = 64
/** Deliveries that are written in one turn to all for whom many wait; to one of them at most, and at least. */
const WRITES_PER_TURN = 8192
const WRITES_MOST = 2048
const WRITES_LEAST = 64
/** Bytes of large properties that are encoded in one turn, and one message for each connection. */
export const PROPERTIES_PER_TURN = 1024 * 1024
/** What a topic filter counts for, and a packet that is no PUBLISH and is answered. */
const FILTER_COST = 16
const WORK_COST = 1 / 8
const ANSWER_COST = 2

/** Shares the turns of the event loop among connections: who says a lot is read on when the others have had their turn. */
export class Turns {
  #turn = 1
  #share = TURN_COST
  #resting: Connection[] = []
  #since: Instant = 0
  #written = 0
  #unwritten: Connection[] = []

  /** When those who rest, or wait to be written to, are due: at once, which is after everybody else. */
  next(): Instant | undefined {
    return this.#resting.length === 0 && this.#unwritten.length === 0 ? undefined : this.#since
  }

  /** Notes what a packet has cost; true if the connection has had its share of this turn, and rests. */
  spend(now: Instant, connection: Connection, cost: number): boolean {
    if (connection.turn !== this.#turn) {
      connection.turn = this.#turn
      connection.spent = 0
    }
    connection.spent += cost
    if (connection.spent < this.#share) return false
    if (!connection.resting) {
      connection.resting = true
      this.#since = now
      this.#resting.push(connection)
    }
    return true
  }

  /** The stream of this connection is gone: what it has said is heard now, before its client may come back. */
  last(connection: Connection): void {
    connection.turn = this.#turn
    connection.spent = -LAST_COST
    connection.resting = false
  }

  /** Deliveries that may be written to one connection now. */
  get writable(): number {
    return Math.max(WRITES_LEAST, Math.min(WRITES_MOST, WRITES_PER_TURN - this.#written))
  }

  /** So many were, and more may wait: those are written when all others have had their turn. */
  wrote(now: Instant, connection: Connection, deliveries: number, all: boolean): void {
    this.#written += deliveries
    if (all) return
    this.#since = now
    this.#unwritten.push(connection)
  }

  /** Those to whom more is to be written. */
  takeUnwritten(): readonly Connection[] {
    const unwritten = this.#unwritten
    this.#unwritten = []
    return unwritten
  }

  /** Those who have rested. */
  take(): readonly Connection[] {
    const rested = this.#resting
    this.#resting = []
    for (const connection of rested) connection.resting = false
    return rested
  }

  end(): void {
    this.#turn++
    this.#written = 0
    this.#share = Math.max(SHARE_LEAST, TURN_COST / Math.max(1, this.#resting.length))
  }
}

/**
 * What a packet costs that led to so much work: deliveries, and looking for them. That counts for little, because what many get is written in one go
 * with what follows it: a turn that ended after one message for thousands would cost a write for each of them.
 */
export function costOf(packet: Packet, work: number): number {
  if (packet.type === PacketType.PUBLISH) return 1 + work * WORK_COST
  if (packet.type === PacketType.SUBSCRIBE) return packet.subscriptions.length * FILTER_COST + work * WORK_COST
  return packet.type === PacketType.UNSUBSCRIBE ? packet.filters.length * FILTER_COST : ANSWER_COST
}
