// Disables, in a copy, what satisfies each of 30 normative statements drawn by the commit's hash, and shows that its test fails.
// npm run mutate [-- --all | --only <id> | --count <n>]
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createVitest } from 'vitest/node'
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

const copy = realpathSync(mkdtempSync(join(tmpdir(), 'roost-mutate-')))
for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true })
symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
process.chdir(copy)
const vitest = await createVitest('test', { root: copy, watch: false, reporters: [{}], isolate: true })

/** The tests of these files whose titles have the pattern: all of them if there is none. */
async function run(files, pattern = '') {
  vitest.setGlobalTestNamePattern(pattern)
  const { testModules } = await vitest.runTestSpecifications(await vitest.getRelevantTestSpecifications(files))
  return testModules.flatMap(({ relativeModuleId, children }) =>
    Array.from(children.allTests(), (each) => ({
      file: relativeModuleId,
      title: each.fullName.replaceAll(' > ', ' '),
      state: each.result().state,
    })),
  )
}

function replaced(file, text) {
  writeFileSync(join(copy, file), text)
  vitest.invalidateFile(join(copy, file))
}

const chosen = drawn()
const places = new Map(pins().map((pin) => [pin.id, pin]))
let caught = 0
try {
  const before = (await run([...new Set(chosen.map(({ test }) => test))])).filter(({ state }) => state === 'passed')
  for (const mutation of chosen) {
    const { file, at } = places.get(mutation.id)
    const text = readFileSync(join(copy, file), 'utf8')
    replaced(file, disabled(text, at, mutation))
    const after = await run([mutation.test], mutation.title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    replaced(file, text)
    const passed = before.some(({ file, title }) => file === mutation.test && title.includes(mutation.title))
    const failed = after.some(({ state }) => state === 'failed')
    if (passed && failed) caught++
    const told = !passed ? 'its test does not pass at all' : failed ? 'caught' : 'SURVIVED'
    process.stdout.write(`${mutation.id}: ${file}: ${told} (${mutation.test})\n`)
  }
  process.stdout.write(`${caught} of ${chosen.length} disabled statements were caught\n`)
} finally {
  await vitest.close()
  rmSync(copy, { recursive: true, force: true })
}
process.exitCode = caught === chosen.length && caught > 0 ? 0 : 1
