import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { knownRuns, ONLY_RANDOM, runs } from './runs.ts'
import { report } from './sim/report.ts'
import { liveRoaming, RoamLife } from './sim/roam-life.ts'
import { ROAM_STEP, type RoamStep, roamSetups } from './sim/roam-step.ts'

const FOLDER = new URL('regressions/roaming/', import.meta.url)

const lives = fc.tuple(roamSetups(), fc.array(ROAM_STEP, { minLength: 1, maxLength: 60, size: 'max' }))

describe('sensors that move between two gateways in front of a cluster', () => {
  test('keep their promises together', { timeout: 600_000 }, () => {
    let failing: readonly RoamStep[] = []
    const property = fc.property(lives, ([scarce, steps]) => {
      const life = new RoamLife(scarce)
      try {
        for (const step of steps) expect(life.take(step)).toEqual([])
        expect(life.finish()).toEqual([])
      } catch (error) {
        failing = life.taken
        throw error
      }
    })
    const details = fc.check(property, knownRuns(20))
    if (details.failed) expect.fail(report(details.seed, failing, liveRoaming, 'roaming/'))
  })

  test('are the same to the byte for the same steps', { timeout: 60_000 }, () => {
    const twice = fc.property(lives, ([scarce, steps]) => {
      const taken: RoamStep[] = [{ do: 'build', ...scarce }, ...steps]
      expect(liveRoaming(taken).trace).toEqual(liveRoaming(taken).trace)
    })
    fc.assert(twice, runs(3))
  })

  const regressions = ONLY_RANDOM || !existsSync(FOLDER) ? [] : readdirSync(FOLDER).filter((name) => name.endsWith('.json'))
  test.each(regressions)('what once went wrong does not again: %s', (name) => {
    const taken = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as RoamStep[]
    expect(liveRoaming(taken).found).toEqual([])
  })
})
