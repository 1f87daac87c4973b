import { describe, expect, test } from 'vitest'
import { TOO_COSTLY } from '../../../src/broker/conditions.ts'
import { type Layout, LayoutBuilder } from '../../../src/filters/binary-layout.ts'
import { DEPTH_MAX, JSON_VALUES_MAX, LENGTH_MAX, PROPERTIES_MAX, STEPS_MAX } from '../../../src/filters/bounds.ts'
import { Contents } from '../../../src/filters/contents.ts'
import { CelLanguage } from '../../../src/filters/io/cel.ts'
import { JSON_BYTES_MAX, JSON_DEPTH_MAX } from '../../../src/filters/json-text.ts'
import { TopicTypes } from '../../../src/filters/topic-types.ts'
import type { Properties } from '../../../src/mqtt/properties.ts'
import { Publish } from '../../../src/mqtt/publish.ts'
import { bytes } from '../../broker/harness.ts'

const fields = new LayoutBuilder()
fields.add({ kind: 'int16', name: 'celsius', scale: 0.5 })
fields.add({ kind: 'uint64', name: 'count' })
const policy = { invalid: 'refuse', invalidMqtt3: 'acknowledge' } as const
const types = new TopicTypes([
  { name: 'temperature', topics: ['+/+/temp'], ...policy },
  { name: 'probe', topics: ['probe'], layout: fields.finish('big') as Layout, ...policy },
])
const language = new CelLanguage(new Contents(types))
const WALL = Date.parse('2026-12-01T07:30:00Z')

const message = (payload: string | Uint8Array, properties: Properties = {}, topic = 'site/kitchen/temp'): Publish =>
  Publish.of(topic, typeof payload === 'string' ? bytes(payload) : payload, 1, false, 0, properties)

function evaluated(text: string, on: Publish): boolean | string {
  const compiled = language.compile(text)
  if ('error' in compiled) throw new Error(compiled.error)
  return compiled.test(language.factsOf(on, WALL), Number.POSITIVE_INFINITY)
}

const errorOf = (text: string): string => {
  const compiled = language.compile(text)
  return 'error' in compiled ? compiled.error : 'valid'
}

const READING = message(
  JSON.stringify({
    temperature: 27.5,
    humidity: 61,
    ok: true,
    none: null,
    name: 'Küche',
    tags: ['a', 'b', 'c'],
    list: [{ v: 1 }, { v: 2 }],
    update: { state: 'idle' },
    'odd key': 1,
    __proto__x: 1,
  }),
  {
    contentType: 'application/json',
    payloadFormatIndicator: 1,
    userProperties: [
      ['room', 'kitchen'],
      ['tag', 'x'],
      ['tag', 'y'],
    ],
  },
)

describe('what is true', () => {
  test.each([
    'json.temperature > 25',
    'json.temperature >= 27.5 && json.humidity < 70',
    'json.temperature * 9.0 / 5.0 + 32.0 > 81.0',
    'int(json.humidity) % 2 == 1',
    'json.ok',
    'json.none == null',
    'json.name == "Küche" && json.name.startsWith("K") && size(json.name) == 5',
    'json.name.matches("^K.che$")',
    '!has(json.nosuch) && has(json.update.state)',
    'json["odd key"] == 1',
    'has(json.nosuch) && json.nosuch > 1 || true',
    'json.humidity in [60, 61]',
    '"b" in json.tags',
    '"temperature" in json',
    'json.tags[1] == "b"',
    'json.tags == ["a", "b", "c"]',
    'json.list.exists(x, x.v == 2)',
    'json.list.all(x, x.v > 0)',
    'json.list.exists_one(x, x.v > 1)',
    'json.list.map(x, x.v) == [1, 2]',
    'json.list.map(x, x.v > 1, x.v) == [2]',
    'size(json.list.filter(x, x.v > 1)) == 1',
    'json.list.filter(x, x.v > 1).exists(y, y.v == 2)',
    'json.update.state == "idle" ? json.ok : false',
    'topic == "site/kitchen/temp" && levels[1] == "kitchen" && size(levels) == 3',
    'size(payload) > 100 && string(payload).contains("27.5")',
    'contentType == "application/json" && payloadFormat == 1',
    'properties.room == "kitchen" && properties.tag == ["x", "y"] && !("x" in properties)',
    'qos == 1 && !retain && clientId == ""',
    'time > timestamp("2026-12-01T00:00:00Z") && time.getHours() == 7 && time.getDayOfWeek() == 2',
    'time.getHours("Europe/Berlin") == 8',
    'type == "temperature"',
    'type(json.name) == string',
    '"a // b" == "a // b" // a comment',
  ])('%s', (text) => expect(evaluated(text.replace(/ \/\/ a comment$/, ''), READING)).toBe(true))
})

