import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CelLanguage } from '../src/filters/io/cel.ts'
import type { Properties } from '../src/mqtt/properties.ts'
import { Publish } from '../src/mqtt/publish.ts'
import { TestBroker, type TestClient } from '../test/broker/harness.ts'
import { runs } from './runs.ts'
import { topicMatches } from './topic-matches.ts'

const language = new CelLanguage()

/** A condition as a tree, which is written as CEL for the broker and evaluated here by what the specification of CEL says. */
type Condition =
  | {
      readonly is: 'compare'
      readonly path: readonly string[]
      readonly operator: '<' | '>' | '<=' | '>='
      readonly number: number
    }
  | { readonly is: 'equal'; readonly path: readonly string[]; readonly value: Scalar; readonly not: boolean }
  | { readonly is: 'has'; readonly path: readonly string[] }
  | { readonly is: 'in'; readonly path: readonly string[]; readonly values: readonly Scalar[] }
  | {
      readonly is: 'macro'
      readonly path: readonly string[]
      readonly name: 'all' | 'exists' | 'exists_one'
      readonly number: number
    }
  | {
      readonly is: 'text'
      readonly path: readonly string[]
      readonly name: 'startsWith' | 'contains' | 'endsWith'
      readonly text: string
    }
  | { readonly is: 'qos'; readonly number: number }
  | { readonly is: 'not'; readonly of: Condition }
  | { readonly is: 'and' | 'or'; readonly of: readonly [Condition, Condition] }
  | { readonly is: 'choice'; readonly of: readonly [Condition, Condition, Condition] }
type Scalar = string | number | boolean | null

const NAMES = ['a', 'b', 'c'] as const
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 2 })
const number = fc.integer({ min: -2, max: 3 })
const word = fc.constantFrom('', 'x', 'xy', 'yx', 'a"b\\')
const scalar: fc.Arbitrary<Scalar> = fc.oneof(number, fc.constantFrom(0.5, 1.5), word, fc.boolean(), fc.constant(null))

const { condition } = fc.letrec<{ condition: Condition; leaf: Condition }>((tie) => ({
  leaf: fc.oneof(
    fc.record({ is: fc.constant('compare' as const), path, operator: fc.constantFrom('<', '>', '<=', '>='), number }),
    fc.record({ is: fc.constant('equal' as const), path, value: scalar, not: fc.boolean() }),
    fc.record({ is: fc.constant('has' as const), path }),
    fc.record({ is: fc.constant('in' as const), path, values: fc.array(scalar, { maxLength: 3 }) }),
    fc.record({ is: fc.constant('macro' as const), path, name: fc.constantFrom('all', 'exists', 'exists_one'), number }),
    fc.record({
      is: fc.constant('text' as const),
      path,
      name: fc.constantFrom('startsWith', 'contains', 'endsWith'),
      text: word,
    }),
    fc.record({ is: fc.constant('qos' as const), number: fc.integer({ min: 0, max: 2 }) }),
  ),
  condition: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    tie('leaf'),
    fc.record({ is: fc.constant('not' as const), of: tie('condition') }),
    fc.record({ is: fc.constantFrom('and' as const, 'or' as const), of: fc.tuple(tie('condition'), tie('condition')) }),
    fc.record({ is: fc.constant('choice' as const), of: fc.tuple(tie('condition'), tie('condition'), tie('condition')) }),
  ),
}))

const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    fc.array(fc.oneof(scalar, fc.dictionary(fc.constantFrom(...NAMES), scalar, { maxKeys: 2 })), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom(...NAMES), tie('json'), { maxKeys: 3 }),
  ),
}))
const payload = fc.oneof({ weight: 8, arbitrary: json.map((value) => JSON.stringify(value)) }, { weight: 1, arbitrary: word })

const literal = (value: Scalar): string => JSON.stringify(value)
const field = (names: readonly string[]): string => ['json', ...names].join('.')

function written(tree: Condition): string {
  switch (tree.is) {
    case 'compare':
      return `${field(tree.path)} ${tree.operator} ${tree.number}`
    case 'equal':
      return `${field(tree.path)} ${tree.not ? '!=' : '=='} ${literal(tree.value)}`
    case 'has':
      return `has(${field(tree.path)})`
    case 'in':
      return `${field(tree.path)} in [${tree.values.map(literal).join(', ')}]`
    case 'macro':
      return `${field(tree.path)}.${tree.name}(x, x > ${tree.number})`
    case 'text':
      return `${field(tree.path)}.${tree.name}(${literal(tree.text)})`
    case 'qos':
      return `qos == ${tree.number}`
    case 'not':
      return `!(${written(tree.of)})`
    case 'choice':
      return `((${written(tree.of[0])}) ? (${written(tree.of[1])}) : (${written(tree.of[2])}))`
    default:
      return `(${written(tree.of[0])} ${tree.is === 'and' ? '&&' : '||'} ${written(tree.of[1])})`
  }
}

