import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { say } from '../gateway/harness.ts'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { MqttJs } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

const CONFIG = `
types:
  temperature:
    topics: site/+/temperature
    content_type: application/json
    schema: temperature.json
  soil:
    topics: so
    layout:
      - { name: moisture, type: uint16, scale: 0.01 }
      - { name: valve, type: uint8, values: { 0: closed, 1: open } }
  loose:
    topics: loose
    schema: { type: number }
    invalid: mark
  strict:
    topics: strict
    schema: { type: number }
    invalid_mqtt3: close
`

let dir: string
const cleanUp: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-types-'))
  writeFileSync(join(dir, 'roost.yaml'), CONFIG)
  writeFileSync(join(dir, 'temperature.json'), '{ "type": "object", "required": ["value"] }')
})
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true })
})

async function start(): Promise<StartedProcess> {
  const roost = await StartedProcess.start('--config', join(dir, 'roost.yaml'), '--data-dir', join(dir, 'data'))
  cleanUp.push(() => roost.stop())
  return roost
}

describeWithMosquitto('with mosquitto_pub and mosquitto_sub', () => {
  test('what does not fit never arrives, and what follows does, whatever version and QoS', async () => {
    const { mqttPort } = await start()
    const sub = await MosquittoSub.start(mqttPort, '-V', '5', '-q', '2', '-t', '#', '-F', '%t %C %p')
    cleanUp.push(() => sub.stop())
    for (const version of ['311', '5'])
      for (const qos of ['0', '1', '2']) {
        const publish = (payload: string): Promise<void> =>
          mosquittoPub(mqttPort, '-V', version, '-q', qos, '-t', 'site/a/temperature', '-m', payload)
        await publish('{"temperature":25}')
        await publish('25')
        await publish(`{"value":${version}${qos}}`)
        expect(await sub.next()).toBe(`site/a/temperature application/json {"value":${version}${qos}}`)
      }
  })

  test('a mark reaches MQTT 5, and MQTT 3 gets the message alone', async () => {
    const { mqttPort } = await start()
    const marked = await MosquittoSub.start(mqttPort, '-V', '5', '-t', 'loose', '-F', '%p %P')
    const plain = await MosquittoSub.start(mqttPort, '-V', '311', '-t', 'loose', '-F', '%p')
    cleanUp.push(
      () => marked.stop(),
      () => plain.stop(),
    )
    await mosquittoPub(mqttPort, '-t', 'loose', '-m', 'x')
    expect(await marked.next()).toBe('x type-error:loose: is not valid JSON')
    expect(await plain.next()).toBe('x')
  })

  test('MQTT 3 is disconnected where that is configured', async () => {
    const roost = await start()
    await expect(mosquittoPub(roost.mqttPort, '-V', '311', '-q', '1', '-t', 'strict', '-m', 'x')).rejects.toThrow('ended with 7')
    expect(roost.log.some((line) => line.includes('not of type strict: is not valid JSON: strict: reason code 0x99'))).toBe(true)
  })
})

test('MQTT.js is told the reason code, and may go on', async () => {
  const { mqttPort } = await start()
  const js = await MqttJs.connect(mqttPort, { clientId: 'js', protocolVersion: 5 })
  cleanUp.push(() => js.client.endAsync(true))
  for (const qos of [1, 2] as const)
    await expect(js.client.publishAsync('site/a/temperature', '{}', { qos })).rejects.toThrow('Payload format invalid')
  await js.client.publishAsync('site/a/temperature', '{"value":1}', { qos: 1 })
})

test('a sensor is refused with "not supported", and its payload in the layout arrives, over a restart', async () => {
  let roost = await start()
  let js = await MqttJs.connect(roost.mqttPort, {
    clientId: 'js',
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 60 },
  })
  await js.client.subscribeAsync('so', { qos: 1 })
  await js.client.endAsync()
  const sensor = await RawSensor.open(roost.snPort)
  cleanUp.push(() => sensor.close())
  sensor.send(say.connect('s'))
  await sensor.next()
  const publish = async (hex: string, qos: 1 | 2, msgId: number): Promise<unknown> => {
    // `so` is a short topic name.
    sensor.send({ ...say.publish(0x736f, '', qos, msgId, 'short'), data: Buffer.from(hex, 'hex') })
    return sensor.hear()
  }
  expect(await publish('0a0002', 1, 1)).toMatchObject({ returnCode: 3, msgId: 1 })
  expect(await publish('0a00', 2, 2)).toMatchObject({ returnCode: 3, msgId: 2 })
  expect(await publish('0a0001', 1, 3)).toMatchObject({ returnCode: 0, msgId: 3 })
  await roost.stop()
  roost = await start()
  js = await MqttJs.connect(roost.mqttPort, {
    clientId: 'js',
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 60 },
  })
  cleanUp.push(() => js.client.endAsync(true))
  expect(Buffer.from((await js.next()).text, 'latin1')).toEqual(Buffer.from('0a0001', 'hex'))
  expect(js.unread).toEqual([])
})
