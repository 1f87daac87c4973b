import type { Parameters } from 'fast-check'

/** How often `npm run fuzz` multiplies the runs of `npm test`. */
export const FACTOR = Number(process.env.FUZZ_RUNS ?? 1)
export const SEED = process.env.FUZZ_SEED === undefined ? undefined : Number(process.env.FUZZ_SEED)

/** Parameters for a property that `npm test` runs `n` times: FUZZ_RUNS multiplies it, FUZZ_SEED makes it repeatable. */
export const runs = <T>(n: number): Parameters<T> => ({ numRuns: n * FACTOR, ...(SEED !== undefined && { seed: SEED }) })
