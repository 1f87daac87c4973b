import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PasswordChecker } from '../../src/access/io/password-hash.ts'
import { type PasswordEntry, parsePasswords } from '../../src/access/password-file.ts'
import { run } from '../../src/cli/cli.ts'
import { StubHost } from './stub-host.ts'

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-passwd-'))
  path = join(dir, 'passwords')
})
afterEach(() => rmSync(dir, { recursive: true }))

/** With few rounds, for the sake of time. */
const passwd = async (argv: readonly string[], stdin?: StubHost['stdin']) => {
  const host = new StubHost()
  if (stdin !== undefined) host.stdin = stdin
  const code = await run(['passwd', ...argv], host)
  return { code, out: host.out, err: host.err }
}
const set = (user: string, password: string, ...flags: string[]) => passwd([...flags, '-I', '3', '-b', path, user, password])
const entries = (): ReadonlyMap<string, PasswordEntry> => {
  const parsed = parsePasswords(readFileSync(path, 'utf8'))
  if ('reason' in parsed) throw new Error(String(parsed.reason))
  return parsed as ReadonlyMap<string, PasswordEntry>
}
const isRight = async (user: string, password: string): Promise<boolean> => {
  const hash = entries().get(user)?.password
  if (hash === undefined) return false
  return (await new PasswordChecker().check(hash, Buffer.from(password), (work) => work())) === 'right'
}
const DONE = { code: 0, out: '', err: '' }

test('-c begins a file that only its owner can read; more users are added, and a password is changed', async () => {
  expect(await set('alice', 'one', '-c')).toEqual(DONE)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(await set('bob', 'two')).toEqual(DONE)
  expect(await set('alice', 'three')).toEqual(DONE)
  expect([...entries().keys()].sort()).toEqual(['alice', 'bob'])
  expect([await isRight('alice', 'three'), await isRight('alice', 'one'), await isRight('bob', 'two')]).toEqual([
    true,
    false,
    true,
  ])
  expect(await set('carol', 'four', '-c')).toEqual(DONE)
  expect([...entries().keys()]).toEqual(['carol'])
  expect(readdirSync(dir)).toEqual(['passwords'])
})

test('a file that is not there yet is begun without -c too', async () => {
  expect(await set('alice', 'one')).toEqual(DONE)
  expect(await isRight('alice', 'one')).toBe(true)
})

test('-D deletes a user, with all that there is of one; of one who is not there it tells', async () => {
  await set('alice', 'one')
  await set('alice', 'one', '--scram')
  await set('alice2', 'two')
  expect(await passwd(['-D', path, 'alice'])).toEqual(DONE)
  expect([...entries().keys()]).toEqual(['alice2'])
  expect(await passwd(['-D', path, 'alice'])).toEqual({ code: 2, out: '', err: `${path}: no user alice\n` })
  expect((await passwd(['-D', join(dir, 'none'), 'alice'])).err).toMatch(/none: no such file or directory\n$/)
})

test('-U puts hashes in the place of passwords, and leaves hashes and comments alone', async () => {
  await set('alice', 'one')
  const hashed = readFileSync(path, 'utf8')
  writeFileSync(path, `# users\n${hashed}bob:two\r\ncarol: with: colon\n`)
  expect(await passwd(['-U', '-I', '3', path])).toEqual(DONE)
  expect(readFileSync(path, 'utf8').startsWith(`# users\n${hashed}`)).toBe(true)
  expect([await isRight('bob', 'two'), await isRight('carol', ' with: colon')]).toEqual([true, true])
  expect(statSync(path).mode & 0o777).toBe(0o600)
  writeFileSync(path, 'a:x\nbob\n')
  expect(await passwd(['-U', path])).toEqual({ code: 2, out: '', err: `${path}:2: expected <user>:<password>\n` })
  expect(readFileSync(path, 'utf8')).toBe('a:x\nbob\n')
})

test('--scram writes its line beside the hash, and each is changed by itself', async () => {
  await set('alice', 'one')
  await set('alice', 'two', '--scram')
  expect(entries().get('alice')).toMatchObject({ password: { iterations: 3 }, scram: { iterations: 3 } })
  const { storedKey } = entries().get('alice')!.scram!
  await set('alice', 'three')
  expect(entries().get('alice')!.scram!.storedKey).toBe(storedKey)
  await set('alice', 'four', '--scram')
  expect(entries().get('alice')!.scram!.storedKey).not.toBe(storedKey)
  expect(await isRight('alice', 'three')).toBe(true)
})

test('the rounds are what OWASP asks for, and with --scram what RFC 7677 asks for, unless -I says otherwise', async () => {
  expect(await passwd(['-b', path, 'alice', 'x'])).toEqual(DONE)
  expect(await passwd(['--scram', '-b', path, 'alice', 'x'])).toEqual(DONE)
  expect(entries().get('alice')).toMatchObject({ password: { iterations: 210_000 }, scram: { iterations: 4096 } })
})

test('a file with a bad line is not written over, and the line is told', async () => {
  writeFileSync(path, 'alice:plain\n')
  for (const argv of [
    ['-b', path, 'bob', 'x'],
    ['-D', path, 'alice'],
  ])
    expect(await passwd(argv)).toEqual({ code: 2, out: '', err: `${path}:1: no hash for user alice\n` })
  expect(readFileSync(path, 'utf8')).toBe('alice:plain\n')
})

