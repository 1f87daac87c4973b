import { defineConfig } from 'vitest/config'

// `npm run crash`: the same as in `npm test`, with ten times as many rounds against the real process; CRASH_ROUNDS says how many.
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    include: ['crash/**/*.test.ts'],
    testTimeout: 3_600_000,
    env: { CRASH_ROUNDS: process.env.CRASH_ROUNDS ?? '200' },
  },
})
