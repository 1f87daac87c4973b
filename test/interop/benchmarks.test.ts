import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test, vi } from 'vitest'

vi.setConfig({ testTimeout: 60_000 })

const BENCH = fileURLToPath(new URL('../../bench', import.meta.url))

function run(script: string, ...argv: string[]): { status: number | null; out: string; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [`${BENCH}/${script}`, ...argv], { encoding: 'utf8' })
  return { status, out: stdout, errors: stderr }
}

test('2,000 sensors sleep, wake and get exactly their messages', () => {
  const { status, out, errors } = run('million.mjs', '--sensors', '2000')
  expect(errors).toBe('')
  expect(out).toContain('2,180 expected, 0 lost, 0 misplaced')
  expect(status).toBe(0)
})

test('100 sensors in front of Mosquitto sleep, wake and get exactly their messages', () => {
  const { status, out, errors } = run('upstream.mjs', '--sensors', '100', '--cluster', 'mosquitto', '--rate', '50')
  expect(errors).toBe('')
  expect(out).toContain('100 expected, 100 received, 0 misplaced')
  expect(status).toBe(0)
})

test('a promise that is not kept is exit code 1', () => {
  const { status, errors } = run('million.mjs', '--sensors', '100', '--rate', '500', '--max-rss-mib', '1')
  expect(errors).toMatch(/^failed: RSS in MiB [\d.]+, --max-rss-mib 1\n$/)
  expect(status).toBe(1)
})

test('1,000 messages pass a bridge', () => {
  const { status, out, errors } = run('bridge.mjs', '--messages', '1000', '--backlog', '0', '--memory')
  expect(errors).toBe('')
  expect(out).toMatch(/^1,000 messages to sink: [\d,]+ per CPU-second/)
  expect(status).toBe(0)
})

test('Roost is measured beside Mosquitto', () => {
  const scenarios = ['--scenarios', '1to1-q1,sn-q1', '--systems', 'mosquitto', '--cores', '0,0']
  const { status, out, errors } = run('peers/run.mjs', '--quick', ...scenarios)
  expect(errors).not.toContain('left out')
  expect(out).toMatch(/\| `1to1-q1` \| delivered \| [\d.]+ [kM] \| [\d.]+ \[/)
  expect(out).toMatch(/\| `sn-q1` \| delivered \| [\d.]+/)
  expect(status).toBe(0)
})

test.each([
  ['million.mjs', ['--sensors', 'many'], '--sensors many'],
  ['million.mjs', ['--max-start-seconds', '5'], 'needs --store'],
  ['upstream.mjs', ['--cluster', 'none'], '--cluster none'],
  ['upstream.mjs', ['--sensors', '3000000'], 'ulimit -n'],
  ['bridge.mjs', ['--far', 'none'], '--far none'],
  ['peers/run.mjs', ['--scenarios', 'none'], 'no scenario none'],
  ['peers/run.mjs', ['--systems', 'none'], 'no system none'],
  ['peers/run.mjs', ['--rsmb', '/does/not/exist'], '/does/not/exist'],
  ['peers/run.mjs', ['--cores', '0'], '--cores 0'],
  ['peers/run.mjs', ['--other'], '--other'],
])('%s %j is refused in one line', (script, argv, reason) => {
  const { status, errors } = run(script, ...argv)
  expect(errors.trimEnd().split('\n')).toEqual([expect.stringContaining(reason)])
  expect(status).toBe(2)
})
