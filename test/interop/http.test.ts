import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { describeWithPromtool, promtool } from './promtool.ts'
import { MAIN, StartedProcess } from './started-process.ts'

let dir: string
let roost: StartedProcess | undefined
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-http-'))
})
afterEach(async () => {
  await roost?.stop()
  roost = undefined
  rmSync(dir, { recursive: true })
})

async function start(...flags: string[]): Promise<string> {
  roost = await StartedProcess.start('--http-port', '0', ...flags)
  return `http://127.0.0.1:${roost.httpPort}`
}

const get = async (url: string): Promise<string> => (await fetch(url)).text()

/** The value of a metric, with its labels as they stand in the text. */
function metricOf(metrics: string, name: string): number | undefined {
  const line = metrics.split('\n').find((each) => each.startsWith(`${name} `))
  return line === undefined ? undefined : Number(line.slice(name.length + 1))
}

describeWithPromtool('metrics', () => {
  test('are what promtool accepts without a word, on disk and in memory', async () => {
    for (const state of [['--memory'], ['--data-dir', join(dir, 'data')]]) {
      const url = await start(...state)
      const metrics = await get(`${url}/metrics`)
      expect(promtool(['check', 'metrics'], metrics)).toEqual({ status: 0, output: '' })
      await roost!.stop()
    }
  })

  test('count what clients do', async () => {
    const url = await start('--data-dir', join(dir, 'data'))
    const options = { clientId: 'one', clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 600 } } as const
    const client = await connectAsync(`mqtt://127.0.0.1:${roost!.mqttPort}`, options)
    await client.subscribeAsync('away/#', { qos: 1 })
    await client.publishAsync('keep', 'hello', { qos: 1, retain: true })
    await client.endAsync()
    const other = await connectAsync(`mqtt://127.0.0.1:${roost!.mqttPort}`)
    await other.publishAsync('away/a', 'four', { qos: 1 })
    const metrics = await get(`${url}/metrics`)
    await other.endAsync()
    expect({
      received: metricOf(metrics, 'roost_messages_received_total'),
      sent: metricOf(metrics, 'roost_messages_sent_total{protocol="mqtt"}'),
      payload: metricOf(metrics, 'roost_payload_bytes_total{protocol="mqtt",direction="received"}'),
      connected: metricOf(metrics, 'roost_sessions{protocol="mqtt",state="connected"}'),
      disconnected: metricOf(metrics, 'roost_sessions{protocol="mqtt",state="disconnected"}'),
      retained: metricOf(metrics, 'roost_retained_messages'),
      waiting: metricOf(metrics, 'roost_waiting_messages'),
      subscriptions: metricOf(metrics, 'roost_subscriptions{kind="plain"}'),
      logins: metricOf(metrics, 'roost_logins_total{outcome="accepted"}'),
    }).toEqual({
      received: 2,
      sent: 0,
      payload: 9,
      connected: 1,
      disconnected: 1,
      retained: 1,
      waiting: 1,
      subscriptions: 1,
      logins: 2,
    })
    expect(metricOf(metrics, 'roost_store_commit_seconds_count')).toBeGreaterThan(0)
    expect(metricOf(metrics, 'roost_store_bytes')).toBeGreaterThan(0)
    expect(metricOf(metrics, 'process_open_fds')).toBeGreaterThan(3)
    expect(metricOf(metrics, 'process_resident_memory_bytes')).toBeGreaterThan(2 ** 24)
    expect(metrics).toMatch(/^roost_datagrams_dropped_total\{port="sn"\} 0$/m)
  })
})

test('health and readiness', async () => {
  const url = await start('--memory')
  expect(await get(`${url}/healthz`)).toBe('ok\n')
  const ready = await fetch(`${url}/readyz`)
  expect([ready.status, await ready.text()]).toEqual([200, 'ready\n'])
})

test('with TLS, and another certificate after SIGHUP', async () => {
  const files = (name: string): string[] => {
    const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
    const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
    const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    spawnSync('openssl', [...made, ...subject, '-keyout', key, '-out', cert])
    return ['--http-certfile', cert, '--http-keyfile', key]
  }
  await start('--memory', ...files('first'))
  const subject = (): string => {
    const argv = ['s_client', '-connect', `127.0.0.1:${roost!.httpPort}`]
    return /subject=\s*CN ?= ?(\w+)/.exec(spawnSync('openssl', argv, { input: '', encoding: 'utf8' }).stdout)?.[1] ?? ''
  }
  expect(subject()).toBe('first')
  files('second')
  roost!.child.kill('SIGHUP')
  await roost!.logged(/were reloaded/)
  expect(subject()).toBe('second')
})

describe('a port that is taken', () => {
  const serve = (...flags: string[]) =>
    spawnSync(process.execPath, [MAIN, 'serve', '--memory', '--port', '0', '--sn-port', '0', ...flags], {
      encoding: 'utf8',
      timeout: 20_000,
    })

  test('is an error if it was asked for', async () => {
    const other = createServer()
    const port = await new Promise<number>((done) => {
      other.listen(0, '127.0.0.1', () => done((other.address() as { port: number }).port))
    })
    expect(serve('--http-port', `${port}`)).toMatchObject({
      status: 2,
      stderr: `port ${port} on 127.0.0.1 is already in use (--http-host, --http-port)\n`,
    })
    other.close()
  })
})

test.each([
  [
    ['--http-host', '0.0.0.0'],
    '--http-host: 0.0.0.0 is not loopback, so anyone who can reach it could see clients and their messages: add --http-password-file',
  ],
  [['--http-managers', 'eva'], '--http-managers: needs --http-password-file too'],
  [['--http-certfile', MAIN], '--http-certfile: needs --http-keyfile too'],
  [['--http-token-file', 'TOKENS'], 'TOKENS:1: expected `view TOKEN` or `manage TOKEN` (http_token_file)'],
])('%j: one line, exit code 2', (flags, error) => {
  const tokens = join(dir, 'tokens')
  writeFileSync(tokens, 'x\n')
  const [argv, line] = [flags.map((flag) => flag.replace('TOKENS', tokens)), error.replace('TOKENS', tokens)]
  const serve = [MAIN, 'serve', '--memory', '--port', '0', '--sn-port', '0', ...argv]
  for (const more of [[], ['--test-config']]) {
    const { status, stderr } = spawnSync(process.execPath, [...serve, ...more], { encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 2, stderr: `${line}\n` })
  }
})
