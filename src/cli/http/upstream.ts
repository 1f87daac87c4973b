import { counted } from '../../base/counted.ts'
import { printable } from '../../process/log.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags } from './api-client.ts'
import { type Column, columnLines } from './columns.ts'
import { ageText, bytesText, momentText, roundTripText } from './figures.ts'
import type { Shape } from './shape.ts'

export interface UpstreamFlags extends ApiFlags {
  readonly json?: true
}

export interface TargetSummary {
  readonly target: string
  readonly state: string
  readonly since?: string
  readonly retry_at?: string
  readonly version?: string
  readonly connections: number
  readonly dialling: number
  readonly dials: number
  readonly failed_dials: number
  readonly round_trip_ms?: number
  readonly last_error?: string
}

/** What `GET /api/v1/upstream` returns, as far as it is shown. */
export interface UpstreamStatus {
  readonly targets: readonly TargetSummary[]
  readonly sessions: Readonly<Record<'connected' | 'connecting' | 'waiting' | 'parked', number>>
  readonly ending: number
  readonly held: { readonly messages: number; readonly bytes: number }
  readonly unanswered: number
  readonly dropped: number
}

const TARGET: Shape = {
  ...{ target: 'string', state: 'string', 'since?': 'string', 'retry_at?': 'string', 'version?': 'string' },
  ...{ connections: 'number', dialling: 'number', dials: 'number', failed_dials: 'number' },
  ...{ 'round_trip_ms?': 'number', 'last_error?': 'string' },
}

/** `UpstreamStatus` */
const STATUS: Shape = {
  targets: [TARGET],
  sessions: { connected: 'number', connecting: 'number', waiting: 'number', parked: 'number' },
  ...{ ending: 'number', held: { messages: 'number', bytes: 'number' }, unanswered: 'number', dropped: 'number' },
}

const COLUMNS: readonly Column<TargetSummary>[] = [
  ['TARGET', ({ target }) => target],
  ['STATE', ({ state }) => state],
  ['SINCE', ({ since }, now) => momentText(since, now)],
  ['MQTT', ({ version }) => version ?? '-'],
  ['CONNECTIONS', ({ connections }) => `${connections}`, true],
  ['DIALLING', ({ dialling }) => `${dialling}`, true],
  ['DIALS', ({ dials }) => `${dials}`, true],
  ['FAILED', ({ failed_dials: failed }) => `${failed}`, true],
  ['ROUND TRIP', ({ round_trip_ms: ms }) => roundTripText(ms), true],
]

/** The cluster for a terminal. `now`: milliseconds since 1970. */
export function upstreamLines(status: UpstreamStatus, now: number): readonly string[] {
  const { targets, sessions, ending, held, unanswered, dropped } = status
  const { connected, connecting, waiting, parked } = sessions
  return [
    ...columnLines(COLUMNS, targets, now),
    ...troubleLines(targets, now),
    '\n',
    `sessions of sensors: ${connected} connected, ${connecting} connecting, ${waiting} waiting to be dialled, ${parked} parked, ${ending} ending\n`,
    `held: ${counted(held.messages, 'message')}, ${bytesText(held.bytes)}; ` +
      `unanswered by the cluster: ${counted(unanswered, 'message')}; dropped: ${counted(dropped, 'message')}\n`,
  ]
}

/** Of each target that sensors are not connected to though they should be: since when, and why. */
export const troubleLines = (targets: readonly TargetSummary[], now: number): readonly string[] =>
  targets.flatMap(({ target, state, since, retry_at: retry, last_error: error }) => {
    if (state === 'up' || error === undefined) return []
    const age = since === undefined ? '' : ` for ${ageText(since, now)}`
    const next = retry === undefined ? '' : `, next attempt ${momentText(retry, now)}`
    return [`${printable(target)} has been ${printable(state)}${age}${next}: ${printable(error)}\n`]
  })

export const fetchUpstream = (api: ApiClient): Promise<UpstreamStatus> => api.get<UpstreamStatus>('/api/v1/upstream', STATUS)

/** Shows the cluster of a running Roost in upstream mode. */
export async function upstream(flags: UpstreamFlags, host: Host): Promise<void> {
  const status = await fetchUpstream(await ApiClient.from(flags, host))
  const lines = flags.json === true ? [`${JSON.stringify(status, undefined, 2)}\n`] : upstreamLines(status, Date.now())
  for (const line of lines) host.stdout.write(line)
}
