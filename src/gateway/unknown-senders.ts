import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { RouteKey } from './ports/route.ts'

/** Minimum time between two replies to one sender, in milliseconds, so that it cannot use up the replies for all (ruling A8). */
const AGAIN_MS = 1000
/** Maximum number of senders whose last reply is remembered. */
const REMEMBERED_MAX = 1024

/** Limits replies to senders that are not connected: a rate for all of them together, and an interval for each. */
export class UnknownSenders {
  readonly #bucket: TokenBucket
  readonly #notice: NoticeSink
  /** Time of the last reply to each sender. The oldest is dropped at the limit. */
  readonly #answered = new Map<RouteKey, Instant>()

  constructor(perSecond: number, notice: NoticeSink) {
    this.#bucket = new TokenBucket(perSecond)
    this.#notice = notice
  }

  /** Returns true if this sender may be answered now, and counts it as answered. */
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
