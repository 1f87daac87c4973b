import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { FACTOR, ONLY_RANDOM, SEED } from './runs.ts'
import { DAY, Day, type DayOptions } from './sim/day.ts'

/** Copies of one datagram that the network makes at most. */
const COPIES = 2

const hash = (lines: readonly string[]): string => createHash('sha256').update(lines.join('\n')).digest('hex')

function lived(options: DayOptions): Day {
  const day = new Day(options)
  day.run()
  return day
}

function checked(day: Day): void {
  const { ledger } = day
  expect(day.radioSilence.found).toEqual([])
  expect(ledger.missing()).toEqual([])
  expect(ledger.repeated(COPIES)).toEqual([])
  expect(ledger.disordered()).toEqual([])
  expect(day.pending()).toEqual([])
}

const TITLE = 'a virtual day of 50 sensors and 5 TCP clients on a bad network'

const fixed = (): void => {
  test('loses nothing that was acknowledged, repeats nothing of QoS 2, keeps order and radio silence', {
    timeout: 60_000,
  }, () => {
    const day = lived({ seed: 1 })
    checked(day)
    const { network, trace, notices } = day.world
    // The run was worth judging: a lot happened, and a lot went wrong on the way.
    expect(network.sent).toBeGreaterThan(20_000)
    expect(network.lost).toBeGreaterThan(1000)
    expect(network.duplicated).toBeGreaterThan(500)
    expect(trace.length).toBeGreaterThan(20_000)
    expect(day.ledger.deliveries).toBeGreaterThan(5000)
    expect(notices.get('client-connected')).toBeGreaterThan(55)
  })

  test('is the same to the byte for the same seed, and another for another', { timeout: 60_000 }, () => {
    const short = { sensors: 20, durationMs: DAY / 4 }
    const [first, second, other] = [7, 7, 8].map((seed) => hash(lived({ seed, ...short }).world.trace))
    expect(second).toBe(first)
    expect(other).not.toBe(first)
  })

  test('survives crashes of the server: sensors go on, nothing acknowledged is lost', { timeout: 60_000 }, () => {
    const crashes = [1, 2, 3, 4, 5].map((n) => (n * DAY) / 12 + 123_457 * n)
    checked(lived({ seed: 3, sensors: 30, durationMs: DAY / 2, crashes }))
  })
}

describe(TITLE, () => {
  if (!ONLY_RANDOM) fixed()

  const seeds = Array.from({ length: Math.ceil(FACTOR / 5) }, (_, i) => SEED + i)
  test.each(seeds)('holds for seed %i too, with a crash every three hours', { timeout: 60_000 }, (seed) => {
    const crashes = Array.from({ length: 7 }, (_, i) => ((i + 1) * DAY) / 8 + ((seed * 7919 * (i + 1)) % 600_000))
    checked(lived({ seed, crashes }))
  })
})
