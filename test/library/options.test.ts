import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StartError, type StartOptions } from '../../src/index.ts'
import { resolveOptions } from '../../src/library/options.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-options-'))
  writeFileSync(join(dir, 'passwords'), '')
  mkdirSync(join(dir, 'site'))
  writeFileSync(join(dir, 'site', 'passwords'), '')
})
afterAll(() => rmSync(dir, { recursive: true }))

/** The configuration that the options describe, from the directory of this test. */
const configOf = (options: StartOptions | object) => resolveOptions(options, dir).config

const fileOf = (text: string): string => {
  writeFileSync(join(dir, 'roost.yaml'), text)
  return 'roost.yaml'
}

describe('defaults of the library', () => {
  test('memory, no HTTP service, no multicast; the listeners of roost serve', () => {
    const config = configOf({})
    expect(config).toMatchObject({ memory: true, http: false, port: 1883, host: '127.0.0.1', snPort: 1884 })
    expect(config.listeners).toMatchObject([{ port: 1883, host: '127.0.0.1', allowAnonymous: true }])
    expect(config.snListeners).toMatchObject([{ port: 1884, host: '127.0.0.1', multicastGroup: 'none' }])
  })

  test.each<[StartOptions, object]>([
    [{ dataDir: 'state' }, { memory: false }],
    [{ memory: false }, { memory: false }],
    [{ httpPort: 0 }, { http: true, httpPort: 0 }],
    [{ http: true }, { http: true }],
    // An option of access, not of the HTTP service.
    [{ httpAuthUrl: 'http://127.0.0.1:1/auth' }, { http: false }],
  ])('what asks for something else: %j', (options, expected) => expect(configOf(options)).toMatchObject(expected))

  test.each<[StartOptions, (string | undefined)[]]>([
    [{ multicastGroup: '225.1.1.1' }, ['225.1.1.1']],
    [{ tAdv: 60 }, [undefined]],
    [{ standby: true }, [undefined]],
    [{ snPort: 0, snHost: '127.0.0.2' }, ['none']],
    [{ snListeners: [{ port: 1 }, { port: 2, multicastPort: 3 }, { device: '/dev/null' }] }, ['none', undefined, undefined]],
    [{ snPort: 4, snListeners: [{ port: 1 }] }, ['none', 'none']],
    [{ tAdv: 60, snListeners: [{ port: 1 }] }, [undefined]],
    [{ snDevice: '/dev/null' }, [undefined]],
  ])('multicast of %j', (options, groups) =>
    expect(configOf(options).snListeners.map(({ multicastGroup }) => multicastGroup)).toEqual(groups),
  )

  test('a file has the defaults of roost serve, but no multicast', () => {
    const config = fileOf('max_connections: 5\nsn_listeners:\n  - port: 7\n')
    expect(configOf({ config })).toMatchObject({
      ...{ maxConnections: 5, memory: false, http: true },
      dataDir: join(dir, 'roost-data'),
      snListeners: [{ port: 7, multicastGroup: 'none' }],
    })
    const asked = fileOf('multicast_group: 225.9.9.9\n')
    expect(configOf({ config: asked }).snListeners).toMatchObject([{ multicastGroup: '225.9.9.9' }])
  })
})

describe('who may connect', () => {
  test('a password file alone lets nobody in without a password, sensors included', () => {
    const config = configOf({ passwordFile: 'passwords' })
    expect(config.passwordFile).toBe(join(dir, 'passwords'))
    expect(config.listeners).toMatchObject([{ allowAnonymous: false, passwordFile: join(dir, 'passwords') }])
    expect(configOf({ passwordFile: 'passwords', listeners: [{ port: 1 }] }).listeners[0]!.allowAnonymous).toBe(false)
    expect(configOf({ listeners: [{ port: 1, passwordFile: 'passwords' }] }).listeners[0]!.allowAnonymous).toBe(false)
    expect(configOf({ passwordFile: 'passwords', allowAnonymous: true }).listeners[0]!.allowAnonymous).toBe(true)
  })

  test.each<[StartOptions, string]>([
    [{ host: '0.0.0.0' }, 'host: 0.0.0.0 is not loopback'],
    [{ snHost: '0.0.0.0' }, 'snHost: 0.0.0.0 is not loopback'],
    [{ listeners: [{ port: 0, host: '::' }] }, 'listeners[0].host: :: is not loopback'],
    [{ snListeners: [{ port: 0, host: '::' }] }, 'snListeners[0].host: :: is not loopback'],
    [{ httpHost: '0.0.0.0' }, 'httpHost: 0.0.0.0 is not loopback'],
  ])('%j is refused', (options, error) => {
    expect(() => configOf(options)).toThrow(StartError)
    expect(() => configOf(options)).toThrow(error)
    // In the notation of this library, not of flags or of the file.
    expect(() => configOf(options)).not.toThrow(/--|_/)
  })
})

