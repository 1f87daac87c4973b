import { describe, expect, test } from 'vitest'
import { schemaErrorWords, typedQuery } from '../../src/http/request-check.ts'
import { flag, text, whole } from '../../src/http/schema.ts'

describe('a query', () => {
  const schemas = { limit: whole('', 1), dry_run: flag(''), q: text('') }
  test.each([
    [
      { limit: '5', q: '5', dry_run: 'true' },
      { limit: 5, q: '5', dry_run: true },
    ],
    // What is none stays text, which the schema refuses.
    [
      { limit: '5x', dry_run: 'yes' },
      { limit: '5x', dry_run: 'yes' },
    ],
    [
      { limit: '', dry_run: '' },
      { limit: '', dry_run: '' },
    ],
    [{ limit: '9'.repeat(30) }, { limit: '9'.repeat(30) }],
    [
      { toString: '1', other: '1' },
      { toString: '1', other: '1' },
    ],
  ])('%j', (query, typed) => expect(typedQuery(query as never, schemas)).toEqual(typed))
})

test.each([
  ['', 'required', { missingProperty: 'topic' }, 'topic: is missing'],
  ['/properties', 'required', { missingProperty: 'x' }, 'properties.x: is missing'],
  ['', 'additionalProperties', { additionalProperty: 'limt' }, 'limt: is not known here (did you mean limit?)'],
  ['/properties', 'additionalProperties', { additionalProperty: 'y' }, 'properties.y: is not known here'],
  ['/limit', 'maximum', {}, 'limit: must be <= 1000'],
  ['/payload_base64', 'pattern', {}, 'payload_base64: is malformed'],
  ['/state', 'enum', { allowedValues: ['a', 'b'] }, 'state: must be one of a, b'],
  ['', 'type', { type: 'object' }, 'the body: must be an object'],
  ['/retain', 'type', { type: 'boolean' }, 'retain: must be a boolean'],
  ['/password', 'minLength', { limit: 1 }, 'password: must not be empty'],
  ['/password', 'maxLength', { limit: 1024 }, 'password: must have at most 1024 characters'],
  ['', 'additionalProperties', { additionalProperty: 'z'.repeat(1000) }, `${'z'.repeat(100)}: is not known here`],
])('an error at %j by %s', (instancePath, keyword, params, words) =>
  expect(schemaErrorWords({ instancePath, keyword, params, message: 'must be <= 1000' }, ['limit', 'q'])).toBe(words),
)
