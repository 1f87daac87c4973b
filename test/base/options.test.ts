import { describe, expect, expectTypeOf, test } from 'vitest'
import { nearest } from '../../src/base/nearest.ts'
import { OPTION_GROUPS, OPTIONS, options, type Settings } from '../../src/base/options.ts'

const named = new Map(options.map((option) => [option.key, option]))

test('flags have hyphens, names inside are camelCase', () => {
  expect(named.get('max_queued_messages')).toMatchObject({ flag: '--max-queued-messages', name: 'maxQueuedMessages' })
  expect(named.get('qos2_hold_down_seconds')).toMatchObject({ flag: '--qos2-hold-down-seconds', name: 'qos2HoldDownSeconds' })
  expect(named.get('t_retry')).toMatchObject({ flag: '--t-retry', name: 'tRetry' })
  expect(named.get('host')).toMatchObject({ flag: '--host', name: 'host' })
})

test('the type of the settings follows from the table', () => {
  expectTypeOf<Settings['maxQueuedMessages']>().toEqualTypeOf<number>()
  expectTypeOf<Settings['memory']>().toEqualTypeOf<boolean>()
  expectTypeOf<Settings['predefinedTopics']>().toEqualTypeOf<string | undefined>()
  expectTypeOf<Settings['logFormat']>().toEqualTypeOf<'json' | 'pretty'>()
})

describe.each(options)('$key', (option) => {
  test('is snake_case, has a heading and one line of text', () => {
    expect(option.key).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/)
    expect(OPTION_GROUPS).toContain(option.group)
    expect(option.about).toMatch(/^[^\n]+\.$/)
  })

  test('has a default within its own bounds', () => {
    expect(option.schema.safeParse(option.default).success).toBe(true)
  })

  test('takes neither a map nor null, and no number beyond its largest value', () => {
    expect(option.schema.safeParse({}).success).toBe(false)
    expect(option.schema.safeParse(null).success).toBe(false)
    const largest = /to ([\d.]+)/.exec(option.expected)?.[1]
    if (option.placeholder !== 'number') return expect(largest).toBeUndefined()
    expect(option.schema.safeParse(Number(largest)).success).toBe(true)
    expect(option.schema.safeParse(Number(largest) + 1).success).toBe(false)
    expect(option.schema.safeParse(Number.NaN).success).toBe(false)
    expect(option.schema.safeParse(-1).success).toBe(false)
  })
})

test('0 is never, and Infinity inside', () => {
  expect(OPTIONS.persistent_client_expiration.schema.parse(0)).toBe(Number.POSITIVE_INFINITY)
  expect(OPTIONS.persistent_client_expiration.schema.parse(60)).toBe(60)
})

test.each([
  ['max_queue_messages', 'max_queued_messages'],
  ['maxQueuedMessages', 'max_queued_messages'],
  ['max-queued-messages', 'max_queued_messages'],
  ['prot', 'port'],
  ['datadir', 'data_dir'],
  ['sn_prot', 'sn_port'],
  ['gateway_ID', 'gateway_id'],
  ['listener', undefined],
  ['', undefined],
  ['constructor', undefined],
])('the name nearest to %s is %s', (wrong, right) => {
  expect(nearest(wrong, named.keys())).toBe(right)
})
