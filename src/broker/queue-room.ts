import type { Instant } from '../base/machine.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import { type BrokerLimits, PATIENCE_LEAST_MS, queueBound, STANDS_STILL_MS } from './limits.ts'
import type { Session } from './session.ts'
import { messageOf, qosOf } from './session-queue.ts'

/** Part of a full queue above which a message that joins it will have to wait. */
const LATE = 0.125
/** Queues that are not longer are not examined for whether a message would wait in them. */
const SHORT_QUEUE = 8

/** Bytes that a connected client may hold by not acknowledging them, of which the account is not asked each time. */
const LIGHT_BYTES = 16 * 1024

/** Places of a sensor's queue in which messages that are replaced may wait: 4 us to look through. */
const LATEST_PLACES = 256

/**
 * Whether one more message may be queued for this session, after making room as configured: expired messages are dropped first,
 * then QoS 0, then, with `queue_full: drop_oldest`, the oldest; in all queues together as many as one turn allows
 * (`QueueSweeps`). Drops are counted and reported. Calling twice in a row gives the same answer.
 */
export function hasRoom(context: BrokerContext, now: Instant, session: Session, message: Publish, qos: QoS): boolean {
  return fits(context, session, message, qos) || makeRoom(context, now, session, message, qos)
}

function makeRoom(context: BrokerContext, now: Instant, session: Session, message: Publish, qos: QoS): boolean {
  const isEnough = (): boolean => fits(context, session, message, qos)
  const { sweeps, limits } = context
  if (sweeps.dropExpired(now, session, isEnough)) return true
  if (qos === 0) return false
  const limit = fullOf(limits, session)
  if (session.queuedQos0 > 0) {
    dropped(context, session, sweeps.dropQos0(session, isEnough), 'QoS 0 goes first', limit)
    if (isEnough()) return true
  }
  if (limits.queueFull === 'drop_newest') return false
  dropped(context, session, sweeps.dropOldest(session, isEnough), 'the oldest go first', limit)
  return isEnough()
}

/**
 * For a client that reads and has only QoS 0 queued, only bytes are limited: its queue is emptied by the end of the turn, or once
 * the store has caught up. Behind a message that waits for an acknowledgement QoS 0 counts like any other.
 */
export function fits({ limits }: BrokerContext, session: Session, message: Publish, qos: QoS): boolean {
  const { queueLength, queuedQos0, link } = session
  if (session.queuedBytes + message.weight > limits.maxQueuedBytes && queueLength > 0) return false
  if (qos === 0 && queuedQos0 === queueLength && link?.listening === true) return true
  return queueLength < queueBound(limits, session)
}

/**
 * Makes way in the queue of a sensor for a message that replaces the last one on its topic: removes the last one. False if the
 * queue is too long for that; then the sensor misses it, as if it were absent. Other clients read all of them.
 */
export function replacesLast({ memory }: BrokerContext, session: Session, { topic }: Publish): boolean {
  const { queue } = session
  if (session.kind !== 'sn' || queue === undefined) return true
  if (queue.length > LATEST_PLACES) return false
  const before = queue.length
  queue.filter((entry) => qosOf(entry) > 0 || messageOf(entry).topic !== topic)
  if (queue.length < before) memory.shares.recount(session)
  return true
}

/** Whether the queue holds more than this part of its limit. */
export const isFuller = (limits: BrokerLimits, session: Session, part: number): boolean =>
  session.queueLength > queueBound(limits, session) * part || session.queuedBytes > limits.maxQueuedBytes * part

/** The limit that a full queue has reached, by its configuration key. */
export function fullOf(limits: BrokerLimits, session: Session): string {
  const bound = queueBound(limits, session)
  if (session.queueLength < bound) return 'max_queued_bytes'
  return bound === limits.queueLimit ? 'queue_limit' : 'max_queued_messages'
}

/**
 * Whether a message would stay with this session for longer than a moment: in its queue, or in flight, which is up to the client.
 * A client that acknowledges has little in flight, or is asked about more often.
 */
export function waits(context: BrokerContext, now: Instant, session: Session, { weight }: Publish): boolean {
  const { link } = session
  if (link?.listening !== true || isHeavy(session, weight)) return true
  const { queueLength } = session
  if (queueLength <= SHORT_QUEUE) return false
  // With its window open some of the queue leaves at the end of the turn, even if nothing was queued, and nothing left, for a long time.
  if (queueLength > link.window && !link.windowOpen(session) && standsStill(context, now, session)) return true
  return isFuller(context.limits, session, LATE) || (queueLength > link.window && context.memory.isEmergency)
}

/** Nobody reads from this session for now: gives up its empty queue and its empty set in flight, 430 bytes if it was ever sent a message. */
export function giveUpRoom({ expiry, memory }: Pick<BrokerContext, 'expiry' | 'memory'>, session: Session): void {
  if (session.inflight?.size === 0) session.inflight = undefined
  const { queue } = session
  if (queue?.length !== 0) return
  // Its messages are gone, before the first of them has expired, and before the client has asked for more.
  expiry.forget(session)
  if (queue.waited) memory.shares.recount(session)
  queue.waited = false
  session.tidyQueue()
}

/** Whether so much is queued or in flight for it, with `more` bytes, that the account is asked. */
export const isHeavy = ({ queuedBytes, inflightWeight }: Session, more: number): boolean =>
  queuedBytes + inflightWeight + more > LIGHT_BYTES

/** Nothing has left the queue for a while in which the client could be heard. */
const standsStill = ({ pauses }: BrokerContext, now: Instant, { drainedAt }: Session): boolean =>
  drainedAt === undefined || now >= pauses.extend(drainedAt + STANDS_STILL_MS, STANDS_STILL_MS)

/** Whether the client still reads, and publishers have not waited for it too long already. */
export const isWorthWaitingFor = (context: BrokerContext, now: Instant, session: Session): boolean =>
  session.link !== undefined && session.patienceMs >= PATIENCE_LEAST_MS && !standsStill(context, now, session)

function dropped(context: BrokerContext, session: Session, count: number, why: string, limit: string): void {
  if (count === 0) return
  const { stats, notice, memory, live } = context
  memory.shares.recount(session)
  if (session.kind === 'sn') live.waits?.(session.clientId)
  stats.publishDropped += count
  const reason = `${count} messages dropped: ${why} (queue_full)`
  notice({ code: 'queue-full', level: 'warn', client: session.key, reason, count, limit })
}
