// Disables, in a copy, what satisfies each of 30 normative statements drawn by the commit's hash, and shows that its test fails.
// npm run mutate [-- --all | --only <id> | --count <n>]
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { disabled, pins } from './pins.mjs'
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

/** The tests that ran: the file, the full title, and 'passed' or 'failed'. */
function run(copy, ...args) {
  const { stdout } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...args, '--reporter=json'], {
    cwd: copy,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    timeout: 600_000,
  })
  const { testResults = [] } = JSON.parse(/\{.*\}/s.exec(stdout)?.[0] ?? '{}')
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ fullName, status }) => ({ file: relative(copy, name), fullName, status })),
  )
}

const isOf =
  ({ test, title }) =>
  ({ file, fullName }) =>
    file === test && fullName.includes(title)

const copy = realpathSync(mkdtempSync(join(tmpdir(), 'roost-mutate-')))
const chosen = drawn()
const places = new Map(pins().map((pin) => [pin.id, pin]))
let caught = 0
try {
  for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const before = run(copy, ...new Set(chosen.map(({ test }) => test)))
  for (const mutation of chosen) {
    const { file, at } = places.get(mutation.id)
    const path = join(copy, file)
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, disabled(text, at, mutation))
    const after = run(copy, mutation.test, '-t', mutation.title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    writeFileSync(path, text)
    const passed = before.filter(isOf(mutation)).some(({ status }) => status === 'passed')
    const failed = after.some(({ status }) => status === 'failed')
    if (passed && failed) caught++
    const told = !passed ? 'its test does not pass at all' : failed ? 'caught' : 'SURVIVED'
    process.stdout.write(`${mutation.id}: ${file}: ${told} (${mutation.test})\n`)
  }
  process.stdout.write(`${caught} of ${chosen.length} disabled statements were caught\n`)
} finally {
  rmSync(copy, { recursive: true, force: true })
}
process.exitCode = caught === chosen.length && caught > 0 ? 0 : 1
