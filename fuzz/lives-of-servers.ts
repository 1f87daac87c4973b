import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc, { type Parameters } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ONLY_RANDOM, runs } from './runs.ts'
import type { AnyStep } from './sim/reduced.ts'
import { report } from './sim/report.ts'

/** Several servers to which steps happen, with their checkers. */
interface Life<Step> {
  /** Steps so far; the first says what is scarce. */
  readonly taken: readonly Step[]
  /** What is wrong after a step. */
  take(step: Step): string[]
  /** Faults end: what is wrong then. */
  finish(): string[]
}

/** A kind of lives. */
interface Lives<Setup, Step> {
  /** Of `regressions/`, with the lives that once went wrong. */
  readonly folder: string
  /** How many random ones, and which. */
  readonly runs: Pick<Parameters, 'numRuns' | 'seed'>
  readonly setups: fc.Arbitrary<Setup>
  readonly step: fc.Arbitrary<Step>
  begin(scarce: Setup): Life<Step>
  /** Lives through the steps, up to the first at which something is wrong. */
  live(steps: readonly Step[]): { readonly found: readonly string[]; readonly trace: readonly string[] }
}

/** Tests of lives: random ones, that they can be repeated, and those that once went wrong. */
export function describeLives<Setup extends object, Step extends AnyStep>(of: string, kind: Lives<Setup, Step>): void {
  const folder = new URL(`regressions/${kind.folder}/`, import.meta.url)
  const lives = fc.tuple(kind.setups, fc.array(kind.step, { minLength: 1, maxLength: 60, size: 'max' }))

  describe(of, () => {
    test('keep their promises together', { timeout: 600_000 }, () => {
      let failing: readonly Step[] = []
      const property = fc.property(lives, ([scarce, steps]) => {
        const life = kind.begin(scarce)
        try {
          for (const step of steps) expect(life.take(step)).toEqual([])
          expect(life.finish()).toEqual([])
        } catch (error) {
          failing = life.taken
          throw error
        }
      })
      const details = fc.check(property, kind.runs)
      if (details.failed) expect.fail(report(details.seed, failing, kind.live, `${kind.folder}/`))
    })

    test('are the same to the byte for the same steps', { timeout: 60_000 }, () => {
      const twice = fc.property(lives, ([scarce, steps]) => {
        const taken = [{ do: 'build', ...scarce } as unknown as Step, ...steps]
        expect(kind.live(taken).trace).toEqual(kind.live(taken).trace)
      })
      fc.assert(twice, runs(3))
    })

    const names = ONLY_RANDOM || !existsSync(folder) ? [] : readdirSync(folder).filter((name) => name.endsWith('.json'))
    test.each(names)('what once went wrong does not again: %s', (name) => {
      const taken = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Step[]
      expect(kind.live(taken).found).toEqual([])
    })
  })
}
