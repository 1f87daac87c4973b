import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = new URL('..', import.meta.url).pathname

/**
 * Tests that start dist/main.js by hand would otherwise judge whatever was built last. What is up to date stays: other tests may be
 * using it.
 */
export default function setup(): void {
  const program = join(ROOT, 'dist/main.js')
  const builtAt = existsSync(program) ? statSync(program).mtimeMs : 0
  if (['src', 'console'].every((folder) => newest(join(ROOT, folder)) < builtAt)) return
  execFileSync(process.execPath, ['build.mjs'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** When a file in this folder was last changed, ms. */
function newest(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return Math.max(...files.map(({ parentPath, name }) => statSync(join(parentPath, name)).mtimeMs))
}
