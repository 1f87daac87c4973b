import { masked } from '../base/masked.ts'
import { type Network, networkText } from '../base/networks.ts'
import type { AllowedOrigin } from '../base/origins.ts'
import type { Config } from '../config/config.ts'
import { type BridgeConfig, bridgeKeys } from '../config/options/bridges.ts'
import { isUrl } from '../config/options/kinds.ts'
import { type UpstreamConfig, upstreamKeys } from '../config/options/upstream.ts'
import { nameOf, type Option, options, snEntryKey } from '../config/options.ts'

/**
 * The configuration in effect, with defaults filled in and the names of the configuration file. A check or limit that is switched
 * off is 0, and options without a value are left out. User names and passwords in URLs, and their queries, are masked; other secrets
 * are in files of their own.
 */
export function effectiveConfig(config: Config): object {
  const { listeners, snListeners, bridges, upstream, predefinedTopics, types, filters = [] } = config
  return {
    options: valuesOf(
      config,
      options.filter(({ flagOnly, listener, snListener }) => flagOnly !== true && listener !== 'own' && snListener !== 'own'),
    ),
    listeners: listeners.map((each) => ({
      name: each.name,
      ...valuesOf(
        each,
        options.filter(({ listener }) => listener !== undefined),
      ),
    })),
    sn_listeners: snListeners.map((each) => ({
      name: each.name,
      ...valuesOf(
        each,
        options.filter(({ snListener }) => snListener !== undefined),
        snEntryKey,
      ),
    })),
    bridges: bridges.map(bridgeValues),
    ...(upstream !== undefined && { upstream: upstreamValues(upstream) }),
    types: types.map(({ name, topics, contentType, schema, layout, invalid, invalidMqtt3 }) => ({
      name,
      topics,
      content_type: contentType,
      form: [...(layout === undefined ? [] : ['layout']), ...(schema === undefined ? [] : ['schema'])],
      invalid,
      invalid_mqtt3: invalidMqtt3,
    })),
    filters: filters.map(({ origin: _, ...entry }) => entry),
    predefined_topics: predefinedTopics.map(({ pattern, topics }) => ({ clients: pattern, topic_ids: topics.size })),
  }
}

function valuesOf(from: object, some: readonly Option[], keyOf = (key: Option['key']): string => key): Record<string, unknown> {
  const values = from as Readonly<Record<string, unknown>>
  return Object.fromEntries(some.map(({ key }) => [keyOf(key), plain(keyOf(key), values[nameOf(keyOf(key))])]))
}

function plain(key: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => plain(key, each))
  if (typeof value === 'string') return withoutSecrets(value)
  if (typeof value !== 'object' || value === null) return typeof value === 'number' ? numberOf(key, value) : value
  if ('from' in value && 'to' in value) return `${String(value.from)}-${String(value.to)}`
  if ('prefixLength' in value) return networkText(value as Network)
  if ('scheme' in value) return originText(value as AllowedOrigin)
  return undefined
}

function numberOf(key: string, value: number): number | string {
  if (key === 'socket_mode') return value.toString(8).padStart(4, '0')
  return Number.isFinite(value) ? value : 0
}

/** A password in the file is masked; addresses have none. */
function bridgeValues(bridge: BridgeConfig): Record<string, unknown> {
  const values = Object.fromEntries(bridgeKeys.map((key) => [key, (bridge as unknown as Record<string, unknown>)[nameOf(key)]]))
  const topics = bridge.topics.map(({ pattern, direction, qos, localPrefix, remotePrefix }) => {
    const prefixes = localPrefix + remotePrefix === '' ? '' : ` "${localPrefix}" "${remotePrefix}"`
    return `${pattern === '' ? '""' : pattern} ${direction} ${qos}${prefixes}`
  })
  return { ...values, ...(bridge.remotePassword !== undefined && { remote_password: '***' }), topics }
}

/** Neither addresses nor patterns have secrets in them. */
const upstreamValues = (upstream: UpstreamConfig): Record<string, unknown> =>
  Object.fromEntries(upstreamKeys.map((key) => [key, (upstream as unknown as Record<string, unknown>)[nameOf(key)]]))

const withoutSecrets = (text: string): string => (isUrl(text) ? masked(text).replace(/\?.*$/s, '?***') : text)

const originText = ({ scheme, host, port }: AllowedOrigin): string =>
  `${scheme === undefined ? '' : `${scheme}//`}${host}${port === undefined || port === '' ? '' : `:${port}`}`
