import type { Instant } from '../../base/machine.ts'
import type { WallClock } from '../../store/store.ts'

/** Ids that are remembered for one client at most: those of 17 exchanges a second for a minute. */
const SLOTS = 1024

export interface Qos2Id {
  readonly msgId: number
  readonly fingerprint: number
  /** `undefined` from PUBLISH to PUBREL, and then until when a late copy may still come. */
  readonly until: Instant | undefined
}

/**
 * QoS 2 message ids that a client has used: those that wait for PUBREL, and those that were released a short while ago. The network may still
 * hold a copy of a released PUBLISH, and by the letter of the protocol that copy would be a new message: over UDP exactly-once needs this
 * memory, and holds as long as no datagram lives longer. Places are numbered, because they outlive the process.
 */
export class Qos2Ids {
  readonly #slots: (Qos2Id | undefined)[] = []
  /** Slots that are taken. */
  #size = 0
  /** The slots of those that wait for PUBREL, by message id. */
  readonly #openAt = new Map<number, number>()

  /** Ids that are remembered. */
  get size(): number {
    return this.#size
  }

  /** One more id would need a place of its own. */
  isFull(arrived: Instant): boolean {
    return this.#size === this.#slots.length && this.#size < SLOTS && !this.#slots.some((id) => isOver(id, arrived))
  }

  /** PUBLISH came, at `arrived` or later; gives the place that was written, or `undefined` if it says so already. */
  open(arrived: Instant, msgId: number, fingerprint: number): number | undefined {
    const known = this.#openAt.get(msgId)
    if (known !== undefined && this.#slots[known]!.fingerprint === fingerprint) return undefined
    const slot = known ?? this.#free(arrived)
    this.#set(slot, { msgId, fingerprint, until: undefined })
    return slot
  }

  /** PUBREL came; gives the place that was written, or `undefined` if the id is not open. */
  release(msgId: number, until: Instant): { readonly slot: number; readonly fingerprint: number } | undefined {
    const slot = this.#openAt.get(msgId)
    if (slot === undefined) return undefined
    const { fingerprint } = this.#slots[slot]!
    this.#set(slot, { msgId, fingerprint, until })
    return { slot, fingerprint }
  }

  /** The message was refused, and its id stands for nothing. */
  refused(msgId: number): void {
    const slot = this.#openAt.get(msgId)
    if (slot !== undefined) this.#set(slot, { msgId, fingerprint: 0, until: Number.NEGATIVE_INFINITY })
  }

  /** What the message is that has this id and waits for PUBREL. */
  openAs(msgId: number): number | undefined {
    const slot = this.#openAt.get(msgId)
    return slot === undefined ? undefined : this.#slots[slot]!.fingerprint
  }

  /** Those that wait for PUBREL. */
  get opened(): Iterable<number> {
    return this.#openAt.keys()
  }

  /** The client has used this id, and may still repeat what it said with it. */
  knows(msgId: number): boolean {
    return this.#openAt.has(msgId) || this.#slots.some((id) => id?.msgId === msgId)
  }

  /** Whether this is a late copy of a finished exchange: same id, same topic and payload. It came at `arrived` or later. */
  isLateCopy(arrived: Instant, msgId: number, fingerprint: number): boolean {
    return this.#slots.some((id) => id?.msgId === msgId && id.fingerprint === fingerprint && (id.until ?? arrived) > arrived)
  }

  /** When the next id is over; `undefined` if that is up to the client. */
  nextOver(): Instant | undefined {
    let next: Instant | undefined
    for (const id of this.#slots) if (id?.until !== undefined && (next === undefined || id.until < next)) next = id.until
    return next
  }

  /** A place whose id is over at `arrived`. */
  over(arrived: Instant): number | undefined {
    const slot = this.#slots.findIndex((id) => isOver(id, arrived))
    return slot < 0 ? undefined : slot
  }

  /** Empties a place. */
  remove(slot: number): void {
    this.#set(slot, undefined)
    while (this.#slots.length > 0 && this.#slots.at(-1) === undefined) this.#slots.pop()
  }

  /** For the replay. */
  restore(slot: number, id: Qos2Id): void {
    while (this.#slots.length < slot) this.#slots.push(undefined)
    this.#set(slot, id)
  }

  /** Ends the replay, in which times are by the store's time line. Nothing is held for longer than until `most`. */
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

  /** One that nobody needs any more, else a new one, else the one that is nearest to its end. */
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
