import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Message } from '../../src/mqttsn/messages.ts'
import { say } from '../gateway/harness.ts'
import { MqttJs } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

let dir: string
const cleanUp: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-presence-'))
})
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true })
})

async function start(): Promise<StartedProcess> {
  const roost = await StartedProcess.start('--data-dir', join(dir, 'data'), '--home-assistant-discovery', 'homeassistant')
  cleanUp.push(() => roost.stop())
  return roost
}

async function sensorAt(roost: StartedProcess): Promise<(message: Message) => Promise<string>> {
  const sensor = await RawSensor.open(roost.snPort)
  cleanUp.push(() => sensor.close())
  return (message) => {
    sensor.send(message)
    return sensor.next()
  }
}

async function client(roost: StartedProcess, ...filters: string[]): Promise<MqttJs> {
  const js = await MqttJs.connect(roost.mqttPort, { clientId: 'home-assistant' })
  cleanUp.push(() => js.client.endAsync(true))
  for (const filter of filters) await js.client.subscribeAsync(filter)
  return js
}

test('an MQTT client sees a sensor connect, sleep and end, as Home Assistant does, and finds it after a restart', async () => {
  const before = Date.now()
  let roost = await start()
  let home = await client(roost, 'homeassistant/+/+/config', 'roost/sensors/#')
  const ask = await sensorAt(roost)
  await ask(say.connect('kitchen/1', { clean: false }))
  const config = await home.next()
  expect(config.topic).toMatch(/^homeassistant\/device\/roost_kitchen_1_[0-9a-f]{8}\/config$/)
  expect(JSON.parse(config.text)).toMatchObject({ device: { name: 'kitchen/1' }, state_topic: 'roost/sensors/kitchen%2F1' })
  const active = JSON.parse((await home.next()).text)
  expect(active).toMatchObject({ client_id: 'kitchen/1', state: 'active', waiting_messages: 0 })
  for (const time of [active.since, active.last_heard]) {
    expect(Date.parse(time)).toBeGreaterThanOrEqual(before - 1000)
    expect(Date.parse(time)).toBeLessThanOrEqual(Date.now())
  }
  await ask(say.disconnect(3600))
  const asleep = JSON.parse((await home.next()).text)
  expect(asleep).toMatchObject({ state: 'asleep', sleep_seconds: 3600 })
  expect(Date.parse(asleep.next_wake) - Date.parse(asleep.since)).toBe(3_600_000)
  await roost.stop()
  roost = await start()
  home = await client(roost, 'homeassistant/+/+/config', config.topic.replace(/\/config$/, '/+'), 'roost/sensors/+')
  expect(await home.next()).toMatchObject({ topic: config.topic, text: config.text, retain: true })
  expect(await home.next()).toMatchObject({ topic: config.topic, text: config.text, retain: true })
  const found = await home.next()
  const { since, last_heard: heard, next_wake: wake, ...rest } = JSON.parse(found.text)
  expect([found.retain, rest]).toEqual([true, { ...asleep, since: undefined, last_heard: undefined, next_wake: undefined }])
  // Whole seconds, of a clock that was read again.
  for (const [time, earlier] of [
    [since, asleep.since],
    [heard, asleep.last_heard],
    [wake, asleep.next_wake],
  ])
    expect(Math.abs(Date.parse(time) - Date.parse(earlier))).toBeLessThanOrEqual(1000)
})