test('keys override the file as flags do, and its paths are beside it', () => {
  writeFileSync(join(dir, 'site', 'roost.yaml'), 'port: 5\nmemory: true\npassword_file: passwords\nsn_device: /dev/null\n')
  const config = configOf({ config: 'site/roost.yaml', port: 6, dataDir: 'state', snPort: 0, maxConnections: undefined })
  expect(config.passwordFile).toBe(join(dir, 'site', 'passwords'))
  expect(config).toMatchObject({ port: 6, memory: false, dataDir: join(dir, 'state'), maxConnections: 10_000 })
  expect(config.snListeners).toMatchObject([{ port: 0, device: undefined, multicastGroup: 'none' }])
  const listeners = [{ name: 'a', port: 7 }]
  expect(configOf({ config: fileOf('listeners:\n  - port: 8\n'), listeners }).listeners).toMatchObject(listeners)
  expect(configOf({ config: fileOf('http_port: 8\n'), http: false }).http).toBe(false)
})

test('values are those of the file: 0 switches off, lists are texts or arrays', () => {
  expect(configOf({ sysInterval: 0 }).sysInterval).toBe(Number.POSITIVE_INFINITY)
  const networks = configOf({ trustedNetworks: ['10.0.0.0/8', '::1'] }).trustedNetworks
  expect(networks).toHaveLength(2)
  expect(configOf({ trustedNetworks: '10.0.0.0/8, ::1' }).trustedNetworks).toEqual(networks)
  expect(configOf({ socketPath: 'roost.sock', socketMode: '0600' }).listeners).toMatchObject([
    { socketPath: join(dir, 'roost.sock'), socketMode: 0o600 },
  ])
  expect(configOf({ certfile: 'passwords', keyfile: 'passwords', cafile: 'passwords', requireCertificate: true })).toMatchObject({
    requireCertificate: 'required',
  })
})

test('a former option in the file is a warning', () => {
  const { warnings } = resolveOptions({ config: fileOf('n_adv: 3\n') }, dir)
  expect(warnings).toMatchObject([expect.stringContaining('roost.yaml:1:1: n_adv')])
})

