import { StartError } from '../../base/start-error.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags } from './api-client.ts'
import { type BridgeSummary, bridgeLines, fetchBridges } from './bridges.ts'
import { CLIENT, type ClientSummary, sensorTable } from './client-table.ts'
import { OVERVIEW, type Overview, overviewLines, sensorCount } from './overview.ts'
import { fetchUpstream, troubleLines, type UpstreamStatus } from './upstream.ts'

export interface StatusFlags extends ApiFlags {
  readonly watch?: true
  readonly json?: true
}

/** Milliseconds between two looks of `--watch`. */
const WATCH_MS = 2000
/** Sensors that `roost status` lists; with `--watch`, as many as the terminal has room for. */
const SENSORS_MAX = 100
/** Clears the terminal, and begins at its top. */
const CLEAR = '\x1b[H\x1b[2J'

/** Prints totals and sensors, once or until a signal. */
export async function status(flags: StatusFlags, host: Host): Promise<void> {
  const { watch, json } = flags
  if (watch === true && json === true) throw new StartError('--json: not with --watch')
  const api = await ApiClient.from(flags, host)
  const { stdout, events } = host
  if (watch !== true) {
    const seen = await look(api, SENSORS_MAX)
    stdout.write(json === true ? `${JSON.stringify(seen, undefined, 2)}\n` : linesOf(api, seen).join(''))
    return
  }
  let wake = (): void => {}
  let isOver = false
  const stop = (): void => {
    isOver = true
    wake()
  }
  events.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    // What is wrong from the beginning ends the command; later, Roost may only be restarting.
    let shown = linesOf(api, await look(api, room(host)))
    while (!isOver && stdout.destroyed !== true) {
      stdout.write(CLEAR + shown.join(''))
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, WATCH_MS)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      if (!isOver) shown = await look(api, room(host)).then((seen) => linesOf(api, seen), failureLines)
    }
  } finally {
    events.off('SIGINT', stop).off('SIGTERM', stop)
  }
}

function failureLines(error: unknown): readonly string[] {
  if (!(error instanceof StartError)) throw error
  return [`${error.message}\n`]
}

/** Lines above and below the sensors. */
const LINES_BESIDE = 13
const room = ({ stdout }: Host): number => Math.max(1, Math.min(1000, (stdout.rows ?? SENSORS_MAX) - LINES_BESIDE))

interface Seen {
  readonly overview: Overview
  readonly sensors: readonly ClientSummary[]
  readonly bridges: readonly BridgeSummary[]
  readonly upstream?: UpstreamStatus
}

async function look(api: ApiClient, sensorsMax: number): Promise<Seen> {
  const overview = await api.get<Overview>('/api/v1/overview', OVERVIEW)
  const sensors: ClientSummary[] = []
  if (sensorCount(overview) > 0) {
    for await (const sensor of api.list<ClientSummary>(
      '/api/v1/clients',
      { protocol: 'mqtt-sn', limit: String(sensorsMax) },
      'clients',
      CLIENT,
    )) {
      sensors.push(sensor)
      if (sensors.length >= sensorsMax) break
    }
  }
  const bridges = overview.bridges === undefined ? [] : await fetchBridges(api)
  const cluster = overview.upstream === undefined ? {} : { upstream: await fetchUpstream(api) }
  return { overview, sensors, bridges, ...cluster }
}

function linesOf({ url }: ApiClient, { overview, sensors, bridges, upstream }: Seen): readonly string[] {
  const left = sensorCount(overview) - sensors.length
  return [
    ...overviewLines(overview, url, Date.now()),
    ...troubleLines(upstream?.targets ?? [], Date.now()),
    ...(bridges.length === 0 ? [] : ['\n', ...bridgeLines(bridges, Date.now())]),
    ...(sensors.length === 0 ? [] : ['\n', ...sensorTable(sensors, Date.now())]),
    ...(left > 0 && sensors.length > 0 ? [`and ${left} more: roost clients --protocol mqtt-sn\n`] : []),
  ]
}
