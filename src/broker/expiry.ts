import type { Instant } from '../base/machine.ts'
import { Timer, Timers } from '../base/timers.ts'
import { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import type { Session } from './session.ts'
import type { SessionQueue } from './session-queue.ts'
import { storedMessage } from './stored.ts'

/** Interval (ms) at which a queue is searched for expired messages, and so the longest that they stay. */
export const EXPIRY_GRAIN_MS = 10_000
/** Queues and retained messages that expire in one step; the next step follows after everything else has had its turn. */
const STEP_MESSAGES = 1024
/** The store had no room: the next attempt to delete retained messages is this much later (ms). */
const RETRY_MS = 10_000

type Parts = Pick<BrokerContext, 'store' | 'clock' | 'retained' | 'sweeps'>

/**
 * Message Expiry Interval [5.0 section 3.3.2.3.3] of messages that are not being delivered: removes them from the retained
 * messages and the queues of absent clients (`QueueSweeps`), in memory, on disk and in the counts, in steps of bounded size.
 */
export class Expiry {
  readonly #parts: Parts
  readonly #nextMessageId: () => number
  readonly #sessions = new Timers<Session>()
  #retryAt: Instant = Number.NEGATIVE_INFINITY

  constructor(parts: Parts, nextMessageId: () => number) {
    this.#parts = parts
    this.#nextMessageId = nextMessageId
  }

  next(): Instant | undefined {
    const queued = this.#sessions.next()
    const retained = this.#parts.retained.nextExpiry()
    if (retained === undefined) return queued
    return Math.min(queued ?? Number.POSITIVE_INFINITY, Math.max(retained, this.#retryAt))
  }

  /** One step; `next` is in the past while there is more to do. */
  handleTimeout(now: Instant): void {
    let left = STEP_MESSAGES
    while (left > 0) {
      const timer = this.#sessions.expired(now)
      if (timer === undefined) break
      left--
      const session = timer.owner
      const { queue } = session
      // The message it was set for may be gone, with others still queued.
      if (queue?.firstExpiry !== undefined && queue.firstExpiry > now) this.#arm(session, queue, queue.firstExpiry)
      else this.#parts.sweeps.expire(session)
    }
    this.dropRetained(now, left)
  }

  /** A message with this expiry was queued for the session. */
  queued(session: Session, expiresAt: Instant | undefined): void {
    const { queue } = session
    if (expiresAt === undefined || queue === undefined) return
    if (expiresAt >= (queue.firstExpiry ?? Number.POSITIVE_INFINITY)) return
    queue.firstExpiry = expiresAt
    this.#arm(session, queue, expiresAt)
  }

  #arm(session: Session, queue: SessionQueue, firstExpiry: Instant): void {
    const due = Math.ceil(firstExpiry / EXPIRY_GRAIN_MS) * EXPIRY_GRAIN_MS
    queue.expiryTimer ??= new Timer(session)
    if (!queue.expiryTimer.armed || queue.expiryTimer.deadline > due) this.#sessions.arm(queue.expiryTimer, due)
  }

  /** The session is over, or nothing is queued for it. */
  forget({ queue }: Session): void {
    if (queue === undefined) return
    queue.firstExpiry = undefined
    if (queue.expiryTimer !== undefined) this.#sessions.disarm(queue.expiryTimer)
  }

  /** Deletes a limited number of expired retained messages; returns whether there were any. */
  dropRetained(now: Instant, most = STEP_MESSAGES): boolean {
    const { retained, store, clock } = this.#parts
    let any = false
    for (let left = most; left > 0 && now >= this.#retryAt; left--) {
      const message = retained.firstExpired(now)
      if (message === undefined) break
      // As if a client had deleted it, so that its row is deleted too.
      const cleared = Publish.of(message.topic, EMPTY, 0, true)
      const id = this.#nextMessageId()
      if (
        store.append({ type: 'message', id, message: storedMessage(clock, cleared), deliveries: [], retains: true }) === 'full'
      ) {
        this.#retryAt = now + RETRY_MS
        break
      }
      retained.delete(message.topic)
      any = true
    }
    return any
  }
}

const EMPTY = new Uint8Array(0)
