import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('./shim.c', import.meta.url))

/**
 * Compiles the LD_PRELOAD library and returns its path. Test files run in parallel and share the result: it is named after
 * the hash of its source and moved into place when it is complete.
 */
export function compileShim(): string {
  if (process.platform !== 'linux') throw new Error('the fault shim needs Linux with glibc')
  const hash = createHash('sha256').update(readFileSync(SOURCE)).digest('hex').slice(0, 16)
  const dir = join(tmpdir(), `roost-fault-shim-${process.getuid!()}`)
  const library = join(dir, `${hash}-${process.arch}.so`)
  if (existsSync(library)) return library
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const scratch = mkdtempSync(join(dir, 'build-'))
  try {
    const output = join(scratch, 'shim.so')
    execFileSync('cc', ['-shared', '-fPIC', '-O2', '-o', output, SOURCE, '-ldl'], { encoding: 'utf8', stdio: 'pipe' })
    renameSync(output, library)
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: string }
    if (code === 'ENOENT') throw new Error('the fault shim needs a C compiler: cc was not found (Debian: gcc, libc6-dev)')
    throw new Error(`the fault shim does not compile: ${stderr}`)
  } finally {
    rmSync(scratch, { recursive: true })
  }
  return library
}
