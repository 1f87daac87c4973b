import type { Instant } from '../../base/machine.ts'
import type { Server } from '../../server.ts'
import {
  ENTRIES_PER_TURN,
  type HttpRequest,
  type HttpResponse,
  type HttpWork,
  jsonText,
  NEXT_TURN,
  problem,
} from '../exchange.ts'
import {
  CLIENT_STATES,
  type ClientEntry,
  type ClientState,
  figuresJson,
  PROTOCOLS,
  type Protocol,
  sensorEntry,
  sessionEntry,
  summaryOf,
} from './client-json.ts'

const LIMIT = 100
const LIMIT_MAX = 1000
/** Entries that one request examines; then it answers with what it has found, and a cursor. */
const EXAMINED_MAX = 250_000
/** What an entry that is found counts more than one that is not: it takes up to 6 us rather than 1. */
const FOUND_COST = 4
/** The same with its figures. */
const FIGURES_COST = 12
/** Characters of names that count as much as an entry. */
const NAME_COST = 256
/** Characters of a page, because peers choose the names in it. */
const PAGE_CHARACTERS = 1024 * 1024

interface Filter {
  /** In lower case. */
  readonly q: string | undefined
  readonly state: ClientState | undefined
  readonly port: string | undefined
  readonly protocol: Protocol | undefined
  /** With the figures of each. */
  readonly figures: boolean
}

/**
 * Where a list continues: at a seat among the sessions, or behind them among the sensors without a session. Seats do not change, so
 * a client that exists all the time is listed once, whatever comes and goes.
 */
interface Place {
  readonly among: 'sessions' | 'sensors'
  readonly seat: number
}

const START: Place = { among: 'sessions', seat: 0 }

/** `GET /api/v1/clients`. `run` tells this process from others, whose cursors mean nothing here. */
export function listClients(server: Server, run: string, { now, query }: HttpRequest): HttpResponse | HttpWork {
  const wrong = queryError(query)
  if (wrong !== undefined) return problem(400, wrong)
  const { q, state, port, protocol, figures, cursor, limit } = query
  const place = cursor === undefined ? START : placeOf(cursor, run)
  if (place === undefined) return problem(400, 'cursor: is not one that this list has returned since Roost started')
  const filter: Filter = {
    q: q?.toLowerCase(),
    state: state as ClientState | undefined,
    port,
    protocol: protocol as Protocol | undefined,
    figures: figures === 'true',
  }
  return page(server, now, filter, place, limit === undefined ? LIMIT : Number(limit), (next) => cursorOf(next, run))
}

const PARAMETERS = ['q', 'state', 'port', 'protocol', 'figures', 'cursor', 'limit']

function queryError(query: HttpRequest['query']): string | undefined {
  const { state, protocol, figures, limit } = query
  const unknown = Object.keys(query).find((name) => !PARAMETERS.includes(name))
  if (unknown !== undefined) return `${unknown.slice(0, 100)}: is not known here; there are ${PARAMETERS.join(', ')}`
  if (state !== undefined && !CLIENT_STATES.includes(state as never)) return `state: expected one of ${CLIENT_STATES.join(', ')}`
  if (protocol !== undefined && !PROTOCOLS.includes(protocol as never)) return `protocol: expected one of ${PROTOCOLS.join(', ')}`
  if (figures !== undefined && figures !== 'true' && figures !== 'false') return 'figures: expected true or false'
  return limitError(limit, LIMIT_MAX)
}

/** Says what is wrong with a `limit`. */
export const limitError = (limit: string | undefined, most: number): string | undefined =>
  limit === undefined || (/^\d{1,6}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= most)
    ? undefined
    : `limit: expected a whole number from 1 to ${most}`

const cursorOf = ({ among, seat }: Place, run: string): string => `${among === 'sessions' ? 'c' : 's'}${seat}-${run}`

function placeOf(cursor: string, run: string): Place | undefined {
  const [, among, seat] = /^([cs])(\d{1,9})-/.exec(cursor) ?? []
  const place: Place = { among: among === 'c' ? 'sessions' : 'sensors', seat: Number(seat) }
  return cursorOf(place, run) === cursor ? place : undefined
}

function* page(
  server: Server,
  asked: Instant,
  filter: Filter,
  from: Place,
  limit: number,
  cursorOf: (next: Place) => string,
): HttpWork {
  const clients: string[] = []
  let characters = 0
  let place: Place | undefined = from
  let examined = 0
  let now = asked
  const isFull = (): boolean => clients.length >= limit || characters > PAGE_CHARACTERS
  while (place !== undefined && !isFull() && examined < EXAMINED_MAX) {
    if (examined > 0) now = yield NEXT_TURN
    for (let left = ENTRIES_PER_TURN; place !== undefined && !isFull() && left > 0; left--) {
      const entry = entryAt(server, place)
      place = next(server, place)
      examined++
      if (entry === undefined) continue
      left -= Math.floor((entry.clientId.length + (entry.user?.length ?? 0)) / NAME_COST)
      if (!matches(entry, filter)) continue
      const summary = summaryOf(server, entry)
      const text = JSON.stringify(filter.figures ? { ...summary, ...figuresJson(server, now, entry) } : summary)
      clients.push(text)
      characters += text.length
      left -= filter.figures ? FIGURES_COST : FOUND_COST
    }
  }
  const cursor = place === undefined ? '' : `,"cursor":${JSON.stringify(cursorOf(place))}`
  return jsonText(`{"clients":[${clients.join(',')}]${cursor}}`)
}

function entryAt(server: Server, { among, seat }: Place): ClientEntry | undefined {
  const { broker, gateway } = server
  if (among === 'sessions') {
    const session = broker.sessions.seats.at(seat)
    return session === undefined ? undefined : sessionEntry(server, session)
  }
  const sensor = gateway.sensors.page(seat, 1).sensors[0]
  // Listed with its session.
  return sensor === undefined || broker.sessions.get('sn', sensor.clientId) !== undefined
    ? undefined
    : sensorEntry(sensor, undefined)
}

function next({ broker, gateway }: Server, { among, seat }: Place): Place | undefined {
  if (among === 'sessions') {
    if (seat + 1 < broker.sessions.seats.end) return { among, seat: seat + 1 }
    return gateway.clientCount === 0 ? undefined : { among: 'sensors', seat: 0 }
  }
  return gateway.sensors.page(seat, 1).next === undefined ? undefined : { among, seat: seat + 1 }
}

function matches({ clientId, user, protocol, state, port }: ClientEntry, filter: Filter): boolean {
  if (filter.protocol !== undefined && protocol !== filter.protocol) return false
  if (filter.state !== undefined && state !== filter.state) return false
  if (filter.port !== undefined && port !== filter.port) return false
  const { q } = filter
  return q === undefined || clientId.toLowerCase().includes(q) || user?.toLowerCase().includes(q) === true
}
