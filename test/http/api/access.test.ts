import { beforeEach, describe, expect, test } from 'vitest'
import { World } from '../../../fuzz/sim/world.ts'
import { type Acl, parseAcl, RuleSet } from '../../../src/access/acl.ts'
import { parseBans } from '../../../src/access/ban-list.ts'
import { AccessPolicy, Grant, type ListenerPolicy } from '../../../src/access/policy.ts'
import { ClientPattern } from '../../../src/base/client-pattern.ts'
import { parseNetwork } from '../../../src/base/networks.ts'
import { SensorRules } from '../../../src/gateway/sensor-rules.ts'
import { connectClient, connectSensor, TestApi } from '../harness.ts'

const ACL = `topic read public/#

user pumps
topic readwrite pump/#
topic deny pump/secret/#
pattern write state/%c
pattern read mail/%u/#
`
const POLICY: ListenerPolicy = {
  allowAnonymous: true,
  verifies: false,
  methods: [],
  passwords: undefined,
  tokenKeys: new Set(),
  acl: parseAcl(ACL) as Acl,
  aclFile: '/etc/acl',
}
const NONE: ListenerPolicy = { ...POLICY, acl: undefined, aclFile: undefined }

const entry = { password: undefined, scram: undefined, text: 'x' }
const rules = new SensorRules(
  [
    { clients: [new ClientPattern('bad-*')], networks: undefined, user: 'deny', line: 1 },
    { clients: [new ClientPattern('pump-*')], networks: undefined, user: { name: 'pumps' }, line: 3 },
    { clients: undefined, networks: [parseNetwork('203.0.113.0/24')!], user: { name: 'guests' }, line: 6 },
  ],
  { username: '%c', qosM1: false, qosM1Username: undefined, isTaken: (name) => name === 'admin' },
)

function apiWith(listeners: Record<string, ListenerPolicy>, global: ListenerPolicy): TestApi {
  const bans = parseBans('id:banned\n')
  if ('reason' in bans) throw new Error(bans.reason)
  return new TestApi(new World(1), {
    access: new AccessPolicy(new Map(Object.entries(listeners)), global, undefined, bans),
    sensors: { rules, file: '/etc/sensors', username: '%c' },
  })
}
let api: TestApi
beforeEach(() => {
  api = apiWith({ mqtt: POLICY }, POLICY)
})
const access = (query: Record<string, string>) => {
  const { status, body } = api.ask('GET', `/api/v1/access?${new URLSearchParams(query)}`, { role: 'view' })
  return { status, body }
}
const answer = (client: string, action: string, topic: string, more: Record<string, string> = {}) =>
  access({ client, action, topic, ...more }).body.answer

