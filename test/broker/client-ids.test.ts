import { describe, expect, test } from 'vitest'
import { type Acl, parseAcl } from '../../src/access/acl.ts'
import { parseClientIds } from '../../src/access/io/access-files.ts'
import { AccessPolicy, Grant, type ListenerPolicy } from '../../src/access/policy.ts'
import { StartError } from '../../src/base/start-error.ts'
import { YamlFile } from '../../src/config/io/yaml-file.ts'
import { DEFAULT_LINK_SETTINGS } from '../../src/mqtt/link.ts'
import type { Connack, Connect } from '../../src/mqtt/packets.ts'
import { bytes, connectPacket, PERSISTENT, TestBroker, TestClient } from './harness.ts'

const POLICY: ListenerPolicy = {
  ...{ allowAnonymous: true, verifies: true, methods: [], passwords: undefined, tokenKeys: new Set() },
  acl: parseAcl('pattern readwrite #\n') as Acl,
}
const rules = (text: string) => parseClientIds(new YamlFile('ids.yaml', text))

/** A broker with rules for client ids, or none. */
class Site extends TestBroker {
  readonly access: AccessPolicy
  readonly prefixes: string

  constructor(ids: string | undefined, prefixes = '') {
    const access = new AccessPolicy(new Map(), POLICY, ids === undefined ? undefined : rules(ids))
    super({ access })
    this.access = access
    this.prefixes = prefixes
  }

  reload(ids: string): void {
    this.access.replace(new Map(), POLICY, rules(ids))
    this.broker.accessChanged(this.now)
  }

  /** Who says a name has proved it; nobody else has. */
  login(username: string | undefined, clientId: string, options: Partial<Connect> = PERSISTENT): TestClient {
    const settings = { ...DEFAULT_LINK_SETTINGS, clientIdPrefix: this.prefixes }
    const client = new TestClient(this, this.broker.open(this.now, { kind: 'mqtt', peer: 'test', listener: 'mqtt', settings }))
    const named = username === undefined ? {} : { username, password: bytes('x') }
    client.send(connectPacket(clientId, { ...options, ...named }))
    const request = this.broker.nextAuthRequest()
    const grant = new Grant({ kind: 'service' }, undefined)
    if (request !== undefined)
      this.broker.authenticated(this.now, request.link, request.step, { kind: 'accepted', username, grant })
    return client
  }

  /** Of CONNACK. */
  codeOf(username: string | undefined, clientId: string): number {
    return (this.login(username, clientId).link.poll(this.now) as Connack).reasonCode
  }
}

const FOREIGN = 0x85

describe('clientid_file: whose client ids are whose', () => {
  const IDS = 'alice: [alice-*, house]\nbob: pump-7\ncarol: [house, "*-lab-*-x"]\n'

  test.each<[string | undefined, string, number]>([
    ['alice', 'alice-1', 0],
    ['alice', 'alice-', 0],
    ['alice', 'house', 0],
    ['alice', 'pump-7', FOREIGN],
    ['alice', 'else', FOREIGN],
    ['bob', 'pump-7', 0],
    ['bob', 'pump-77', FOREIGN],
    ['carol', 'a-lab-b-x', 0],
    ['carol', '-lab--x', 0],
    ['carol', '-lab-x', FOREIGN],
    ['dave', 'else', 0],
    ['dave', 'house', FOREIGN],
    ['dave', 'alice-1', FOREIGN],
    ['dave', 'a-lab-b-x', FOREIGN],
    [undefined, 'else', 0],
    [undefined, 'pump-7', FOREIGN],
    ['__proto__', 'house', FOREIGN],
  ])('%s as %s: %i', (username, clientId, code) => expect(new Site(IDS).codeOf(username, clientId)).toBe(code))

  test('a name that nobody has vouched for has no ids', () => {
    const site = new Site(IDS)
    site.access.replace(new Map(), { ...POLICY, verifies: false }, rules(IDS))
    expect([site.codeOf('alice', 'house'), site.codeOf('alice', 'else')]).toEqual([FOREIGN, 0])
  })

  test('an id that is assigned is asked about too', () => {
    expect([new Site(IDS).codeOf('alice', ''), new Site(IDS).codeOf('dave', '')]).toEqual([FOREIGN, 0])
  })

  test('sensors have rules of their own', () => {
    const site = new Site(IDS)
    expect(site.connect('house', {}, 'sn').link.closed).toBe(false)
  })

  test('a long id costs one look from left to right', () => {
    const site = new Site('a: "*a*a*a*a*a*b"\n')
    const start = performance.now()
    expect(site.codeOf('dave', 'a'.repeat(65_000))).toBe(0)
    expect(performance.now() - start).toBeLessThan(1000)
  })
})

