import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientIdOf, levelOf, objectIdOf } from '../../src/presence/names.ts'

describe('a client id as a level', () => {
  test.each([
    ['sensor-7', 'sensor-7'],
    ['a/b', 'a%2Fb'],
    ['a+b', 'a%2Bb'],
    ['#', '%23'],
    ['100%', '100%25'],
    ['%2F', '%252F'],
    ['a\u0000\u001f\u007f\u0085', 'a%00%1F%7F%C2%85'],
    ['grün 🌱', 'grün 🌱'],
  ])('%s is %s', (clientId, level) => {
    expect(levelOf(clientId)).toBe(level)
    expect(clientIdOf(level)).toBe(clientId)
  })

  test('has no separator, wildcard or control character, and leads back to it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (clientId) => {
        const level = levelOf(clientId)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is about.
        expect(level).not.toMatch(/[/+#\u0000-\u001f\u007f-\u009f]/)
        expect(clientIdOf(level)).toBe(clientId)
      }),
    )
  })

  test('there is one spelling', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[%0-9a-fA-F/+#]{1,8}$/), (level) => {
        const clientId = clientIdOf(level)
        if (clientId !== undefined) expect(levelOf(clientId)).toBe(level)
      }),
    )
  })
})

describe('an object id', () => {
  test.each([
    ['sensor_7', 'roost_sensor_7_'],
    ['site/7 ü', 'roost_site_7___'],
  ])('of %s begins with %s', (clientId, start) => {
    expect(objectIdOf(clientId)).toMatch(new RegExp(`^${start}[0-9a-f]{8}$`))
  })

  test('consists of what Home Assistant allows, and stays what it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (clientId) => {
        expect(objectIdOf(clientId)).toMatch(/^[a-zA-Z0-9_-]+$/)
      }),
    )
    expect(objectIdOf('a/b')).toBe('roost_a_b_3a8e75c1')
    expect(objectIdOf('a_b')).toBe('roost_a_b_1ba46871')
  })
})