/** It cannot be evaluated: an error of CEL. */
const FAILS = Symbol('fails')
type Result = boolean | typeof FAILS

/** By the definition of the language (cel-spec, doc/langdef.md), the long way. */
function evaluated(tree: Condition, json: unknown, qos: number): Result {
  switch (tree.is) {
    case 'qos':
      return qos === tree.number
    case 'not': {
      const inner = evaluated(tree.of, json, qos)
      return inner === FAILS ? FAILS : !inner
    }
    case 'choice': {
      const first = evaluated(tree.of[0], json, qos)
      return first === FAILS ? FAILS : evaluated(tree.of[first ? 1 : 2], json, qos)
    }
    case 'and':
    case 'or': {
      // A side that decides does so whatever the other one is.
      const decides = tree.is === 'or'
      const sides = tree.of.map((side) => evaluated(side, json, qos))
      if (sides.includes(decides)) return decides
      return sides.includes(FAILS) ? FAILS : !decides
    }
    case 'has': {
      const parent = at(json, tree.path.slice(0, -1))
      // The package says false of what is no map, where the definition has an error, and of null, which docs/filters.md says.
      if (parent === FAILS) return FAILS
      const value = at(parent, [tree.path.at(-1)!])
      return value !== FAILS && value !== null
    }
  }
  const value = at(json, tree.path)
  if (value === FAILS) return FAILS
  switch (tree.is) {
    case 'compare':
      return compared(value, tree.operator, tree.number)
    case 'equal':
      return (value === tree.value) !== tree.not
    case 'in':
      return tree.values.some((each) => each === value)
    case 'text':
      if (typeof value !== 'string') return FAILS
      return {
        startsWith: value.startsWith(tree.text),
        contains: value.includes(tree.text),
        endsWith: value.endsWith(tree.text),
      }[tree.name]
    case 'macro':
      return Array.isArray(value)
        ? ofMacro(
            tree.name,
            value.map((each) => compared(each, '>', tree.number)),
          )
        : FAILS
  }
}

const isMap = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

function at(json: unknown, names: readonly string[]): unknown {
  let value = json
  for (const name of names) {
    if (!isMap(value) || !Object.hasOwn(value, name)) return FAILS
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

function compared(value: unknown, operator: string, other: number): Result {
  if (typeof value !== 'number') return FAILS
  return { '<': value < other, '>': value > other, '<=': value <= other, '>=': value >= other }[operator]!
}

function ofMacro(name: 'all' | 'exists' | 'exists_one', each: readonly Result[]): Result {
  if (name === 'exists_one') return each.includes(FAILS) ? FAILS : each.filter((one) => one === true).length === 1
  const decides = name === 'exists'
  if (each.includes(decides)) return decides
  return each.includes(FAILS) ? FAILS : !decides
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return FAILS
  }
}

const naive = (tree: Condition, text: string, qos: number): boolean => {
  const json = parsed(text)
  return evaluated(tree, json, qos) === true
}

test('a condition is what the definition of CEL says', () => {
  fc.assert(
    fc.property(condition, fc.array(payload, { minLength: 1, maxLength: 5 }), fc.constantFrom(0, 1, 2), (tree, payloads, qos) => {
      const text = written(tree)
      const compiled = language.compile(text)
      if ('error' in compiled) throw new Error(`${text}: ${compiled.error}`)
      for (const each of payloads) {
        const message = Publish.of('a', Buffer.from(each), qos as 0 | 1 | 2)
        expect(compiled.test(language.factsOf(message, 0), Number.POSITIVE_INFINITY) === true, `${text} on ${each}`).toBe(
          naive(tree, each, qos),
        )
      }
    }),
    runs(2000),
  )
})

test('what is no condition is refused, never thrown, whatever its characters', () => {
  const pieces = fc.constantFrom(
    'json',
    '.a',
    '[',
    ']',
    '(',
    ')',
    '"',
    "'",
    '?',
    ':',
    '&&',
    '!',
    '-',
    '1',
    'x',
    '{',
    '}',
    ',',
    '\\',
    '//',
    ' ',
    '\n',
    '.all(',
    'matches(',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(pieces, { maxLength: 40 }).map((each) => each.join('')),
        fc.string({ maxLength: 60 }),
      ),
      (text) => {
        const compiled = language.compile(text)
        if ('error' in compiled) expect(compiled.error).toMatch(/^character \d+: /)
        else compiled.test(language.factsOf(Publish.of('a', Buffer.from('{}')), 0), Number.POSITIVE_INFINITY)
      },
    ),
    runs(2000),
  )
})

/** What happens to a broker in the model below. */
type Deed =
  | {
      readonly do: 'subscribe'
      readonly who: number
      readonly filter: number
      readonly qos: 0 | 1 | 2
      readonly condition: number
      readonly noLocal: boolean
    }
  | { readonly do: 'unsubscribe'; readonly who: number; readonly filter: number }
  | { readonly do: 'publish'; readonly who: number; readonly topic: number; readonly value: number }

