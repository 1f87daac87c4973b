import type { Instant } from '../base/machine.ts'
import type { ClientLink } from './client-link.ts'

/** Milliseconds between two attempts to append a record that the store had no room for. */
const AGAIN_MS = 1000

/** Links whose next item waits for the store: for a record to become durable, or for room to append one. */
export class StoreWaiters {
  readonly #markReady: (link: ClientLink) => void
  #links: ClientLink[] = []
  /** When to look for room; undefined if every record found room since the links were last woken. */
  #lookAt: Instant | undefined = undefined

  constructor(markReady: (link: ClientLink) => void) {
    this.#markReady = markReady
  }

  add(link: ClientLink): void {
    if (link.waiting) return
    link.waiting = true
    this.#links.push(link)
  }

  /** The store had no room for a record of such a link. Nothing may be on its way to the disk, so that no commit would wake it. */
  noRoom(now: Instant): void {
    this.#lookAt ??= now + AGAIN_MS
  }

  /** More records are durable: all of them look again. */
  wake(): void {
    this.#lookAt = undefined
    const links = this.#links
    this.#links = []
    for (const link of links) {
      link.waiting = false
      this.#markReady(link)
    }
  }

  handleTimeout(now: Instant): void {
    if (this.#lookAt !== undefined && this.#lookAt <= now) this.wake()
  }

  nextTimeout(): Instant | undefined {
    return this.#lookAt
  }
}
