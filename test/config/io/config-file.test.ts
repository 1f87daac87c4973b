import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StartError } from '../../../src/base/start-error.ts'
import { given, type Layer } from '../../../src/config/config.ts'
import { loadConfig, parseConfigFile } from '../../../src/config/io/config-file.ts'
import { YamlFile } from '../../../src/config/io/yaml-file.ts'
import { options } from '../../../src/config/options.ts'

const parse = (text: string) => parseConfigFile(new YamlFile('roost.yaml', text))
const values = (text: string) => Object.fromEntries([...parse(text).global].map(([key, { value }]) => [key, value]))

test('keys, comments, anchors, JSON, an empty file', () => {
  expect(values('# mine\nport: 2883\nmemory: true # or not\n\nlog_level: debug\n')).toEqual({
    port: 2883,
    memory: true,
    log_level: 'debug',
  })
  expect(values('port: &p 2883\nsn_port: *p\n')).toEqual({ port: 2883, sn_port: 2883 })
  expect(values('{\n\t"port": 2883,\n\t"host": "localhost"\n}')).toEqual({ port: 2883, host: 'localhost' })
  expect(values('')).toEqual({})
  expect(values('# nothing yet\n')).toEqual({})
})

test.each([
  ['a: 1', 'roost.yaml:1:1: unknown key a'],
  ['port: 1\nmax_queue_messages: 1', 'roost.yaml:2:1: unknown key max_queue_messages (did you mean max_queued_messages?)'],
  ['  max-queued-messages: 1', 'roost.yaml:1:3: unknown key max-queued-messages (did you mean max_queued_messages?)'],
  ['__proto__: 1', 'roost.yaml:1:1: unknown key __proto__'],
  ['config: other.yaml', 'roost.yaml:1:1: unknown key config'],
  ['\n\nport: abc', 'roost.yaml:3:7: port: expected a whole number from 0 to 65535, got "abc"'],
  ['port: 70000', 'roost.yaml:1:7: port: expected a whole number from 0 to 65535, got 70000'],
  ['port:', 'roost.yaml:1:6: port: expected a whole number from 0 to 65535, got nothing'],
  ['port: [1]', 'roost.yaml:1:7: port: expected a whole number from 0 to 65535, got a list'],
  ['port:\n  a: 1', 'roost.yaml:2:3: port: expected a whole number from 0 to 65535, got a map'],
  ['memory: yes', 'roost.yaml:1:9: memory: expected true or false, got "yes"'],
  ['port: *p', 'roost.yaml:1:7: no anchor &p above'],
  ['port: 1\nport: 2', 'roost.yaml:2:1: Map keys must be unique'],
  ['port: !int 1', 'roost.yaml:1:7: Unresolved tag: !int'],
  ['port: "1', 'roost.yaml:1:9: Missing closing "quote'],
  ['- port', 'roost.yaml:1:1: expected options, one `key: value` a line, got a list'],
  ['port', 'roost.yaml:1:1: expected options, one `key: value` a line, got "port"'],
  ['? [port]\n: 1', 'roost.yaml:1:1: expected options, one `key: value` a line, got a map or a list in place of a key'],
])('%j', (text, error) => {
  expect(() => parse(text)).toThrow(new StartError(error))
})

test('options that are gone, set to what they are fixed at', () => {
  const { global, snListeners, warnings } = parse(
    't_wait: 300\nsn_listeners:\n  - {port: 1, max_queued_frames: 1000, n_adv: 3}\n',
  )
  expect([global.size, snListeners[0]!.own.size]).toEqual([0, 1])
  expect(warnings).toEqual([
    'roost.yaml:1:1: t_wait: no longer an option, fixed at 300; it can be removed',
    'roost.yaml:3:15: sn_listeners[0].max_queued_frames: no longer an option, fixed at 1000; it can be removed',
    'roost.yaml:3:40: sn_listeners[0].n_adv: no longer an option, fixed at 3; it can be removed',
  ])
})

test('listeners', () => {
  const { listeners, global } = parse('max_queued_messages: 5\nlisteners:\n  - port: 1\n    name: a\n  - {socket_path: run/x}\n')
  expect(global.size).toBe(1)
  expect(listeners).toEqual([
    {
      origin: 'roost.yaml:3:5: listeners[0]',
      name: { value: 'a', origin: 'roost.yaml:4:11: listeners[0].name' },
      own: new Map([['port', { value: 1, origin: 'roost.yaml:3:11: listeners[0].port' }]]),
    },
    {
      origin: 'roost.yaml:5:5: listeners[1]',
      name: undefined,
      own: new Map([['socket_path', { value: 'run/x', origin: 'roost.yaml:5:19: listeners[1].socket_path' }]]),
    },
  ])
})

