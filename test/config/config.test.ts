import { describe, expect, expectTypeOf, test } from 'vitest'
import { StartError } from '../../src/base/start-error.ts'
import { type BrokerLimits, DEFAULT_LIMITS } from '../../src/broker/limits.ts'
import {
  type Config,
  DEFAULT_CONFIG,
  given,
  isLoopback,
  type Layer,
  type ListenerLayer,
  resolveConfig,
  sensorsAreOpen,
} from '../../src/config/config.ts'
import { type OptionKey, options } from '../../src/config/options.ts'
import { DEFAULT_CONNECTION_LIMITS } from '../../src/mqtt/connection-limits.ts'
import { serverOptions } from '../../src/process/server-options.ts'

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
    allowAnonymous: undefined,
    dataDir: 'roost-data',
    memory: false,
    logLevel: 'info',
    logFormat: 'pretty',
  })
  expect(DEFAULT_CONFIG).not.toHaveProperty('config')
  expectTypeOf<Config>().toExtend<
    Omit<BrokerLimits, 'receiveMaximum' | 'maxRetainedLookupsPerSecond' | 'maxConditionsPerSession'>
  >()
  const { broker, connections } = serverOptions(DEFAULT_CONFIG)
  expect(broker).toMatchObject({ ...DEFAULT_LIMITS })
  expect(connections?.maxTopicAliasBytes).toBe(DEFAULT_CONNECTION_LIMITS.maxTopicAliasBytes)
})

test('flags win over the file, the file over the defaults', () => {
  const settings = resolveConfig(layer({ port: 1 }), layer({ port: 2, sn_port: 3 }))
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
    ['t_retry', 0.05, 'expected a number from 0.1 to 3600, got 0.05'],
    ['max_queued_messages', -1, 'expected a whole number from 1 to 10000000, or 0 for the largest, got -1'],
    ['persistent_client_expiration', -1, 'expected a whole number from 1 to 4294967294, or 0 for never, got -1'],
    ['memory', 'yes', 'expected true or false, got "yes"'],
    ['memory', [true], 'expected true or false, got a list'],
    ['host', '', 'expected a host name or an IP address, got ""'],
    ['host', 'tcp://0.0.0.0', 'expected a host name or an IP address, got "tcp://0.0.0.0"'],
    ['host', { a: 1 }, 'expected a host name or an IP address, got a map'],
    ['log_format', 'xml', 'expected one of json, pretty, got "xml"'],
    ['multicast_group', '1.2.3.4', 'expected an IPv4 or IPv6 multicast address, or none, got "1.2.3.4"'],
    ['data_dir', '', 'expected the path of a directory, got ""'],
    ['predefined_topics', null, 'expected the path of a file, got nothing'],
    ['log_format', 'a\nb'.repeat(99), `expected one of json, pretty, got "${'a\\nb'.repeat(99).slice(0, 59)}...`],
  ])('%s: %j', (key, raw, error) => {
    expect(tell(key, raw)).toThrow(new StartError(`--${key}: ${error}`))
  })
})

describe('memory and data_dir are one choice', () => {
  test('both flags', () => {
    const error = '--memory: excludes --data_dir; leave one of them out'
    expect(() => resolveConfig(layer({ memory: true, data_dir: 'x' }), none)).toThrow(new StartError(error))
  })
  test('both keys', () => {
    const error = 'a:1:2: memory: excludes a:1:2: data_dir; leave one of them out'
    expect(() => resolveConfig(none, layer({ memory: true, data_dir: 'x' }, 'a:1:2: '))).toThrow(new StartError(error))
  })
  test('a flag for the one wins over the key of the other', () => {
    expect(resolveConfig(layer({ memory: true }), layer({ data_dir: 'x' }))).toMatchObject({ memory: true })
    expect(resolveConfig(layer({ data_dir: 'x' }), layer({ memory: true }))).toMatchObject({ memory: false, dataDir: 'x' })
  })
  test('memory: false excludes nothing', () => {
    expect(resolveConfig(none, layer({ memory: false, data_dir: 'x' }))).toMatchObject({ memory: false, dataDir: 'x' })
  })
})

