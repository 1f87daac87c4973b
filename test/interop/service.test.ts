import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MAIN } from './started-process.ts'

const missing = ['systemd-notify', 'systemd-analyze', '/usr/bin/python3'].filter(
  (program) => spawnSync(program, ['--version']).status !== 0,
)
if (missing.length > 0 && process.env.CI === 'true')
  throw new Error(`${missing.join(', ')} is not installed, and CI skips nothing`)
if (missing.length > 0)
  process.stderr.write(`skipped: the tests as a service, without ${missing.join(', ')} (Debian: systemd, python3)\n`)

const UNIT = fileURLToPath(new URL('../../deploy/systemd/roost.service', import.meta.url))
const SERVE = [MAIN, 'serve', '--memory', '--port', '0', '--sn-port', '0', '--http', 'false', '--log-format', 'json']

/** Prints what arrives at a datagram socket, which Node.js cannot open; `@` stands for the abstract name space. */
const RECEIVER = `
import os, socket, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('\\0' + name[1:] if name[0] == '@' else name)
print('bound', flush=True)
while True: print(s.recv(4096).decode(), flush=True)
`

let dir: string
const children: ChildProcess[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-service-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  rmSync(dir, { recursive: true })
})

/** Lines of the output of a process. */
class Output {
  readonly lines: string[] = []
  readonly child: ChildProcess
  readonly #waiting = new Set<() => void>()

  constructor(command: string, argv: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } })
    children.push(this.child)
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.lines.push(line)
      for (const wake of this.#waiting) wake()
    })
  }

  /** Resolves with the first line from `from` on that matches. */
  async line(pattern: RegExp, from = 0): Promise<string> {
    for (;;) {
      const found = this.lines.slice(from).find((line) => pattern.test(line))
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
      })
    }
  }

  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit')
    return this.child.exitCode
  }
}

describe.skipIf(missing.length > 0)('under systemd', () => {
  const manager = async (name: string): Promise<Output> => {
    const receiver = new Output('/usr/bin/python3', ['-c', RECEIVER, name])
    await receiver.line(/^bound$/)
    return receiver
  }

  test.each(['a path', 'an abstract name'])('ready when it listens, watched, stopping: at %s', async (kind) => {
    const name = kind === 'a path' ? join(dir, 'notify') : `@roost-${process.pid}-${Date.now()}`
    const told = await manager(name)
    const roost = new Output(process.execPath, SERVE, { NOTIFY_SOCKET: name, WATCHDOG_USEC: '600000' })
    await told.line(/^READY=1$/)
    const [, port] = /^STATUS=tcp:\/\/127\.0\.0\.1:(\d+)$/.exec(await told.line(/^STATUS=/))!
    const socket = connect(Number(port), '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    for (let i = 0; i < 3; i++) await told.line(/^WATCHDOG=1$/, told.lines.length)
    roost.child.kill()
    await told.line(/^STOPPING=1$/)
    expect(await roost.ended()).toBe(0)
    expect(told.lines.filter((line) => line === 'READY=1')).toHaveLength(1)
  })

  test('a configuration error ends with 2, the code for which the unit does not start it again', async () => {
    const name = join(dir, 'notify')
    const told = await manager(name)
    const roost = spawn(process.execPath, [...SERVE, '--port', 'x'], {
      env: { ...process.env, NOTIFY_SOCKET: name },
      stdio: 'ignore',
    })
    children.push(roost)
    expect(await once(roost, 'exit')).toEqual([2, null])
    expect(told.lines).toEqual(['bound'])
    expect(spawnSync('grep', ['-c', '^RestartPreventExitStatus=2$', UNIT], { encoding: 'utf8' }).stdout).toBe('1\n')
  })

  test('a socket that nobody reads: one warning, and everything else works', async () => {
    const roost = new Output(process.execPath, SERVE, { NOTIFY_SOCKET: join(dir, 'none'), WATCHDOG_USEC: '300000' })
    expect(await roost.line(/NOTIFY_SOCKET/)).toContain('systemd is not told that Roost runs')
    roost.child.kill()
    expect(await roost.ended()).toBe(0)
    expect(roost.lines.filter((line) => line.includes('NOTIFY_SOCKET'))).toHaveLength(1)
  })

  test('the unit is valid, and its exposure is below 3.0', () => {
    const { stdout } = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', UNIT], { encoding: 'utf8' })
    const [, exposure] = /Overall exposure level for roost\.service: ([\d.]+)/.exec(stdout)!
    expect(Number(exposure)).toBeLessThan(3)
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', UNIT], { encoding: 'utf8' })
    // The only complaint is that it is not installed here.
    expect(stderr.split('\n').filter((line) => line !== '' && !line.includes('/usr/bin/roost is not executable'))).toEqual([])
  })
})

describe('what started it has ended', () => {
  test('npm: Roost stops, and its ports are free', async () => {
    const start = `require('node:child_process').spawn(process.execPath, ${JSON.stringify(SERVE)}, { stdio: 'inherit' })`
    const npm = new Output(process.execPath, ['-e', start], { npm_lifecycle_event: 'start' })
    await npm.line(/State is kept/)
    npm.child.kill('SIGKILL')
    expect(await npm.line(/: stopping/)).toContain('npm has ended: stopping')
    await npm.line(/"stopped"/)
  })

  test('the terminal: Roost stops; SIGHUP without that reloads', async () => {
    const command = [process.execPath, ...SERVE, '--log-file', join(dir, 'log')].map((word) => `'${word}'`).join(' ')
    const shell = `echo $$ >'${dir}/pid'; exec ${command}`
    const terminal = new Output('script', ['-q', '-e', '-c', shell, '/dev/null'])
    const log = new Output('sh', ['-c', `until [ -f '${dir}/log' ]; do sleep 0.1; done; exec tail -n +1 -f '${dir}/log'`])
    await log.line(/State is kept/)
    process.kill(Number(readFileSync(join(dir, 'pid'), 'utf8')), 'SIGHUP')
    await log.line(/SIGHUP: passwords, access lists and certificates were reloaded/)
    terminal.child.kill('SIGKILL')
    expect(await log.line(/: stopping/)).toContain('SIGHUP, and the terminal is closed: stopping')
    await log.line(/"stopped"/)
  })
})
