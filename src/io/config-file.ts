import { dirname, isAbsolute, join, resolve } from 'node:path'
import { didYouMean } from '../base/nearest.ts'
import { LISTENER_NAME } from '../base/options/listeners.ts'
import { type Option, type OptionKey, options } from '../base/options.ts'
import { type Config, type Given, given, type Layer, type ListenerLayer, StartError, settle } from '../config.ts'
import { parsePredefinedTopics } from './predefined-topics.ts'
import { checkReadable } from './text-file.ts'
import { type Pair, type Value, YamlFile } from './yaml-file.ts'

/** What a configuration file says. */
interface FileOptions {
  readonly global: Layer
  readonly listeners: readonly ListenerLayer[]
}

const byKey = new Map(options.map((option) => [option.key as string, option]))
const globalKeys = [...options.filter(({ flagOnly }) => flagOnly !== true).map(({ key }) => key), 'listeners']
const listenerKeys = ['name', ...options.filter(({ listener }) => listener !== undefined).map(({ key }) => key)]

/**
 * The configuration from flags, from the file that `--config` names, and from the defaults, together with the files that these name.
 *
 * @throws StartError
 */
export function loadConfig(flags: Layer, cwd: string): Config {
  const path = flags.get('config')
  const none: FileOptions = { global: new Map(), listeners: [] }
  const file = path === undefined ? none : parseConfigFile(YamlFile.read(String(path.value), cwd, path.origin))
  const entries = file.listeners.map((entry) => ({ ...entry, own: absolute(entry.own, cwd) }))
  const settings = settle(absolute(flags, cwd), absolute(file.global, cwd), entries)
  const merged = new Map([...file.global, ...flags])
  for (const layer of [merged, ...file.listeners.map(({ own }) => own)]) checkFiles(layer, cwd)
  const topics = merged.get('predefined_topics')
  const predefinedTopics =
    topics === undefined ? [] : parsePredefinedTopics(YamlFile.read(String(topics.value), cwd, topics.origin))
  return { ...settings, dataDir: resolve(cwd, settings.dataDir), predefinedTopics }
}

/** Strict: every key is an option, and has a value within its bounds. @throws StartError at the first one that is not. */
export function parseConfigFile(file: YamlFile): FileOptions {
  const global = new Map<OptionKey, Given>()
  let listeners: readonly ListenerLayer[] = []
  for (const pair of file.pairs(file.root, 'options, one `key: value` a line')) {
    const { key, keyAt, value } = pair
    if (!globalKeys.includes(key)) throw new StartError(`${keyAt}: unknown key ${key}${didYouMean(key, globalKeys)}`)
    if (key === 'listeners') listeners = parseListeners(file, value)
    else global.set(key as OptionKey, valueIn(file, pair, byKey.get(key)!, ''))
  }
  return { global, listeners }
}

function parseListeners(file: YamlFile, value: Value): ListenerLayer[] {
  const items = file.items(value, 'a list of listeners')
  if (items.length === 0) throw new StartError(`${value.at}: listeners: expected at least one listener, got none`)
  return items.map((item, index) => parseListener(file, item, `listeners[${index}]`))
}

function parseListener(file: YamlFile, item: Value, path: string): ListenerLayer {
  const own = new Map<OptionKey, Given>()
  let name: Given | undefined
  for (const pair of file.pairs(item, `options of ${path}, one \`key: value\` a line`)) {
    const { key, keyAt, value } = pair
    if (!listenerKeys.includes(key)) {
      const why = byKey.has(key) ? 'is no option of a single listener' : `unknown key${didYouMean(key, listenerKeys)}`
      throw new StartError(`${keyAt}: ${path}.${key}: ${why}`)
    }
    if (key === 'name') name = given(LISTENER_NAME, value.plain, `${value.at}: ${path}.name`)
    else own.set(key as OptionKey, valueIn(file, pair, byKey.get(key)!, `${path}.`))
  }
  const origin = `${item.at}: ${path}`
  if (!own.has('port') && !own.has('socket_path')) throw new StartError(`${origin}: expected port or socket_path, got neither`)
  return { origin, name, own }
}

function valueIn(file: YamlFile, { key, value }: Pair, option: Option, path: string): Given {
  const found = given(option, value.plain, `${value.at}: ${path}${key}`)
  return isPath(option, found) ? { ...found, value: besideFile(file.path, String(found.value)) } : found
}

const besideFile = (file: string, path: string): string => (isAbsolute(path) ? path : join(dirname(file), path))

const isPath = ({ path }: Option, { value }: Given): boolean => path === true && !/^https?:/.test(String(value))

const absolute = (layer: Layer, cwd: string): Layer =>
  new Map(
    Array.from(layer, ([key, found]) => [
      key,
      isPath(byKey.get(key)!, found) ? { ...found, value: resolve(cwd, String(found.value)) } : found,
    ]),
  )

/** Before anything starts, and with the place that named the file. */
function checkFiles(layer: Layer, cwd: string): void {
  for (const [key, found] of layer) {
    const option = byKey.get(key)!
    if (option.placeholder?.startsWith('file') && isPath(option, found)) checkReadable(String(found.value), cwd, found.origin)
  }
}
