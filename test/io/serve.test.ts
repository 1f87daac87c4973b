import { expect, test } from 'vitest'
import { type Config, DEFAULT_CONFIG, StartError } from '../../src/config.ts'
import { serve } from '../../src/io/serve.ts'
import { StubHost } from './stub-host.ts'

const config: Config = { ...DEFAULT_CONFIG, logFormat: 'json', dataDir: '/srv/roost-data' }

interface Line {
  readonly level: string
  readonly msg: string
  readonly err?: { readonly message: string }
}
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
    'info MQTT broker on tcp://127.0.0.1:1883 (change with --host, --port)',
    'info MQTT-SN gateway 1 on udp://127.0.0.1:1884 (change with --sn-host, --sn-port)',
    'info Anybody on this machine may connect; nobody else: both listen on loopback only. To open it: --host 0.0.0.0 --sn-host 0.0.0.0 --allow-anonymous',
    'info State is kept in /srv/roost-data (change with --data-dir, or --memory to keep nothing)',
    'info SIGTERM: stopping',
    'info stopped',
  ])
})

test('ports that were picked, IPv6, an open door and memory', async () => {
  const open = { host: '::', port: 0, snPort: 0, gatewayId: 7, allowAnonymous: true, memory: true }
  expect((await told(open)).slice(0, 4)).toEqual([
    'info MQTT broker on tcp://[::]:40001 (change with --host, --port)',
    'info MQTT-SN gateway 7 on udp://127.0.0.1:40002 (change with --sn-host, --sn-port)',
    'warn Anybody who reaches tcp://[::]:40001 may connect, without a password (--allow-anonymous). To close it: leave out --host and --sn-host',
    'info State is kept in memory only, and gone at the end (change with --data-dir instead of --memory)',
  ])
  expect((await told({ ...open, snHost: '0.0.0.0' }))[2]).toContain('tcp://[::]:40001 or udp://0.0.0.0:40002 may connect')
})

test('programs find the addresses in fields', async () => {
  const host = new StubHost()
  await serve({ ...config, port: 0 }, host)
  expect(lines(host)[0]).toMatchObject({ mqtt: { host: '127.0.0.1', port: 40_001 } })
  expect(lines(host)[1]).toMatchObject({ sn: { host: '127.0.0.1', port: 1884 } })
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
