import { defineConfig } from 'vitest/config'

// `npm run fuzz`: the same properties as in `npm test`, with many more runs and a seed that is printed.
const seed = process.env.FUZZ_SEED ?? String(Date.now() % 2 ** 31)
const factor = process.env.FUZZ_RUNS ?? '20'
process.env.FUZZ_SEED = seed
process.env.FUZZ_RUNS = factor
process.stderr.write(`fuzz: FUZZ_SEED=${seed} FUZZ_RUNS=${factor} repeats this run\n`)

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    // What is in folders, and what passes years, is the same whatever the seed.
    include: ['fuzz/*.test.ts'],
    exclude: ['fuzz/years.test.ts'],
    testTimeout: 600_000,
    // They only compute.
    maxWorkers: '100%',
    env: { FUZZ_SEED: seed, FUZZ_RUNS: factor, FUZZ_KEEP: '1', FUZZ_ONLY_RANDOM: '1' },
  },
})
