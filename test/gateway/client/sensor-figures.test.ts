import fc from 'fast-check'
import { expect, test } from 'vitest'
import { COUNTERS, type DayState, QUARTERS, SensorFigures } from '../../../src/gateway/client/sensor-figures.ts'
import type { SensorState } from '../../../src/gateway/client/sensor-states.ts'

const QUARTER = 900
/** The beginning of a quarter of an hour. */
const START = 1_800_000_000

/** The last quarters, shortened: `unknown` as `-`. */
const text = (day: readonly DayState[], last: number): string =>
  day
    .slice(-last)
    .map((state) => (state === 'unknown' ? '-' : state[0]))
    .join('')

test('counters are of one sensor, and begin again for the next one in its place', () => {
  const figures = new SensorFigures()
  figures.count(5, COUNTERS.indexOf('bytesSent'), 100)
  figures.count(5, COUNTERS.indexOf('bytesSent'), 20)
  figures.count(2000, COUNTERS.indexOf('wakes'))
  expect(figures.counters(5)).toMatchObject({ bytesSent: 120, wakes: 0 })
  expect(figures.counters(2000)).toMatchObject({ bytesSent: 0, wakes: 1 })
  figures.clear(5)
  expect(figures.counters(5)).toMatchObject({ bytesSent: 0 })
})

test('64 bytes a sensor', () => {
  const figures = new SensorFigures()
  for (let seat = 0; seat < 10_240; seat++) figures.count(seat, 0)
  expect(figures.bytes).toBe(10_240 * 64)
})

test('a sensor that nothing is known of', () => {
  expect(text(new SensorFigures().day(0, START), QUARTERS)).toBe('-'.repeat(QUARTERS))
})

test('what a sensor did most in each quarter', () => {
  const figures = new SensorFigures()
  // Known from the second half of the first quarter on.
  figures.entered(0, START + 500, 'active')
  figures.entered(0, START + QUARTER + 100, 'asleep')
  figures.entered(0, START + 4 * QUARTER, 'lost')
  figures.entered(0, START + 6 * QUARTER, 'disconnected')
  expect(text(figures.day(0, START + 8 * QUARTER + 10), 10)).toBe('--aaall---')
})

test('a sensor that wakes every minute for a second is asleep', () => {
  const figures = new SensorFigures()
  for (let at = START; at < START + 3 * QUARTER; at += 60) {
    figures.entered(0, at, 'awake')
    figures.entered(0, at + 1, 'asleep')
  }
  expect(text(figures.day(0, START + 3 * QUARTER), 5)).toBe('-aaaa')
})

test('a state that lasts for days fills the day', () => {
  const figures = new SensorFigures()
  figures.entered(0, START, 'asleep')
  expect(text(figures.day(0, START + 10 * 86_400 + 7), QUARTERS)).toBe('a'.repeat(QUARTERS))
})

test('as a model that keeps every second says', () => {
  const states: readonly SensorState[] = ['active', 'asleep', 'awake', 'lost', 'disconnected']
  const step = fc.record({ state: fc.constantFrom(...states), seconds: fc.integer({ min: 0, max: 4000 }) })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5000 }), fc.array(step, { maxLength: 60 }), (offset, steps) => {
      const figures = new SensorFigures()
      const begin = START + offset
      const spent = new Map<number, Record<DayState, number>>()
      const ofQuarter = (quarter: number): Record<DayState, number> => {
        if (!spent.has(quarter)) spent.set(quarter, { unknown: 0, asleep: 0, awake: 0, lost: 0 })
        return spent.get(quarter)!
      }
      let now = begin
      for (const { state, seconds } of steps) {
        figures.entered(0, now, state)
        const day = state === 'active' ? 'awake' : state === 'disconnected' ? 'unknown' : state
        for (let i = 0; i < seconds; i++, now++) ofQuarter(Math.floor(now / QUARTER))[day]++
      }
      const quarter = Math.floor(now / QUARTER)
      for (const [i, found] of figures.day(0, now).entries()) {
        const at = quarter - QUARTERS + 1 + i
        const known = spent.get(at)
        // Seconds before the first state, and ends of states that are shorter than a unit, may tip the scales.
        const total = known === undefined ? 0 : known.asleep + known.awake + known.lost + known.unknown
        const unknown = (known?.unknown ?? 0) + (at === quarter ? 0 : QUARTER - total)
        const most = Math.max(known?.asleep ?? 0, known?.awake ?? 0, known?.lost ?? 0, unknown)
        const own = found === 'unknown' ? unknown : (known?.[found] ?? 0)
        expect(most - own).toBeLessThanOrEqual(4 * (2 + 2 * steps.length))
      }
    }),
  )
})
