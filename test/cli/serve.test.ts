import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { StartError } from '../../src/base/start-error.ts'
import { START_PATIENCE_MS, serve } from '../../src/cli/serve.ts'
import { type Config, DEFAULT_CONFIG, resolveConfig } from '../../src/config/config.ts'
import type { OptionKey } from '../../src/config/options.ts'
import { StopError } from '../../src/process/roost.ts'
import { StubHost } from './stub-host.ts'

const config: Config = { ...DEFAULT_CONFIG, logFormat: 'json', dataDir: '/srv/roost-data' }

interface Line {
  readonly level: string
  readonly msg: string
  readonly err?: { readonly message: string }
}
/** As if these had been flags. */
const settled = (flags: Record<string, unknown>): Partial<Config> =>
  resolveConfig(
    new Map(
      Object.entries({ log_format: 'json', ...flags }).map(([key, value]) => [key as OptionKey, { value, origin: `--${key}` }]),
    ),
    new Map(),
  )
const lines = (host: StubHost): Line[] =>
  host.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
const told = async (changes: Partial<Config>): Promise<string[]> => {
  const host = new StubHost()
  expect(await serve({ ...config, ...changes }, host)).toBe(0)
  return lines(host).map(({ level, msg }) => `${level} ${msg}`)
}

test('the start says what listens, who may connect, where the state is, and how to change it', async () => {
  expect(await told({})).toEqual([
    'info MQTT broker on tcp://127.0.0.1:1883: any client on this machine may connect without a password (allow_anonymous) (change with --host, --port)',
    'info MQTT-SN gateway 1 on udp://127.0.0.1:1884: sensors on this machine may connect (change with --sn-host, --sn-port)',
    'info HTTP on http://127.0.0.1:1885: console, metrics, health and API (change with --http-port, --http false)',
    'info To open it to others: --host 0.0.0.0 --sn-host 0.0.0.0 with --password-file and --sn-username, or --allow-anonymous',
    'info Memory for clients: 1 B',
    'info State is kept in /srv/roost-data, SQLite 3.50.0 (change with --data-dir, or --memory to keep nothing)',
    'info SIGTERM: stopping',
    'info stopped',
  ])
})

test('ports that were picked, IPv6, an open door and memory', async () => {
  const flags = { host: '::', port: 0, sn_host: '0.0.0.0', sn_port: 0, gateway_id: 7, allow_anonymous: true, memory: true }
  expect((await told(settled(flags))).slice(0, 5)).toEqual([
    'warn MQTT broker on tcp://:::40001: any client that can reach it may connect without a password (allow_anonymous) (change with --host, --port)',
    'warn MQTT-SN gateway 7 on udp://0.0.0.0:40002: sensors that can reach it may connect (change with --sn-host, --sn-port)',
    'info HTTP on http://127.0.0.1:1885: console, metrics, health and API (change with --http-port, --http false)',
    'info Memory for clients: 1 B',
    'info State is kept in memory only and lost at the end (change with --data-dir instead of --memory)',
  ])
})

test('with passwords: who may connect, and that sensors may not', async () => {
  expect((await told(settled({ host: '0.0.0.0', password_file: '/srv/passwords' }))).slice(0, 2)).toEqual([
    'info MQTT broker on tcp://0.0.0.0:1883: clients with a password (password_file) may connect (change with --host, --port)',
    'info MQTT-SN gateway 1 on udp://127.0.0.1:1884: no sensor may connect, because no user is configured for any (sn_users, sn_username); QoS -1: no (qos_m1_username), forwarders: no (forwarders) (change with --sn-host, --sn-port)',
  ])
})

test('a port for sensors that is open to the network and admits none is a warning', async () => {
  const flags = { host: '0.0.0.0', sn_host: '0.0.0.0', password_file: '/srv/passwords' }
  expect((await told(settled(flags)))[1]).toMatch(/^warn .* no sensor may connect, because no user is configured for any/)
  expect((await told(settled({ ...flags, sn_username: 'sensors' })))[1]).toMatch(/^info .* sensors that can reach it with a user/)
})

test('programs find the addresses in fields', async () => {
  const host = new StubHost()
  await serve({ ...config, ...settled({ port: 0 }) }, host)
  expect(lines(host)[0]).toMatchObject({ mqtt: { name: 'mqtt-0', url: 'tcp://127.0.0.1:40001', port: 40_001 } })
  expect(lines(host)[1]).toMatchObject({ sn: { name: 'sn', url: 'udp://127.0.0.1:1884', port: 1884 } })
})

