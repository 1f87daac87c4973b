import type { IClientOptions } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MqttJs } from './mqttjs.ts'
import { StartedProcess } from './started-process.ts'

let roost: StartedProcess
const clients: MqttJs[] = []

beforeAll(async () => {
  roost = await StartedProcess.start('--memory')
})
afterAll(() => roost.stop())
afterEach(async () => {
  for (const { client } of clients.splice(0)) await client.endAsync(true)
})

const connect = async (options: IClientOptions): Promise<MqttJs> => {
  const js = await MqttJs.connect(roost.mqttPort, options)
  clients.push(js)
  return js
}

describe.each([3, 4, 5] as const)('MQTT.js with protocol version %i', (protocolVersion) => {
  const base: IClientOptions = { protocolVersion, ...(protocolVersion === 3 && { protocolId: 'MQIsdp' }) }

  test('publishes and receives at every QoS, in order', async () => {
    const js = await connect(base)
    const { client } = js
    await client.subscribeAsync(`v${protocolVersion}/+`, { qos: 2 })
    for (const qos of [0, 1, 2] as const) {
      for (let i = 0; i < 10; i++) await client.publishAsync(`v${protocolVersion}/q${qos}`, `${i}`, { qos })
      for (let i = 0; i < 10; i++)
        expect(await js.next()).toMatchObject({ topic: `v${protocolVersion}/q${qos}`, text: `${i}`, qos })
    }
  })

  test('a payload of 100,000 bytes and one of none', async () => {
    const js = await connect(base)
    const { client } = js
    await client.subscribeAsync(`v${protocolVersion}/size`, { qos: 1 })
    const large = 'x'.repeat(100_000)
    await client.publishAsync(`v${protocolVersion}/size`, large, { qos: 1 })
    await client.publishAsync(`v${protocolVersion}/size`, '', { qos: 1 })
    expect((await js.next()).text).toBe(large)
    expect((await js.next()).text).toBe('')
  })

  test('a lasting session, a retained message and a will', async () => {
    const name = `v${protocolVersion}`
    const lasting: IClientOptions = { ...base, clientId: `lasting-${name}`, clean: false }
    if (protocolVersion === 5) lasting.properties = { sessionExpiryInterval: 3600 }
    const first = await connect(lasting)
    await first.client.subscribeAsync(`${name}/queue`, { qos: 2 })
    await first.client.endAsync(true)
    const will = { topic: `${name}/queue`, payload: Buffer.from('died'), qos: 2, retain: false } as const
    const { client: other } = await connect({ ...base, will })
    await other.publishAsync(`${name}/queue`, 'while away', { qos: 2 })
    await other.publishAsync(`${name}/kept`, 'state', { qos: 1, retain: true })
    other.stream.destroy()
    const again = await connect(lasting)
    expect((await again.next()).text).toBe('while away')
    expect((await again.next()).text).toBe('died')
    await again.client.subscribeAsync(`${name}/kept`, { qos: 1 })
    expect(await again.next()).toMatchObject({ text: 'state', retain: true, qos: 1 })
  })
})

describe('MQTT.js with MQTT 5', () => {
  test('properties travel, in order; subscription identifiers come back', async () => {
    const js = await connect({ protocolVersion: 5 })
    const { client } = js
    await client.subscribeAsync('props', { qos: 1, properties: { subscriptionIdentifier: 42 } })
    const properties = {
      contentType: 'text/plain',
      responseTopic: 'answers',
      correlationData: Buffer.from('id-1'),
      payloadFormatIndicator: true,
      messageExpiryInterval: 100,
      userProperties: { b: ['2', '3'], a: '1' },
    }
    await client.publishAsync('props', 'x', { qos: 1, properties })
    const { properties: got } = await js.next()
    expect(got).toMatchObject({ ...properties, subscriptionIdentifier: 42 })
  })

  test('a second client of the same name takes over; the first is told 0x8E', async () => {
    const first = await connect({ protocolVersion: 5, clientId: 'same' })
    const told = first.event('disconnect')
    await connect({ protocolVersion: 5, clientId: 'same' })
    const [packet] = (await told) as [{ reasonCode: number }]
    expect(packet.reasonCode).toBe(0x8e)
  })
})