describe('a key takes effect or is an error in one line that names it', () => {
  test.each<[object, string]>([
    [{ pasword_file: 'x' }, 'pasword_file: unknown key (did you mean passwordFile?)'],
    [{ password_file: 'x' }, 'password_file: unknown key (did you mean passwordFile?)'],
    [{ testConfig: true }, 'testConfig: unknown key'],
    [{ cert: 'x' }, 'cert: unknown key (did you mean certfile?)'],
    [{ password: 'x' }, 'password: unknown key (did you mean passwordFile?)'],
    [{ prot: 1 }, 'prot: unknown key (did you mean port?)'],
    [{ port: '1883' }, 'port: expected a whole number from 0 to 65535, got "1883"'],
    [{ port: null }, 'port: expected a whole number from 0 to 65535, got nothing'],
    [{ port: { of: 1 } }, 'port: expected a whole number from 0 to 65535, got a map'],
    [{ sysInterval: Number.POSITIVE_INFINITY }, 'sysInterval: expected a whole number from 1 to 65535, or 0 for off'],
    [
      { trustedNetworks: [1] },
      'trustedNetworks: expected networks like 10.0.0.0/8 or fe80::/10, separated by commas, got a list',
    ],
    [{ trustedNetworks: ['10.0.0.0/8,x'] }, 'trustedNetworks: expected networks'],
    [{ logFile: 'x' }, 'logFile: has no effect here; give start a log that does it'],
    [{ logFormat: 'json' }, 'logFormat: has no effect here'],
    [{ logLevel: 'debug' }, 'logLevel: has no effect without log'],
    [{ logRate: 5, log: false }, 'logRate: has no effect without log'],
    [{ authenticate: 5 }, 'authenticate: expected a function, got number'],
    [{ memory: true, dataDir: 'x' }, 'memory: excludes dataDir; leave one of them out'],
    [{ socketPath: 'x', port: 1 }, 'socketPath: excludes port'],
    [{ snDevice: 'x', snPort: 1 }, 'snDevice: excludes snPort'],
    [{ http: false, httpPort: 1 }, 'httpPort: has no effect, because http is false'],
    [{ httpManagers: ['a'] }, 'httpManagers: needs httpPasswordFile too'],
    [{ keyfile: 'passwords' }, 'keyfile: needs certfile too'],
    [{ jwtIssuer: 'x' }, 'jwtIssuer: needs jwtSecretFile or jwtPublicKeyFile or jwtJwks too'],
    [{ websocketsPath: '/x' }, 'websocketsPath: needs protocol websockets too'],
    [{ passwordFile: 'nowhere' }, 'passwordFile: cannot read nowhere: no such file or directory'],
    [{ config: 'nowhere.yaml' }, 'config: cannot read nowhere.yaml: no such file or directory'],
    [{ config: 5 }, 'config: expected the path of a file, got 5'],
    [{ predefinedTopics: 'nowhere' }, 'predefinedTopics: cannot read nowhere'],
    [{ listeners: [] }, 'listeners: expected at least one listener, got none'],
    [{ listeners: {} }, 'listeners: expected a list of listeners, got a map'],
    [{ listeners: [5] }, 'listeners[0]: expected an object, got 5'],
    [{ listeners: [{}] }, 'listeners[0]: expected port or socketPath, got neither'],
    [{ listeners: [{ port: 1, passwrodFile: 'p' }] }, 'listeners[0].passwrodFile: unknown key (did you mean passwordFile?)'],
    [{ listeners: [{ port: 1, memory: true }] }, 'listeners[0].memory: cannot be set for a single listener'],
    [{ listeners: [{ port: 1, keyfile: 'p' }] }, 'listeners[0].keyfile: needs certfile too'],
    [{ listeners: [{ port: 1, name: 'a b' }] }, 'listeners[0].name: expected a name'],
    [
      {
        listeners: [
          { port: 1, name: 'a' },
          { port: 2, name: 'a' },
        ],
      },
      'listeners[1].name: a is already the name of another listener',
    ],
    [{ listeners: [{ port: 1 }, { port: 1 }] }, 'listeners[1]: listens on 127.0.0.1 port 1, as listeners[0] does'],
    [{ listeners: [{ port: 1 }], certfile: 'passwords' }, 'certfile: applies to the default listener, which listeners replaces'],
    [
      { snListeners: [{ port: 1 }], multicastGroup: 'none' },
      'multicastGroup: applies to the default port, which snListeners replaces: move it there, or set snPort too',
    ],
    [{ snListeners: [{}] }, 'snListeners[0]: expected port or device, got neither'],
    [{ snListeners: [{ port: 1, baudRate: 9600 }] }, 'snListeners[0].baudRate: applies to serial devices only'],
    [{ snListeners: [{ port: 1, dutyCycle: 1 }] }, 'snListeners[0].dutyCycle: needs bytesPerSecond too'],
    [{ snListeners: [{ port: 1, snHost: 'x' }] }, 'snListeners[0].snHost: cannot be set for a single listener'],
  ])('%j', (options, error) => {
    expect(() => configOf(options)).toThrow(StartError)
    expect(() => configOf(options)).toThrow(error)
  })

  test('in the file with its line', () => {
    const config = fileOf('port: 1\nprt: 2\n')
    expect(() => configOf({ config })).toThrow('roost.yaml:2:1: unknown key prt (did you mean port?)')
    expect(() => configOf({ config: fileOf('max_connections: no\n') })).toThrow('roost.yaml:1:18: max_connections: expected')
  })

  test('nothing is suggested that is as different as similar', () =>
    expect(() => configOf({ help: true })).toThrow(/^help: unknown key$/))

  test('something else than an object', () => {
    for (const options of [null, 'roost.yaml', [], () => ({}), Promise.resolve({ passwordFile: 'passwords' }), new Map()])
      expect(() => configOf(options as never)).toThrow('start: expected an object of options')
    expect(() => configOf(Promise.resolve({}))).toThrow('start: expected an object of options, got a Promise')
  })

  test('inherited keys count', () => {
    expect(configOf(Object.create({ passwordFile: 'passwords' })).passwordFile).toBe(join(dir, 'passwords'))
    expect(() => configOf(Object.create({ prt: 1 }))).toThrow('prt: unknown key')
  })
})

