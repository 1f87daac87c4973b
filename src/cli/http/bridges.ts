import { printable } from '../../process/log.ts'
import { jsonArray } from '../listing.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags, collected } from './api-client.ts'
import { type Column, columnLines } from './columns.ts'
import { bytesText, momentText, roundTripText, timeText } from './figures.ts'
import type { Shape } from './shape.ts'

export interface BridgesFlags extends ApiFlags {
  readonly json?: true
}

/** What `GET /api/v1/bridges` returns of each, as far as it is shown. */
export interface BridgeSummary {
  readonly name: string
  readonly state: string
  readonly since: string
  readonly target: string
  readonly version?: string
  readonly waiting: { readonly messages: number; readonly bytes: number }
  readonly oldest_seconds?: number
  readonly sent: number
  readonly received: number
  readonly dials: number
  readonly round_trip_ms?: number
  readonly last_error?: string
}

/** `BridgeSummary` */
const BRIDGE: Shape = {
  ...{ name: 'string', state: 'string', since: 'string', target: 'string', 'version?': 'string' },
  waiting: { messages: 'number', bytes: 'number' },
  ...{ 'oldest_seconds?': 'number', sent: 'number', received: 'number', dials: 'number' },
  ...{ 'round_trip_ms?': 'number', 'last_error?': 'string' },
}

const COLUMNS: readonly Column<BridgeSummary>[] = [
  ['BRIDGE', ({ name }) => name],
  ['STATE', ({ state }) => state],
  ['SINCE', ({ since }, now) => momentText(since, now)],
  ['REMOTE BROKER', ({ target }) => target],
  ['MQTT', ({ version }) => version ?? '-'],
  ['WAITING', ({ waiting }) => `${waiting.messages}`, true],
  ['BYTES', ({ waiting }) => bytesText(waiting.bytes), true],
  ['OLDEST', ({ oldest_seconds: oldest }) => (oldest === undefined ? '-' : timeText(oldest)), true],
  ['SENT', ({ sent }) => `${sent}`, true],
  ['RECEIVED', ({ received }) => `${received}`, true],
  ['DIALS', ({ dials }) => `${dials}`, true],
  ['ROUND TRIP', ({ round_trip_ms: ms }) => roundTripText(ms), true],
]

export function bridgeLines(bridges: readonly BridgeSummary[], now: number): readonly string[] {
  const troubled = bridges.filter(({ state, last_error: error }) => state !== 'connected' && error !== undefined)
  return [
    ...columnLines(COLUMNS, bridges, now),
    ...troubled.map(({ name, last_error: error }) => `${printable(name)}: ${printable(error!)}\n`),
  ]
}

/** All bridges: the route has no pages, and refuses a `limit`. */
export const fetchBridges = (api: ApiClient): Promise<readonly BridgeSummary[]> =>
  collected(api.list<BridgeSummary>('/api/v1/bridges', { limit: undefined }, 'bridges', BRIDGE))

/** Lists the bridges of a running Roost. */
export async function bridges(flags: BridgesFlags, host: Host): Promise<void> {
  const all = await fetchBridges(await ApiClient.from(flags, host))
  for (const line of flags.json === true ? jsonArray(all) : bridgeLines(all, Date.now())) host.stdout.write(line)
}
