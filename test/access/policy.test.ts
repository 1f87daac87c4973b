import { describe, expect, test } from 'vitest'
import { type Acl, parseAcl, RuleSet } from '../../src/access/acl.ts'
import { AccessPolicy, Grant, type ListenerPolicy } from '../../src/access/policy.ts'
import type { Identity } from '../../src/broker/access.ts'
import { connectPacket } from '../broker/harness.ts'

const OPEN: ListenerPolicy = {
  allowAnonymous: true,
  verifies: false,
  methods: [],
  passwords: undefined,
  tokenKeys: new Set(),
  acl: undefined,
}
const CLOSED: ListenerPolicy = { ...OPEN, allowAnonymous: false, verifies: true, methods: ['SCRAM-SHA-256'] }
const entry = (text: string) => ({ password: undefined, scram: undefined, text })
const who = (more: Partial<Identity> = {}): Identity => ({
  kind: 'mqtt',
  clientId: 'c',
  username: undefined,
  listener: 'mqtt',
  grant: undefined,
  certified: false,
  verified: true,
  ...more,
})
const only = (policy: ListenerPolicy): AccessPolicy => new AccessPolicy(new Map([['mqtt', policy]]), policy)
const info = (more: object = {}) => ({ kind: 'mqtt' as const, peer: 'p', listener: 'mqtt', ...more })
const named = { username: 'alice', password: Buffer.from('x') }

test('rules for a user who has a password are not for whoever says that name where nobody asks for it', () => {
  const acl = parseAcl('topic read public/#\nuser alice\ntopic readwrite secret/#\nuser bob\ntopic readwrite shed/#\n') as Acl
  const open = { ...OPEN, acl }
  const policy = new AccessPolicy(new Map([['safe', { ...CLOSED, acl, passwords: new Map([['alice', entry('x')]]) }]]), open)
  const mayRead = (more: Partial<Identity>): string[] =>
    ['public/a', 'secret/a', 'shed/a'].filter((topic) => policy.read(who(more), topic))
  expect(mayRead({ username: 'alice', verified: false })).toEqual(['public/a'])
  expect(mayRead({ username: 'alice', listener: 'safe' })).toEqual(['secret/a'])
  // A name that nobody has a password for says who a client is, as with Mosquitto.
  expect(mayRead({ username: 'bob', verified: false })).toEqual(['shed/a'])
})

describe('a hook that decides about every client', () => {
  const hooked: ListenerPolicy = { ...CLOSED, methods: [], asksAll: true }
  const sensor = { kind: 'sn' as const, listener: 'sn' }

  test.each<[string, ListenerPolicy, object, object, number | 'ask']>([
    ['without a name', hooked, {}, {}, 'ask'],
    ['with a name', hooked, {}, named, 'ask'],
    ['named by a certificate', hooked, { identity: 'alice' }, {}, 'ask'],
    ['without the certificate that it needs', { ...hooked, certificate: 'needed' }, {}, named, 0x86],
    ['a sensor', hooked, sensor, {}, 'ask'],
    ['a sensor with a user', hooked, { ...sensor, identity: 'alice' }, {}, 'ask'],
    ['a sensor that was connected before a restart', hooked, { ...sensor, isRestored: true }, {}, 0],
    ['messages with QoS -1, of a user', hooked, { ...sensor, isShared: true, identity: 'alice' }, {}, 0],
    ['messages with QoS -1, of nobody', hooked, { ...sensor, isShared: true }, {}, 0x87],
    ['an authentication method', hooked, {}, { properties: { authenticationMethod: 'SCRAM-SHA-256' } }, 0x8c],
  ])('%s', (_what, policy, more, connect, answer) => {
    expect(only(policy).connect(info(more), connectPacket('c', connect))).toBe(answer)
  })

  test('whom it has let in may stay, unless banned', () => {
    const policy = only(hooked)
    expect([policy.remains(who()), policy.remains(who({ kind: 'sn' }))]).toEqual([0, 0])
  })
})

