import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { topicFilterError } from '../mqtt/topics.ts'
import { type BridgeTopic, type Direction, localFilter, remoteFilter } from '../upstream/topic-map.ts'
import { type Given, given, inWords } from './config.ts'
import {
  BRIDGE_OPTIONS,
  type BridgeConfig,
  type BridgeKey,
  type BridgeValues,
  bridgeKey,
  bridgeKeys,
  WITHOUT_COUNTERPART,
} from './options/bridges.ts'
import { nameOf } from './options.ts'
import { refuseWithout, resolveTargets, restartTimeout } from './targets.ts'

/** One value as written, and its place. */
export interface Written {
  readonly plain: unknown
  readonly at: string
}

/** A key of an entry as written. */
export interface WrittenPair extends Written {
  readonly key: string
  readonly keyAt: string
  /** The items of a list; `undefined` for a scalar. */
  readonly items: readonly WrittenTopic[] | undefined
}

/** A `topic`: a line as in mosquitto.conf, or a map. */
export interface WrittenTopic extends Written {
  readonly pairs: readonly (Written & { readonly key: string; readonly keyAt: string })[] | undefined
}

/** An entry of `bridges` as written. */
export interface WrittenBridge {
  readonly at: string
  readonly pairs: readonly WrittenPair[]
}

/** Returns the bridges of a file, in order. @throws StartError */
export function resolveBridges(entries: readonly WrittenBridge[]): BridgeConfig[] {
  const found = entries.map(({ at, pairs }, i) => resolveBridge(at, `bridges[${i}]`, pairs))
  refuseDuplicates(found)
  return found
}

function resolveBridge(at: string, path: string, pairs: readonly WrittenPair[]): BridgeConfig {
  const values = new Map<BridgeKey, Given>()
  let topics: readonly BridgeTopic[] = []
  const written = new Map<string, string>()
  for (const pair of pairs) {
    const key = bridgeKey(snake(pair.key))
    if (key === undefined) throw new StartError(`${placed(pair.keyAt, `${path}.${pair.key}`)}: ${whyUnknown(snake(pair.key))}`)
    const before = written.get(key)
    if (before !== undefined)
      throw new StartError(`${placed(pair.keyAt, `${path}.${pair.key}`)}: is the same as ${before}; leave one of them out`)
    written.set(key, pair.key)
    if (key === 'topics') topics = topicsOf(pair, path)
    else values.set(key, bridgeValue(key, pair, path))
  }
  const origin = placed(at, path)
  for (const key of ['name', 'addresses'] as const)
    if (!values.has(key)) throw new StartError(`${origin}: expected ${key}, got none`)
  if (topics.length === 0) throw new StartError(`${origin}: expected topics, got none`)
  refuseContradictions(values)
  const settings = Object.fromEntries(
    bridgeKeys.map((key) => [nameOf(key), values.has(key) ? values.get(key)!.value : BRIDGE_OPTIONS[key].default]),
  ) as unknown as BridgeValues
  const bridge = { ...settings, topics, origin }
  resolveTargets(bridge, values.get('addresses')!.origin)
  return bridge
}

function whyUnknown(key: string): string {
  const plain = key.replace(/^bridge_/, '')
  const reason = Object.hasOwn(WITHOUT_COUNTERPART, plain) ? WITHOUT_COUNTERPART[plain] : undefined
  return reason ?? `unknown key${didYouMean(plain, ['topics', ...bridgeKeys])}`
}

function bridgeValue(key: BridgeKey, { key: name, plain, at, items }: WrittenPair, path: string): Given {
  const value = key === 'addresses' && items !== undefined ? items.map((item) => item.plain) : plain
  const origin = placed(at, `${path}.${name}`)
  const isNumber = typeof value === 'number' && typeof BRIDGE_OPTIONS[key].default !== 'number'
  // Client ids, passwords and topics may look like numbers.
  return given(BRIDGE_OPTIONS[key], isNumber && key !== 'max_packet_size' ? String(value) : value, origin)
}

/** Keys that need another one. */
const NEEDS: readonly (readonly [BridgeKey, ...BridgeKey[]])[] = [
  ['certfile', 'keyfile'],
  ['keyfile', 'certfile'],
  ['remote_password', 'remote_username'],
  ['password_file', 'remote_username'],
]

function refuseContradictions(values: ReadonlyMap<BridgeKey, Given>): void {
  refuseWithout(values, NEEDS)
  const [password, file] = [values.get('remote_password'), values.get('password_file')]
  if (password !== undefined && file !== undefined)
    throw new StartError(`${password.origin}: excludes ${file.origin}; leave one of them out`)
  const restart = values.get('restart_timeout')
  if (restart !== undefined) restartTimeout(String(restart.value), restart.origin)
}

// --- Topics

const TOPIC_FORM = 'topics like "sensors/# out 1"'
const DIRECTIONS: readonly string[] = ['in', 'out', 'both'] satisfies Direction[]
const TOPICS_MAX = 1000

function topicsOf({ key, plain, at, items }: WrittenPair, path: string): BridgeTopic[] {
  const written = items ?? (typeof plain === 'string' ? [{ plain, at, pairs: undefined }] : undefined)
  if (written === undefined || written.length === 0 || written.length > TOPICS_MAX)
    throw new StartError(
      `${placed(at, `${path}.${key}`)}: expected a list of 1 to ${TOPICS_MAX} ${TOPIC_FORM}, got ${inWords(plain)}`,
    )
  return written.map((topic, i) => {
    const origin = placed(topic.at, `${path}.${key}[${i}]`)
    return topic.pairs === undefined ? topicOfLine(topic.plain, origin) : topicOfMap(topic.pairs, origin)
  })
}

