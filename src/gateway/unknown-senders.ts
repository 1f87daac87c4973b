import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { RouteKey } from './ports/route.ts'

/** Milliseconds between two answers to one sender, so that it cannot use up the answers for all (ruling A8). */
const AGAIN_MS = 1000
/** Senders whose last answer is remembered. */
const REMEMBERED_MAX = 1024

/** How often senders that are not connected are told so: a budget for all of them together, and an interval for each. */
export class UnknownSenders {
  readonly #bucket: TokenBucket
  readonly #notice: NoticeSink
  /** When each was last answered; the oldest is forgotten when there are too many. */
  readonly #answered = new Map<RouteKey, Instant>()

  constructor(perSecond: number, notice: NoticeSink) {
    this.#bucket = new TokenBucket(perSecond)
    this.#notice = notice
  }

  /** True if this sender may be answered now, which counts as an answer. */
  mayAnswer(now: Instant, route: RouteKey): boolean {
    const last = this.#answered.get(route)
    if (last !== undefined && now - last < AGAIN_MS) return false
    if (!this.#bucket.take(now)) {
      const limit = 'unknown_sender_replies_per_second'
      this.#notice({ code: 'limit-reached', level: 'warn', peer: route, reason: 'an unknown sender is not answered', limit })
      return false
    }
    this.#answered.delete(route)
    if (this.#answered.size >= REMEMBERED_MAX) this.#answered.delete(this.#answered.keys().next().value!)
    this.#answered.set(route, now)
    return true
  }
}
