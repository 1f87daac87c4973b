import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MAIN, StartedProcess } from './started-process.ts'

let dir: string
let roost: StartedProcess | undefined
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-api-'))
})
afterEach(async () => {
  await roost?.stop()
  roost = undefined
  rmSync(dir, { recursive: true })
})

async function start(): Promise<string> {
  roost = await StartedProcess.start('--http-port', '0', '--data-dir', join(dir, 'data'))
  return `http://127.0.0.1:${roost.httpPort}/api/v1`
}

async function change(url: string, method: string, path: string, body?: object): Promise<unknown> {
  const { csrf_token: token } = (await (await fetch(`${url}/session`)).json()) as { csrf_token: string }
  const headers = { 'x-csrf-token': token, ...(body !== undefined && { 'content-type': 'application/json' }) }
  const response = await fetch(url + path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) })
  return response.json()
}

const command = (...argv: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...argv, '--http-port', String(roost!.httpPort)], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

test('what was published and deleted over HTTP survives kill -9, and reaches MQTT clients', async () => {
  let url = await start()
  const client = await connectAsync(`mqtt://127.0.0.1:${roost!.mqttPort}`, { protocolVersion: 5 })
  const arrived: string[] = []
  client.on('message', (topic, payload) => arrived.push(`${topic}=${payload}`))
  await client.subscribeAsync('site/#', { qos: 2 })
  for (const topic of ['site/a', 'site/b', 'site/c/d'])
    expect(await change(url, 'POST', '/publish', { topic, payload: 'x', qos: 2, retain: true })).toEqual({ receivers: 1 })
  expect(await change(url, 'DELETE', '/retained/site%2Fb')).toMatchObject({ messages: 1 })
  await expect.poll(() => arrived).toEqual(['site/a=x', 'site/b=x', 'site/c/d=x'])
  await client.endAsync()
  await roost!.stop('SIGKILL')
  url = await start()
  const { messages } = (await (await fetch(`${url}/retained?filter=site/%23`)).json()) as { messages: object[] }
  expect(messages).toEqual(['site/a', 'site/c/d'].map((topic) => ({ topic, payload_bytes: 1, qos: 2, publisher: 'http' })))
  expect(await change(url, 'DELETE', '/retained?filter=site/%23')).toMatchObject({ messages: 2, dry_run: false })
  await roost!.stop('SIGKILL')
  url = await start()
  expect(await (await fetch(`${url}/retained`)).json()).toEqual({ messages: [] })
})

test('the configuration in effect has the memory limits that follow from this machine', async () => {
  const { options } = (await (await fetch(`${await start()}/config`)).json()) as { options: Record<string, number> }
  expect(options.memory_limit).toBeGreaterThan(1_000_000)
  expect(options.max_memory_per_client).toBe(Math.floor(options.memory_limit! / 4))
})

test('the commands ask the started process', async () => {
  const url = await start()
  await change(url, 'POST', '/publish', { topic: 'a', payload: 'x', retain: true })
  const client = await connectAsync(`mqtt://127.0.0.1:${roost!.mqttPort}`, { clientId: 'one' })
  expect(command('status')).toMatchObject({ status: 0, stdout: expect.stringContaining('1 connected'), stderr: '' })
  expect(command('clients')).toMatchObject({ status: 0, stdout: expect.stringContaining('mqtt:one'), stderr: '' })
  expect(command('clients', 'one')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^mqtt:one has been connected for /),
    stderr: '',
  })
  expect(command('access', 'one')).toMatchObject({ status: 0, stdout: expect.stringContaining('none: everything is allowed') })
  expect(command('retained', '--json')).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(
      /^\[\n {2}\{"topic":"a","payload_bytes":1,"qos":0,"publisher":"http","published":"[^"]+"\}\n\]\n$/,
    ),
    stderr: '',
  })
  await client.endAsync()
})
