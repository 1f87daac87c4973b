import { defineConfig } from 'vitest/config'

// The last part of `npm run test:full` (full.mjs): the store at full size. 1,000 kills, 500 power cuts, every failure of the disk, 200 copies under traffic;
// logins beside 1,000 connections that guess passwords; and Zigbee2MQTT, which .ci/run tests by this file too.
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    include: [
      'crash/process.test.ts',
      'test/store/**/*.test.ts',
      'test/interop/store-*.test.ts',
      'test/interop/fair-logins.test.ts',
      'test/interop/zigbee2mqtt.test.ts',
      'test/deploy/stage.test.ts',
    ],
    testTimeout: 7_200_000,
    fileParallelism: false,
    env: { FULL: '1', CRASH_ROUNDS: process.env.CRASH_ROUNDS ?? '1000' },
  },
})
