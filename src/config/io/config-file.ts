import { dirname, isAbsolute, join, resolve } from 'node:path'
import { isMap } from 'yaml'
import { didYouMean } from '../../base/nearest.ts'
import { StartError } from '../../base/start-error.ts'
import type { TypeDefinition } from '../../filters/topic-types.ts'
import { resolveBridges, type WrittenBridge, type WrittenPair } from '../bridges.ts'
import {
  type Config,
  DEFAULT_CONFIG,
  type FilterSetting,
  type Given,
  given,
  type Layer,
  type ListenerLayer,
  resolveConfig,
} from '../config.ts'
import { fixedEntryKey, fixedKey, goneOption } from '../fixed.ts'
import type { BridgeConfig } from '../options/bridges.ts'
import { isUrl } from '../options/kinds.ts'
import { LISTENER_NAME } from '../options/listeners.ts'
import type { UpstreamConfig } from '../options/upstream.ts'
import { type Option, type OptionKey, options, snEntryKey } from '../options.ts'
import { resolveUpstream, type UpstreamSection, upstreamSection } from '../upstream.ts'
import { parseTypes } from './content-types.ts'
import { parseFilters } from './filters.ts'
import { parsePredefinedTopics } from './predefined-topics.ts'
import { checkReadable } from './text-file.ts'
import { YamlFile, type YamlPair, type YamlValue } from './yaml-file.ts'

/** The contents of a configuration file. */
export interface FileOptions {
  readonly global: Layer
  readonly listeners: readonly ListenerLayer[]
  readonly snListeners: readonly ListenerLayer[]
  readonly bridges: readonly BridgeConfig[]
  /** Its targets are in `global`, too, where flags override them. */
  readonly upstream?: UpstreamSection | undefined
  readonly types: readonly TypeDefinition[]
  readonly filters: readonly FilterSetting[]
  /** Warnings about former options. */
  readonly warnings: readonly string[]
}

const byKey = new Map(options.map((option) => [option.key as string, option]))
const LISTS = ['listeners', 'sn_listeners', 'types', 'filters', 'bridges', 'upstream'] as const
const globalKeys = [...options.filter(({ flagOnly }) => flagOnly !== true).map(({ key }) => key as string), ...LISTS]

/**
 * Returns the configuration that results from the flags, the file named by `--config`, the defaults, and the files that
 * these name.
 *
 * @param warn receives a warning for each former option in the file
 * @param dataDir the data directory where neither flags nor file name one
 * @throws StartError
 */
export function loadConfig(
  flags: Layer,
  cwd: string,
  warn: (line: string) => void = () => {},
  dataDir = DEFAULT_CONFIG.dataDir,
): Config {
  return resolveFiles(flags, readConfigFile(flags, cwd, warn), cwd, false, dataDir)
}

/** Returns the contents of the file named by `--config`; nothing if there is none. @throws StartError */
export function readConfigFile(flags: Layer, cwd: string, warn: (line: string) => void = () => {}): FileOptions {
  const path = flags.get('config')
  const none = { global: new Map(), listeners: [], snListeners: [], types: [], filters: [], bridges: [], warnings: [] }
  if (path === undefined) return none
  const file = parseConfigFile(YamlFile.read(String(path.value), cwd, path.origin))
  for (const line of file.warnings) warn(line)
  return file
}

/**
 * Returns the configuration of flags and file, with the files that these name. `hasHooks`: a program has given hooks.
 * @throws StartError
 */
export function resolveFiles(
  flags: Layer,
  file: FileOptions,
  cwd: string,
  hasHooks = false,
  dataDir = DEFAULT_CONFIG.dataDir,
): Config {
  const entries = file.listeners.map((entry) => ({ ...entry, own: absolute(entry.own, cwd) }))
  const global = absolute(file.global, cwd)
  const settings = resolveConfig(absolute(flags, cwd), global, entries, file.snListeners, hasHooks || undefined)
  const merged = new Map([...file.global, ...flags])
  for (const layer of [merged, ...file.listeners.map(({ own }) => own)]) checkFiles(layer, cwd)
  const topics = merged.get('predefined_topics')
  const predefinedTopics =
    topics === undefined ? [] : parsePredefinedTopics(YamlFile.read(String(topics.value), cwd, topics.origin))
  const { types, filters } = file
  const bridges = file.bridges.map((bridge) => withReadableFiles(bridge, cwd))
  const far = resolveUpstream(file.upstream, merged.get('upstream'), settings.listeners)
  const upstream = far && withReadableFiles(far, cwd)
  const dir = merged.has('data_dir') ? settings.dataDir : dataDir
  return { ...settings, dataDir: resolve(cwd, dir), predefinedTopics, types, filters, bridges, upstream }
}

