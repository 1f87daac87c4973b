import type { Instant } from '../base/machine.ts'
import type { Session } from '../broker/session.ts'
import { clientsOf, disconnect, thereAreTwo } from '../http/api/client-actions.ts'
import { type ClientEntry, expiryOf, sensorEntry, sessionEntry, summaryOf } from '../http/api/client-json.ts'
import { LOCAL_LISTENER } from '../mqtt/link.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { Server } from '../server.ts'
import type { Client, ClientDetail } from './client.ts'
import { RoostError } from './error.ts'

/** The clients one by one; some may come or go meanwhile. The subscriptions of the program itself are not among them. */
export function* clientsIn(server: Server): Generator<Client, undefined> {
  const { broker, gateway } = server
  const { seats } = broker.sessions
  for (let seat = 0; seat < seats.end; seat++) {
    const session = seats.at(seat)
    if (session !== undefined && !isOwn(session)) yield clientOf(server, sessionEntry(server, session))
  }
  if (gateway.clientCount === 0) return
  for (let seat: number | undefined = 0; seat !== undefined; ) {
    const page = gateway.sensors.page(seat, 1)
    for (const sensor of page.sensors)
      if (broker.sessions.get('sn', sensor.clientId) === undefined) yield clientOf(server, sensorEntry(sensor, undefined))
    seat = page.next
  }
}

const isOwn = ({ owner }: Session): boolean => owner.listener === LOCAL_LISTENER

/** @throws RoostError if both an MQTT client and a sensor have this client id */
function entryOf(server: Server, id: string): ClientEntry | undefined {
  if (typeof id !== 'string') throw new TypeError(`client: expected a client id, got ${typeof id}`)
  const [entry, another] = clientsOf(server, id)
  if (another !== undefined) throw new RoostError(thereAreTwo(id), ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)
  return entry
}

/** @throws RoostError as `entryOf` */
export function clientIn(server: Server, id: string): ClientDetail | undefined {
  const entry = entryOf(server, id)
  if (entry === undefined) return undefined
  const { session, kind } = { session: entry.session, kind: entry.protocol }
  const will = session?.will ?? (kind === 'mqtt-sn' ? server.gateway.client(entry.clientId)?.will : undefined)
  const expiresAt = session === undefined ? undefined : expiryOf(session)
  return {
    ...clientOf(server, entry),
    subscriptions: Array.from(session?.subscriptions?.values() ?? [], ({ filter, qos, noLocal, retainAsPublished }) => ({
      filter,
      qos,
      noLocal,
      retainAsPublished,
    })),
    will: will && { topic: will.topic, payload: Buffer.from(will.payload), qos: will.qos, retain: will.retain },
    expirySeconds: session?.expirySeconds,
    expiresAt: expiresAt === undefined ? undefined : new Date(server.wallEpoch + expiresAt),
  }
}

/** Returns false if the client is not connected, or does not exist. @throws RoostError as `entryOf` */
export function disconnectIn(server: Server, now: Instant, id: string): boolean {
  const entry = entryOf(server, id)
  return entry !== undefined && disconnect(server, now, entry, undefined)
}

function clientOf(server: Server, entry: ClientEntry): Client {
  const found = summaryOf(server, entry)
  const date = (text: string | undefined): Date | undefined => (text === undefined ? undefined : new Date(text))
  return {
    id: found.id,
    clientId: found.client_id,
    kind: found.protocol === 'mqtt' ? 'mqtt' : 'sn',
    state: found.state,
    since: date(found.since),
    lastHeard: date(found.last_heard),
    username: found.user,
    listener: found.port,
    peer: found.address,
    sleepSeconds: found.sleep_seconds,
    nextWake: date(found.next_wake),
    subscriptionCount: found.subscription_count,
    waitingMessages: found.waiting_messages,
    waitingBytes: found.waiting_bytes,
  }
}