test.each(['SIGINT', 'SIGTERM'])('%s stops once and leaves no listener', async (signal) => {
  const host = new StubHost()
  host.started = () => host.events.emit(signal)
  expect(await serve(config, host)).toBe(0)
  expect(host).toMatchObject({ stops: 1, exits: [], err: '' })
  expect(host.events.eventNames()).toEqual([])
})

test('a signal while it starts stops it as soon as it has started', async () => {
  const host = new StubHost()
  host.started = () => {}
  const served = serve(config, host)
  host.events.emit('SIGINT')
  expect(await served).toBe(0)
  expect(host.stops).toBe(1)
})

test('a signal while a start waits for something that does not come ends it after five seconds', async () => {
  vi.useFakeTimers()
  try {
    const host = Object.assign(new StubHost(), { start: () => new Promise<never>(() => {}) })
    const served = serve(config, host)
    host.events.emit('SIGTERM')
    await vi.advanceTimersByTimeAsync(START_PATIENCE_MS - 1)
    expect(host.exits).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(await served).toBe(143)
    expect(host.exits).toEqual([143])
    expect(lines(host).map(({ msg }) => msg)).toEqual(['SIGTERM: stopped before the start was complete'])
  } finally {
    vi.useRealTimers()
  }
})

test.each([
  ['SIGINT', 'SIGINT', 130],
  ['SIGINT', 'SIGTERM', 143],
  ['SIGTERM', 'SIGINT', 130],
])('%s, then %s while it stops: exit code %i at once', async (first, second, code) => {
  const host = new StubHost()
  host.started = () => host.events.emit(first)
  let exitsBeforeStopEnds: number[] = []
  host.stop = async () => {
    host.events.emit(second)
    exitsBeforeStopEnds = [...host.exits]
  }
  await serve(config, host)
  expect(exitsBeforeStopEnds).toEqual([code])
})

test.each(['uncaughtException', 'unhandledRejection'])('%s is fatal', async (event) => {
  const host = new StubHost()
  host.started = () => {
    host.events.emit(event, new Error('a bug'))
    expect(host.exits).toEqual([1])
    host.events.emit('SIGTERM')
  }
  await serve(config, host)
  expect(lines(host)).toContainEqual(
    expect.objectContaining({ level: 'fatal', err: expect.objectContaining({ message: 'a bug' }) }),
  )
})

test("a start that fails by the user's error passes it on; by ours it is logged, exit code 1", async () => {
  const host = new StubHost()
  const error = new StartError('port 1883 on 127.0.0.1 is already in use (--port)')
  await expect(serve(config, Object.assign(host, { start: () => Promise.reject(error) }))).rejects.toBe(error)
  expect(host.out).toBe('')
  expect(await serve(config, Object.assign(host, { start: () => Promise.reject(new Error('a bug')) }))).toBe(1)
  expect(lines(host)).toMatchObject([{ level: 'fatal', err: { message: 'a bug' } }])
})

test('a stop that fails is logged, exit code 1', async () => {
  const host = new StubHost()
  host.stop = () => Promise.reject(new Error('a bug'))
  expect(await serve(config, host)).toBe(1)
  expect(lines(host).at(-1)).toMatchObject({ level: 'fatal', err: { message: 'a bug' } })
})

test('a stop that could not store everything is one line, exit code 1', async () => {
  const host = new StubHost()
  host.stop = () =>
    Promise.reject(new StopError('store /srv/roost-data: closed with commit 3 not stored: no space left on device'))
  expect(await serve(config, host)).toBe(1)
  const reason = 'stopped; store /srv/roost-data: closed with commit 3 not stored: no space left on device'
  expect(lines(host).at(-1)).toMatchObject({ level: 'error', msg: reason })
})

test('SIGHUP reads files anew: what is worth a warning is told, and a failure is told by who found it', async () => {
  const host = new StubHost()
  const answers = [['the file is open to others'], 'failed' as const, []]
  let reloads = 0
  host.reload = async () => answers[reloads++]!
  host.started = async () => {
    for (const _ of answers) {
      host.events.emit('SIGHUP')
      await new Promise((resolve) => setImmediate(resolve))
    }
    host.events.emit('SIGTERM')
  }
  await serve(config, host)
  expect(reloads).toBe(3)
  expect(
    lines(host)
      .map(({ level, msg }) => `${level} ${msg}`)
      .slice(6, -2),
  ).toEqual([
    'warn the file is open to others',
    'info SIGHUP: passwords, access lists and certificates were reloaded',
    'info SIGHUP: passwords, access lists and certificates were reloaded',
  ])
})

