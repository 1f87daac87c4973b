import { counted } from '../base/counted.ts'
import { plainName } from '../base/describe.ts'
import type { Session } from '../broker/session.ts'
import type { Server } from '../server.ts'
import { printable } from './log.ts'

/**
 * Yields a line for each client, connected or absent, and at last one with the totals. Clients that come or go meanwhile may be
 * missing, so the caller may take its time.
 */
export function* clientReport({ broker }: Server): Generator<string, void> {
  for (const session of broker.sessions) yield describeSession(session)
  const { sessions, retained } = broker
  const counts = [
    counted(sessions.size, 'client'),
    `${sessions.connected} connected`,
    counted(broker.subscriptionCount, 'subscription'),
    counted(sessions.waiting().messages, 'message'),
    `${retained.count} retained`,
  ]
  yield counts.join(', ')
}

/** Maximum number of topic filters of a client that are shown. */
const FILTERS_MAX = 16

function describeSession({ key, username, link, subscriptions, queueLength, inflight }: Session): string {
  const user = username === undefined ? '' : ` (user ${printable(username)})`
  // A sensor at rest has no link of its own.
  const at = link === undefined || link.info.peer === '' ? '' : ` at ${printable(link.info.peer)}`
  const count = subscriptions?.size ?? 0
  const filters: string[] = []
  for (const [filter, { qos, condition }] of subscriptions ?? []) {
    if (filters.length === FILTERS_MAX) break
    filters.push(`${plainName(filter)} QoS ${qos}${condition === undefined ? '' : ` if ${printable(condition.text)}`}`)
  }
  if (count > filters.length) filters.push(`and ${count - filters.length} more`)
  const messages = queueLength + (inflight?.size ?? 0)
  return [
    `${printable(key)}${user}${at}: ${link === undefined ? 'absent' : 'connected'}`,
    counted(count, 'subscription') + (count === 0 ? '' : ` (${filters.join(', ')})`),
    counted(messages, 'message'),
  ].join(', ')
}
