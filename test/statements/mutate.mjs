// Disables, in a copy, the lines of 30 normative statements drawn by the commit's hash, one at a time, and shows that their tests fail.
// npm run mutate [-- --all | --only <id> | --count <n>]
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mutations } from './table.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = ['src', 'test', 'fuzz', 'docs', 'dist', 'package.json', 'tsconfig.json', 'vitest.config.ts', 'README.md']
const argument = (name) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : (process.argv[at + 1] ?? '')
}

function drawn() {
  const all = mutations()
  if (process.argv.includes('--all')) return all
  const only = argument('--only')
  if (only !== undefined) return all.filter(({ id }) => id.includes(only))
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim()
  const lot = ({ id }) => createHash('sha256').update(`${commit} ${id}`).digest('hex')
  return all.toSorted((a, b) => (lot(a) < lot(b) ? -1 : 1)).slice(0, Number(argument('--count') ?? 30))
}

/** Whether the test passes; a test that is not found at all counts as failed where it should pass, and as passed where it should fail. */
function passes(copy, { test, title }) {
  const pattern = title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const run = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', test, '-t', pattern, '--reporter=json'], {
    cwd: copy,
    encoding: 'utf8',
    timeout: 120_000,
  })
  const { numPassedTests = 0, numFailedTests = 0 } = JSON.parse(/\{.*\}/s.exec(run.stdout)?.[0] ?? '{}')
  return { passed: run.status === 0 && numPassedTests > 0, failed: numFailedTests > 0 }
}

const copy = mkdtempSync(join(tmpdir(), 'roost-mutate-'))
const survivors = []
let count = 0
try {
  for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const chosen = drawn()
  count = chosen.length
  for (const mutation of chosen) {
    const path = join(copy, mutation.file)
    const text = readFileSync(path, 'utf8')
    if (text.split(mutation.line).length !== 2) throw new Error(`${mutation.id}: the line is not once in ${mutation.file}`)
    const before = passes(copy, mutation)
    writeFileSync(
      path,
      text.replace(mutation.line, () => mutation.disabled),
    )
    const after = passes(copy, mutation)
    writeFileSync(path, text)
    const caught = before.passed && after.failed
    if (!caught) survivors.push(mutation.id)
    const told = caught ? 'caught' : before.passed ? 'SURVIVED' : 'its test does not pass at all'
    process.stdout.write(`${mutation.id}: ${mutation.file}: ${told} (${mutation.test})\n`)
  }
  process.stdout.write(`${chosen.length - survivors.length} of ${chosen.length} disabled statements were caught\n`)
} finally {
  rmSync(copy, { recursive: true, force: true })
}
process.exitCode = survivors.length === 0 && count > 0 ? 0 : 1
