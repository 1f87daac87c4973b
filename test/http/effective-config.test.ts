import { expect, test } from 'vitest'
import { networkText, parseNetwork } from '../../src/base/networks.ts'
import { DEFAULT_CONFIG, given, resolveConfig } from '../../src/config/config.ts'
import { OPTIONS, type OptionKey } from '../../src/config/options.ts'
import { effectiveConfig } from '../../src/http/effective-config.ts'

interface Effective {
  readonly options: Record<string, unknown>
  readonly listeners: readonly Record<string, unknown>[]
  readonly sn_listeners: readonly Record<string, unknown>[]
}

function effective(settings: Partial<Record<OptionKey, unknown>>): Effective {
  const layer = new Map(
    Object.entries(settings).map(([key, raw]) => [key as OptionKey, given(OPTIONS[key as OptionKey], raw, `--${key}`)]),
  )
  return effectiveConfig({ ...resolveConfig(layer, new Map()), predefinedTopics: [] }) as Effective
}

test('the defaults, with the names of the configuration file', () => {
  const { options, listeners, sn_listeners: ports } = effective({})
  expect(options).toMatchObject({ http: true, log_level: 'info', max_queued_messages: 1000, http_managers: [] })
  expect(options).not.toHaveProperty('port')
  expect(listeners).toMatchObject([{ name: 'mqtt-1883', host: '127.0.0.1', port: 1883, protocol: 'mqtt' }])
  expect(ports).toMatchObject([{ name: 'sn', host: '127.0.0.1', port: 1884 }])
})

test('everything in it survives JSON, and a check that is off is 0', () => {
  const config = effective({ max_publish_rate: 0, trusted_networks: '10.0.0.0/8, fe80::/10', socket_path: '/run/roost.sock' })
  expect(JSON.parse(JSON.stringify(config))).toEqual(
    Object.fromEntries(Object.entries(config).map(([key, value]) => [key, JSON.parse(JSON.stringify(value))])),
  )
  expect(JSON.stringify(config)).not.toContain('null')
  expect(config.options.max_publish_rate).toBe(0)
  expect(config.options.trusted_networks).toEqual(['10.0.0.0/8', 'fe80::/10'])
  expect(config.listeners[0]).toMatchObject({ socket_path: '/run/roost.sock' })
})

test('no secret of a URL is in it', () => {
  const config = effective({
    http_auth_url: 'https://eva:secret@auth.example/login?token=secret',
    jwt_jwks: 'https://keys.example/jwks?key=secret',
    websockets_origin: 'https://app.example.org:8443, other.example',
  })
  expect(JSON.stringify(config)).not.toContain('secret')
  expect(config.listeners[0]).toMatchObject({
    http_auth_url: 'https://***@auth.example/login?***',
    websockets_origin: ['https://app.example.org:8443', 'other.example'],
  })
})

test('every option that is set has a value that is no object of ours', () => {
  const {
    options,
    listeners,
    predefined_topics: tables,
  } = effectiveConfig({
    ...DEFAULT_CONFIG,
    predefinedTopics: [{ pattern: 'sensor-*', topics: new Map([[1, 'site/a']]) }],
  }) as Effective & { predefined_topics: unknown }
  expect(tables).toEqual([{ clients: 'sensor-*', topic_ids: 1 }])
  for (const value of [...Object.values(options), ...Object.values(listeners[0]!)])
    expect(['string', 'number', 'boolean', 'undefined'].includes(typeof value) || Array.isArray(value)).toBe(true)
})

test.each([
  ['10.0.0.0/8', '10.0.0.0/8'],
  ['192.0.2.1', '192.0.2.1/32'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['::/0', '::/0'],
  ['::1', '::1/128'],
  ['fe80::/10', 'fe80::/10'],
  ['2001:db8:0:1::5/64', '2001:db8:0:1::5/64'],
  ['::ffff:192.0.2.0/120', '192.0.2.0/24'],
])('the network %s is written as %s, which means the same', (text, expected) => {
  const network = parseNetwork(text)!
  expect(networkText(network)).toBe(expected)
  expect(parseNetwork(expected)).toEqual(network)
})