/**
 * Parses a configuration file. Strict: every key must be an option, with a value within its range.
 * @throws StartError for the first violation
 */
export function parseConfigFile(file: YamlFile): FileOptions {
  const global = new Map<OptionKey, Given>()
  let listeners: readonly ListenerLayer[] = []
  let snListeners: readonly ListenerLayer[] = []
  let bridges: readonly BridgeConfig[] = []
  let upstream: UpstreamSection | undefined
  let types: readonly TypeDefinition[] = []
  let filters: readonly FilterSetting[] = []
  const warnings: string[] = []
  for (const pair of file.pairs(file.root, 'options, one `key: value` a line')) {
    const { key, keyAt, value } = pair
    const gone = fixedKey(key)
    if (gone !== undefined) warnings.push(goneOption(gone, value.plain, `${keyAt}: ${key}`))
    else if (!globalKeys.includes(key)) throw new StartError(`${keyAt}: unknown key ${key}${didYouMean(key, globalKeys)}`)
    else if (key === 'listeners') listeners = parseListeners(file, key, value, MQTT_ENTRY, warnings)
    else if (key === 'sn_listeners') snListeners = parseListeners(file, key, value, SN_ENTRY, warnings)
    else if (key === 'bridges') bridges = parseBridges(file, value)
    else if (key === 'upstream') {
      upstream = parseUpstream(file, value)
      const targets = upstream.values.get('targets')
      if (targets !== undefined) global.set('upstream', targets)
    } else if (key === 'types') types = parseTypes(file, value)
    else if (key === 'filters') filters = parseFilters(file, value)
    else global.set(key as OptionKey, valueIn(file, pair, byKey.get(key)!, ''))
  }
  return { global, listeners, snListeners, types, filters, bridges, upstream, warnings }
}

/** What the entries of `listeners` or `sn_listeners` may contain. */
interface EntryKind {
  /** Options allowed in an entry, by their key in the entry. */
  readonly known: ReadonlyMap<string, Option>
  /** Two keys, at least one of which each entry must have. */
  readonly places: readonly [string, string]
  /** Returns the former option with this key in an entry. */
  readonly gone: typeof fixedEntryKey
}

const MQTT_ENTRY: EntryKind = {
  known: new Map(options.flatMap((option) => (option.listener === undefined ? [] : [[option.key as string, option]]))),
  places: ['port', 'socket_path'],
  gone: () => undefined,
}
const SN_ENTRY: EntryKind = {
  known: new Map(options.flatMap((option) => (option.snListener === undefined ? [] : [[snEntryKey(option.key), option]]))),
  places: ['port', 'device'],
  gone: fixedEntryKey,
}

function parseListeners(file: YamlFile, list: string, value: YamlValue, kind: EntryKind, warnings: string[]): ListenerLayer[] {
  const { known, places } = kind
  const items = file.items(value, 'a list of listeners')
  if (items.length === 0) throw new StartError(`${value.at}: ${list}: expected at least one listener, got none`)
  return items.map((item, index) => {
    const path = `${list}[${index}]`
    const layer = parseListener(file, item, path, kind, warnings)
    if (places.every((key) => !layer.own.has(known.get(key)!.key)))
      throw new StartError(`${layer.origin}: expected ${places.join(' or ')}, got neither`)
    return layer
  })
}

function parseListener(file: YamlFile, item: YamlValue, path: string, kind: EntryKind, warnings: string[]): ListenerLayer {
  const { known } = kind
  const own = new Map<OptionKey, Given>()
  let name: Given | undefined
  for (const pair of file.pairs(item, `options of ${path}, one \`key: value\` a line`)) {
    const { key, keyAt, value } = pair
    const option = known.get(key)
    const gone = kind.gone(key)
    if (gone !== undefined) warnings.push(goneOption(gone, value.plain, `${keyAt}: ${path}.${key}`))
    else if (key === 'name') name = given(LISTENER_NAME, value.plain, `${value.at}: ${path}.name`)
    else if (option !== undefined) own.set(option.key, valueIn(file, pair, option, `${path}.`))
    else {
      const why = byKey.has(key)
        ? 'cannot be set for a single listener'
        : `unknown key${didYouMean(key, ['name', ...known.keys()])}`
      throw new StartError(`${keyAt}: ${path}.${key}: ${why}`)
    }
  }
  return { origin: `${item.at}: ${path}`, name, own }
}

