import type { Publish, QoS } from '../mqtt/publish.ts'
import type { Session } from './session.ts'
import type { Subscription } from './subscription.ts'
import type { Looked } from './topic-tree.ts'

/** The members of one shared subscription [5.0 section 4.8.2]: each message goes to one of them. */
export class ShareGroup {
  /** `$share/<group>/<filter>` */
  readonly name: string
  /** What it subscribes to. */
  readonly filter: string
  readonly members = new Map<Session, Subscription>()
  /** Number of members whose subscription has a condition. */
  conditional = 0
  #turn = 0

  constructor(name: string, filter: string) {
    this.name = name
    this.filter = filter
  }

  /**
   * The member with the least to do among those who listen, or, with all of them away, the one for whom the fewest messages wait.
   * Equals take turns. A member that is asleep, or whose socket takes nothing, counts as away. One whose queue is full comes
   * behind those who have room, and one that is away and for whom nothing is kept is the last choice of all.
   */
  pick<T extends Member>(members: readonly T[], message: Publish, room: Room): T | undefined {
    const count = members.length
    let best: T | undefined
    let bestLoad = Number.POSITIVE_INFINITY
    this.#turn = (this.#turn + 1) % Math.max(1, count)
    for (let i = 0; i < count; i++) {
      const member = members[(this.#turn + i) % count]!
      const load = loadOf(member, message, room)
      room.looked.sum += MEMBER_COST
      if (load === 0) return member
      if (load < bestLoad) {
        best = member
        bestLoad = load
      }
    }
    return best
  }
}

interface Member {
  readonly session: Session
  readonly qos: QoS
}

/** What looking at a member counts for. */
export const MEMBER_COST = 1 / 8

/** Where messages may wait. */
export interface Room {
  readonly looked: Looked
  /** QoS 0 waits for those who are away. */
  readonly keepsQos0: boolean
  /** Whether one more message fits into the queue of this session as it is. */
  fits(session: Session, message: Publish, qos: QoS): boolean
}

// Added to what a member has to do, so that each outweighs everything before it.
const FULL = 2 ** 39
const AWAY = 2 ** 40
const LOST = 2 ** 41

function loadOf({ session, qos }: Member, message: Publish, room: Room): number {
  const load = session.queueLength + (session.inflight?.size ?? 0)
  const isThere = session.link?.listening === true
  if (!isThere && qos === 0 && !room.keepsQos0) return LOST + load
  return load + (isThere ? 0 : AWAY) + (load === 0 || room.fits(session, message, qos) ? 0 : FULL)
}
