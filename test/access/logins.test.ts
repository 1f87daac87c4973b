import { describe, expect, test } from 'vitest'
import { LEVEL_MAX, type LoginOptions, Logins } from '../../src/access/logins.ts'
import { parseNetwork } from '../../src/base/networks.ts'
import type { Notice } from '../../src/base/notice.ts'

const MINUTE = 60_000
const PEER = '192.0.2.7:51234'

function world(options: Partial<LoginOptions> = {}) {
  const notices: Notice[] = []
  return { notices, logins: new Logins({ banAfter: 3, banMs: 10 * MINUTE, ...options }, (notice) => notices.push(notice)) }
}

describe('the level of an address', () => {
  test('is 0 at first, rises with each question and more with each failure, and falls with time', () => {
    const { logins } = world()
    expect([logins.asked(0, PEER), logins.asked(0, '192.0.2.7:9'), logins.asked(0, PEER)]).toEqual([0, 1, 2])
    expect(logins.asked(0, '192.0.2.8:1')).toBe(0)
    logins.failed(0, PEER)
    expect(logins.asked(0, PEER)).toBe(13)
    expect(logins.asked(7 * MINUTE, PEER)).toBe(7)
    expect(logins.asked(15 * MINUTE, PEER)).toBe(0)
  })

  test('has a bound, and an hour makes up for everything', () => {
    const { logins } = world({ banAfter: Number.POSITIVE_INFINITY })
    for (let i = 0; i < 1000; i++) {
      logins.asked(0, PEER)
      logins.failed(0, PEER)
    }
    expect(logins.asked(0, PEER)).toBe(LEVEL_MAX)
    expect(logins.asked(LEVEL_MAX * MINUTE, PEER)).toBe(0)
  })

  test('a site that logs in well has none, and nothing is remembered of it', () => {
    const { logins } = world()
    for (let i = 0; i < 500; i++) {
      expect(logins.asked(i, PEER)).toBe(0)
      logins.succeeded(i, PEER)
    }
    expect(logins.size).toBe(0)
  })

  test('is that of a whole /64 of IPv6, and of a Unix socket', () => {
    const { logins } = world()
    expect(['[2001:db8::1]:5', '[2001:db8::ffff:2]:6', '[2001:db8:0:1::1]:5'].map((peer) => logins.asked(0, peer))).toEqual([
      0, 1, 0,
    ])
    expect([logins.asked(0, 'unix:/run/roost'), logins.asked(0, 'unix:/run/roost')]).toEqual([0, 1])
  })
})

describe('ban_after', () => {
  const failing = (logins: Logins, times: number, peer = PEER, now = 0): void => {
    for (let i = 0; i < times; i++) logins.failed(now, peer)
  }

  test('bans an address for a while, and says so once', () => {
    const { logins, notices } = world()
    failing(logins, 2)
    expect(logins.isBanned(0, PEER)).toBe(false)
    failing(logins, 1, '192.0.2.7:1', 1000)
    expect([logins.isBanned(1000, PEER), logins.isBanned(1000, '192.0.2.8:1')]).toEqual([true, false])
    const reason = '192.0.2.7 is banned for 600 s after 3 failed logins'
    expect(notices).toEqual([{ code: 'address-banned', level: 'warn', peer: '192.0.2.7:1', reason, limit: 'ban_after' }])
    expect([logins.isBanned(1000 + 10 * MINUTE - 1, PEER), logins.isBanned(1000 + 10 * MINUTE, PEER)]).toEqual([true, false])
  })

  test('counts the failures of ban_seconds, whatever succeeds between them', () => {
    const { logins } = world()
    failing(logins, 2)
    logins.succeeded(0, PEER)
    failing(logins, 1, PEER, 10 * MINUTE + 1)
    expect(logins.isBanned(10 * MINUTE + 1, PEER)).toBe(false)
    failing(logins, 2, PEER, 11 * MINUTE)
    expect(logins.isBanned(11 * MINUTE, PEER)).toBe(true)
  })

  test('bans a /64 as one', () => {
    const { logins } = world()
    for (let i = 1; i <= 3; i++) failing(logins, 1, `[2001:db8::${i}]:5`)
    expect(logins.isBanned(0, '[2001:db8::beef:1]:1')).toBe(true)
    expect(logins.isBanned(0, '[2001:db8:0:1::1]:1')).toBe(false)
  })

  test('never bans trusted networks and Unix sockets, nor anybody where it is off', () => {
    const trusted = [parseNetwork('10.0.0.0/8')!]
    const { logins, notices } = world({ trusted })
    for (const peer of ['10.1.2.3:4', '[::ffff:10.1.2.3]:4', 'unix:/run/roost']) {
      failing(logins, 100, peer)
      expect(logins.isBanned(0, peer)).toBe(false)
    }
    expect(notices).toEqual([])
    const off = world({ banAfter: Number.POSITIVE_INFINITY }).logins
    failing(off, 1000)
    expect(off.isBanned(0, PEER)).toBe(false)
  })

  test('what is remembered is bounded, and a flood of addresses lifts no ban but the oldest, with a notice', () => {
    const { logins, notices } = world({ maxAddresses: 100 })
    failing(logins, 3)
    for (let i = 0; i < 1000; i++) failing(logins, 2, `198.51.${i >> 8}.${i & 255}:1`)
    expect(logins.isBanned(0, PEER)).toBe(true)
    for (let i = 0; i < 100; i++) failing(logins, 3, `203.0.${i >> 8}.${i & 255}:1`)
    expect([logins.isBanned(0, PEER), logins.isBanned(0, '203.0.0.99:1')]).toEqual([false, true])
    expect(logins.size).toBeLessThanOrEqual(200)
    expect(new Set(notices.filter(({ code }) => code === 'limit-reached').map(({ limit }) => limit))).toEqual(
      new Set(['max_login_addresses']),
    )
  })
})
