import { didYouMean } from '../../base/nearest.ts'
import { StartError } from '../../base/start-error.ts'
import { type FilterSetting, inWords } from '../config.ts'
import type { YamlFile, YamlValue } from './yaml-file.ts'

const KEYS = ['client', 'user', 'topic', 'filter'] as const
type Key = (typeof KEYS)[number]

/**
 * Parses `filters`, the conditions of subscriptions:
 *
 *     filters:
 *       - client: display-*
 *         topic: site/+/temperature
 *         filter: json.celsius > 25
 *
 * The conditions themselves are checked by who knows their language.
 * @throws StartError for the first invalid entry
 */
export function parseFilters(file: YamlFile, value: YamlValue): FilterSetting[] {
  return file.items(value, 'a list of filters').map((item, index) => {
    const path = `filters[${index}]`
    const found: Partial<Record<Key, string>> = {}
    let origin = `${item.at}: ${path}`
    for (const { key, keyAt, value: own } of file.pairs(item, `keys of ${path}, one \`key: value\` a line`)) {
      if (!isKey(key)) throw new StartError(`${keyAt}: ${path}.${key}: unknown key${didYouMean(key, KEYS)}`)
      // A client id may look like a number.
      const text = typeof own.plain === 'number' ? String(own.plain) : own.plain
      if (typeof text !== 'string' || text === '')
        throw new StartError(`${own.at}: ${path}.${key}: expected ${EXPECTED[key]}, got ${inWords(text)}`)
      if (key === 'filter') origin = `${own.at}: ${path}.filter`
      found[key] = text
    }
    const { filter, ...who } = found
    if (filter === undefined) throw new StartError(`${item.at}: ${path}: has no filter`)
    if (Object.keys(who).length === 0) throw new StartError(`${item.at}: ${path}: needs client, user or topic`)
    return { ...who, filter, origin }
  })
}

const EXPECTED: Readonly<Record<Key, string>> = {
  client: 'a client id or a pattern such as display-*',
  user: 'a user name',
  topic: 'a topic filter',
  filter: 'a condition in CEL',
}

const isKey = (key: string): key is Key => (KEYS as readonly string[]).includes(key)
