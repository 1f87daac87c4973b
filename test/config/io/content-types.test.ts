import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StartError } from '../../../src/base/start-error.ts'
import { loadConfig } from '../../../src/config/io/config-file.ts'
import { parseTypes } from '../../../src/config/io/content-types.ts'
import { YamlFile } from '../../../src/config/io/yaml-file.ts'
import type { TypeDefinition } from '../../../src/filters/topic-types.ts'
import { checkFiles } from '../../../src/process/check-files.ts'

function parse(text: string): readonly TypeDefinition[] {
  const file = new YamlFile('t.yaml', text)
  return parseTypes(file, file.root)
}

describe('types', () => {
  test('with their defaults', () => {
    expect(
      parse('a: { topics: x }\nb: { topics: [y, "+/z"], content_type: text/plain, schema: {}, invalid: mark }'),
    ).toMatchObject([
      { name: 'a', topics: ['x'], invalid: 'refuse', invalidMqtt3: 'acknowledge' },
      { name: 'b', topics: ['y', '+/z'], contentType: 'text/plain', schema: { value: {} }, invalid: 'mark' },
    ])
    expect(parse('{"a": {"topics": "x", "schema": {"type": "number"}, "invalid_mqtt3": "close"}}')).toMatchObject([
      { schema: { value: { type: 'number' } }, invalidMqtt3: 'close' },
    ])
    expect(parse('')).toEqual([])
  })

  test('with a layout', () => {
    const [type] = parse(`
a:
  topics: x
  byte_order: little
  layout:
    - { name: n, type: uint16, scale: 0.5, offset: -1 }
    - { name: v, type: bits, size: 1, values: { 0: closed, 1: open } }
    - { type: bits, size: 7 }
`)
    expect(type?.layout?.decode(Uint8Array.of(4, 0, 1))).toEqual({ n: 1, v: 'open' })
  })

  test('with a schema of several lines, whose parts have their places', () => {
    const [type] = parse('a:\n  topics: x\n  schema:\n    properties:\n      n: { type: number }\n')
    expect(type?.schema?.placeOf('/properties/n/type')).toBe('t.yaml:5:18: types.a.schema/properties/n/type')
    expect(type?.schema?.placeOf('')).toBe('t.yaml:4:5: types.a.schema')
  })
})

