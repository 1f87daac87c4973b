import { once } from 'node:events'
import { connect as openTcp } from 'node:net'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

let roost: StartedProcess
beforeAll(async () => {
  roost = await StartedProcess.start('--memory')
})
afterAll(() => roost.stop())

const CONNECT_4 = '100d00044d5154540402000000016e'
const CONNECT_5 = '100e00044d51545405020000000001' + '6e'

/** Sends hex over TCP; gives what came back until the server ended the connection. */
async function answerTo(hex: string): Promise<string> {
  const socket = openTcp({ port: roost.mqttPort, host: '127.0.0.1' })
  socket.on('error', () => {})
  const received: Buffer[] = []
  socket.on('data', (bytes) => received.push(bytes))
  socket.write(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  await once(socket, 'close')
  return Buffer.concat(received).toString('hex')
}

describe('bad bytes on the TCP port: the peer is answered as the specification says, and closed', () => {
  test.each([
    ['HTTP', '474554202f20485454502f312e310d0a0d0a', /^$/],
    ['nothing but 0xff', 'ff'.repeat(100), /^$/],
    ['a first packet that is not CONNECT (MQTT-3.1.0-1)', '3003000161', /^$/],
    ['a first packet of 256 MB that is not CONNECT', '30ffffff7f', /^$/],
    ['a CONNECT of 256 MB', '10ffffff7f', /^$/],
    ['a length of five bytes', '10ffffffff01', /^$/],
    ['an unknown protocol name (3.1.1 MQTT-3.1.2-1)', '100d00044d51515404020000000161', /^$/],
    ['protocol level 9 (3.1.1 MQTT-3.1.2-2)', '100d00044d51545409020000000161', /^2003000?84|^20020001$/],
    ['a reserved CONNECT flag in 3.1.1 (MQTT-3.1.2-3)', '100d00044d51545404030000000161', /^$/],
    ['a reserved CONNECT flag in 5.0 (MQTT-3.1.2-3)', '100e00044d5154540503000000000161', /^20..0081/],
    ['no client id and no clean session in 3.1.1 (MQTT-3.1.3-8)', '100c00044d5154540400000000 00', /^20020002$/],
    ['second CONNECT in 3.1.1 (MQTT-3.1.0-2)', CONNECT_4 + CONNECT_4, /^20020000$/],
    ['second CONNECT in 5.0 (MQTT-3.1.0-2)', CONNECT_5 + CONNECT_5, /^20.*e0..82/],
    ['QoS 3 in 5.0 (MQTT-3.3.1-4)', `${CONNECT_5}36060001610001 00`, /^20.*e0..81/],
    ['wildcard in a topic name in 5.0 (MQTT-3.3.2-2)', `${CONNECT_5}300400012300`, /^20.*e0..90/],
    ['packet id 0 in 5.0 (MQTT-2.2.1-3)', `${CONNECT_5}320600016100 0000`, /^20.*e0..82/],
    ['SUBSCRIBE flags in 3.1.1 (MQTT-3.8.1-1)', `${CONNECT_4}8006000100016100`, /^20020000$/],
    ['SUBSCRIBE without a filter in 5.0 (MQTT-3.8.3-2)', `${CONNECT_5}8203000100`, /^20.*e0..82/],
    ['ill-formed UTF-8 in a topic in 5.0 (MQTT-1.5.4-1)', `${CONNECT_5}30050002c3280 0`, /^20.*e0..81/],
    ['a packet above max_packet_size in 5.0', `${CONNECT_5}30ffffff7f`, /^20.*e0..95/],
    ['CONNACK from a client in 5.0', `${CONNECT_5}2003000000`, /^20.*e0..82/],
  ])('%s', async (_title, hex, answer) => {
    expect(await answerTo(hex)).toMatch(answer)
  })
})

test('bad datagrams are ignored, malformed ones without an answer', async () => {
  const sensor = await RawSensor.open(roost.snPort)
  for (const hex of ['', '00', '01', '0100', '02ff', '0304', 'ffff', '04fe0001', '0c04', '070c030001000041', 'fe'.repeat(200)])
    sensor.sendHex(hex)
  sensor.sendHex('04100001')
  // Of all that, only a PUBREL made sense, and nobody knows its sender.
  expect(await sensor.next()).toBe('0218')
  sensor.close()
})

test('the process lives on, and serves the next client', async () => {
  const client = await connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, { reconnectPeriod: 0 })
  await client.publishAsync('a', 'b', { qos: 2 })
  await client.endAsync()
  const sensor = await RawSensor.open(roost.snPort)
  expect(await sensor.ask('connect, keep alive 60 s, clean session')).toBe('030500')
  sensor.close()
  expect(roost.isRunning).toBe(true)
})
