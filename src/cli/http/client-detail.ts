import { counted } from '../../base/counted.ts'
import { printable } from '../../process/log.ts'
import { table } from '../listing.ts'
import type { ClientSummary } from './client-table.ts'
import { ageText, bytesText, momentText, roundTripText, timeText } from './figures.ts'

/** What `GET /api/v1/clients/{id}` returns: the fields of a list, and others of which any may be missing. */
export type ClientDetail = ClientSummary & { readonly [field: string]: unknown }

type Fields = { readonly [field: string]: unknown }

/** How a value is shown: undefined if it is none that can be. */
type Cell = (value: unknown, now: number) => string | undefined

const plain: Cell = (value) => {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'string' || typeof value === 'number' ? `${value}` : undefined
}
const moment: Cell = (value, now) => (typeof value === 'string' ? momentText(value, now) : undefined)
const seconds: Cell = (value) => (typeof value === 'number' ? timeText(value) : undefined)
const bytes: Cell = (value) => (typeof value === 'number' ? bytesText(value) : undefined)
/** For a field that is true or missing. */
const only =
  (text: string): Cell =>
  (value) =>
    value === true ? text : undefined
const either =
  (yes: string, no: string): Cell =>
  (value) =>
    typeof value === 'boolean' ? (value ? yes : no) : undefined

type Row = readonly [field: string, name: string, cell: Cell]

const CONNECTION: readonly Row[] = [
  ['protocol_version', 'version', plain],
  ['port', 'port', plain],
  ['address', 'address', plain],
  ['node', 'node', plain],
  ['address_validated', 'validated', either('yes', 'no: it gets little until it has acknowledged a message')],
  ['last_heard', 'last heard', moment],
  ['keep_alive_seconds', 'keep alive', (value) => (value === 0 ? 'none' : seconds(value, 0))],
  ['sleep_seconds', 'sleeps for', seconds],
  ['next_wake', 'next wake', moment],
  ['bridge', 'bridge', only('yes')],
  ['window', 'window', (value) => (typeof value === 'number' ? `${value} messages` : undefined)],
  ['reads', 'reads', either('yes', 'no: its socket takes nothing')],
  ['paused', 'is read', only('no: paused for now')],
  ['waits_for_port', 'waits', only('until its port may send')],
]
const SESSION: readonly Row[] = [
  ['created', 'created', moment],
  ['user', 'user', plain],
  ['user_verified', 'verified', plain],
  ['persistent', 'persistent', plain],
  ['clean', 'clean', plain],
  ['expiry_seconds', 'expiry', seconds],
  ['expires', 'expires', moment],
  ['mount_point', 'mount point', plain],
  ['unreleased', 'unreleased', (value) => (value === 0 ? undefined : plain(value, 0))],
  ['unanswered_publishes', 'unanswered', (value) => (value === 0 ? undefined : plain(value, 0))],
]
/** In the first line, or in sections of their own. */
const ELSEWHERE = ['id', 'client_id', 'protocol', 'state', 'since', 'subscription_count', 'waiting_messages', 'waiting_bytes']

const MESSAGE: readonly Row[] = [
  ['topic', 'TOPIC', plain],
  ['qos', 'QOS', plain],
  ['payload_bytes', 'BYTES', plain],
  ['publisher', 'PUBLISHER', plain],
  ['accepted', 'ACCEPTED', moment],
  ['expires', 'EXPIRES', moment],
]
const FIGURES = new Set(['QOS', 'BYTES', 'ID', 'MSG ID', 'PACKET ID'])

/** Everything that is known of one client, for a terminal. `now`: milliseconds since 1970. */
export function detailLines(detail: ClientDetail, now: number): readonly string[] {
  const { id, state, since } = detail
  const shown = new Set(ELSEWHERE)
  const sections = SECTIONS.map((section) => section(detail, now, shown)).filter((lines) => lines.length > 0)
  // Fields that a newer Roost has.
  const others = Object.entries(detail).filter(([field]) => !shown.has(field))
  const more = others.flatMap(([field, value]) => genericLines(field, value, now))
  const all = more.length === 0 ? sections : [...sections, ['More', ...more]]
  return [
    since === undefined ? `${id} is ${state}` : `${id} has been ${state} for ${ageText(since, now)}`,
    ...all.flatMap((lines) => ['', ...lines]),
  ].map((line) => `${printable(line)}\n`)
}

