import type { QoS } from '../mqtt/packets.ts'
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
   * take turns. A member that is asleep, or whose socket takes nothing, counts as away. For one that is away and was granted QoS 0, messages
   * wait only if `keepsQos0`: without, it is the last choice of all.
   */
  pick<T extends { readonly session: Session; readonly qos: QoS }>(members: readonly T[], keepsQos0: boolean): T | undefined {
    const count = members.length
    let best: T | undefined
    let bestLoad = Number.POSITIVE_INFINITY
    this.#turn = (this.#turn + 1) % Math.max(1, count)
    for (let i = 0; i < count; i++) {
      const member = members[(this.#turn + i) % count]!
      const load = loadOf(member.session, keepsQos0 || member.qos > 0)
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

/** Whoever keeps nothing while away comes behind those who do. */
const LOST = 2 ** 41

function loadOf(session: Session, keeps: boolean): number {
  const load = session.queueLength + (session.inflight?.size ?? 0)
  if (session.link?.listening === true) return load
  return (keeps ? AWAY : LOST) + load
}
