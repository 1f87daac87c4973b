import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Histogram } from '../../src/base/histogram.ts'
import { LIMIT_NAMES } from '../../src/base/limit-names.ts'
import { NOTICES } from '../../src/base/notice.ts'
import { FIXED } from '../../src/config/fixed.ts'
import { OPTIONS as OPTIONS_OF_SITES } from '../../src/config/options.ts'
import { metricsOf } from '../../src/http/metrics.ts'
import type { ProcessStatus } from '../../src/http/status.ts'
import { Server } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { ClusterTotals } from '../../src/upstream/sensors/cluster-totals.ts'
import { OPTIONS } from '../gateway/harness.ts'
import { bridge } from '../upstream/bridge-world.ts'
import { SENSORS } from '../upstream/sensors/options.ts'
import { connectClient, connectSensor, pass, TestApi } from './harness.ts'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const STATUS: ProcessStatus = {
  version: '1.2.3',
  startedAt: 0,
  notReady: () => undefined,
  memory: () => ({ heap: 1, resident: 2 }),
  cpuSeconds: () => 3,
  openFiles: () => ({ used: 4, limit: 5 }),
  eventLoopDelay: new Histogram([1]),
  droppedDatagrams: () => new Map([['sn', 6]]),
  certificates: () => [{ listener: 'mqtt-8883', option: 'certfile', notAfter: 1000 }],
  store: () => ({ commitSeconds: new Histogram([1]), usedBytes: 7, maxBytes: 8, waitingBytes: 9 }),
}

const server = new Server({
  bridges: [bridge(['a out'])],
  sensors: SENSORS,
  gateway: OPTIONS,
  memory: { memoryLimit: 2 ** 30 },
  store: new MemoryStore(),
  clock: { epoch: 0 },
  notice: () => {},
  random: () => 0.5,
})
const families = [...metricsOf(0, server, STATUS, new ClusterTotals())]

test('docs/monitoring.md has a line for each metric, and no other', () => {
  const lines = read('docs/monitoring.md').matchAll(/^\| `(\w+)` \| [\w, ]*\| (.+) \|$/gm)
  expect(Array.from(lines, ([, name, help]) => `${name}: ${help}`)).toEqual(families.map(({ name, help }) => `${name}: ${help}`))
})

test('each notice has a counter before its first event', () => {
  const { samples } = families.find(({ name }) => name === 'roost_notices_total')!
  expect(samples).toEqual(Object.keys(NOTICES).map((code) => [{ code }, 0]))
})

test('whether clients are served', () => {
  const readyOf = (reason: string | undefined) =>
    [...metricsOf(0, server, { ...STATUS, notReady: () => reason })].find(({ name }) => name === 'roost_ready')?.samples
  expect([readyOf(undefined), readyOf('the store fails')]).toEqual([[[{}, 1]], [[{}, 0]]])
})

test('sessions by protocol and state', () => {
  const api = new TestApi()
  connectSensor(api, 'sensor-7')
  connectClient(api, 'here')
  connectClient(api, 'gone').act((client, now) => client.disconnect(now))
  pass(api, 100)
  const sessions = [...metricsOf(0, api.server, STATUS)].find(({ name }) => name === 'roost_sessions')!
  expect(sessions.samples).toEqual([
    [{ protocol: 'mqtt', state: 'connected' }, 1],
    [{ protocol: 'mqtt', state: 'disconnected' }, 1],
    [{ protocol: 'mqtt-sn', state: 'connected' }, 1],
    [{ protocol: 'mqtt-sn', state: 'disconnected' }, 0],
  ])
})

test('names follow the conventions of Prometheus', () => {
  const { name: first } = families[0]!
  expect(first).toBe('roost_info')
  for (const { name, type, help } of families) {
    expect(name).toMatch(/^(roost|process)_[a-z_]+[a-z]$/)
    expect(name.endsWith('_total')).toBe(type === 'counter')
    expect(help).toMatch(/\.$/)
  }
  expect(new Set(families.map(({ name }) => name)).size).toBe(families.length)
})

test.each(['deploy/grafana/roost.json', 'deploy/prometheus/alerts.yml'])('%s shows metrics that exist', (path) => {
  const known = new Set(families.flatMap(({ name, type }) => (type === 'histogram' ? [name, `${name}_bucket`] : [name])))
  const named = read(path).match(/\b(?:roost|process)_[a-z_]+[a-z]\b/g) ?? []
  expect(named.length).toBeGreaterThan(8)
  expect(named.filter((name) => !known.has(name))).toEqual([])
})

/** Keys of options that the core names for another reason than a limit that is reached. */
const NO_LIMITS = ['acl_file', 'clientid_file', 'jwt_jwks', 'jwt_public_key_file', 'jwt_secret_file', 'password_file']

test('each limit has a counter before it is reached, and LIMIT_NAMES has each that the core names', () => {
  const { samples } = families.find(({ name }) => name === 'roost_limits_reached_total')!
  expect(samples).toEqual(LIMIT_NAMES.map((limit) => [{ limit }, 0]))
  const keys = new Set([...Object.keys(OPTIONS_OF_SITES), ...Object.keys(FIXED), 'open_files'])
  for (const limit of LIMIT_NAMES) expect(keys, limit).toContain(limit)
  const core = ['access', 'base', 'broker', 'gateway', 'mqtt', 'mqttsn', 'presence', 'store']
  const named = core.flatMap((folder) =>
    readdirSync(new URL(`../../src/${folder}`, import.meta.url), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.endsWith('limit-names.ts'))
      .flatMap((path) => Array.from(read(`src/${folder}/${path}`).matchAll(/'([a-z]+(?:_[a-z]+)+)'/g), ([, name]) => name!)),
  )
  const missing = named.filter((name) => keys.has(name) && !LIMIT_NAMES.includes(name as never))
  expect(new Set(missing)).toEqual(new Set(NO_LIMITS))
  expect(LIMIT_NAMES.filter((limit) => !named.includes(limit))).toEqual([])
})

test('a limit that the list lacks is counted all the same', () => {
  server.notice({ code: 'limit-reached', level: 'warn', limit: 'something_new' })
  const [limits] = [...metricsOf(0, server, STATUS)].filter(({ name }) => name === 'roost_limits_reached_total')
  expect(limits?.samples).toContainEqual([{ limit: 'something_new' }, 1])
})
