import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { ClientPattern } from '../../src/base/client-pattern.ts'
import { parseNetwork } from '../../src/base/networks.ts'
import type { GatewayOptions } from '../../src/gateway/gateway-options.ts'
import { nodeRoute } from '../../src/gateway/ports/route.ts'
import { type SensorRule, SensorRules } from '../../src/gateway/sensor-rules.ts'
import { say, TestGateway } from './harness.ts'

const HOME = '10.1.2.3:5000'

const rule = (clients: string, networks: readonly string[] | undefined, user = 'sensors'): SensorRule => ({
  clients: [new ClientPattern(clients)],
  networks: networks?.map((network) => parseNetwork(network)!),
  user: { name: user },
})
const users = (...rules: SensorRule[]): SensorRules =>
  new SensorRules(rules, { username: 'sensors', qosM1: true, qosM1Username: undefined })

/** A sensor that subscribes to `a` and is connected. */
function connected(options: Partial<GatewayOptions> = {}, home = HOME): TestGateway {
  const world = new TestGateway(options)
  world.send(home, say.connect('s', { clean: false, duration: 600 }), say.subscribe('a'))
  world.sent(home)
  return world
}

/** It sleeps, and a message waits for it. */
function asleep(options: Partial<GatewayOptions> = {}, home = HOME): TestGateway {
  const world = connected(options, home)
  world.send(home, say.disconnect(600))
  world.sent(home)
  world.publish('a', 'secret')
  world.notices.length = 0
  return world
}

const wakes = (world: TestGateway, route: string): boolean => {
  world.send(route, say.ping('s'))
  const sent = world.sent(route)
  expect(sent.length).toBe(1)
  return sent[0] === 'PUBLISH 0401=secret #1 q1'
}

describe('roam: asleep follows a sleeper within its network, and hands its messages to nobody elsewhere', () => {
  test.each([
    ['10.1.2.3:6000', true],
    ['10.1.2.200:5000', true],
    ['10.1.3.3:5000', false],
    ['203.0.113.1:5000', false],
    ['[2001:db8::1]:5000', false],
  ])('PINGREQ from %s: %j', (route, follows) => {
    const world = asleep()
    expect(wakes(world, route)).toBe(follows)
    if (follows) return
    expect(world.notices[0]).toEqual({
      code: 'client-refused',
      level: 'info',
      client: 'sn:s',
      peer: route,
      reason: `it sleeps at ${HOME}, and is not followed from there (roam)`,
    })
    // Where it fell asleep it still finds everything.
    expect(wakes(world, HOME)).toBe(true)
  })

  test('of IPv6 the first 64 bits count', () => {
    const home = '[2001:db8:0:1::7]:5000'
    expect(wakes(asleep({}, home), '[2001:db8:0:1:ffff::9]:6000')).toBe(true)
    expect(wakes(asleep({}, home), '[2001:db8:0:2::7]:5000')).toBe(false)
    expect(wakes(asleep({}, home), '10.1.2.3:5000')).toBe(false)
  })

  test('the networks of the rule that let it in, where they are named', () => {
    const site = { users: users(rule('s', ['10.1.0.0/16', '192.168.7.0/24'])) }
    expect(wakes(asleep(site), '10.1.99.1:1')).toBe(true)
    expect(wakes(asleep(site), '192.168.7.9:1')).toBe(true)
    expect(wakes(asleep(site), '10.2.2.3:1')).toBe(false)
    // Another rule lets the same name in there, as the same user: it is not the one that binds the sensor.
    const two = { users: users(rule('s', ['10.1.2.0/25']), rule('s', ['10.0.0.0/8'])) }
    expect(wakes(asleep(two), '10.1.2.100:1')).toBe(true)
    expect(wakes(asleep(two), '10.1.2.200:1')).toBe(false)
    expect(wakes(asleep({ users: users(rule('s', undefined)) }), '10.1.3.3:1')).toBe(false)
  })

  test('a node behind a forwarder may come by another one of the same network', () => {
    const home = nodeRoute('10.1.2.3:5000', Uint8Array.of(1))
    const send = (world: TestGateway, forwarder: string): string[] => {
      world.sendVia(forwarder, Uint8Array.of(1), say.ping('s'))
      return world.sent(nodeRoute(forwarder, Uint8Array.of(1)))
    }
    const world = new TestGateway()
    world.sendVia('10.1.2.3:5000', Uint8Array.of(1), say.connect('s', { clean: false }), say.disconnect(600))
    world.sent(home)
    expect(send(world, '10.9.9.9:1')).toEqual(['DISCONNECT'])
    expect(send(world, '10.1.2.4:1')).toEqual(['PINGRESP'])
  })

  test('one that has lost its address to another is looked for near where it was', () => {
    for (const [route, follows] of [
      ['10.9.9.9:1', false],
      ['10.1.2.9:1', true],
    ] as const) {
      const world = asleep()
      world.send(HOME, say.connect('other'))
      world.sent(HOME)
      expect(wakes(world, route)).toBe(follows)
    }
  })

  test('after a restart too', () => {
    const world = new TestGateway({}, new DelayedStore())
    for (const message of [say.connect('s', { clean: false }), say.disconnect(600)]) {
      world.send(HOME, message)
      world.settle()
    }
    const after = world.restarted()
    after.settle()
    after.send('10.9.9.9:1', say.ping('s'))
    after.send('10.1.2.4:1', say.ping('s'))
    expect([after.sent('10.9.9.9:1'), after.sent('10.1.2.4:1')]).toEqual([['DISCONNECT'], ['PINGRESP']])
  })

  test('roam: anywhere and roam: never', () => {
    expect(wakes(asleep({ roam: 'anywhere' }), '203.0.113.1:1')).toBe(true)
    expect(wakes(asleep({ roam: 'never' }), '10.1.2.4:1')).toBe(false)
    expect(wakes(asleep({ roam: 'never' }), HOME)).toBe(true)
  })
})

