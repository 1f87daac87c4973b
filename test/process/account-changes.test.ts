import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { AccessFiles } from '../../src/access/io/access-files.ts'
import { hashPassword, PasswordChecker } from '../../src/access/io/password-hash.ts'
import { scramLine } from '../../src/access/io/scram.ts'
import type { PasswordEntry } from '../../src/access/password-file.ts'
import type { Notice } from '../../src/base/notice.ts'
import { DEFAULT_CONFIG } from '../../src/config/config.ts'
import type { AccountChange } from '../../src/http/accounts.ts'
import { AccountChanges, type AccountChangesParts } from '../../src/process/account-changes.ts'

let dir: string
let path: string
let notices: Notice[]
let inputs: string[]
let access: AccessFiles
let changes: AccountChanges
/** What the HTTP service was given. */
let http: Map<string, ReadonlyMap<string, PasswordEntry>>
const old = await hashPassword(Buffer.from('old'), 1)
const keys = await scramLine('old', 1)

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-accounts-'))
  path = join(dir, 'passwords')
})
afterEach(() => rmSync(dir, { recursive: true }))

function begin(text: string, more: Partial<AccountChangesParts> = {}): void {
  writeFileSync(path, text, { mode: 0o600 })
  notices = []
  inputs = []
  http = new Map()
  access = new AccessFiles({
    ...DEFAULT_CONFIG,
    passwordFile: path,
    listeners: DEFAULT_CONFIG.listeners.map((each) => ({ ...each, passwordFile: path })),
  })
  changes = new AccountChanges({
    access,
    http: { replacePasswords: (at: string, users: ReadonlyMap<string, PasswordEntry>) => http.set(at, users) } as never,
    server: { notice: (notice: Notice) => notices.push(notice) } as never,
    loop: { handle: ({ kind }: { kind: string }) => inputs.push(kind) } as never,
    inTurn: (work) => work(),
    isStopping: () => false,
    ...more,
  })
}

const change = (name: string, more: Partial<AccountChange> = {}) =>
  changes.change({ path, name, password: 'new', create: false, by: 'eva', ...more })

async function isRight(name: string, password: string): Promise<boolean> {
  const hash = access.passwordFiles.get(path)!.get(name)?.password
  if (hash === undefined) return false
  return (await new PasswordChecker().check(hash, Buffer.from(password), (work) => work())) === 'right'
}

test('a password is in the file and in force, everything else in the file stays, and there is a notice without it', async () => {
  begin(`# pumps\nalice:${old}\n\nbob:${old}\n`)
  expect(await change('alice')).toEqual({ outcome: 'set' })
  const text = readFileSync(path, 'utf8')
  expect(text).toMatch(/^# pumps\nalice:\$7\$210000\$\S+\n\nbob:/)
  expect(text.endsWith(`\n\nbob:${old}\n`)).toBe(true)
  expect([await isRight('alice', 'new'), await isRight('alice', 'old'), await isRight('bob', 'old')]).toEqual([true, false, true])
  const { policy } = access
  expect([policy.hasPassword('alice'), inputs]).toEqual([true, ['access-changed']])
  expect(http.get(path)).toBe(access.passwordFiles.get(path))
  const reason = `the password of user alice is set (password_file ${path})`
  expect(notices).toEqual([{ code: 'operator-action', level: 'info', user: 'eva', reason }])
})

test('with keys for SCRAM, these are replaced too; a user who has nothing else gets no hash', async () => {
  begin(`alice:${old}\nalice:${keys}\nbob:${keys}\n`)
  const { scram } = access.passwordFiles.get(path)!.get('alice')!
  await change('alice')
  const { password, scram: after } = access.passwordFiles.get(path)!.get('alice')!
  expect([password!.iterations, after!.iterations]).toEqual([210_000, 4096])
  expect(after!.storedKey).not.toBe(scram!.storedKey)
  await change('bob')
  expect(access.passwordFiles.get(path)!.get('bob')).toMatchObject({ password: undefined, scram: { iterations: 4096 } })
})

test('a user is created when that is asked for, and deleted with all lines', async () => {
  begin(`alice:${old}\nalice:${keys}\n`)
  expect(await change('bob')).toEqual({ status: 404, error: `${path}: there is no user bob` })
  expect(await change('bob', { create: true, by: undefined })).toEqual({ outcome: 'created' })
  expect(await isRight('bob', 'new')).toBe(true)
  expect(await change('alice', { password: undefined })).toEqual({ outcome: 'deleted' })
  expect(await change('alice', { password: undefined })).toMatchObject({ status: 404 })
  expect(readFileSync(path, 'utf8')).toMatch(/^bob:\S+\n$/)
  expect(access.policy.hasPassword('alice')).toBe(false)
  expect(notices.map(({ reason, user }) => [user, reason])).toEqual([
    [undefined, `user bob is created (password_file ${path})`],
    ['eva', `user alice is deleted (password_file ${path})`],
  ])
})

test('changes at the same time are all made; more than 8 are too many', async () => {
  begin(`alice:${old}\n`)
  const results = await Promise.all(Array.from({ length: 10 }, (_, i) => change(`user ${i}`, { create: true })))
  expect(results.map((result) => ('error' in result ? result.status : result.outcome))).toEqual([
    ...Array.from({ length: 8 }, () => 'created'),
    503,
    503,
  ])
  expect([...access.passwordFiles.get(path)!.keys()]).toEqual(['alice', ...Array.from({ length: 8 }, (_, i) => `user ${i}`)])
  expect(await change('alice')).toEqual({ outcome: 'set' })
})

test('what was written by hand since the last reload stays, and is in force too', async () => {
  begin(`alice:${old}\n`)
  writeFileSync(path, `alice:${old}\nby-hand:${old}\n`)
  await change('alice')
  expect(await isRight('by-hand', 'old')).toBe(true)
})

test('nothing is changed if the file is invalid, would exclude all, or is gone, or Roost stops', async () => {
  begin(`alice:${old}\nbob:${old}\n`)
  const refused = async (text: string, error: RegExp, name = 'alice', more: Partial<AccountChange> = {}): Promise<void> => {
    writeFileSync(path, text)
    expect(await change(name, more)).toEqual({ status: 409, error: expect.stringMatching(error) })
    expect(readFileSync(path, 'utf8')).toBe(text)
  }
  await refused(`alice:${old}\nbob:plain\n`, /^\S+\/passwords:2: no hash for user bob$/)
  await refused(`alice:${old}\n`, /: the last user cannot be deleted: nobody could log in$/, 'alice', { password: undefined })
  await refused('', /: contains none of the 2 users from before, who would all be excluded/, 'carol', { create: true })
  rmSync(path)
  expect(await change('alice')).toEqual({ status: 409, error: `password_file ${path}: no such file or directory` })
  rmSync(dir, { recursive: true })
  expect(await change('alice')).toEqual({ status: 409, error: `cannot write ${path}: no such file or directory` })
  mkdirSync(dir)
  expect([await isRight('alice', 'old'), notices, inputs]).toEqual([true, [], []])
  begin(`alice:${old}\n`, { isStopping: () => true })
  expect(await change('alice')).toEqual({ status: 503, error: 'Roost is stopping' })
})

test('a change waits for what reads the files', async () => {
  let go = (): void => {}
  const before = new Promise<void>((resolve) => {
    go = resolve
  })
  begin(`alice:${old}\n`, { inTurn: (work) => before.then(work) })
  const changed = change('alice')
  expect(readFileSync(path, 'utf8')).toBe(`alice:${old}\n`)
  go()
  expect(await changed).toEqual({ outcome: 'set' })
})
