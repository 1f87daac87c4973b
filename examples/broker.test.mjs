// A test with a broker of its own: how to test a program that speaks MQTT. Each test starts a broker on free ports, which takes
// about 20 ms, and looks at what the program does from the inside.
//
//   npm install --save-dev vitest mqtt ./roost-mqtt-*.tgz
//   npx vitest run broker.test.mjs

import { connectAsync } from 'mqtt'
import { start } from 'roost-mqtt'
import { afterEach, beforeEach, expect, test } from 'vitest'

/** The program that is tested: a thermostat, which switches a heater when the temperature changes. */
async function thermostat(url) {
  const client = await connectAsync(url, { clientId: 'thermostat', reconnectPeriod: 20, clean: false })
  client.on('message', (_topic, payload) => client.publish('home/heater', Number(payload) < 20 ? 'on' : 'off', { qos: 1 }))
  await client.subscribeAsync('home/temperature', { qos: 1 })
  return client
}

let roost
let client
beforeEach(async () => {
  roost = await start({ port: 0, snPort: 0 })
  client = await thermostat(roost.urls.mqtt)
})
afterEach(async () => {
  await client.endAsync()
  await roost.stop()
})

test('it switches the heater on when it is cold, and off when it is warm', async () => {
  const heater = await roost.subscribe('home/heater')
  await roost.publish('home/temperature', '18.5', { qos: 1 })
  expect((await heater.next()).value.payload.toString()).toBe('on')
  await roost.publish('home/temperature', '21', { qos: 1 })
  expect((await heater.next()).value).toMatchObject({ topic: 'home/heater', payload: Buffer.from('off') })
})

test('what is published while its connection is broken reaches it afterwards', async () => {
  const heater = await roost.subscribe('home/heater')
  await roost.disconnect('thermostat')
  await roost.publish('home/temperature', '15', { qos: 1 })
  expect((await heater.next()).value.payload.toString()).toBe('on')
})
