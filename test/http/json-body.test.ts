import { describe, expect, test } from 'vitest'
import { parseJsonBody } from '../../src/http/json-body.ts'

const parse = (text: string): unknown => parseJsonBody(Buffer.from(text))

describe('JSON bodies', () => {
  test.each(['{"topic":"a","payload":"[{,\\"\\\\"}', '"\\\\"', ' [1, 2.5, null, true, {"a": []}] ', '\ufeff{}', '{"é":"ü😀"}'])(
    '%s',
    (text) => {
      expect(parse(text)).toEqual({ value: JSON.parse(text.replace('\ufeff', '')) })
    },
  )

  test('a field named __proto__ is a field', () => {
    const { value } = parse('{"__proto__":{"a":1}}') as { value: object }
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })

  test.each(['{"a":', '"', '"\\"', ']', 'x', "{'a':1}", '{"a":1}}', '[1,]'])('%s is none', (text) => {
    expect(parse(text)).toEqual({ error: 'the body is no JSON' })
  })

  test('bytes that are not UTF-8 are not replaced', () => {
    expect(parseJsonBody(Buffer.from('"\xff"', 'latin1'))).toEqual({ error: 'the body is not UTF-8' })
  })

  test.each([
    ['[', ']'],
    ['{"a":', '}'],
  ])('many %s inside each other are refused before they are parsed', (open, close) => {
    const nested = (depth: number): string => `${open.repeat(depth)}1${close.repeat(depth)}`
    expect(parse(nested(32))).toHaveProperty('value')
    expect(parse(nested(33))).toEqual({ error: 'the body is nested more than 32 levels deep' })
    expect(parse(nested(100_000))).toEqual({ error: 'the body is nested more than 32 levels deep' })
    expect(parse(`"${open.repeat(100_000)}"`.replaceAll('"a":', '\\"'))).toHaveProperty('value')
  })

  test('so are many values', () => {
    expect(parse(`[${'1,'.repeat(19_998)}1]`)).toHaveProperty('value')
    expect(parse(`[${'1,'.repeat(20_000)}1]`)).toEqual({ error: 'the body has more than 20000 values' })
    expect(parse(`["${','.repeat(100_000)}"]`)).toHaveProperty('value')
  })
})
