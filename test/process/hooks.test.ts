import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterEach, expect, test } from 'vitest'
import { resolveConfig } from '../../src/config/config.ts'
import type { Hooks } from '../../src/process/hooks.ts'
import { createLog } from '../../src/process/log.ts'
import { type RunningInside, startProcess } from '../../src/process/roost.ts'

const log = createLog({ logLevel: 'silent', logFormat: 'json' }, process.stdout, false)
const QUIET = resolveConfig(
  new Map(
    Object.entries({ memory: true, port: 0, sn_port: 0, http: false, multicast_group: 'none' }).map(([key, value]) => [
      key as never,
      { value, origin: key },
    ]),
  ),
  new Map(),
)

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function start(hooks: Hooks): Promise<RunningInside> {
  const roost = await startProcess({ ...QUIET, predefinedTopics: [] }, log, { hooks })
  closing.push(() => roost.stop())
  return roost
}

async function connect(roost: RunningInside, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await connectAsync(roost.mqtt[0]!.url, { reconnectPeriod: 0, protocolVersion: 5, ...options })
  closing.push(() => client.endAsync(true))
  return client
}

test('authenticate decides who may connect, and as whom; authorize what they may do', async () => {
  const asked: string[] = []
  const roost = await start({
    authenticate: async ({ username, password, certified }) => {
      if (username === 'broken') throw new Error('no database')
      return password?.toString() === 'secret' && !certified && { username: `user of ${username}` }
    },
    authorize: ({ username, action, topic }) => {
      asked.push(`${username} ${action} ${topic}`)
      return topic !== 'forbidden'
    },
  })
  await expect(connect(roost)).rejects.toMatchObject({ code: 0x86 })
  await expect(connect(roost, { username: 'a', password: 'wrong' })).rejects.toMatchObject({ code: 0x86 })
  await expect(connect(roost, { username: 'broken', password: 'secret' })).rejects.toMatchObject({ code: 0x88 })
  const client = await connect(roost, { username: 'a', password: 'secret' })
  await expect(client.publishAsync('forbidden', '1', { qos: 1 })).rejects.toMatchObject({ code: 0x87 })
  await client.subscribeAsync('room/#')
  await client.publishAsync('room/a', '1', { qos: 1 })
  expect(asked).toEqual([
    'user of a publish forbidden',
    'user of a subscribe room/#',
    'user of a publish room/a',
    'user of a receive room/a',
  ])
  await expect(client.subscribeAsync('forbidden')).rejects.toThrow()
})

test('a reload asks authorize again: subscriptions end, and messages stop', async () => {
  let may = true
  const roost = await start({ authorize: ({ action }) => action === 'publish' || may })
  const client = await connect(roost)
  const got: string[] = []
  client.on('message', (_topic, payload) => got.push(payload.toString()))
  await client.subscribeAsync('a')
  // Who gets a topic that comes again is remembered.
  for (const payload of ['1', '2', '3']) await client.publishAsync('a', payload, { qos: 1 })
  may = false
  await client.publishAsync('a', '4', { qos: 1 })
  await roost.reload()
  await client.publishAsync('a', '5', { qos: 1 })
  expect(got).toEqual(['1', '2', '3', '4'])
  expect(roost.inside.server.broker.subscriptionCount).toBe(0)
})

test('onPublish changes and refuses, at once and later, and keeps the order of a client; onDeliver is for each recipient', async () => {
  const roost = await start({
    onPublish: ({ topic, payload }) => {
      if (topic === 'refused') return { reasonCode: 0x99 }
      const change = { payload: `${payload.toString()}!`, properties: { contentType: 'text/plain' } }
      return topic === 'late' ? new Promise((resolve) => setTimeout(resolve, 20, change)) : change
    },
    onDeliver: ({ clientId, payload }) => (clientId === 'loud' ? { payload: payload.toString().toUpperCase() } : undefined),
  })
  const quiet = await connect(roost, { clientId: 'quiet' })
  const loud = await connect(roost, { clientId: 'loud' })
  const got: string[] = []
  for (const client of [quiet, loud]) {
    client.on('message', (_topic, payload, { properties }) => got.push(`${payload} ${properties?.contentType}`))
    await client.subscribeAsync('#', { qos: 2 })
  }
  const publisher = await connect(roost)
  const all = ['late', 'now', 'late', 'now'].map((topic, i) => publisher.publishAsync(topic, `message ${i}`, { qos: 2 }))
  await Promise.all(all)
  await expect(publisher.publishAsync('refused', '1', { qos: 1 })).rejects.toMatchObject({ code: 0x99 })
  await expect.poll(() => got.length, { timeout: 10_000 }).toBe(8)
  const texts = [0, 1, 2, 3].map((i) => `message ${i}! text/plain`)
  expect(got.filter((line) => line.startsWith('m'))).toEqual(texts)
  expect(got.filter((line) => line.startsWith('M'))).toEqual(
    texts.map((line) => line.replace(/^.*!/, (text) => text.toUpperCase())),
  )
})

test('authorize cannot use the broker while it is asked', async () => {
  let error: unknown
  const roost: RunningInside = await start({
    authorize: () => {
      try {
        roost.inside.loop.run(() => {})
      } catch (thrown) {
        error = thrown
      }
      return true
    },
  })
  await (await connect(roost)).publishAsync('a', '1', { qos: 1 })
  expect(String(error)).toContain('not from within authorize or onDeliver')
})

test('roost serve --hooks: a syntax error is one line with its place', () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-hooks-'))
  try {
    writeFileSync(join(dir, 'hooks.mjs'), 'export const a = 1\nexport function (\n')
    const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
    const args = [main, 'serve', '--memory', '--port', '0', '--hooks', 'hooks.mjs']
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: dir, encoding: 'utf8' })
    expect(stderr).toMatch(/^--hooks: .*hooks\.mjs:2: SyntaxError: [^\n]*\n$/)
    expect(status).toBe(2)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
