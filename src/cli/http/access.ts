import { printable } from '../../process/log.ts'
import { table } from '../listing.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags } from './api-client.ts'
import { fits, type Shape } from './shape.ts'

export interface AccessFlags extends ApiFlags {
  readonly topic?: string
  readonly action?: string
  readonly user?: string
  readonly listener?: string
  readonly json?: true
}

interface Place {
  readonly file?: string
  readonly line?: number
  readonly pattern?: string
}

interface Rule extends Place {
  readonly permission: string
  readonly filter?: string
  readonly ignored?: string
}

interface Access {
  readonly id: string
  readonly user?: string
  readonly user_verified: boolean
  readonly rules_of_user?: string
  readonly listener?: string
  readonly mount_point?: string
  readonly banned?: boolean
  readonly rules_from: string
  readonly default: string
  readonly subscriptions: string
  readonly sensor_user?: {
    readonly outcome: string
    readonly may_connect: boolean
    readonly user?: string
    readonly option?: string
  } & Place
  readonly rule_count: number
  readonly rules: readonly Rule[]
  readonly unknown: readonly string[]
  readonly answer?: {
    readonly action: string
    readonly topic: string
    readonly allowed: boolean
    readonly why: string
    readonly partial?: boolean
  } & Place
}

const PLACE: Shape = { 'file?': 'string', 'line?': 'number', 'pattern?': 'string' }
const RULE: Shape = { permission: 'string', 'filter?': 'string', 'ignored?': 'string', ...PLACE }
/** `Access`, apart from its lists. */
const ACCESS: Shape = {
  id: 'string',
  'user?': 'string',
  user_verified: 'boolean',
  'rules_of_user?': 'string',
  'listener?': 'string',
  'mount_point?': 'string',
  'banned?': 'boolean',
  rules_from: 'string',
  default: 'string',
  subscriptions: 'string',
  'sensor_user?': { outcome: 'string', may_connect: 'boolean', 'user?': 'string', 'option?': 'string', ...PLACE },
  rule_count: 'number',
  rules: {},
  unknown: {},
  'answer?': { action: 'string', topic: 'string', allowed: 'boolean', why: 'string', 'partial?': 'boolean', ...PLACE },
}

/** Shows what a client may do. */
export async function access(flags: AccessFlags, host: Host, client = ''): Promise<void> {
  const { topic, action, user, listener, json } = flags
  const api = await ApiClient.from(flags, host)
  const given = Object.entries({ client, topic, action, user, listener }).filter(
    (each): each is [string, string] => each[1] !== undefined,
  )
  const found = await api.get<Access>(`/api/v1/access?${new URLSearchParams(given)}`, ACCESS)
  const lines = json === true ? [JSON.stringify(found, undefined, 2)] : accessLines(found)
  for (const line of lines) host.stdout.write(`${json === true ? line : printable(line)}\n`)
}

function accessLines(found: Access): readonly string[] {
  const unknown = listOf<string>(found.unknown, 'string')
  return [
    ...headLines(found),
    ...unknown.map((line) => `  unknown       ${line}`),
    '',
    ...(found.answer === undefined ? ruleLines(found) : answerLines(found.answer)),
  ]
}

function headLines(found: Access): readonly string[] {
  const {
    id,
    user,
    user_verified: verified,
    rules_of_user: ruled,
    listener,
    mount_point: mountPoint,
    banned,
    sensor_user: sensor,
  } = found
  const rows: (readonly [string, string | undefined])[] = [
    ['user', user === undefined ? 'none' : `${user}${verified ? '' : ' (not verified)'}`],
    [
      'as user',
      user !== ruled && found.rules_from === 'acl_file'
        ? (ruled ?? 'none: the rules for clients without a user name')
        : undefined,
    ],
    ['sensor', sensor === undefined ? undefined : sensorText(sensor)],
    ['listener', listener],
    ['mount point', mountPoint],
    ['banned', banned === true ? 'by ban_file' : undefined],
    [
      'rules',
      found.rules_from === 'none' ? 'none: everything is allowed' : `from ${found.rules_from}; what no rule allows is denied`,
    ],
    [
      'subscribe',
      found.subscriptions === 'whole' ? 'filters must be allowed whole' : 'filters may be wider than what may be read',
    ],
  ]
  return [id, ...rows.filter(([, text]) => text !== undefined).map(([name, text]) => `  ${name.padEnd(14)}${text}`)]
}

function sensorText({ outcome, may_connect: may, user, option, ...place }: NonNullable<Access['sensor_user']>): string {
  const by = option === undefined ? '' : ` by ${option}${placeText(place, ' ')}`
  return `${may ? 'may connect' : 'may not connect'}: ${outcome}${user === undefined ? '' : ` ${user}`}${by}`
}

const answerLines = ({ action, topic, allowed, why, partial, ...place }: NonNullable<Access['answer']>): readonly string[] => [
  `${action} ${topic}: ${allowed ? 'allowed' : 'denied'}: ${why}${placeText(place, ': ')}`,
  ...(partial === true ? ['not everything that the filter matches is delivered'] : []),
]

function ruleLines({ rules, rule_count: count }: Access): readonly string[] {
  const known = listOf<Rule>(rules, RULE)
  if (known.length === 0) return count === 0 ? ['no rules'] : []
  const rows = known.map((rule) => [
    rule.permission,
    rule.filter ?? '-',
    rule.pattern ?? '-',
    placeText(rule, ''),
    rule.ignored === undefined ? '' : `ignored: ${rule.ignored}`,
  ])
  const lines = table([['RULE', 'FILTER', 'PATTERN', 'LINE', ''], ...rows.map((row) => row.map(printable))], new Set())
  return [...lines.map((line) => line.trimEnd()), ...(count > known.length ? [`and ${count - known.length} more`] : [])]
}

const placeText = ({ file, line }: Place, before: string): string =>
  file === undefined || line === undefined ? '' : `${before}${file}:${line}`

/** Those entries of a list that can be read. */
const listOf = <T>(list: unknown, shape: Shape): readonly T[] =>
  Array.isArray(list) ? (list.filter((entry) => fits(entry, shape)) as T[]) : []