/** A part of the output. Adds the fields that it shows to `shown`. */
type Section = (detail: ClientDetail, now: number, shown: Set<string>) => readonly string[]

const rowsSection =
  (title: string, rows: readonly Row[]): Section =>
  (detail, now, shown) => {
    for (const [field] of rows) shown.add(field)
    const lines = rowLines(detail, rows, now)
    return lines.length === 0 ? [] : [title, ...lines]
  }

function rowLines(fields: Fields, rows: readonly Row[], now: number): readonly string[] {
  return rows.flatMap(([field, name, cell]) => {
    const text = cell(fields[field], now)
    return text === undefined ? [] : [lineOf(name, text)]
  })
}

const lineOf = (name: string, text: string): string => `  ${name.padEnd(18)}  ${text}`

/** A list of a field, as a table. */
const listSection =
  (title: string, field: string, columns: readonly Row[], countField?: string): Section =>
  (detail, now, shown) => {
    shown.add(field)
    if (countField !== undefined) shown.add(countField)
    const entries = entriesOf(detail[field])
    const count = countField === undefined ? undefined : detail[countField]
    return entries.length === 0
      ? []
      : [`${title} (${typeof count === 'number' ? count : entries.length})`, ...tableLines(entries, columns, now)]
  }

/** Messages with their totals. */
const messagesSection =
  (title: string, field: string, columns: readonly Row[]): Section =>
  (detail, now, shown) => {
    shown.add(field)
    const totals = fieldsOf(detail[field])
    const { messages } = totals
    if (typeof messages !== 'number' || messages === 0) return []
    const first = entriesOf(totals.first)
    const left = messages - first.length
    const oldest = moment(totals.oldest, now)
    return [
      `${title} (${counted(messages, 'message')}, ${bytes(totals.bytes, now) ?? '-'}${oldest === undefined ? '' : `, the oldest ${oldest}`})`,
      ...tableLines(first, columns, now),
      ...(left > 0 ? [`  and ${left} more`] : []),
    ]
  }

function tableLines(entries: readonly Fields[], columns: readonly Row[], now: number): readonly string[] {
  const used = columns.filter(([field, , cell]) => entries.some((entry) => cell(entry[field], now) !== undefined))
  const rows = entries.map((entry) => used.map(([field, , cell]) => printable(cell(entry[field], now) ?? '-')))
  const numbers = new Set(used.flatMap(([, name], i) => (FIGURES.has(name) ? [i] : [])))
  return table([used.map(([, name]) => name), ...rows], numbers).map((line) => `  ${line.trimEnd()}`)
}

const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})
const entriesOf = (value: unknown): readonly Fields[] => (Array.isArray(value) ? value.map(fieldsOf) : [])

/** One letter for each quarter of an hour, in four rows of six hours. */
const DAY: Readonly<Record<string, string>> = { unknown: '-', asleep: 's', awake: 'w', lost: 'l' }

const daySection: Section = ({ last_day: day }, _now, shown) => {
  shown.add('last_day')
  if (!Array.isArray(day) || day.every((each) => each === 'unknown')) return []
  const letters = day.map((each) => DAY[String(each)] ?? '?').join('')
  const rows = letters.match(/.{1,24}/g) ?? []
  return [
    'Last day (s asleep, w awake, l lost, - unknown; a letter is a quarter of an hour, the last one is now)',
    ...rows.map((row) => `  ${row.replace(/(.{4})/g, '$1 ').trimEnd()}`),
  ]
}

