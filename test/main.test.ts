import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/** What `npm run build` writes, and `npm test` builds first. */
const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-main-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const roost = (...argv: string[]): ChildProcess =>
  spawn(process.execPath, [MAIN, ...argv], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })

async function ended(child: ChildProcess): Promise<{ out: string; err: string; code: number | null }> {
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk) => {
    out += chunk
  })
  child.stderr?.on('data', (chunk) => {
    err += chunk
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { out, err, code }
}

test('--version is that of the package', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  expect(await ended(roost('--version'))).toEqual({ out: `${version}\n`, err: '', code: 0 })
})

test('the command and `npm start` give Node.js the same options', async () => {
  const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    scripts: { start: string }
  }
  const [first = ''] = readFileSync(MAIN, 'utf8').split('\n')
  const interpreter = first.replace('#!/usr/bin/env -S ', '')
  expect(scripts.start).toBe(`${interpreter} dist/main.js serve`)
  const [, ...options] = interpreter.split(' ')
  expect(await ended(spawn('/usr/bin/env', ['-S', `node ${options.join(' ')}`, MAIN, '--version']))).toMatchObject({
    err: '',
    code: 0,
  })
})

test('no arguments: the help, exit code 0', async () => {
  expect(await ended(roost())).toMatchObject({ out: expect.stringContaining('serve'), err: '', code: 0 })
})

test('a bad flag: one line, exit code 2', async () => {
  const err = '--prot: unknown option (did you mean --port?); see roost serve --help\n'
  expect(await ended(roost('serve', '--prot', '1'))).toEqual({ out: '', err, code: 2 })
})

test('a port that is taken: one line that names the flag, exit code 2', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const err = `port ${port} on 127.0.0.1 is already in use (--host, --port)\n`
  expect(await ended(roost('serve', '--memory', '--port', String(port), '--sn-port', '0'))).toEqual({ out: '', err, code: 2 })
  other.close()
})

test.runIf(process.platform === 'linux')('SIGUSR1 and SIGUSR2 are caught before the command line is loaded', async () => {
  const child = roost('serve', '--memory', '--port', '0', '--sn-port', '0', '--http', 'false', '--log-format', 'json')
  // Node.js itself has started as soon as it holds no default action for them.
  const caught = (): boolean => {
    const [, mask] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
    return (BigInt(`0x${mask ?? '0'}`) & (1n << 11n)) !== 0n
  }
  while (!caught()) await new Promise((resolve) => setImmediate(resolve))
  child.kill('SIGUSR1')
  child.kill('SIGUSR2')
  const messages: string[] = []
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const { msg } = JSON.parse(line) as { msg: string }
    messages.push(msg)
    if (msg.startsWith('State')) child.kill('SIGTERM')
  })
  expect(await ended(child)).toMatchObject({ err: '', code: 0 })
  expect(messages.filter((msg) => msg.startsWith('SIGUSR')).sort()).toEqual([
    'SIGUSR1: still starting',
    'SIGUSR2: still starting',
  ])
})

describe.each(['SIGINT', 'SIGTERM'] as const)('%s', (signal) => {
  test('ends it cleanly with exit code 0, and the state is in --data-dir', async () => {
    const serve = ['serve', '--port', '0', '--sn-port', '0', '--http-port', '0', '--log-format', 'json']
    const child = roost(...serve, '--data-dir', signal)
    const messages: string[] = []
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { msg } = JSON.parse(line) as { msg: string }
      messages.push(msg)
      if (msg.startsWith('State')) child.kill(signal)
    })
    expect(await ended(child)).toMatchObject({ err: '', code: 0 })
    // Whether there is multicast depends on the machine.
    expect(messages.filter((message) => !message.includes('multicast'))).toEqual([
      expect.stringMatching(/^MQTT broker on tcp:\/\/127\.0\.0\.1:[1-9]\d*: any client on this machine/),
      expect.stringMatching(/^MQTT-SN gateway 1 on udp:\/\/127\.0\.0\.1:[1-9]\d*: sensors/),
      expect.stringMatching(/^HTTP on http:\/\/127\.0\.0\.1:[1-9]\d*: /),
      expect.stringMatching(/^To open it to others/),
      expect.stringMatching(/^Memory for clients: \d+ MiB, 60 % of \d+ MiB \(.+, less 160 MiB\) \(change with --memory-limit\)$/),
      expect.stringMatching(
        /^State is kept in \S+\/SIG\w+, SQLite 3\.\d+\.\d+ \(change with --data-dir, or --memory to keep nothing\)$/,
      ),
      `${signal}: stopping`,
      'stopped',
    ])
  })
})
