import type { Instant } from '../base/machine.ts'
import { realFilter } from '../mqtt/topics.ts'
import { readsAll } from './access.ts'
import type { BrokerContext } from './context.ts'
import type { Session } from './session.ts'

/** Whether no rule restricts what the client reads. */
export const isUnrestricted = ({ access }: BrokerContext, session: Session): boolean =>
  session.mountPoint === '' && readsAll(access, session)

/** Filters and messages in flight that are checked for this session. */
export const checksOf = ({ inflight, subscriptions }: Session): number => (inflight?.size ?? 0) + (subscriptions?.size ?? 0)

/**
 * Applies changed rights, or those of another user: drops messages that may no longer be read, those of a long queue over several
 * turns (`QueueSweeps`), and ends forbidden subscriptions. Where the rules filter subscriptions, these stay: deliveries stop,
 * and resume when the right returns.
 */
export function dropForbidden(context: BrokerContext, now: Instant, session: Session): void {
  const { access, router, store, stats, notice, memory, sweeps } = context
  session.unchecked = false
  const keeps = access.keepsSubscriptions?.(session) === true
  for (const filter of session.subscriptions?.keys() ?? []) {
    const real = realFilter(filter)
    if (real.startsWith(session.mountPoint) && (keeps || access.subscribe(session, real))) continue
    router.unsubscribe(session, filter)
    if (session.persistent) store.append({ type: 'unsubscribe', key: session.key, filter })
    notice({ code: 'subscription-ended', level: 'warn', client: session.key, reason: `${filter} is not allowed any more` })
  }
  sweeps.check(now, session)
  let count = 0
  for (const inflight of session.inflight?.values() ?? []) {
    const { queued, released } = inflight
    // After PUBREC the client has the message; only the rest of the exchange is left.
    const { topic } = queued.message
    if (released || (session.reaches(topic) && access.read(session, topic))) continue
    session.complete(inflight)
    if (session.persistent && queued.message.id !== 0) store.append({ type: 'done', key: session.key, id: queued.message.id })
    count++
  }
  if (count === 0) return
  memory.shares.recount(session)
  stats.publishDropped += count
  notice({ code: 'message-dropped', level: 'info', client: session.key, reason: 'not allowed to be read any more', count })
}
