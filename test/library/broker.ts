import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type { Roost, StartOptions } from '../../src/index.ts'

/** What users get, after `npm run build`: the store's thread is a file of its own. */
const built = new URL('../../dist/index.js', import.meta.url).href
export const { start } = (await import(built)) as typeof import('../../src/index.ts')

/** Brokers and directories of the current test, which end with it. */
const brokers: Roost[] = []
const dirs: string[] = []

afterEach(async () => {
  await Promise.all(brokers.splice(0).map((broker) => broker.stop().catch(() => {})))
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true })
})

export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'roost-library-'))
  dirs.push(dir)
  return dir
}

/** Starts a broker with free ports, which stops at the end of the test. */
export async function broker(options: StartOptions = {}): Promise<Roost> {
  const roost = await start({ port: 0, snPort: 0, ...options })
  brokers.push(roost)
  return roost
}

/** A logger that keeps its lines. */
export function keepingLog() {
  const lines: string[] = []
  const keep = (level: string) => (line: string) => lines.push(`${level} ${line}`)
  return { lines, log: { info: keep('info'), warn: keep('warn'), error: keep('error'), debug: keep('debug') } }
}

/** Resolves after everything that is due in this turn and the next ones. */
export async function turns(count = 10): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((next) => setImmediate(next))
}
