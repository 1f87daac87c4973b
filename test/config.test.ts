import { describe, expect, expectTypeOf, test } from 'vitest'
import { type OptionKey, options } from '../src/base/options.ts'
import { type BrokerLimits, DEFAULT_LIMITS } from '../src/broker/limits.ts'
import { type Config, DEFAULT_CONFIG, given, isLoopback, type Layer, settle } from '../src/config.ts'

const layer = (values: Partial<Record<OptionKey, unknown>>, place = '--'): Layer =>
  new Map(
    options
      .filter(({ key }) => key in values)
      .map((option) => [option.key, given(option, values[option.key], `${place}${option.key}`)]),
  )
const none: Layer = new Map()

test('the defaults are those of the README, and of the rooms that have their own', () => {
  expect(DEFAULT_CONFIG).toMatchObject({
    host: '127.0.0.1',
    port: 1883,
    snHost: '127.0.0.1',
    snPort: 1884,
    gatewayId: 1,
    predefinedTopics: [],
    allowAnonymous: false,
    dataDir: 'roost-data',
    memory: false,
    logLevel: 'info',
    logFormat: 'pretty',
  })
  expect(DEFAULT_CONFIG).not.toHaveProperty('config')
  expectTypeOf<Config>().toExtend<BrokerLimits>()
  expect(DEFAULT_CONFIG).toMatchObject({ ...DEFAULT_LIMITS })
})

test('flags win over the file, the file over the defaults', () => {
  const settings = settle(layer({ port: 1 }), layer({ port: 2, sn_port: 3 }))
  expect(settings).toMatchObject({ port: 1, snPort: 3, gatewayId: 1 })
})

describe('values', () => {
  const tell = (key: OptionKey, raw: unknown) => () => layer({ [key]: raw })
  test.each<[OptionKey, unknown, string]>([
    ['port', 'abc', 'expected a whole number from 0 to 65535, got "abc"'],
    ['port', '1883', 'expected a whole number from 0 to 65535, got "1883"'],
    ['port', 65_536, 'expected a whole number from 0 to 65535, got 65536'],
    ['port', 1.5, 'expected a whole number from 0 to 65535, got 1.5'],
    ['port', null, 'expected a whole number from 0 to 65535, got nothing'],
    ['sleep_margin', 0.5, 'expected a number from 1 to 100, got 0.5'],
    ['max_queued_messages', -1, 'expected a whole number from 1 to 10000000, or 0 for the largest, got -1'],
    ['persistent_client_expiration', -1, 'expected a whole number from 1 to 4294967294, or 0 for never, got -1'],
    ['memory', 'yes', 'expected true or false, got "yes"'],
    ['memory', [true], 'expected true or false, got a list'],
    ['host', '', 'expected a host name or an IP address, got ""'],
    ['host', 'tcp://0.0.0.0', 'expected a host name or an IP address, got "tcp://0.0.0.0"'],
    ['host', { a: 1 }, 'expected a host name or an IP address, got a map'],
    ['log_format', 'xml', 'expected one of json, pretty, got "xml"'],
    ['data_dir', '', 'expected the path of a directory, got ""'],
    ['predefined_topics', null, 'expected the path of a file, got nothing'],
    ['log_format', 'a\nb'.repeat(99), `expected one of json, pretty, got "${'a\\nb'.repeat(99).slice(0, 59)}...`],
  ])('%s: %j', (key, raw, error) => {
    expect(tell(key, raw)).toThrow(new Error(`--${key}: ${error}`))
  })
})

describe('memory and data_dir are one choice', () => {
  test('both flags', () => {
    const error = '--memory: excludes --data_dir; leave one of them out'
    expect(() => settle(layer({ memory: true, data_dir: 'x' }), none)).toThrow(new Error(error))
  })
  test('both keys', () => {
    const error = 'a:1:2: memory: excludes a:1:2: data_dir; leave one of them out'
    expect(() => settle(none, layer({ memory: true, data_dir: 'x' }, 'a:1:2: '))).toThrow(new Error(error))
  })
  test('a flag for the one wins over the key of the other', () => {
    expect(settle(layer({ memory: true }), layer({ data_dir: 'x' }))).toMatchObject({ memory: true })
    expect(settle(layer({ data_dir: 'x' }), layer({ memory: true }))).toMatchObject({ memory: false, dataDir: 'x' })
  })
  test('memory: false excludes nothing', () => {
    expect(settle(none, layer({ memory: false, data_dir: 'x' }))).toMatchObject({ memory: false, dataDir: 'x' })
  })
})

describe('only loopback without a password', () => {
  test.each<OptionKey>(['host', 'sn_host'])('%s', (key) => {
    const error = `--${key}: 0.0.0.0 is not loopback, and anybody who reaches it could connect without a password: to permit that, add --allow-anonymous; to prevent it, --password-file`
    expect(() => settle(layer({ [key]: '0.0.0.0' }), none)).toThrow(new Error(error))
    expect(() => settle(none, layer({ [key]: '0.0.0.0' }))).toThrow(new Error(error))
    expect(() => settle(layer({ [key]: '0.0.0.0' }), layer({ allow_anonymous: false }))).toThrow(new Error(error))
    expect(settle(layer({ [key]: '0.0.0.0' }), layer({ allow_anonymous: true }))).toMatchObject({ allowAnonymous: true })
    expect(settle(layer({ [key]: '127.0.0.2' }), layer({ [key]: '0.0.0.0' }))).toMatchObject({ allowAnonymous: false })
  })

  test.each(['127.0.0.1', '127.255.0.3', '::1', 'localhost', 'LOCALHOST'])('%s is loopback', (host) => {
    expect(isLoopback(host)).toBe(true)
  })
  test.each([
    '0.0.0.0',
    '::',
    '192.168.1.2',
    '127.0.0.1.example.org',
    'localhost.example.org',
    '128.0.0.1',
    '1127.0.0.1',
    '127.1',
    '::2',
    '',
  ])('%s is not', (host) => {
    expect(isLoopback(host)).toBe(false)
  })
})
