import { counted } from '../../base/counted.ts'
import { printable } from '../../process/log.ts'
import { bytesText, timeText } from './figures.ts'
import type { Shape } from './shape.ts'

interface InAndOut {
  readonly received: number
  readonly sent: number
}

/** What `GET /api/v1/overview` returns, as far as it is shown. */
export interface Overview {
  readonly version: string
  readonly started_at: string
  readonly not_ready?: string
  readonly clients: { readonly connected: number; readonly disconnected: number; readonly maximum: number }
  /** By state. */
  readonly sensors: Readonly<Record<string, number>>
  readonly messages: InAndOut & { readonly dropped: number }
  readonly bytes: InAndOut
  readonly retained: { readonly messages: number; readonly bytes: number }
  readonly waiting: { readonly messages: number; readonly bytes: number }
  readonly upstream?: { readonly targets: Readonly<Record<string, number>>; readonly connections: number }
  readonly bridges?: { readonly connected: number; readonly configured: number }
  readonly subscriptions: { readonly plain: number; readonly shared: number }
  readonly memory: { readonly resident: number; readonly clients: number; readonly limit?: number }
  readonly store?: { readonly bytes: number; readonly max_bytes?: number }
}

const IN_AND_OUT = { received: 'number', sent: 'number' } as const
const MESSAGES_AND_BYTES = { messages: 'number', bytes: 'number' } as const

/** `Overview` */
export const OVERVIEW: Shape = {
  version: 'string',
  started_at: 'string',
  'not_ready?': 'string',
  clients: { connected: 'number', disconnected: 'number', maximum: 'number' },
  sensors: {},
  messages: { ...IN_AND_OUT, dropped: 'number' },
  bytes: IN_AND_OUT,
  retained: MESSAGES_AND_BYTES,
  waiting: MESSAGES_AND_BYTES,
  'bridges?': { connected: 'number', configured: 'number' },
  'upstream?': { targets: {}, connections: 'number' },
  subscriptions: { plain: 'number', shared: 'number' },
  memory: { resident: 'number', clients: 'number', 'limit?': 'number' },
  'store?': { bytes: 'number', 'max_bytes?': 'number' },
}

/** The totals for a terminal. `now`: milliseconds since 1970. */
export function overviewLines(overview: Overview, url: string, now: number): readonly string[] {
  const { version, started_at: startedAt, not_ready: notReady, clients, sensors, messages, bytes, retained } = overview
  const { waiting, subscriptions, memory, store, upstream } = overview
  const sized = ({ messages: count, bytes: size }: Overview['waiting']): string =>
    `${counted(count, 'message')}, ${bytesText(size)}`
  const of = (limit: number | undefined): string => (limit === undefined ? '' : ` of ${bytesText(limit)}`)
  const rows: readonly (readonly [string, string])[] = [
    [
      'clients',
      `${clients.connected} connected, ${clients.disconnected} disconnected, at most ${clients.maximum} at the same time`,
    ],
    ['sensors', `${sensorCount(overview)}: ${byState(sensors)}`],
    ...(upstream === undefined ? [] : [['cluster', clusterText(upstream)] as const]),
    ['subscriptions', `${subscriptions.plain}, and ${subscriptions.shared} shared`],
    ['messages', `${messages.received} received, ${messages.sent} sent, ${messages.dropped} dropped`],
    ['bytes', `${bytesText(bytes.received)} received, ${bytesText(bytes.sent)} sent`],
    ['waiting', sized(waiting)],
    ['retained', sized(retained)],
    ['memory', `${bytesText(memory.resident)}, of them for clients ${bytesText(memory.clients)}${of(memory.limit)}`],
    ['store', store === undefined ? 'none: memory only' : `${bytesText(store.bytes)}${of(store.max_bytes)}`],
  ]
  const age = timeText((now - Date.parse(startedAt)) / 1000)
  return [
    `Roost ${printable(version)} at ${url}, ${notReady === undefined ? 'ready' : `not ready: ${printable(notReady)}`}, up ${age}\n`,
    ...rows.map(([name, text]) => `  ${name.padEnd(14)}${text}\n`),
  ]
}

const byState = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([state, count]) => `${count} ${state}`)
    .join(', ')

/** Of the targets those states that there are. */
function clusterText({ targets, connections }: NonNullable<Overview['upstream']>): string {
  const some = Object.fromEntries(Object.entries(targets).filter(([, count]) => count > 0))
  return `targets: ${byState(some)}; ${counted(connections, 'connection')} of sensors`
}

/** Sensors in any state. */
export const sensorCount = ({ sensors }: Overview): number => Object.values(sensors).reduce((sum, count) => sum + count, 0)
