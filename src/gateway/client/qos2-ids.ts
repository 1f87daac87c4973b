import type { Instant } from '../../base/machine.ts'
import type { WallClock } from '../../store/store.ts'

/** Maximum number of ids remembered per client: 17 exchanges a second for a minute. */
const SLOTS = 1024

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
 */
export class Qos2Ids {
  readonly #slots: (Qos2Id | undefined)[] = []
  /** Number of slots in use. */
  #size = 0
  /** The slots of the ids that wait for PUBREL, by message id. */
  readonly #openAt = new Map<number, number>()

  /** Number of ids that are remembered. */
  get size(): number {
    return this.#size
  }

  /** True if one more id needs an additional slot. */
  isFull(arrived: Instant): boolean {
    return this.#size === this.#slots.length && this.#size < SLOTS && !this.#slots.some((id) => isOver(id, arrived))
  }

  /**
   * Handles PUBLISH, received at `arrived` or later. Returns the slot that was written, or `undefined` if it has this id and
   * fingerprint already.
   */
  open(arrived: Instant, msgId: number, fingerprint: number): number | undefined {
    const known = this.#openAt.get(msgId)
    if (known !== undefined && this.#slots[known]!.fingerprint === fingerprint) return undefined
    const slot = known ?? this.#free(arrived)
    this.#set(slot, { msgId, fingerprint, until: undefined })
    return slot
  }

  /** Handles PUBREL. Returns the slot that was written, or `undefined` if the id is not open. */
  release(msgId: number, until: Instant): { readonly slot: number; readonly fingerprint: number } | undefined {
    const slot = this.#openAt.get(msgId)
    if (slot === undefined) return undefined
    const { fingerprint } = this.#slots[slot]!
    this.#set(slot, { msgId, fingerprint, until })
    return { slot, fingerprint }
  }

  /** The message was refused: its id is free. */
  refused(msgId: number): void {
    const slot = this.#openAt.get(msgId)
    if (slot !== undefined) this.#set(slot, { msgId, fingerprint: 0, until: Number.NEGATIVE_INFINITY })
  }

  /** Returns the fingerprint of the message that waits for PUBREL under this id. */
  openAs(msgId: number): number | undefined {
    const slot = this.#openAt.get(msgId)
    return slot === undefined ? undefined : this.#slots[slot]!.fingerprint
  }

  /** The ids that wait for PUBREL. */
  get opened(): Iterable<number> {
    return this.#openAt.keys()
  }

  /** True if the client has used this id and may still retransmit what it sent under it. */
  knows(msgId: number): boolean {
    return this.#openAt.has(msgId) || this.#slots.some((id) => id?.msgId === msgId)
  }

  /** True for a delayed copy of a finished exchange: same id, topic and payload. It was received at `arrived` or later. */
  isLateCopy(arrived: Instant, msgId: number, fingerprint: number): boolean {
    return this.#slots.some((id) => id?.msgId === msgId && id.fingerprint === fingerprint && (id.until ?? arrived) > arrived)
  }

  /** When the next id expires; `undefined` if all of them wait for the client. */
  nextOver(): Instant | undefined {
    let next: Instant | undefined
    for (const id of this.#slots) if (id?.until !== undefined && (next === undefined || id.until < next)) next = id.until
    return next
  }

  /** Returns a slot whose id has expired at `arrived`. */
  over(arrived: Instant): number | undefined {
    const slot = this.#slots.findIndex((id) => isOver(id, arrived))
    return slot < 0 ? undefined : slot
  }

  /** Empties a slot. */
  remove(slot: number): void {
    this.#set(slot, undefined)
    while (this.#slots.length > 0 && this.#slots.at(-1) === undefined) this.#slots.pop()
  }

  /** Used by the replay of the store. */
  restore(slot: number, id: Qos2Id): void {
    while (this.#slots.length < slot) this.#slots.push(undefined)
    this.#set(slot, id)
  }

  /** Ends the replay: converts times from the store's time line. No id is kept for longer than until `most`. */
  recover({ epoch }: WallClock, most: Instant): void {
    for (const [slot, id] of this.#slots.entries())
      if (id?.until !== undefined) this.#slots[slot] = { ...id, until: Math.min(id.until - epoch, most) }
  }

  #set(slot: number, id: Qos2Id | undefined): void {
    const before = this.#slots[slot]
    if (before !== undefined && this.#openAt.get(before.msgId) === slot) this.#openAt.delete(before.msgId)
    if (id !== undefined && id.until === undefined) this.#openAt.set(id.msgId, slot)
    this.#size += Number(id !== undefined) - Number(before !== undefined)
    this.#slots[slot] = id
  }

  /** Returns a slot with an expired id, else a new slot, else the one that expires first. */
  #free(arrived: Instant): number {
    const idle = this.#slots.findIndex((id) => id === undefined || isOver(id, arrived))
    if (idle >= 0) return idle
    if (this.#slots.length < SLOTS) return this.#slots.length
    let first = 0
    for (let i = 1; i < SLOTS; i++) if (endOf(this.#slots[i]) < endOf(this.#slots[first])) first = i
    return first
  }
}

const isOver = (id: Qos2Id | undefined, arrived: Instant): boolean => id?.until !== undefined && id.until <= arrived
const endOf = (id: Qos2Id | undefined): Instant => id?.until ?? Number.POSITIVE_INFINITY

/** FNV-1a over topic and payload, 32 bits. */
export function fingerprint(topic: string, payload: Uint8Array): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < topic.length; i++) hash = Math.imul(hash ^ topic.charCodeAt(i), 0x01000193)
  for (let i = 0; i < payload.length; i++) hash = Math.imul(hash ^ payload[i]!, 0x01000193)
  return hash >>> 0
}
