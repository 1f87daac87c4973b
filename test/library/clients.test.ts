import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { RoostEvents } from '../../src/index.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import { RawSensor } from '../interop/raw-sensor.ts'
import { broker, keepingLog, tempDir, turns } from './broker.ts'

const clients: mqtt.MqttClient[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.end(true)
})

async function connect(url: string, options: mqtt.IClientOptions): Promise<mqtt.MqttClient> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options })
  client.on('error', () => {})
  clients.push(client)
  return client
}

describe('clients', () => {
  test('each with its state; subscriptions of the program are not among them', async () => {
    const roost = await broker()
    await roost.subscribe('#')
    const will = { topic: 'gone', payload: Buffer.from('!'), qos: 1 as const, retain: true }
    const one = await connect(roost.urls.mqtt, { clientId: 'one', username: 'u', will })
    await one.subscribeAsync({ 'a/#': { qos: 1 }, b: { qos: 0 } })
    const two = await connect(roost.urls.mqtt, { clientId: 'two', clean: false })
    await two.endAsync()
    await vi.waitFor(() =>
      expect(Array.from(roost.clients(), ({ id, state }) => [id, state])).toEqual([
        ['mqtt:one', 'connected'],
        ['mqtt:two', 'disconnected'],
      ]),
    )
    expect(roost.client('one')).toMatchObject({
      ...{ id: 'mqtt:one', clientId: 'one', kind: 'mqtt', state: 'connected', username: 'u', subscriptionCount: 2 },
      ...{ since: expect.any(Date), lastHeard: expect.any(Date), peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) },
      ...{ waitingMessages: 0, expirySeconds: 0, will, listener: 'mqtt-0', sleepSeconds: undefined },
      subscriptions: [
        { filter: 'a/#', qos: 1, noLocal: false, retainAsPublished: false },
        { filter: 'b', qos: 0, noLocal: false, retainAsPublished: false },
      ],
    })
    expect(roost.client('mqtt:two')).toMatchObject({
      state: 'disconnected',
      peer: undefined,
      expirySeconds: Number.POSITIVE_INFINITY,
    })
    expect([roost.client('sn:one'), roost.client('nobody'), roost.client('')]).toEqual([undefined, undefined, undefined])
    expect(() => roost.client(5 as never)).toThrow(TypeError)
  })

  test('disconnect tells the client why, and its will is published', async () => {
    const roost = await broker()
    const messages = await roost.subscribe('gone')
    const will = { topic: 'gone', payload: Buffer.from('one'), qos: 0 as const, retain: false }
    const one = await connect(roost.urls.mqtt, { clientId: 'one', protocolVersion: 5, will })
    const told = new Promise((resolve) => one.on('disconnect', ({ reasonCode }) => resolve(reasonCode)))
    expect(roost.disconnect('one')).toBe(true)
    expect(await told).toBe(0x98)
    expect(String((await messages.next()).value?.payload)).toBe('one')
    expect([roost.disconnect('one'), roost.disconnect('nobody')]).toEqual([false, false])
  })

  test('an MQTT client and a sensor with one id', async () => {
    const roost = await broker()
    await connect(roost.urls.mqtt, { clientId: 's' })
    const sensor = await RawSensor.open(roost.ports.sn)
    sensor.send({ type: MsgType.CONNECT, will: false, cleanSession: true, protocolId: 1, duration: 60, clientId: 's' })
    await sensor.hear()
    const twice = { name: 'RoostError', reasonCode: 0x85, message: 'there are two: mqtt:s and sn:s' }
    expect(() => roost.client('s')).toThrow(expect.objectContaining(twice))
    expect(roost.client('sn:s')).toMatchObject({ kind: 'sn', state: 'active', listener: 'sn' })
    expect(roost.disconnect('mqtt:s')).toBe(true)
    sensor.close()
  })
})

describe('retained', () => {
  test('those that a filter matches', async () => {
    const roost = await broker()
    for (const topic of ['a/1', 'a/2', 'b', '$own/x']) await roost.publish(topic, topic, { qos: 1, retain: true })
    const topics = (filter?: string): string[] => Array.from(roost.retained(filter), ({ topic }) => topic).sort()
    expect(topics()).toEqual(['a/1', 'a/2', 'b'])
    expect(topics('a/+')).toEqual(['a/1', 'a/2'])
    expect(topics('$own/#')).toEqual(['$own/x'])
    expect([...roost.retained('b')]).toEqual([{ topic: 'b', payload: Buffer.from('b'), qos: 1, retain: true, properties: {} }])
    expect(() => roost.retained('a/#/b')).toThrow(
      expect.objectContaining({ reasonCode: 0x8f, message: 'retained a/#/b: # is not the last level' }),
    )
    expect(() => roost.retained(5 as never)).toThrow(TypeError)
  })
})

test('reload applies what has changed in the files, or says what is wrong and changes nothing', async () => {
  const dir = tempDir()
  const aclFile = join(dir, 'acl')
  writeFileSync(aclFile, 'topic readwrite #\n')
  const roost = await broker({ aclFile })
  const as = { clientId: 'c' }
  await roost.publish('a', 'x', { as })
  writeFileSync(aclFile, 'topic read #\n')
  expect(await roost.reload()).toEqual([])
  await expect(roost.publish('a', 'x', { as })).rejects.toMatchObject({ reasonCode: 0x87 })
  writeFileSync(aclFile, 'nonsense\n')
  await expect(roost.reload()).rejects.toThrow(/^nothing has changed.*acl:1/)
  await expect(roost.publish('a', 'x', { as })).rejects.toMatchObject({ reasonCode: 0x87 })
})

