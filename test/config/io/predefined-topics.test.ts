import { expect, test } from 'vitest'
import { StartError } from '../../../src/base/start-error.ts'
import { parsePredefinedTopics } from '../../../src/config/io/predefined-topics.ts'
import { YamlFile } from '../../../src/config/io/yaml-file.ts'

const parse = (text: string) => parsePredefinedTopics(new YamlFile('t.yaml', text))

test('YAML and JSON, in the order of the file', () => {
  const expected = [
    {
      pattern: '*',
      topics: new Map([
        [2, 'a/b'],
        [1, '$c'],
      ]),
    },
    { pattern: '0017', topics: new Map([[65_534, 'ä']]) },
    { pattern: 'constructor', topics: new Map() },
  ]
  expect(parse('clients:\n  "*": {2: a/b, 1: $c}\n  0017:\n    65534: ä\n  constructor: {}\n')).toEqual(expected)
  expect(parse('{"clients": {"*": {"2": "a/b", "1": "$c"}, "0017": {"65534": "ä"}, "constructor": {}}}')).toEqual(expected)
  expect(parse('')).toEqual([])
})

test.each([
  ['client: {}', 't.yaml:1:1: unknown key client (did you mean clients?)'],
  ['clients:', 't.yaml:1:9: expected client ids or patterns, each with a map of topic ids, got nothing'],
  ['clients: [a]', 't.yaml:1:10: expected client ids or patterns, each with a map of topic ids, got a list'],
  ['clients:\n  a: topic', 't.yaml:2:6: expected topic ids of a, one `id: topic` a line, got "topic"'],
  ['clients:\n  "": {}', 't.yaml:2:3: expected a client id or a pattern, got ""'],
  ['clients: {a: {0: t}}', 't.yaml:1:15: expected a topic id from 1 to 65534, got 0'],
  ['clients: {a: {65535: t}}', 't.yaml:1:15: expected a topic id from 1 to 65534, got 65535'],
  ['clients: {a: {x: t}}', 't.yaml:1:15: expected a topic id from 1 to 65534, got "x"'],
  ['clients: {a: {1.5: t}}', 't.yaml:1:15: expected a topic id from 1 to 65534, got "1.5"'],
  ['clients: {a: {1: t, "01": u}}', 't.yaml:1:21: topic id 1 of a is defined twice'],
  ['clients: {a: {1: }}', 't.yaml:1:18: topic 1: expected a topic name without + and #, got nothing'],
  ['clients: {a: {1: 7}}', 't.yaml:1:18: topic 1: expected a topic name without + and #, got 7'],
  ['clients: {a: {1: ""}}', 't.yaml:1:18: topic 1: expected a topic name without + and #, got ""'],
  ['clients: {a: {1: a/+}}', 't.yaml:1:18: topic 1: expected a topic name without + and #, got "a/+"'],
  ['clients: {a: {1: "a/#"}}', 't.yaml:1:18: topic 1: expected a topic name without + and #, got "a/#"'],
  ['clients: {a: {1: "a\\0"}}', 't.yaml:1:18: topic 1: expected a topic name without + and #, got "a\\u0000"'],
  ['clients: {a: {1: "\\ud800"}}', 't.yaml:1:18: topic 1: expected a topic name without + and #, got "\\ud800"'],
  [
    `clients: {a: {1: ${'x'.repeat(65_536)}}}`,
    `t.yaml:1:18: topic 1: expected a topic name without + and #, got "${'x'.repeat(59)}...`,
  ],
])('%.80j', (text, error) => {
  expect(() => parse(text)).toThrow(new StartError(error))
})