test('what a binary payload says by the layout of its type', () => {
  const probe = message(Buffer.from('003c0020000000000001', 'hex'), {}, 'probe')
  expect(evaluated('type == "probe" && json.celsius == 30 && json.count == 9007199254740993', probe)).toBe(true)
  expect(evaluated('json.celsius > 1', message(Buffer.from('00', 'hex'), {}, 'probe'))).toMatch(/^the payload /)
})

describe('what fails on a message is false, with the reason', () => {
  test.each([
    ['json.nosuch > 1', '{"a":1}', 'field not found: nosuch'],
    ['json.a > 1', 'not json', 'the payload is not valid JSON'],
    ['json.a > 1', '', 'the payload is not valid JSON'],
    ['json.a > 1', '{"a":"x"}', '> cannot be applied to these values'],
    ['json.a', '{"a":1}', 'the result is neither true nor false'],
    ['json.a.all(x, x == "b")', '{"a":{"b":1}}', 'macros are for lists only'],
    ['json.a + 1 > 2', '{"a":1}', '+ cannot be applied to these values'],
    ['json.a > 1', `${'['.repeat(JSON_DEPTH_MAX + 1)}${']'.repeat(JSON_DEPTH_MAX + 1)}`, 'the payload has more than'],
    ['json.a > 1', JSON.stringify(Array(JSON_VALUES_MAX).fill(0)), 'the payload has more than'],
    ['json.a > 1', `"${'x'.repeat(JSON_BYTES_MAX)}"`, 'the payload has more than'],
    ['json.s.matches("x")', JSON.stringify({ s: 'y'.repeat(20_000) }), 'evaluating it would take too long'],
    ['json.l.all(x, x == 1 || x == 2)', JSON.stringify({ l: Array(3000).fill(1) }), 'evaluating it would take too long'],
  ])('%s', (text, payload, why) => expect(evaluated(text, message(payload))).toContain(why))

  test('a payload that is not UTF-8 is no JSON, and one with U+0000 neither', () => {
    expect(evaluated('json == "a"', message(Uint8Array.of(0x22, 0xff, 0x22)))).toBe('the payload is not valid JSON')
    expect(evaluated('json == "a"', message(Uint8Array.of(0x22, 0, 0x22)))).toBe('the payload is not valid JSON')
  })

  test('what has the name of a method of JavaScript is only a name', () => {
    expect(evaluated('has(json.constructor) || has(json.toString)', message('{}'))).toBe(false)
    expect(evaluated('json.__proto__ == 1', message('{"__proto__":1}'))).toBe(true)
    expect(evaluated('"constructor" in properties', READING)).toBe(false)
  })
})

describe('what is refused, with the place', () => {
  test.each([
    ['', 'character 1: it is empty'],
    ['json.a >', 'character 8: found > but expecting end of input'],
    ['jsn.a > 1', 'character 1: there is no variable jsn (did you mean json?)'],
    ['true && x', 'character 9: there is no variable x'],
    ['foo(1)', 'character 1: there is no function foo'],
    ['json.a.foo()', 'character 7: there is no function foo'],
    ['1', 'character 1: a condition must be true or false'],
    ['json.a + 1', 'character 8: a condition must be true or false'],
    ['[true]', 'character 1: a condition must be true or false'],
    ['google.protobuf.Timestamp{} == time', 'character 1: there is no type google.protobuf.Timestamp'],
    [
      'json.a.all(x, json.b.exists(y, y == x))',
      'character 21: all, exists, exists_one, map and filter cannot be inside each other',
    ],
    ['json.a.matches(json.b)', 'character 7: the regular expression of matches has to be a string in quotes'],
    ['json.a.matches("(")', 'character 9: a regular expression is not valid: error parsing regexp: missing closing ): `(`'],
    ['json.a.matches("\\\\pL")', 'character 16: a regular expression cannot have \\p'],
    ['json.a.matches("a{50}b{51}")', 'character 16: repetitions of a regular expression are at most 100 in all'],
    ['json.a.matches("(a{30}){20}")', 'character 9: a regular expression is too large'],
    [`json.a == "${'x'.repeat(LENGTH_MAX)}"`, `character ${LENGTH_MAX + 1}: it is longer than ${LENGTH_MAX} characters`],
    [`${'('.repeat(DEPTH_MAX + 1)}true${')'.repeat(DEPTH_MAX + 1)}`, 'character 17: more than 16 brackets inside each other'],
    ['true?true:'.repeat(17), 'character 165: more than 16 times ?'],
    [`json${'.a'.repeat(16)}`, 'character 1: more than 16 levels of expressions inside each other'],
    ['@list(json.a, 1) == 1', 'character 1: found @ but expecting'],
  ])('%s', (text, error) => expect(errorOf(text).slice(0, error.length)).toBe(error))

  test('but not brackets in strings', () =>
    expect(errorOf(`topic == "${'('.repeat(40)}" || topic == '''${'['.repeat(20)}'''`)).toBe('valid'))
})