describe('a session belongs to who may use its id', () => {
  test('one that somebody else began ends, connected or away, and its messages with it', () => {
    for (const isAway of [false, true]) {
      const site = new Site(undefined)
      const squatter = site.login('mallory', 'house')
      squatter.subscribe('a', 1)
      squatter.poll()
      if (isAway) squatter.lost()
      site.access.replace(new Map(), POLICY, rules('alice: house\n'))
      const alice = site.login('alice', 'house')
      site.connect('w').publish('a', 'x')
      expect(alice.poll()).toEqual(['CONNACK'])
      expect(squatter.link.closed).toBe(true)
      expect(site.notices).toContainEqual(
        expect.objectContaining({
          code: 'client-revoked',
          level: 'warn',
          client: 'mqtt:house',
          reason: expect.stringContaining('clientid_file'),
        }),
      )
      expect(site.codeOf('mallory', 'house')).toBe(FOREIGN)
      expect(site.login('alice', 'house').poll()).toEqual(['CONNACK present'])
    }
  })

  test('one id of several users is one session', () => {
    const site = new Site('alice: house\nbob: house\n')
    site.login('alice', 'house').subscribe('a', 1)
    const bob = site.login('bob', 'house')
    expect(bob.poll()).toEqual(['CONNACK present'])
    expect(site.notices.map(({ code }) => code)).not.toContain('client-revoked')
  })

  test('who may not use an id any more has to go at the reload', () => {
    const site = new Site('alice: [house, a]\n')
    const clients = [site.login('alice', 'house'), site.login('alice', 'a'), site.login('dave', 'd'), site.login('dave', 'e')]
    for (const client of clients) client.poll()
    site.reload('alice: a\nbob: [house, d]\n')
    expect(clients.map((client) => client.poll())).toEqual([['CLOSE 135'], [], ['CLOSE 135'], []])
  })
})

describe('clientid_prefixes with %u: each user has ids of his own', () => {
  test.each<[string | undefined, string, number]>([
    ['al', 'x-al:1', 0],
    ['al', 'x-al:', 0],
    ['al', 'x-alice:1', FOREIGN],
    ['al', 'x-al', FOREIGN],
    ['alice', 'x-al:1', FOREIGN],
    ['$&', 'x-$&:1', 0],
    // With it the ids of `al:ice` would be among those of `al`.
    ['al:ice', 'x-al:ice:1', FOREIGN],
    ['', 'x-:1', FOREIGN],
    [undefined, 'x-undefined:1', FOREIGN],
    [undefined, 'x-%u:1', FOREIGN],
  ])('%s as %s: %i', (username, clientId, code) => expect(new Site(undefined, 'x-%u:').codeOf(username, clientId)).toBe(code))

  test('who has no id is given one of them', () => {
    const connack = new Site(undefined, 'x-%u:').login('al', '').link.poll(0) as Connack
    expect(connack.properties.assignedClientIdentifier).toMatch(/^x-al:auto-./)
  })

  test('what another user has begun under it ends', () => {
    const site = new Site(undefined)
    site.login('mallory', 'al:1').lost()
    Object.assign(site, { prefixes: '%u:' })
    expect(site.login('al', 'al:1').poll()).toEqual(['CONNACK'])
  })
})

test.each([
  ['', 'ids.yaml: expected at least one user with client ids, got none'],
  ['# none\n', 'ids.yaml: expected at least one user with client ids, got none'],
  ['- a', 'ids.yaml:1:1: expected users with their client ids, one `user: [ids]` a line, got a list'],
  ['alice:', 'ids.yaml:1:7: expected a client id or a list of them, got nothing'],
  ['alice: [a, ""]', 'ids.yaml:1:12: expected a client id or a list of them, got ""'],
  ['alice: {a: b}', 'ids.yaml:1:8: expected a client id or a list of them, got a map'],
  ['alice: a\nalice: b', 'ids.yaml:2:1: Map keys must be unique'],
])('%j', (text, error) => expect(() => rules(text)).toThrow(new StartError(error)))

test('numbers are client ids too, and users', () => {
  expect(rules('17: [4711]\n').use('4711', '17')).toBe('own')
})
