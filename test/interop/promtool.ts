import { spawnSync } from 'node:child_process'
import { describe } from 'vitest'

const missing = spawnSync('promtool', ['--version']).error !== undefined

if (missing && process.env.CI === 'true') throw new Error('promtool is not installed, and CI skips nothing')
if (missing)
  process.stderr.write('skipped: what promtool says of metrics and alerts, because it is not installed (Debian: prometheus)\n')

/** As `describe`; skipped, which is reported, where there is no promtool. */
export const describeWithPromtool = describe.skipIf(missing)

/** Runs promtool; returns its exit code and all that it wrote. */
export function promtool(argv: readonly string[], input = ''): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', argv, { input, encoding: 'utf8' })
  return { status, output: stdout + stderr }
}
