import { beforeEach, describe, expect, test } from 'vitest'
import { World } from '../../../fuzz/sim/world.ts'
import { type PasswordEntry, parsePasswordLines } from '../../../src/access/password-file.ts'
import { ClientPattern } from '../../../src/base/client-pattern.ts'
import { SensorRules } from '../../../src/gateway/sensor-rules.ts'
import type { AccountFile, Accounts } from '../../../src/http/accounts.ts'
import { TestApi } from '../harness.ts'

const HASH = Buffer.alloc(64).toString('base64')
const strong = `$7$210000$c2FsdA==$${HASH}`
const weak = `$7$101$c2FsdA==$${HASH}`
const usersOf = (text: string): ReadonlyMap<string, PasswordEntry> => parsePasswordLines(text).users
const file = (kind: AccountFile['kind'], path: string, text: string, listeners: string[] = []): AccountFile => ({
  kind,
  path,
  listeners,
  users: usersOf(text),
})

const MQTT = file('mqtt', '/etc/mqtt', `pump:${strong}\narchive:${weak}\nbroken:x\n`, ['mqtt-1883'])
const HTTP = file('http', '/etc/http', `eva:${strong}\nkim:$6$c2FsdA==$${HASH}\n`)

function apiWith(files: AccountFile[], more: Partial<Accounts> = {}): TestApi {
  const rules = new SensorRules(
    [
      { clients: [new ClientPattern('a*')], networks: undefined, user: { name: 'field' }, line: 3 },
      { clients: undefined, networks: undefined, user: { name: 'field' }, line: 7 },
      { clients: undefined, networks: undefined, user: 'deny', line: 9 },
    ],
    { username: '%c', qosM1: true, qosM1Username: 'loud' },
  )
  return new TestApi(new World(1), {
    accounts: { files, managers: new Set(['eva']), isOpen: false, ...more },
    sensors: { rules, file: '/etc/sensors', username: '%c' },
  })
}

let api: TestApi
beforeEach(() => {
  api = apiWith([MQTT, HTTP])
})

describe('the list', () => {
  test('has users of MQTT, of HTTP and of sensors, in order, and never a hash', () => {
    const { body } = api.ask('GET', '/api/v1/users')
    expect(body).toEqual({
      users: [
        {
          ...{ id: 'mqtt:archive', name: 'archive', kind: 'mqtt', option: 'password_file', file: '/etc/mqtt' },
          ...{ listeners: ['mqtt-1883'], password: { methods: ['password'], rounds: 101, weak: true } },
        },
        {
          ...{ id: 'mqtt:broken', name: 'broken', kind: 'mqtt', option: 'password_file', file: '/etc/mqtt' },
          ...{ listeners: ['mqtt-1883'], refused: true, password: { methods: [], weak: false } },
        },
        {
          ...{ id: 'mqtt:pump', name: 'pump', kind: 'mqtt', option: 'password_file', file: '/etc/mqtt' },
          ...{ listeners: ['mqtt-1883'], password: { methods: ['password'], rounds: 210_000, weak: false } },
        },
        {
          ...{ id: 'http:eva', name: 'eva', kind: 'http', option: 'http_password_file', file: '/etc/http', role: 'manage' },
          password: { methods: ['password'], rounds: 210_000, weak: false },
        },
        {
          ...{ id: 'http:kim', name: 'kim', kind: 'http', option: 'http_password_file', file: '/etc/http', role: 'view' },
          password: { methods: ['password'], rounds: 1, weak: true },
        },
        { id: 'sn:field', name: 'field', kind: 'sn', option: 'sn_users', file: '/etc/sensors', line: 3 },
        { id: 'sn:%c', name: '%c', kind: 'sn', option: 'sn_username' },
        { id: 'sn:loud', name: 'loud', kind: 'sn', option: 'qos_m1_username' },
      ],
    })
    expect(JSON.stringify(body)).not.toContain(HASH.slice(0, 20))
  })

  test('who may only view sees names, and not how good the passwords are', () => {
    const { body } = api.ask('GET', '/api/v1/users?kind=http', { role: 'view' })
    const more = { kind: 'http', option: 'http_password_file', file: '/etc/http' }
    expect(body.users).toEqual([
      { id: 'http:eva', name: 'eva', ...more, role: 'manage' },
      { id: 'http:kim', name: 'kim', ...more, role: 'view' },
    ])
  })

  test('without a login, who may only view is not told who has a password', () => {
    const open = apiWith([MQTT], { isOpen: true })
    expect(open.ask('GET', '/api/v1/users', { role: 'view' })).toMatchObject({ status: 403 })
    expect(open.ask('GET', '/api/v1/users').status).toBe(200)
  })

  test('q and kind choose', () => {
    const names = (query: string): string[] =>
      api.ask('GET', `/api/v1/users?${query}`).body.users.map(({ id }: { id: string }) => id)
    expect(names('q=A')).toEqual(['mqtt:archive', 'http:eva'])
    expect(names('kind=sn&q=%25')).toEqual(['sn:%c'])
  })

  test('pages have every user once, also if files are read again between them, and take many turns for many', () => {
    const names = Array.from({ length: 3500 }, (_, i) => `user ${(i * 7919) % 3500}`)
    const files = [file('mqtt', '/m', names.map((name) => `${name}:${strong}`).join('\n')), HTTP]
    const many = apiWith(files)
    const seen: string[] = []
    let cursor = ''
    do {
      const { body, turns } = many.ask('GET', `/api/v1/users?limit=1000&kind=mqtt${cursor}`)
      expect(turns).toBe(4)
      seen.push(...body.users.map(({ name }: { name: string }) => name))
      cursor = body.cursor === undefined ? '' : `&cursor=${body.cursor}`
      files[0] = file(
        'mqtt',
        '/m',
        `new:${strong}\n${names
          .toReversed()
          .map((name) => `${name}:${strong}`)
          .join('\n')}`,
      )
    } while (cursor !== '')
    expect(seen.filter((name) => name !== 'new')).toEqual(names.toSorted())
    expect(many.ask('GET', '/api/v1/users?cursor=x').status).toBe(400)
  })

  test('names of 64 KiB: a page has about 1 MiB, and the list is whole all the same', () => {
    const names = Array.from({ length: 40 }, (_, i) => `${'x'.repeat(65_000)}${String(i).padStart(2, '0')}`)
    const long = apiWith([file('mqtt', '/m', names.map((name) => `${name}:${strong}`).join('\n'))])
    const seen: string[] = []
    let pages = 0
    for (let cursor: string | undefined = ''; cursor !== undefined; pages++) {
      const { body } = long.ask('GET', `/api/v1/users?kind=mqtt${cursor && `&cursor=${cursor}`}`)
      expect(JSON.stringify(body).length).toBeLessThan(3 * 1024 * 1024)
      seen.push(...body.users.map(({ name }: { name: string }) => name))
      cursor = body.cursor
    }
    expect([seen, pages]).toEqual([names, 3])
  })
})

