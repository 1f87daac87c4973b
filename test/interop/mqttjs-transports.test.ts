import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IClientOptions } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Certificates } from './certificates.ts'
import { MqttJs } from './mqttjs.ts'
import { StartedProcess } from './started-process.ts'

let certificates: Certificates
let roost: StartedProcess
const clients: MqttJs[] = []

beforeAll(async () => {
  certificates = new Certificates()
  const tls = 'certfile: server.crt, keyfile: server.key, cafile: ca.crt, require_certificate: required'
  const config = join(certificates.directory, 'roost.yaml')
  writeFileSync(
    config,
    `memory: true
listeners:
  - {name: mqtt, port: 0}
  - {name: mqtts, port: 0, ${tls}}
  - {name: ws, port: 0, protocol: websockets, websockets_path: /mqtt}
  - {name: wss, port: 0, protocol: websockets, ${tls}}
`,
  )
  roost = await StartedProcess.startWith('--config', config)
})
afterAll(async () => {
  await roost.stop()
  certificates.remove()
})
afterEach(async () => {
  for (const { client } of clients.splice(0)) await client.endAsync(true)
})

const SCHEMES = ['mqtt', 'mqtts', 'ws', 'wss'] as const
const versions = [3, 4, 5] as const

const connect = async (scheme: (typeof SCHEMES)[number], options: IClientOptions): Promise<MqttJs> => {
  const read = (name: Parameters<Certificates['path']>[0]): Buffer => readFileSync(certificates.path(name))
  const secure = scheme.endsWith('s') && scheme !== 'ws'
  const tls = secure ? { ca: read('ca.crt'), cert: read('client.crt'), key: read('client.key') } : {}
  const path = scheme === 'ws' ? { path: '/mqtt' } : {}
  const version = options.protocolVersion === 3 ? { protocolId: 'MQIsdp' as const } : {}
  const js = await MqttJs.connect(roost.ports.get(scheme)!, { protocol: scheme, ...tls, ...path, ...version, ...options })
  clients.push(js)
  return js
}

describe.each(SCHEMES)('MQTT.js over %s', (scheme) => {
  test.each(versions)(
    'protocol version %i: every QoS in order, a large payload, a retained message, a will',
    async (protocolVersion) => {
      const js = await connect(scheme, { protocolVersion })
      const base = `${scheme}/${protocolVersion}`
      await js.client.subscribeAsync(`${base}/#`, { qos: 2 })
      const sent = ([0, 1, 2] as const).flatMap((qos) => Array.from({ length: 20 }, (_, i) => ({ qos, text: `${qos}-${i}` })))
      await Promise.all(sent.map(({ qos, text }) => js.client.publishAsync(`${base}/q${qos}`, text, { qos })))
      const got = []
      for (const _ of sent) got.push(await js.next())
      for (const qos of [0, 1, 2])
        expect(got.filter((one) => one.qos === qos).map(({ text }) => text)).toEqual(
          Array.from({ length: 20 }, (_, i) => `${qos}-${i}`),
        )
      // Larger than a WebSocket frame's short length, a TLS record and what a socket takes at once.
      const large = 'x'.repeat(900_000)
      await js.client.publishAsync(`${base}/large`, large, { qos: 1 })
      expect((await js.next()).text).toBe(large)
      await js.client.publishAsync(`${base}/kept`, 'state', { qos: 1, retain: true })
      expect(await js.next()).toMatchObject({ text: 'state', retain: false })
      const will = { topic: `${base}/will`, payload: Buffer.from('gone'), qos: 1, retain: false } as const
      const mortal = await connect(scheme, { protocolVersion, will })
      await mortal.client.subscribeAsync(`${base}/kept`)
      expect(await mortal.next()).toMatchObject({ text: 'state', retain: true })
      mortal.client.stream.destroy()
      expect((await js.next()).text).toBe('gone')
    },
  )

  test('MQTT 5: a session that lasts over a reconnect, properties, request and response', async () => {
    const lasting: IClientOptions = {
      protocolVersion: 5,
      clientId: `${scheme}-lasting`,
      clean: false,
      properties: { sessionExpiryInterval: 60 },
    }
    const first = await connect(scheme, lasting)
    await first.client.subscribeAsync(`${scheme}/requests`, { qos: 1, properties: { subscriptionIdentifier: 7 } })
    first.client.stream.destroy()
    const asker = await connect(scheme, { protocolVersion: 5, properties: { topicAliasMaximum: 10 } })
    await asker.client.subscribeAsync(`${scheme}/answers`)
    const properties = {
      responseTopic: `${scheme}/answers`,
      correlationData: Buffer.from([0, 255]),
      userProperties: { a: ['1', '2'] },
    }
    await asker.client.publishAsync(`${scheme}/requests`, 'which?', { qos: 1, properties })
    const again = await connect(scheme, lasting)
    const request = await again.next()
    expect(request).toMatchObject({ text: 'which?', properties: { ...properties, subscriptionIdentifier: 7 } })
    for (let i = 0; i < 3; i++) await again.client.publishAsync(properties.responseTopic, `this ${i}`)
    for (let i = 0; i < 3; i++) expect(await asker.next()).toMatchObject({ topic: `${scheme}/answers`, text: `this ${i}` })
  })
})
