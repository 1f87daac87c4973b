import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectAsync } from 'mqtt'
import { afterAll, afterEach, expect, test } from 'vitest'
import { MqttJs } from '../interop/mqttjs.ts'
import { RawSensor } from '../interop/raw-sensor.ts'
import { RunningExample } from './running-example.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-examples-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const running: RunningExample[] = []
function start(name: string, ...argv: string[]): RunningExample {
  const example = RunningExample.start(name, ...argv)
  running.push(example)
  return example
}
afterEach(async () => {
  const codes = await Promise.all(running.splice(0).map((each) => each.end()))
  expect(codes.every((code) => code === 0)).toBe(true)
}, 30_000)

test('users from SQLite', async () => {
  const database = join(dir, 'users.db')
  const added = start('users-from-sqlite.mjs', database, 'add', 'alice', 'secret', 'home/#')
  expect(await added.ended()).toBe(0)
  expect(added.printed).toContain('alice: home/#')
  const example = start('users-from-sqlite.mjs', database)
  const url = `mqtt://127.0.0.1:${await example.port('mqtt')}`

  for (const [username, password] of [['alice', 'wrong'], ['mallory', 'secret'], []]) {
    const wrong = connectAsync(url, { protocolVersion: 5, ...(username && { username, password }), reconnectPeriod: 0 }, false)
    await expect(wrong).rejects.toMatchObject({ code: 0x86 })
  }
  const alice = await MqttJs.connect(await example.port('mqtt'), { protocolVersion: 5, username: 'alice', password: 'secret' })
  const granted = await alice.client.subscribeAsync(['home/+', 'garden/+'], { qos: 1 }).catch(({ packet }) => packet.granted)
  expect(granted).toEqual([1, 0x87])
  await alice.client.publishAsync('home/light', 'on', { qos: 1 })
  expect(await alice.next()).toMatchObject({ topic: 'home/light', text: 'on' })
  await expect(alice.client.publishAsync('garden/gate', 'open', { qos: 1 })).rejects.toMatchObject({ code: 0x87 })
  await alice.client.endAsync()
}, 60_000)

test('binary payloads of sensors become JSON', async () => {
  const example = start('binary-payloads.mjs')
  const reader = await MqttJs.connect(await example.port('mqtt'), { protocolVersion: 5 })
  await reader.client.subscribeAsync('#')

  // The line of bash in the example.
  const text = readFileSync(fileURLToPath(new URL('../../examples/binary-payloads.mjs', import.meta.url)), 'utf8')
  const printf = /printf '([^']+)'/.exec(text)![1]!
  const sensor = await RawSensor.open(await example.port('udp'))
  const bytes = printf.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  sensor.sendHex(Buffer.from(bytes, 'latin1').toString('hex'))
  const json = '{"temperature":21.5,"humidity":40,"battery":3.1}'
  expect(await reader.next()).toMatchObject({
    topic: 'r1',
    text: json,
    properties: { contentType: 'application/json', payloadFormatIndicator: true },
  })
  await example.line(new RegExp(`^r1 ${json}$`))

  // A reading that is none is refused, and other topics pass.
  await sensor.ask('connect, keep alive 60 s, clean session')
  sensor.sendHex('09 0c 22 7231 0001 6869')
  expect(await sensor.next()).toBe('070d7231000103')
  sensor.say('publish hi on the short topic ab, QoS -1')
  expect(await reader.next()).toMatchObject({ topic: 'ab', text: 'hi' })
  sensor.close()
  await reader.client.endAsync()
}, 30_000)

test('a log of who connects, sleeps, wakes and is lost', async () => {
  const example = start('presence-logger.mjs')
  const mqtt = await MqttJs.connect(await example.port('mqtt'), { clientId: 'pump' })
  await example.line(/"client":"mqtt:pump","state":"connected"}$/)
  mqtt.client.stream.destroy()
  await example.line(/"client":"mqtt:pump","state":"lost","was":"connected","seconds":\d+,"reason":".+"}$/)

  const sensor = await RawSensor.open(await example.port('udp'))
  await sensor.ask('connect, keep alive 60 s, clean session')
  await example.line(/"client":"sn:s1","state":"connected"}$/)
  await sensor.ask('sleep 600 s')
  await example.line(/"client":"sn:s1","state":"asleep","was":"connected","seconds":\d+,"sleeps":600}$/)
  await sensor.ask('wake')
  await example.line(/"client":"sn:s1","state":"awake","was":"asleep","seconds":\d+}$/)
  await sensor.ask('goodbye')
  await example.line(/"client":"sn:s1","state":"disconnected","was":"(awake|asleep)"/)
  sensor.close()
}, 30_000)

