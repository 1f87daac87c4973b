import { ACCESS_OPTIONS } from './options/access.ts'
import { BROKER_OPTIONS } from './options/broker.ts'
import { GATEWAY_OPTIONS } from './options/gateway.ts'
import type { Kind, OptionDefinition } from './options/kinds.ts'
import { LISTENER_OPTIONS } from './options/listeners.ts'
import { MEMORY_OPTIONS } from './options/memory.ts'
import { CONFIGURATION_OPTIONS, PROCESS_OPTIONS } from './options/process.ts'
import { SN_PORT_OPTIONS } from './options/sn-ports.ts'

/**
 * Every option by its key in the configuration file: the single source of flags, keys, defaults, ranges and their documentation. A key
 * is Mosquitto's name or the MQTT-SN specification's; our own names end in their unit. Every limit has a largest value, because nothing
 * in Roost may grow without bound. Where 0 switches a check off, the value inside is Infinity.
 */
export const OPTIONS = {
  ...LISTENER_OPTIONS,
  ...ACCESS_OPTIONS,
  ...PROCESS_OPTIONS,
  ...MEMORY_OPTIONS,
  ...BROKER_OPTIONS,
  ...GATEWAY_OPTIONS,
  ...SN_PORT_OPTIONS,
  ...CONFIGURATION_OPTIONS,
} as const satisfies Record<string, OptionDefinition>

export type OptionKey = keyof typeof OPTIONS

type CamelCase<K extends string> = K extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : K

type ValueOf<E> = E extends Kind<infer T> ? T : never

/** The value of every option, by its name inside: `max_queued_messages` is `maxQueuedMessages`. */
export type Settings = { readonly [K in OptionKey as CamelCase<K>]: ValueOf<(typeof OPTIONS)[K]> }

type ListenerKey = { [K in OptionKey]: (typeof OPTIONS)[K] extends { readonly listener: string } ? K : never }[OptionKey]

/** Those that each listener may set for itself. */
export type ListenerSettings = Pick<Settings, CamelCase<ListenerKey>>

type WithoutSn<K extends string> = K extends `sn_${infer Rest}` ? Rest : K
type SnListenerKey = { [K in OptionKey]: (typeof OPTIONS)[K] extends { readonly snListener: string } ? K : never }[OptionKey]

/** Those that each port for sensors may set for itself, by their name in an entry of `sn_listeners`. */
export type SnListenerSettings = {
  readonly [K in SnListenerKey as CamelCase<WithoutSn<K>>]: ValueOf<(typeof OPTIONS)[K]>
}

/** `port` of an entry of `sn_listeners` is `sn_port`. */
export const snEntryKey = (key: OptionKey): string => key.replace(/^sn_/, '')

export interface Option extends OptionDefinition {
  readonly key: OptionKey
  /** `max_queued_messages` */
  readonly name: keyof Settings
  /** `--max-queued-messages` */
  readonly flag: string
}

/** `maxQueuedMessages` for `max_queued_messages` */
export const nameOf = (key: string): string => key.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())

/** `--max-queued-messages` for `max_queued_messages` */
export const flagOf = (key: string): string => `--${key.replaceAll('_', '-')}`

export const options: readonly Option[] = Object.entries(OPTIONS).map(([key, entry]) => ({
  ...entry,
  key: key as OptionKey,
  name: nameOf(key) as keyof Settings,
  flag: flagOf(key),
}))
