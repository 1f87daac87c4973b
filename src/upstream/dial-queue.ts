import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Timers } from '../base/timers.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { KnownTarget } from './targets.ts'
import type { UpstreamLink } from './upstream-link.ts'

/** Milliseconds between two looks at targets whose only attempt is under way. */
const LOOK_AGAIN_MS = 1_000

/** Links whose time has come to dial, in order, within the dial budget. */
export class DialQueue {
  readonly #due = new Fifo<UpstreamLink>()
  readonly #perSecond: number
  readonly #budget: TokenBucket
  readonly #timers: Timers<UpstreamLink>
  #nextAt: Instant = 0

  /** `timers`: where a link waits whose targets may not be dialled yet. */
  constructor(perSecond: number, timers: Timers<UpstreamLink>) {
    this.#perSecond = perSecond
    this.#budget = new TokenBucket(perSecond)
    this.#timers = timers
  }

  add(link: UpstreamLink): void {
    if (link.connect === undefined || link.wanting || link.parked) return
    link.wanting = true
    this.#due.push(link)
  }

  /** When there is something to do. */
  next(): Instant | undefined {
    return this.#due.length > 0 ? this.#nextAt : undefined
  }

  takeToken(now: Instant): boolean {
    return this.#budget.take(now)
  }

  /** Dials for as many links as the budget allows. */
  work(now: Instant, dial: (link: UpstreamLink, known: KnownTarget) => void): void {
    for (let link = this.#due.peek(); link !== undefined; link = this.#due.peek()) {
      if (link.connect !== undefined && link.stream === undefined && !link.parked) {
        const known = link.targets.choose(now)
        if (known === undefined) this.#timers.arm(link.timer, link.targets.nextDial() ?? now + LOOK_AGAIN_MS)
        else if (this.#budget.take(now)) dial(link, known)
        else {
          this.#nextAt = now + 1000 / this.#perSecond
          return
        }
      }
      link.wanting = false
      this.#due.shift()
    }
  }
}
