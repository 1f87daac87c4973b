import type { Instant } from '../base/machine.ts'
import type { WallClock } from '../store/store.ts'

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
  readonly #slots: Qos2Id[] = []

  /** PUBLISH came, at `arrived` or later; gives the place that was written, or `undefined` if it says so already. */
  open(arrived: Instant, msgId: number, fingerprint: number): number | undefined {
    const known = this.#opened(msgId)
    if (known >= 0 && this.#slots[known]!.fingerprint === fingerprint) return undefined
    const slot = known >= 0 ? known : this.#free(arrived)
    this.#slots[slot] = { msgId, fingerprint, until: undefined }
    return slot
  }

  /** PUBREL came; gives the place that was written, or `undefined` if the id is not open. */
  release(msgId: number, until: Instant): { readonly slot: number; readonly fingerprint: number } | undefined {
    const slot = this.#opened(msgId)
    if (slot < 0) return undefined
    const { fingerprint } = this.#slots[slot]!
    this.#slots[slot] = { msgId, fingerprint, until }
    return { slot, fingerprint }
  }

  /** The message was refused, and its id stands for nothing. */
  refused(msgId: number): void {
    const slot = this.#opened(msgId)
    if (slot >= 0) this.#slots[slot] = { msgId, fingerprint: 0, until: Number.NEGATIVE_INFINITY }
  }

  /** Whether this is a late copy of a finished exchange: same id, same topic and payload. It came at `arrived` or later. */
  isLateCopy(arrived: Instant, msgId: number, fingerprint: number): boolean {
    if (this.#opened(msgId) >= 0) return false
    return this.#slots.some((slot) => slot.msgId === msgId && slot.fingerprint === fingerprint && slot.until! > arrived)
  }

  /** For the replay. */
  restore(slot: number, id: Qos2Id): void {
    while (this.#slots.length <= slot) this.#slots.push({ msgId: 0, fingerprint: 0, until: Number.NEGATIVE_INFINITY })
    this.#slots[slot] = id
  }

  /** Ends the replay, in which times are by the store's time line. Nothing is held for longer than until `most`. */
  recover({ epoch }: WallClock, most: Instant): void {
    for (const [slot, id] of this.#slots.entries())
      if (id.until !== undefined) this.#slots[slot] = { ...id, until: Math.min(id.until - epoch, most) }
  }

  #opened(msgId: number): number {
    return this.#slots.findIndex((slot) => slot.until === undefined && slot.msgId === msgId)
  }

  /** One that nobody needs any more, else a new one, else the one that is nearest to its end. */
  #free(arrived: Instant): number {
    const idle = this.#slots.findIndex(({ until }) => until !== undefined && until <= arrived)
    if (idle >= 0) return idle
    if (this.#slots.length < SLOTS) return this.#slots.length
    let first = 0
    for (let i = 1; i < SLOTS; i++) {
      if ((this.#slots[i]!.until ?? Number.POSITIVE_INFINITY) < (this.#slots[first]!.until ?? Number.POSITIVE_INFINITY)) first = i
    }
    return first
  }
}

/** FNV-1a over topic and payload, 32 bits. */
export function fingerprint(topic: string, payload: Uint8Array): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < topic.length; i++) hash = Math.imul(hash ^ topic.charCodeAt(i), 0x01000193)
  for (let i = 0; i < payload.length; i++) hash = Math.imul(hash ^ payload[i]!, 0x01000193)
  return hash >>> 0
}
