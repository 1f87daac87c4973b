import { writeFileSync } from 'node:fs'
import { KEEP } from '../runs.ts'
import { live } from './life.ts'
import { reduced } from './reduced.ts'
import type { Step } from './step.ts'

const REGRESSIONS = new URL('../regressions/', import.meta.url)

/** What a failing life comes to: what is wrong, and the steps that it takes, as a file of `regressions/` has them. */
export function report(seed: number, failing: readonly Step[]): string {
  const found = checkerOf(failing)
  const steps = reduced(failing, (candidate) => checkerOf(candidate) === found)
  const file = `[\n${steps.map((step) => `  ${lineOf(step)}`).join(',\n')}\n]\n`
  const name = `found-with-seed-${seed}.json`
  if (KEEP) writeFileSync(new URL(name, REGRESSIONS), file)
  const where = KEEP ? `is kept as fuzz/regressions/${name}` : 'as a file in fuzz/regressions is lived through by every run'
  return [...live(steps).found.map((what) => `found: ${what}`), `FUZZ_SEED=${seed} finds it again; this ${where}:`, file].join(
    '\n',
  )
}

const lineOf = (step: Step): string =>
  JSON.stringify(step, undefined, 1)
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('[ ', '[')
    .replaceAll(' ]', ']')

/** Whose finding the first one is; `undefined` if nothing is wrong. */
const checkerOf = (steps: readonly Step[]): string | undefined => live(steps).found[0]?.split(': ')[0]
