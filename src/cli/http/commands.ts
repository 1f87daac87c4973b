import type { Command } from 'commander'
import { StartError } from '../../base/start-error.ts'
import { printable } from '../../process/log.ts'
import { jsonArray, table } from '../listing.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags, apiFlags } from './api-client.ts'
import { CLIENT, type ClientSummary, clientTable, sensorTable } from './client-table.ts'
import { timeText } from './figures.ts'
import { OVERVIEW, type Overview, overviewLines, sensorCount } from './overview.ts'
import type { Shape } from './shape.ts'
import { type TraceFlags, trace } from './trace.ts'

/** Adds the commands that ask a running Roost: `roost status`, `clients`, `trace` and `retained`. */
export function addHttpCommands(program: Command, host: Host): void {
  withApi(program.command('status'))
    .description('show totals and sensors of a running Roost')
    .option('--watch', 'again every two seconds, until Ctrl-C')
    .option('--json', 'print JSON')
    .action((flags: StatusFlags) => status(flags, host))
  withApi(program.command('clients'))
    .description('list sessions and sensors of a running Roost')
    .option('-q, --query <text>', 'only those with this in client id or user name')
    .option('--state <state>', 'only those in this state: connected, disconnected, active, asleep, awake, lost')
    .option('--protocol <name>', 'only those of this protocol: mqtt, mqtt-sn')
    .option('--port <name>', 'only those of the listener or port with this name')
    .option('--json', 'print JSON')
    .action((flags: ClientsFlags) => clients(flags, host))
  withApi(program.command('trace'))
    .description('show the packets of clients and sensors as they come and go, until Ctrl-C')
    .option('--client <pattern>', 'only those of clients whose id matches; * stands for any characters')
    .option('--topic <filter>', 'only those with a topic that this topic filter matches')
    .option('--payloads', 'show payloads, too; needs a user who may manage')
    .option('--pcap <file>', 'write a capture file for Wireshark instead')
    .action((flags: TraceFlags) => trace(flags, host))
  withApi(program.command('retained'))
    .description('list retained messages of a running Roost')
    .argument('[filter]', 'only topics that this topic filter matches')
    .option('-q, --query <text>', 'only topics with this in them')
    .option('--level <topic>', "list the levels below this topic instead; '' for the first ones")
    .option('--json', 'print JSON')
    .action((filter: string | undefined, flags: RetainedFlags) => retained(filter, flags, host))
}

function withApi(command: Command): Command {
  command.allowExcessArguments(false)
  for (const flag of apiFlags()) command.addOption(flag)
  return command
}

interface StatusFlags extends ApiFlags {
  readonly watch?: true
  readonly json?: true
}

interface ClientsFlags extends ApiFlags {
  readonly query?: string
  readonly state?: string
  readonly protocol?: string
  readonly port?: string
  readonly json?: true
}

interface RetainedFlags extends ApiFlags {
  readonly query?: string
  readonly level?: string
  readonly json?: true
}

/** Milliseconds between two looks of `--watch`. */
const WATCH_MS = 2000
/** Sensors that `roost status` lists; with `--watch`, as many as the terminal has room for. */
const SENSORS_MAX = 100
/** Clears the terminal, and begins at its top. */
const CLEAR = '\x1b[H\x1b[2J'

async function status(flags: StatusFlags, host: Host): Promise<void> {
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
  return { overview, sensors }
}

function linesOf({ url }: ApiClient, { overview, sensors }: Seen): readonly string[] {
  const left = sensorCount(overview) - sensors.length
  return [
    ...overviewLines(overview, url, Date.now()),
    ...(sensors.length === 0 ? [] : ['\n', ...sensorTable(sensors, Date.now())]),
    ...(left > 0 && sensors.length > 0 ? [`and ${left} more: roost clients --protocol mqtt-sn\n`] : []),
  ]
}

async function clients(flags: ClientsFlags, host: Host): Promise<void> {
  const api = await ApiClient.from(flags, host)
  const { query: q, state, protocol, port } = flags
  const all = await collected(api.list<ClientSummary>('/api/v1/clients', { q, state, protocol, port }, 'clients', CLIENT))
  for (const line of flags.json === true ? jsonArray(all) : clientTable(all, Date.now())) host.stdout.write(line)
}

interface RetainedMessage {
  readonly topic: string
  readonly payload_bytes: number
  readonly qos: number
  readonly publisher?: string
  readonly user?: string
  readonly expires_in?: number
}

const MESSAGE: Shape = {
  topic: 'string',
  payload_bytes: 'number',
  qos: 'number',
  'publisher?': 'string',
  'user?': 'string',
  'expires_in?': 'number',
}
const LEVEL: Shape = { topic: 'string', retained: 'boolean', below: 'number' }

interface RetainedLevel {
  readonly topic: string
  readonly retained: boolean
  readonly below: number
}

async function retained(filter: string | undefined, flags: RetainedFlags, host: Host): Promise<void> {
  const { query: q, level, json } = flags
  if (level !== undefined && (filter !== undefined || q !== undefined))
    throw new StartError('--level: not with a filter or --query')
  const api = await ApiClient.from(flags, host)
  const path = '/api/v1/retained'
  const lines =
    level === undefined
      ? output(await collected(api.list<RetainedMessage>(path, { filter, q }, 'messages', MESSAGE)), json, messageTable)
      : output(await collected(api.list<RetainedLevel>(path, { level }, 'levels', LEVEL)), json, levelTable)
  for (const line of lines) host.stdout.write(line)
}

const output = <T>(entries: readonly T[], json: true | undefined, tableOf: (entries: readonly T[]) => readonly string[]) =>
  json === true ? jsonArray(entries) : tableOf(entries)

const messageTable = (messages: readonly RetainedMessage[]): readonly string[] =>
  table(
    [
      ['TOPIC', 'BYTES', 'QOS', 'PUBLISHER', 'USER', 'EXPIRES'],
      ...messages.map(({ topic, payload_bytes: bytes, qos, publisher, user, expires_in: expires }) =>
        [
          topic,
          `${bytes}`,
          `${qos}`,
          publisher ?? '-',
          user ?? '-',
          expires === undefined ? 'never' : `in ${timeText(expires)}`,
        ].map(printable),
      ),
    ],
    new Set([1, 2]),
  )

const levelTable = (levels: readonly RetainedLevel[]): readonly string[] =>
  table(
    [
      ['TOPIC', 'RETAINED', 'BELOW'],
      ...levels.map(({ topic, retained, below }) => [topic, retained ? 'yes' : 'no', `${below}`].map(printable)),
    ],
    new Set([2]),
  )

async function collected<T>(entries: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = []
  for await (const entry of entries) all.push(entry)
  return all
}
