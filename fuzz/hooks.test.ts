import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FACTOR, SEED } from './runs.ts'
import type { HookKind } from './sim/hook.ts'
import { Life, live } from './sim/life.ts'
import { report } from './sim/report.ts'
import { setups } from './sim/setup.ts'
import type { Step } from './sim/step.ts'
import { commands } from './sim/steps.ts'

const KINDS: readonly HookKind[] = ['asks', 'late', 'refuses', 'moves']

test.each(KINDS)('a site whose messages wait for a hook that %s keeps its promises', { timeout: 600_000 }, (hook) => {
  let failing: readonly Step[] = []
  const lives = fc.property(setups(), commands(60), (scarce, happening) => {
    const life = new Life({ ...scarce, hook })
    try {
      fc.modelRun(() => ({ model: life.site.claims, real: life }), happening)
      expect(life.finish()).toEqual([])
    } catch (error) {
      failing = life.taken
      throw error
    }
  })
  const details = fc.check(lives, { numRuns: 12 * FACTOR, seed: SEED })
  if (details.failed) expect.fail(report(details.seed, failing, live))
})
