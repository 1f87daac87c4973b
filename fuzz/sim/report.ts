import { writeFileSync } from 'node:fs'
import { KEEP } from '../runs.ts'
import { type AnyStep, reduced } from './reduced.ts'

const REGRESSIONS = new URL('../regressions/', import.meta.url)

/** What was found in a life of these steps. */
type Live<S> = (steps: readonly S[]) => { readonly found: readonly string[] }

/**
 * What a failing life comes to: what is wrong, and the steps that it takes, as a file of `folder`, `regressions/` or one below it, has them.
 */
export function report<S extends AnyStep>(seed: number, failing: readonly S[], live: Live<S>, folder = ''): string {
  /** Whose finding the first one is; `undefined` if nothing is wrong. */
  const checkerOf = (steps: readonly S[]): string | undefined => live(steps).found[0]?.split(': ')[0]
  const found = checkerOf(failing)
  const steps = reduced(failing, (candidate) => checkerOf(candidate) === found)
  const file = `[\n${steps.map((step) => `  ${lineOf(step)}`).join(',\n')}\n]\n`
  const name = `${folder}found-with-seed-${seed}.json`
  if (KEEP) writeFileSync(new URL(name, REGRESSIONS), file)
  const where = KEEP
    ? `is kept as fuzz/regressions/${name}`
    : `as a file in fuzz/regressions/${folder} is lived through by every run`
  return [...live(steps).found.map((what) => `found: ${what}`), `FUZZ_SEED=${seed} finds it again; this ${where}:`, file].join(
    '\n',
  )
}

const lineOf = (step: AnyStep): string =>
  JSON.stringify(step, undefined, 1)
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('[ ', '[')
    .replaceAll(' ]', ']')
