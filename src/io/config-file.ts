import { dirname, isAbsolute, join, resolve } from 'node:path'
import { didYouMean } from '../base/nearest.ts'
import { type OptionKey, options } from '../base/options.ts'
import { type Config, type Given, given, type Layer, StartError, settle, toConfig } from '../config.ts'
import { parsePredefinedTopics } from './predefined-topics.ts'
import { YamlFile } from './yaml-file.ts'

const byKey = new Map(options.filter((option) => option.flagOnly !== true).map((option) => [option.key as string, option]))

/**
 * The configuration from flags, from the file that `--config` names, and from the defaults, together with the files that these name.
 *
 * @throws StartError
 */
export function loadConfig(flags: Layer, cwd: string): Config {
  const path = flags.get('config')
  const file: Layer = path === undefined ? new Map() : parseConfigFile(YamlFile.read(String(path.value), cwd, path.origin))
  const settings = settle(flags, file)
  const topics = flags.get('predefined_topics') ?? file.get('predefined_topics')
  const predefined = topics === undefined ? [] : parsePredefinedTopics(YamlFile.read(String(topics.value), cwd, topics.origin))
  return toConfig({ ...settings, dataDir: resolve(cwd, settings.dataDir) }, predefined)
}

/** Strict: every key is an option, and has a value within its bounds. @throws StartError at the first one that is not. */
export function parseConfigFile(file: YamlFile): Layer {
  const layer = new Map<OptionKey, Given>()
  for (const { key, keyAt, value } of file.pairs(file.root, 'options, one `key: value` a line')) {
    const option = byKey.get(key)
    if (option === undefined) throw new StartError(`${keyAt}: unknown key ${key}${didYouMean(key, byKey.keys())}`)
    const found = given(option, value.plain, `${value.at}: ${key}`)
    layer.set(option.key, option.path === true ? { ...found, value: besideFile(file.path, String(found.value)) } : found)
  }
  return layer
}

const besideFile = (file: string, path: string): string => (isAbsolute(path) ? path : join(dirname(file), path))
