import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const BENCH = fileURLToPath(new URL('../../bench/memory.mjs', import.meta.url))

// What something else has let go may be collected in the middle of one measurement: then all are made once more.
test('the account of memory is within 25 % of what each structure takes', { timeout: 180_000, retry: 2 }, () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--expose-gc', BENCH, '--check', '--quick'], {
    encoding: 'utf8',
  })
  expect(stdout.split('\n').filter((line) => line.startsWith('OFF'))).toEqual([])
  expect(stdout.match(/^ok /gm)?.length, stderr).toBeGreaterThan(25)
  expect(status).toBe(0)
})
