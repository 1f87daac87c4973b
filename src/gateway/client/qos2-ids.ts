import type { Instant } from '../../base/machine.ts'
import { COST } from '../../base/memory-costs.ts'
import type { WallClock } from '../../store/store.ts'

/** Maximum number of ids remembered per client: 17 exchanges a second for a minute. */
const SLOTS = 1024
/** Slots of a client that has just sent its first QoS 2 message. */
const SLOTS_LEAST = 8
const SLOT_BYTES = 20

const bytesOf = (slots: number): number => COST.qos2Ids + slots * SLOT_BYTES

/** No slot: the end of a list. */
const NONE = 0xffff
/** `#until` of an id that waits for PUBREL. */
const OPEN = Number.POSITIVE_INFINITY
/** `#until` of an id that was refused. */
const REFUSED = Number.NEGATIVE_INFINITY

export interface Qos2Id {
  readonly msgId: number
  readonly fingerprint: number
  /** `undefined` between PUBLISH and PUBREL; after that, until when a delayed copy may still arrive. */
  readonly until: Instant | undefined
}

/**
 * QoS 2 message ids that a client has used: those that wait for PUBREL, and those released a short while ago. The network may
 * still hold a copy of a released PUBLISH, which the protocol would treat as a new message. Over UDP exactly-once delivery
 * therefore needs this memory, and holds if no datagram outlives it. Slots are numbered because they are recorded in the store.
 *
 * No step of an exchange searches the slots: hash chains find an id with its fingerprint, and a list has the released ids in the
 * order in which they expire. With 1,000 ids remembered, as many as a client with 17 exchanges a second has, an exchange takes
 * 0.25 us where searching took 4 to 6. All of it is in one buffer of 20 bytes a slot, where objects took 75.
 */
export class Qos2Ids {
  /** Bytes of memory for the first id. */
  static readonly leastBytes = bytesOf(SLOTS_LEAST)
  /** Number of slots in use. */
  #size = 0
  /** Slots from here on were never used. */
  #end = 0
  /** Of each slot: until when its id is remembered, fingerprint, message id (0 if the slot is empty), next slots. */
  #until!: Float64Array
  #print!: Uint32Array
  #msgId!: Uint16Array
  /** The next slot in the list that the slot is in: the empty ones, or those that expire. */
  #next!: Uint16Array
  /** The first slot of each hash chain, and the next one in the chain. */
  #heads!: Uint16Array
  #chain!: Uint16Array
  #empty = NONE
  /** Those that expire, the earliest first. */
  #first = NONE
  #last = NONE
  /** The slots of the ids that wait for PUBREL, by message id. */
  readonly #openAt = new Map<number, number>()

  constructor() {
    this.#allocate(SLOTS_LEAST)
  }

  /** Number of ids that are remembered. */
  get size(): number {
    return this.#size
  }

