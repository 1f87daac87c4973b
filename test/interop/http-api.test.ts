import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { StartedProcess } from './started-process.ts'

let dir: string
let roost: StartedProcess
let url: string
const TOKEN = 't'.repeat(32)
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-api-'))
  writeFileSync(join(dir, 'tokens'), `manage ${TOKEN}\n`, { mode: 0o600 })
  await start()
})
afterEach(async () => {
  await roost.stop()
  rmSync(dir, { recursive: true })
})

async function start(): Promise<void> {
  roost = await StartedProcess.start(
    '--http-port',
    '0',
    '--data-dir',
    join(dir, 'data'),
    '--http-token-file',
    join(dir, 'tokens'),
  )
  url = `http://127.0.0.1:${roost.httpPort}/api/v1`
}

async function ask(path: string, method = 'GET'): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url + path, { method, headers: { authorization: `Bearer ${TOKEN}` } })
  const text = await response.text()
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) }
}

const connect = (clientId: string): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, {
    clientId,
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 600 },
    reconnectPeriod: 0,
  })

test('a session that was ended stays ended when the process is killed', async () => {
  const client = await connect('archive')
  await client.subscribeAsync('site/#', { qos: 1 })
  const left = await connect('left')
  expect((await ask('/clients')).body.clients).toMatchObject([{ id: 'mqtt:archive', state: 'connected' }, { id: 'mqtt:left' }])
  const disconnected = new Promise((resolve) => client.on('disconnect', ({ reasonCode }) => resolve(reasonCode)))
  expect(await ask('/clients/archive', 'DELETE')).toEqual({ status: 204, body: {} })
  expect(await disconnected).toBe(0x98)
  await roost.stop('SIGKILL')
  await client.endAsync(true)
  await left.endAsync(true)
  await start()
  expect((await ask('/clients')).body).toMatchObject({ clients: [{ id: 'mqtt:left', state: 'disconnected' }] })
})

test('events, notices and a reload that fails, and one that does not', async () => {
  const stream = await fetch(`${url}/events?code=operator-action`, { headers: { authorization: `Bearer ${TOKEN}` } })
  let events = ''
  const reading = stream.body!.pipeThrough(new TextDecoderStream()).pipeTo(
    new WritableStream({
      write: (text) => {
        events += text
      },
    }),
  )
  expect(await ask('/reload', 'POST')).toMatchObject({ status: 200, body: { warnings: [] } })
  await vi.waitFor(() => expect(events).toContain('"code":"operator-action"'))
  chmodSync(join(dir, 'tokens'), 0o644)
  expect((await ask('/reload', 'POST')).body.warnings).toEqual([expect.stringContaining('tokens is open to other users')])
  writeFileSync(join(dir, 'tokens'), 'manage short\n', { mode: 0o600 })
  const failed = await ask('/reload', 'POST')
  expect(failed).toMatchObject({ status: 409, body: { detail: expect.stringContaining('tokens:1') } })
  const { body } = await ask('/notices?limit=2')
  expect(body.notices).toMatchObject([{ code: 'reload-failed', level: 'error' }, { code: 'operator-action' }])
  await roost.stop()
  await reading.catch(() => {})
})
