import type { Instant } from '../base/machine.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import { PATIENCE_LEAST_MS, PATIENCE_MS, PATIENCE_PER_MESSAGE_MS } from './limits.ts'
import type { Publisher } from './publisher.ts'
import type { Session } from './session.ts'

/** After a message was accepted: its publisher is paused if the queue of a receiver is nearly full, or regains some patience. */
export function pacePublisher(context: BrokerContext, now: Instant, { pressed }: Publisher, link: ClientLink): void {
  if (pressed !== undefined) hold(context, now, pressed, link)
  else if (link.patienceMs < PATIENCE_MS) link.patienceMs += PATIENCE_PER_MESSAGE_MS
}

/** A publisher fills this session's queue faster than its client drains it: pauses the publisher. */
function hold({ timers, notice }: BrokerContext, now: Instant, session: Session, publisher: ClientLink): void {
  if (publisher.patienceMs < PATIENCE_LEAST_MS || !publisher.hold(now, session)) return
  const timer = session.timer('held')
  const until = now + Math.min(session.patienceMs, publisher.patienceMs)
  if (!timer.armed || until < timer.deadline) timers.arm(timer, until)
  const { info, client } = publisher
  const who = { ...(client !== undefined && { client: client.key }), peer: info.peer }
  const reason = `${session.queueLength} messages, ${session.queuedBytes} bytes wait for ${session.key}`
  notice({ code: 'publisher-paused', level: 'debug', ...who, reason })
}

/** The patience of this session, or of some of the publishers that are paused for it, is used up. */
export function heldLongEnough(context: BrokerContext, now: Instant, session: Session): void {
  const { queue, patienceMs } = session
  if (queue?.pausedPublishers === undefined) return
  const { since, links } = queue.pausedPublishers
  const stay = links.filter(({ pausedUntil }) => pausedUntil > now)
  const until = Math.min(since + patienceMs, ...stay.map(({ pausedUntil }) => pausedUntil))
  if (stay.length === 0 || until <= now) {
    letGo(context, now, session)
    return
  }
  queue.pausedPublishers = { since, links: stay }
  context.timers.arm(session.timer('held'), until)
  for (const link of links) if (link.pausedUntil <= now) link.letGo(now)
}

/** Resumes the publishers that are paused for this session's queue. */
export function letGo({ timers }: BrokerContext, now: Instant, session: Session): void {
  const { queue } = session
  if (queue?.pausedPublishers === undefined) return
  const { since, links } = queue.pausedPublishers
  queue.pausedPublishers = undefined
  session.patienceMs = Math.max(0, session.patienceMs - Math.ceil(now - since))
  timers.disarm(session.timer('held'))
  for (const link of links) link.letGo(now)
}