test('figures', async () => {
  const roost = await broker()
  const client = await connect(roost.urls.mqtt, { clientId: 'one', clean: false })
  await client.subscribeAsync('t', { qos: 1 })
  await client.endAsync()
  await roost.publish('t', '12345', { qos: 1, retain: true })
  expect(roost.figures()).toMatchObject({
    clients: { connected: 0, disconnected: 1, maximum: 1 },
    sensors: { active: 0, asleep: 0 },
    ...{ connects: 1, retained: { messages: 1, bytes: 6 }, waiting: { messages: 1, bytes: 6 } },
    subscriptions: { plain: 1, shared: 0 },
    notices: { 'client-connected': 1, 'client-disconnected': 1 },
  })
  expect(roost.figures().memory.used).toBeGreaterThan(0)
})

describe('events', () => {
  /** The names and client ids of all events but notices, in order. */
  function eventsOf(roost: Awaited<ReturnType<typeof broker>>): string[] {
    const seen: string[] = []
    const see = (name: string) => (client: { readonly kind: string; readonly clientId: string }) =>
      seen.push(`${name} ${client.kind}:${client.clientId}`)
    for (const name of ['connected', 'disconnected', 'lost', 'asleep', 'awake'] as const) roost.on(name, see(name))
    for (const name of ['dropped', 'store-failed'] as const) roost.on(name, ({ client }) => seen.push(`${name} ${client}`))
    return seen
  }

  test('of MQTT clients: connected, disconnected, lost, also if the broker closes them', async () => {
    const roost = await broker()
    const seen = eventsOf(roost)
    await (await roost.subscribe('t')).unsubscribe()
    const one = await connect(roost.urls.mqtt, { clientId: 'one' })
    await one.endAsync()
    await vi.waitFor(() => expect(seen).toEqual(['connected mqtt:one', 'disconnected mqtt:one']))
    const two = await connect(roost.urls.mqtt, { clientId: 'two' })
    two.stream.destroy()
    await vi.waitFor(() => expect(seen.slice(2)).toEqual(['connected mqtt:two', 'lost mqtt:two']))
    const details: RoostEvents['lost'][0][] = []
    roost.on('lost', (client) => details.push(client))
    await connect(roost.urls.mqtt, { clientId: 'three', username: 'u' })
    roost.disconnect('three')
    await vi.waitFor(() => expect(details).toHaveLength(1))
    expect(details[0]).toMatchObject({ kind: 'mqtt', clientId: 'three', username: 'u', isLost: true, reason: /operator/ })
  })

  test('of sensors: asleep and awake', async () => {
    const roost = await broker()
    const seen = eventsOf(roost)
    const sensor = await RawSensor.open(roost.ports.sn)
    sensor.send({ type: MsgType.CONNECT, will: false, cleanSession: true, protocolId: 1, duration: 60, clientId: 's' })
    await sensor.hear()
    sensor.send({ type: MsgType.DISCONNECT, duration: 30 })
    await sensor.hear()
    sensor.send({ type: MsgType.PINGREQ, clientId: 's' })
    await sensor.hear()
    sensor.send({ type: MsgType.DISCONNECT, duration: undefined })
    await sensor.hear()
    await turns()
    expect(seen).toEqual(['connected sn:s', 'asleep sn:s', 'awake sn:s', 'asleep sn:s', 'disconnected sn:s'])
    sensor.close()
  })

  test('a dropped message, and every notice', async () => {
    const roost = await broker({ maxQueuedMessages: 2 })
    const seen = eventsOf(roost)
    const codes: string[] = []
    roost.on('notice', ({ code }) => codes.push(code))
    const one = await connect(roost.urls.mqtt, { clientId: 'one', clean: false })
    await one.subscribeAsync('t', { qos: 1 })
    await one.endAsync()
    for (let i = 0; i < 3; i++) await roost.publish('t', 'x', { qos: 1 })
    await vi.waitFor(() => expect(seen).toContain('dropped mqtt:one'))
    expect(codes).toEqual(['client-connected', 'client-disconnected', 'queue-full'])
  })

  test('a listener that throws or rejects is logged, and the others are called; one may publish', async () => {
    const { lines, log } = keepingLog()
    const roost = await broker({ log })
    const messages = await roost.subscribe('t')
    roost.on('connected', () => {
      throw new Error('first')
    })
    roost.once('connected', () => Promise.reject(new Error('second')))
    roost.once('connected', ({ clientId }) => roost.publish('t', clientId))
    await connect(roost.urls.mqtt, { clientId: 'one' })
    expect(String((await messages.next()).value?.payload)).toBe('one')
    const failed = lines.filter((line) => line.startsWith('error'))
    expect(failed.map((line) => line.split('\n')[0])).toEqual([
      "error a listener of 'connected' has failed: Error: first",
      "error a listener of 'connected' has failed: Error: second",
    ])
    expect([roost.listenerCount('connected'), roost.off('connected', () => {})]).toEqual([1, roost])
  })
})
