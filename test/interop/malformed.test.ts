import { once } from 'node:events'
import { connect as openTcp } from 'node:net'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectHex, expectedAnswer, type MalformedCase, malformedCases } from '../../fuzz/malformed/mqtt.ts'
import { malformedDatagrams } from '../../fuzz/malformed/mqttsn.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

let roost: StartedProcess
beforeAll(async () => {
  roost = await StartedProcess.start('--memory', '--sys-interval', '1')
})
afterAll(() => roost.stop())

/** Connections open at once, and datagrams on their way before an answer shows that they have arrived. */
const AT_ONCE = 100

/** What comes back after CONNACK, if there was to be one, until the server ends the connection. */
async function answerTo({ version, after, hex }: MalformedCase, clientId: string): Promise<string> {
  const socket = openTcp({ port: roost.mqttPort, host: '127.0.0.1' })
  socket.on('error', () => {})
  let end = 'close'
  socket.setTimeout(10_000, () => {
    end = 'and stays open'
    socket.destroy()
  })
  const received: Buffer[] = []
  socket.on('data', (bytes) => received.push(bytes))
  socket.write(Buffer.from((after === 'connect' ? connectHex(version, clientId) : '') + hex, 'hex'))
  await once(socket, 'close')
  const all = Buffer.concat(received).toString('hex')
  const connack = after === 'connect' ? 4 + Number.parseInt(all.slice(2, 4), 16) * 2 : 0
  return `${all.slice(connack)} ${end}`.trim()
}

test('every malformed packet is answered over TCP as in the core', { timeout: 60_000 }, async () => {
  const cases = malformedCases()
  const wrong: string[] = []
  for (let from = 0; from < cases.length; from += AT_ONCE) {
    await Promise.all(
      cases.slice(from, from + AT_ONCE).map(async (one, i) => {
        const got = await answerTo(one, `m${from + i}`)
        if (!expectedAnswer(one).test(got)) wrong.push(`${one.title}: wanted ${expectedAnswer(one).source}, got ${got}`)
      }),
    )
  }
  expect(wrong).toEqual([])
})

test('no malformed datagram is answered over UDP, and each is counted', { timeout: 60_000 }, async () => {
  const datagrams = malformedDatagrams()
  const sensor = await RawSensor.open(roost.snPort)
  expect(await sensor.ask('connect, keep alive 60 s, clean session')).toBe('030500')
  for (const [i, { hex }] of datagrams.entries()) {
    sensor.sendHex(hex)
    if (i % AT_ONCE === 0) expect(await sensor.ask('ping')).toBe('0217')
  }
  expect(await sensor.ask('ping')).toBe('0217')
  expect(sensor.unread).toEqual([])
  sensor.close()
  const client = await connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, { reconnectPeriod: 0 })
  const counted = new Promise<void>((resolve) => {
    client.on('message', (_topic, payload) => payload.toString() === String(datagrams.length) && resolve())
  })
  await client.subscribeAsync('$SYS/broker/roost/notices/malformed-datagram')
  await counted
  await client.endAsync()
})
