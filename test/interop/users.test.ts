import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { StartedProcess } from './started-process.ts'

let dir: string
let roost: StartedProcess
let url: string
const SECRET = 'correct-horse'
const TOKEN = 't'.repeat(32)
const fast = async (user: string, password: string): Promise<string> => `${user}:${await hashPassword(Buffer.from(password), 1)}`

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-users-'))
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text, { mode: 0o600 })
    return join(dir, name)
  }
  roost = await StartedProcess.start(
    ...['--http-port', '0', '--data-dir', join(dir, 'data'), '--log-level', 'debug'],
    ...['--password-file', file('mqtt', `# the pumps\n${await fast('pump', 'old')}\n${await fast('other', 'old')}\n`)],
    ...['--acl-file', file('acl', 'user pump\ntopic write pump/#\npattern read to/%c\n')],
    ...['--http-password-file', file('http', `${await fast('eva', 'view')}\n`), '--http-managers', 'eva'],
    ...['--http-token-file', file('tokens', `manage ${TOKEN}\n`)],
  )
  url = `http://127.0.0.1:${roost.httpPort}/api/v1`
})
afterEach(async () => {
  await roost.stop()
  rmSync(dir, { recursive: true })
})

async function ask(method: string, path: string, body?: object, authorization = `Bearer ${TOKEN}`) {
  const headers = { authorization, ...(body !== undefined && { 'content-type': 'application/json' }) }
  const response = await fetch(url + path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) })
  const text = await response.text()
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) }
}
const set = (user: string, password: string, create = false) => ask('PUT', `/users/${user}/password`, { password, create })
const connect = (username: string, password: string, clientId = username): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, { username, password, clientId, protocolVersion: 5, reconnectPeriod: 0 })

test('a password that is set is in force at once: the client with the old one is disconnected, the new one works', async () => {
  const pump = await connect('pump', 'old')
  const other = await connect('other', 'old')
  const gone = new Promise((resolve) => pump.on('disconnect', ({ reasonCode }) => resolve(reasonCode)))
  expect(await set('pump', SECRET)).toMatchObject({ status: 200, body: { id: 'mqtt:pump', created: false } })
  expect(await gone).toBe(0x87)
  await expect(connect('pump', 'old')).rejects.toThrow()
  const again = await connect('pump', SECRET)
  // What may it do, and by which line?
  expect((await ask('GET', '/access?client=pump&action=publish&topic=pump/1')).body).toMatchObject({
    ...{ user: 'pump', user_verified: true, rules_of_user: 'pump' },
    answer: { allowed: true, file: join(dir, 'acl'), line: 2 },
  })
  expect((await ask('GET', '/access?client=other&action=receive&topic=to/other')).body.answer).toMatchObject({
    allowed: true,
    line: 3,
  })
  expect((await ask('GET', '/access?client=other&action=receive&topic=to/pump')).body.answer).toMatchObject({ allowed: false })
  expect(other.connected).toBe(true)
  expect(await ask('DELETE', '/users/other')).toMatchObject({ status: 204 })
  await expect.poll(() => other.connected).toBe(false)
  await expect(connect('other', 'old')).rejects.toThrow()
  await roost.logged(/operator-action: the password of user pump is set/)
  await roost.logged(/operator-action: user other is deleted/)
  await again.endAsync()
  const text = readFileSync(join(dir, 'mqtt'), 'utf8')
  expect(text).toMatch(/^# the pumps\npump:\$7\$210000\$\S+\n$/)
  expect(statSync(join(dir, 'mqtt')).mode & 0o777).toBe(0o600)
  expect(roost.log.join('\n')).not.toContain(SECRET)
  // The file is what the process has: a reload changes nothing.
  expect(await ask('POST', '/reload')).toMatchObject({ status: 200 })
  await (await connect('pump', SECRET)).endAsync()
})

test('changes at the same time, and one by hand, are all kept', async () => {
  writeFileSync(join(dir, 'mqtt'), `${readFileSync(join(dir, 'mqtt'), 'utf8')}${await fast('by-hand', 'old')}\n`)
  const answers = await Promise.all(Array.from({ length: 4 }, (_, i) => set(`mqtt:new-${i}`, SECRET, true)))
  expect(answers.map(({ body }) => body.created)).toEqual([true, true, true, true])
  const { body } = await ask('GET', '/users?kind=mqtt')
  expect(body.users.map(({ name }: { name: string }) => name)).toEqual([
    ...['by-hand', 'new-0', 'new-1', 'new-2', 'new-3', 'other', 'pump'],
  ])
  await (await connect('by-hand', 'old')).endAsync()
  await (await connect('new-3', SECRET)).endAsync()
})

test('a user of the HTTP service: the old password ends, the last one stays, and the role is that of http_managers', async () => {
  const as = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  expect((await ask('GET', '/session', undefined, as('eva', 'view'))).body.role).toBe('manage')
  expect(await set('http:eva', SECRET)).toMatchObject({ status: 200 })
  expect((await ask('GET', '/session', undefined, as('eva', 'view'))).status).toBe(401)
  expect((await ask('GET', '/session', undefined, as('eva', SECRET))).body).toMatchObject({ user: 'eva', role: 'manage' })
  expect(await ask('DELETE', '/users/http:eva')).toMatchObject({ status: 409 })
  expect(await set('http:kim', SECRET, true)).toMatchObject({ body: { created: true } })
  expect((await ask('GET', '/session', undefined, as('kim', SECRET))).body).toMatchObject({ user: 'kim', role: 'view' })
  expect((await ask('GET', '/users?kind=http', undefined, as('kim', SECRET))).body.users).toEqual([
    { id: 'http:eva', name: 'eva', kind: 'http', option: 'http_password_file', file: join(dir, 'http'), role: 'manage' },
    { id: 'http:kim', name: 'kim', kind: 'http', option: 'http_password_file', file: join(dir, 'http'), role: 'view' },
  ])
  expect((await ask('PUT', '/users/kim/password', { password: 'x' }, as('kim', SECRET))).status).toBe(403)
  expect(await ask('DELETE', '/users/http:kim')).toMatchObject({ status: 204 })
  expect((await ask('GET', '/session', undefined, as('kim', SECRET))).status).toBe(401)
  expect(readFileSync(join(dir, 'http'), 'utf8').split('\n')).toHaveLength(2)
})
