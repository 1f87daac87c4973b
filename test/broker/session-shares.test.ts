import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import { DEFAULT_LIMITS } from '../../src/broker/limits.ts'
import { isUnused } from '../../src/broker/session-shares.ts'
import type { ClientKind } from '../../src/mqtt/link.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import type { Store } from '../../src/store/store.ts'
import { connectPacket, PERSISTENT, TestBroker, TestClient, will } from './harness.ts'

class Site extends TestBroker {
  constructor(limits: Partial<BrokerLimits>, store?: Store) {
    super({ limits: { ...DEFAULT_LIMITS, ...limits } as BrokerLimits }, store)
  }

  /** Connects from there, and gives what comes of it. */
  from(peer: string, clientId: string, options: Partial<Connect> = PERSISTENT, kind: ClientKind = 'mqtt', identity?: string) {
    const info = { kind, peer, listener: 'mqtt', ...(identity !== undefined && { identity }) }
    const client = new TestClient(this, this.broker.open(this.now, info))
    client.send(connectPacket(clientId, options))
    if (this.store instanceof DelayedStore) this.commit()
    return { client, answer: client.poll()[0] }
  }

  /** The same, and goes at once. */
  visit(
    peer: string,
    clientId: string,
    options: Partial<Connect> = PERSISTENT,
    kind: ClientKind = 'mqtt',
    identity?: string,
  ): string {
    const { client, answer } = this.from(peer, clientId, options, kind, identity)
    if (answer === 'CONNACK' || answer === 'CONNACK present') client.disconnect()
    return answer!
  }

  get keys(): string[] {
    return [...this.broker.sessions].map(({ key }) => key)
  }

  limits(): string[] {
    return this.notices.flatMap(({ limit, code }) => (limit === undefined || code === 'client-refused' ? [] : `${code} ${limit}`))
  }
}

const REFUSED = 'CONNACK 151'

describe('a share', () => {
  test('of one address is a quarter, so that others find room: an IPv4 address, or a /64', () => {
    const site = new Site({ maxSessions: 8 })
    const peers = ['[2001:db8::1]:1', '[2001:db8::2]:1', '[2001:db8::3]:1']
    expect(peers.map((peer, i) => site.from(peer, `c${i}`).answer)).toEqual(['CONNACK', 'CONNACK', REFUSED])
    expect(site.limits()).toEqual(['limit-reached max_sessions_per_address'])
    expect(['192.0.2.1:1', '192.0.2.1:2', '192.0.2.1:3'].map((peer, i) => site.from(peer, `d${i}`).answer)).toEqual([
      'CONNACK',
      'CONNACK',
      REFUSED,
    ])
    // Who has a session comes back to it from anywhere.
    expect(site.from('192.0.2.1:9', 'c0', PERSISTENT).answer).toBe('CONNACK present')
  })

  test('of a user that was verified, whatever its address; a claimed name is nobody', () => {
    const site = new Site({ maxSessions: 8, maxSessionsPerUser: 2 })
    for (let i = 0; i < 5; i++)
      expect(site.from(`192.0.2.${i}:1`, `c${i}`, PERSISTENT, 'mqtt', 'alice').answer).toBe(i < 2 ? 'CONNACK' : REFUSED)
    for (let i = 0; i < 4; i++)
      expect(site.from(`198.51.100.${i}:1`, `d${i}`, { ...PERSISTENT, username: 'alice' }).answer).toBe('CONNACK')
    expect(site.limits()).toEqual(new Array(3).fill('limit-reached max_sessions_per_user'))
  })

  test('goes along with a session that moves to another address', () => {
    const site = new Site({ maxSessions: 100, maxSessionsPerAddress: 1 })
    const { client } = site.from('192.0.2.1:1', 'roams')
    client.subscribe('a')
    expect(site.from('192.0.2.1:1', 'x').answer).toBe(REFUSED)
    client.lost()
    site.from('192.0.2.2:1', 'roams')
    expect([site.from('192.0.2.1:1', 'x').answer, site.from('192.0.2.2:1', 'y').answer]).toEqual(['CONNACK', REFUSED])
  })

  test('is there again after a restart', () => {
    const store = new DelayedStore()
    const site = new Site({ maxSessions: 8 }, store)
    for (let i = 0; i < 2; i++) {
      const { client } = site.from('192.0.2.1:1', `c${i}`, PERSISTENT, 'mqtt', `u${i}`)
      client.subscribe('a', 1)
      site.commit()
      client.lost()
    }
    site.commit()
    const again = new Site({ maxSessions: 8 }, store.crash())
    for (const record of again.store.replay()) again.broker.apply(record as never)
    again.broker.recover(0)
    again.broker.runDownRecovered(0)
    expect([again.from('192.0.2.1:5', 'x').answer, again.from('192.0.2.2:5', 'y').answer]).toEqual([REFUSED, 'CONNACK'])
  })

  test('is that of where its client was last, and of no session that has ended, after a restart too', () => {
    const store = new DelayedStore()
    const site = new Site({ maxSessions: 8 }, store)
    const subscribed = (peer: string, clientId: string): void => {
      const { client } = site.from(peer, clientId)
      client.subscribe('a', 1)
      site.commit()
      client.lost()
    }
    for (const clientId of ['moves', 'ends']) subscribed('192.0.2.1:1', clientId)
    subscribed('192.0.2.2:1', 'moves')
    site.visit('192.0.2.1:1', 'ends', { cleanStart: true })
    site.commit()
    const again = new Site({ maxSessions: 8 }, store.crash())
    for (const record of again.store.replay()) again.broker.apply(record as never)
    again.broker.recover(0)
    again.broker.runDownRecovered(0)
    expect(again.keys).toEqual(['mqtt:moves'])
    expect(['192.0.2.1:5', '192.0.2.1:6', '192.0.2.1:7'].map((peer) => again.from(peer, peer).answer)).toEqual([
      'CONNACK',
      'CONNACK',
      REFUSED,
    ])
    expect(['192.0.2.2:5', '192.0.2.2:6'].map((peer) => again.from(peer, peer).answer)).toEqual(['CONNACK', REFUSED])
  })

  test('of a Unix socket or a serial line there is none', () => {
    const site = new Site({ maxSessions: 4 })
    for (let i = 0; i < 4; i++) expect(site.from('unix:/run/roost', `c${i}`).answer).toBe('CONNACK')
    for (let i = 0; i < 4; i++) expect(site.from('/dev/ttyUSB0@field', `c${i}`, PERSISTENT, 'sn').answer).toBe('CONNACK')
  })
})

