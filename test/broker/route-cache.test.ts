import { describe, expect, test } from 'vitest'
import { topicMatches } from '../../fuzz/topic-matches.ts'
import { RouteCache, TopicsMet } from '../../src/broker/route-cache.ts'

const TOPICS = ['a', 'a/b', 'a/b/c', 'b', 'b/', '/', 'dev/1/t', 'dev/2/t', 'dev/2/h', '$SYS/x']

const filled = (topics: readonly string[] = TOPICS): RouteCache<string> => {
  const cache = new RouteCache<string>()
  for (const topic of topics) cache.set(topic, topic)
  return cache
}

const left = (cache: RouteCache<string>, topics: readonly string[] = TOPICS): string[] =>
  topics.filter((topic) => cache.get(topic) !== undefined)

describe('RouteCache', () => {
  test.each(['a', 'a/b', 'a/#', '+', '+/+', 'dev/+/t', 'dev/2/#', '#', '+/#', 'nothing', 'a/+/c', '/', '+/', '$SYS/#'])(
    'a change of %s forgets what it matches, and no more',
    (filter) => {
      const cache = filled()
      cache.invalidate(filter)
      const kept = TOPICS.filter((topic) => !topicMatches(filter, topic))
      // Filters that start with a wildcard may forget topics that start with $ as well.
      expect(left(cache).filter((topic) => !topic.startsWith('$'))).toEqual(kept.filter((topic) => !topic.startsWith('$')))
      expect(kept).toEqual(expect.arrayContaining(left(cache)))
    },
  )

  test('what was forgotten leaves no level behind, and may be kept again', () => {
    const cache = filled(['a/b/c'])
    cache.invalidate('a/+/c')
    expect(cache).toEqual(new RouteCache<string>())
    cache.set('a/b/c', 'again')
    expect(cache.get('a/b/c')).toBe('again')
  })

  test('routes and levels are bounded, and long topics are not kept', () => {
    const cache = new RouteCache<number>()
    for (let i = 0; i < 20_000; i++) cache.set(`t/${i}`, i)
    expect(cache.size).toBe(20_000 - 16_384)
    const deep = new RouteCache<number>()
    for (let i = 0; i < 1000; i++) deep.set(`${i}${'/x'.repeat(100)}`, i)
    expect(deep.size).toBeLessThan(700)
    cache.set('x'.repeat(1025), 1)
    expect(cache.get('x'.repeat(1025))).toBeUndefined()
  })

  test('changes that look at more than the routes are worth forget them all', () => {
    const topics = Array.from({ length: 1000 }, (_, i) => `t/${i}/x`)
    const cache = filled(topics)
    let changes = 0
    while (cache.size > 0) {
      cache.invalidate('t/+/y')
      changes++
    }
    expect(changes).toBeGreaterThan(20)
    expect(changes).toBeLessThan(100)
  })
})

test('a topic is met the second time, unless it is too long to be kept or was forgotten', () => {
  const met = new TopicsMet()
  expect([met.meet('a/b'), met.meet('a/b'), met.meet('a/c')]).toEqual([false, true, false])
  const long = 'x'.repeat(1025)
  expect([met.meet(long), met.meet(long)]).toEqual([false, false])
  met.clear()
  expect(met.meet('a/b')).toBe(false)
})

test('of topics that never come again, at most one in sixteen is taken for another', () => {
  const met = new TopicsMet()
  let mistaken = 0
  for (let i = 0; i < 100_000; i++) if (met.meet(`site/${i}/temperature`)) mistaken++
  expect(mistaken).toBeLessThan(100_000 / 16)
})
