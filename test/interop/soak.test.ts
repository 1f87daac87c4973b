import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const RUN = fileURLToPath(new URL('../../fuzz/soak-real/run.mjs', import.meta.url))

// Two rounds, or one on a slow machine: what was promised, and every counter, handle and timer. Whether memory grows takes longer (`npm run soak:real`).
test('forty clients of both protocols come, go and break off, and every counter equals the ledger', async () => {
  const size = ['--clients', '40', '--minutes', '0.2', '--interval', '3', '--seed', '1']
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, [RUN, ...size], (_error, stdout, stderr) => resolve(stdout + stderr))
  })
  expect(output.split('\n').filter((line) => /^FAILED|Error/.test(line))).toEqual([])
  const [, passed] = /^(\d+) passed, 0 failed$/m.exec(output) ?? []
  expect(Number(passed), output).toBeGreaterThanOrEqual(20)
  const [, acknowledged] = /acknowledged (\d+),/.exec(output) ?? []
  expect(Number(acknowledged)).toBeGreaterThan(50)
}, 300_000)