describe('an MQTT client', () => {
  test('the rules of its user, with its names in them, and where they stand', () => {
    connectClient(api, 'c1', { username: 'pumps' })
    expect(access({ client: 'c1' }).body).toEqual({
      id: 'mqtt:c1',
      client_id: 'c1',
      protocol: 'mqtt',
      connected: true,
      user: 'pumps',
      user_verified: false,
      listener: 'mqtt',
      rules_from: 'acl_file',
      rules_of_user: 'pumps',
      default: 'deny',
      subscriptions: 'filtered',
      rule_count: 4,
      rules: [
        {
          permission: 'readwrite',
          allow: true,
          actions: ['publish', 'subscribe', 'receive'],
          filter: 'pump/#',
          file: '/etc/acl',
          line: 4,
        },
        {
          permission: 'deny',
          allow: false,
          actions: ['publish', 'subscribe', 'receive'],
          filter: 'pump/secret/#',
          file: '/etc/acl',
          line: 5,
        },
        {
          permission: 'write',
          allow: true,
          actions: ['publish'],
          filter: 'state/c1',
          pattern: 'state/%c',
          file: '/etc/acl',
          line: 6,
        },
        {
          permission: 'read',
          allow: true,
          actions: ['subscribe', 'receive'],
          filter: 'mail/pumps/#',
          pattern: 'mail/%u/#',
          file: '/etc/acl',
          line: 7,
        },
      ],
      unknown: [],
    })
  })

  test.each<[string, string, boolean, object]>([
    ['publish', 'pump/1', true, { why: 'line 4 allows it', file: '/etc/acl', line: 4, filter: 'pump/#' }],
    ['publish', 'pump/secret/1', false, { why: 'line 5 denies it', line: 5, permission: 'deny' }],
    ['publish', 'state/c1', true, { line: 6, pattern: 'state/%c' }],
    ['publish', 'state/c2', false, { why: 'no rule allows it' }],
    ['receive', 'mail/pumps/a', true, { line: 7 }],
    ['receive', 'state/c1', false, { why: 'no rule allows it' }],
    ['subscribe', 'pump/1', true, { line: 4 }],
    ['subscribe', 'pump/#', true, { line: 4, partial: true }],
    ['subscribe', '#', true, { line: 4, partial: true }],
    ['subscribe', 'pump/secret/x', false, { line: 5 }],
    ['subscribe', '$share/g/mail/pumps/#', true, { line: 7 }],
    ['publish', '$SYS/broker/uptime', false, { why: 'only the broker publishes on this topic' }],
  ])('may it %s %s? %s', (action, topic, allowed, more) => {
    connectClient(api, 'c1', { username: 'pumps' })
    const given = answer('c1', action, topic)
    expect(given).toMatchObject({ action, topic, allowed, ...more })
    if (!('partial' in more)) expect(given).not.toHaveProperty('partial')
  })

  test('without a user name: the rules before the first user, and why a pattern is ignored', () => {
    connectClient(api, 'a/b')
    const { body } = access({ client: 'a/b' })
    expect(body).not.toHaveProperty('user')
    expect(body).not.toHaveProperty('rules_of_user')
    expect(body.rules).toMatchObject([
      { filter: 'public/#', line: 1 },
      { pattern: 'state/%c', ignored: 'the name of the client cannot be one level of a topic' },
      { pattern: 'mail/%u/#', ignored: 'the client has no user name that counts here' },
    ])
  })

  test('a user name that has a password elsewhere, and was not verified, does not count', () => {
    api = apiWith({ mqtt: POLICY, safe: { ...POLICY, passwords: new Map([['pumps', entry]]) } }, POLICY)
    connectClient(api, 'c1', { username: 'pumps' })
    const { body } = access({ client: 'c1' })
    expect(body).toMatchObject({ user: 'pumps', user_verified: false })
    expect(body).not.toHaveProperty('rules_of_user')
    expect(answer('c1', 'publish', 'pump/1').allowed).toBe(false)
  })

  test('one that has never connected: by its id, and as the user and at the listener that are asked for', () => {
    api = apiWith({ mqtt: POLICY, open: { ...NONE, mountPoint: 'site/' } }, POLICY)
    expect(access({ client: 'new' }).status).toBe(404)
    const { body } = access({ client: 'mqtt:new' })
    expect(body).toMatchObject({ connected: false, rules_from: 'acl_file' })
    expect(body.unknown).toEqual([expect.stringMatching(/^user: /), expect.stringMatching(/^listener: /)])
    expect(answer('mqtt:new', 'publish', 'pump/1', { user: 'pumps', listener: 'mqtt' }).allowed).toBe(true)
    expect(access({ client: 'mqtt:new', user: 'pumps', listener: 'mqtt' }).body).toMatchObject({
      user_verified: true,
      unknown: [],
    })
    expect(access({ client: 'mqtt:new', listener: 'open' }).body).toMatchObject({
      ...{ rules_from: 'none', default: 'allow', mount_point: 'site/', rules: [] },
    })
    expect(access({ client: 'mqtt:new', listener: 'none' }).body.detail).toBe('listener: there are mqtt, open')
  })

  test('rules are about topics with the mount point', () => {
    api = apiWith({ mqtt: { ...POLICY, mountPoint: 'pump/' } }, POLICY)
    expect(answer('mqtt:c', 'publish', '1', { user: 'pumps' })).toMatchObject({ allowed: true, filter: 'pump/#' })
    expect(answer('mqtt:c', 'subscribe', '$share/g/secret/#', { user: 'pumps' })).toMatchObject({ allowed: false, line: 5 })
    expect(answer('mqtt:c', 'publish', 'pump/1', { user: 'pumps' }).allowed).toBe(true)
    expect(answer('mqtt:c', 'publish', 'secret/1', { user: 'pumps' }).allowed).toBe(false)
  })

  test('rights that came with a token replace the file; of an absent client they are those of its last login', () => {
    const client = connectClient(api, 'c1', { username: 'pumps' })
    const session = api.server.broker.sessions.get('mqtt', 'c1')!
    session.grant = new Grant({ kind: 'token', key: 'k' }, new RuleSet([{ permission: 'write', filter: 'only/#' }]))
    expect(access({ client: 'c1' }).body).toMatchObject({
      ...{ rules_from: 'token', rule_count: 1, unknown: [] },
      rules: [{ permission: 'write', filter: 'only/#' }],
    })
    expect(answer('c1', 'publish', 'only/x')).toMatchObject({ allowed: true, why: 'a rule of its login allows it' })
    expect(answer('c1', 'publish', 'pump/1').allowed).toBe(false)
    client.act((each, now) => each.disconnect(now))
    api.world.schedule.runUntil(api.world.schedule.now + 100)
    expect(access({ client: 'c1' }).body).toMatchObject({ connected: false, unknown: [expect.stringMatching(/^rules: /)] })
  })

  test('subscriptions that must be allowed whole', () => {
    api = apiWith({ mqtt: { ...POLICY, subscriptionAccess: 'whole' } }, POLICY)
    expect(answer('mqtt:c', 'subscribe', '#', { user: 'pumps' })).toMatchObject({ allowed: false, why: 'no rule allows it' })
    expect(answer('mqtt:c', 'subscribe', 'pump/#', { user: 'pumps' })).toMatchObject({ allowed: true, partial: true })
  })

  test('many rules: the first 1,000, and how many there are', () => {
    const lines = Array.from({ length: 1500 }, (_, i) => `topic a/${i}`).join('\n')
    api = apiWith({ mqtt: { ...POLICY, acl: parseAcl(lines) as Acl } }, NONE)
    const { body } = access({ client: 'mqtt:c', topic: 'a/1499', action: 'publish' })
    expect([body.rule_count, body.rules.length, body.answer.line]).toEqual([1500, 1000, 1500])
  })
})

