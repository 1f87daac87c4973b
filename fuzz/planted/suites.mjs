import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileOf } from './planted.mjs'

const SECONDS_MAX = 600
/** Suites whose errors name a checker. */
const LIVES = new Set(['model', 'bridge-pair.test.ts', 'roaming.test.ts'])

/**
 * What a run of a suite in a copy says: whether it failed, what it was that failed there, and after how many seconds.
 * `titles`: only these tests of it; without any it is the whole suite.
 */
export function judged(suite, titles, copy, options) {
  const began = Date.now()
  const verdict = suite === 'real' ? soak(copy, options) : tests(suite, titles, copy, options)
  return { ...verdict, seconds: Math.round((Date.now() - began) / 1000) }
}

function node(copy, env, ...args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: copy,
    encoding: 'utf8',
    timeout: SECONDS_MAX * 1000,
    env: { ...process.env, ...env, NO_COLOR: '1' },
  })
  return { failed: status !== 0, output: stdout + stderr }
}

/** A test file. What found it is the checker that an error names, or else the title of the test. */
function tests(suite, titles, copy, { runs, seed }) {
  const env = { FUZZ_RUNS: runs, FUZZ_SEED: seed }
  const file = fileOf(suite)
  const only = titles.length === 0 ? [] : ['-t', titles.map(literally).join('|')]
  const { failed, output } = node(copy, env, 'node_modules/vitest/vitest.mjs', 'run', file, '--bail', '1', ...only)
  if (!failed) return { failed, output }
  // Without a title nothing was tested at all: the copy cannot be run.
  const title = /FAIL {2}(?:\|\S+\| )?\S+ > (.*)/.exec(output)?.[1]
  if (title === undefined) throw new Error(`${file} could not be run:\n${output}`)
  return { failed, output, found: LIVES.has(suite) ? checker(output) : title.split(' > ').at(-1) }
}

/** A regular expression that matches this text alone. */
const literally = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

/** The first line of what was found: `<checker>: <when>: <what>`. Without one it is the trace that is not the same twice. */
function checker(output) {
  // A life that was found, or one from `regressions/`.
  const first = /found: (.*)|[+] {3}"(.*)",/.exec(output)
  const found = (first?.[1] ?? first?.[2])?.split(': ')[0]
  return found === undefined || /^\d/.test(found) ? 'the same steps, another trace' : found
}

/** The soak over real sockets. */
function soak(copy, { seed, minutes }) {
  rmSync(join(copy, 'dist'), { recursive: true, force: true })
  // A planted line may leave something unused, which does not keep it from running.
  node(copy, {}, 'node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json')
  const size = ['--minutes', String(minutes), '--clients', '60', '--interval', '8', '--seed', seed]
  const { failed, output } = node(copy, {}, 'fuzz/soak-real/run.mjs', ...size)
  if (!failed) return { failed, output }
  const found = /^FAILED: (.*)/m.exec(output)?.[1]
  if (found === undefined) throw new Error(`the soak could not be run:\n${output}`)
  return { failed, output, found }
}