test('sensors and MQTT clients are apart: neither takes the room of the other', () => {
  const site = new Site({ maxSessions: 3, maxSessionsPerAddress: 10, maxSnSessions: 2 })
  for (let i = 0; i < 4; i++) expect(site.from('192.0.2.1:1', `s${i}`, PERSISTENT, 'sn').answer).toBe(i < 2 ? 'CONNACK' : REFUSED)
  for (let i = 0; i < 4; i++) expect(site.from('192.0.2.1:1', `c${i}`).answer).toBe(i < 3 ? 'CONNACK' : REFUSED)
  expect([site.broker.sessions.count('sn'), site.broker.sessions.count('mqtt')]).toEqual([2, 3])
  expect(site.limits()).toEqual(['limit-reached max_sn_sessions', 'limit-reached max_sn_sessions', 'limit-reached max_sessions'])
})

describe('where there is no room', () => {
  test('the oldest session goes that was never used, with a notice', () => {
    const site = new Site({ maxSessions: 3, maxSessionsPerAddress: 10 })
    for (const id of ['a', 'b', 'c']) site.visit('192.0.2.1:1', id)
    expect(site.visit('192.0.2.2:1', 'new')).toBe('CONNACK')
    expect(site.keys).toEqual(['mqtt:b', 'mqtt:c', 'mqtt:new'])
    const reason = 'its session, which was never used, makes room for another'
    expect(site.notices.filter(({ code }) => code === 'session-expired')).toEqual([
      { code: 'session-expired', level: 'warn', client: 'mqtt:a', reason, limit: 'max_sessions' },
    ])
  })

  test('of an address, one of its own goes', () => {
    const site = new Site({ maxSessions: 100, maxSessionsPerAddress: 2 })
    site.visit('192.0.2.9:1', 'other')
    for (const id of ['a', 'b', 'c']) expect(site.visit('192.0.2.1:1', id)).toBe('CONNACK')
    expect(site.keys).toEqual(['mqtt:other', 'mqtt:b', 'mqtt:c'])
  })

  test.each<[string, (site: Site) => void]>([
    ['is connected', (site) => void site.from('192.0.2.1:1', 'x')],
    ['has come back', (site) => [1, 2].map(() => site.visit('192.0.2.1:1', 'x'))],
    [
      'has a subscription',
      (site) => {
        const { client } = site.from('192.0.2.1:1', 'x')
        client.subscribe('a', 1)
        client.disconnect()
      },
    ],
    [
      'has a message, although its subscription has ended',
      (site) => {
        const { client } = site.from('192.0.2.1:1', 'x')
        client.subscribe('a', 1)
        client.publish('a', 'm', 1)
        client.poll()
        client.unsubscribe('a')
        client.lost()
      },
    ],
    [
      'has begun to publish with QoS 2',
      (site) => {
        const { client } = site.from('192.0.2.1:1', 'x')
        client.publish('a', 'm', 2)
        client.lost()
      },
    ],
    [
      'has a will that waits',
      (site) => {
        const { client } = site.from('192.0.2.1:1', 'x', { ...PERSISTENT, will: will('w', 'x', 0, { willDelayInterval: 60 }) })
        client.lost()
      },
    ],
  ])('a session that %s stays, and the newcomer is refused', (_, use) => {
    const site = new Site({ maxSessions: 1 })
    use(site)
    expect(site.from('192.0.2.2:1', 'new').answer).toBe(REFUSED)
    expect(site.keys).toEqual(['mqtt:x'])
  })

  test('after a restart too the ones go that hold nothing', () => {
    const store = new DelayedStore()
    const site = new Site({ maxSessions: 2, maxSessionsPerAddress: 10 }, store)
    const { client } = site.from('192.0.2.1:1', 'used')
    client.subscribe('a', 1)
    site.commit()
    client.disconnect()
    site.visit('192.0.2.1:1', 'unused')
    site.commit()
    const again = new Site({ maxSessions: 2, maxSessionsPerAddress: 10 }, store.crash())
    for (const record of again.store.replay()) again.broker.apply(record as never)
    again.broker.recover(0)
    again.broker.runDownRecovered(0)
    expect([again.from('192.0.2.2:1', 'new').answer, again.from('192.0.2.3:1', 'more').answer]).toEqual(['CONNACK', REFUSED])
    expect(again.keys).toEqual(['mqtt:used', 'mqtt:new'])
  })

  test('a full store leaves everything as it is', () => {
    const store = new DelayedStore()
    const site = new Site({ maxSessions: 1 }, store)
    site.visit('192.0.2.1:1', 'a')
    store.refuse = true
    expect(site.from('192.0.2.2:1', 'b').answer).toBe(REFUSED)
  })
})

