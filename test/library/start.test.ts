import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import { pino } from 'pino'
import { describe, expect, test, vi } from 'vitest'
import type { Log, Roost } from '../../src/index.ts'
import { broker, keepingLog, start, tempDir } from './broker.ts'

test('urls and ports: the first of each kind, and all', async () => {
  const socketPath = join(tempDir(), 's')
  const listeners = [{ port: 0 }, { port: 0, protocol: 'websockets' as const }, { socketPath }]
  const roost = await start({ listeners, snListeners: [{ port: 0 }, { port: 0, name: 'b' }], httpPort: 0 })
  const { urls, ports } = roost
  expect(urls.allMqtt).toEqual([`mqtt://127.0.0.1:${ports.mqtt}`, `ws://127.0.0.1:${ports.allMqtt[1]}`, `unix:${socketPath}`])
  expect(urls).toMatchObject({ mqtt: urls.allMqtt[0], sn: urls.allSn[0], http: `http://127.0.0.1:${ports.http}` })
  expect(urls.allSn).toEqual(ports.allSn.map((port) => `udp://127.0.0.1:${port}`))
  expect(ports.allMqtt[2]).toBe(0)
  expect((await fetch(`${urls.http}/readyz`)).status).toBe(200)
  await roost.stop()
})

test('without options there is no HTTP service', async () => {
  const { urls, ports } = await broker()
  expect([urls.http, ports.http]).toEqual([undefined, undefined])
})

/** Runs handles.mjs in a process of its own, which has to end by itself. */
function handlesOf(mode: 'memory' | 'durable' | 'failed') {
  const script = fileURLToPath(new URL('handles.mjs', import.meta.url))
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, mode], { encoding: 'utf8', timeout: 20_000 })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
  return JSON.parse(stdout) as { open: number; before: string[]; after: string[]; errors: string[]; port: number; snPort: number }
}

test.each(['memory', 'durable'] as const)(
  'twenty brokers in one process, %s: each has its own state, none leaves a handle',
  (mode) => {
    const { open, before, after } = handlesOf(mode)
    expect(open).toBeGreaterThan(before.length + 40)
    expect(after).toEqual(before)
  },
)

test('what cannot start says so in one line that names the key, and leaves nothing behind', () => {
  const { before, after, errors, port, snPort } = handlesOf('failed')
  const inUse = (which: number) => `StartError: port ${which} on 127.0.0.1 is already in use`
  expect(errors).toEqual([
    `${inUse(port)} (host, port)`,
    `${inUse(port)} (listeners[1])`,
    `${inUse(port)} (httpHost, httpPort)`,
    `${inUse(snPort)} (snHost, snPort)`,
    `${inUse(snPort)} (snListeners[1])`,
    expect.stringMatching(/^StartError: store \S+: process \d+ uses it \(dataDir\)$/),
    expect.stringMatching(/^StartError: store \/dev\/null: .*not a directory.*\(dataDir\)$/),
    `${inUse(port)} (host, port)`,
    'StartError: prt: unknown key (did you mean port?)',
  ])
  expect(after).toEqual(before)
})

test('state with a data directory outlives the broker, without one it does not', async () => {
  const dataDir = tempDir()
  for (const options of [{ dataDir }, {}]) {
    const first = await start({ ...options, port: 0, snPort: 0 })
    await first.publish('kept', 'x', { qos: 1, retain: true })
    await first.stop()
    const second = await start({ ...options, port: 0, snPort: 0 })
    expect([...second.retained()]).toHaveLength(options.dataDir === undefined ? 0 : 1)
    await second.stop()
  }
})

describe('stop', () => {
  test('again is the same stop', async () => {
    const roost = await broker()
    const stopped = roost.stop()
    expect(roost.stop()).toBe(stopped)
    await expect(Promise.all([stopped, roost.stop()])).resolves.toEqual([undefined, undefined])
  })

  test('await using', async () => {
    let used: Roost
    {
      await using roost = await start({ port: 0, snPort: 0 })
      await roost.publish('a', 'b')
      used = roost
    }
    await expect(used.publish('a', 'b')).rejects.toThrow('the broker has stopped')
  })

  test('nothing works afterwards, and says so', async () => {
    const roost = await broker()
    await roost.stop()
    const stopped = { name: 'RoostError', reasonCode: 0x8b }
    await expect(roost.publish('a', 'b')).rejects.toMatchObject({ ...stopped, message: 'publish: the broker has stopped' })
    await expect(roost.subscribe('a')).rejects.toMatchObject({ ...stopped, message: 'subscribe: the broker has stopped' })
    expect(() => roost.disconnect('a')).toThrow('disconnect: the broker has stopped')
  })
})

describe('log', () => {
  async function connectOnce(log: Log | false | undefined, more: { logLevel?: 'debug' | 'warn' } = {}): Promise<void> {
    const roost = await broker({ log, ...more })
    const client = await mqtt.connectAsync(roost.urls.mqtt, { clientId: 'c', reconnectPeriod: 0 })
    await client.endAsync()
    await roost.stop()
  }

  test('one with info, warn and error gets a text a line', async () => {
    const { lines, log } = keepingLog()
    const { info, warn, error } = log
    await connectOnce({ info, warn, error })
    expect(lines).toContainEqual(expect.stringMatching(/^info client-connected mqtt:c at 127\.0\.0\.1:\d+: MQTT 3\.1\.1/))
    expect(lines).toContainEqual(expect.stringMatching(/^info client-disconnected mqtt:c/))
  })

  test('pino gets the fields too', async () => {
    const lines: unknown[] = []
    await connectOnce(pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) }))
    const expected = { code: 'client-connected', client: 'mqtt:c', msg: expect.stringContaining('client-connected mqtt:c') }
    expect(lines).toContainEqual(expect.objectContaining(expected))
  })

  test('logLevel leaves lines out', async () => {
    const { lines, log } = keepingLog()
    await connectOnce(log, { logLevel: 'warn' })
    expect(lines.filter((line) => line.startsWith('info'))).toEqual([])
  })

  test.each<[string, Log | false | undefined]>([
    ['none given', undefined],
    ['false', false],
    ['one that throws', { info: thrown, warn: thrown, error: thrown }],
  ])('%s: nothing breaks, and nothing is printed', async (_, log) => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {})
    await connectOnce(log)
    expect(printed).not.toHaveBeenCalled()
    printed.mockRestore()
  })

  test.each<[unknown, string]>([
    [5, 'got 5'],
    [{ info: () => {}, warn: () => {} }, 'got a map'],
    [null, 'got nothing'],
  ])('%j is none', async (log, got) => {
    const error = `log: expected an object with the functions info, warn and error, ${got}`
    await expect(start({ log: log as never, port: 0, snPort: 0 })).rejects.toThrow(error)
  })

  function thrown(): never {
    throw new Error('the log is full')
  }
})

test('a program without pino, with nothing but the broker, ends by itself', () => {
  const program = `
    const { start } = await import(${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)})
    const roost = await start({ port: 0, snPort: 0 })
    for await (const { payload } of await roost.subscribe('#')) { console.log(String(payload)); break }
    await roost.stop()`
  const publishing = program.replace('for await', "setTimeout(() => roost.publish('a', 'hello'), 50); for await")
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', publishing], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  expect({ stdout, stderr, status }).toEqual({ stdout: 'hello\n', stderr: '', status: 0 })
})
