import { describe, expect, test } from 'vitest'
import { Acl, type AclError, parseAcl, type RuleSet } from '../../src/access/acl.ts'

function rules(text: string, username?: string, clientId = 'c1'): RuleSet {
  const acl = parseAcl(text)
  if (!(acl instanceof Acl)) throw new Error(`line ${acl.line}: ${acl.reason}`)
  return acl.rulesFor({ clientId, username })
}

const wrong = (text: string): AclError => {
  const acl = parseAcl(text)
  if (acl instanceof Acl) throw new Error('it was taken')
  return acl
}

/** `rw`, `r`, `w` or `-`. */
const on = (set: RuleSet, topic: string): string => {
  const may = `${set.mayRead(topic) ? 'r' : ''}${set.mayPublish(topic) ? 'w' : ''}`
  return may === '' ? '-' : may
}

describe('a file in the format of Mosquitto', () => {
  test('read, write, readwrite, and readwrite where nothing is said', () => {
    const set = rules('topic read a\ntopic write b\ntopic readwrite c\ntopic d\n')
    expect(['a', 'b', 'c', 'd', 'e'].map((topic) => on(set, topic))).toEqual(['r', 'w', 'rw', 'rw', '-'])
  })

  test('what comes before the first user is for those without a name, and for nobody else', () => {
    const text = 'topic a\nuser alice\ntopic b\n'
    expect(on(rules(text), 'a')).toBe('rw')
    expect(on(rules(text), 'b')).toBe('-')
    expect(on(rules(text, 'alice'), 'a')).toBe('-')
    expect(on(rules(text, 'alice'), 'b')).toBe('rw')
    expect(on(rules(text, 'bob'), 'a')).toBe('-')
    expect(on(rules(text, 'bob'), 'b')).toBe('-')
  })

  test('a user can be repeated, and have spaces in the name', () => {
    const text = 'user alice b\ntopic a\nuser bob\ntopic b\nuser alice b\ntopic c\n'
    expect(['a', 'b', 'c'].map((topic) => on(rules(text, 'alice b'), topic))).toEqual(['rw', '-', 'rw'])
  })

  test('patterns are for everybody, with the names put in', () => {
    const text = 'pattern read in/%c/#\npattern write out/%u/%c\n'
    expect(on(rules(text, 'alice', 's1'), 'in/s1/x')).toBe('r')
    expect(on(rules(text, 'alice', 's1'), 'in/s2/x')).toBe('-')
    expect(on(rules(text, 'alice', 's1'), 'out/alice/s1')).toBe('w')
    expect(on(rules(text, 'alice', 's1'), 'out/bob/s1')).toBe('-')
    // Who has no name gets nothing of a pattern that asks for one.
    expect(on(rules(text, undefined, 's1'), 'out//s1')).toBe('-')
    expect(on(rules(text, undefined, 's1'), 'in/s1')).toBe('r')
  })

  test.each(['%c', '%u'])('a name that begins with $ opens no topics of the broker by %s/#', (name) => {
    const text = `pattern readwrite ${name}/#\n`
    for (const odd of ['$SYS', '$CONTROL', '$share', '$', '$x']) {
      const set = rules(text, odd, odd)
      expect([on(set, `${odd}/x`), on(set, odd), on(set, `${odd}/broker/version`)]).toEqual(['-', '-', '-'])
      expect([set.maySubscribe(`${odd}/#`), set.mayReadSome(`${odd}/#`), set.mayReadSome(`${odd}/+`)]).toEqual([
        false,
        false,
        false,
      ])
      // Below another level it is a name like any other.
      expect(on(rules(`pattern readwrite devices/${name}/#\n`, odd, odd), `devices/${odd}/x`)).toBe('rw')
    }
    expect(on(rules(text, 'a$', 'a$'), 'a$/x')).toBe('rw')
  })

  test('a name that would get nothing loses what a denial takes away all the same', () => {
    const text =
      'pattern deny devices/%c/secret/#\npattern deny %u/#\nuser a/b\ntopic #\nuser #\ntopic #\nuser $SYS\ntopic $SYS/#\n'
    expect(['devices/x/y/secret', 'a/b/c', 'b'].map((topic) => on(rules(text, 'a/b', 'x/y'), topic))).toEqual(['-', '-', 'rw'])
    expect(['devices/x/secret', 'devices/x', 'b'].map((topic) => on(rules(text, 'a/b', '+'), topic))).toEqual(['-', 'rw', 'rw'])
    expect(on(rules(text, '#', 'x'), 'b')).toBe('-')
    expect(['devices', 'devices/a', 'b'].map((topic) => on(rules(text, 'a/b', 'a/#'), topic))).toEqual(['rw', '-', 'rw'])
    expect(on(rules(text, '$SYS', 'x'), '$SYS/broker')).toBe('-')
  })

  test('deny wins over whatever is allowed, in which order ever', () => {
    for (const text of ['topic a/#\ntopic deny a/secret/#\n', 'topic deny a/secret/#\ntopic a/#\n']) {
      const set = rules(text)
      expect([on(set, 'a/b'), on(set, 'a/secret'), on(set, 'a/secret/b')]).toEqual(['rw', '-', '-'])
    }
    expect(on(rules('pattern deny %c/#\nuser alice\ntopic #\n', 'alice', 'x'), 'x/y')).toBe('-')
  })

  test('comments, empty lines, spaces around and line ends of Windows', () => {
    const set = rules('# topic x\r\n\r\n   topic read a b  \r\n\t# topic y\r\n')
    expect(['a b', 'x', 'y'].map((topic) => on(set, topic))).toEqual(['r', '-', '-'])
  })

  test.each([
    ['empty', ''],
    ['nothing but comments', '# topic #\n\n#\n'],
    ['a user without a topic', 'user alice\n'],
  ])('%s: nobody may do anything', (_, text) => {
    for (const username of [undefined, 'alice']) {
      const set = rules(text, username)
      expect([on(set, 'a'), set.maySubscribe('a'), set.maySubscribe('#')]).toEqual(['-', false, false])
    }
  })
})