test('user properties of the same name are collected in linear time, and only so many of them', () => {
  const many = (count: number): Publish =>
    message('{}', { userProperties: Array.from({ length: count }, () => ['a', 'b'] as const) })
  expect(evaluated('size(properties.a) == 1024', many(PROPERTIES_MAX))).toBe(true)
  expect(evaluated('"a" in properties', many(PROPERTIES_MAX + 1))).toBe('the message has more than 1024 user properties')
  const facts = language.factsOf(many(PROPERTIES_MAX), WALL)
  expect(facts.properties?.get('a')).toHaveLength(PROPERTIES_MAX)
  expect(facts.spent).toBe(PROPERTIES_MAX)
})

test('an evaluation takes no more steps than it may', () => {
  const compiled = language.compile('json.l.all(x, x > 0)')
  if ('error' in compiled) throw new Error(compiled.error)
  const facts = language.factsOf(message(JSON.stringify({ l: Array(500).fill(1) })), WALL)
  expect(compiled.test(facts, 4000)).toBe(true)
  const { spent } = facts
  expect(compiled.test(facts, 1000)).toBe(TOO_COSTLY)
  expect(compiled.test(facts, 2)).toBe(TOO_COSTLY)
  expect(facts.spent - spent).toBe(1002)
})

/** Milliseconds that a machine under load may take for what takes 5 ms. */
const GENEROUS_MS = 250

describe('the longest of what is accepted', () => {
  const fill = (unit: string, operator: string, before = '', after = ''): string => {
    let text = before + unit
    while (text.length + operator.length + unit.length + after.length <= LENGTH_MAX) text += operator + unit
    return text + after
  }
  const payloads = [
    { l: Array.from({ length: 4000 }, (_, i) => i), s: 'a'.repeat(30_000) },
    { l: Array.from({ length: 2000 }, (_, i) => ({ v: i })), s: 'a'.repeat(30_000) },
    { l: Array.from({ length: 60 }, () => `b${'a'.repeat(900)}`), s: 'a'.repeat(500) },
  ].map((value) => message(JSON.stringify(value)))

  test.each([
    fill('x.v.w>0', '||', 'json.l.exists(x,', ')'),
    'json.l.all(x, x.v.w > 0)',
    'json.l.all(x, x.startsWith("b"))',
    'json.l.exists(x, x in json.l)',
    'json.l.map(x, x) == json.l',
    fill('json==json', '&&'),
    fill('json in json.l', '||'),
    fill('json.s.contains("aaaaaab")', '||'),
    fill('string(payload)==json.s', '||'),
    fill('size(json.s)>1', '&&'),
    fill('json.s.matches("[ab]*a[ab]{40}$")', '||'),
    fill('json.s.matches("(a|aa|aaa)*b$")', '||'),
    fill('json.q.r==-1', '||'),
    fill('time.getHours("Europe/Berlin")>30', '||'),
    fill('duration("1h")>duration("2h")', '||'),
    fill('int(json.s)>0', '||'),
  ])('%s', (text) => {
    for (const on of payloads) {
      const compiled = language.compile(text)
      if ('error' in compiled) throw new Error(compiled.error)
      const facts = language.factsOf(on, WALL)
      compiled.test(facts, Number.POSITIVE_INFINITY)
      const began = performance.now()
      compiled.test(facts, Number.POSITIVE_INFINITY)
      expect(performance.now() - began).toBeLessThan(GENEROUS_MS)
      // Twice: those of the functions, and its own nodes once each; the JSON was charged when it was parsed.
      expect(facts.spent).toBeLessThan(2 * (STEPS_MAX + LENGTH_MAX) + JSON_BYTES_MAX / 8)
    }
  })

  test.each([
    `${'{a:'.repeat(16)}b+`,
    `${'[a,'.repeat(16)}${'a+'.repeat(450)}`,
    `${'!(-('.repeat(8)}a`,
    fill('json==qos', '&&'),
    fill('{"a":[qos]}', ',', '[', '] == []'),
    `${'('.repeat(15)}${'{a:b}+'.repeat(150)}c`,
  ])('is parsed, or refused, before long: %s', (text) => {
    const began = performance.now()
    language.compile(text)
    expect(performance.now() - began).toBeLessThan(GENEROUS_MS)
  })
})

test('a regular expression keeps no more than its states for a few thousand characters', () => {
  const compiled = language.compile('json.s.matches("[ab]*a[ab]{14}$")')
  if ('error' in compiled) throw new Error(compiled.error)
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 2000; i++) {
    const s = Array.from({ length: 100 }, (_, at) => ((i * 7919 + at * 104_729) % 97 < 48 ? 'a' : 'b')).join('')
    compiled.test(language.factsOf(message(JSON.stringify({ s })), WALL), Number.POSITIVE_INFINITY)
  }
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024)
})
