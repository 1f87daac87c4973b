import { expect, test } from 'vitest'
import { parseTypes } from '../../../src/config/io/content-types.ts'
import { YamlFile } from '../../../src/config/io/yaml-file.ts'
import { Contents } from '../../../src/filters/contents.ts'
import { CelLanguage } from '../../../src/filters/io/cel.ts'
import { TopicTypes } from '../../../src/filters/topic-types.ts'
import { Publish } from '../../../src/mqtt/publish.ts'

const TYPES = `
temperature:
  topics: +/temp
  layout:
    - { name: celsius, type: int16, scale: 0.01 }
    - { name: state, type: uint8, values: { 0: ok, 1: fault } }
counter:
  topics: +/count
  layout: [{ name: total, type: uint64 }]
json:
  topics: +/json
`

const file = new YamlFile('t.yaml', TYPES)
const language = new CelLanguage(new Contents(new TopicTypes(parseTypes(file, file.root))))

function evaluated(text: string, topic: string, ...payload: number[]): boolean | string {
  const compiled = language.compile(text)
  if ('error' in compiled) throw new Error(compiled.error)
  return compiled.test(language.factsOf(Publish.of(topic, Uint8Array.from(payload), 0, false), 0), Number.POSITIVE_INFINITY)
}

const HOT = [0x0a, 0x8c, 1]

test.each([
  ['type == "temperature"', 'a/temp', HOT, true],
  ['type == "temperature"', 'a/json', HOT, false],
  ['type == ""', 'other', HOT, true],
  ['json.celsius > 25', 'a/temp', HOT, true],
  ['json.celsius > 27.5', 'a/temp', HOT, false],
  ['json.state == "fault" && type == "temperature"', 'a/temp', HOT, true],
  ['json.celsius > 25', 'a/temp', [1], expect.stringContaining('the payload ')],
  ['json.total == 72057594037927936', 'a/count', [1, 0, 0, 0, 0, 0, 0, 0], true],
  ['json == 12', 'a/json', [0x31, 0x32], true],
  ['json == 12', 'a/json', HOT, 'the payload is not valid JSON'],
] as const)('%s of %s %j: %s', (text, topic, payload, expected) => {
  expect(evaluated(text, topic, ...payload)).toEqual(expected)
})