test.each([
  ['[]', 't.yaml:1:1: expected types, each with a map of its keys, got a list'],
  ['a b: {}', 't.yaml:1:1: types: expected a name of up to 64 letters, digits, _, . and -, got "a b"'],
  ['a: {}', 't.yaml:1:1: types.a: needs topics'],
  ['a: x', 't.yaml:1:4: expected keys of types.a, one `key: value` a line, got "x"'],
  ['a: {topics: []}', 't.yaml:1:13: types.a.topics: expected 1 to 1000 topic filters, got 0'],
  ['a: {topics: a/#/b}', 't.yaml:1:13: types.a.topics: "a/#/b": # is not the last level'],
  ['a: {topics: $share/g/a}', 't.yaml:1:13: types.a.topics: "$share/g/a": a shared subscription is no topic filter here'],
  ['a: {topics: x, topic: y}', 't.yaml:1:16: types.a.topic: unknown key (did you mean topics?)'],
  ['a: {topics: x, topics: y}', 't.yaml:1:16: Map keys must be unique'],
  [
    'a: {topics: x, content_type: 7}',
    't.yaml:1:30: types.a.content_type: expected a content type such as application/json, got 7',
  ],
  ['a: {topics: x, invalid: drop, schema: {}}', 't.yaml:1:25: types.a.invalid: expected one of refuse, mark, got "drop"'],
  ['a: {topics: x, invalid: refuse}', 't.yaml:1:25: types.a.invalid: needs schema or layout too, because everything fits'],
  ['a: {topics: x, byte_order: big, schema: {}}', 't.yaml:1:28: types.a.byte_order: needs layout too'],
  [
    'a: {topics: x, schema: {}, invalid: mark, invalid_mqtt3: close}',
    't.yaml:1:58: types.a.invalid_mqtt3: has no effect, because nothing is refused',
  ],
  ['a: {topics: x, schema: 7}', 't.yaml:1:24: types.a.schema: expected a JSON Schema, got 7'],
  ['a: {topics: x, schema: [1]}', 't.yaml:1:24: types.a.schema: expected a JSON Schema, got a list'],
  ['a: {topics: x, schema: ""}', 't.yaml:1:24: types.a.schema: expected the path of a file or a schema, got ""'],
  ['a: {topics: x, schema: {b: 1, b: 2}}', 't.yaml:1:31: Map keys must be unique'],
  ['a: {topics: x, schema: no.json}', /^t\.yaml:1:24: types\.a\.schema: cannot read .*no\.json: no such file or directory$/],
  ['a: {topics: x, layout: {}}', 't.yaml:1:24: expected a list of fields as types.a.layout, got a map'],
  ['a: {topics: x, layout: []}', 't.yaml:1:24: types.a.layout: has no field with a name'],
  ['a: {topics: x, layout: [{name: n}]}', /^t\.yaml:1:25: types\.a\.layout\[0\]: needs a type: uint8, .*, skip$/],
  [
    'a: {topics: x, layout: [{name: n, type: uint9}]}',
    /^t\.yaml:1:41: .*expected one of uint8.*, got "uint9" \(did you mean uint8\?\)$/,
  ],
  [
    'a: {topics: x, layout: [{name: n, type: uint8, scal: 1}]}',
    't.yaml:1:48: types.a.layout[0].scal: unknown key (did you mean scale?)',
  ],
  [
    'a: {topics: x, layout: [{name: n, type: uint8, scale: x}]}',
    't.yaml:1:55: types.a.layout[0].scale: expected a number, got "x"',
  ],
  [
    'a: {topics: x, layout: [{name: n, type: bits, size: 1.5}]}',
    't.yaml:1:53: types.a.layout[0].size: expected a whole number, got 1.5',
  ],
  ['a: {topics: x, layout: [{name: 1, type: uint8}]}', 't.yaml:1:32: types.a.layout[0].name: expected a name, got 1'],
  [
    'a: {topics: x, layout: [{name: n, type: uint8}, {name: n, type: int8}]}',
    't.yaml:1:49: types.a.layout[1]: there is a field n already',
  ],
  [
    'a: {topics: x, layout: [{name: n, type: uint8, values: {on: 1}}]}',
    't.yaml:1:57: types.a.layout[0].values: expected a whole number, got "on"',
  ],
  [
    'a: {topics: x, layout: [{name: n, type: uint8, values: {1: 1}}]}',
    't.yaml:1:60: types.a.layout[0].values.1: expected a word, got 1',
  ],
  [
    'a: {topics: x, layout: [{name: n, type: uint8, values: {1: x, 01: y}}]}',
    't.yaml:1:63: types.a.layout[0].values: 01 is there already',
  ],
])('%j', (text, error) => {
  expect(() => parse(text)).toThrow(typeof error === 'string' ? new StartError(error) : error)
})

describe('a configuration file', () => {
  let dir: string
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'roost-types-'))
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  const load = (text: string) => {
    writeFileSync(join(dir, 'roost.yaml'), text)
    return loadConfig(new Map([['config', { value: join(dir, 'roost.yaml'), origin: '--config' }]]), '/')
  }

  test('names schemas beside itself, and is checked with them', async () => {
    writeFileSync(join(dir, 'a.json'), '{\n  "type": "number"\n}\n')
    const config = load('memory: true\ntypes:\n  a: { topics: x, schema: a.json }\n')
    expect(config.types).toMatchObject([{ name: 'a', schema: { value: { type: 'number' } } }])
    await expect(checkFiles(config)).resolves.toBeDefined()
  })

  test('an error in such a schema has its file, line and column', async () => {
    writeFileSync(join(dir, 'a.json'), '{\n  "type": "numer"\n}\n')
    const config = load('memory: true\ntypes:\n  a: { topics: x, schema: a.json }\n')
    await expect(checkFiles(config)).rejects.toThrow(
      `${dir}/a.json:2:11: /type: must be equal to one of the allowed values: array`,
    )
    writeFileSync(join(dir, 'a.json'), '{ "type": ')
    expect(() => load('types:\n  a: { topics: x, schema: a.json }\n')).toThrow(`${dir}/a.json:1:11: `)
  })
})
