import { isoTime } from '../../base/iso-time.ts'
import type { Instant } from '../../base/machine.ts'
import type { Server } from '../../server.ts'
import type { ProcessStatus } from '../status.ts'
import { type ClientEntry, clientCounters, expiryOf } from './client-json.ts'
import { type Reason, wait } from './reason.ts'
import { exchangeReasons, stateReasons, topicReasons } from './sensor-reasons.ts'
import { upstreamReasons } from './sensor-upstream.ts'
import { connectionReasons, matchesAny, queueReasons, subscriptionReasons } from './session-reasons.ts'

/** Who asks why, and about what. */
export interface ReasonQuery {
  readonly now: Instant
  readonly status: Pick<ProcessStatus, 'notReady'>
  /** A topic that the client should get messages on. */
  readonly topic: string | undefined
}

/** Why this client does not get its messages at the moment, the most important reason first. Looking has no effect. */
export function* reasonsOf(server: Server, entry: ClientEntry, query: ReasonQuery): Iterable<Reason> {
  const { broker, connections, gateway } = server
  const { session, sensor, clientId } = entry
  const { now, topic } = query
  const client = sensor === undefined ? undefined : gateway.client(clientId)
  const { sensors } = server
  if (sensors !== undefined && sensor !== undefined && client !== undefined)
    yield* upstreamReasons(sensors.sessions.get(clientId), client, sensor, query)
  else if (session === undefined)
    yield { code: 'session-ended', text: 'its session has ended: nothing is kept for it until it connects' }
  else if (client !== undefined && sensor !== undefined) yield* stateReasons(client, sensor, now)
  else if (session.link === undefined) {
    const messages = session.queueLength + (session.inflight?.size ?? 0)
    const text = `it is not connected: ${messages === 0 ? 'messages for it wait' : wait(messages)} until it connects`
    yield { code: 'disconnected', text, until: expiryOf(session), messages, bytes: session.queuedBytes + session.inflightWeight }
  }
  const notReady = query.status.notReady()
  if (notReady !== undefined) yield { code: 'store-full', text: `Roost accepts no messages that must be stored: ${notReady}` }
  if (session === undefined) return
  yield* subscriptionReasons(broker, session, topic)
  const counters = sensor === undefined ? clientCounters(server, session) : gateway.sensors.figuresOf(now, sensor)?.counters
  yield* queueReasons(broker, now, session, counters?.dropped)
  if (client === undefined) {
    yield* connectionReasons(session, session.link === undefined ? undefined : connections.of(session.link.id))
    if (session.link?.waiting === true)
      yield { code: 'store-waits', text: 'the next message to it waits until the store has written its record' }
    return
  }
  yield* exchangeReasons(client, session)
  // What it has not subscribed to is not registered either.
  const isWanted = topic !== undefined && matchesAny(session, topic)
  yield* topicReasons(client, session, isWanted ? topic : undefined)
}

/** In the names of the API. */
export function reasonJson({ wallEpoch }: Server, reason: Reason): object {
  const time = (at: Instant | undefined): string | undefined => (at === undefined ? undefined : isoTime(wallEpoch + at))
  const { code, text, messages, bytes, limit, dropped, option, topic, filter, awaiting, retransmissions, port } = reason
  return {
    code,
    text,
    since: time(reason.since),
    until: time(reason.until),
    messages,
    bytes,
    limit,
    bytes_limit: reason.bytesLimit,
    dropped,
    option,
    topic,
    filter,
    awaiting,
    msg_id: reason.msgId,
    retransmissions,
    retransmissions_limit: reason.retransmissionsLimit,
    port,
  }
}