describe('only loopback without a password', () => {
  test.each<OptionKey>(['host', 'sn_host'])('%s', (key) => {
    const error = `--${key}: 0.0.0.0 is not loopback, so anyone who can reach it could connect without a password: to allow that, add --allow-anonymous; to prevent it, add --password-file`
    expect(() => resolveConfig(layer({ [key]: '0.0.0.0' }), none)).toThrow(new StartError(error))
    expect(() => resolveConfig(none, layer({ [key]: '0.0.0.0' }))).toThrow(new StartError(error))
    expect(() => resolveConfig(layer({ [key]: '0.0.0.0' }), layer({ allow_anonymous: false }))).toThrow(new StartError(error))
    expect(resolveConfig(layer({ [key]: '0.0.0.0' }), layer({ allow_anonymous: true }))).toMatchObject({ allowAnonymous: true })
    expect(resolveConfig(layer({ [key]: '127.0.0.2' }), layer({ [key]: '0.0.0.0' }))).toMatchObject({ allowAnonymous: undefined })
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

describe('an HTTP service that is switched off', () => {
  const off = (flags: Layer, file: Layer) => () => resolveConfig(flags, file)
  const error = (origin: string, http: string) => `${origin}: has no effect, because ${http} is false; leave one of them out`

  test('has no other options', () => {
    expect(off(layer({ http: false, http_port: 80 }), none)).toThrow(error('--http_port', '--http'))
    expect(off(none, layer({ http: false, http_hosts: 'a' }, ''))).toThrow(error('http_hosts', 'http'))
    expect(off(layer({ http_host: '::1' }), layer({ http: false }, ''))).toThrow(error('--http_host', 'http'))
    expect(off(layer({ http: false, http_managers: 'eva' }), none)).toThrow(error('--http_managers', '--http'))
  })

  test('a flag switches it off for once, and what MQTT asks over HTTP is another matter', () => {
    expect(off(layer({ http: false }), layer({ http_port: 80 }, ''))).not.toThrow()
    expect(off(layer({ http: false, http_auth_url: 'http://127.0.0.1/' }), none)).not.toThrow()
  })
})

describe('listeners', () => {
  const entry = (values: Partial<Record<OptionKey, unknown>>, name?: string, at = 0): ListenerLayer => ({
    origin: `r:1:1: listeners[${at}]`,
    name: name === undefined ? undefined : { value: name, origin: `r:1:1: listeners[${at}].name` },
    own: layer(values, `r:1:1: listeners[${at}].`),
  })
  const listeners = (...entries: ListenerLayer[]) => resolveConfig(none, none, entries).listeners

  test('without a list there is the default listener', () => {
    expect(resolveConfig(layer({ port: 7, certfile: 'c', keyfile: 'k' }), none).listeners).toEqual([
      expect.objectContaining({ name: 'mqtt-7', origin: '--host, --port', host: '127.0.0.1', port: 7, certfile: 'c' }),
    ])
    expect(resolveConfig(none, layer({ socket_path: '/x' })).listeners).toMatchObject([
      { name: 'mqtt-/x', origin: '--socket-path' },
    ])
  })

  test('a list replaces it, unless somebody says where it is to listen', () => {
    const ports = (flags: Layer, file: Layer) =>
      resolveConfig(flags, file, [entry({ port: 8883 })]).listeners.map(({ port }) => port)
    expect(ports(none, layer({ max_connections: 5 }))).toEqual([8883])
    expect(ports(none, layer({ port: 1884 }))).toEqual([1884, 8883])
    expect(ports(layer({ host: '::1' }), none)).toEqual([1883, 8883])
    const error = 'certfile: applies to the default listener, which listeners replaces: move it there, or set port too'
    const file = layer({ certfile: 'c', keyfile: 'k' }, '')
    expect(() => resolveConfig(none, file, [entry({ port: 1 })])).toThrow(new StartError(error))
  })

  test('its own settings, else the global ones, else the defaults; nobody inherits a certificate', () => {
    const file = layer({ port: 1, certfile: 'c', keyfile: 'k', acl_file: 'all', maximum_qos: 1, mount_point: 'm/' })
    const entries = [entry({ port: 2, acl_file: 'own', set_tcp_nodelay: false }), entry({ port: 3 }, 'third', 1)]
    expect(resolveConfig(none, file, entries).listeners).toMatchObject([
      { name: 'mqtt-1', certfile: 'c', aclFile: 'all', maximumQos: 1, setTcpNodelay: true },
      { name: 'mqtt-2', certfile: undefined, aclFile: 'own', maximumQos: 1, mountPoint: 'm/', setTcpNodelay: false },
      { name: 'third', certfile: undefined, aclFile: 'all', maximumQos: 1, protocol: 'mqtt', maxTopicAlias: 10 },
    ])
  })

  test('names are unique', () => {
    const same = [entry({ port: 1 }), entry({ port: 1, host: '::1' }), entry({ port: 0 }), entry({ port: 0 })]
    expect(listeners(...same).map(({ name }) => name)).toEqual(['mqtt-1', 'mqtt-1-2', 'mqtt-0', 'mqtt-0-2'])
    expect(() => listeners(entry({ port: 1 }, 'a'), entry({ port: 2 }, 'a', 1))).toThrow(
      new StartError('r:1:1: listeners[1].name: a is already the name of another listener'),
    )
    expect(() => listeners(entry({ port: 1 }), entry({ port: 1, host: '127.0.0.1' }, 'b', 1))).toThrow(
      new StartError('r:1:1: listeners[1]: listens on 127.0.0.1 port 1, as r:1:1: listeners[0] does'),
    )
  })

  const tls = { port: 1, certfile: 'c', keyfile: 'k' }
  test.each<[Partial<Record<OptionKey, unknown>>, string]>([
    [{ port: 1, certfile: 'c' }, 'certfile: needs keyfile too'],
    [{ port: 1, keyfile: 'c' }, 'keyfile: needs certfile too'],
    [{ port: 1, ciphers: 'c' }, 'ciphers: needs certfile too'],
    [{ ...tls, crlfile: 'c' }, 'crlfile: needs cafile or capath too'],
    [{ ...tls, require_certificate: true }, 'require_certificate: needs cafile or capath too'],
    [{ ...tls, use_identity_as_username: true }, 'use_identity_as_username: needs cafile or capath or proxy_protocol too'],
    [
      { ...tls, capath: 'c', require_certificate: true, use_identity_as_username: true, use_subject_as_username: true },
      'use_subject_as_username: excludes r:1:1: listeners[0].use_identity_as_username; leave one of them out',
    ],
    [{ port: 1, socket_path: 'c' }, 'socket_path: excludes r:1:1: listeners[0].port; leave one of them out'],
    [{ host: 'a', socket_path: 'c' }, 'socket_path: excludes r:1:1: listeners[0].host; leave one of them out'],
    [{ port: 1, socket_mode: '600' }, 'socket_mode: needs socket_path too'],
    [{ port: 1, websockets_path: '/a' }, 'websockets_path: needs protocol websockets too'],
    [{ port: 1, jwt_issuer: 'a' }, 'jwt_issuer: needs jwt_secret_file or jwt_public_key_file or jwt_jwks too'],
    [{ port: 1, http_auth_timeout_seconds: 1 }, 'http_auth_timeout_seconds: needs http_auth_url too'],
  ])('%j', (values, error) => {
    expect(() => listeners(entry(values))).toThrow(new StartError(`r:1:1: listeners[0].${error}`))
  })

  test('what is off needs nothing', () => {
    expect(listeners(entry({ port: 1, require_certificate: false, use_identity_as_username: false }))).toHaveLength(1)
  })

  test('a flag for host or port wins over the socket of the file, and the other way round', () => {
    const socket = { socket_path: '/x', socket_mode: '600' }
    expect(resolveConfig(layer({ port: 5 }), layer(socket)).listeners).toMatchObject([{ port: 5, socketPath: undefined }])
    expect(resolveConfig(layer(socket), layer({ host: '0.0.0.0', port: 5 })).listeners).toMatchObject([{ socketPath: '/x' }])
    expect(() => resolveConfig(layer({ socket_path: '/x', port: 5 }), none)).toThrow('--socket_path: excludes --port')
  })

  describe('who may connect', () => {
    const open = { host: '0.0.0.0', port: 1 }
    const ways: Partial<Record<OptionKey, unknown>>[] = [
      { password_file: 'p' },
      { jwt_secret_file: 'p' },
      { jwt_public_key_file: 'p' },
      { jwt_jwks: 'https://x' },
      { http_auth_url: 'https://x' },
    ]
    const mutual = { ...tls, cafile: 'a', use_identity_as_username: true }

    test.each(ways)('%j verifies everybody: any address will do', (way) => {
      expect(resolveConfig(layer({ ...open, ...way }), none).listeners).toMatchObject([{ allowAnonymous: false }])
      expect(resolveConfig(none, layer(way), [entry(open)]).listeners).toMatchObject([{ allowAnonymous: false }])
      expect(listeners(entry({ ...open, ...way }))).toMatchObject([{ allowAnonymous: false }])
      expect(resolveConfig(layer({ sn_host: '0.0.0.0', ...way }), none)).toMatchObject({ snHost: '0.0.0.0' })
      expect(listeners(entry({ ...open, ...way, allow_anonymous: true }))).toMatchObject([{ allowAnonymous: true }])
    })

    test('so does a certificate that is required and says who it is', () => {
      expect(listeners(entry({ ...open, ...mutual, require_certificate: 'required' }))).toMatchObject([{ allowAnonymous: false }])
      const proxied = entry({ ...open, proxy_protocol: true, use_identity_as_username: true })
      expect(() => listeners(proxied)).toThrow('0.0.0.0 is not loopback')
      const optional = entry({ ...mutual, host: '0.0.0.0', require_certificate: 'optional' })
      expect(() => listeners(optional)).toThrow('0.0.0.0 is not loopback')
    })

    test('every listener is asked; an acl_file alone verifies nobody', () => {
      const error =
        'r:1:1: listeners[1].host: 0.0.0.0 is not loopback, so anyone who can reach it could connect without a password: to allow that, add allow_anonymous: true; to prevent it, add password_file'
      const first = entry({ host: '0.0.0.0', port: 2, password_file: 'p' })
      expect(() => listeners(first, entry({ ...open, acl_file: 'a' }, undefined, 1))).toThrow(new StartError(error))
      expect(() => resolveConfig(none, layer({ allow_anonymous: true }), [entry({ ...open, allow_anonymous: false })])).toThrow()
      expect(resolveConfig(none, layer({ allow_anonymous: true }), [entry(open)]).listeners).toMatchObject([
        { allowAnonymous: true },
      ])
    })

    test('sensors are not let in by the password file of one listener', () => {
      const file = layer({ sn_host: '0.0.0.0' }, '')
      expect(() => resolveConfig(none, file, [entry({ port: 1, password_file: 'p' })])).toThrow(
        'sn_host: 0.0.0.0 is not loopback',
      )
    })

    test('where user names come from certificates, a certificate is needed by default', () => {
      expect(listeners(entry({ ...mutual, host: '0.0.0.0' }))).toMatchObject([
        { allowAnonymous: false, requireCertificate: 'no' },
      ])
      // Other means of authentication, or none, have to be asked for.
      const local = { ...mutual, require_certificate: 'optional' }
      expect(listeners(entry(local))).toMatchObject([{ allowAnonymous: false }])
      expect(listeners(entry({ ...local, allow_anonymous: true }))).toMatchObject([{ allowAnonymous: true }])
      expect(listeners(entry({ port: 1, proxy_protocol: true, use_identity_as_username: true }))).toMatchObject([
        { allowAnonymous: false },
      ])
    })

    test('allow_anonymous: false is never overruled, for clients and sensors', () => {
      const closed = { ...resolveConfig(none, layer({ allow_anonymous: false })), predefinedTopics: [] }
      expect(closed.listeners).toMatchObject([{ allowAnonymous: false }])
      expect(sensorsAreOpen(closed)).toBe(false)
      expect(resolveConfig(none, layer({ allow_anonymous: false }), [entry({ port: 1 })]).listeners).toMatchObject([
        { allowAnonymous: false },
      ])
      expect(listeners(entry({ port: 1, allow_anonymous: false }))).toMatchObject([{ allowAnonymous: false }])
      expect(sensorsAreOpen(DEFAULT_CONFIG)).toBe(true)
    })

    test('loopback and Unix sockets need nothing: everybody there may connect', () => {
      expect(listeners(entry({ port: 1 }), entry({ socket_path: '/x' }))).toMatchObject([
        { allowAnonymous: true },
        { allowAnonymous: true },
      ])
    })
  })
})

describe('ports for sensors', () => {
  const entry = (values: Partial<Record<OptionKey, unknown>>, name?: string): ListenerLayer => ({
    origin: 'f: sn_listeners[0]',
    name: name === undefined ? undefined : { value: name, origin: 'f: sn_listeners[0].name' },
    own: layer(values, 'f: sn_listeners[0].'),
  })
  const ports = (file: Layer, ...entries: ListenerLayer[]) => resolveConfig(none, file, [], entries).snListeners

  test('the flags describe one, by the name sn', () => {
    expect(resolveConfig(layer({ sn_port: 5, t_retry: 20 }), none).snListeners).toMatchObject([
      {
        name: 'sn',
        host: '127.0.0.1',
        port: 5,
        device: undefined,
        tRetry: 20,
        nRetry: 3,
        maxFrame: 65_535,
        origin: '--sn-host, --sn-port',
      },
    ])
    expect(resolveConfig(layer({ sn_device: '/dev/x' }), none).snListeners).toMatchObject([
      { name: 'sn', device: '/dev/x', baudRate: 115_200, framing: 'slip', origin: '--sn-device' },
    ])
  })

  test('a list replaces it, unless it is asked for; each has its own habits, or the global ones', () => {
    const global = layer({ t_retry: 30, n_retry: 5 }, 'f: ')
    expect(
      ports(global, entry({ sn_port: 1 }), entry({ sn_device: '/dev/ttyUSB0', n_retry: 9 }), entry({ sn_port: 2 }, 'hall')),
    ).toMatchObject([
      { name: 'sn-1', port: 1, tRetry: 30, nRetry: 5 },
      { name: 'sn-ttyUSB0', device: '/dev/ttyUSB0', tRetry: 30, nRetry: 9 },
      { name: 'hall', port: 2 },
    ])
    expect(resolveConfig(layer({ sn_port: 7 }), none, [], [entry({ sn_port: 1 })]).snListeners.map(({ name }) => name)).toEqual([
      'sn',
      'sn-1',
    ])
  })

  test.each<[string, Partial<Record<OptionKey, unknown>>, string]>([
    ['a place twice', { sn_port: 1884 }, 'f: sn_listeners[0]: listens on 127.0.0.1 port 1884, as --sn-host, --sn-port does'],
    [
      'serial habits over UDP',
      { sn_port: 1, sn_baud_rate: 9600 },
      'f: sn_listeners[0].sn_baud_rate: applies to serial devices only',
    ],
    [
      'UDP habits over serial',
      { sn_device: '/x', multicast_group: 'none' },
      'f: sn_listeners[0].multicast_group: applies to UDP ports only',
    ],
    ['a duty cycle of nothing', { sn_port: 1, sn_duty_cycle: 1 }, 'f: sn_listeners[0].sn_duty_cycle: needs bytes_per_second too'],
    [
      'a frame that no hour has room for',
      { sn_port: 1, sn_duty_cycle: 0.1, sn_bytes_per_second: 100, sn_max_frame: 400 },
      'f: sn_listeners[0].sn_duty_cycle: the airtime of an hour is too short for a frame of 400 bytes: lower max_frame',
    ],
    ['a network', { sn_host: '0.0.0.0', sn_port: 1 }, 'f: sn_listeners[0].sn_host: 0.0.0.0 is not loopback'],
  ])('%s', (_, values, error) => {
    expect(() => resolveConfig(layer({ sn_port: 1884 }), none, [], [entry(values)])).toThrow(error)
  })

  test('what is asked of the port of the flags belongs into the list', () => {
    expect(() => ports(layer({ multicast_group: 'none' }, 'f: '), entry({ sn_port: 1 }))).toThrow(
      'f: multicast_group: applies to the default port, which sn_listeners replaces',
    )
    expect(() => resolveConfig(layer({ sn_device: '/x', sn_port: 1 }), none)).toThrow('--sn_device: excludes --sn_port')
  })
})
