import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { StartError } from '../../src/base/start-error.ts'
import { run } from '../../src/cli/cli.ts'
import { type Config, DEFAULT_CONFIG } from '../../src/config/config.ts'
import { hookedConfig, loadHooks } from '../../src/process/hook-file.ts'
import { StubHost } from '../cli/stub-host.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-hooks-'))
afterAll(() => rmSync(dir, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(dir, name)
  writeFileSync(path, text)
  return path
}

test('a module exports hooks by their names', async () => {
  const path = file('good.mjs', 'export const authorize = () => true\nexport async function onPublish() {}\n')
  expect(Object.keys(await loadHooks(path)).sort()).toEqual(['authorize', 'onPublish'])
})

test('or an object of them: CommonJS', async () => {
  const path = file('good.cjs', 'module.exports = { onConnect() {} }\n')
  expect(Object.keys(await loadHooks(path))).toEqual(['onConnect'])
})

test.each([
  ['an exception', 'throws.mjs', '\n\nthrow new RangeError("boom")\n', /throws\.mjs:3: RangeError: boom$/],
  ['a missing module', 'imports.mjs', 'import "no-such-package"\n', /imports\.mjs.*no-such-package/],
  [
    'an unknown export',
    'unknown.mjs',
    'export const onPublished = () => {}\n',
    /export onPublished: no such hook \(did you mean onPublish\?\)$/,
  ],
  [
    'an export that is no function',
    'type.mjs',
    'export const authorize = true\n',
    /export authorize: expected a function, got boolean$/,
  ],
  ['null', 'null.mjs', 'export const authorize = null\n', /export authorize: expected a function, got null$/],
  [
    'exports beside a default one, which would be left out',
    'both.mjs',
    'export default { authorize: () => true }\nexport const onPublish = () => false\n',
    /both\.mjs: export onPublish: beside a default export: put it into that$/,
  ],
  [
    'a hook that has to decide at once, and is async',
    'async.mjs',
    'export const authorize = async () => true\n',
    /export authorize: has to decide at once, and cannot be async$/,
  ],
  ['nothing', 'empty.mjs', '\n', /empty\.mjs: exports no hook$/],
])('one line about %s', async (_what, name, text, expected) => {
  const error = await loadHooks(file(name, text)).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(StartError)
  const { message } = error as StartError
  expect(message).toMatch(expected)
  expect(message).toMatch(/^--hooks: /)
  expect(message).not.toContain('\n')
})

test('one line about a module that never gets ready', async () => {
  const path = file('waits.mjs', 'await new Promise(() => {})\nexport const authorize = () => true\n')
  await expect(loadHooks(path, 10)).rejects.toThrow(/^--hooks: .*waits\.mjs: has not been loaded in 0\.01 s: an await in it/)
})

test('one line about a file that is not there, and a directory', async () => {
  await expect(loadHooks(join(dir, 'none.mjs'))).rejects.toThrow(/^--hooks: cannot read .*none\.mjs: no such file/)
  await expect(loadHooks(dir)).rejects.toThrow(/^--hooks: .* is not a file$/)
})

const config = (more: Partial<Config> = {}): Config => ({ ...DEFAULT_CONFIG, ...more })

test('authenticate decides alone: it closes listeners to others, and a password file beside it is an error', async () => {
  const hooks = { authenticate: () => true }
  const { config: hooked } = await hookedConfig(config(), hooks)
  expect(hooked.listeners.map(({ allowAnonymous, loginHook }) => [allowAnonymous, loginHook])).toEqual([[false, true]])
  await expect(hookedConfig(config({ passwordFile: 'users' }), hooks)).rejects.toThrow(
    /^password_file: has no effect beside the hook authenticate, which decides alone/,
  )
  const listeners = [{ ...DEFAULT_CONFIG.listeners[0]!, jwtJwks: 'keys' }]
  await expect(hookedConfig(config({ listeners }), hooks)).rejects.toThrow(/^--host, --port: jwt_jwks: has no effect/)
  expect((await hookedConfig(config({ passwordFile: 'users' }), { authorize: () => true })).config.passwordFile).toBe('users')
})

test('hooks of the program and a file of hooks contradict each other', async () => {
  const path = file('two.mjs', 'export const authorize = () => true\n')
  await expect(hookedConfig(config({ hooks: path }), { authorize: () => true })).rejects.toThrow(/^--hooks: .*two\.mjs/)
})

test('--test-config loads the file, and names a wrong one', async () => {
  file('checked.mjs', 'export const onPublish = 1\n')
  const host = new StubHost()
  const error = run(['serve', '--test-config', '--memory', '--hooks', 'checked.mjs'], Object.assign(host, { cwd: dir }))
  expect(await error).toBe(2)
  expect(host.err).toMatch(/--hooks: .*checked\.mjs: export onPublish: expected a function/)
})

test('the key in a file is relative to that file; an open address needs authenticate', async () => {
  file('guard.mjs', 'export const authenticate = () => false\n')
  file('open.mjs', 'export const onConnect = () => {}\n')
  const start = async (hooks: string): Promise<string> => {
    file('roost.yaml', `memory: true\nhost: 0.0.0.0\nhooks: ${hooks}\n`)
    const host = Object.assign(new StubHost(), { cwd: tmpdir() })
    return `${await run(['serve', '--test-config', '--config', join(dir, 'roost.yaml')], host)} ${host.out}${host.err}`
  }
  expect(await start('guard.mjs')).toContain('The configuration is valid')
  expect(await start('open.mjs')).toMatch(/^2 .*0\.0\.0\.0 is not loopback/)
})