test('the file is replaced in one step: who has it open has the old one, a link stays one, its owner keeps it', async () => {
  await set('alice', 'one')
  const before = statSync(path)
  symlinkSync(path, join(dir, 'link'))
  chmodSync(path, 0o644)
  expect(await passwd(['-I', '3', '-b', join(dir, 'link'), 'bob', 'x'])).toEqual(DONE)
  const after = statSync(path)
  expect(after.ino).not.toBe(before.ino)
  expect([after.uid, after.gid, after.mode & 0o777]).toEqual([before.uid, before.gid, 0o600])
  expect([...entries().keys()]).toEqual(['alice', 'bob'])
  expect(readdirSync(dir).sort()).toEqual(['link', 'passwords'])
})

test('root who sets a password does not take the file from the user of the broker', async () => {
  // Whoever is not root has no other owner to give it to.
  const [uid, gid] = process.getuid?.() === 0 ? [65_534, 65_534] : [statSync(dir).uid, statSync(dir).gid]
  await set('alice', 'one')
  chownSync(path, uid, gid)
  await set('bob', 'two')
  expect([statSync(path).uid, statSync(path).gid]).toEqual([uid, gid])
})

test('a directory that cannot be written to leaves nothing behind', async () => {
  const { code, err } = await passwd(['-I', '3', '-b', join(dir, 'none', 'file'), 'alice', 'x'])
  expect({ code, err }).toEqual({
    code: 2,
    err: expect.stringMatching(/^cannot write \S+none\/file: no such file or directory\n$/),
  })
  expect(readdirSync(dir)).toEqual([])
})

describe('what makes no sense', () => {
  test.each<[string[], RegExp]>([
    [['FILE'], /^expected a user; see roost passwd --help\n$/],
    [['-b', 'FILE', 'alice'], /^-b: expected a user and a password\n$/],
    [['FILE', 'alice', 'secret'], /^a password on the command line needs -b\n$/],
    [['-b', 'FILE', 'alice', ''], /^the password is empty\n$/],
    [['-b', 'FILE', 'a:b', 'x'], /^user "a:b": a name contains no colon and no control character/],
    [['-b', 'FILE', 'a\nb', 'x'], /^user "a\\nb": a name contains no colon/],
    [['-b', 'FILE', '#a', 'x'], /^user #a: a line that starts with # is a comment\n$/],
    [['-b', 'FILE', 'a'.repeat(65_536), 'x'], /^user: longer than MQTT allows\n$/],
    [['-b', '-I', '0', 'FILE', 'a', 'x'], /^-I: expected a whole number from 1 to 10000000, got 0\n$/],
    [['-b', '-I', '1e3', 'FILE', 'a', 'x'], /^-I: expected/],
  ])('%j', async (argv, line) => {
    const { code, err } = await passwd(argv.map((arg) => (arg === 'FILE' ? path : arg)))
    expect({ code, err }).toEqual({ code: 2, err: expect.stringMatching(line) })
    expect(readdirSync(dir)).toEqual([])
  })
})

describe('without -b', () => {
  test('one line from a pipe', async () => {
    expect(await passwd(['-I', '3', path, 'alice'], Readable.from(['sec', 'ret\nmore\n']))).toEqual(DONE)
    expect(await isRight('alice', 'secret')).toBe(true)
    expect((await passwd([path, 'bob'], Readable.from([]))).err).toBe('the password is empty\n')
  })

  /** A terminal on which this is typed. */
  const terminal = (...chunks: (string | Buffer)[]) => {
    const stdin = Object.assign(new PassThrough(), {
      isTTY: true,
      raw: [] as boolean[],
      setRawMode: (on: boolean) => void stdin.raw.push(on),
    })
    for (const chunk of chunks) stdin.write(chunk)
    return stdin
  }

  test('twice from a terminal, which shows nothing of it and is as before in the end', async () => {
    const stdin = terminal('sec', 'ret\r', 'secret\r')
    expect(await passwd(['-I', '3', path, 'alice'], stdin)).toEqual({ ...DONE, err: 'Password: \nOnce more: \n' })
    expect(stdin.raw).toEqual([true, false])
    expect(await isRight('alice', 'secret')).toBe(true)
  })

  test('pasted in one go, with backspace, and characters that arrive in halves', async () => {
    const umlaut = Buffer.from('ä')
    const stdin = terminal('x\x7fs\u{1F511}\x7f', umlaut.subarray(0, 1), umlaut.subarray(1), '\nsä\n')
    expect((await passwd(['-I', '3', path, 'alice'], stdin)).code).toBe(0)
    expect(await isRight('alice', 'sä')).toBe(true)
  })

  test.each([
    ['two that differ', 'one\rtwo\r', 'the two passwords differ; nothing was written'],
    ['Ctrl-C', 'secret\rsec\x03', 'nothing was written'],
    ['Ctrl-D', '\x04', 'nothing was written'],
    ['none', '\r\r', 'the password is empty'],
  ])('%s: nothing is written, and the terminal is as before', async (_, typed, reason) => {
    const stdin = terminal(typed)
    const { code, err } = await passwd([path, 'alice'], stdin)
    expect({ code, last: err.trim().split('\n').at(-1) }).toEqual({ code: 2, last: reason })
    expect(stdin.raw).toEqual([true, false])
    expect(readdirSync(dir)).toEqual([])
  })
})
