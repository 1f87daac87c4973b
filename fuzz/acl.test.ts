import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Acl, type AclSubject, type Permission, parseAcl } from '../src/access/acl.ts'
import { type Action, decidingRule, isPartial } from '../src/access/explanation.ts'
import { intersection } from '../src/mqtt/topics.ts'
import { runs } from './runs.ts'
import { topicMatches } from './topic-matches.ts'

// Few letters and short topics, so that rules, filters and topics meet often.
const level = fc.constantFrom('a', 'b', '', '$x', '%c', '%u', 'constructor', 'x y')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([levels, rest]) => (rest || levels.length === 0 ? [...levels, '#'] : levels).join('/'))
  // What is around a line's text, and a filter of nothing, the format cannot say.
  .filter((text) => text.trim() === text && text !== '')
const name = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    '+',
    '#',
    'a/b',
    '/',
    'a/#',
    '',
    '\0',
    'a\0',
    '.*',
    '$x',
    '%c',
    '%u',
    '(',
    '\\',
    '$&',
    '__proto__',
    'constructor',
  ),
  fc.string({ maxLength: 4 }),
)
const who: fc.Arbitrary<AclSubject> = fc.record({ clientId: name, username: fc.option(name, { nil: undefined }) })

/** Topics that the filter matches, with levels in place of wildcards that no rule names. */
function instancesOf(filter: string): string[] {
  const levels = filter.split('/').map((level) => (level === '+' ? 'fresh' : level))
  if (levels.at(-1) !== '#') return [levels.join('/')]
  const parent = levels.slice(0, -1)
  return [parent, [...parent, 'fresh'], [...parent, 'fresh', 'fresh']]
    .filter(({ length }) => length > 0)
    .map((all) => all.join('/'))
}

interface Rule {
  readonly kind: 'topic' | 'pattern'
  /** Whose, for a topic. */
  readonly user: string | undefined
  readonly permission: Permission
  readonly filter: string
}
const rule: fc.Arbitrary<Rule> = fc.record({
  kind: fc.constantFrom('topic', 'pattern'),
  user: fc.constantFrom(undefined, 'a', 'b', 'constructor'),
  permission: fc.constantFrom('read', 'write', 'readwrite', 'deny'),
  filter,
})
const rules = fc.array(rule, { maxLength: 8 })

function aclOf(rules: readonly Rule[]): Acl {
  const own = rules.toSorted((one, other) => Number(one.user !== undefined) - Number(other.user !== undefined))
  const lines = own.flatMap(({ kind, user, permission, filter }) => [
    ...(user === undefined ? [] : [`user ${user}`]),
    `${kind} ${permission} ${filter}`,
  ])
  const acl = parseAcl(lines.join('\n'))
  if (!(acl instanceof Acl)) throw new Error(`line ${acl.line}: ${acl.reason}`)
  return acl
}