describe('a sensor', () => {
  test('its user follows from the rules for sensors, with their line', () => {
    connectSensor(api, 'pump-7')
    const { body } = access({ client: 'pump-7' })
    expect(body).toMatchObject({
      ...{ id: 'sn:pump-7', protocol: 'mqtt-sn', connected: true, rules_from: 'acl_file', unknown: [] },
      sensor_user: { outcome: 'user', may_connect: true, user: 'pumps', option: 'sn_users', file: '/etc/sensors', line: 3 },
    })
  })

  test.each<[string, object]>([
    ['sn:pump-8', { outcome: 'user', may_connect: true, user: 'pumps', line: 3 }],
    ['sn:bad-1', { outcome: 'denied', may_connect: false, line: 1 }],
    ['sn:admin', { outcome: 'taken', may_connect: false, user: 'admin', option: 'sn_username' }],
    ['sn:other', { outcome: 'user', may_connect: true, user: 'other', option: 'sn_username' }],
  ])('%s, which has never connected', (client, sensor_user) => {
    const { body } = access({ client })
    expect(body).toMatchObject({ connected: false, sensor_user })
    expect(body.unknown).toEqual([expect.stringMatching(/^address: /)])
  })

  test('may do what its user may', () => {
    expect(answer('sn:pump-8', 'publish', 'pump/8')).toMatchObject({ allowed: true, line: 4 })
    expect(answer('sn:other', 'publish', 'pump/8')).toMatchObject({ allowed: false })
  })

  test('a banned id', () => {
    expect(access({ client: 'sn:banned' }).body).toMatchObject({ banned: true, sensor_user: { may_connect: false } })
  })
})

test.each([
  [{ client: 'mqtt:a', topic: 'b' }, 'topic and action belong together'],
  [{ client: 'mqtt:a', action: 'publish' }, 'topic and action belong together'],
  [{ client: 'mqtt:a', action: 'publish', topic: '#' }, 'topic: wildcard in a topic name'],
  [{ client: 'mqtt:a', action: 'subscribe', topic: '$share/g' }, 'topic: an invalid shared subscription'],
  [{ client: 'sn:a', user: 'x' }, 'user and listener are for MQTT clients: the user of a sensor follows from sn_users'],
])('%j: %s', (query, detail) =>
  expect(access(query as unknown as Record<string, string>)).toMatchObject({ status: 400, body: { detail } }),
)
