import { describe, expect, test } from 'vitest'
import { JSON_BYTES_MAX, JSON_DEPTH_MAX, parseJson } from '../../src/filters/json-text.ts'

const of = (text: string): unknown => parseJson(Buffer.from(text))

describe('parseJson', () => {
  test.each([['{"a":[1,null,true,"é"]}'], ['25.5'], [' "text" '], ['null']])('%s', (text) => {
    expect(of(text)).toEqual({ value: JSON.parse(text) })
  })

  test.each([[''], ['{'], ['{"a":1}x'], ['NaN'], ["{'a':1}"], ['\ufeff1'], ['1\0']])('%j is none', (text) => {
    expect(of(text)).toEqual({ problem: 'is not valid JSON' })
  })

  test('nor are bytes that are not UTF-8', () => {
    expect(parseJson(Uint8Array.of(0x22, 0xff, 0x22))).toEqual({ problem: 'is not valid JSON' })
    // A surrogate in three bytes.
    expect(parseJson(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22))).toEqual({ problem: 'is not valid JSON' })
  })

  test('up to a size, and no further', () => {
    const text = `"${'x'.repeat(JSON_BYTES_MAX - 2)}"`
    expect(of(text)).toHaveProperty('value')
    expect(of(`${text} `)).toHaveProperty('problem')
  })

  test('up to a depth, and no further', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
    expect(of(nested(JSON_DEPTH_MAX))).toHaveProperty('value')
    expect(of(nested(JSON_DEPTH_MAX + 1))).toHaveProperty('problem')
    expect(of(`${'{"a":'.repeat(JSON_DEPTH_MAX + 1)}1${'}'.repeat(JSON_DEPTH_MAX + 1)}`)).toHaveProperty('problem')
  })

  test('brackets beside each other, and in text, are no depth', () => {
    expect(of(`[${'[],'.repeat(100)}[]]`)).toHaveProperty('value')
    expect(of(`["${'['.repeat(100)}\\"${'{'.repeat(100)}"]`)).toHaveProperty('value')
    expect(of(`["\\\\",${'['.repeat(JSON_DEPTH_MAX)}${']'.repeat(JSON_DEPTH_MAX)}]`)).toHaveProperty('problem')
  })
})