test.each<[string, number, RegExp]>([
  ['topic a\nbogus b\n', 2, /^expected user, topic or pattern, got bogus$/],
  ['user\n', 1, /^user needs a name$/],
  ['topic\n', 1, /^empty topic filter$/],
  ['topic a/#/b\n', 1, /^# is not the last level$/],
  ['\n\ntopic read a+\n', 3, /^\+ is not a whole level$/],
  ['topic dney a\n', 1, /^expected read, write, readwrite or deny, got dney$/],
  ['pattern raed %c\n', 1, /^expected read, write, readwrite or deny, got raed$/],
  ['topic deny\n', 1, /^deny needs a topic filter$/],
  ['topic read\n', 1, /^read needs a topic filter$/],
  ['pattern read x-%c/y\n', 1, /^x-%c has %c or %u beside other text: it has to be a whole level$/],
  ['topic a\0b\n', 1, /NUL/],
])('%j is refused: line %i', (text, line, reason) => {
  expect(wrong(text)).toEqual({ line, reason: expect.stringMatching(reason) })
})

test('a filter with spaces needs a permission in front, as with Mosquitto', () => {
  expect(wrong('topic two words\n').reason).toMatch(/^expected read, write/)
  expect(on(rules('topic readwrite two words\n'), 'two words')).toBe('rw')
})

describe('a subscription is allowed if one rule allows all that it matches', () => {
  test.each<[string, string, boolean]>([
    ['a/#', 'a/#', true],
    ['a/#', 'a', true],
    ['a/#', 'a/+/c', true],
    ['a/#', '#', false],
    ['a/#', '+/b', false],
    ['a/#', 'ab', false],
    ['a/+', 'a/b', true],
    ['a/+', 'a/+', true],
    ['a/+', 'a/#', false],
    ['a/b', 'a/+', false],
    ['#', '#', true],
    ['#', '$SYS/#', false],
    ['+/#', '#', true],
    ['$SYS/#', '$SYS/broker/+', true],
    ['constructor/#', '__proto__/#', false],
  ])('%s allows %s: %s', (rule, filter, allowed) => {
    expect(rules(`topic read ${rule}\n`).maySubscribe(filter)).toBe(allowed)
    expect(rules(`topic write ${rule}\n`).maySubscribe(filter)).toBe(false)
  })

  test('what a denial covers is refused; what it only touches is held back message by message', () => {
    const set = rules('topic read a/#\ntopic deny a/secret/+\n')
    expect(set.maySubscribe('a/secret/+')).toBe(false)
    expect(set.maySubscribe('a/secret/x')).toBe(false)
    expect(set.maySubscribe('a/#')).toBe(true)
    expect([set.mayRead('a/b'), set.mayRead('a/secret/x')]).toEqual([true, false])
  })
})

describe('names never widen a pattern', () => {
  const text = 'pattern readwrite dev/%c/#\npattern readwrite user/%u\n'
  test.each(['+', '#', 'a/b', '/', 'a+', '#a', '\0', 'a\0b', ''])('%j gets nothing by its name', (name) => {
    const byId = rules(text, 'u', name)
    const byUser = rules(text, name, 'c')
    for (const topic of ['dev/other/x', 'dev/a', 'dev/a/b', 'dev', `dev/${name}/x`]) expect(on(byId, topic)).toBe('-')
    for (const filter of ['dev/#', 'dev/+/#', `dev/${name}/#`]) expect(byId.maySubscribe(filter)).toBe(false)
    for (const topic of ['user/other', 'user/a', `user/${name}`]) expect(on(byUser, topic)).toBe('-')
  })

  test.each(['.*', '[a-z]', '$1', '$&', '%u', '%c', '\\', '(', '__proto__', 'constructor', '$SYS'])('%j is just text', (name) => {
    const set = rules(text, 'alice', name)
    expect(on(set, `dev/${name}/x`)).toBe('rw')
    for (const other of ['a', 'alice', 'x', '']) expect(on(set, `dev/${other}/x`)).toBe('-')
  })
})

test('users are told apart whatever they are called', () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty'])
    expect(on(rules('user x\ntopic #\n', name), 'a')).toBe('-')
  expect(on(rules('user __proto__\ntopic a\n', '__proto__'), 'a')).toBe('rw')
})

test('answers for topics are remembered within a bound, and stay right', () => {
  const set = rules('topic write a/+\n')
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 1000; i++) expect([set.mayPublish(`a/${i}`), set.mayPublish(`b/${i}`)]).toEqual([true, false])
})