function parseBridges(file: YamlFile, value: YamlValue): readonly BridgeConfig[] {
  const entries: WrittenBridge[] = file.items(value, 'a list of bridges').map((item, i) => ({
    at: item.at,
    pairs: file.pairs(item, `options of bridges[${i}], one \`key: value\` a line`).map((pair) => writtenPair(file, pair)),
  }))
  return resolveBridges(entries).map((bridge) => ({
    ...bridge,
    ...Object.fromEntries(
      FAR_FILES.flatMap(([, name]) => (bridge[name] === undefined ? [] : [[name, besideFile(file.path, bridge[name])]])),
    ),
  }))
}

function parseUpstream(file: YamlFile, value: YamlValue): UpstreamSection {
  const pairs = file.pairs(value, 'options of upstream, one `key: value` a line').map((pair) => writtenPair(file, pair))
  const { origin, values } = upstreamSection(value.at, pairs)
  const besides = new Map(values)
  for (const [key] of FAR_FILES) {
    const found = values.get(key)
    if (found !== undefined) besides.set(key, { ...found, value: besideFile(file.path, String(found.value)) })
  }
  return { origin, values: besides }
}

function writtenPair(file: YamlFile, { key, keyAt, value }: YamlPair): WrittenPair {
  const { at, plain, node } = value
  if (!Array.isArray(plain)) return { key, keyAt, at, plain, items: undefined }
  const items = file.items(value, 'a list').map((item) => ({
    at: item.at,
    plain: item.plain,
    pairs: isMap(item.node)
      ? file
          .pairs(item, 'a topic')
          .map((pair) => ({ key: pair.key, keyAt: pair.keyAt, at: pair.value.at, plain: pair.value.plain }))
      : undefined,
  }))
  return { key, keyAt, at, plain: node === undefined ? undefined : plain, items }
}

/** Keys of a bridge and of `upstream` that name files or directories. */
const FAR_FILES = [
  ['password_file', 'passwordFile'],
  ['cafile', 'cafile'],
  ['capath', 'capath'],
  ['certfile', 'certfile'],
  ['keyfile', 'keyfile'],
] as const

/** The same with absolute paths, whose files can be read. @throws StartError */
function withReadableFiles<T extends BridgeConfig | UpstreamConfig>(far: T, cwd: string): T {
  const paths = FAR_FILES.flatMap(([key, name]) => {
    const path = far[name]
    if (path === undefined) return []
    if (key !== 'capath') checkReadable(path, cwd, `${far.origin}.${key}`)
    return [[name, resolve(cwd, path)]]
  })
  return { ...far, ...Object.fromEntries(paths) }
}

function valueIn(file: YamlFile, { key, value }: YamlPair, option: Option, path: string): Given {
  const found = given(option, value.plain, `${value.at}: ${path}${key}`)
  return isPath(option, found) ? { ...found, value: besideFile(file.path, String(found.value)) } : found
}

const besideFile = (file: string, path: string): string => (isAbsolute(path) ? path : join(dirname(file), path))

const isPath = ({ path }: Option, { value }: Given): boolean => path === true && !isUrl(String(value))

const absolute = (layer: Layer, cwd: string): Layer =>
  new Map(
    Array.from(layer, ([key, found]) => [
      key,
      isPath(byKey.get(key)!, found) ? { ...found, value: resolve(cwd, String(found.value)) } : found,
    ]),
  )

/**
 * Checks before anything starts that the files named in this layer can be read. Errors begin with the origin of the
 * file name.
 */
function checkFiles(layer: Layer, cwd: string): void {
  for (const [key, found] of layer) {
    const option = byKey.get(key)!
    if (option.placeholder?.startsWith('file') && isPath(option, found)) checkReadable(String(found.value), cwd, found.origin)
  }
}