describe('CONNECT of a sensor that is connected, from another address', () => {
  const codes = (world: TestGateway): string[] => world.notices.map(({ level, code }) => `${level} ${code}`)

  test('clean: its session does not end without a warning, which says where it was and when it was heard', () => {
    for (const world of [connected(), asleep()]) {
      world.advance(30_000)
      world.notices.length = 0
      world.send('10.9.9.9:1', say.connect('s'))
      expect(world.sent('10.9.9.9:1')).toEqual(['CONNACK'])
      expect(world.notices[0]).toEqual({
        code: 'client-takeover',
        level: 'warn',
        client: 'sn:s',
        peer: '10.9.9.9:1',
        reason: `CONNECT with CleanSession from another address ends its session: it was heard 30 s ago at ${HOME}`,
      })
    }
  })

  test('from its own host, from where nobody is connected, or with its session kept there is nothing to warn of', () => {
    const world = connected()
    world.send('10.1.2.3:6000', say.connect('s'))
    world.send('10.9.9.9:1', say.connect('s', { clean: false }))
    world.send('10.9.9.9:1', say.disconnect())
    world.send(HOME, say.connect('s'))
    expect(codes(world).filter((code) => code.startsWith('warn'))).toEqual([])
  })

  test('where a rule binds it to a network, nobody elsewhere ends its session, or takes it over', () => {
    const world = asleep({ users: users(rule('s', ['10.1.2.0/24']), rule('s', ['10.9.0.0/16'])) })
    for (const clean of [true, false]) {
      world.send('10.9.9.9:1', say.connect('s', { clean }))
      world.send('10.9.9.9:1', say.connect('s', { clean, will: true }))
      world.send('203.0.113.1:1', say.connect('s', { clean }))
    }
    expect(world.sent('10.9.9.9:1')).toEqual(Array(4).fill('CONNACK rc3'))
    expect(world.sent('203.0.113.1:1')).toEqual(Array(2).fill('CONNACK rc3'))
    expect(world.notices[0]).toEqual({
      code: 'client-refused',
      level: 'info',
      client: 'sn:s',
      peer: '10.9.9.9:1',
      reason: `it is connected from the network that its rule binds it to, at ${HOME} (sn_users)`,
    })
    expect(wakes(world, HOME)).toBe(true)
    // Within its network it is free to move, and when it is gone or has said goodbye the other rule lets it in.
    world.send('10.1.2.4:1', say.connect('s', { clean: false }), say.disconnect())
    expect(world.sent('10.1.2.4:1')).toContain('CONNACK')
    world.send('10.9.9.9:1', say.connect('s'))
    expect(world.sent('10.9.9.9:1')).toEqual(['CONNACK'])
  })
})