/** Whether one rule, with the names of this client in it, matches a topic: level by level, by nothing but comparisons. */
function applies({ kind, user, permission, filter }: Rule, { clientId, username }: AclSubject, topic: string): boolean {
  if (kind === 'topic') return user === username && topicMatches(filter, topic)
  const levels = topic.split('/')
  const wanted = filter.split('/')
  const names = wanted.map((level, i) => (level === '%c' ? clientId : level === '%u' ? username : levels[i]))
  if (permission === 'deny') {
    const filled = wanted.map((level, i) => (/^%[cu]$/.test(level) ? names[i] : level))
    // What is taken away is so from every name, whatever it makes of the filter.
    return !filled.includes(undefined) && topicMatches(filled.join('/'), topic)
  }
  for (const [i, level] of wanted.entries()) {
    if (level !== '%c' && level !== '%u') continue
    // No name leads to topics that wildcards do not see.
    if (i === 0 && names[i]?.startsWith('$')) return false
    // A name counts only as the one level that reads exactly like it.
    if (names[i] === undefined || names[i] === '' || /[+#/\0]/.test(names[i]!) || levels[i] !== names[i]) return false
  }
  // With that settled, a placeholder is the level that is there.
  return topicMatches(wanted.map((level, i) => (/^%[cu]$/.test(level) ? levels[i]! : level)).join('/'), topic)
}

const allows = (rules: readonly Rule[], who: AclSubject, topic: string, wanted: Permission): boolean => {
  const applied = rules.filter((rule) => applies(rule, who, topic)).map(({ permission }) => permission)
  return !applied.includes('deny') && (applied.includes(wanted) || applied.includes('readwrite'))
}

test('topics: may publish and may read, as the oracle says', () => {
  fc.assert(
    fc.property(rules, who, fc.array(topic, { minLength: 1, maxLength: 10 }), (rules, who, topics) => {
      const set = aclOf(rules).rulesFor(who)
      for (const topic of topics) {
        expect([topic, set.mayPublish(topic)]).toEqual([topic, allows(rules, who, topic, 'write')])
        expect([topic, set.mayRead(topic)]).toEqual([topic, allows(rules, who, topic, 'read')])
      }
    }),
    runs(500),
  )
})

test('a filter that is granted matches no topic that no rule allows to read, and is delivered none that is denied', () => {
  fc.assert(
    fc.property(rules, who, filter, fc.array(topic, { minLength: 1, maxLength: 20 }), (rules, who, filter, topics) => {
      const set = aclOf(rules).rulesFor(who)
      if (!set.maySubscribe(filter)) return
      const granting = rules.filter(({ permission }) => permission === 'read' || permission === 'readwrite')
      for (const topic of topics) {
        if (!topicMatches(filter, topic)) continue
        expect(granting.some((rule) => applies(rule, who, topic))).toBe(true)
        expect(set.mayRead(topic)).toBe(allows(rules, who, topic, 'read'))
      }
    }),
    runs(1000),
  )
})

test('a filter is granted in part if and only if it matches a topic that may be read', () => {
  fc.assert(
    fc.property(rules, who, filter, fc.array(topic, { minLength: 1, maxLength: 20 }), (rules, who, filter, topics) => {
      const set = aclOf(rules).rulesFor(who)
      const readable = (topic: string): boolean => topicMatches(filter, topic) && set.mayRead(topic)
      if (!set.mayReadSome(filter)) for (const topic of topics) expect([topic, readable(topic)]).toEqual([topic, false])
      // Several denials together may leave nothing of what one of them leaves something of.
      else if (rules.filter(({ permission }) => permission === 'deny').length <= 1) {
        const parts = set.rules.map((rule) => intersection(rule.filter, filter)).filter((part) => part !== undefined)
        expect(parts.flatMap(instancesOf).some(readable)).toBe(true)
      }
    }),
    runs(1000),
  )
})

test('the rule that an explanation names decides as the rules do, and stands in its line', () => {
  fc.assert(
    fc.property(rules, who, topic, filter, (rules, who, topic, filter) => {
      const acl = aclOf(rules)
      const set = acl.rulesFor(who)
      const explained = acl.linesFor(who)
      const decides = (action: Action, about: string, filtered = true): boolean => {
        const rule = decidingRule(explained, action, about, filtered)
        return rule !== undefined && rule.permission !== 'deny'
      }
      expect(decides('publish', topic)).toBe(set.mayPublish(topic))
      expect(decides('receive', topic)).toBe(set.mayRead(topic))
      expect(decides('subscribe', filter)).toBe(set.mayReadSome(filter))
      expect(decides('subscribe', filter, false)).toBe(set.maySubscribe(filter))
      if (!isPartial(explained, filter)) expect(set.maySubscribe(filter)).toBe(true)
      expect(explained.flatMap((each) => (each.filter === undefined ? [] : [each.filter]))).toEqual(
        set.rules.map((each) => each.filter),
      )
    }),
    runs(1000),
  )
})

test('whoever may read a topic may subscribe to it by its name', () => {
  fc.assert(
    fc.property(rules, who, topic, (rules, who, topic) => {
      const set = aclOf(rules).rulesFor(who)
      expect(set.maySubscribe(topic)).toBe(set.mayRead(topic))
    }),
    runs(300),
  )
})

test('whatever a client calls itself: the patterns give it the one level of that name, and nothing else', () => {
  const text = fc.oneof(name, fc.string({ unit: 'binary', maxLength: 6 }))
  fc.assert(
    fc.property(text, text, topic, topic, (clientId, other, head, tail) => {
      fc.pre(clientId !== other)
      const acl = parseAcl('pattern readwrite dev/%c/#\npattern read by/%u\n') as Acl
      const set = acl.rulesFor({ clientId, username: clientId })
      const isLevel = clientId !== '' && !/[+#/\0]/.test(clientId)
      expect(set.mayPublish(`dev/${clientId}/${tail}`)).toBe(isLevel)
      expect(set.maySubscribe(`by/${clientId}`)).toBe(isLevel)
      for (const topic of [`dev/${head}`, `dev/${other}/${tail}`, `by/${head}`, `by/${other}`, head])
        if (topic.split('/')[1] !== clientId) expect([set.mayPublish(topic), set.mayRead(topic)]).toEqual([false, false])
      for (const filter of ['#', 'dev/#', 'dev/+/#', 'dev/+', 'by/+', '+/+'])
        if (filter !== `dev/${clientId}`) expect(set.maySubscribe(filter)).toBe(false)
    }),
    runs(1000),
  )
})

test('no file whatsoever makes the reader throw, or lets anybody in whom no line names', () => {
  const line = fc.oneof(fc.string(), fc.constantFrom('user a', 'topic', 'pattern', 'topic deny', '# x', 'topic a/#/b', 'user'))
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
      const acl = parseAcl(lines.join('\n'))
      if (acl instanceof Acl) {
        const granted = lines.some((text) => /^\s*(topic|pattern)\s/.test(text))
        if (!granted) expect(acl.rulesFor({ clientId: 'c', username: undefined }).mayRead('a')).toBe(false)
      } else expect(acl.line).toBeLessThanOrEqual(lines.join('\n').split('\n').length)
    }),
    runs(500),
  )
})