test('log_file: the log goes there instead of standard output, and SIGHUP opens it again', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-serve-'))
  const logFile = join(dir, 'roost.log')
  const host = new StubHost()
  host.started = () => {
    renameSync(logFile, `${logFile}.1`)
    host.events.emit('SIGHUP')
    setImmediate(() => host.events.emit('SIGTERM'))
  }
  expect(await serve({ ...config, logFile }, host)).toBe(0)
  const [before, after] = [`${logFile}.1`, logFile].map((path) => readFileSync(path, 'utf8'))
  rmSync(dir, { recursive: true })
  expect(host.out).toBe('')
  expect(before).toContain('State is kept in /srv/roost-data')
  expect(after).toMatch(/SIGHUP: passwords.*stopped/s)
})

test('SIGUSR1 writes a checkpoint, and SIGUSR2 logs the clients, once both can be done', async () => {
  const host = Object.assign(new StubHost(), { earlySignals: new Set(['SIGUSR2', 'SIGHUP']) })
  host.clients = ['mqtt:a: connected', '1 client']
  host.started = () => {
    for (const signal of ['SIGUSR1', 'SIGUSR1', 'SIGUSR2']) host.events.emit(signal)
    setImmediate(() => host.events.emit('SIGTERM'))
  }
  expect(await serve(config, host)).toBe(0)
  const messages = lines(host).map(({ level, msg }) => `${level} ${msg}`)
  expect(messages.slice(0, 2)).toEqual(['warn SIGUSR2: still starting', 'warn SIGHUP: still starting'])
  expect(messages.slice(-7)).toEqual([
    'info SIGUSR1: writing a checkpoint of the store',
    'info SIGUSR1: still at the one before',
    'info SIGUSR2: mqtt:a: connected',
    'info SIGUSR2: 1 client',
    'info SIGUSR1: everything is written to /srv/roost-data',
    'info SIGTERM: stopping',
    'info stopped',
  ])
  expect(host.events.eventNames()).toEqual([])
})

test('a checkpoint that is not complete when Roost stops is not forgotten in the log', async () => {
  const host = new StubHost()
  host.checkpoint = () => new Promise(() => {})
  host.started = () => {
    for (const signal of ['SIGUSR1', 'SIGTERM']) host.events.emit(signal)
  }
  expect(await serve(config, host)).toBe(0)
  expect(
    lines(host)
      .map(({ msg }) => msg)
      .slice(-4),
  ).toEqual([
    'SIGUSR1: writing a checkpoint of the store',
    'SIGTERM: stopping',
    'SIGUSR1: Roost has stopped before it was complete',
    'stopped',
  ])
})

test('many clients are logged in several turns of the event loop', async () => {
  const host = new StubHost()
  host.clients = Array.from({ length: 1000 }, (_, i) => `client ${i}`)
  let between = 0
  host.started = () => {
    host.events.emit('SIGUSR2')
    const next = (): void => {
      between = lines(host).filter(({ msg }) => msg.startsWith('SIGUSR2')).length
      if (between < 1000) setImmediate(next)
      else host.events.emit('SIGTERM')
      if (between > 0 && between < 1000) turns++
    }
    let turns = 0
    next()
    host.stop = async () => expect(turns).toBeGreaterThan(10)
  }
  expect(await serve(config, host)).toBe(0)
  expect(between).toBe(1000)
})

test('in memory there is nothing to write at SIGUSR1', async () => {
  const host = new StubHost()
  host.started = () => {
    host.events.emit('SIGUSR1')
    host.events.emit('SIGTERM')
  }
  expect(await serve({ ...config, memory: true }, host)).toBe(0)
  expect(lines(host).at(-3)).toMatchObject({ msg: 'SIGUSR1: state is kept in memory only, there is nothing to write' })
})

test('SIGHUP while it starts changes nothing and ends nothing', async () => {
  const host = new StubHost()
  host.reload = () => Promise.reject(new Error('not yet'))
  const served = serve(config, host)
  host.events.emit('SIGHUP')
  expect(await served).toBe(0)
  expect(lines(host)[0]).toMatchObject({ level: 'warn', msg: 'SIGHUP: still starting' })
})