interface Posted {
  readonly topic: string
  readonly text: string
  readonly type: string | undefined
  readonly answer: (status: number) => void
}

test('a bridge to HTTP takes the next message once the server has answered, and repeats what has failed, after a restart too', async () => {
  const posts: Posted[] = []
  let wake = (): void => {}
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const topic = decodeURIComponent(String(request.headers['x-mqtt-topic']))
    const answer = (status: number): void => void response.writeHead(status).end()
    posts.push({ topic, text: Buffer.concat(chunks).toString(), type: request.headers['content-type'], answer })
    wake()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const next = async (): Promise<Posted> => {
    while (posts.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    return posts.shift()!
  }

  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/readings`
  const bridge = (): RunningExample => start('http-bridge.mjs', url, 'site/#', join(dir, 'bridge'))
  const example = bridge()
  const client = await connectAsync(`mqtt://127.0.0.1:${await example.port('mqtt')}`, { protocolVersion: 5 })
  const properties = { contentType: 'text/plain' }
  await client.publishAsync('site/a', '1', { qos: 1, properties })
  await client.publishAsync('site/ü', '2', { qos: 1 })
  await client.publishAsync('site/c', '3', { qos: 1 })

  const first = await next()
  expect(first).toMatchObject({ topic: 'site/a', text: '1', type: 'text/plain' })
  first.answer(503)
  await example.line(/^site\/a: HTTP 503, again in 100 ms$/)
  const again = await next()
  expect(again).toMatchObject({ topic: 'site/a', text: '1' })
  // Nothing else comes before its answer.
  expect(posts).toEqual([])
  again.answer(204)
  const second = await next()
  expect(second).toMatchObject({ topic: 'site/ü', text: '2', type: 'application/octet-stream' })
  second.answer(400)
  await example.line(/^site\/ü: the server refuses it, HTTP 400$/)
  const third = await next()
  expect(third.text).toBe('3')
  third.answer(200)
  await client.publishAsync('site/d', '4', { qos: 1 })
  await client.publishAsync('site/e', '5', { qos: 1 })
  const fourth = await next()
  fourth.answer(500)
  await example.line(/^site\/d: HTTP 500/)
  // It ends although the server has not taken this one, which comes again after the next start.
  expect(await example.end()).toBe(0)
  expect(example.printed).not.toContain('has failed')
  await client.endAsync(true)
  posts.splice(0)
  bridge()
  for (const text of ['4', '5']) {
    const kept = await next()
    expect(kept.text).toBe(text)
    kept.answer(200)
  }
  server.close()
  server.closeAllConnections()
}, 30_000)

test('every example is in the list, and run here or by vitest', () => {
  const folder = fileURLToPath(new URL('../../examples/', import.meta.url))
  const files = readdirSync(folder).filter((name) => name !== 'README.md')
  const listed = readFileSync(join(folder, 'README.md'), 'utf8').matchAll(/^\| \[([^\]]+)\]\(\1\)/gm)
  expect(Array.from(listed, ([, name]) => name).toSorted()).toEqual(files.toSorted())
  const self = readFileSync(fileURLToPath(import.meta.url), 'utf8')
  const programs = files.filter((each) => each.endsWith('.mjs') && !each.endsWith('.test.mjs'))
  for (const name of programs) expect(self).toContain(`start('${name}'`)
  expect(files.filter((each) => !each.endsWith('.mjs'))).toEqual(['sensor.c']) // sensor-c.test.ts
  expect(existsSync(join(folder, 'broker.test.mjs'))).toBe(true)
})
