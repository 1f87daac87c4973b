import type { Instant } from '../base/machine.ts'
import type { Pace } from '../store/pace.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Session } from './session.ts'
import { dropForbidden } from './session-rights.ts'
import type { Sessions } from './sessions.ts'

/**
 * Filters and messages of sessions that are held against new rules in one turn, and one session: some milliseconds, where there
 * are many rules.
 */
const CHECKED_PER_TURN = 4096

export interface RuleCheckOwner {
  close(now: Instant, link: ClientLink, reasonCode: number, disconnect?: boolean, reason?: string): void
  markReady(link: ClientLink): void
}

/** After a change of the access rules: holds one session after the other against them, over as many turns as that takes. */
export class RuleCheck {
  readonly #context: BrokerContext
  readonly #sessions: Sessions
  readonly #pace: Pace
  readonly #owner: RuleCheckOwner
  /** Sessions that have not been held against the new rules. */
  #unchecked: Iterator<Session> | undefined

  constructor(context: BrokerContext, sessions: Sessions, pace: Pace, owner: RuleCheckOwner) {
    this.#context = context
    this.#sessions = sessions
    this.#pace = pace
    this.#owner = owner
  }

  get isOver(): boolean {
    return this.#unchecked === undefined
  }

  begin(now: Instant): void {
    for (const session of this.#sessions) session.unchecked = true
    this.#unchecked = this.#sessions[Symbol.iterator]()
    this.goOn(now)
  }

  goOn(now: Instant): void {
    const sessions = this.#unchecked
    if (sessions === undefined) return
    let left = CHECKED_PER_TURN
    const done = this.#pace.run(now, () => {
      const session = left > 0 ? sessions.next().value : undefined
      if (session === undefined) return false
      left -= 1 + session.queueLength + (session.inflight?.size ?? 0) + (session.subscriptions?.size ?? 0)
      this.#check(now, session)
      return true
    })
    if (done && left > 0) this.#unchecked = undefined
  }

  #check(now: Instant, session: Session): void {
    const { access, notice } = this.#context
    const { link, key } = session
    const reasonCode = link === undefined ? 0 : access.remains(session, link.info.peer)
    if (link !== undefined && reasonCode !== 0) {
      const reason = 'the rules have changed'
      notice({ code: 'client-revoked', level: 'warn', client: key, peer: link.info.peer, reason })
      this.#owner.close(now, link, reasonCode, true, reason)
    }
    if (!session.ended && session.unchecked) dropForbidden(this.#context, session)
    if (session.link !== undefined) this.#owner.markReady(session.link)
  }
}
