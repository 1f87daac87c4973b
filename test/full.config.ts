import { defineConfig } from 'vitest/config'

// The last part of `npm run test:full` (full.mjs): the store at full size. 1,000 kills, 500 power cuts, every failure of the disk, 200 copies under traffic;
// bridges: 200 kills in each of four arrangements, 60 bad lines, and an hour of a line that is cut every ten seconds; gateways in front
// of clusters: 200 kills, 10,000 sleepers, and half an hour of roaming; logins beside 1,000 connections that guess passwords; and
// Zigbee2MQTT, which .ci/run tests by this file too.
export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    globalSetup: ['test/built.ts'],
    include: [
      'crash/process.test.ts',
      'test/store/**/*.test.ts',
      'test/interop/store-*.test.ts',
      'test/bridge/*.test.ts',
      'test/cluster/*.test.ts',
      'test/interop/fair-logins.test.ts',
      'test/interop/zigbee2mqtt.test.ts',
      'test/deploy/arm64.test.ts',
      'test/deploy/stage.test.ts',
    ],
    testTimeout: 7_200_000,
    // The files of 10,000 sessions of NATS are many.
    hookTimeout: 300_000,
    fileParallelism: false,
    env: {
      FULL: '1',
      CRASH_ROUNDS: process.env.CRASH_ROUNDS ?? '1000',
      BRIDGE_KILLS: process.env.BRIDGE_KILLS ?? '200',
      BRIDGE_PARTITIONS: process.env.BRIDGE_PARTITIONS ?? '60',
      BRIDGE_MINUTES: process.env.BRIDGE_MINUTES ?? '60',
      CLUSTER_KILLS: process.env.CLUSTER_KILLS ?? '200',
      CLUSTER_MINUTES: process.env.CLUSTER_MINUTES ?? '30',
      CLUSTER_SLEEPERS: process.env.CLUSTER_SLEEPERS ?? '10000',
    },
  },
})