describe('CONNECT', () => {
  test.each<[string, ListenerPolicy, object, object, number | 'ask']>([
    ['open: without a name', OPEN, {}, {}, 0],
    ['open: a name that nobody can verify', OPEN, {}, named, 0],
    ['closed: without a name', CLOSED, {}, {}, 0x87],
    ['closed: with a name', CLOSED, {}, named, 'ask'],
    ['closed: a name without a password', CLOSED, {}, { username: 'alice' }, 'ask'],
    ['closed: a password without a name, as a token', CLOSED, {}, { password: Buffer.from('x') }, 'ask'],
    ['closed: an empty name', CLOSED, {}, { username: '' }, 'ask'],
    ['closed: named by a certificate', CLOSED, { identity: 'alice' }, {}, 0],
    ['closed: named by a certificate, and with a password', CLOSED, { identity: 'alice' }, named, 0],
    ['both: without a name', { ...CLOSED, allowAnonymous: true }, {}, {}, 0],
    ['both: whoever says a name has to prove it', { ...CLOSED, allowAnonymous: true }, {}, named, 'ask'],
    ['certificates only: no certificate', { ...CLOSED, verifies: false }, {}, named, 0x87],
    ['certificates only: no certificate, no name', { ...CLOSED, verifies: false }, {}, {}, 0x87],
    ['nothing verifies, and no anonymous clients: no name', { ...OPEN, allowAnonymous: false }, {}, {}, 0x87],
    ['nothing verifies, and no anonymous clients: a name', { ...OPEN, allowAnonymous: false }, {}, named, 0x87],
    ['a certificate is needed: none', { ...CLOSED, certificate: 'needed' }, {}, {}, 0x86],
    ['a certificate is needed: a password instead', { ...CLOSED, certificate: 'needed' }, {}, named, 0x86],
    ['a certificate is needed: none, anonymous clients', { ...OPEN, certificate: 'needed' }, {}, {}, 0x86],
    [
      'a certificate is needed: enhanced authentication instead',
      { ...CLOSED, certificate: 'needed' },
      {},
      { properties: { authenticationMethod: 'SCRAM-SHA-256' } },
      0x86,
    ],
    ['a certificate is needed: it is there', { ...CLOSED, certificate: 'needed' }, { identity: 'alice' }, {}, 0],
    ['a certificate is enough: none', { ...CLOSED, verifies: false, certificate: 'enough' }, {}, {}, 0x86],
    ['a certificate is enough: a password instead', { ...CLOSED, certificate: 'enough' }, {}, named, 'ask'],
    ['a method that is known', CLOSED, {}, { properties: { authenticationMethod: 'SCRAM-SHA-256' } }, 'ask'],
    ['a method that is not', CLOSED, {}, { properties: { authenticationMethod: 'PLAIN' } }, 0x8c],
    ['a method on an open listener', OPEN, {}, { properties: { authenticationMethod: 'SCRAM-SHA-256' } }, 0x8c],
  ])('%s', (_, policy, link, packet, answer) => {
    expect(only(policy).connect(info(link), connectPacket('c', packet))).toBe(answer)
  })
})

test('sensors, which can show nothing, are let in where nobody has to show anything', () => {
  const sensor = info({ kind: 'sn', listener: '' })
  for (const [policy, answer] of [
    [OPEN, 0],
    [CLOSED, 0x87],
    [{ ...OPEN, allowAnonymous: false }, 0x87],
    [{ ...CLOSED, allowAnonymous: true }, 0],
  ] as const) {
    expect(only(policy).connect(sensor, connectPacket('s'))).toBe(answer)
    expect(only(policy).connect(sensor, connectPacket('s', named))).toBe(answer)
    expect(only(policy).remains(who({ kind: 'sn', listener: '' }))).toBe(answer)
  }
})

test('each listener has rules of its own, and one that nobody knows has the global ones', () => {
  const acl = parseAcl('topic a') as Acl
  const policy = new AccessPolicy(
    new Map([
      ['open', OPEN],
      ['mqtt', { ...CLOSED, acl }],
    ]),
    { ...CLOSED, acl },
  )
  expect(policy.connect(info({ listener: 'open' }), connectPacket('c'))).toBe(0)
  expect(policy.connect(info({ listener: 'gone' }), connectPacket('c'))).toBe(0x87)
  expect(policy.connect(info({ listener: '__proto__' }), connectPacket('c'))).toBe(0x87)
  expect(policy.publish(who({ listener: 'open' }), 'b')).toBe(true)
  expect(policy.publish(who({ listener: '' }), 'b')).toBe(false)
})

