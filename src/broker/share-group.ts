import type { Session, Subscription } from './session.ts'

/** The members of one shared subscription [5.0 section 4.8.2]: each message goes to one of them. */
export class ShareGroup {
  /** `$share/<group>/<filter>` */
  readonly name: string
  /** What it subscribes to. */
  readonly filter: string
  readonly members = new Map<Session, Subscription>()
  #turn = 0

  constructor(name: string, filter: string) {
    this.name = name
    this.filter = filter
  }

  /**
   * The member with the least to do among those who listen, or, with all of them away, the one for whom the fewest messages wait. Equals
   * take turns. A member that is asleep, or whose socket takes nothing, counts as away.
   */
  pick<T extends { readonly session: Session }>(members: readonly T[]): T | undefined {
    const count = members.length
    let best: T | undefined
    let bestLoad = Number.POSITIVE_INFINITY
    this.#turn = (this.#turn + 1) % Math.max(1, count)
    for (let i = 0; i < count; i++) {
      const member = members[(this.#turn + i) % count]!
      const load = loadOf(member.session)
      if (load === 0) return member
      if (load < bestLoad) {
        best = member
        bestLoad = load
      }
    }
    return best
  }
}

/** Everybody who is away has more to do than anybody who is there. */
const AWAY = 2 ** 40

function loadOf(session: Session): number {
  const load = session.queueLength + (session.inflight?.size ?? 0)
  return session.link?.listening === true ? load : AWAY + load
}
