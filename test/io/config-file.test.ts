import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { options } from '../../src/base/options.ts'
import { given, type Layer } from '../../src/config.ts'
import { loadConfig, parseConfigFile } from '../../src/io/config-file.ts'
import { YamlFile } from '../../src/io/yaml-file.ts'

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
  expect(() => parse(text)).toThrow(new Error(error))
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
    expect(() => loadConfig(flags(given_), dir)).toThrow(new Error(error))
  })

  test('a file that the file names', () => {
    writeFileSync(join(dir, 'bad.yaml'), 'memory: true\npredefined_topics: gone/t.yaml')
    const error = 'bad.yaml:2:20: predefined_topics: cannot read gone/t.yaml: no such file or directory'
    expect(() => loadConfig(flags({ config: 'bad.yaml' }), dir)).toThrow(new Error(error))
  })
})
