import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Retained } from '../src/broker/retained.ts'
import { Looked } from '../src/broker/topic-tree.ts'
import { Publish } from '../src/mqtt/publish.ts'
import { runs } from './runs.ts'
import { topicMatches } from './topic-matches.ts'

// Few letters, and one that is longer than what V8 copies for a substring.
const level = fc.constantFrom('a', 'b', '', '$x', 'a level of more than 13 letters')
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 0, maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => (rest || levels.length === 0 ? [...levels, '#'] : levels).join('/'))
const change = fc.record({ topic, isDeleted: fc.boolean() })
/** Changes, and after how many steps of the search they happen. */
const changes = fc.array(fc.tuple(fc.nat(12), change), { maxLength: 15 })

class Model {
  readonly retained = new Retained(new Looked())
  readonly messages = new Map<string, Publish>()

  apply({ topic, isDeleted }: { topic: string; isDeleted: boolean }): void {
    if (isDeleted) {
      expect(this.retained.delete(topic)).toBe(this.messages.delete(topic))
      return
    }
    const message = Publish.of(topic, new Uint8Array(1), 0, true)
    message.owned = true
    this.retained.set(topic, message)
    this.messages.set(topic, message)
  }
}

test('a search finds what the naive matcher finds, whatever comes and goes during it', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), filter, changes, (before, wanted, during) => {
      const model = new Model()
      for (const each of before) model.apply(each)
      const old = new Map(model.messages)
      const found: Publish[] = []
      let steps = 0
      for (const each of model.retained.search(wanted)) {
        if (each !== undefined) {
          expect(model.messages.get(each.topic)).toBe(each)
          found.push(each)
        }
        for (const [after, change] of during) if (after === steps) model.apply(change)
        steps++
      }
      for (const each of found) {
        expect(old.get(each.topic)).toBe(each)
        expect(topicMatches(wanted, each.topic)).toBe(true)
      }
      expect(new Set(found).size).toBe(found.length)
      for (const [topic, message] of old) {
        const stayed = model.messages.get(topic) === message && during.every(([, change]) => change.topic !== topic)
        if (stayed && topicMatches(wanted, topic)) expect(found).toContain(message)
      }
    }),
    runs(300),
  )
})

test.each([
  ['#', ['a/$x', 'a/$x/b']],
  ['+/#', ['a/$x', 'a/$x/b']],
  ['+/+', ['a/$x']],
  ['$x/#', ['$x/a', '$x/$x']],
])('%s hides what starts with $, at the first level only', (filter, found) => {
  const model = new Model()
  for (const topic of ['$x/a', '$x/$x', 'a/$x', 'a/$x/b']) model.apply({ topic, isDeleted: false })
  const topics = [...model.retained.search(filter)].flatMap((each) => each?.topic ?? [])
  expect(topics.sort()).toEqual(found.sort())
})

test('levels go with the last message below them', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (all) => {
      const model = new Model()
      for (const each of all) model.apply(each)
      expect([...model.retained].length).toBe(model.messages.size)
      for (const [topic, message] of model.messages) expect(model.retained.get(topic)).toBe(message)
      for (const topic of [...model.messages.keys()]) model.apply({ topic, isDeleted: true })
      expect(model.retained.levelBytes).toBe(0)
      expect(model.retained.root.children).toBe(undefined)
    }),
    runs(100),
  )
})
