import { describe, expect, test } from 'vitest'
import { StartError } from '../../../src/base/start-error.ts'
import { compileSchemas } from '../../../src/filters/io/json-schema.ts'
import type { TypeDefinition } from '../../../src/filters/topic-types.ts'
import type { Validate } from '../../../src/filters/type-check.ts'

const definition = (value: object, name = 'a'): TypeDefinition => ({
  name,
  topics: ['a'],
  schema: { value: value as Record<string, unknown>, placeOf: (pointer) => `at ${pointer}` },
  invalid: 'refuse',
  invalidMqtt3: 'acknowledge',
})

async function compiled(value: object): Promise<Validate> {
  return (await compileSchemas([definition(value)])).get('a')!
}

describe('what is wrong with a value', () => {
  test.each<[object, unknown, string]>([
    [{ type: 'number' }, 25, ''],
    [{ type: 'number' }, '25', 'must be number'],
    [{ properties: { value: { type: 'number' } } }, { value: 'x' }, '/value must be number'],
    [{ items: { minimum: 0 } }, [1, -1], '/1 must be >= 0'],
    [{ required: ['value'] }, {}, "must have required property 'value'"],
    [{ properties: { a: {} }, additionalProperties: false }, { b: 1 }, 'must NOT have additional properties: b'],
    [{ format: 'date-time' }, '2026-12-01', 'must match format "date-time"'],
    [{ format: 'date-time' }, '2026-12-01T12:00:00Z', ''],
    [{ pattern: '^s' }, 'x', 'must match pattern "^s"'],
    [{ prefixItems: [{ type: 'string' }] }, [1], '/0 must be string'],
    [{ $ref: '#/$defs/n', $defs: { n: { type: 'number' } } }, 'x', 'must be number'],
    [{ type: 'number' }, Number.NaN, 'must be number'],
    // The standard says that numbers only are compared.
    [{ minimum: 3 }, 'x', ''],
  ])('%j of %j: %s', async (schema, value, expected) => {
    expect((await compiled(schema))(value)).toBe(expected)
  })

  test('a bigint of a layout is no integer', async () => {
    expect((await compiled({ type: 'integer' }))(2n ** 60n)).toBe('must be integer')
  })

  test('draft 7, where the schema says so', async () => {
    const draft7 = { $schema: 'http://json-schema.org/draft-07/schema#', items: [{ type: 'string' }], definitions: { a: {} } }
    expect((await compiled(draft7))([1])).toBe('/0 must be string')
  })

  test('values stay as they are: no defaults, nothing coerced or removed', async () => {
    const value = { a: '1', c: 1 }
    const validate = await compiled({ properties: { a: { type: ['string', 'number'] }, b: { default: 1 } } })
    expect(validate(value)).toBe('')
    expect(value).toEqual({ a: '1', c: 1 })
  })

  test('two types may have schemas with the same $id', async () => {
    const $id = 'https://example.org/reading'
    const validators = await compileSchemas([definition({ $id, type: 'number' }), definition({ $id, type: 'string' }, 'b')])
    expect(validators.get('a')!('x')).toBe('must be number')
    expect(validators.get('b')!('x')).toBe('')
  })

  test('a schema may refer to itself', async () => {
    const validate = await compiled({ properties: { value: { type: 'number' }, next: { $ref: '#' } } })
    expect(validate({ next: { next: { value: 1 } } })).toBe('')
    expect(validate({ next: { next: { value: 'x' } } })).toBe('/next/next/value must be number')
  })

  test('but not to that of another type', async () => {
    const others = [
      definition({ $id: 'https://example.org/a', type: 'number' }),
      definition({ $ref: 'https://example.org/a' }, 'b'),
    ]
    await expect(compileSchemas(others)).rejects.toThrow('at /$ref: refers to nothing in this schema')
  })

  test('a schema that refers to itself without end makes every value invalid, and ends nothing', async () => {
    expect((await compiled({ $ref: '#' }))(1)).toBe('cannot be checked, because its schema refers to itself without end')
  })
})

describe('what is wrong with a schema, and where', () => {
  test.each<[object, string]>([
    [
      { type: 'strng' },
      'at /type: must be equal to one of the allowed values: array, boolean, integer, null, number, object, string',
    ],
    [{ properties: { a: { minumum: 3 } } }, 'at /properties/a/minumum: strict mode: unknown keyword: "minumum"'],
    [{ properties: 3 }, 'at /properties: must be object'],
    [{ items: [{}] }, 'at /items: must be object,boolean'],
    [
      { properties: { a: { $ref: 'https://example.org/a' } } },
      'at /properties/a/$ref: refers to nothing in this schema, and no other schema is fetched',
    ],
    [{ $ref: '#/$defs/a' }, 'at /$ref: refers to nothing in this schema, and no other schema is fetched'],
    [
      { $schema: 'http://json-schema.org/draft-04/schema#' },
      'at /$schema: expected https://json-schema.org/draft/2020-12/schema or http://json-schema.org/draft-07/schema#',
    ],
    [{ pattern: '(' }, 'at /pattern: Invalid regular expression: /(/u: Unterminated group'],
    [{ format: 'colour' }, 'at /format: unknown format "colour" ignored in schema at path "#"'],
    [{ properties: { a: { uniqueItems: true } } }, 'at /properties/a/uniqueItems: needs maxItems of at most 1000 beside it'],
    [{ uniqueItems: true, maxItems: 1001 }, 'at /uniqueItems: needs maxItems of at most 1000 beside it'],
    [{ $async: true }, 'at /$async: a payload is checked at once or not at all'],
    [
      { $ref: '#/$defs/a~1b', $defs: { 'a/b': { minumum: 1 } } },
      'at /$defs/a~1b/minumum: strict mode: unknown keyword: "minumum"',
    ],
  ])('%j: %s', async (schema, expected) => {
    await expect(compiled(schema)).rejects.toThrow(new StartError(expected))
  })

  test('a property may have the name of a keyword', async () => {
    expect((await compiled({ properties: { uniqueItems: true, minumum: true } }))({})).toBe('')
  })

  test('lists of up to 1,000 items may have to differ', async () => {
    const validate = await compiled({ uniqueItems: true, maxItems: 1000 })
    expect(validate([1, 2])).toBe('')
    expect(validate([1, 1])).not.toBe('')
    // Looked at first, so that no longer list is compared.
    expect(validate(Array.from({ length: 1001 }, () => 0))).toBe('must NOT have more than 1000 items')
  })
})