/** `PATTERN [out|in|both [QOS [LOCAL_PREFIX [REMOTE_PREFIX]]]]` as in mosquitto.conf; `""` is an empty prefix. @throws StartError */
export function topicOfLine(plain: unknown, origin: string): BridgeTopic {
  const words = typeof plain === 'string' ? plain.trim().split(/\s+/).map(unquoted) : []
  const [pattern, direction = 'out', qos = '0', localPrefix = '', remotePrefix = '', ...more] = words
  if (pattern === undefined || more.length > 0) throw new StartError(`${origin}: expected ${TOPIC_FORM}, got ${inWords(plain)}`)
  const found = topicOf({ pattern, direction, qos, localPrefix, remotePrefix }, origin)
  refuseInvalidTopic(found, origin)
  return found
}

const unquoted = (word: string): string => (word === '""' || word === "''" ? '' : word)

const TOPIC_KEYS = ['pattern', 'direction', 'qos', 'local_prefix', 'remote_prefix'] as const

function topicOfMap(pairs: NonNullable<WrittenTopic['pairs']>, origin: string): BridgeTopic {
  const values: Record<string, unknown> = {}
  for (const { key, keyAt, plain } of pairs) {
    if (!TOPIC_KEYS.some((known) => known === snake(key)))
      throw new StartError(`${placed(keyAt, key)}: unknown key${didYouMean(key, TOPIC_KEYS)}`)
    values[nameOf(key)] = plain ?? ''
  }
  const { pattern = '', direction = 'out', qos = 0, localPrefix = '', remotePrefix = '' } = values
  const found = topicOf({ pattern, direction, qos, localPrefix, remotePrefix }, origin)
  refuseInvalidTopic(found, origin)
  return found
}

function topicOf(written: Readonly<Record<keyof BridgeTopic, unknown>>, origin: string): BridgeTopic {
  const { direction, qos } = written
  if (!DIRECTIONS.includes(String(direction)))
    throw new StartError(`${origin}: expected one of in, out, both as direction, got ${inWords(direction)}`)
  if (!['0', '1', '2'].includes(String(qos))) throw new StartError(`${origin}: expected a QoS of 0, 1 or 2, got ${inWords(qos)}`)
  return {
    pattern: String(written.pattern),
    direction: direction as Direction,
    qos: Number(qos) as BridgeTopic['qos'],
    localPrefix: String(written.localPrefix),
    remotePrefix: String(written.remotePrefix),
  }
}

function refuseInvalidTopic(topic: BridgeTopic, origin: string): void {
  for (const prefix of [topic.localPrefix, topic.remotePrefix])
    if (/[+#\0]/.test(prefix)) throw new StartError(`${origin}: a prefix must not contain + or #, got ${inWords(prefix)}`)
  for (const filter of [localFilter(topic), remoteFilter(topic)]) {
    const wrong = topicFilterError(filter)
    if (wrong !== '') throw new StartError(`${origin}: ${wrong}: ${inWords(filter)}`)
    if (filter.startsWith('$share/'))
      throw new StartError(`${origin}: a bridge cannot have shared subscriptions, got ${inWords(filter)}`)
  }
}

// --- All of them

export const placed = (at: string, path: string): string => (at === '' ? path : `${at}: ${path}`)

/** `localClientid`, as a program writes it, is `local_clientid`. */
export const snake = (key: string): string => key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Returns the bridges that a program describes by objects, whose keys may be written either way. @throws StartError */
export function bridgesOfObjects(given: unknown): BridgeConfig[] {
  if (!Array.isArray(given)) throw new StartError(`bridges: expected a list, got ${inWords(given)}`)
  return resolveBridges(
    given.map((entry: unknown, i) => {
      if (typeof entry !== 'object' || entry === null)
        throw new StartError(`bridges[${i}]: expected an object, got ${inWords(entry)}`)
      const pairs = Object.entries(entry).filter(([key, value]) => value !== undefined && key !== 'origin')
      return { at: '', pairs: pairs.map(([key, plain]) => ({ key, keyAt: '', plain, at: '', items: itemsOf(plain) })) }
    }),
  )
}

const itemsOf = (plain: unknown): WrittenTopic[] | undefined =>
  Array.isArray(plain)
    ? plain.map((item: unknown) => ({
        ...{ plain: item, at: '' },
        pairs:
          typeof item === 'object' && item !== null
            ? Object.entries(item).map(([key, value]) => ({ key, keyAt: '', plain: value as unknown, at: '' }))
            : undefined,
      }))
    : undefined

function refuseDuplicates(bridges: readonly BridgeConfig[]): void {
  const names = new Map<string, string>()
  for (const { name, origin, localClientid } of bridges) {
    for (const [what, value] of [
      ['name', name],
      ['local_clientid', localClientid ?? `bridge:${name}`],
    ] as const) {
      const before = names.get(`${what} ${value}`)
      if (before !== undefined) throw new StartError(`${origin}: ${what} ${value} is already that of ${before}`)
      names.set(`${what} ${value}`, origin)
    }
  }
}
