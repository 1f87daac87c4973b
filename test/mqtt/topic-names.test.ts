import { expect, test } from 'vitest'
import { Remembered, SHARED_SLOTS, TopicNames } from '../../src/mqtt/topic-names.ts'

const read = (names: TopicNames, topic: string): string | undefined => {
  const bytes = Buffer.from(`<${topic}>`)
  return names.read(bytes, 1, bytes.length - 1)
}

test('all connections remember a topic that comes a second time, and count it once', () => {
  const remembered = new Remembered(SHARED_SLOTS)
  const [one, other] = [new TopicNames(remembered), new TopicNames(remembered)]
  expect(read(one, 'a/température')).toBe('a/température')
  expect(remembered.sum).toBe(0)
  expect(read(other, 'a/température')).toBe('a/température')
  const { sum } = remembered
  expect(sum).toBeGreaterThan(2 * 'a/température'.length)
  for (const names of [one, other, one]) expect(read(names, 'a/température')).toBe('a/température')
  expect(remembered.sum).toBe(sum)
  remembered.clear()
  expect(remembered.sum).toBe(0)
  expect(read(one, 'a/température')).toBe('a/température')
})

test('topics that come once take no memory, and those in the same place are not mixed up', () => {
  const remembered = new Remembered(2)
  const names = new TopicNames(remembered)
  for (let i = 0; i < 1000; i++) expect(read(names, `once/${i}`)).toBe(`once/${i}`)
  expect(remembered.sum).toBe(0)
  for (let i = 0; i < 1000; i++) expect(read(names, `again/${i % 7}`)).toBe(`again/${i % 7}`)
  for (let i = 0; i < 30; i++) expect(read(names, `again/${(i >> 1) % 7}`)).toBe(`again/${(i >> 1) % 7}`)
  expect(remembered.sum).toBeGreaterThan(0)
  expect(remembered.sum).toBeLessThan(1000)
  const long = 'x'.repeat(200)
  const { sum } = remembered
  for (let i = 0; i < 3; i++) expect(read(names, long)).toBe(long)
  expect(remembered.sum).toBe(sum)
})

test.each([
  ['a\0', 'U+0000 in topic name', 'MQTT-1.5.4-2', 0x81],
  ['a/+', 'wildcard in topic name', 'MQTT-3.3.2-2', 0x90],
  ['#', 'wildcard in topic name', 'MQTT-3.3.2-2', 0x90],
  ['é#', 'wildcard in topic name', 'MQTT-3.3.2-2', 0x90],
])('%j is refused each time', (topic, error, rule, reasonCode) => {
  const names = new TopicNames()
  for (let i = 0; i < 3; i++) {
    expect(read(names, topic)).toBeUndefined()
    expect(names).toMatchObject({ error, rule, reasonCode })
  }
})

test('ill-formed UTF-8 is refused, DEL is not', () => {
  const names = new TopicNames()
  expect(names.read(Uint8Array.of(0x61, 0xff), 0, 2)).toBeUndefined()
  expect(names.error).toBe('ill-formed UTF-8 in topic name')
  expect(read(names, 'a\x7f')).toBe('a\x7f')
})
