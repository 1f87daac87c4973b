import { describe, expect, test } from 'vitest'
import { parseAcl } from '../../../src/access/acl.ts'
import { AccessPolicy, type ListenerPolicy } from '../../../src/access/policy.ts'
import { ClientPattern } from '../../../src/base/client-pattern.ts'
import { parseNetwork } from '../../../src/base/networks.ts'
import { nodeRoute } from '../../../src/gateway/ports/route.ts'
import { type SensorDefaults, type SensorRule, SensorRules } from '../../../src/gateway/sensor-rules.ts'
import { say, TestGateway } from '../harness.ts'

const rule = (user: SensorRule['user'] | string, clients?: string[], networks?: string[]): SensorRule => ({
  clients: clients?.map((pattern) => new ClientPattern(pattern)),
  networks: networks?.map((network) => parseNetwork(network)!),
  user: typeof user === 'string' && user !== 'deny' ? { name: user } : (user as SensorRule['user']),
})

const rulesOf = (rules: SensorRule[], defaults: Partial<SensorDefaults> = {}): SensorRules =>
  new SensorRules(rules, { username: undefined, qosM1: true, qosM1Username: undefined, ...defaults })

/** A broker where clients have to authenticate, with an access list. */
const policy = (more: Partial<ListenerPolicy> = {}): AccessPolicy => {
  const acl = parseAcl(
    'user sensors\ntopic readwrite site/#\nuser anybody\ntopic write site/beacon\npattern readwrite own/%c/#\n',
  )
  if ('reason' in acl) throw new Error(acl.reason)
  const listener = {
    allowAnonymous: false,
    verifies: true,
    methods: [],
    passwords: new Map(),
    tokenKeys: new Set<string>(),
    acl,
    ...more,
  }
  return new AccessPolicy(new Map(), listener)
}

const world = (users: SensorRules, access = policy(), options = {}): TestGateway =>
  new TestGateway({ users, ...options }, undefined, { access })

describe('ruling A31: while the broker is anonymous', () => {
  const open = policy({ allowAnonymous: true, verifies: false, acl: undefined })

  test('everybody may connect, QoS -1 and forwarders included', () => {
    const site = world(rulesOf([]), open)
    site.send('192.0.2.1:1', say.connect('s'), say.publish(1, 'x', -1, 0, 'predefined'))
    site.sendVia('192.0.2.1:2', Uint8Array.of(1), say.connect('t'))
    expect(site.sent('192.0.2.1:1')).toEqual(['CONNACK'])
    expect(site.sent(nodeRoute('192.0.2.1:2', Uint8Array.of(1)))).toEqual(['CONNACK'])
    expect(site.broker.stats.publishReceived).toBe(1)
  })

  test('each has a switch', () => {
    const site = world(rulesOf([], { qosM1: false }), open, { forwarders: false })
    site.send('192.0.2.1:1', say.publish(1, 'x', -1, 0, 'predefined'))
    site.sendVia('192.0.2.1:2', Uint8Array.of(1), say.connect('t'))
    expect(site.codes()).toEqual(['publish-refused', 'forwarder-refused'])
    expect([site.gateway.clientCount, site.broker.stats.publishReceived]).toEqual([0, 0])
  })

  test('rules can still deny, by client id and by network, and the first that fits counts', () => {
    const site = world(
      rulesOf([rule('friend', ['friend']), rule('deny', undefined, ['192.0.2.0/24', '2001:db8::/32']), rule('deny', ['test-*'])]),
      open,
    )
    for (const [route, clientId, answer] of [
      ['192.0.2.1:1', 'friend', 'CONNACK'],
      ['192.0.2.1:2', 's', 'CONNACK rc3'],
      ['[2001:db8::1]:3', 's', 'CONNACK rc3'],
      ['198.51.100.1:4', 's', 'CONNACK'],
      ['198.51.100.1:5', 'test-1', 'CONNACK rc3'],
    ] as const) {
      site.send(route, say.connect(clientId))
      expect([clientId, route, site.sent(route)]).toEqual([clientId, route, [answer]])
    }
    site.send('192.0.2.1:9', say.publish(1, 'x', -1, 0, 'predefined'))
    expect(site.broker.stats.publishReceived).toBe(0)
  })
})

