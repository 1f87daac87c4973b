import { beforeEach, describe, expect, test } from 'vitest'
import { KEPT_MAX, type Packet, partsOf, TraceBuffer } from '../../console/src/lib/packets.ts'
import { topicFilterError, topicNameError } from '../../console/src/lib/topics.ts'
import { matches, sectionsOf } from '../../console/src/pages/configuration/settings.ts'
import { bodyOf, type Draft, EMPTY, errorsOf, lengthOf } from '../../console/src/pages/publish/draft.ts'
import { prefixesAbove } from '../../console/src/pages/topics/levels.ts'
import { plainName } from '../../src/base/describe.ts'
import { DEFAULT_CONFIG, type ListenerConfig } from '../../src/config/config.ts'
import { effectiveConfig } from '../../src/http/effective-config.ts'

describe('lines of a trace', () => {
  test.each(['sensor-7', '198.51.100.7:1883', 'a name with -> in it', 'quote " and \\ backslash', 'a at b'])(
    'of %s are taken apart',
    (name) => {
      for (const arrow of ['->', '<-']) {
        expect(partsOf(`${plainName(name)} ${arrow} PUBLISH topic="a -> b" qos=0`)).toEqual(['PUBLISH', 'topic="a -> b" qos=0'])
        expect(partsOf(`${plainName(name)} at 192.0.2.7:51234 ${arrow} PINGREQ`)).toEqual(['PINGREQ', ''])
      }
    },
  )
})

describe('the packets that the page keeps', () => {
  let buffer: TraceBuffer
  beforeEach(() => {
    buffer = new TraceBuffer()
  })
  const add = (count: number, pcap?: string): void => {
    const from = { time: '', protocol: 'mqtt', direction: 'sent', client: 'c', peer: '', topic: undefined, pcap } as const
    for (let i = 0; i < count; i++) buffer.packet({ ...from, line: `c <- PUBACK msgid=${i}` })
  }

  test('are the last ones, and those that made room are counted', () => {
    add(3 * KEPT_MAX)
    expect(buffer.entries.length).toBeLessThanOrEqual(KEPT_MAX)
    expect(buffer.entries.length).toBeGreaterThan(KEPT_MAX / 2)
    expect(buffer.entries.length + buffer.dropped).toBe(3 * KEPT_MAX)
    expect((buffer.entries.at(-1) as Packet).rest).toBe(`msgid=${3 * KEPT_MAX - 1}`)
  })

  test('are fewer if they are large', () => {
    add(100, 'A'.repeat(1024 * 1024))
    expect(buffer.entries.length).toBeLessThan(20)
  })

  test('say where some are missing', () => {
    add(1)
    buffer.gap('3 packets are missing here')
    add(1)
    expect(buffer.entries.map(({ kind }) => kind)).toEqual(['packet', 'gap', 'packet'])
    expect(new Set(buffer.entries.map(({ number }) => number)).size).toBe(3)
  })
})

describe('topics', () => {
  test.each(['', 'a/+', '#', 'a\0b', 'a'.repeat(65_536)])('%j is no topic', (topic) => expect(topicNameError(topic)).not.toBe(''))
  test.each(['a', '/', '/a', 'a//b', '$x'])('%j is a topic', (topic) => expect(topicNameError(topic)).toBe(''))
  test.each(['', 'a+', 'a/#/b', '#a'])('%j is no topic filter', (filter) => expect(topicFilterError(filter)).not.toBe(''))
  test.each(['+', '#', 'a/+/b', 'a/#', '+/+'])('%j is a topic filter', (filter) => expect(topicFilterError(filter)).toBe(''))

  test('the levels that are unfolded to show one', () => {
    expect(prefixesAbove('site/valve/1')).toEqual(['site/', 'site/valve/'])
    expect(prefixesAbove('/a')).toEqual(['/'])
    expect(prefixesAbove('a')).toEqual([])
  })
})