describe('a change', () => {
  const set = (id: string, body: object = { password: 'secret' }, query = '') =>
    api.ask('PUT', `/api/v1/users/${encodeURIComponent(id)}/password${query}`, { user: 'eva', body })
  const remove = (id: string, query = '') => api.ask('DELETE', `/api/v1/users/${encodeURIComponent(id)}${query}`, { user: 'eva' })

  test('is passed on with the file that it is about, and answered when it is made', () => {
    expect(set('pump')).toMatchObject({ status: 200, body: { id: 'mqtt:pump', file: '/etc/mqtt', created: false } })
    expect(set('http:kim').body).toEqual({ id: 'http:kim', file: '/etc/http', created: false })
    api.changed = { outcome: 'created' }
    expect(set('mqtt:new', { password: 'x', create: true }).body).toEqual({ id: 'mqtt:new', file: '/etc/mqtt', created: true })
    api.changed = { outcome: 'deleted' }
    expect(remove('archive').status).toBe(204)
    expect(api.changes).toEqual([
      { path: '/etc/mqtt', name: 'pump', password: 'secret', create: false, by: 'eva' },
      { path: '/etc/http', name: 'kim', password: 'secret', create: false, by: 'eva' },
      { path: '/etc/mqtt', name: 'new', password: 'x', create: true, by: 'eva' },
      { path: '/etc/mqtt', name: 'archive', password: undefined, create: false, by: 'eva' },
    ])
  })

  test('that fails has the status of the failure, and not the password', () => {
    for (const status of [404, 409, 503, 507] as const) {
      api.changed = { status, error: `why ${status}` }
      expect(set('pump')).toMatchObject({ status, body: { detail: `why ${status}` } })
    }
  })

  test('of a name that could be two users is refused, with what there is', () => {
    api = apiWith([MQTT, file('mqtt', '/etc/other', `pump:${strong}\n`), HTTP])
    expect(set('pump').body).toMatchObject({
      status: 409,
      detail: 'which one is meant: mqtt:pump in /etc/mqtt, mqtt:pump in /etc/other',
    })
    expect(set('pmup').body).toMatchObject({
      detail: expect.stringMatching(/^there is no user pmup; which one is meant: mqtt:pmup in /),
    })
    expect(set('pump', undefined, '?file=/etc/other').body).toMatchObject({ file: '/etc/other' })
    expect(remove('pump', '?file=/none').body).toMatchObject({ status: 400 })
    expect(set('new', { password: 'x', create: true }).status).toBe(409)
    expect(set('http:new', { password: 'x', create: true }).status).toBe(200)
  })

  test('without a password file, with a name that no line can have, of oneself, and without a login is refused', () => {
    expect(set('mqtt:a:b').body).toMatchObject({ status: 400, detail: expect.stringContaining('no colon') })
    expect(set('mqtt:').status).toBe(400)
    expect(remove('http:eva').body).toMatchObject({ status: 409, detail: 'you cannot delete yourself' })
    api = apiWith([HTTP])
    expect(set('mqtt:pump').body).toMatchObject({ status: 409, detail: 'there is no password file: set password_file' })
    api = apiWith([MQTT, HTTP], { isOpen: true })
    expect(set('pump').status).toBe(403)
    expect(remove('pump').status).toBe(403)
    expect(api.changes).toEqual([])
  })
})
