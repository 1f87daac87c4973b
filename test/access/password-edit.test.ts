import { expect, test } from 'vitest'
import { linesOf, userNameError, withHash, withoutUser } from '../../src/access/password-edit.ts'

const FILE = '# pumps\nalice:$7$1$a$b\n\nbob:$6$a$b\r\nalice:$scram-sha-256$4096$a$b$c\n# end\n'

test('a hash takes the place of the one before; comments, blank lines and other users stay', () => {
  expect(withHash(FILE, 'alice', '$7$2$x$y')).toBe(FILE.replace('$7$1$a$b', '$7$2$x$y'))
  expect(withHash(FILE, 'alice', '$scram-sha-256$9$x$y$z')).toBe(
    FILE.replace('$scram-sha-256$4096$a$b$c', '$scram-sha-256$9$x$y$z'),
  )
  expect(withHash(FILE, 'bob', '$7$2$x$y')).toBe(FILE.replace('$6$a$b', '$7$2$x$y'))
})

test('a new user comes last, also after a line without an end', () => {
  expect(withHash(FILE, 'ali', '$7$2$x$y')).toBe(`${FILE}ali:$7$2$x$y\n`)
  expect(withHash('bob:x', 'ali', '$7$2$x$y')).toBe('bob:x\nali:$7$2$x$y\n')
  expect(withHash('', 'ali', '$7$2$x$y')).toBe('ali:$7$2$x$y\n')
})

test('the lines of a user', () => {
  expect(linesOf(FILE, 'alice')).toBe('alice:$7$1$a$b\nalice:$scram-sha-256$4096$a$b$c\n')
  expect(linesOf('bob:x', 'bob')).toBe('bob:x\n')
  expect(linesOf(FILE, 'ice')).toBe('')
})

test('a user is deleted with all lines, and nobody whose name begins alike', () => {
  expect(withoutUser(FILE, 'alice')).toBe('# pumps\n\nbob:$6$a$b\r\n# end\n')
  expect(withoutUser(FILE, 'ali')).toBe(FILE)
  expect(withoutUser('a:x\nb:y', 'b')).toBe('a:x\n')
})

test.each(['', 'a:b', 'a\nb', '#a', 'x'.repeat(65_536)])('%#: a name that no line can have', (name) =>
  expect(userNameError(name)).not.toBe(''),
)
test.each(['alice', ' a b ', 'ä', '%c', '__proto__'])('the name %s is one', (name) => expect(userNameError(name)).toBe(''))
