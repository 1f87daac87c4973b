import type { Instant } from '../base/machine.ts'
import { Timer, Timers } from '../base/timers.ts'
import { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import { messageOf, type Session } from './session.ts'
import { storedMessage } from './stored.ts'

/** Interval (ms) at which a queue is searched for expired messages, and so the longest that they stay. */
export const EXPIRY_GRAIN_MS = 10_000
/** Queued and retained messages examined in one step; the next step follows after everything else has had its turn. */
const STEP_MESSAGES = 1024
/** The store had no room: the next attempt to delete retained messages is this much later (ms). */
const RETRY_MS = 10_000

type Parts = Pick<BrokerContext, 'store' | 'clock' | 'notice' | 'stats' | 'retained' | 'memory'>

/**
 * Message Expiry Interval [5.0 section 3.3.2.3.3] of messages that are not being delivered: removes them from the retained
 * messages and the queues of absent clients, in memory, on disk and in the counts, in steps of bounded size.
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
      left -= 1 + timer.owner.queueLength
      this.dropQueued(now, timer.owner)
      // The message it was set for may be gone, with others still queued.
      this.#arm(timer.owner)
    }
    this.dropRetained(now, left)
  }

  /** A message with this expiry was queued for the session. */
  queued(session: Session, expiresAt: Instant | undefined): void {
    if (expiresAt === undefined || expiresAt >= (session.firstExpiry ?? Number.POSITIVE_INFINITY)) return
    session.firstExpiry = expiresAt
    this.#arm(session)
  }

  #arm(session: Session): void {
    if (session.firstExpiry === undefined) return
    const due = Math.ceil(session.firstExpiry / EXPIRY_GRAIN_MS) * EXPIRY_GRAIN_MS
    session.expiryTimer ??= new Timer(session)
    if (!session.expiryTimer.armed || session.expiryTimer.deadline > due) this.#sessions.arm(session.expiryTimer, due)
  }

  /** The session is over. */
  forget({ expiryTimer }: Session): void {
    if (expiryTimer !== undefined) this.#sessions.disarm(expiryTimer)
  }

  /** Drops expired messages in the queue of this session; returns whether there were any. */
  dropQueued(now: Instant, session: Session): boolean {
    if (session.firstExpiry === undefined || session.firstExpiry > now) return false
    const { store, stats, notice, memory } = this.#parts
    let first: Publish | undefined
    let next = Number.POSITIVE_INFINITY
    const count = session.filterQueue((entry) => {
      const message = messageOf(entry)
      if (message.expiresAt === undefined) return true
      if (message.expiresAt > now) {
        next = Math.min(next, message.expiresAt)
        return true
      }
      first ??= message
      if (session.persistent && message.id !== 0) store.append({ type: 'done', key: session.key, id: message.id })
      return false
    })
    session.firstExpiry = undefined
    if (next < Number.POSITIVE_INFINITY) this.queued(session, next)
    if (count === 0) return false
    memory.shares.recount(session)
    stats.publishDropped += count
    const reason = count === 1 ? `expired on ${first!.topic}` : `expired, the first of ${count} on ${first!.topic}`
    notice({ code: 'message-dropped', level: 'debug', client: session.key, reason, count })
    return true
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
