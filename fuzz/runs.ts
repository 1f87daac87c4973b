import type { Parameters } from 'fast-check'

/** How often `npm run fuzz` multiplies the runs of `npm test`. */
export const FACTOR = Number(process.env.FUZZ_RUNS ?? 1)
/** `npm test` is the same every time; `npm run fuzz`, `npm run soak` and CI give it another one. */
export const SEED = Number(process.env.FUZZ_SEED ?? 1)

/** Parameters for a property that `npm test` runs `n` times: FUZZ_RUNS multiplies it, FUZZ_SEED makes it another run. */
export const runs = <T>(n: number): Parameters<T> => ({ numRuns: n * FACTOR, seed: SEED })

/** `npm run fuzz`: neither seed nor number of runs matters to the other tests, and `npm test` has them. */
export const ONLY_RANDOM = process.env.FUZZ_ONLY_RANDOM !== undefined

/** Kinds of steps that are left out of the runs of a site, with commas between. */
export const WITHOUT: readonly string[] = process.env.FUZZ_WITHOUT?.split(',') ?? []

/** A failing life of a site is kept as a file. */
export const KEEP = process.env.FUZZ_KEEP !== undefined

/**
 * Suites with open findings (fuzz/README.md) live the same lives in each run, so that a commit does not fail for what it has not done;
 * undefined: those of SEED, times FACTOR.
 */
export const OPEN_SEED: number | undefined = 1

/** As `runs`, for a suite with open findings. */
export const knownRuns = <T>(n: number): Parameters<T> => (OPEN_SEED === undefined ? runs(n) : { numRuns: n, seed: OPEN_SEED })