/** Why it does not get its messages, and the options behind that. */
const reasonSection: Section = ({ reasons }, now, shown) => {
  shown.add('reasons')
  const lines = entriesOf(reasons).flatMap(({ text, since, until, option }) => {
    if (typeof text !== 'string') return []
    const ends = moment(until, now)
    const more = [
      ...(typeof since === 'string' ? [`for ${ageText(since, now)}`] : []),
      ...(ends === undefined ? [] : [ends.startsWith('in ') ? `ends ${ends}` : `was to end ${ends}`]),
      ...(typeof option === 'string' ? [option] : []),
    ]
    return [`  ${text}${more.length === 0 ? '' : ` (${more.join(', ')})`}`]
  })
  return lines.length === 0 ? [] : ['Why it does not get all its messages', ...lines]
}

const objectSection =
  (title: string, field: string, rows: readonly Row[] = []): Section =>
  (detail, now, shown) => {
    shown.add(field)
    const fields = fieldsOf(detail[field])
    const known = new Set(rows.map(([name]) => name))
    const others = Object.entries(fields).filter(([name]) => !known.has(name))
    const lines = [...rowLines(fields, rows, now), ...others.flatMap(([name, value]) => genericLines(name, value, now))]
    return lines.length === 0 ? [] : [title, ...lines]
  }

/** A field whose meaning only its name tells. */
function genericLines(field: string, value: unknown, now: number): readonly string[] {
  const name = field.replaceAll('_', ' ')
  if (Array.isArray(value)) return value.flatMap((each) => genericLines(field, each, now))
  const text =
    typeof value === 'object' && value !== null
      ? Object.entries(value)
          .map(([inner, each]) => `${inner.replaceAll('_', ' ')} ${cellOf(inner)(each, now) ?? '-'}`)
          .join(', ')
      : cellOf(field)(value, now)
  return text === undefined || text === '' ? [] : [lineOf(name, text)]
}

const cellOf = (field: string): Cell => (/bytes(_|$)/.test(field) ? bytes : /seconds$/.test(field) ? seconds : plain)

const SECTIONS: readonly Section[] = [
  reasonSection,
  rowsSection('Connection', CONNECTION),
  rowsSection('Session', SESSION),
  listSection(
    'Subscriptions',
    'subscriptions',
    [
      ['filter', 'FILTER', plain],
      ['qos', 'QOS', plain],
      ['no_local', 'NO LOCAL', only('yes')],
      ['retain_as_published', 'RETAIN AS PUBLISHED', only('yes')],
      ['identifier', 'IDENTIFIER', plain],
    ],
    'subscription_count',
  ),
  messagesSection('Queue', 'queue', MESSAGE),
  messagesSection('In flight', 'in_flight', [['packet_id', 'PACKET ID', plain], ['state', 'STATE', plain], ...MESSAGE]),
  listSection('Unanswered by the sensor', 'exchanges', [
    ['awaiting', 'AWAITING', plain],
    ['msg_id', 'MSG ID', plain],
  ]),
  listSection(
    'Topic ids',
    'topic_ids',
    [
      ['id', 'ID', plain],
      ['topic', 'TOPIC', plain],
      ['requested_by', 'REQUESTED BY', plain],
      ['known', 'KNOWN', plain],
    ],
    'topic_id_count',
  ),
  objectSection('Session at the cluster', 'upstream', [
    ['state', 'state', plain],
    ['target', 'target', plain],
    ['since', 'since', moment],
    ['client_id', 'client id', plain],
    ['version', 'MQTT', plain],
    ['round_trip_ms', 'round trip', (value) => (typeof value === 'number' ? roundTripText(value) : undefined)],
    ['last_error', 'last error', plain],
  ]),
  objectSection('Will', 'will', [
    ['topic', 'topic', plain],
    ['qos', 'qos', plain],
    ['retain', 'retain', plain],
    ['payload_bytes', 'payload', bytes],
    ['delay_seconds', 'delay', seconds],
    // Up to a megabyte: --json has it.
    ['payload_base64', '', () => undefined],
  ]),
  objectSection('Counters', 'counters'),
  daySection,
]
