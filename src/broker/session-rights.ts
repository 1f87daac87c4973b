import type { Publish } from '../mqtt/publish.ts'
import { realFilter } from '../mqtt/topics.ts'
import { readsAll } from './access.ts'
import type { BrokerContext } from './context.ts'
import { messageOf, type Session } from './session.ts'

/**
 * Applies changed rights, or those of another user: drops queued messages that may no longer be read, and ends forbidden
 * subscriptions. Where the rules filter subscriptions, these stay: deliveries stop, and resume when the right returns.
 */
export function dropForbidden(context: BrokerContext, session: Session): void {
  const { access, router, store, stats, notice, memory } = context
  session.unchecked = false
  // The queue may hold many messages, and there may be ten thousand filters.
  if (session.mountPoint === '' && readsAll(access, session)) return
  const keeps = access.keepsSubscriptions?.(session) === true
  for (const filter of session.subscriptions?.keys() ?? []) {
    const real = realFilter(filter)
    if (real.startsWith(session.mountPoint) && (keeps || access.subscribe(session, real))) continue
    router.unsubscribe(session, filter)
    if (session.persistent) store.append({ type: 'unsubscribe', key: session.key, filter })
    notice({ code: 'subscription-ended', level: 'warn', client: session.key, reason: `${filter} is not allowed any more` })
  }
  const readable = ({ topic }: Publish): boolean => session.reaches(topic) && access.read(session, topic)
  let count = session.filterQueue((entry) => {
    const message = messageOf(entry)
    if (readable(message)) return true
    if (session.persistent && message.id !== 0) store.append({ type: 'done', key: session.key, id: message.id })
    return false
  })
  for (const { queued, packetId, released } of session.inflight?.values() ?? []) {
    // After PUBREC the client has the message; only the rest of the exchange is left.
    if (released || readable(queued.message)) continue
    session.complete(packetId)
    if (session.persistent && queued.message.id !== 0) store.append({ type: 'done', key: session.key, id: queued.message.id })
    count++
  }
  if (count === 0) return
  memory.shares.recount(session)
  stats.publishDropped += count
  notice({ code: 'message-dropped', level: 'info', client: session.key, reason: 'not allowed to be read any more', count })
}
