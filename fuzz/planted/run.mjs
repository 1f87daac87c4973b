// Plants one bug after the other in a copy, and shows that the model-based runs find each within their budget, and by which checker.
// npm run planted [-- --only <name>] [-- --runs <factor>] [-- --seed <seed>]
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bugs } from './planted.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = ['src', 'test', 'fuzz', 'package.json', 'tsconfig.json', 'vitest.config.ts']
const argument = (name, byDefault) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? byDefault : (process.argv[at + 1] ?? '')
}
/** Lives of a site, as a multiple of 200. */
const RUNS = argument('--runs', '10')
const SEED = argument('--seed', '1')

/** What the suite says of this copy: nothing, or what it found, and after how many seconds. */
function judged(copy) {
  const began = Date.now()
  const run = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'fuzz/model.test.ts', '--bail', '1'], {
    cwd: copy,
    encoding: 'utf8',
    timeout: 600_000,
    env: { ...process.env, FUZZ_RUNS: RUNS, FUZZ_SEED: SEED, NO_COLOR: '1' },
  })
  const seconds = ((Date.now() - began) / 1000).toFixed(0)
  const output = run.stdout + run.stderr
  // The first line of what was found: `<checker>: <when>: <what>`.
  const first = /Caused by: Error: (.*)|[+] {3}"(.*)",/.exec(output.slice(Math.max(0, output.indexOf('Caused by'))))
  const found = (first?.[1] ?? first?.[2])?.split(': ')[0]
  // Without a checker's name it is the trace that is not the same twice.
  return {
    failed: run.status !== 0,
    found: found === undefined || /^\d/.test(found) ? 'the same steps, another trace' : found,
    seconds,
    output,
  }
}

const copy = mkdtempSync(join(tmpdir(), 'roost-planted-'))
const missed = []
try {
  for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const only = argument('--only')
  const chosen = bugs().filter(({ name }) => only === undefined || name.includes(only))
  for (const { name, file, line, planted } of chosen) {
    const path = join(copy, file)
    const text = readFileSync(path, 'utf8')
    if (text.split(line).length !== 2) throw new Error(`${name}: the line is not once in ${file}`)
    writeFileSync(
      path,
      text.replace(line, () => planted),
    )
    const { failed, found, seconds, output } = judged(copy)
    writeFileSync(path, text)
    if (!failed) missed.push(name)
    if (process.argv.includes('--verbose')) process.stdout.write(output)
    process.stdout.write(`| ${name} | ${failed ? found : 'NOT FOUND'} | ${seconds} s |\n`)
  }
  process.stdout.write(`${chosen.length - missed.length} of ${chosen.length} planted bugs were found\n`)
} finally {
  rmSync(copy, { recursive: true, force: true })
}
process.exitCode = missed.length === 0 ? 0 : 1