test.each([
  ['listeners: 1', '1:12: expected a list of listeners, got 1'],
  ['listeners: []', '1:12: listeners: expected at least one listener, got none'],
  ['listeners:\n  - 1', '2:5: expected options of listeners[0], one `key: value` a line, got 1'],
  ['listeners:\n  - host: a', '2:5: listeners[0]: expected port or socket_path, got neither'],
  ['listeners:\n  - port: 1\n  - prot: 1', '3:5: listeners[1].prot: unknown key (did you mean port?)'],
  ['listeners:\n  - port: 1\n    max_sessions: 1', '3:5: listeners[0].max_sessions: cannot be set for a single listener'],
  ['listeners:\n  - port: x', '2:11: listeners[0].port: expected a whole number from 0 to 65535, got "x"'],
  ['listeners:\n  - name: a b', '2:11: listeners[0].name: expected a name of letters, digits and any of . : _ -, got "a b"'],
  ['listener:\n  - port: 1', '1:1: unknown key listener (did you mean listeners?)'],
  ['name: a', '1:1: unknown key name'],
  ['t_wait: 60', '1:1: t_wait: no longer an option, fixed at 300; remove it'],
  ['t_wait:', '1:1: t_wait: no longer an option, fixed at 300; remove it'],
  ['sn_listeners:\n  - port: 1\n    n_adv: 4', '3:5: sn_listeners[0].n_adv: no longer an option, fixed at 3; remove it'],
  ['sn_listeners:\n  - port: 1\n    t_wait: 300', '3:5: sn_listeners[0].t_wait: unknown key'],
  ['listeners:\n  - port: 1\n    n_adv: 3', '3:5: listeners[0].n_adv: unknown key'],
])('%j', (text, error) => {
  expect(() => parse(text)).toThrow(new StartError(`roost.yaml:${error}`))
})

describe('files', () => {
  let dir = ''
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'roost-config-'))
    mkdirSync(join(dir, 'etc'))
    writeFileSync(join(dir, 'etc/roost.yaml'), 'port: 2883\ndata_dir: state\npredefined_topics: topics.yaml\n')
    writeFileSync(join(dir, 'etc/topics.yaml'), 'clients:\n  "*":\n    1: a/b\n')
    writeFileSync(join(dir, 'topics.json'), '{"clients": {"s": {"65535": "a"}}}')
    writeFileSync(join(dir, 'latin1.yaml'), Buffer.from('host: caf\xe9', 'latin1'))
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  const flags = (given_: Record<string, unknown>): Layer =>
    new Map(
      options.filter(({ key }) => key in given_).map((option) => [option.key, given(option, given_[option.key], option.flag)]),
    )

  test('paths of the file are relative to it, paths of flags and defaults to the working directory', () => {
    const config = loadConfig(flags({ config: 'etc/roost.yaml' }), dir)
    expect(config).toMatchObject({ port: 2883, dataDir: join(dir, 'etc/state') })
    expect(config.predefinedTopics).toEqual([{ pattern: '*', topics: new Map([[1, 'a/b']]) }])
    expect(loadConfig(flags({ config: 'etc/roost.yaml', data_dir: 'here' }), dir).dataDir).toBe(join(dir, 'here'))
    expect(loadConfig(flags({}), dir)).toMatchObject({ dataDir: join(dir, 'roost-data'), predefinedTopics: [] })
  })

  test.each([
    [{ config: 'nope.yaml' }, '--config: cannot read nope.yaml: no such file or directory'],
    [{ config: 'etc' }, '--config: cannot read etc: illegal operation on a directory'],
    [{ config: 'latin1.yaml' }, '--config: cannot read latin1.yaml: not UTF-8 text'],
    [{ predefined_topics: 'nope' }, '--predefined-topics: cannot read nope: no such file or directory'],
    [{ predefined_topics: 'topics.json' }, 'topics.json:1:20: expected a topic id from 1 to 65534, got 65535'],
  ])('%j', (given_, error) => {
    expect(() => loadConfig(flags(given_), dir)).toThrow(new StartError(error))
  })

  test('the files of a listener are beside the configuration, and there', () => {
    writeFileSync(join(dir, 'etc/pw'), '')
    writeFileSync(
      join(dir, 'etc/a.yaml'),
      'listeners:\n  - port: 1\n    password_file: pw\n    jwt_jwks: https://x.example/keys\n',
    )
    expect(loadConfig(flags({ config: 'etc/a.yaml' }), dir).listeners).toMatchObject([
      { passwordFile: join(dir, 'etc/pw'), jwtJwks: 'https://x.example/keys', origin: 'etc/a.yaml:2:5: listeners[0]' },
    ])
    writeFileSync(join(dir, 'etc/b.yaml'), 'listeners:\n  - port: 1\n    password_file: gone\n')
    const error = 'etc/b.yaml:3:20: listeners[0].password_file: cannot read etc/gone: no such file or directory'
    expect(() => loadConfig(flags({ config: 'etc/b.yaml' }), dir)).toThrow(new StartError(error))
    const folder = '--acl-file: cannot read etc: it is a directory'
    expect(() => loadConfig(flags({ acl_file: 'etc' }), dir)).toThrow(new StartError(folder))
  })

  test('a file that the file names', () => {
    writeFileSync(join(dir, 'bad.yaml'), 'memory: true\npredefined_topics: gone/t.yaml')
    const error = 'bad.yaml:2:20: predefined_topics: cannot read gone/t.yaml: no such file or directory'
    expect(() => loadConfig(flags({ config: 'bad.yaml' }), dir)).toThrow(new StartError(error))
  })
})

