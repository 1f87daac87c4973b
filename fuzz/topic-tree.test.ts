import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TopicTree } from '../src/broker/topic-tree.ts'
import { runs } from './runs.ts'
import { topicMatches } from './topic-matches.ts'

// Few letters and short topics, so that filters and topics meet often.
const level = fc.constantFrom('a', 'b', '', '$x', 'constructor')
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 0, maxLength: 5 }), fc.boolean())
  .map(([levels, rest]) => (rest ? [...levels, '#'] : levels).join('/'))
const change = fc.record({ filter, key: fc.nat(3), remove: fc.boolean() })

test('the topic tree finds what the naive matcher finds, after any sequence of changes', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), fc.array(topic, { minLength: 1, maxLength: 10 }), (changes, topics) => {
      const tree = new TopicTree<number, string>()
      const model = new Map<string, [number, string]>()
      for (const { filter, key, remove } of changes) {
        const id = `${key} ${filter}`
        if (remove) expect(tree.delete(filter, key)).toBe(model.delete(id))
        else {
          tree.set(filter, key, filter)
          model.set(id, [key, filter])
        }
      }
      expect(tree.size).toBe(model.size)
      for (const topic of topics) {
        const expected = [...model.values()].filter(([, filter]) => topicMatches(filter, topic))
        const found: [number, string][] = []
        tree.match(topic, (value, key) => found.push([key, value]))
        expect(found.sort()).toEqual(expected.sort())
      }
    }),
    runs(100),
  )
})

test('a tree that everybody left is empty inside', () => {
  fc.assert(
    fc.property(fc.array(filter, { maxLength: 20 }), (filters) => {
      const tree = new TopicTree<number, string>()
      for (const filter of filters) tree.set(filter, 1, filter)
      for (const filter of filters) tree.delete(filter, 1)
      expect(tree.size).toBe(0)
      expect(tree.isBare).toBe(true)
    }),
    runs(100),
  )
})
