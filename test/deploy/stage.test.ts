import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/** What is installed on a system: part of `npm run test:full`, as user root. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-deploy-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

/** Starts Roost, waits until its HTTP service answers, and runs the health check of the image. */
async function healthOf(roost: string, ...flags: string[]): Promise<{ status: number | null; stderr: string }> {
  const child = execFile(roost, ['serve', '--port', '0', '--sn-port', '0', '--http-port', '0', '--log-format', 'json', ...flags])
  try {
    let out = ''
    const url = await new Promise<string>((resolve, reject) => {
      child.on('exit', () => reject(new Error(`ended: ${out}`)))
      child.stdout!.on('data', (text: string) => {
        out += text
        const found = /"http":\{"url":"([^"]+)"/.exec(out)?.[1]
        if (found !== undefined && out.includes('State is kept')) resolve(found)
      })
    })
    const health = join(ROOT, 'deploy/docker/health.mjs')
    const { status, stderr } = spawnSync(process.execPath, [health], { env: { ROOST_HTTP: url }, encoding: 'utf8' })
    return { status, stderr }
  } finally {
    child.removeAllListeners('exit')
    child.kill()
    await new Promise((resolve) => child.once('exit', resolve))
  }
}

describe('the steps of the image, in an empty folder', () => {
  test('give a Roost that starts and is healthy', async () => {
    const to = join(dir, 'opt/roost')
    await run(join(ROOT, 'deploy/stage.sh'), [to])
    expect(existsSync(join(to, 'node_modules/vitest'))).toBe(false)
    expect(await healthOf(join(to, 'dist/main.js'), '--data-dir', join(dir, 'data'))).toEqual({ status: 0, stderr: '' })
  })

  test('the health check of nothing', () => {
    const health = join(ROOT, 'deploy/docker/health.mjs')
    const { status, stderr } = spawnSync(process.execPath, [health], {
      env: { ROOST_HTTP: 'http://127.0.0.1:9' },
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({ status: 1, stderr: 'http://127.0.0.1:9/readyz: bad port\n' })
  })
})

describe.skipIf(process.getuid?.() !== 0)('the Debian package', () => {
  test('is installed, runs as its user, and goes again, with its data only by purge', async () => {
    await run('npm', ['run', '--silent', 'deb', '--', dir], { cwd: ROOT })
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
    const { stdout: architecture } = await run('dpkg', ['--print-architecture'])
    // Node.js need not be a package here.
    await run('dpkg', ['--force-depends', '--install', join(dir, `roost_${version}_${architecture.trim()}.deb`)])
    try {
      expect((await run('roost', ['--version'])).stdout).toBe(`${version}\n`)
      const as = ['--reuid', 'roost', '--regid', 'roost', '--init-groups']
      const tested = await run('setpriv', [...as, 'roost', 'serve', '--config', '/etc/roost/roost.yaml', '--test-config'])
      expect(tested.stdout).toBe('The configuration is valid.\n')
      expect(statSync('/var/lib/roost').mode & 0o777).toBe(0o700)
      expect(existsSync('/lib/systemd/system/roost.service')).toBe(true)
      await run('dpkg', ['--remove', 'roost'])
      expect(existsSync('/usr/lib/roost')).toBe(false)
      expect([existsSync('/etc/roost/roost.yaml'), existsSync('/var/lib/roost')]).toEqual([true, true])
    } finally {
      await run('dpkg', ['--purge', 'roost'])
    }
    expect([existsSync('/etc/roost/roost.yaml'), existsSync('/var/lib/roost')]).toEqual([false, false])
  })
})
