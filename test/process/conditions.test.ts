import { expect, test } from 'vitest'
import { StartError } from '../../src/base/start-error.ts'
import { conditionOptions } from '../../src/process/conditions.ts'

const at = (key: string): string => `roost.yaml:3:5: filters[0].${key}`

test('a condition or topic filter of the configuration that is not valid is an error with its place', () => {
  const options = (filter: string, topic = 'a/#'): unknown =>
    conditionOptions({ filters: [{ topic, filter, origin: at('filter') }] })
  expect(() => options('json.a >')).toThrow(new StartError(`${at('filter')}: character 8: found > but expecting end of input`))
  expect(() => options('true', 'a/#/b')).toThrow(StartError)
  expect(() => options('true', 'a/#/b')).toThrow(at('topic'))
})

test('the first entry that fits counts, by client, user and topic filter', () => {
  const origin = at('filter')
  const { configured } = conditionOptions({
    filters: [
      { client: 'd-*', topic: 'a/+', filter: '1 == 1', origin },
      { user: 'u', filter: '2 == 2', origin },
      { topic: 'a/#', filter: '3 == 3', origin },
    ],
  })
  const found = (...who: Parameters<NonNullable<typeof configured>['conditionFor']>): string | undefined =>
    configured?.conditionFor(...who)?.slice(0, 1)
  expect(found('d-1', undefined, 'a/b')).toBe('1')
  expect(found('d-1', undefined, 'a/+')).toBe('1')
  expect(found('d-1', 'u', 'a/#')).toBe('2')
  expect(found('d-1', undefined, 'a/#')).toBe('3')
  expect(found('d-1', undefined, 'a/b/c')).toBe('3')
  expect(found('x', undefined, '#')).toBeUndefined()
  expect(found('x', undefined, '+/b')).toBeUndefined()
})
