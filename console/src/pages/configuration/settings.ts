import type { Answer } from '../../lib/api.ts'
import { bytes } from '../../lib/numbers.ts'
import { OPTION_GROUPS, OPTIONS } from '../../lib/reference.ts'
import { duration } from '../../lib/time.ts'

export interface Setting {
  readonly key: string
  readonly about: string
  /** As text, with `none` for no value. */
  readonly value: string
  /** The same in a larger unit; '' if there is nothing to add. */
  readonly inUnits: string
  readonly isStandard: boolean
  /** As text. */
  readonly standard: string
}

export interface Section {
  readonly title: string
  readonly settings: readonly Setting[]
  /** A group of docs/configuration.md, all of whose options are listed. */
  readonly isGroup?: true
}

type Config = Answer<'GET /api/v1/config'>
type Values = Readonly<Record<string, unknown>>

/** Each listener and each port has a section of its own; the other options come in the groups of docs/configuration.md. */
export function sectionsOf(config: Config): readonly Section[] {
  const { options, listeners, sn_listeners: ports, bridges, predefined_topics: tables, types } = config
  const groups = OPTION_GROUPS.map((title, group) => ({
    title,
    isGroup: true as const,
    settings: Object.keys(OPTIONS).flatMap((key) => {
      // Set by listeners or ports only, and so listed there.
      const isElsewhere = options[key] === undefined && [...listeners, ...ports].some((each) => hasOwn(each, key))
      return OPTIONS[key]![0] === group && !isElsewhere ? [settingOf(key, options[key], key)] : []
    }),
  }))
  return [
    ...listeners.map((each) => ({ title: `Listener ${each.name}`, settings: ownOf(each, options, '') })),
    ...ports.map((each) => ({ title: `Port for sensors ${each.name}`, settings: ownOf(each, options, 'sn_') })),
    ...bridges.map((each) => ({ title: `Bridge ${each.name}`, settings: bridgeOf(each) })),
    ...(types.length === 0 ? [] : [{ title: 'Types of topics', settings: types.map(typeOf) }]),
    ...(tables.length === 0 ? [] : [{ title: 'Predefined topics', settings: tables.map(tableOf) }]),
    ...groups.filter(({ settings }) => settings.length > 0),
  ]
}

const hasOwn = (values: Values, key: string): boolean =>
  values[key] !== undefined || values[key.replace(/^sn_/, '')] !== undefined

/** All keys of a bridge that have a value; docs/bridge.md explains them. */
const bridgeOf = (values: Values): Setting[] =>
  Object.entries(values).flatMap(([key, value]) =>
    key === 'name' || value === undefined || value === null
      ? []
      : [
          {
            key,
            about: '',
            value: Array.isArray(value) ? value.join('; ') : String(value),
            inUnits: '',
            isStandard: false,
            standard: '',
          },
        ],
  )

const tableOf = ({ clients, topic_ids: ids }: Config['predefined_topics'][number]): Setting => ({
  key: clients,
  about: 'Sensors whose client id matches this pattern know these topic ids.',
  value: `${ids} topic ids`,
  inUnits: '',
  isStandard: false,
  standard: 'none',
})

function typeOf({ name, topics, content_type: contentType, form = [], invalid }: Config['types'][number]): Setting {
  const checked = form.length === 0 ? [] : [`${form.join(' and ')}: ${invalid} what does not fit`]
  return {
    key: name,
    about: `Type of messages on ${topics.join(', ')}.`,
    value: [...(contentType === undefined ? [] : [contentType]), ...checked].join('; ') || 'a name only',
    inUnits: '',
    isStandard: false,
    standard: 'none',
  }
}

/** What a listener or a port has set: what is the same as for all is left out. */
function ownOf(values: Values, options: Values, prefix: string): Setting[] {
  return Object.keys(values).flatMap((key) => {
    if (key === 'name' || values[key] === undefined) return []
    const known = `${prefix}${key}` in OPTIONS ? `${prefix}${key}` : key
    const isInherited = known in options && textOf(options[known]) === textOf(values[key])
    return isInherited ? [] : [settingOf(known, values[key], key)]
  })
}

function settingOf(known: string, value: unknown, key: string): Setting {
  const [, about = '', standard] = OPTIONS[known] ?? []
  return {
    key,
    about,
    value: textOf(value),
    inUnits: inUnits(known, value),
    isStandard: isSame(value, standard),
    standard: textOf(standard),
  }
}

const textOf = (value: unknown): string => {
  if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) return 'none'
  return Array.isArray(value) ? value.join(', ') : String(value)
}

/** The path of a file is absolute, and its default is not. Whether a limit that depends on the machine was set, the API does not say. */
const isSame = (value: unknown, standard: unknown): boolean =>
  standard === 'depends on the machine' ||
  textOf(value) === textOf(standard) ||
  (typeof standard === 'string' && typeof value === 'string' && value.endsWith(`/${standard}`))

/** The name of an option ends with its unit where it has one that is not plain. */
function inUnits(key: string, value: unknown): string {
  if (typeof value !== 'number') return ''
  if (/(_bytes|_packet_size|size_limit|^memory_limit|^max_memory_\w+)$/.test(key)) return value >= 1024 ? bytes(value) : ''
  return /(_seconds|_expiration|keepalive)$/.test(key) && value >= 60 ? duration(value) : ''
}

export const matches = ({ key, about, value }: Setting, text: string): boolean =>
  [key, about, value].some((each) => each.toLowerCase().includes(text))
