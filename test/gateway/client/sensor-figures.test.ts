import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DAY_LETTERS, DAY_STATES, QUARTERS, SensorFigures } from '../../../src/gateway/client/sensor-figures.ts'
import type { SensorState } from '../../../src/gateway/client/state-table.ts'

const QUARTER = 900
/** The beginning of a quarter of an hour. */
const START = 1_800_000_000

/** Wall clock at instant 0. */
const EPOCH = (START - 1000) * 1000
const at = (wall: number): number => wall * 1000 - EPOCH
/** As a new sensor, if it is the first time. */
const enter = (figures: SensorFigures, wall: number, state: SensorState): void => figures.entered(at(wall), 0, undefined, state)

/** The last quarters. */
const text = (day: string, last: number): string => day.slice(-last)

test('counters are of one sensor, and begin again for the next one in its place', () => {
  const figures = new SensorFigures(0, EPOCH)
  figures.count(5, 'bytesSent', 100)
  figures.count(5, 'bytesSent', 20)
  figures.count(2000, 'wakes')
  expect(figures.counters(5)).toMatchObject({ bytesSent: 120, wakes: 0 })
  expect(figures.counters(2000)).toMatchObject({ bytesSent: 0, wakes: 1 })
  figures.clear(5)
  expect(figures.counters(5)).toMatchObject({ bytesSent: 0 })
})

test('64 bytes a sensor', () => {
  const figures = new SensorFigures(0, EPOCH)
  for (let seat = 0; seat < 10_240; seat++) figures.count(seat, 'wakes')
  expect(figures.bytes).toBe(10_240 * 64)
})

test('a sensor that nothing is known of', () => {
  expect(text(new SensorFigures(0, EPOCH).day(at(START), 0, 'disconnected'), QUARTERS)).toBe('-'.repeat(QUARTERS))
})

test('what a sensor did most in each quarter', () => {
  const figures = new SensorFigures(0, EPOCH)
  // Known from the second half of the first quarter on.
  enter(figures, START + 500, 'active')
  enter(figures, START + QUARTER + 100, 'asleep')
  enter(figures, START + 4 * QUARTER, 'lost')
  enter(figures, START + 6 * QUARTER, 'disconnected')
  expect(text(figures.day(at(START + 8 * QUARTER + 10), 0, 'disconnected'), 10)).toBe('--sssll---')
})

test('a sensor that wakes every minute for a second is asleep', () => {
  const figures = new SensorFigures(0, EPOCH)
  for (let at = START; at < START + 3 * QUARTER; at += 60) {
    enter(figures, at, 'awake')
    enter(figures, at + 1, 'asleep')
  }
  expect(text(figures.day(at(START + 3 * QUARTER), 0, 'disconnected'), 5)).toBe('-ssss')
})

test('a state that lasts for days fills the day', () => {
  const figures = new SensorFigures(0, EPOCH)
  enter(figures, START, 'asleep')
  expect(text(figures.day(at(START + 10 * 86_400 + 7), 0, 'disconnected'), QUARTERS)).toBe('s'.repeat(QUARTERS))
})

test('as a model that keeps every second says', () => {
  const states: readonly SensorState[] = ['active', 'asleep', 'awake', 'lost', 'disconnected']
  const step = fc.record({ state: fc.constantFrom(...states), seconds: fc.integer({ min: 0, max: 4000 }) })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5000 }), fc.array(step, { maxLength: 60 }), (offset, steps) => {
      const figures = new SensorFigures(0, EPOCH)
      const begin = START + offset
      const spent = new Map<number, Record<(typeof DAY_STATES)[number], number>>()
      const ofQuarter = (quarter: number): Record<(typeof DAY_STATES)[number], number> => {
        if (!spent.has(quarter)) spent.set(quarter, { unknown: 0, asleep: 0, awake: 0, lost: 0 })
        return spent.get(quarter)!
      }
      let now = begin
      for (const { state, seconds } of steps) {
        enter(figures, now, state)
        const day = state === 'active' ? 'awake' : state === 'disconnected' ? 'unknown' : state
        for (let i = 0; i < seconds; i++, now++) ofQuarter(Math.floor(now / QUARTER))[day]++
      }
      const quarter = Math.floor(now / QUARTER)
      for (const [i, letter] of [...figures.day(at(now), 0, 'disconnected')].entries()) {
        const found = DAY_STATES[DAY_LETTERS.indexOf(letter)]!
        const at = quarter - QUARTERS + 1 + i
        const known = spent.get(at)
        // Seconds before the first state, and ends of states that are shorter than a unit, may tip the scales.
        const total = known === undefined ? 0 : known.asleep + known.awake + known.lost + known.unknown
        const unknown = (known?.unknown ?? 0) + (at === quarter ? now - at * QUARTER : QUARTER) - total
        const most = Math.max(known?.asleep ?? 0, known?.awake ?? 0, known?.lost ?? 0, unknown)
        const own = found === 'unknown' ? unknown : (known?.[found] ?? 0)
        expect(most - own).toBeLessThanOrEqual(4 * (4 + 2 * steps.length))
      }
    }),
    // Most of the current quarter may have been before the first state.
    { examples: [[25, [{ state: 'active', seconds: 27 }]]] },
  )
})
