import type { Instant } from '../base/machine.ts'
import type { Pace } from '../store/pace.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Session } from './session.ts'
import { checksOf, dropForbidden, isUnrestricted } from './session-rights.ts'
import type { Sessions } from './sessions.ts'

/**
 * Filters and messages in flight of sessions that are held against new rules in one turn, and one session: some milliseconds,
 * where there are many rules. Queues have a limit of their own (`QueueSweeps`).
 */
const CHECKED_PER_TURN = 4096

export interface RuleCheckOwner {
  close(now: Instant, link: ClientLink, reasonCode: number, disconnect?: boolean, reason?: string): void
  markReady(link: ClientLink): void
  readonly resting: { linkOf(session: Session): ClientLink | undefined }
}

/**
 * After a change of the access rules, or of the rights of single clients: holds one session after the other against them, over as
 * many turns as that takes. Until a session is checked, each of its messages is checked before it is sent.
 */
export class RuleCheck {
  readonly #context: BrokerContext
  readonly #sessions: Sessions
  readonly #pace: Pace
  readonly #owner: RuleCheckOwner
  /** Sessions that have not been held against the new rules. */
  #unchecked: Iterator<Session> | undefined
  /** Sessions that have not been held against the rights that a re-authentication or another user has brought. */
  readonly #renewed = new Set<Session>()
  /** Filters and messages in flight that may still be checked in this turn. */
  #left = CHECKED_PER_TURN

  constructor(context: BrokerContext, sessions: Sessions, pace: Pace, owner: RuleCheckOwner) {
    this.#context = context
    this.#sessions = sessions
    this.#pace = pace
    this.#owner = owner
  }

  get isOver(): boolean {
    return this.#unchecked === undefined && this.#renewed.size === 0
  }

  endTurn(): void {
    this.#left = CHECKED_PER_TURN
  }

  begin(now: Instant): void {
    for (const session of this.#sessions) session.unchecked = true
    this.#unchecked = this.#sessions[Symbol.iterator]()
    this.goOn(now)
  }

  /** The rights of this client may have changed: it is checked now, unless others have used this turn. */
  renewed(now: Instant, session: Session): void {
    session.unchecked = !isUnrestricted(this.#context, session)
    if (!session.unchecked) return
    this.#renewed.add(session)
    this.#run(now, () => this.#nextRenewed())
  }

  goOn(now: Instant): void {
    if (this.isOver) return
    const isOver = this.#run(now, () => this.#nextRenewed() ?? this.#unchecked?.next().value)
    if (isOver) this.#unchecked = undefined
  }

  /** Checks one session after the other as long as the turn permits it. True if no more are left. */
  #run(now: Instant, next: () => Session | undefined): boolean {
    const done = this.#pace.run(now, () => {
      const session = this.#left > 0 ? next() : undefined
      if (session === undefined) return false
      this.#left--
      this.#check(now, session)
      return true
    })
    return done && this.#left > 0
  }

  #nextRenewed(): Session | undefined {
    for (const session of this.#renewed) {
      this.#renewed.delete(session)
      return session
    }
    return undefined
  }

  #check(now: Instant, session: Session): void {
    const { access, notice } = this.#context
    const { key } = session
    const link = this.#owner.resting.linkOf(session)
    const reasonCode = link === undefined ? 0 : access.remains(session, link.info.peer)
    if (link !== undefined && reasonCode !== 0) {
      const reason = 'the rules have changed'
      notice({ code: 'client-revoked', level: 'warn', client: key, peer: link.info.peer, reason })
      this.#owner.close(now, link, reasonCode, true, reason)
    }
    if (!session.ended && session.unchecked) {
      session.unchecked = !isUnrestricted(this.#context, session)
      if (session.unchecked) {
        this.#left -= checksOf(session)
        dropForbidden(this.#context, now, session)
      }
    }
    if (session.link !== undefined) this.#owner.markReady(session.link)
  }
}
