import { EXPIRY_GRAIN_MS } from '../../../src/broker/expiry.ts'
import { messageOf } from '../../../src/broker/session-queue.ts'
import { textOf } from '../texts.ts'
import { SiteChecker } from './checker.ts'

/** A store that refused a deletion is asked again after this long. */
const RETRY_MS = 10_000

/** Expired messages leave queues and retained messages in time, whether anybody asks for them or not. */
export class ExpiredLeaves extends SiteChecker {
  readonly name = 'what expires leaves'
  #refusedAt = Number.NEGATIVE_INFINITY
  #refusals = 0

  look(): void {
    const { world } = this.site
    const { broker } = world.server
    const { now } = world.schedule
    if (world.store.refuse || world.store.refusals !== this.#refusals) this.#refusedAt = now
    this.#refusals = world.store.refusals
    for (const session of broker.sessions) {
      for (const entry of session.queue ?? []) {
        const { expiresAt, payload } = messageOf(entry)
        if (expiresAt !== undefined && expiresAt + EXPIRY_GRAIN_MS < now)
          this.tell(`"${textOf(payload)}" waits for ${session.key}, and expired at ${expiresAt} ms`)
      }
    }
    if (now < this.#refusedAt + RETRY_MS) return
    for (const { topic, expiresAt } of broker.retained) {
      if (expiresAt !== undefined && expiresAt < now)
        this.tell(`a message is retained on ${topic}, and expired at ${expiresAt} ms`)
    }
  }
}
