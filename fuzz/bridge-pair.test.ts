import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { knownRuns, ONLY_RANDOM, runs } from './runs.ts'
import { livePair, PairLife } from './sim/pair-life.ts'
import { PAIR_STEP, type PairStep, pairSetups } from './sim/pair-step.ts'
import { report } from './sim/report.ts'

const FOLDER = new URL('regressions/pair/', import.meta.url)

const lives = fc.tuple(pairSetups(), fc.array(PAIR_STEP, { minLength: 1, maxLength: 60, size: 'max' }))

describe('two servers with a bridge between them', () => {
  test('keep their promises together', { timeout: 600_000 }, () => {
    let failing: readonly PairStep[] = []
    const property = fc.property(lives, ([scarce, steps]) => {
      const life = new PairLife(scarce)
      try {
        for (const step of steps) expect(life.take(step)).toEqual([])
        expect(life.finish()).toEqual([])
      } catch (error) {
        failing = life.taken
        throw error
      }
    })
    const details = fc.check(property, knownRuns(100))
    if (details.failed) expect.fail(report(details.seed, failing, livePair, 'pair/'))
  })

  test('are the same to the byte for the same steps', { timeout: 60_000 }, () => {
    const twice = fc.property(lives, ([scarce, steps]) => {
      const taken: PairStep[] = [{ do: 'build', ...scarce }, ...steps]
      expect(livePair(taken).trace).toEqual(livePair(taken).trace)
    })
    fc.assert(twice, runs(3))
  })

  const regressions = ONLY_RANDOM || !existsSync(FOLDER) ? [] : readdirSync(FOLDER).filter((name) => name.endsWith('.json'))
  test.each(regressions)('what once went wrong does not again: %s', (name) => {
    const taken = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as PairStep[]
    expect(livePair(taken).found).toEqual([])
  })
})
