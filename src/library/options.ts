import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { bridgesOfObjects } from '../config/bridges.ts'
import { type Config, type Given, given, inWords, type Layer, type ListenerLayer } from '../config/config.ts'
import { readConfigFile, resolveFiles } from '../config/io/config-file.ts'
import { HTTP_OPTIONS } from '../config/options/http.ts'
import { LISTENER_NAME } from '../config/options/listeners.ts'
import { nameOf, type Option, type OptionKey, options, snEntryKey } from '../config/options.ts'
import { upstreamOfObject } from '../config/upstream.ts'
import { checkedHooks } from '../process/hook-file.ts'
import { HOOK_NAMES, type Hooks } from '../process/hooks.ts'
import { filtersOf } from './given-filters.ts'
import { typesOf } from './given-types.ts'
import { isObjectOfKeys, kindOf } from './json-text.ts'
import type { StartOptions } from './start-options.ts'

/** Options that a log of the program's own has instead. */
const LOG_KEYS: ReadonlySet<OptionKey> = new Set(['log_file', 'log_format'] as const)

const known = new Map(options.filter(({ flagOnly }) => flagOnly !== true).map((option) => [option.name as string, option]))
const entryOptions = new Map(options.flatMap((each) => (each.listener === undefined ? [] : [[each.name as string, each]])))
const snEntryOptions = new Map(
  options.flatMap((each) => (each.snListener === undefined ? [] : [[nameOf(snEntryKey(each.key)), each]])),
)

/** What `start` was given, with its keys checked. */
export interface Resolved {
  readonly config: Config
  /** undefined if there is none. */
  readonly hooks: Hooks | undefined
  /** About former options in the file. */
  readonly warnings: readonly string[]
}

/**
 * Returns the configuration that options and file describe, and the hooks among them.
 * @throws StartError that names the key, or the place in the file
 */
export function resolveOptions(all: StartOptions, cwd: string): Resolved {
  try {
    return resolve(all, cwd)
  } catch (error) {
    throw error instanceof StartError ? new StartError(inKeys(error.message)) : error
  }
}

/**
 * Replaces flags by the keys of `start`, and keys of the file too unless the error is about a line of the file: the rooms below name
 * options as `roost serve` does.
 */