describe('filters', () => {
  const filters = [{ client: 'display-*', topic: 'a/#', filter: 'json.celsius > 25' }]

  test('are those of the file, in place of which they can be given', () => {
    expect(configOf({ filters }).filters).toEqual([{ ...filters[0], origin: 'filters[0].filter' }])
    const config = fileOf('filters: [{ user: alice, filter: "true" }]')
    expect(configOf({ config }).filters).toMatchObject([{ user: 'alice', filter: 'true' }])
    expect(configOf({ config, filters }).filters).toHaveLength(1)
  })

  test.each([
    [{}, 'filters: expected a list of filters, got a map'],
    [[{ client: 'a' }], 'filters[0]: has no filter'],
    [[{ filter: 'true' }], 'filters[0]: needs client, user or topic'],
    [[{ clients: 'a', filter: 'true' }], 'filters[0].clients: unknown key (did you mean client?)'],
    [[{ client: 'a', filter: true }], 'filters[0].filter: expected a condition in CEL, got true'],
    [[null], 'filters[0]: expected an object, got null'],
    [[{ client: 'a', filter: () => true }], 'filters[0].filter: expected what JSON can express, got a function'],
  ])('%j: an error that names the key', (given, error) => {
    expect(() => configOf({ filters: given as never })).toThrow(new StartError(error))
  })
})

describe('types', () => {
  const soil = { topics: 'soil', byteOrder: 'little', layout: [{ name: 'm', type: 'uint16' }], invalidMqtt3: 'close' } as const

  test('as in the file, in camelCase, with schemas as objects or from files of the working directory', () => {
    writeFileSync(join(dir, 'a.json'), '{ "type": "number" }')
    const { types } = configOf({
      types: {
        soil,
        a: { topics: ['a', 'b/#'], contentType: 'application/json', schema: 'a.json' },
        c: { topics: 'c', schema: {} },
      },
    })
    expect(types).toMatchObject([
      { name: 'soil', topics: ['soil'], invalid: 'refuse', invalidMqtt3: 'close' },
      { name: 'a', topics: ['a', 'b/#'], contentType: 'application/json', schema: { value: { type: 'number' } } },
      { name: 'c', schema: { value: {} } },
    ])
    expect(types[0]?.layout?.decode(Uint8Array.of(1, 2))).toEqual({ m: 513 })
    expect(types[2]?.schema?.placeOf('/type')).toBe('types.c.schema/type')
  })

  test('replace those of the file', () => {
    const config = fileOf('types: { a: { topics: x } }')
    expect(configOf({ config }).types.map(({ name }) => name)).toEqual(['a'])
    expect(configOf({ config, types: { soil } }).types.map(({ name }) => name)).toEqual(['soil'])
  })

  test.each<[unknown, string]>([
    [[], 'types: expected an object of types, got a list'],
    [{ a: {} }, 'types.a: needs topics'],
    [{ a: { topics: 'x', content_type: 'y' } }, 'types.a.content_type: unknown key (did you mean contentType?)'],
    [{ a: { topics: 'x', contentType: 7 } }, 'types.a.contentType: expected a content type such as application/json, got 7'],
    [{ a: { ...soil, invalidMqtt3: 'no' } }, 'types.a.invalidMqtt3: expected one of acknowledge, close, got "no"'],
    [{ a: { ...soil, layout: [{ type: 'uint8' }] } }, 'types.a.layout[0]: needs a name'],
    [{ a: { ...soil, layout: 'm' } }, 'expected a list of fields as types.a.layout, got "m"'],
    [
      { a: { ...soil, layout: [{ name: 'm', type: 'uint8', values: ['x'] }] } },
      'expected a map of numbers to words as types.a.layout[0].values, got a list',
    ],
    [{ a: null }, 'types.a: expected an object, got null'],
    [new Map([['a', soil]]), 'types: expected an object of types, got a map'],
  ])('%j: %s', (types, error) => expect(() => configOf({ types })).toThrow(new StartError(error)))

  // Each of them would become {}, or be left out: a schema that lets everything through.
  const itself: Record<string, unknown> = { type: 'object' }
  itself.properties = { a: itself }
  test.each<[unknown, string]>([
    [{ type: () => 'object' }, '.type: expected what JSON can express, got a function'],
    [new Map([['type', 'object']]), ': expected what JSON can express, got a Map'],
    [{ pattern: /^a/ }, '.pattern: expected what JSON can express, got a RegExp'],
    [{ maximum: 5n }, '.maximum: expected what JSON can express, got a bigint'],
    [{ enum: [1, undefined] }, '.enum[1]: expected what JSON can express, got undefined'],
    [{ maximum: Number.NaN }, '.maximum: expected what JSON can express, got NaN'],
    [itself, '.properties.a: is an object that contains itself'],
  ])('a schema that is no JSON: %o', (schema, error) => {
    const types = { a: { topics: 'x', schema } }
    expect(() => configOf({ types })).toThrow(new StartError(`types.a.schema${error}`))
  })
})
