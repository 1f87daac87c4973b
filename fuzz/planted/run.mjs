// Plants one bug after the other in a copy, and shows that its suite finds each within its budget, and by which checker.
// npm run planted -- [--suite <name>] [--only <name>] [--runs <factor>] [--seed <number>] [--verbose]
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { bugs } from './planted.mjs'
import { judged } from './suites.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = ['src', 'test', 'fuzz', 'package.json', 'tsconfig.json', 'tsconfig.build.json', 'vitest.config.ts']
const { values } = parseArgs({
  options: {
    suite: { type: 'string' },
    only: { type: 'string' },
    /** How often each property is run, as a multiple of `npm test`: lives of a site, in the model-based runs. */
    runs: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
})

const chosen = bugs().filter(
  ({ name, suite }) =>
    (values.suite === undefined || suite === values.suite) && (values.only === undefined || name.includes(values.only)),
)
const copy = mkdtempSync(join(tmpdir(), 'roost-planted-'))
const tell = (line) => process.stdout.write(`${line}\n`)

function judge(suite, minutes = 1) {
  const verdict = judged(suite, copy, { ...values, minutes })
  if (values.verbose) process.stdout.write(verdict.output)
  return verdict
}

/** Gives whether it was found. */
function plant({ name, suite, minutes, file, line, planted }) {
  const path = join(copy, file)
  const text = readFileSync(path, 'utf8')
  if (text.split(line).length !== 2) throw new Error(`${name}: the line is not once in ${file}`)
  writeFileSync(
    path,
    text.replace(line, () => planted),
  )
  const { failed, found, seconds } = judge(suite, minutes)
  writeFileSync(path, text)
  tell(`| ${name} | ${failed ? found : 'NOT FOUND'} | ${seconds} s |`)
  return failed
}

try {
  for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  // A suite that fails without any bug finds all of them.
  for (const suite of new Set(chosen.map(({ suite }) => suite))) {
    const { failed, found, seconds } = judge(suite)
    if (failed) throw new Error(`${suite} fails with nothing planted: ${found}`)
    tell(`${suite}: nothing is found where nothing is planted (${seconds} s)`)
  }
  const found = chosen.filter(plant).length
  tell(`${found} of ${chosen.length} planted bugs were found`)
  process.exitCode = found === chosen.length && found > 0 ? 0 : 1
} finally {
  rmSync(copy, { recursive: true, force: true })
}