const FILTERS = ['t/a', 't/+', 't/#', '#', '$share/g/t/+'] as const
const TOPICS = ['t/a', 't/b', 't/a/c', 'u'] as const
/** 0 is none. */
const TEXTS = ['', 'json > 2', 'json < 4', 'json == 3', 'json.x > 1', 'topic == "t/a" || json >= 5'] as const
const LETS: readonly ((value: number, topic: string) => boolean)[] = [
  () => true,
  (value) => value > 2,
  (value) => value < 4,
  (value) => value === 3,
  () => false,
  (value, topic) => topic === 't/a' || value >= 5,
]
const CLIENTS = 3
const index = (of: readonly unknown[]): fc.Arbitrary<number> => fc.nat(of.length - 1)
const who = fc.nat(CLIENTS - 1)
const deeds: fc.Arbitrary<Deed[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('subscribe' as const),
        who,
        filter: index(FILTERS),
        qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
        condition: index(TEXTS),
        noLocal: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), who, filter: index(FILTERS) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const), who, topic: index(TOPICS), value: fc.nat(6) }) },
  ),
  { maxLength: 30 },
)

interface Subscribed {
  readonly qos: number
  readonly condition: number
  readonly noLocal: boolean
}

describe('routing with conditions', () => {
  test('is that of each session and each subscription evaluated on its own', () => {
    fc.assert(
      fc.property(deeds, (all) => {
        const world = new TestBroker({ conditions: { language } })
        const clients = Array.from({ length: CLIENTS }, (_, i) => world.connect(`c${i}`))
        const model = clients.map(() => new Map<string, Subscribed>())
        for (const deed of all) {
          if (deed.do === 'publish') expectRouted(clients, model, deed)
          else if (deed.do === 'unsubscribe') {
            clients[deed.who]!.unsubscribe(FILTERS[deed.filter]!)
            model[deed.who]!.delete(FILTERS[deed.filter]!)
          } else {
            const { qos, condition, noLocal } = deed
            const filter = FILTERS[deed.filter]!
            const shared = filter.startsWith('$share')
            const properties: Properties = condition === 0 ? {} : { userProperties: [['filter', TEXTS[condition]!]] }
            clients[deed.who]!.subscribe(filter, qos, { noLocal: noLocal && !shared, retainHandling: 2 }, properties)
            model[deed.who]!.set(filter, { qos, condition, noLocal: noLocal && !shared })
          }
          for (const client of clients) client.poll()
        }
        const used = new Set(model.flatMap((of) => [...of.values()].map(({ condition }) => condition)).filter((each) => each > 0))
        expect(world.broker.conditions.size).toBe(used.size)
        for (const client of clients) client.disconnect()
        world.advance(0)
        expect([world.broker.conditions.size, world.broker.conditions.bytes]).toEqual([0, 0])
      }),
      runs(300),
    )
  })
})

function expectRouted(
  clients: readonly TestClient[],
  model: readonly Map<string, Subscribed>[],
  deed: Extract<Deed, { do: 'publish' }>,
): void {
  const topic = TOPICS[deed.topic]!
  const lets = ({ condition }: Subscribed): boolean => LETS[condition]!(deed.value, topic)
  clients[deed.who]!.publish(topic, String(deed.value), 2, 1)
  clients[deed.who]!.ack(6, 1)
  // Of a shared subscription one member gets it, whoever that is, if there is one whose condition passes.
  const members = model.filter((of) => {
    const shared = of.get('$share/g/t/+')
    return shared !== undefined && topicMatches('t/+', topic) && lets(shared)
  }).length
  let extra = 0
  for (const [i, client] of clients.entries()) {
    const matching = [...model[i]!].filter(
      ([filter, each]) =>
        !filter.startsWith('$share') && topicMatches(filter, topic) && lets(each) && !(each.noLocal && i === deed.who),
    )
    const got = client.poll().filter((line) => line.startsWith(`${topic}=`))
    const qos = Math.max(...matching.map(([, each]) => each.qos))
    const own = matching.length > 0 ? 1 : 0
    expect(got.length - own, `${topic}=${deed.value} to c${i}`).toBeGreaterThanOrEqual(0)
    if (own > 0) expect(got.some((line) => line.includes(` q${qos}`))).toBe(true)
    extra += got.length - own
    // What is in flight makes room again.
    for (const line of got) {
      const [, level, id] = / q(\d)(?: #(\d+))?/.exec(line)!
      if (level === '1') client.ack(4, Number(id))
      if (level === '2') {
        client.ack(5, Number(id))
        client.ack(7, Number(id))
      }
    }
  }
  expect(extra).toBe(members > 0 ? 1 : 0)
}
