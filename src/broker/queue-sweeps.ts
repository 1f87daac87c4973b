import type { Instant } from '../base/machine.ts'
import type { Publish } from '../mqtt/publish.ts'
import { readsAll } from './access.ts'
import type { BrokerContext } from './context.ts'
import type { Session } from './session.ts'
import { messageOf, type Queued, qosOf } from './session-queue.ts'

/** Places of queues that are examined in one turn, and as many to make room in full ones: a few milliseconds. */
const PLACES_PER_TURN = 16_384
/** Against the access rules, of which there may be many: 4,096 in a turn. */
const CHECK_COST = 4
/** What a dropped message costs in addition: it may take a record. */
const DROP_COST = 2
/** Payload bytes that take as long to copy as a place to examine. */
const COPY_BYTES = 256
/** Messages at the heads of queues that are dropped in one turn instead of being sent. */
const VOID_PER_TURN = 4096
/** Places in one step. */
const STEP_PLACES = 64
/** What earlier sweeps may examine in a turn although new ones have used all of it. */
const LEAST_PLACES = 1024

type Parts = Pick<BrokerContext, 'limits' | 'access' | 'store' | 'notice' | 'stats' | 'memory' | 'holdings' | 'live'>

/** The examination of one queue, from the first entry to the last. */
interface Sweep {
  readonly session: Session
  /** Messages that may not be read any more are dropped. */
  isCheck: boolean
  /** The client has left: QoS 0 is dropped, or copied out of shared read buffers. */
  isLeft: boolean
  /** When the first of the messages that were kept expires. */
  firstExpiry: Instant
  /** What was done in this step, in places. */
  cost: number
  /** What was dropped since the last notice. */
  expired: number
  firstExpired: Publish | undefined
  forbidden: number
  /** QoS 0 of a client that has left. */
  left: number
}

/**
 * Removes from queues what expires, what the client may not read any more, and QoS 0 of clients that have left. A queue may have
 * a hundred thousand entries (every retained message, for one SUBSCRIBE), so it is examined over as many turns of the event loop
 * as that takes, a limited number of places in each. Until then nothing is delivered that should have been removed, because
 * `dropIfVoid` looks at each message before it is sent.
 */
export class QueueSweeps {
  readonly #parts: Parts
  readonly #rearm: (session: Session, expiresAt: Instant) => void
  readonly #sweeps = new Map<Session, Sweep>()
  /** Places that may still be examined in this turn. */
  readonly #left = { places: PLACES_PER_TURN }
  /** The same, to make room in full queues. What does not fit is a queue that stays full, so it must not depend on the others. */
  readonly #searches = { places: PLACES_PER_TURN }

  #voidLeft = VOID_PER_TURN

  /** `rearm`: a queue has been examined, and this is when the first of its messages expires. */
  constructor(parts: Parts, rearm: (session: Session, expiresAt: Instant) => void) {
    this.#parts = parts
    this.#rearm = rearm
  }

  get isOver(): boolean {
    return this.#sweeps.size === 0
  }

  /** The turn is over. */
  endTurn(): void {
    this.#left.places = PLACES_PER_TURN
    this.#searches.places = PLACES_PER_TURN
    this.#voidLeft = VOID_PER_TURN
  }

