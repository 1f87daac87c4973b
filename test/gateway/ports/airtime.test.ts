import { describe, expect, test } from 'vitest'
import { isWithin, PRIVATE_NETWORKS, parseNetwork } from '../../../src/base/networks.ts'
import { Airtime } from '../../../src/gateway/ports/airtime.ts'
import { allTriesMs, retryDelayMs } from '../../../src/gateway/ports/retry-profile.ts'

const HOUR = 3_600_000

describe('airtime', () => {
  test('frames follow each other at the speed of the medium', () => {
    const airtime = new Airtime({ bytesPerSecond: 100, dutyCycle: 1 })
    expect(airtime.earliest(50)).toBe(0)
    airtime.spend(1000, 50)
    expect(airtime.earliest(1)).toBe(1500)
    airtime.spend(1500, 10)
    expect(airtime.earliest(1)).toBe(1600)
  })

  test('the duty cycle of an hour is waited for, and not forgotten after long silence', () => {
    // 1 % of an hour is 36 s, at 100 octets a second 3600 octets.
    const airtime = new Airtime({ bytesPerSecond: 100, dutyCycle: 0.01 })
    for (let at = 0; at < 36; at++) airtime.spend(at * 1000, 100)
    expect(airtime.earliest(100)).toBe(60_000 + HOUR)
    expect(airtime.fits(3600)).toBe(true)
    expect(airtime.fits(3601)).toBe(false)
    // A share of it may be kept back.
    expect([airtime.fits(3240, 0.9), airtime.fits(3241, 0.9)]).toEqual([true, false])
    airtime.spend(60_000 + HOUR, 100)
    airtime.spend(10 * HOUR, 3500)
    expect(airtime.earliest(100)).toBe(10 * HOUR + 35_000)
    expect(airtime.earliest(101)).toBe(11 * HOUR + 60_000)
  })
})

describe('retry profile', () => {
  const profile = { tRetryMs: 10_000, nRetry: 3, backoff: 2, jitter: 0.5 }

  test('each wait grows by the factor, and chance prolongs it', () => {
    expect([0, 1, 2, 3].map((retries) => retryDelayMs(profile, retries, 0))).toEqual([10_000, 20_000, 40_000, 80_000])
    expect(retryDelayMs(profile, 1, 0.5)).toBe(25_000)
    expect(allTriesMs(profile)).toBe(225_000)
  })

  test('a wait has an end, however many there were before', () => {
    expect(retryDelayMs(profile, 100, 0)).toBe(HOUR)
    expect(retryDelayMs({ ...profile, tRetryMs: 2 * HOUR }, 1, 0)).toBe(2 * HOUR)
  })
})

describe('networks', () => {
  const within = (ip: string, ...networks: string[]): boolean =>
    isWithin(
      ip,
      networks.map((text) => parseNetwork(text)!),
    )

  test.each([
    ['10.1.2.3', '10.0.0.0/8', true],
    ['11.1.2.3', '10.0.0.0/8', false],
    ['172.31.255.255', '172.16.0.0/12', true],
    ['172.32.0.0', '172.16.0.0/12', false],
    ['192.0.2.1', '192.0.2.1', true],
    ['192.0.2.2', '192.0.2.1', false],
    ['8.8.8.8', '0.0.0.0/0', true],
    ['2001:db8::1', '0.0.0.0/0', false],
    ['::ffff:10.0.0.1', '10.0.0.0/8', true],
    ['fe80::1%eth0', 'fe80::/10', true],
    ['fec0::1', 'fe80::/10', false],
    ['fd00:1:2::3', 'fc00::/7', true],
    ['::1', '::1', true],
    ['::2', '::1', false],
    ['2001:db8:0:1::5', '2001:db8:0:1::/64', true],
    ['2001:db8:0:2::5', '2001:db8:0:1::/64', false],
    ['nonsense', '0.0.0.0/0', false],
  ])('%s in %s: %s', (ip, network, expected) => expect(within(ip, network)).toBe(expected))

  test('what is no network is none', () => {
    for (const text of [
      '',
      '10.0.0.0/33',
      '::/129',
      '10.0.0/8',
      '256.0.0.1',
      '::1::',
      '1:2:3:4:5:6:7:8:9',
      'fe80::/x',
      'x/8',
      '1.2.3.4/8/9',
    ])
      expect(parseNetwork(text), text).toBeUndefined()
    for (const text of PRIVATE_NETWORKS) expect(parseNetwork(text), text).toBeDefined()
  })
})
