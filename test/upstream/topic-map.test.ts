import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type BridgeTopic, type Direction, TopicMap } from '../../src/upstream/topic-map.ts'

const topic = (line: string): BridgeTopic => {
  const [pattern, direction, qos = '0', localPrefix = '', remotePrefix = ''] = line
    .split(' ')
    .map((word) => (word === '""' ? '' : word))
  return { pattern: pattern!, direction: direction as Direction, qos: Number(qos) as 0, localPrefix, remotePrefix }
}

describe('examples', () => {
  test.each([
    ['# out 0 site/ all/7/', 'site/a/b', 'all/7/a/b'],
    ['# out 0 site/ ""', 'site/a', 'a'],
    ['a/+ out', 'a/b', 'a/b'],
    ['a/+ out', 'a/b/c', undefined],
    // The parent of site/#.
    ['# out 0 site/ all/', 'site', 'all'],
    ['# out 0 site/ ""', 'site', undefined],
    ['"" out 0 here there', 'here', 'there'],
    ['a in', 'a', undefined],
    ['# out', '$SYS/broker/uptime', undefined],
    ['# out 0 $SYS/ sys/', '$SYS/broker/uptime', 'sys/broker/uptime'],
  ])('%s: %s is %s at the remote broker', (line, from, to) => {
    expect(new TopicMap([topic(line)]).toRemote(from)).toBe(to)
  })

  test('the first entry that matches counts, the highest QoS is subscribed', () => {
    const map = new TopicMap([topic('a/b both 0 "" one/'), topic('a/# both 1 "" two/'), topic('a/b both 2 "" three/')])
    expect(map.toRemote('a/b')).toBe('one/a/b')
    expect(map.toRemote('a/c')).toBe('two/a/c')
    expect(map.local).toEqual([
      { filter: 'a/b', qos: 2 },
      { filter: 'a/#', qos: 1 },
    ])
    expect(map.remote.map(({ filter }) => filter)).toEqual(['one/a/b', 'two/a/#', 'three/a/b'])
    expect(map.toLocal('three/a/b')).toBe('a/b')
  })
})

// A second, naive implementation: filters are turned into lists of levels and compared recursively.

const matches = ([filter, ...filters]: readonly string[], [level, ...levels]: readonly string[], isFirst = true): boolean => {
  if (filter === undefined) return level === undefined
  if (isFirst && level?.startsWith('$') && (filter === '+' || filter === '#')) return false
  if (filter === '#') return true
  if (level === undefined) return false
  if (filter !== '+' && filter !== level) return false
  return (filters[0] === '#' && levels.length === 0) || matches(filters, levels, false)
}

function naive(topics: readonly BridgeTopic[], direction: 'in' | 'out', name: string): string | undefined {
  for (const each of topics) {
    if (each.direction !== direction && each.direction !== 'both') continue
    const [from, to] = direction === 'out' ? [each.localPrefix, each.remotePrefix] : [each.remotePrefix, each.localPrefix]
    if (!matches((from + each.pattern).split('/'), name.split('/'))) continue
    const mapped = name.startsWith(from) ? to + name.slice(from.length) : to.endsWith('/') ? to.slice(0, -1) : to
    if (from === to) return name
    if (mapped !== '') return mapped
  }
  return undefined
}

const level = fc.constantFrom('a', 'b', 'c', '', '$SYS')
const name = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((each) => each !== '')
const pattern = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 3 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
const prefix = fc.array(fc.constantFrom('a', 'b'), { maxLength: 2 }).map((levels) => levels.map((each) => `${each}/`).join(''))
const topics = fc.array(
  fc.record({
    ...{ pattern, localPrefix: prefix, remotePrefix: prefix },
    direction: fc.constantFrom<Direction>('in', 'out', 'both'),
    qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  }),
  { minLength: 1, maxLength: 4 },
)

test('both directions are those of a naive implementation', () => {
  fc.assert(
    fc.property(topics, name, (all, each) => {
      const valid = all.filter(
        ({ pattern: of, localPrefix, remotePrefix }) => of !== '' || (localPrefix !== '' && remotePrefix !== ''),
      )
      const map = new TopicMap(valid)
      expect(map.toRemote(each)).toBe(naive(valid, 'out', each))
      expect(map.toLocal(each)).toBe(naive(valid, 'in', each))
    }),
    { numRuns: 2000 },
  )
})

test('without overlaps a topic that goes out comes back as itself', () => {
  fc.assert(
    fc.property(prefix, prefix, name, (localPrefix, remotePrefix, each) => {
      const map = new TopicMap([{ pattern: '#', direction: 'both', qos: 0, localPrefix, remotePrefix }])
      const remote = map.toRemote(localPrefix + each)
      if (remote !== undefined && !remote.startsWith('$')) expect(map.toLocal(remote)).toBe(localPrefix + each)
    }),
  )
})
