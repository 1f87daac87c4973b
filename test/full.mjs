// `npm run test:full`: the checks of test/security/full/run.mjs, bench/turns.mjs and the tests of test/full.config.ts, one after the other, to the end
// even if one fails. It takes about seven hours on two processors: the fuzzer of memory is one of them, bridges are two, clusters are two, 1,000 kills and 500 power cuts most of the rest.
// -- --only <text>: of the checks those whose title has it; `--only turns`, `--only store`, `--only bridges` and `--only clusters` run the other parts alone.
// -- --fuzz-minutes <n>, --rejected <n>: less of the fuzzer, and of rejected CONNECTs; --fuzz-seed <n>: the steps of a run before.
import { spawnSync } from 'node:child_process'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const keys = ['only', 'fuzz-minutes', 'fuzz-seed', 'rejected']
const options = Object.fromEntries(keys.map((key) => [key, { type: 'string' }]))
const { values } = parseArgs({ options })
const given = Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])

const VITEST = [path('node_modules/vitest/vitest.mjs'), 'run', '--config', path('test/full.config.ts')]
const PARTS = [
  ['checks', [path('test/security/full/run.mjs'), ...given]],
  ['turns', ['--expose-gc', path('bench/turns.mjs'), '--check']],
  ['store', [...VITEST, '--exclude', 'test/bridge/**', '--exclude', 'test/cluster/**']],
  ['bridges', [...VITEST, 'test/bridge/']],
  ['clusters', [...VITEST, 'test/cluster/']],
]
const others = PARTS.slice(1).map(([name]) => name)
const wanted = ([name]) =>
  values.only === undefined || name === values.only || (name === 'checks' && !others.includes(values.only))

for (const [, argv] of PARTS.filter(wanted)) {
  if (spawnSync(process.execPath, argv, { stdio: 'inherit' }).status !== 0) process.exitCode = 1
}
