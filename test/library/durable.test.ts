import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Roost } from '../../src/index.ts'
import { broker, keepingLog, tempDir, turns } from './broker.ts'

const ARCHIVE = { qos: 1, clientId: 'archive' } as const

/** Subscribes as 'archive', and collects payloads. */
async function archived(roost: Roost, filter = 'site/#'): Promise<string[]> {
  const got: string[] = []
  await roost.subscribe(filter, ({ payload }) => got.push(String(payload)), ARCHIVE)
  return got
}

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Runs archive.mjs until it has printed `until`. */
async function runArchive(dataDir: string, count: number, until: string) {
  const script = fileURLToPath(new URL('archive.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, dataDir, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  await vi.waitFor(() => expect(lines).toContain(until), { timeout: 15_000 })
  child.kill('SIGKILL')
  await once(child, 'exit')
  return lines
}

test('what a killed program had not handled comes again, in order, and once it is handled no more', async () => {
  const dataDir = tempDir()
  expect(await runArchive(dataDir, 5, 'published')).toEqual(expect.arrayContaining(['got 0', 'published']))
  const lines = await runArchive(dataDir, 0, 'got 4')
  expect(lines.filter((line) => line.startsWith('got'))).toEqual(['got 0', 'got 1', 'got 2', 'got 3', 'got 4'])
  const roost = await broker({ dataDir })
  const got = await archived(roost)
  await roost.publish('site/a', 'new', { qos: 1 })
  await vi.waitFor(() => expect(got).toContain('new'))
  // A kill may come before acknowledgements are on the disk.
  expect(['0', '1', '2', '3', '4', 'new'].slice(-got.length)).toEqual(got)
}, 40_000)

test('messages that come before the program has subscribed again wait for it', async () => {
  const dataDir = tempDir()
  let roost = await broker({ dataDir })
  await archived(roost)
  await roost.stop()
  roost = await broker({ dataDir })
  const client = await mqtt.connectAsync(roost.urls.mqtt, { reconnectPeriod: 0 })
  await client.publishAsync('site/a', 'early', { qos: 1 })
  expect([...roost.clients()].map(({ clientId }) => clientId)).not.toContain('archive')
  expect(roost.client('archive')).toMatchObject({ waitingMessages: 1, expirySeconds: Number.POSITIVE_INFINITY })
  const got = await archived(roost)
  await vi.waitFor(() => expect(got).toEqual(['early']))
  client.end(true)
})

test('retained messages come with the first subscription only', async () => {
  const dataDir = tempDir()
  let roost = await broker({ dataDir })
  await roost.publish('site/a', 'retained', { qos: 1, retain: true })
  const got = await archived(roost)
  await vi.waitFor(() => expect(got).toEqual(['retained']))
  await roost.stop()
  roost = await broker({ dataDir })
  const again = await archived(roost)
  await roost.publish('site/b', 'new', { qos: 1 })
  await vi.waitFor(() => expect(again).toEqual(['new']))
})

test('after stop was called, a handler that fails keeps its message and those that follow', async () => {
  const dataDir = tempDir()
  const { lines, log } = keepingLog()
  let roost = await broker({ dataDir, log })
  const calls: string[] = []
  let fail = (_: Error): void => {}
  const handler = ({ payload }: { payload: Buffer }) => {
    calls.push(String(payload))
    return new Promise((_, reject) => {
      fail = reject
    })
  }
  await roost.subscribe('site/#', handler, ARCHIVE)
  for (const text of ['a', 'b', 'c', 'd']) await roost.publish('site/a', text, { qos: 1 })
  // Before, its message counts as handled.
  fail(new Error('no'))
  await vi.waitFor(() => expect(calls).toEqual(['a', 'b']))
  const stopped = roost.stop()
  fail(new Error('the program stops'))
  await stopped
  expect(calls).toEqual(['a', 'b'])
  expect(lines).toContain('info stop: 3 messages wait for the next subscription with clientId archive')
  roost = await broker({ dataDir })
  const got = await archived(roost)
  await vi.waitFor(() => expect(got).toEqual(['b', 'c', 'd']))
})

test('an iterator: break keeps the session, unsubscribe ends it', async () => {
  const dataDir = tempDir()
  let roost = await broker({ dataDir })
  const messages = await roost.subscribe('site/#', ARCHIVE)
  for (const text of ['a', 'b', 'c']) await roost.publish('site/a', text, { qos: 1 })
  for await (const { payload } of messages) if (String(payload) === 'b') break
  await roost.publish('site/a', 'd', { qos: 1 })
  await roost.stop()
  roost = await broker({ dataDir })
  const again = await roost.subscribe('site/#', ARCHIVE)
  // What was handed out last was not acknowledged.
  const got = [await again.next(), await again.next(), await again.next()]
  expect(got.map(({ value }) => String(value?.payload))).toEqual(['b', 'c', 'd'])
  await again.unsubscribe()
  expect(roost.client('archive')).toBeUndefined()
  await roost.publish('site/a', 'e', { qos: 1 })
  await roost.stop()
  roost = await broker({ dataDir })
  expect(roost.client('archive')).toBeUndefined()
})

test('another filter takes the place of the one before', async () => {
  const roost = await broker()
  {
    await using _ = await roost.subscribe('site/#', () => {}, ARCHIVE)
  }
  const got = await archived(roost, 'garden/#')
  expect(roost.client('archive')?.subscriptions.map(({ filter }) => filter)).toEqual(['garden/#'])
  await roost.publish('site/a', 'old', { qos: 1 })
  await roost.publish('garden/a', 'new', { qos: 1 })
  await vi.waitFor(() => expect(got).toEqual(['new']))
})

test('without a data directory, stop reports what is left as dropped', async () => {
  const roost = await broker()
  const dropped = vi.fn()
  roost.on('dropped', dropped)
  await roost.subscribe('t', ARCHIVE)
  await roost.publish('t', 'x', { qos: 1 })
  await roost.stop()
  expect(dropped).toHaveBeenCalledWith(expect.objectContaining({ client: 'mqtt:archive', count: 1 }))
})

describe('the client id', () => {
  test('is the program’s alone, while it subscribes and afterwards, until unsubscribe', async () => {
    const roost = await broker()
    const connect = () =>
      mqtt.connectAsync(roost.urls.mqtt, { protocolVersion: 5, clientId: 'archive', reconnectPeriod: 0 }, false)
    const refused = { code: 0x85 }
    const subscription = await roost.subscribe('t', () => {}, ARCHIVE)
    await expect(connect()).rejects.toMatchObject(refused)
    await subscription[Symbol.asyncDispose]()
    await expect(connect()).rejects.toMatchObject(refused)
    await (await roost.subscribe('t', () => {}, ARCHIVE)).unsubscribe()
    await (await connect()).endAsync()
  })

  test('of another subscription, or of a client, is an error', async () => {
    const roost = await broker()
    const got = await archived(roost)
    const inUse = { name: 'RoostError', reasonCode: 0x85 }
    const message = 'subscribe t: clientId: archive is the client id of another subscription'
    await expect(roost.subscribe('t', ARCHIVE)).rejects.toMatchObject({ ...inUse, message })
    const client = await mqtt.connectAsync(roost.urls.mqtt, { clientId: 'pump', reconnectPeriod: 0 })
    const taken = { ...inUse, message: 'subscribe t: clientId: pump is a client of the broker, which has a session' }
    await expect(roost.subscribe('t', { qos: 1, clientId: 'pump' })).rejects.toMatchObject(taken)
    expect(client.connected).toBe(true)
    await roost.publish('site/a', 'x', { qos: 1 })
    await vi.waitFor(() => expect(got).toEqual(['x']))
    client.end(true)
  })

  test('may be one that clients must not have, and its session outlasts the limit for theirs', async () => {
    const dir = tempDir()
    writeFileSync(`${dir}/bans`, 'id:archive\n', { mode: 0o600 })
    writeFileSync(`${dir}/ids`, 'alice: "*"\n', { mode: 0o600 })
    const options = { banFile: `${dir}/bans`, clientidFile: `${dir}/ids`, persistentClientExpiration: 60 }
    const roost = await broker(options)
    await archived(roost)
    await roost.reload()
    await turns()
    expect(roost.client('archive')).toMatchObject({ state: 'connected', expirySeconds: Number.POSITIVE_INFINITY })
  })

  test.each<[object, string]>([
    [{ qos: 1, clientId: '' }, 'subscribe a: clientId: expected at least one character'],
    [{ qos: 1, clientId: 5 }, 'subscribe a: clientId: expected a string, got number'],
    [{ qos: 1, clientId: 'a\0' }, 'subscribe a: clientId: contains U+0000 or half a surrogate pair'],
    [{ clientId: 'a' }, 'subscribe a: clientId: expected qos 1 or 2 with it, because messages of QoS 0 are not kept'],
  ])('%j', async (options, message) => {
    const roost = await broker()
    await expect(roost.subscribe('a', options as never)).rejects.toThrow(new TypeError(message))
  })
})