describe('ruling A31: once somebody has to authenticate', () => {
  test('a sensor without a rule is told 0x03, and QoS -1 without a user is not taken', () => {
    const site = world(rulesOf([], { qosM1: false }))
    site.send('r', say.connect('s'), say.publish(1, 'x', -1, 0, 'predefined'))
    expect(site.sent('r')).toEqual(['CONNACK rc3'])
    expect(site.gateway.clientCount).toBe(0)
    expect(site.codes()).toContain('client-refused')
  })

  test('a rule says who it is, and the access list what it may do: PUBLISH, SUBSCRIBE, will, will updates', () => {
    const site = world(rulesOf([rule('sensors', ['sensor-*'], ['10.0.0.0/8'])]))
    const { sessions } = site.broker
    site.send('10.1.2.3:1', say.connect('sensor-1', { clean: false, will: true }), say.willTopic('site/gone'), say.willMsg('bye'))
    site.send('10.1.2.3:1', say.register('site/a', 1), say.publish(0x401, 'x', 1, 2), say.subscribe('site/#', 1, 3))
    site.send('10.1.2.3:1', say.register('other', 4), say.publish(0x402, 'x', 1, 5), say.subscribe('other', 1, 6))
    site.send('10.1.2.3:1', say.willTopicUpdate('other'), say.willTopicUpdate('site/gone'))
    expect(site.sent('10.1.2.3:1').slice(2)).toEqual([
      'CONNACK',
      'REGACK 0401 #1',
      'PUBACK 0401 #2',
      'SUBACK 0000 #3 q1',
      'REGACK 0402 #4',
      'PUBACK 0402 #5 rc3',
      'SUBACK 0000 #6 q0 rc3',
      'WILLTOPICRESP rc3',
      'WILLTOPICRESP',
    ])
    expect(sessions.get('sn', 'sensor-1')?.username).toBe('sensors')
    // Another network, another name.
    site.send('192.0.2.1:1', say.connect('sensor-2'))
    site.send('10.1.2.3:9', say.connect('meter-1'))
    expect([site.sent('192.0.2.1:1'), site.sent('10.1.2.3:9')]).toEqual([['CONNACK rc3'], ['CONNACK rc3']])
  })

  test('a user may have the name of its client id, and one user is for all the others', () => {
    const site = world(rulesOf([rule('%c', ['own-*'])], { username: 'sensors' }))
    site.send('r', say.connect('own-1'))
    site.send('q', say.connect('s'))
    const { sessions } = site.broker
    expect([sessions.get('sn', 'own-1')?.username, sessions.get('sn', 's')?.username]).toEqual(['own-1', 'sensors'])
  })

  test('QoS -1 is published as its own user, within its rights', () => {
    const site = world(rulesOf([], { qosM1Username: 'anybody' }), policy(), {
      predefinedTopics: [
        {
          pattern: '*',
          topics: new Map([
            [1, 'site/beacon'],
            [2, 'site/other'],
          ]),
        },
      ],
    })
    site.send('x', say.publish(1, 'x', -1, 0, 'predefined'), say.publish(2, 'x', -1, 0, 'predefined'))
    expect(site.codes().filter((code) => code === 'publish-refused')).toHaveLength(1)
    expect(site.broker.stats.publishReceived).toBe(2)
    expect(site.broker.sessions.get('sn', 'roost-gateway-7-qos-1')?.username).toBe('anybody')
  })

  test("the client id of QoS -1 messages is nobody else's", () => {
    const site = world(rulesOf([]), policy({ allowAnonymous: true, verifies: false, acl: undefined }))
    site.send('x', say.publish(1, 'x', -1, 0, 'predefined'))
    site.send('r', say.connect('roost-gateway-7-qos-1'))
    expect(site.sent('r')).toEqual(['CONNACK rc3'])
  })

  test('what the broker has no room for is told, message by message', () => {
    const site = new TestGateway({}, undefined, { limits: { maxSessions: 0 } })
    site.send('x', say.publish(1, 'x', -1, 0, 'predefined'), say.publish(1, 'y', -1, 0, 'predefined'))
    expect(site.notices.filter(({ code }) => code === 'publish-refused')).toMatchObject([
      { peer: 'x', reason: 'the broker takes no QoS -1 messages at the moment' },
      { peer: 'x' },
    ])
  })

  test('a network is that of the forwarder in front of a node', () => {
    const site = world(rulesOf([rule('sensors', undefined, ['10.0.0.0/8'])]))
    site.sendVia('10.0.0.1:1', Uint8Array.of(1), say.connect('s'))
    expect(site.sent(nodeRoute('10.0.0.1:1', Uint8Array.of(1)))).toEqual(['CONNACK'])
  })

  test('nobody takes the session, the address or the sleep of a client as another user', () => {
    const site = world(rulesOf([rule('sensors', undefined, ['10.0.0.0/8']), rule('guests', undefined, ['192.0.2.0/24'])]))
    site.send('10.0.0.1:1', say.connect('s', { clean: false }), say.disconnect(600))
    site.send('192.0.2.1:1', say.connect('s', { clean: false }), say.ping('s'))
    expect(site.sent('192.0.2.1:1')).toEqual(['CONNACK rc3', 'DISCONNECT'])
    site.send('10.0.0.1:1', say.ping('s'), say.disconnect())
    expect(site.sent('10.0.0.1:1')).toEqual(['CONNACK', 'DISCONNECT', 'PINGRESP', 'DISCONNECT'])
    // Also when nobody is connected (session_ownership).
    site.send('192.0.2.1:1', say.connect('s', { clean: false }))
    expect(site.sent('192.0.2.1:1')).toEqual(['CONNACK rc3'])
    // Within its own network it may move.
    site.send('10.0.0.2:1', say.connect('s', { clean: false }))
    expect(site.sent('10.0.0.2:1')).toEqual(['CONNACK'])
  })

  test('rules that change count at once for whoever is connected', () => {
    const users = rulesOf([rule('sensors')])
    const site = world(users)
    site.send('r', say.connect('s', { clean: false }))
    site.send('q', say.connect('t', { clean: false }), say.disconnect(600))
    site.sent('r')
    site.sent('q')
    users.replace([rule('sensors', ['t'])])
    site.gateway.accessChanged(site.now)
    site.send('r', say.ping())
    site.send('q', say.ping('t'))
    expect([site.sent('r'), site.sent('q')]).toEqual([['DISCONNECT', 'DISCONNECT'], ['PINGRESP']])
    expect(site.codes()).toContain('client-revoked')
    site.send('r', say.connect('s', { clean: false }))
    expect(site.sent('r')).toEqual(['CONNACK rc3'])
  })
})
