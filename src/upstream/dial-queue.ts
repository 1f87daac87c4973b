import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Timers } from '../base/timers.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { KnownTarget } from './targets.ts'
import type { UpstreamLink } from './upstream-link.ts'

/** Milliseconds between two looks at targets whose only attempt is under way. */
const LOOK_AGAIN_MS = 1_000

/** Links whose time has come to dial, in order, within the dial budget; those that their owners wait for come first. */
export class DialQueue {
  readonly #urgent = new Fifo<UpstreamLink>()
  readonly #others = new Fifo<UpstreamLink>()
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
    link.wanting = link.isUrgent ? 'urgent' : 'later'
    if (link.isUrgent) this.#urgent.push(link)
    else this.#others.push(link)
  }

  /** A link that waits here comes before those that are not urgent. Its other place is passed over. */
  urge(link: UpstreamLink): void {
    link.wanting = 'urgent'
    this.#urgent.push(link)
  }

  /** When there is something to do. */
  next(): Instant | undefined {
    return this.#urgent.length + this.#others.length > 0 ? this.#nextAt : undefined
  }

  takeToken(now: Instant): boolean {
    return this.#budget.take(now)
  }

  /** Dials for as many links as the budget allows. */
  work(now: Instant, dial: (link: UpstreamLink, known: KnownTarget) => void): void {
    if (this.#work(now, this.#urgent, dial)) this.#work(now, this.#others, dial)
  }

  /** False if the budget is used up. */
  #work(now: Instant, due: Fifo<UpstreamLink>, dial: (link: UpstreamLink, known: KnownTarget) => void): boolean {
    for (let link = due.peek(); link !== undefined; link = due.peek()) {
      if (link.wanting !== false && link.connect !== undefined && link.stream === undefined && !link.parked) {
        const known = link.targets.choose(now)
        if (known === undefined) this.#timers.arm(link.timer, link.targets.nextDial() ?? now + LOOK_AGAIN_MS)
        else if (this.#budget.take(now)) dial(link, known)
        else {
          this.#nextAt = now + 1000 / this.#perSecond
          return false
        }
      }
      link.wanting = false
      due.shift()
    }
    return true
  }
}
