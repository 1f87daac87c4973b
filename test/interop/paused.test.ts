import { afterEach, expect, test } from 'vitest'
import type { Packet } from '../../src/mqtt/packets.ts'
import { will } from '../broker/harness.ts'
import { PacketClient } from './packet-client.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

const CLIENTS = 20
const STOPPED_MS = 5000

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

const hex = (type: string, body: string): string => (body.length / 2 + 2).toString(16).padStart(2, '0') + type + body
const ascii = (text: string): string => Buffer.from(text).toString('hex')

/** Keep alive 2 s, with a will. */
async function connectSensor(roost: StartedProcess, id: string): Promise<RawSensor> {
  const sensor = await RawSensor.open(roost.snPort)
  cleanUp.push(() => sensor.close())
  sensor.sendHex(hex('04', `0c010002${ascii(id)}`))
  expect(await sensor.next()).toBe('0206')
  sensor.sendHex(hex('07', `00${ascii(`gone/${id}`)}`))
  expect(await sensor.next()).toBe('0208')
  sensor.sendHex(hex('09', ascii('bye')))
  expect(await sensor.next()).toBe('030500')
  return sensor
}

test('a process that was stopped for longer than any keep alive reads what waits in its sockets: nobody is lost, no will is published', async () => {
  const roost = await StartedProcess.start('--memory')
  cleanUp.push(() => roost.stop('SIGKILL'))
  const observer = PacketClient.to(roost.mqttPort)
  cleanUp.push(() => observer.close())
  await observer.connect()
  await observer.subscribe('#')
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async (_, i) => {
      const client = PacketClient.to(roost.mqttPort)
      cleanUp.push(() => client.close())
      expect(await client.connect({ clientId: `m${i}`, keepAlive: 1, will: will(`gone/m${i}`, 'bye') })).toBe(0)
      return client
    }),
  )
  const sensors = await Promise.all(Array.from({ length: CLIENTS }, (_, i) => connectSensor(roost, `s${i}`)))
  const pings = setInterval(() => {
    for (const client of clients) client.send({ type: 12 })
    for (const sensor of sensors) sensor.sendHex('0216')
  }, 500)
  cleanUp.push(() => clearInterval(pings))

  roost.child.kill('SIGSTOP')
  await new Promise((resume) => setTimeout(resume, STOPPED_MS))
  roost.child.kill('SIGCONT')
  await roost.logged(/process-paused/)
  // Each has had what it said answered, and is still there after its keep alive has passed again.
  await new Promise((resume) => setTimeout(resume, 4000))
  const publisher = PacketClient.to(roost.mqttPort)
  cleanUp.push(() => publisher.close())
  await publisher.connect({ clientId: 'publisher' })
  await publisher.publish('marker')
  const first = (await observer.next()) as Packet & { topic: string }
  expect(first.topic).toBe('marker')
  expect(roost.log.filter((line) => line.startsWith('client-lost'))).toEqual([])
}, 60_000)

test('one who has gone while the process was stopped is lost all the same', async () => {
  const roost = await StartedProcess.start('--memory')
  cleanUp.push(() => roost.stop('SIGKILL'))
  const sensor = await connectSensor(roost, 'silent')
  roost.child.kill('SIGSTOP')
  await new Promise((resume) => setTimeout(resume, STOPPED_MS))
  roost.child.kill('SIGCONT')
  await roost.logged(/client-lost sn:silent/)
  expect(sensor.unread).toEqual([])
}, 60_000)
