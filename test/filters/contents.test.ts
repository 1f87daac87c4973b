import { afterEach, expect, test, vi } from 'vitest'
import { Contents } from '../../src/filters/contents.ts'
import { CelLanguage } from '../../src/filters/io/cel.ts'
import { TopicTypes } from '../../src/filters/topic-types.ts'
import { TypeCheck } from '../../src/filters/type-check.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { bytes } from '../broker/harness.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('a payload is parsed once, by its schema and by all conditions', () => {
  const schema = { value: {}, placeOf: (pointer: string) => pointer }
  const type = { name: 'reading', topics: ['reading'], schema, invalid: 'refuse', invalidMqtt3: 'acknowledge' } as const
  const contents = new Contents(new TopicTypes([type]))
  const language = new CelLanguage(contents)
  const check = new TypeCheck(contents, new Map([['reading', () => '']]))
  const parse = vi.spyOn(JSON, 'parse')
  for (let i = 1; i <= 3; i++) {
    const message = Publish.of('reading', bytes('{"a":1}'))
    expect(check.check(message)).toBeUndefined()
    const facts = language.factsOf(message, 0)
    for (const condition of ['json.a == 1', 'json.a < 2', 'has(json.a)']) {
      const compiled = language.compile(condition)
      expect('test' in compiled && compiled.test(facts, Number.POSITIVE_INFINITY)).toBe(true)
    }
    expect(parse.mock.calls.filter(([text]) => text === '{"a":1}')).toHaveLength(i)
  }
})
