import type { Instant } from '../../base/machine.ts'
import type { Session } from '../../broker/session.ts'
import { lastRoute } from '../../gateway/admission.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import type { Server } from '../../server.ts'
import type { SessionKey } from '../../store/store.ts'
import type { SensorSession } from '../../upstream/sensors/sensor-session.ts'
import { done, type HttpRequest, type HttpResponse, type HttpWork, NEXT_TURN, problem, ROOM_MS } from '../exchange.ts'
import { type ClientEntry, sensorEntry, sessionEntry } from './client-json.ts'
import { clusterSession } from './sensor-upstream.ts'

/** Finds a client by `mqtt:` or `sn:` and its client id, or by the client id alone if only one has it. */
export function findClient(server: Server, id: string): ClientEntry | HttpResponse {
  const [entry, another] = clientsOf(server, id)
  if (another !== undefined) return problem(409, thereAreTwo(id))
  return entry ?? problem(404, unknown(id))
}

/** The clients that an id may mean: at most one by `mqtt:` or `sn:` and its client id, at most two by the client id alone. */
export function clientsOf(server: Server, id: string): ClientEntry[] {
  const key = /^(mqtt|sn):(.*)$/s.exec(id)
  const found =
    key === null ? [entryOf(server, 'mqtt', id), entryOf(server, 'sn', id)] : [entryOf(server, key[1] as 'mqtt' | 'sn', key[2]!)]
  return found.filter((each) => each !== undefined)
}

export const thereAreTwo = (id: string): string => `there are two: mqtt:${short(id)} and sn:${short(id)}`

const unknown = (id: string): string =>
  `there is no client ${short(id)}: it has never connected, was refused each time, or its session has ended`

export const isEntry = (found: ClientEntry | HttpResponse): found is ClientEntry => 'clientId' in found

function entryOf(server: Server, kind: 'mqtt' | 'sn', clientId: string): ClientEntry | undefined {
  const session = server.broker.sessions.get(kind, clientId)
  if (session !== undefined) return sessionEntry(server, session)
  const sensor = kind === 'sn' ? server.gateway.sensors.get(clientId) : undefined
  return sensor === undefined ? undefined : sensorEntry(sensor, undefined)
}

const short = (id: string): string => (id.length > 100 ? `${id.slice(0, 100)}...` : id)

/**
 * Disconnects a client as a server may: 5.0 gets DISCONNECT with Administrative action, a sensor that listens gets DISCONNECT. The
 * will is published by its rules, and the session stays.
 */
export function disconnectClient(server: Server, client: ClientEntry, { now, user }: HttpRequest): HttpResponse {
  return disconnect(server, now, client, user) ? done : problem(409, `${short(client.key)} is not connected`)
}

/** The same; returns false if the client is not connected. */
export function disconnect(server: Server, now: Instant, client: ClientEntry, user: string | undefined): boolean {
  const { key, session } = client
  const atCluster = connectedAtCluster(server, client)
  const isHere = session !== undefined && isConnected(server, session)
  if (atCluster === undefined && !isHere) return false
  report(server, key, user, 'disconnected')
  atCluster?.disconnect(now)
  if (isHere) close(server, now, session)
  return true
}

/** Of a sensor that is connected, and whose session is at a cluster. */
function connectedAtCluster(server: Server, { protocol, clientId }: ClientEntry): SensorSession | undefined {
  const session = protocol === 'mqtt-sn' ? clusterSession(server, clientId) : undefined
  return session?.isAccepted === true ? session : undefined
}

function isConnected({ broker }: Server, session: Session): boolean {
  return session.link !== undefined && broker.resting.linkOf(session) !== undefined
}

function close({ broker }: Server, now: Instant, session: Session): void {
  const link = broker.resting.linkOf(session)
  if (link !== undefined) broker.close(now, link, ReasonCode.ADMINISTRATIVE_ACTION, true, 'an operator has disconnected it')
}

/** Number of times that DELETE looks whether the cluster has ended the session: five seconds in all. */
const LOOKS_MAX = 5_000 / ROOM_MS
/** How often a client that comes back is disconnected before its session can be ended. */
const TRIES_MAX = 3

/**
 * Ends a session as its expiry does: its client is disconnected, a will is published even if its delay has not passed, and what was
 * queued is dropped. The response is sent when that is durable and, for a session at a cluster, when the cluster has ended it.
 */
export function* endClient(server: Server, client: ClientEntry, request: HttpRequest): HttpWork {
  const { key, clientId, session, protocol } = client
  let { now } = request
  const { broker, sensors } = server
  report(server, key, request.user, 'its session is ended')
  const isAtCluster = protocol === 'mqtt-sn' && sensors !== undefined
  const farewell = isAtCluster ? sensors.end(now, clientId, userOf(server, clientId)) : undefined
  // The gateway learns of it before it forgets the sensor.
  if (isAtCluster) now = yield NEXT_TURN
  if (session !== undefined) {
    // The client, and for a sensor the gateway, learn of it before the session is gone.
    for (let left = TRIES_MAX; session.link !== undefined && left > 0; left--) {
      close(server, now, session)
      now = yield NEXT_TURN
    }
    if (session.link !== undefined) return problem(409, 'its client connects again each time: refuse it first (ban_file)')
    for (let ended = broker.sessions.end(now, session); ended !== 'done'; ended = broker.sessions.end(now, session)) {
      if (ended === 'full') return NO_ROOM
      now = yield NEXT_TURN
    }
  }
  const forgotten = protocol === 'mqtt-sn' ? forgetSensor(server, clientId) : 0
  const { lastEnd } = broker.sessions
  if (forgotten === 'full' || lastEnd === 'full') return NO_ROOM
  now = yield { kind: 'durable', lsn: Math.max(forgotten, lastEnd) }
  if (farewell === undefined) return done
  const isOver = (): boolean => sensors?.farewells.get(clientId) !== farewell
  for (let left = LOOKS_MAX; !isOver() && left > 0 && sensors?.targets.isAway(now) === false; left--) now = yield { kind: 'room' }
  if (isOver()) return done
  const why = farewell.lastError === '' ? '' : `: ${farewell.lastError}`
  return problem(503, `its session at the cluster ends when that can be reached${why}`)
}

/** The user as whom a sensor connects to the cluster; also of one that has not connected since the start. */
function userOf({ gateway }: Server, clientId: string): string | undefined {
  const client = gateway.client(clientId)
  return client && (client.username ?? gateway.options.users.userOf(clientId, lastRoute(client))?.username)
}

const NO_ROOM = problem(503, 'the store has no room to record it: it follows when there is room')

/** Unless the sensor has connected again in the meantime, removes it from the gateway, with its topic ids. */
function forgetSensor({ gateway }: Server, clientId: string): number | 'full' {
  const client = gateway.client(clientId)
  return client === undefined || client.link !== undefined || client.setup.isUnderWay ? 0 : gateway.forget(client)
}

function report({ notice }: Server, key: SessionKey, user: string | undefined, reason: string): void {
  notice({ code: 'operator-action', level: 'info', client: key, ...(user !== undefined && { user }), reason })
}