  /** Bytes of memory in use. */
  get bytes(): number {
    return bytesOf(this.#until.length)
  }

  /** Bytes of memory that one more id takes. */
  growth(arrived: Instant): number {
    const capacity = this.#until.length
    if (this.#end < capacity || capacity === SLOTS || this.#empty !== NONE || this.over(arrived) !== undefined) return 0
    return bytesOf(2 * capacity) - bytesOf(capacity)
  }

  /**
   * Handles PUBLISH, received at `arrived` or later. Returns the slot that was written, or `undefined` if it has this id and
   * fingerprint already.
   */
  open(arrived: Instant, msgId: number, fingerprint: number): number | undefined {
    const known = this.#openAt.get(msgId)
    if (known !== undefined && this.#print[known] === fingerprint) return undefined
    const slot = known ?? this.#free(arrived)
    this.#write(slot, msgId, fingerprint, OPEN)
    return slot
  }

  /** Handles PUBREL. Returns the slot that was written, or `undefined` if the id is not open. */
  release(msgId: number, until: Instant): { readonly slot: number; readonly fingerprint: number } | undefined {
    const slot = this.#openAt.get(msgId)
    if (slot === undefined) return undefined
    this.#close(slot, until)
    // Releases follow each other in time, so each expires after those before it.
    if (this.#last === NONE) this.#first = slot
    else this.#next[this.#last] = slot
    this.#last = slot
    return { slot, fingerprint: this.#print[slot]! }
  }

  /** The message was refused: its id is free. */
  refused(msgId: number): void {
    const slot = this.#openAt.get(msgId)
    if (slot === undefined) return
    this.#close(slot, REFUSED)
    this.#next[slot] = this.#first
    this.#first = slot
    if (this.#last === NONE) this.#last = slot
  }

  /** Returns the fingerprint of the message that waits for PUBREL under this id. */
  openAs(msgId: number): number | undefined {
    const slot = this.#openAt.get(msgId)
    return slot === undefined ? undefined : this.#print[slot]
  }

  /** The ids that wait for PUBREL. */
  get opened(): Iterable<number> {
    return this.#openAt.keys()
  }

  /** True if the client has used this id and may still retransmit what it sent under it. */
  knows(msgId: number): boolean {
    // Only a repeated PUBREL is searched for.
    return msgId !== 0 && (this.#openAt.has(msgId) || this.#msgId.includes(msgId))
  }

  /** True for a delayed copy of a finished exchange: same id, topic and payload. It was received at `arrived` or later. */
  isLateCopy(arrived: Instant, msgId: number, fingerprint: number): boolean {
    for (let slot = this.#heads[this.#hash(msgId, fingerprint)]!; slot !== NONE; slot = this.#chain[slot]!) {
      const until = this.#until[slot]!
      if (this.#msgId[slot] === msgId && this.#print[slot] === fingerprint && until > arrived && until !== OPEN) return true
    }
    return false
  }

  /** When the next id expires; `undefined` if all of them wait for the client. */
  nextOver(): Instant | undefined {
    return this.#first === NONE ? undefined : this.#until[this.#first]
  }

  /** Returns a slot whose id has expired at `arrived`. */
  over(arrived: Instant): number | undefined {
    return this.#first !== NONE && this.#until[this.#first]! <= arrived ? this.#first : undefined
  }

  /** Empties a slot: the one that `over` returned, or any while the store is replayed. */
  remove(slot: number): void {
    if (slot >= this.#end || this.#msgId[slot] === 0) return
    if (slot === this.#first) this.#shift()
    this.#erase(slot)
    this.#next[slot] = this.#empty
    this.#empty = slot
  }

  /** Used by the replay of the store. */
  restore(slot: number, { msgId, fingerprint, until = OPEN }: Qos2Id): void {
    if (slot >= SLOTS) return
    while (slot >= this.#until.length) this.#grow()
    this.#end = Math.max(this.#end, slot + 1)
    this.#write(slot, msgId, fingerprint, until)
  }

  /** Ends the replay: converts times from the store's time line. No id is kept for longer than until `most`. */
  recover({ epoch }: WallClock, most: Instant): void {
    const released: number[] = []
    this.#empty = NONE
    for (let slot = this.#end - 1; slot >= 0; slot--) {
      if (this.#msgId[slot] === 0) {
        this.#next[slot] = this.#empty
        this.#empty = slot
      } else if (this.#until[slot] !== OPEN) {
        this.#until[slot] = Math.min(this.#until[slot]! - epoch, most)
        released.push(slot)
      }
    }
    released.sort((a, b) => this.#until[b]! - this.#until[a]! || b - a)
    this.#first = NONE
    this.#last = released[0] ?? NONE
    for (const slot of released) {
      this.#next[slot] = this.#first
      this.#first = slot
    }
  }

  /** Returns an empty slot, else one with an expired id, else a new slot, else the one that expires first. */
  #free(arrived: Instant): number {
    if (this.over(arrived) !== undefined) return this.#shift()
    const slot = this.#empty
    if (slot !== NONE) {
      this.#empty = this.#next[slot]!
      return slot
    }
    if (this.#end < SLOTS) {
      if (this.#end === this.#until.length) this.#grow()
      return this.#end++
    }
    return this.#first === NONE ? 0 : this.#shift()
  }

  /** Takes the id that expires first from its list. */
  #shift(): number {
    const slot = this.#first
    this.#first = slot === this.#last ? NONE : this.#next[slot]!
    if (this.#first === NONE) this.#last = NONE
    return slot
  }

  #close(slot: number, until: Instant): void {
    this.#openAt.delete(this.#msgId[slot]!)
    this.#until[slot] = until
    this.#next[slot] = NONE
  }

  #write(slot: number, msgId: number, fingerprint: number, until: Instant): void {
    this.#erase(slot)
    this.#msgId[slot] = msgId
    this.#print[slot] = fingerprint
    this.#until[slot] = until
    this.#size++
    if (until === OPEN) this.#openAt.set(msgId, slot)
    this.#link(slot)
  }

  #erase(slot: number): void {
    const msgId = this.#msgId[slot]!
    if (msgId === 0) return
    if (this.#openAt.get(msgId) === slot) this.#openAt.delete(msgId)
    this.#unlink(slot)
    this.#msgId[slot] = 0
    this.#size--
  }

  #hash(msgId: number, fingerprint: number): number {
    return (fingerprint ^ Math.imul(msgId, 0x9e3779b1)) & (this.#heads.length - 1)
  }

  #link(slot: number): void {
    const hash = this.#hash(this.#msgId[slot]!, this.#print[slot]!)
    this.#chain[slot] = this.#heads[hash]!
    this.#heads[hash] = slot
  }

  #unlink(slot: number): void {
    const hash = this.#hash(this.#msgId[slot]!, this.#print[slot]!)
    const chain = this.#chain
    if (this.#heads[hash] === slot) {
      this.#heads[hash] = chain[slot]!
      return
    }
    let before = this.#heads[hash]!
    while (chain[before] !== slot) before = chain[before]!
    chain[before] = chain[slot]!
  }

  #grow(): void {
    const [until, print, msgId, next] = [this.#until, this.#print, this.#msgId, this.#next]
    this.#allocate(2 * until.length)
    this.#until.set(until)
    this.#print.set(print)
    this.#msgId.set(msgId)
    this.#next.set(next)
    for (let slot = 0; slot < this.#end; slot++) if (this.#msgId[slot] !== 0) this.#link(slot)
  }

  #allocate(slots: number): void {
    const buffer = new ArrayBuffer(slots * SLOT_BYTES)
    this.#until = new Float64Array(buffer, 0, slots)
    this.#print = new Uint32Array(buffer, slots * 8, slots)
    this.#msgId = new Uint16Array(buffer, slots * 12, slots)
    this.#next = new Uint16Array(buffer, slots * 14, slots)
    this.#chain = new Uint16Array(buffer, slots * 16, slots)
    this.#heads = new Uint16Array(buffer, slots * 18, slots).fill(NONE)
  }
}
