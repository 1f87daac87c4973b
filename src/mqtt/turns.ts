import type { Instant } from '../base/machine.ts'
import type { Connection } from './connection.ts'
import { type Packet, PacketType } from './packets.ts'

/** The cost that all connections share in one turn, counted in packets: some milliseconds. */
const TURN_COST = 4096
/** What all connections that have ended share in one turn: more than a socket usually brings at once. */
const LAST_COST = 4 * TURN_COST
const SHARE_LEAST = 64
/** Milliseconds of a turn in which data is read as it arrives; what arrives later in it is read in the next turns. */
const ARRIVALS_MS = 10
/** Deliveries written in one turn to all connections with long queues; to one of them at most, and at least. */
const WRITES_PER_TURN = 8192
const WRITES_MOST = 2048
const WRITES_LEAST = 64
/** Bytes of large properties encoded in one turn; one message per connection may exceed it. */
export const PROPERTIES_PER_TURN = 1024 * 1024
/** Costs of a topic filter, of a unit of the broker's work, and of a packet other than PUBLISH that is answered. */
const FILTER_COST = 16
const WORK_COST = 1 / 8
const ANSWER_COST = 2
/** So many characters of a topic or filter count as much as a packet. */
const LENGTH_FREE = 128
/** What a message counts for that is to be retained, or clears a topic. */
const RETAIN_COST = 4
/**
 * The same with QoS 1 or 2. To queue and acknowledge one for a session not heard for long takes 19 to 30 us: a publisher with many
 * in its socket had turns of 55 ms, and of 108 on a busy machine, which are 22 with this.
 */
const RELIABLE_COST = 4

/** Shares the turns of the event loop among connections: a busy one continues after the others have had their turn. */
export class Turns {
  #turn = 1
  #share = TURN_COST
  #resting: Connection[] = []
  #since: Instant = 0
  #written = 0
  #unwritten: Connection[] = []
  /** What is left for those who have ended. */
  #left = LAST_COST
  /** When the first data of this turn of the event loop arrived. */
  #began: Instant = Number.POSITIVE_INFINITY

  /**
   * When connections that have used their share, or have more to be written, continue: immediately, which is after all others.
   */
  next(): Instant | undefined {
    return this.#resting.length === 0 && this.#unwritten.length === 0 && this.#left === LAST_COST ? undefined : this.#since
  }

  /** Adds the cost of a packet; true if the connection has used its share of this turn. */
  spend(now: Instant, connection: Connection, cost: number): boolean {
    if (connection.turn !== this.#turn) {
      connection.turn = this.#turn
      connection.spent = 0
    }
    connection.spent += cost
    if (connection.ended !== undefined) {
      this.#left = Math.max(0, this.#left - cost)
      this.#since = now
    }
    if (connection.spent < this.#share) return false
    this.#rest(now, connection)
    return true
  }

  /** Data has arrived. False if this turn has taken so long that it has to wait. */
  admits(now: Instant, connection: Connection): boolean {
    if (now < this.#began) this.#began = now
    if (now - this.#began < ARRIVALS_MS) return true
    this.#rest(now, connection)
    return false
  }

  #rest(now: Instant, connection: Connection): void {
    if (connection.resting) return
    connection.resting = true
    this.#since = now
    this.#resting.push(connection)
  }

  /** The stream of this connection is gone: its remaining packets are processed now, before the client may reconnect, unless many ended at once. */
  last(connection: Connection): void {
    connection.turn = this.#turn
    connection.spent = this.#share - Math.max(SHARE_LEAST, this.#left)
    connection.resting = false
  }

  /** Deliveries that may be written to one connection now. */
  get writable(): number {
    return Math.max(WRITES_LEAST, Math.min(WRITES_MOST, WRITES_PER_TURN - this.#written))
  }

  /** Counts written deliveries; unless all are written, the rest follows after all others have had their turn. */
  wrote(now: Instant, connection: Connection, deliveries: number, all: boolean): void {
    this.#written += deliveries
    if (all) return
    this.#since = now
    this.#unwritten.push(connection)
  }

  /** Connections with more to be written. */
  takeUnwritten(): readonly Connection[] {
    const unwritten = this.#unwritten
    this.#unwritten = []
    return unwritten
  }

  /** Connections that continue: as many as have a share in one turn, in the order of arrival. */
  take(): readonly Connection[] {
    this.#left = LAST_COST
    const rested = this.#resting.splice(0, TURN_COST / this.#share)
    for (const connection of rested) connection.resting = false
    return rested
  }

  /** Everything has been written. `continues`: more input may follow in the same turn of the event loop. */
  end(continues: boolean): void {
    if (!continues) this.#began = Number.POSITIVE_INFINITY
    this.#turn++
    this.#written = 0
    this.#share = Math.max(SHARE_LEAST, TURN_COST / Math.max(1, this.#resting.length))
  }
}

/**
 * The cost of a packet that caused so much work: deliveries, and the search for receivers. Work counts for little, because many
 * deliveries are written together with those that follow: a turn that ended after one message for thousands would cost a write
 * for each of them. Reading a user property takes as long as reading a packet.
 */
export function costOf(packet: Packet, work: number): number {
  const properties = 'properties' in packet ? (packet.properties.userProperties?.length ?? 0) : 0
  return properties + costWithout(packet, work)
}

function costWithout(packet: Packet, work: number): number {
  if (packet.type === PacketType.PUBLISH)
    return (
      (packet.retain ? RETAIN_COST : packet.qos > 0 ? RELIABLE_COST : 1) + packet.topic.length / LENGTH_FREE + work * WORK_COST
    )
  if (packet.type === PacketType.SUBSCRIBE)
    return packet.subscriptions.reduce((sum, { filter }) => sum + costOfFilter(filter), work * WORK_COST)
  return packet.type === PacketType.UNSUBSCRIBE
    ? packet.filters.reduce((sum, filter) => sum + costOfFilter(filter), 0)
    : ANSWER_COST
}

const costOfFilter = ({ length }: string): number => FILTER_COST + length / LENGTH_FREE
