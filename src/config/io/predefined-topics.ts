import { utf8Length } from '../../base/bytes.ts'
import { didYouMean } from '../../base/nearest.ts'
import { StartError } from '../../base/start-error.ts'
import type { PredefinedTopicTable } from '../../gateway/gateway-options.ts'
import { inWords } from '../config.ts'
import type { YamlFile, YamlPair } from './yaml-file.ts'

/**
 * Parses predefined topic ids by client:
 *
 *     clients:
 *       "*":
 *         1: some/topic
 *       sensor-*:
 *         2: other/topic
 *
 * @throws StartError for the first invalid entry
 */
export function parsePredefinedTopics(file: YamlFile): readonly PredefinedTopicTable[] {
  const tables: PredefinedTopicTable[] = []
  for (const { key, keyAt, value } of file.pairs(file.root, 'a map with the key clients')) {
    if (key !== 'clients') throw new StartError(`${keyAt}: unknown key ${key}${didYouMean(key, ['clients'])}`)
    for (const client of file.pairs(value, 'client ids or patterns, each with a map of topic ids')) {
      if (client.key === '') throw new StartError(`${client.keyAt}: expected a client id or a pattern, got ""`)
      const topics = new Map<number, string>()
      for (const pair of file.pairs(client.value, `topic ids of ${client.key}, one \`id: topic\` a line`)) {
        const topicId = topicIdOf(pair)
        if (topics.has(topicId)) throw new StartError(`${pair.keyAt}: topic id ${topicId} of ${client.key} is defined twice`)
        topics.set(topicId, topicNameOf(pair))
      }
      tables.push({ pattern: client.key, topics })
    }
  }
  return tables
}

/** Returns the topic id of an entry. 0x0000 and 0xFFFF are reserved [1.2 section 5.3.11]. */
function topicIdOf({ key, keyAt }: YamlPair): number {
  const id = /^\d{1,5}$/.test(key) ? Number(key) : 0
  if (id >= 1 && id <= 65_534) return id
  throw new StartError(`${keyAt}: expected a topic id from 1 to 65534, got ${/^\d+$/.test(key) ? key : inWords(key)}`)
}

/**
 * Returns the topic name of an entry, which must be valid in PUBLISH [MQTT-3.3.2-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2].
 */
function topicNameOf({ key, value }: YamlPair): string {
  const name = value.plain
  // biome-ignore lint/suspicious/noControlCharactersInRegex: U+0000 is what must not be there.
  const valid = typeof name === 'string' && name !== '' && !/[+#\u0000\p{Surrogate}]/u.test(name) && utf8Length(name) <= 65_535
  if (valid) return name
  throw new StartError(`${value.at}: topic ${key}: expected a topic name without + and #, got ${inWords(name)}`)
}