export function inKeys(message: string): string {
  const isAboutKeys = /^(--|listeners\[|snListeners\[|[a-z_]+: has no effect)/.test(message)
  const names = isAboutKeys ? /--[a-z][a-z0-9-]*|\b[a-z]+(_[a-z]+)+\b/g : /--[a-z][a-z0-9-]*/g
  return message.replaceAll(names, (name) => byName.get(name) ?? name)
}

const byName = new Map<string, string>([
  ...options.flatMap(({ flag, key, name }): [string, string][] => [
    [flag, name],
    [key, name],
  ]),
  ['sn_listeners', 'snListeners'],
])

function resolve(all: StartOptions, cwd: string): Resolved {
  // Of a promise, no key would be seen, and a broker with the defaults lets everyone in.
  if (!isObjectOfKeys(all)) throw new StartError(`start: expected an object of options, got ${kindOf(all)}`)
  const { listeners, snListeners } = all
  const given = givenLayer(all)
  const hooks = hooksOf(all)
  const warnings: string[] = []
  const file = readConfigFile(given, cwd, (line) => warnings.push(line))
  const own = listeners === undefined ? file.listeners : entriesOf('listeners', listeners, entryOptions, ['port', 'socketPath'])
  const sn =
    snListeners === undefined ? file.snListeners : entriesOf('snListeners', snListeners, snEntryOptions, ['port', 'device'])
  const merged = new Map([...file.global, ...given])
  const global = new Map([...file.global, ...quietDefaults(given, merged, sn.length > 0)])
  if (!given.has('config')) for (const [key, value] of libraryDefaults(merged)) global.set(key, value)
  const quiet = sn.map((entry) => ({ ...entry, own: new Map([...entry.own, ...quietEntry(entry.own, merged)]) }))
  const types = all.types === undefined ? file.types : typesOf(all.types, cwd)
  const filters = all.filters === undefined ? file.filters : filtersOf(all.filters, cwd)
  const bridges = all.bridges === undefined ? file.bridges : bridgesOfObjects(all.bridges)
  const upstream = all.upstream === undefined ? file.upstream : upstreamOfObject(all.upstream)
  const targets = upstream?.values.get('targets')
  if (targets !== undefined) global.set('upstream', targets)
  const entries = { listeners: own, snListeners: quiet, types, filters, bridges, upstream }
  const config = resolveFiles(given, { ...file, global, ...entries }, cwd, hooks !== undefined)
  return { config, hooks, warnings }
}

function hooksOf(all: StartOptions): Hooks | undefined {
  const given = HOOK_NAMES.flatMap((name) => (all[name] === undefined ? [] : [[name, all[name]] as const]))
  return given.length === 0 ? undefined : checkedHooks(Object.fromEntries(given), '', 'no such hook')
}

/** Options of log lines, which mean nothing where there are none. */
const LINE_KEYS = ['logLevel', 'logRate'] as const

/** Validates the global keys. They have the origins of flags: they override the file in the same way. */
function givenLayer(all: StartOptions): Layer {
  const layer = new Map<OptionKey, Given>()
  const idle = all.log === undefined || all.log === false ? LINE_KEYS.find((key) => all[key] !== undefined) : undefined
  if (idle !== undefined) throw new StartError(`${idle}: has no effect without log`)
  const lists = ['listeners', 'snListeners', 'types', 'filters', 'bridges', 'upstream']
  const names = [...known.keys(), ...lists, 'config', 'log', ...HOOK_NAMES]
  // Inherited ones, too: options may be made with Object.create.
  for (const name in all) {
    const value = all[name as keyof StartOptions]
    const option = name === 'config' ? CONFIG : known.get(name)
    if (option === undefined && !names.includes(name))
      throw new StartError(`${name}: unknown key${didYouMean(name.replaceAll('_', ''), names)}`)
    if (option === undefined || value === undefined) continue
    if (LOG_KEYS.has(option.key)) throw new StartError(`${name}: has no effect here; give start a log that does it`)
    layer.set(option.key, checked(option, value, option.flag))
  }
  return layer
}

const CONFIG = options.find(({ key }) => key === 'config')!

const checked = (option: Option, value: unknown, origin: string): Given =>
  given(option, option.list === true && isTexts(value) ? value.join(',') : value, origin)

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string' && !item.includes(','))

function entriesOf(
  list: string,
  entries: unknown,
  known: ReadonlyMap<string, Option>,
  places: readonly [string, string],
): ListenerLayer[] {
  if (!Array.isArray(entries)) throw new StartError(`${list}: expected a list of listeners, got ${inWords(entries)}`)
  if (entries.length === 0) throw new StartError(`${list}: expected at least one listener, got none`)
  return entries.map((entry: unknown, index) => {
    const origin = `${list}[${index}]`
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
      throw new StartError(`${origin}: expected an object, got ${inWords(entry)}`)
    const own = new Map<OptionKey, Given>()
    let name: Given | undefined
    for (const [key, value] of Object.entries(entry)) {
      const option = known.get(key)
      if (value === undefined) continue
      if (key === 'name') name = given(LISTENER_NAME, value, `${origin}.name`)
      else if (option !== undefined) own.set(option.key, checked(option, value, `${origin}.${key}`))
      else throw new StartError(`${origin}.${key}: ${unknownIn(key, known)}`)
    }
    if (places.every((key) => !own.has(known.get(key)!.key)))
      throw new StartError(`${origin}: expected ${places.join(' or ')}, got neither`)
    return { origin, name, own }
  })
}

const unknownIn = (key: string, entry: ReadonlyMap<string, Option>): string =>
  known.has(key) ? 'cannot be set for a single listener' : `unknown key${didYouMean(key, ['name', ...entry.keys()])}`

/** Origin of defaults of the library; they contradict nothing, so it is never shown. */
const byDefault = (value: unknown): Given => ({ value, origin: 'start' })

/** Defaults that differ from those of `roost serve` where there is no file. */
function* libraryDefaults(merged: Layer): Iterable<[OptionKey, Given]> {
  if (!merged.has('data_dir') && !merged.has('memory')) yield ['memory', byDefault(true)]
  if (!HTTP_KEYS.some((key) => merged.has(key))) yield ['http', byDefault(false)]
}

const HTTP_KEYS = Object.keys(HTTP_OPTIONS) as (keyof typeof HTTP_OPTIONS)[]

/** Keys that ask for multicast: for all ports, and for one. */
const MULTICAST = ['t_adv', 'standby'] as const
const MULTICAST_OF_PORT = [...MULTICAST, 'multicast_group', 'multicast_port', 'multicast_interface'] as const

/** Without one of those keys, the port that the global keys describe joins no group. */
function quietDefaults(keys: Layer, merged: Layer, hasEntries: boolean): [OptionKey, Given][] {
  const isUdp = keys.has('sn_host') || keys.has('sn_port') || !merged.has('sn_device')
  const isDescribed = !hasEntries || merged.has('sn_host') || merged.has('sn_port')
  return isUdp && isDescribed ? asksForNothing(merged, merged) : []
}

const quietEntry = (own: Layer, merged: Layer): [OptionKey, Given][] => (own.has('sn_device') ? [] : asksForNothing(own, merged))

const asksForNothing = (own: Layer, merged: Layer): [OptionKey, Given][] =>
  MULTICAST_OF_PORT.some((key) => own.has(key)) || MULTICAST.some((key) => merged.has(key))
    ? []
    : [['multicast_group', byDefault('none')]]