test('sn_listeners: keys without sn_, and errors that name the place', () => {
  const parse = (text: string) => parseConfigFile(new YamlFile('f.yaml', text))
  const [lan, radio] = parse(
    'sn_listeners:\n  - port: 1884\n    host: 127.0.0.1\n  - name: radio\n    device: /dev/ttyUSB0\n    max_frame: 100\n    t_retry: 30',
  ).snListeners
  expect(Array.from(lan!.own, ([key, { value }]) => `${key} ${value}`)).toEqual(['sn_port 1884', 'sn_host 127.0.0.1'])
  expect(radio).toMatchObject({ origin: 'f.yaml:4:5: sn_listeners[1]', name: { value: 'radio' } })
  expect(radio!.own.get('sn_max_frame')).toEqual({ value: 100, origin: 'f.yaml:6:16: sn_listeners[1].max_frame' })
  expect(() => parse('sn_listeners:\n  - host: ::1')).toThrow('f.yaml:2:5: sn_listeners[0]: expected port or device, got neither')
  expect(() => parse('sn_listeners:\n  - port: 1\n    t_rety: 1')).toThrow(
    'f.yaml:3:5: sn_listeners[0].t_rety: unknown key (did you mean t_retry?)',
  )
})

describe('filters', () => {
  test('by client, user and topic', () => {
    const { filters } = parse(
      'filters:\n  - {client: d-*, user: 7, topic: a/#, filter: "json.a > 1"}\n  - topic: b\n    filter: "true"\n',
    )
    expect(filters).toEqual([
      { client: 'd-*', user: '7', topic: 'a/#', filter: 'json.a > 1', origin: 'roost.yaml:2:48: filters[0].filter' },
      { topic: 'b', filter: 'true', origin: 'roost.yaml:4:13: filters[1].filter' },
    ])
  })

  test.each([
    ['filters: 1', 'roost.yaml:1:10: expected a list of filters, got 1'],
    ['filters:\n  - {client: a}', 'roost.yaml:2:5: filters[0]: has no filter'],
    ['filters:\n  - {filter: "true"}', 'roost.yaml:2:5: filters[0]: needs client, user or topic'],
    ['filters:\n  - {clint: a, filter: "true"}', 'roost.yaml:2:6: filters[0].clint: unknown key (did you mean client?)'],
    ['filters:\n  - {client: a, filter: true}', 'roost.yaml:2:25: filters[0].filter: expected a condition in CEL, got true'],
    [
      'filters:\n  - {client: [a], filter: "true"}',
      'roost.yaml:2:14: filters[0].client: expected a client id or a pattern such as display-*, got a list',
    ],
  ])('%j', (text, error) => expect(() => parse(text)).toThrow(new Error(error)))
})