test('a listener named like the port of sensors says nothing about sensors', () => {
  const acl = parseAcl('topic a') as Acl
  const policy = new AccessPolicy(new Map([['sn', OPEN]]), { ...CLOSED, acl })
  const sensor = who({ kind: 'sn', listener: 'sn' })
  expect(policy.connect(info({ kind: 'sn', listener: 'sn' }), connectPacket('s'))).toBe(0x87)
  expect(policy.remains(sensor)).toBe(0x87)
  expect([policy.publish(sensor, 'b'), policy.subscribe(sensor, 'b'), policy.read(sensor, 'b')]).toEqual([false, false, false])
  expect(policy.connect(info({ listener: 'sn' }), connectPacket('c'))).toBe(0)
})

describe('who may stay when the rules have changed', () => {
  const proved = (proof: ConstructorParameters<typeof Grant>[0]) => who({ username: 'alice', grant: new Grant(proof, undefined) })
  const passwords = new Map([['alice', entry('hash 1')]])

  test.each<[string, Identity, Partial<ListenerPolicy>, number]>([
    ['the same password', proved({ kind: 'password', lines: 'hash 1' }), { passwords }, 0],
    ['another password', proved({ kind: 'password', lines: 'hash 0' }), { passwords }, 0x87],
    ['no such user any more', proved({ kind: 'password', lines: 'hash 1' }), { passwords: new Map() }, 0x87],
    ['no password file any more', proved({ kind: 'password', lines: 'hash 1' }), {}, 0x87],
    ['a token whose key is there', proved({ kind: 'token', key: 'k' }), { tokenKeys: new Set(['k']) }, 0],
    ['a token whose key is gone', proved({ kind: 'token', key: 'k' }), { tokenKeys: new Set(['l']) }, 0x87],
    ['whom the service has let in', proved({ kind: 'service' }), {}, 0],
    ['a grant of which only the rights are known', proved(undefined), { passwords }, 0x87],
    ['a certificate', who({ certified: true, username: 'alice' }), {}, 0],
    ['nobody in particular', who(), {}, 0x87],
    ['nobody in particular where that is allowed', who(), { allowAnonymous: true }, 0],
  ])('%s', (_, identity, more, code) => expect(only({ ...CLOSED, ...more }).remains(identity)).toBe(code))
})

describe('rights', () => {
  test('without a list everything is allowed; those of a grant are in place of the list', () => {
    const acl = parseAcl('user alice\ntopic read a\n') as Acl
    const grant = new Grant({ kind: 'service' }, new RuleSet([{ permission: 'write', filter: 'b' }]))
    for (const may of ['publish', 'subscribe', 'read'] as const) expect(only(OPEN)[may](who(), 'x')).toBe(true)
    const policy = only({ ...OPEN, acl })
    expect([policy.read(who({ username: 'alice' }), 'a'), policy.publish(who({ username: 'alice' }), 'b')]).toEqual([true, false])
    expect([policy.read(who({ username: 'alice', grant }), 'a'), policy.publish(who({ grant }), 'b')]).toEqual([false, true])
    const none = new Grant({ kind: 'service' }, new RuleSet([]))
    expect(only(OPEN).publish(who({ grant: none }), 'a')).toBe(false)
  })

  test('the same client object with another name or listener has other rights, and a new list counts at once', () => {
    const acl = parseAcl('topic a\nuser alice\ntopic b\n') as Acl
    const policy = only({ ...OPEN, acl })
    const session = who() as { -readonly [K in keyof Identity]: Identity[K] }
    expect([policy.publish(session, 'a'), policy.publish(session, 'b')]).toEqual([true, false])
    session.username = 'alice'
    expect([policy.publish(session, 'a'), policy.publish(session, 'b')]).toEqual([false, true])
    policy.replace(new Map([['mqtt', { ...OPEN, acl: parseAcl('') as Acl }]]), OPEN)
    expect(policy.publish(session, 'b')).toBe(false)
    session.listener = 'other'
    expect(policy.publish(session, 'b')).toBe(true)
  })

  test('rights go to the store as text and come back, those without any as nothing', () => {
    const policy = only(OPEN)
    const rules = new RuleSet([{ permission: 'read', filter: 'a/#' }])
    const stored = policy.stored(new Grant({ kind: 'service' }, rules))!
    const grant = policy.restored(stored)
    expect(policy.subscribe(who({ grant }), 'a/+')).toBe(true)
    expect(policy.publish(who({ grant }), 'a/b')).toBe(false)
    expect([policy.stored(undefined), policy.stored(new Grant({ kind: 'service' }, undefined))]).toEqual([undefined, undefined])
  })
})
