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

export const sensorTable = (sensors: readonly ClientSummary[], now: number): readonly string[] =>
  columnLines(SENSOR_COLUMNS, sensors, now)
export const clientTable = (clients: readonly ClientSummary[], now: number): readonly string[] =>
  columnLines(CLIENT_COLUMNS, clients, now)
