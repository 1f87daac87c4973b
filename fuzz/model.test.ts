import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FACTOR, ONLY_RANDOM, SEED } from './runs.ts'
import { Life, live } from './sim/life.ts'
import { report } from './sim/report.ts'
import { setups } from './sim/setup.ts'
import type { Step } from './sim/step.ts'
import { commands, steps } from './sim/steps.ts'

const REGRESSIONS = new URL('regressions/', import.meta.url)

describe('a site, with everything that can happen to it', () => {
  test('keeps its promises', { timeout: 600_000 }, () => {
    let failing: readonly Step[] = []
    const lives = fc.property(setups(), commands(60), (scarce, happening) => {
      const life = new Life(scarce)
      try {
        fc.modelRun(() => ({ model: life.site.claims, real: life }), happening)
        expect(life.finish()).toEqual([])
      } catch (error) {
        failing = life.taken
        throw error
      }
    })
    const details = fc.check(lives, { numRuns: 200 * FACTOR, seed: SEED })
    if (details.failed) expect.fail(report(details.seed, failing, live))
  })

  test('is the same to the byte for the same steps', { timeout: 60_000 }, () => {
    const twice = fc.property(steps(30), (taken) => {
      expect(live(taken).trace).toEqual(live(taken).trace)
    })
    fc.assert(twice, { numRuns: 3 * FACTOR, seed: SEED })
  })

  const regressions = ONLY_RANDOM ? [] : readdirSync(REGRESSIONS).filter((name) => name.endsWith('.json'))
  test.each(regressions)('what once went wrong does not again: %s', (name) => {
    const taken = JSON.parse(readFileSync(new URL(name, REGRESSIONS), 'utf8')) as Step[]
    expect(live(taken).found).toEqual([])
  })
})
