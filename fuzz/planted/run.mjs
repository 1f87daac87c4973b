// Plants one bug after the other in a copy, and shows that its suite finds each within its budget, and by which checker.
// npm run planted -- [--past] [--suite <name>] [--only <name>] [--runs <factor>] [--seed <number>] [--verbose]
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
    /** Only bugs of the past, each of which has one test that has to find it. */
    past: { type: 'boolean', default: false },
    suite: { type: 'string' },
    only: { type: 'string' },
    /** How often each property is run, as a multiple of `npm test`: lives of a site, in the model-based runs. */
    runs: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
})

const chosen = bugs().filter(
  ({ name, suite, test }) =>
    (!values.past || test !== undefined) &&
    (values.suite === undefined || suite === values.suite) &&
    (values.only === undefined || name.includes(values.only)),
)
const began = Date.now()
const copy = mkdtempSync(join(tmpdir(), 'roost-planted-'))
const suitesOf = (bugs) => new Set(bugs.map(({ suite }) => suite))
const tell = (line) => process.stdout.write(`${line}\n`)

function judge(suite, titles, minutes = 1) {
  const verdict = judged(suite, titles, copy, { ...values, minutes })
  if (values.verbose) process.stdout.write(verdict.output)
  return verdict
}

/** A suite, or some tests of it, that fail without any bug find all of them. */
function expectNothing(suite, titles) {
  const { failed, found, seconds } = judge(suite, titles)
  if (failed) throw new Error(`${suite} fails with nothing planted: ${found}`)
  tell(`${suite}: nothing is found where nothing is planted (${seconds} s)`)
}

/** Gives whether it was found. */
function plant({ name, suite, test, minutes, file, line, planted }) {
  const path = join(copy, file)
  const text = readFileSync(path, 'utf8')
  if (text.split(line).length !== 2) throw new Error(`${name}: the line is not once in ${file}`)
  writeFileSync(
    path,
    text.replace(line, () => planted),
  )
  const { failed, found, seconds } = judge(suite, test === undefined ? [] : [test], minutes)
  writeFileSync(path, text)
  tell(`| ${name} | ${failed ? found : 'NOT FOUND'} | ${seconds} s |`)
  return failed
}

try {
  for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const past = chosen.filter(({ test }) => test !== undefined)
  for (const suite of suitesOf(chosen.filter(({ test }) => test === undefined))) expectNothing(suite, [])
  for (const suite of suitesOf(past))
    expectNothing(
      suite,
      past.filter((bug) => bug.suite === suite).map(({ test }) => test),
    )
  const found = chosen.filter(plant).length
  const minutes = ((Date.now() - began) / 60_000).toFixed(1)
  tell(`${found} of ${chosen.length} planted bugs were found, in ${minutes} minutes`)
  process.exitCode = found === chosen.length && found > 0 ? 0 : 1
} finally {
  rmSync(copy, { recursive: true, force: true })
}