  handleTimeout(now: Instant): void {
    this.#left.places = Math.max(this.#left.places, LEAST_PLACES)
    for (const sweep of this.#sweeps.values()) {
      this.#go(now, sweep)
      if (this.#left.places <= 0) return
    }
  }

  /** Some of the queued messages have expired. */
  expire(session: Session): void {
    const { queue } = session
    if (queue === undefined) return
    if (queue.length > 0) {
      if (!this.#sweeps.has(session)) this.#begin(session)
      return
    }
    queue.firstExpiry = undefined
    session.tidyQueue()
  }

  /** The rights of the client have changed: messages that it may not read any more are dropped. */
  check(now: Instant, session: Session): void {
    if (session.queueLength === 0) return
    const sweep = this.#begin(session)
    sweep.isCheck = true
    this.#go(now, sweep)
  }

  /** The client is disconnected. Messages with QoS 1 and 2 were copied when they were queued. */
  left(now: Instant, session: Session): void {
    if (session.queuedQos0 === 0) return
    const sweep = this.#begin(session)
    sweep.isLeft = true
    this.#go(now, sweep)
  }

  /** The session is over. */
  forget(session: Session): void {
    this.#sweeps.delete(session)
  }

  /**
   * Drops expired messages from a full queue until there is enough room; returns whether there is. What does not fit into this
   * turn follows in the next ones.
   */
  dropExpired(now: Instant, session: Session, isEnough: () => boolean): boolean {
    const searches = this.#searches
    let sweep: Sweep | undefined
    let isEnoughNow = false
    while (!isEnoughNow && searches.places > 0 && (session.queue?.firstExpiry ?? Number.POSITIVE_INFINITY) <= now) {
      sweep = this.#sweeps.get(session) ?? this.#begin(session)
      const state = this.#step(now, sweep, searches)
      isEnoughNow = isEnough()
      if (state === 'held') break
    }
    if (sweep !== undefined) this.#tell(sweep)
    return isEnoughNow
  }

  /** Drops QoS 0 from a full queue, the oldest first, until there is enough room; returns the number of messages. */
  dropQos0(session: Session, isEnough: () => boolean): number {
    const { queue } = session
    if (queue === undefined || this.#searches.places <= 0) return 0
    const before = queue.length
    this.#searches.places -= queue.dropQos0(this.#searches.places, isEnough)
    return before - queue.length
  }

  /** Drops the oldest from a full queue until there is enough room; returns the number of messages. */
  dropOldest(session: Session, isEnough: () => boolean): number {
    let count = 0
    for (; session.queueLength > 0 && this.#searches.places > 0 && !isEnough(); this.#searches.places--) {
      this.#done(session, messageOf(session.queue!.shift()!))
      count++
    }
    return count
  }

  /**
   * Drops a message that was about to be sent if it has expired before it was ever sent, or may no longer be read. 'last': it was dropped, and there may be
   * many more of its kind, so nothing is sent before the queue has been examined; then the link is woken.
   */
  dropIfVoid(now: Instant, session: Session, message: Publish, departed: boolean): 'valid' | 'dropped' | 'last' {
    // [MQTT-3.3.2-5]
    const isExpired = !departed && message.expiresAt !== undefined && message.expiresAt <= now
    if (!isExpired && (!this.#isUnchecked(session) || this.#mayRead(session, message))) return 'valid'
    const { stats, notice } = this.#parts
    stats.publishDropped++
    this.#done(session, message)
    const reason = isExpired ? `expired on ${message.topic}` : NOT_ALLOWED
    notice({ code: 'message-dropped', level: isExpired ? 'debug' : 'info', client: session.key, reason })
    if (--this.#voidLeft > 0 || session.queueLength === 0) return 'dropped'
    // Before its rights are checked it may have no sweep.
    if (!this.#sweeps.has(session)) this.#begin(session).isCheck = session.unchecked
    return 'last'
  }

  #isUnchecked(session: Session): boolean {
    return session.unchecked || (this.#sweeps.size > 0 && this.#sweeps.get(session)?.isCheck === true)
  }

  #mayRead(session: Session, { topic }: Publish): boolean {
    const { access } = this.#parts
    if (session.mountPoint === '' && readsAll(access, session)) return true
    return session.reaches(topic) && access.read(session, topic)
  }

  #begin(session: Session): Sweep {
    session.queue?.restartSweep()
    let sweep = this.#sweeps.get(session)
    if (sweep === undefined) {
      const firstExpiry = Number.POSITIVE_INFINITY
      sweep = {
        session,
        isCheck: false,
        isLeft: false,
        firstExpiry,
        cost: 0,
        expired: 0,
        firstExpired: undefined,
        forbidden: 0,
        left: 0,
      }
      this.#sweeps.set(session, sweep)
    }
    return sweep
  }

  #go(now: Instant, sweep: Sweep): void {
    while (this.#left.places > 0 && this.#step(now, sweep, this.#left) === 'more');
    this.#tell(sweep)
  }

  /** 'held': the rest is held back behind retained messages that are still being queued. */
  #step(now: Instant, sweep: Sweep, left: { places: number }): 'over' | 'more' | 'held' {
    const { session } = sweep
    const { queue } = session
    sweep.cost = 0
    const places = queue?.sweep(STEP_PLACES, (entry) => this.#keeps(now, sweep, entry)) ?? 0
    left.places -= 1 + places * (sweep.isCheck ? CHECK_COST : 1) + sweep.cost
    if (queue?.isSwept === false) return places < STEP_PLACES ? 'held' : 'more'
    this.#sweeps.delete(session)
    if (queue !== undefined) {
      queue.firstExpiry = undefined
      // `#tell` counts again what it holds.
      if (queue.length === 0) queue.waited = false
    }
    if (sweep.firstExpiry < Number.POSITIVE_INFINITY) this.#rearm(session, sweep.firstExpiry)
    session.tidyQueue()
    session.link?.wake()
    return 'over'
  }

  #keeps(now: Instant, sweep: Sweep, entry: Publish | Queued): boolean {
    const { session } = sweep
    const message = messageOf(entry)
    const { expiresAt } = message
    if (expiresAt !== undefined && expiresAt <= now) {
      sweep.firstExpired ??= message
      sweep.expired++
      sweep.cost += DROP_COST
      this.#done(session, message)
      return false
    }
    if (sweep.isCheck && !this.#mayRead(session, message)) {
      sweep.forbidden++
      sweep.cost += DROP_COST
      this.#done(session, message)
      return false
    }
    // The client may have come back in the meantime.
    if (sweep.isLeft && session.link === undefined && qosOf(entry) === 0) {
      if (!this.#parts.limits.queueQos0Messages) {
        this.#parts.stats.publishDropped++
        sweep.left++
        return false
      }
      if (!message.owned) {
        message.own()
        this.#parts.holdings.recount(message)
        sweep.cost += message.payloadLength / COPY_BYTES
      }
    }
    if (expiresAt !== undefined) sweep.firstExpiry = Math.min(sweep.firstExpiry, expiresAt)
    return true
  }

  #done({ persistent, key }: Session, { id }: Publish): void {
    if (persistent && id !== 0) this.#parts.store.append({ type: 'done', key, id })
  }

  /** Reports and counts what was dropped. */
  #tell(sweep: Sweep): void {
    const { session, expired, forbidden, firstExpired, left } = sweep
    const { stats, notice, memory, live } = this.#parts
    memory.shares.recount(session)
    stats.publishDropped += expired + forbidden
    const dropped = { code: 'message-dropped', client: session.key } as const
    if (expired > 0) {
      const topic = firstExpired!.topic
      const reason = expired === 1 ? `expired on ${topic}` : `expired, the first of ${expired} on ${topic}`
      notice({ ...dropped, level: 'debug', reason, count: expired })
    }
    if (forbidden > 0) notice({ ...dropped, level: 'info', reason: NOT_ALLOWED, count: forbidden })
    if (session.kind === 'sn' && expired + forbidden + left > 0) live.waits?.(session.clientId)
    sweep.left = 0
    sweep.expired = 0
    sweep.firstExpired = undefined
    sweep.forbidden = 0
  }
}

const NOT_ALLOWED = 'not allowed to be read any more'
