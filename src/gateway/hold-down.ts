import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'

/** Finished QoS 2 exchanges that are remembered for one client. It has one at a time, so these are many datagram lifetimes. */
const HELD_MAX = 8

interface Finished {
  readonly msgId: number
  readonly fingerprint: number
  readonly until: Instant
}

/**
 * QoS 2 message ids that were released a short while ago. The network may still hold a copy of their PUBLISH, and by the letter of the
 * protocol that copy would be a new message: over UDP exactly-once needs this memory, and holds as long as no datagram lives longer.
 */
export class HoldDown {
  readonly #finished = new Fifo<Finished>()

  add(now: Instant, msgId: number, fingerprint: number, holdMs: number): void {
    if (this.#finished.length >= HELD_MAX) this.#finished.shift()
    this.#finished.push({ msgId, fingerprint, until: now + holdMs })
  }

  /** Whether this is a late copy: same id, same topic and payload. */
  has(now: Instant, msgId: number, fingerprint: number): boolean {
    for (let head = this.#finished.peek(); head !== undefined && head.until <= now; head = this.#finished.peek())
      this.#finished.shift()
    for (const finished of this.#finished) if (finished.msgId === msgId && finished.fingerprint === fingerprint) return true
    return false
  }
}

/** FNV-1a over topic and payload, 32 bits. */
export function fingerprint(topic: string, payload: Uint8Array): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < topic.length; i++) hash = Math.imul(hash ^ topic.charCodeAt(i), 0x01000193)
  for (let i = 0; i < payload.length; i++) hash = Math.imul(hash ^ payload[i]!, 0x01000193)
  return hash >>> 0
}