describe('a message to be published', () => {
  const draft = (changes: Partial<Draft>): Draft => ({ ...EMPTY, topic: 'site/valve', ...changes })

  test.each<[keyof Draft, Partial<Draft>]>([
    ['topic', { topic: 'site/+' }],
    ['topic', { topic: '$SYS/x' }],
    ['payload', { form: 'json', payload: '{"a":' }],
    ['payload', { form: 'hex', payload: '4' }],
    ['payload', { form: 'base64', payload: '*' }],
    ['expiry', { expiry: '0' }],
    ['expiry', { expiry: '1.5' }],
    ['responseTopic', { responseTopic: '#' }],
    ['correlationData', { correlationData: '0x4' }],
    ['userProperties', { userProperties: 'no colon' }],
  ])('%s is wrong in %j', (field, changes) => expect(Object.keys(errorsOf(draft(changes)))).toEqual([field]))

  test('has its payload as text, or in base64', () => {
    expect(bodyOf(draft({ payload: 'ä' }))).toEqual({ topic: 'site/valve', payload: 'ä', qos: 0, retain: false })
    expect(bodyOf(draft({ form: 'hex', payload: '48 69', qos: '1' }))).toMatchObject({ payload_base64: 'SGk=', qos: 1 })
    expect(bodyOf(draft({ form: 'base64', payload: 'SG\nk=' }))).toMatchObject({ payload_base64: 'SGk=' })
    expect(lengthOf(draft({ payload: 'ä' }))).toBe(2)
    expect(lengthOf(draft({ form: 'base64', payload: 'SGk=' }))).toBe(2)
  })

  test('has the properties that are set', () => {
    const body = bodyOf(
      draft({ expiry: '60', correlationData: '0x4869', userProperties: 'a: b:c\n\nd:e', contentType: 'text/plain' }),
    )
    expect(body).toMatchObject({
      expiry: 60,
      properties: {
        content_type: 'text/plain',
        correlation_data: 'SGk=',
        user_properties: [
          { name: 'a', value: 'b:c' },
          { name: 'd', value: 'e' },
        ],
      },
    })
    expect(bodyOf(draft({}))).not.toHaveProperty('properties')
  })
})

describe('the configuration', () => {
  const shown = (config = DEFAULT_CONFIG) => sectionsOf(effectiveConfig(config) as Parameters<typeof sectionsOf>[0])
  const changed = (sections: ReturnType<typeof shown>) =>
    sections.flatMap(({ settings }) => settings.filter(({ isStandard }) => !isStandard).map(({ key }) => key))

  test('differs from no default by default', () => {
    expect(changed(shown())).toEqual([])
    expect(shown().map(({ title }) => title)).toContain('MQTT-SN gateway')
  })

  test('marks what differs from a default, also of one listener', () => {
    const [first] = DEFAULT_CONFIG.listeners as readonly [ListenerConfig]
    const listeners = [first, { ...first, name: 'internet', port: 8883, maximumQos: 1 as const }]
    expect(changed(shown({ ...DEFAULT_CONFIG, maxQueuedMessages: 20, listeners }))).toEqual([
      'port',
      'maximum_qos',
      'max_queued_messages',
    ])
  })

  test('shows types of topics, and what becomes of what does not fit', () => {
    const type = { name: 'soil', topics: ['a', 'b/+'], invalid: 'mark', invalidMqtt3: 'acknowledge' } as const
    const schema = { value: {}, placeOf: (pointer: string) => pointer }
    const sections = shown({
      ...DEFAULT_CONFIG,
      types: [
        { ...type, contentType: 'text/plain', schema },
        { ...type, name: 'named' },
      ],
    })
    expect(sections.find(({ title }) => title === 'Types of topics')?.settings).toMatchObject([
      { key: 'soil', about: 'Type of messages on a, b/+.', value: 'text/plain; schema: mark what does not fit' },
      { key: 'named', value: 'a name only' },
    ])
  })

  test('is searched by names, meanings and values', () => {
    const all = shown().flatMap(({ settings }) => settings)
    expect(all.filter((each) => matches(each, 'drop_newest')).map(({ key }) => key)).toContain('queue_full')
    expect(all.find(({ key }) => key === 'max_queued_bytes')).toMatchObject({ inUnits: '8 MiB' })
  })
})
