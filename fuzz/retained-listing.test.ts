import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Retained } from '../src/broker/retained.ts'
import { compareTopics, type Listed, type ListedLevel, listLevels, listRetained } from '../src/broker/retained-listing.ts'
import { Looked } from '../src/broker/topic-tree.ts'
import { Publish } from '../src/mqtt/publish.ts'
import { runs } from './runs.ts'
import { topicMatches } from './topic-matches.ts'

// Few letters and short topics, so that filters and topics meet often. `-` comes before `/` in Unicode, and after it here.
const level = fc.constantFrom('a', 'b', 'a-', '', '$x', 'A')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 0, maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => (rest ? [...levels, '#'] : levels).join('/'))
  .filter((text) => text !== '')
const change = fc.record({ topic, remove: fc.boolean() })

class Messages {
  readonly retained = new Retained(new Looked())
  readonly model = new Set<string>()

  change({ topic, remove }: { readonly topic: string; readonly remove: boolean }): void {
    if (remove) expect(this.retained.delete(topic)).toBe(this.model.delete(topic))
    else {
      const message = Publish.of(topic, Buffer.from('x'), 0, true)
      message.own()
      this.retained.set(topic, message)
      this.model.add(topic)
    }
  }
}

/** Runs a listing to its end; between two steps, `meanwhile`. */
function done<T>(work: Generator<number, T, number>, meanwhile: () => void = () => {}): T {
  for (let step = work.next(0); ; step = work.next(0)) {
    if (step.done === true) return step.value
    expect(step.value).toBeGreaterThan(0)
    meanwhile()
  }
}

function pages<T>(page: (after: string | undefined) => Listed<T>): T[] {
  const all: T[] = []
  let after: string | undefined
  do {
    const { entries, next } = page(after)
    all.push(...entries)
    after = next
  } while (after !== undefined)
  return all
}

test('pages of retained messages are what the naive matcher finds, in order', () => {
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 40 }),
      fc.option(filter, { nil: undefined }),
      fc.constantFrom('', 'a', 'b/', '-'),
      fc.integer({ min: 1, max: 5 }),
      (changes, filter, contains, limit) => {
        const messages = new Messages()
        for (const each of changes) messages.change(each)
        const expected = [...messages.model]
          .filter((topic) => filter === undefined || topicMatches(filter, topic))
          .filter((topic) => topic.toLowerCase().includes(contains))
          .sort(compareTopics)
        const found = pages((after) => done(listRetained(messages.retained.root, { filter, contains, after, limit })))
        expect(found.map(({ topic }) => topic)).toEqual(expected)
      },
    ),
    runs(300),
  )
})

test('what is there all the time is listed once, whatever comes and goes during and between pages', () => {
  fc.assert(
    fc.property(
      fc.array(topic, { maxLength: 20 }),
      fc.array(change, { maxLength: 200 }),
      fc.integer({ min: 1, max: 5 }),
      (stay, changes, limit) => {
        const messages = new Messages()
        for (const topic of stay) messages.change({ topic, remove: false })
        const later = changes.filter(({ topic }) => !stay.includes(topic)).values()
        const meanwhile = (): void => {
          const { value, done } = later.next()
          if (done !== true) messages.change(value)
        }
        const found = pages((after) => done(listRetained(messages.retained.root, { after, limit }), meanwhile)).map(
          ({ topic }) => topic,
        )
        expect(found.filter((topic) => stay.includes(topic))).toEqual([...new Set(stay)].sort(compareTopics))
        expect(new Set(found).size).toBe(found.length)
      },
    ),
    runs(300),
  )
})

test('levels are those of the topics, with their counts', () => {
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 40 }),
      fc.oneof(
        fc.constant(''),
        topic.map((text) => `${text}/`),
      ),
      fc.integer({ min: 1, max: 5 }),
      (changes, prefix, limit) => {
        const messages = new Messages()
        for (const each of changes) messages.change(each)
        const levels = new Map<string, ListedLevel>()
        for (const topic of messages.model) {
          if (!topic.startsWith(prefix)) continue
          const [name = '', ...rest] = topic.slice(prefix.length).split('/')
          const { retained, below } = levels.get(name) ?? { retained: false, below: 0 }
          levels.set(name, { name, retained: retained || rest.length === 0, below: below + (rest.length > 0 ? 1 : 0) })
        }
        const found = pages((after) => done(listLevels(messages.retained.root, prefix, { after, limit })))
        expect(found).toEqual([...levels.values()].sort((a, b) => (a.name < b.name ? -1 : 1)))
      },
    ),
    runs(300),
  )
})
