import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { MqttJs } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

const CONFIG = `filters:
  - client: display-*
    topic: site/#
    filter: json.temperature > 25
  - topic: commands/#
    filter: string(payload) != "never"
`

let dir: string
let roost: StartedProcess
let sub: MosquittoSub | undefined
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-filters-'))
  writeFileSync(join(dir, 'roost.yaml'), CONFIG)
  roost = await start()
})
const start = (): Promise<StartedProcess> =>
  StartedProcess.start('--config', join(dir, 'roost.yaml'), '--data-dir', join(dir, 'data'))
afterEach(async () => {
  await sub?.stop()
  sub = undefined
})
afterAll(async () => {
  await roost.stop()
  rmSync(dir, { recursive: true })
})

const publish = async (topic: string, ...payloads: string[]): Promise<void> => {
  for (const payload of payloads) await mosquittoPub(roost.mqttPort, '-t', topic, '-m', payload, '-q', '1')
}

describeWithMosquitto('filters by content', () => {
  test('mosquitto_sub -D subscribe user-property filter', async () => {
    const condition = 'json.temperature > 25 && levels[1] == "kitchen"'
    sub = await MosquittoSub.start(
      roost.mqttPort,
      '-V',
      '5',
      '-t',
      'x/#',
      '-D',
      'subscribe',
      'user-property',
      'filter',
      condition,
    )
    await publish('x/kitchen', '{"temperature":20}', 'no JSON', '{"temperature":26}')
    await publish('x/cellar', '{"temperature":30}')
    await publish('x/kitchen', '{"temperature":27}')
    expect(await sub.next()).toBe('x/kitchen {"temperature":26}')
    expect(await sub.next()).toBe('x/kitchen {"temperature":27}')
  })

  test('an MQTT 3.1.1 client, by the configuration', async () => {
    sub = await MosquittoSub.start(roost.mqttPort, '-V', '311', '-i', 'display-1', '-t', 'site/+/t')
    await publish('site/a/t', '{"temperature":20}', '{"temperature":26}')
    expect(await sub.next()).toBe('site/a/t {"temperature":26}')
  })

  test('a sensor, by the configuration', async () => {
    const sensor = await RawSensor.open(roost.snPort)
    try {
      await sensor.ask('connect, keep alive 60 s, clean session')
      expect(await sensor.ask('subscribe commands/#, QoS 1')).toBe('0813200000000400')
      await publish('commands/s1', 'never', 'open')
      const register = await sensor.next()
      sensor.sendHex(`070b0401${register.slice(8, 12)}00`)
      expect(await sensor.next()).toBe('0b0c20040100016f70656e')
      sensor.sendHex('070d0401000100')
      await sensor.ask('goodbye')
    } finally {
      sensor.close()
    }
  })

  test('a restart keeps the condition of a session that is away, and a publisher learns that nobody wants its message', async () => {
    const session = {
      clientId: 'lasting',
      protocolVersion: 5,
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    } as const
    const before = await MqttJs.connect(roost.mqttPort, session)
    await before.client.subscribeAsync('y', {
      qos: 1,
      properties: { userProperties: { filter: 'json.n % 2.0 == 0.0 || json.n > 10' } },
    })
    await before.client.endAsync()
    await roost.stop('SIGKILL')
    roost = await start()
    const publisher = await MqttJs.connect(roost.mqttPort, { protocolVersion: 5 })
    const answers: unknown[] = []
    publisher.client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback') answers.push(packet.reasonCode)
    })
    for (const n of [5, 11]) await publisher.client.publishAsync('y', `{"n":${n}}`, { qos: 1 })
    expect(answers).toEqual([0x10, 0])
    const after = await MqttJs.connect(roost.mqttPort, session)
    expect(await after.next()).toMatchObject({ topic: 'y', text: '{"n":11}' })
    await after.client.endAsync()
    await publisher.client.endAsync()
  })
})

test('MQTT.js is told what is wrong with a condition', async () => {
  const js = await MqttJs.connect(roost.mqttPort, { protocolVersion: 5 })
  const granted = js.client.subscribeAsync('z', { qos: 1, properties: { userProperties: { filter: 'jsn.a > 1' } } })
  await expect(granted).rejects.toMatchObject({
    packet: { granted: [0x83], properties: { reasonString: expect.stringContaining('character 1: there is no variable jsn') } },
  })
  await roost.logged(/subscribe-refused.*character 1: there is no variable jsn \(did you mean json\?\)/)
  await js.client.endAsync()
})
