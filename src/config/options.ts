import { ACCESS_OPTIONS } from './options/access.ts'
import { BROKER_OPTIONS } from './options/broker.ts'
import { GATEWAY_OPTIONS } from './options/gateway.ts'
import { HTTP_OPTIONS } from './options/http.ts'
import type { Kind, OptionDefinition } from './options/kinds.ts'
import { LISTENER_OPTIONS } from './options/listeners.ts'
import { MEMORY_OPTIONS } from './options/memory.ts'
import { CONFIGURATION_OPTIONS, PROCESS_OPTIONS } from './options/process.ts'
import { SN_PORT_OPTIONS } from './options/sn-ports.ts'

/**
 * All options by their key in the configuration file: the single source of flags, keys, defaults, ranges and their
 * documentation. A key is the name in Mosquitto or in the MQTT-SN specification; names of our own end with their unit.
 * Every limit has a maximum, because nothing in Roost may grow without bound. If 0 switches a check off, the resolved
 * value is Infinity.
 */
export const OPTIONS = {
  ...LISTENER_OPTIONS,
  ...ACCESS_OPTIONS,
  ...HTTP_OPTIONS,
  ...PROCESS_OPTIONS,
  ...MEMORY_OPTIONS,
  ...BROKER_OPTIONS,
  ...GATEWAY_OPTIONS,
  ...SN_PORT_OPTIONS,
  ...CONFIGURATION_OPTIONS,
} as const satisfies Record<string, OptionDefinition>

export type OptionKey = keyof typeof OPTIONS

/** The options that everyone needs first. `--help` shows them, and documentation and console begin with them. */
export const FIRST_OPTIONS: readonly OptionKey[] = [
  'config',
  'host',
  'port',
  'password_file',
  'acl_file',
  'certfile',
  'keyfile',
  'sn_host',
  'sn_username',
  'data_dir',
]

type CamelCase<K extends string> = K extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : K

type ValueOf<E> = E extends Kind<infer T, unknown> ? T : never
/** What a program may give: a list of texts too, where the file has items separated by commas. */
type GivenOf<E> = E extends { readonly list: true } ? string | readonly string[] : E extends Kind<unknown, infer G> ? G : never

/** The values of all options, by their names in the code: `max_queued_messages` is `maxQueuedMessages`. */
export type Settings = { readonly [K in OptionKey as CamelCase<K>]: ValueOf<(typeof OPTIONS)[K]> }

type ListenerKey = { [K in OptionKey]: (typeof OPTIONS)[K] extends { readonly listener: string } ? K : never }[OptionKey]

/** Settings that each listener can override. */
export type ListenerSettings = Pick<Settings, CamelCase<ListenerKey>>

type WithoutSn<K extends string> = K extends `sn_${infer Rest}` ? Rest : K
type SnListenerKey = { [K in OptionKey]: (typeof OPTIONS)[K] extends { readonly snListener: string } ? K : never }[OptionKey]

/** Settings that each MQTT-SN port can override, by their key in an entry of `sn_listeners`. */
export type SnListenerSettings = {
  readonly [K in SnListenerKey as CamelCase<WithoutSn<K>>]: ValueOf<(typeof OPTIONS)[K]>
}

type FileKey = { [K in OptionKey]: (typeof OPTIONS)[K] extends { readonly flagOnly: true } ? never : K }[OptionKey]

/** The keys of the configuration file in camelCase, with values as written there: before defaults, and before parsing. */
export type GivenSettings = { readonly [K in FileKey as CamelCase<K>]?: GivenOf<(typeof OPTIONS)[K]> | undefined }

/** The same for an entry of `listeners`. */
export type GivenListener = {
  readonly [K in ListenerKey as CamelCase<K>]?: GivenOf<(typeof OPTIONS)[K]> | undefined
} & { readonly name?: string | undefined }

/** The same for an entry of `sn_listeners`. */
export type GivenSnListener = {
  readonly [K in SnListenerKey as CamelCase<WithoutSn<K>>]?: GivenOf<(typeof OPTIONS)[K]> | undefined
} & { readonly name?: string | undefined }

/** Returns the key of an option in an entry of `sn_listeners`: `port` for `sn_port`. */
export const snEntryKey = (key: OptionKey): string => key.replace(/^sn_/, '')

export interface Option extends OptionDefinition {
  readonly key: OptionKey
  /** `max_queued_messages` */
  readonly name: keyof Settings
  /** `--max-queued-messages` */
  readonly flag: string
}

/** Returns the name of an option in the code: `maxQueuedMessages` for `max_queued_messages`. */
export const nameOf = (key: string): string => key.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())

/** Returns the flag of an option: `--max-queued-messages` for `max_queued_messages`. */
export const flagOf = (key: string): string => `--${key.replaceAll('_', '-')}`

export const options: readonly Option[] = Object.entries(OPTIONS).map(([key, entry]) => ({
  ...entry,
  key: key as OptionKey,
  name: nameOf(key) as keyof Settings,
  flag: flagOf(key),
}))
