import { describe, expect, expectTypeOf, test } from 'vitest'
import { nearest } from '../../src/base/nearest.ts'
import { FIXED, type FixedKey, fixedKeys } from '../../src/config/fixed.ts'
import { OPTION_GROUPS } from '../../src/config/options/kinds.ts'
import { OPTIONS, type OptionKey, options, type Settings } from '../../src/config/options.ts'

const named = new Map(options.map((option) => [option.key, option]))

test('flags have hyphens, names inside are camelCase', () => {
  expect(named.get('max_queued_messages')).toMatchObject({ flag: '--max-queued-messages', name: 'maxQueuedMessages' })
  expect(named.get('qos_m1_inline_topic')).toMatchObject({ flag: '--qos-m1-inline-topic', name: 'qosM1InlineTopic' })
  expect(named.get('t_retry')).toMatchObject({ flag: '--t-retry', name: 'tRetry' })
  expect(named.get('host')).toMatchObject({ flag: '--host', name: 'host' })
})

test('timers and counters of MQTT-SN have the names and the units of the specification', () => {
  const defaults = { t_retry: 10, n_retry: 3, t_adv: 900, sleep_margin: 1.5, wake_messages: 100 }
  for (const [key, byDefault] of Object.entries(defaults))
    expect([key, named.get(key as OptionKey)?.default]).toEqual([key, byDefault])
  const fixed = { t_wait: 300, n_adv: 3, t_gwinfo: 5 }
  for (const [key, value] of Object.entries(fixed)) expect([key, FIXED[key as FixedKey].value]).toEqual([key, value])
  for (const key of ['max_sessions', 'queue_limit'] as const) expect(named.has(key)).toBe(true)
})

test('what is fixed is no option any more', () => {
  expect(fixedKeys.filter((key) => key in OPTIONS)).toEqual([])
  for (const key of fixedKeys) expect(FIXED[key].about).toMatch(/^[^\n]+\.$/)
})

test('the type of the settings follows from the table', () => {
  expectTypeOf<Settings['maxQueuedMessages']>().toEqualTypeOf<number>()
  expectTypeOf<Settings['memory']>().toEqualTypeOf<boolean>()
  expectTypeOf<Settings['predefinedTopics']>().toEqualTypeOf<string | undefined>()
  expectTypeOf<Settings['logFormat']>().toEqualTypeOf<'json' | 'pretty'>()
})

describe.each(options)('$key', (option) => {
  test('is snake_case, has a heading and one line of text', () => {
    expect(option.key).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/)
    expect(OPTION_GROUPS).toHaveProperty([option.group])
    expect(option.about).toMatch(/^[^\n]+\.$/)
  })

  test('has a default within its own bounds', () => {
    expect(option.schema.safeParse(option.default).success).toBe(true)
  })

  test('takes neither a map nor null, and no number beyond its largest value', () => {
    expect(option.schema.safeParse({}).success).toBe(false)
    expect(option.schema.safeParse(null).success).toBe(false)
    const largest = /to ([\d.]+)/.exec(option.expected)?.[1]
    if (option.placeholder !== 'number') return expect(largest).toBeUndefined()
    expect(option.schema.safeParse(Number(largest)).success).toBe(true)
    expect(option.schema.safeParse(Number(largest) + 1).success).toBe(false)
    expect(option.schema.safeParse(Number.NaN).success).toBe(false)
    expect(option.schema.safeParse(-1).success).toBe(option.expected.includes('or -1 for'))
    expect(option.schema.safeParse(-2).success).toBe(false)
  })
})

test('0 is never, and Infinity inside', () => {
  expect(OPTIONS.persistent_client_expiration.schema.parse(0)).toBe(Number.POSITIVE_INFINITY)
  expect(OPTIONS.persistent_client_expiration.schema.parse(60)).toBe(60)
})

test('where Mosquitto knows no bound there is a large one, or another one that counts', () => {
  const { max_queued_messages, max_connections, max_packet_size, max_inflight_bytes, max_publish_rate } = OPTIONS
  expect(max_queued_messages.schema.parse(0)).toBe(10_000_000)
  expect(max_connections.schema.parse(-1)).toBe(1_000_000)
  expect(max_connections.schema.safeParse(0).success).toBe(false)
  expect(max_packet_size.schema.parse(0)).toBe(268_435_460)
  expect(max_packet_size.schema.safeParse(19).success).toBe(false)
  expect(max_inflight_bytes.schema.parse(0)).toBe(Number.POSITIVE_INFINITY)
  expect(max_publish_rate.schema.parse(7)).toBe(7)
})

test.each([
  [true, 'required'],
  ['true', 'required'],
  [false, 'no'],
  ['optional', 'optional'],
])('require_certificate: %j is %s', (written, inside) => {
  expect(OPTIONS.require_certificate.schema.parse(written)).toBe(inside)
})

test.each<[OptionKey, unknown, boolean]>([
  ['socket_mode', '0660', true],
  ['socket_mode', '660', true],
  ['socket_mode', 660, false],
  ['socket_mode', '0680', false],
  ['http_auth_url', 'https://localhost:8080/auth?x=1', true],
  ['http_auth_url', 'ftp://localhost', false],
  ['http_auth_url', 'localhost', false],
  ['mount_point', 'house/', true],
  ['mount_point', 'house/#', false],
  ['mount_point', '', false],
  ['auto_id_prefix', '', true],
  ['websockets_path', '/mqtt', true],
  ['websockets_path', 'mqtt', false],
  ['tls_version', 'tlsv1.1', false],
  ['maximum_qos', 3, false],
])('%s: %j', (key, written, valid) => {
  expect(OPTIONS[key].schema.safeParse(written).success).toBe(valid)
})

test.each([
  ['max_queue_messages', 'max_queued_messages'],
  ['maxQueuedMessages', 'max_queued_messages'],
  ['max-queued-messages', 'max_queued_messages'],
  ['prot', 'port'],
  ['datadir', 'data_dir'],
  ['sn_prot', 'sn_port'],
  ['gateway_ID', 'gateway_id'],
  ['max_qos', 'maximum_qos'],
  ['', undefined],
  ['constructor', undefined],
])('the name nearest to %s is %s', (wrong, right) => {
  expect(nearest(wrong, named.keys())).toBe(right)
})
