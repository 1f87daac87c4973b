// `npm run build`: src/ and console/ into dist/. With --clean, as `npm pack` runs it, nothing older stays in dist/.
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(name, import.meta.url))
const run = (...argv) => spawnSync(process.execPath, argv, { cwd: path('.'), stdio: 'inherit' }).status ?? 1

/** The compiler's binary is an optional package of its own. */
const COMPILER = `@typescript/typescript-${process.platform}-${process.arch}`
const missing = ['typescript', COMPILER, '@types/node', 'vite', 'preact'].filter(
  (name) => !existsSync(path(`node_modules/${name}`)),
)
if (missing.length > 0) {
  process.stderr.write(`Roost cannot be built without ${missing.join(', ')}: run npm ci, without --omit=dev or --omit=optional\n`)
  process.exit(2)
}
if (process.argv.includes('--clean')) rmSync(path('dist'), { recursive: true, force: true })
process.exitCode = run(path('node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json') || run(path('console/build.mjs'))
