import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Histogram } from '../../src/base/histogram.ts'
import { NOTICES } from '../../src/base/notice.ts'
import { metricsOf } from '../../src/http/metrics.ts'
import type { ProcessStatus } from '../../src/http/status.ts'
import { Server } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { OPTIONS } from '../gateway/harness.ts'

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
  gateway: OPTIONS,
  memory: { memoryLimit: 2 ** 30 },
  store: new MemoryStore(),
  clock: { epoch: 0 },
  notice: () => {},
  random: () => 0.5,
})
const families = [...metricsOf(0, server, STATUS)]

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