test('whoever comes and goes: bounds hold, counts are right, and only what was never used makes room', () => {
  const step = fc.record({
    address: fc.nat(3),
    user: fc.option(fc.nat(2), { nil: undefined }),
    id: fc.nat(9),
    kind: fc.constantFrom<ClientKind>('mqtt', 'mqtt', 'sn'),
    what: fc.constantFrom('visit', 'stay', 'subscribe', 'leave'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const site = new Site({
        maxSessions: 5,
        maxSnSessions: 3,
        maxSessionsPerAddress: 3,
        maxSessionsPerUser: 3,
        sessionOwnership: false,
      })
      const there = new Map<string, TestClient>()
      for (const { address, user, id, kind, what } of steps) {
        const mayGo = new Set([...site.broker.sessions].filter(isUnused).map(({ key }) => key))
        const before = site.keys
        const key = `${kind}:${id}`
        if (what === 'leave') {
          there.get(key)?.disconnect()
          there.delete(key)
        } else {
          const identity = user === undefined ? undefined : `u${user}`
          const { client, answer } = site.from(`192.0.2.${address}:1`, `${id}`, PERSISTENT, kind, identity)
          if (answer!.startsWith('CONNACK 1')) continue
          if (what === 'subscribe') client.subscribe('a')
          if (what === 'visit') client.disconnect()
          else there.set(key, client)
          const gone = before.filter((each) => !site.keys.includes(each))
          for (const each of gone) expect(kind === 'mqtt' && mayGo.has(each)).toBe(true)
        }
        const sessions = [...site.broker.sessions]
        for (const [each, most] of [
          ['mqtt', 5],
          ['sn', 3],
        ] as const) {
          const count = sessions.filter((session) => session.kind === each).length
          expect(site.broker.sessions.count(each)).toBe(count)
          expect(count).toBeLessThanOrEqual(most)
        }
        for (const { shares } of sessions)
          for (const share of shares) expect(share.count).toBe(sessions.filter((other) => other.shares.includes(share)).length)
      }
    }),
  )
})
