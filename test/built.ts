import { execFileSync } from 'node:child_process'

/** Tests that start dist/main.js by hand would otherwise judge whatever was built last. */
export default function setup(): void {
  execFileSync(process.execPath, ['build.mjs'], { cwd: new URL('..', import.meta.url), stdio: ['ignore', 'ignore', 'inherit'] })
}
