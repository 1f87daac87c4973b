import { type Column as AnyColumn, columnLines } from './columns.ts'
import { momentText } from './figures.ts'
import type { Shape } from './shape.ts'

/** What `GET /api/v1/clients` returns of each, as far as it is shown. */
export interface ClientSummary {
  readonly id: string
  readonly client_id: string
  readonly state: string
  readonly since?: string
  readonly last_heard?: string
  readonly next_wake?: string
  readonly user?: string
  readonly port?: string
  readonly address?: string
  readonly node?: string
  readonly subscription_count: number
  readonly waiting_messages: number
  readonly upstream?: { readonly state: string; readonly target?: string }
}

/** `ClientSummary` */
export const CLIENT: Shape = {
  id: 'string',
  client_id: 'string',
  state: 'string',
  'since?': 'string',
  'last_heard?': 'string',
  'next_wake?': 'string',
  'user?': 'string',
  'port?': 'string',
  'address?': 'string',
  'node?': 'string',
  subscription_count: 'number',
  waiting_messages: 'number',
  'upstream?': { state: 'string', 'target?': 'string' },
}

type Column = AnyColumn<ClientSummary>

const STATE: Column = ['STATE', ({ state }) => state]
const SINCE: Column = ['SINCE', ({ since }, now) => momentText(since, now)]
const HEARD: Column = ['HEARD', ({ last_heard: heard }, now) => momentText(heard, now)]
const WAITING: Column = ['WAITING', ({ waiting_messages: waiting }) => `${waiting}`, true]
const PORT: Column = ['PORT', ({ port }) => port ?? '-']
const ADDRESS: Column = [
  'ADDRESS',
  ({ address, node }) => [address ?? '-', ...(node === undefined ? [] : [`node ${node}`])].join(' '),
]

/** Where the session of a sensor is; only where sensors have theirs at a cluster. */
const CLUSTER: Column = ['CLUSTER', ({ upstream }) => (upstream === undefined ? '-' : clusterText(upstream))]
const clusterText = ({ state, target }: NonNullable<ClientSummary['upstream']>): string =>
  target === undefined ? state : `${state} ${target}`

const SENSOR_COLUMNS: readonly Column[] = [
  ['SENSOR', ({ client_id: id }) => id],
  STATE,
  SINCE,
  HEARD,
  ['NEXT WAKE', ({ next_wake: wake }, now) => momentText(wake, now)],
  WAITING,
  PORT,
  ADDRESS,
]
const CLIENT_COLUMNS: readonly Column[] = [
  ['ID', ({ id }) => id],
  ['USER', ({ user }) => user ?? '-'],
  STATE,
  SINCE,
  HEARD,
  ['SUBSCRIPTIONS', ({ subscription_count: count }) => `${count}`, true],
  WAITING,
  PORT,
  ADDRESS,
]

const withCluster = (columns: readonly Column[], clients: readonly ClientSummary[]): readonly Column[] =>
  clients.some(({ upstream }) => upstream !== undefined) ? [...columns, CLUSTER] : columns

export const sensorTable = (sensors: readonly ClientSummary[], now: number): readonly string[] =>
  columnLines(withCluster(SENSOR_COLUMNS, sensors), sensors, now)
export const clientTable = (clients: readonly ClientSummary[], now: number): readonly string[] =>
  columnLines(withCluster(CLIENT_COLUMNS, clients), clients, now)
