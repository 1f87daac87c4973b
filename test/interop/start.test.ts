import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
const MILLISECONDS_MAX = 2000
const dir = mkdtempSync(join(tmpdir(), 'roost-start-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await once(server.close(), 'close')
  return port
}

/** Whether somebody listens there. */
async function isOpen(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' })
  const opened = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'close').then(() => false)]).catch(
    () => false,
  )
  socket.destroy()
  return opened
}

/** Milliseconds from the start of the process until its port is open, and from SIGTERM to its end, with the exit code. */
async function run(...flags: string[]): Promise<{ open: number; end: number; code: number | null }> {
  const port = await freePort()
  const started = performance.now()
  const child = spawn(process.execPath, [MAIN, 'serve', '--port', String(port), '--sn-port', '0', ...flags], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  while (!(await isOpen(port))) await new Promise((resolve) => setTimeout(resolve, 10))
  const open = performance.now() - started
  child.kill('SIGTERM')
  const [code] = (await exited) as [number | null]
  return { open, end: performance.now() - started - open, code }
}

describe('the process', () => {
  test.each([
    ['in memory', ['--memory']],
    ['with a new data directory', ['--data-dir', join(dir, 'new')]],
    ['with the data directory of before', ['--data-dir', join(dir, 'new')]],
  ])(
    '%s: its port is open within two seconds, and SIGTERM ends it with exit code 0',
    async (title, flags) => {
      // The best of three: other tests run on the same processors.
      let best = Number.POSITIVE_INFINITY
      for (let i = 0; i < 3 && best > MILLISECONDS_MAX; i++) {
        const { open, end, code } = await run(...flags)
        expect(code).toBe(0)
        best = Math.min(best, open)
        process.stdout.write(`start ${title}: open after ${open.toFixed(0)} ms, ended ${end.toFixed(0)} ms after SIGTERM\n`)
      }
      expect(best).toBeLessThan(MILLISECONDS_MAX)
    },
    60_000,
  )
})
