import { describe, expect, test } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import { Fleet, type FleetOptions } from '../../../src/cli/simulate/fleet.ts'
import { summaryLines } from '../../../src/cli/simulate/summary.ts'
import { Server } from '../../../src/server.ts'
import { MemoryStore } from '../../../src/store/store.ts'
import { OPTIONS } from '../../gateway/harness.ts'

const HABITS: FleetOptions = {
  sensors: 40,
  idPrefix: 'sim-',
  topicPrefix: 'simulated',
  sleepMs: 60_000,
  rampMs: 10_000,
  qos: 1,
  loss: 0,
  tRetryMs: 2000,
  nRetry: 5,
}
const HOUR = 3_600_000

/** A fleet and a gateway in virtual time; `dropped` datagrams to the sensors vanish. */
class Site {
  now = 0
  readonly fleet: Fleet
  server = new Server({ gateway: OPTIONS, store: new MemoryStore(), clock: { epoch: 0 }, notice: () => {}, random: () => 0.5 })
  isDeaf = false

  constructor(options: Partial<FleetOptions> = {}, seed = 1) {
    this.fleet = new Fleet(0, { ...HABITS, ...options }, new Random(seed).next)
    this.server.recover(0)
  }

  /** Until then, or until nothing is due any more. */
  run(until: number): void {
    for (;;) {
      this.#exchange()
      const at = Math.min(this.fleet.nextTimeout() ?? until, this.server.nextTimeout() ?? until)
      if (at >= until || this.fleet.isGone) break
      this.now = Math.max(this.now, at)
      this.server.handleTimeout(this.now)
      this.fleet.handleTimeout(this.now)
    }
    this.now = Math.max(this.now, until)
  }

  /** The sensors end their sessions. */
  end(): void {
    this.fleet.stop(this.now)
    this.run(this.now + HOUR)
  }

  #exchange(): void {
    for (let again = true; again; ) {
      again = false
      for (let out = this.fleet.poll(this.now); out !== undefined; out = this.fleet.poll(this.now)) {
        again = true
        if (!this.isDeaf) this.server.handle(this.now, { kind: 'datagram', route: `10.0.0.1:${out.sensor}`, bytes: out.bytes })
      }
      for (let out = this.server.poll(this.now); out !== undefined; out = this.server.poll(this.now)) {
        again = true
        if (out.kind === 'datagram' && !this.isDeaf)
          this.fleet.handleDatagram(this.now, { sensor: Number(out.route.split(':')[1]), bytes: Uint8Array.from(out.bytes) })
      }
    }
  }
}

describe('an hour of forty sensors', () => {
  test.each([0, 0.1, 0.3])('with %d of the datagrams lost: no acknowledged command is lost, and nothing remains', (loss) => {
    const site = new Site({ loss })
    site.run(HOUR)
    expect(site.fleet.asleep).toBeGreaterThan(10)
    site.end()
    const { tally, isGone } = site.fleet
    expect(isGone).toBe(true)
    expect(tally.published).toBeGreaterThan(40 * 25)
    expect(tally.commands).toBeGreaterThan(40 * 5)
    expect(site.fleet.missing.lost).toBe(0)
    expect(site.fleet.missing.unfetched).toBeLessThanOrEqual(loss > 0.2 ? 5 : 0)
    expect(tally.acknowledged + tally.givenUp).toBe(tally.published)
    expect(tally.acknowledged / tally.published).toBeGreaterThan(loss > 0.2 ? 0.9 : 0.99)
    expect(tally.wakes).toBeGreaterThan(40 * 25)
    expect(tally.refusals).toBe(0)
    const lost = tally.datagrams.lost / (tally.datagrams.sent + tally.datagrams.received)
    if (loss === 0)
      expect([lost, tally.retransmissions, tally.timeouts, tally.duplicates, tally.givenUp]).toEqual([0, 0, 0, 0, 0])
    else expect(tally.retransmissions).toBeGreaterThan(tally.published * loss)
    if (loss <= 0.1) expect(site.server.broker.sessions.size).toBe(0)
  })

  test.each([0, 2] as const)('with readings of QoS %d', (qos) => {
    const site = new Site({ qos, sensors: 5 })
    site.run(HOUR / 4)
    site.end()
    const { tally } = site.fleet
    expect(tally.acknowledged).toBe(tally.published)
    expect(tally.published).toBeGreaterThan(5 * 10)
    expect(site.fleet.missing).toEqual({ lost: 0, unfetched: 0 })
  })

  test('the same seed gives the same hour', () => {
    const [first, second] = [new Site({ loss: 0.2 }), new Site({ loss: 0.2 })]
    for (const site of [first, second]) site.run(HOUR / 4)
    expect(summaryLines(first.fleet, 0)).toEqual(summaryLines(second.fleet, 0))
  })
})

test('a gateway that was away and has lost every session: the sensors come back, and what it lost is counted', () => {
  const site = new Site()
  site.run(HOUR / 4)
  const before = site.fleet.tally.published
  site.isDeaf = true
  site.run(site.now + HOUR / 4)
  expect(site.fleet.tally.timeouts).toBeGreaterThan(40)
  site.isDeaf = false
  site.server = new Site().server
  site.run(site.now + HOUR / 4)
  expect(site.fleet.tally.published).toBeGreaterThan(before + 40 * 10)
  const { arrived } = site.fleet.tally
  site.run(site.now + HOUR / 4)
  expect(site.fleet.tally.arrived).toBeGreaterThan(arrived + 40)
})

test('a summary without anything, and of a run', () => {
  const site = new Site({ sensors: 1 })
  expect(summaryLines(site.fleet, 0)).toContain('wakes:           0, from PINGREQ to PINGRESP: p50 -, p99 -')
  site.run(HOUR)
  site.end()
  expect(summaryLines(site.fleet, HOUR).slice(0, 3)).toEqual([
    'time:            3600.0 s',
    expect.stringMatching(/^readings: {8}\d+ published, \d+ acknowledged, 0 given up$/),
    expect.stringMatching(/^commands: {8}\d+ acknowledged, \d+ arrived, 0 lost, 0 duplicates$/),
  ])
})
