import { spawnSync } from 'node:child_process'
import { defineConfig } from 'vitest/config'

/** Test files that come to nothing without a program of the system. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  cc: [
    'test/store/each-call.test.ts',
    'test/store/failing-disk.test.ts',
    'test/store/power-cut.test.ts',
    'test/store/faults/*.test.ts',
    'test/interop/full-disk.test.ts',
    'test/interop/benchmarks.test.ts',
  ],
  gcc: ['test/examples/sensor-c.test.ts'],
  sqlite3: ['test/interop/store-copies.test.ts', 'test/interop/store-strangers.test.ts'],
  chromium: ['test/console/console.test.ts', 'test/console/upstream.test.ts'],
  prlimit: ['test/interop/access.test.ts', 'test/interop/full-disk.test.ts'],
}

const missing = Object.keys(NEEDED).filter((program) => spawnSync(program, ['--version']).error !== undefined)
const left = missing.flatMap((program) => NEEDED[program]!)
if (missing.length > 0 && process.env.CI === 'true') throw new Error(`${missing.join(' and ')} missing, and CI skips nothing`)
if (missing.length > 0) process.stderr.write(`skipped, because ${missing.join(' and ')} cannot be found: ${left.join(', ')}\n`)

/** Of test/full.config.ts alone. */
const FULL_ONLY = [
  'test/interop/zigbee2mqtt.test.ts',
  'test/deploy/arm64.test.ts',
  'test/deploy/stage.test.ts',
  'test/bridge/row.test.ts',
  'test/cluster/roaming.test.ts',
  'test/cluster/sleepers.test.ts',
]

/** Folders of tests without processes and files, but for their io/: state machines, codecs, tables. */
const PURE = ['base', 'behaviours', 'broker', 'gateway', 'mqtt', 'mqttsn', 'presence', 'statements', 'trace', 'vectors']
const SANS_IO = { include: PURE.map((folder) => `test/${folder}/**/*.test.ts`), exclude: ['test/*/io/**'] }
const FUZZ = ['fuzz/**/*.test.ts']

export default defineConfig({
  test: {
    exclude: ['dist/**', 'node_modules/**', ...FULL_ONLY, ...left],
    testTimeout: 20_000,
    // A browser on a busy machine takes more than the second that is usual.
    expect: { poll: { timeout: 10_000 } },
    projects: [
      // These only compute, so they take all processors, and first. Sans-I/O tests share nothing that a module could keep: without a process for
      // each file they take half the time.
      { extends: true, test: { name: 'sans-io', ...SANS_IO, isolate: false, maxWorkers: '100%', sequence: { groupOrder: 0 } } },
      { extends: true, test: { name: 'fuzz', include: FUZZ, maxWorkers: '100%', sequence: { groupOrder: 0 } } },
      // On two processors one at a time: they start processes, and some measure how long these take.
      {
        extends: true,
        test: {
          name: 'processes',
          include: ['test/**/*.test.ts', 'crash/**/*.test.ts', 'examples/*.test.mjs'],
          exclude: PURE.map((folder) => `test/${folder}/{*,!(io)/**/*}.test.ts`),
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
