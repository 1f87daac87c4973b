import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IClientOptions } from 'mqtt'
import { afterEach, describe, expect, test } from 'vitest'
import { MqttJs } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

async function start(...flags: string[]): Promise<StartedProcess> {
  const roost = await StartedProcess.start(...flags)
  cleanUp.push(() => roost.stop('SIGKILL'))
  return roost
}

async function connect(roost: StartedProcess, options: IClientOptions): Promise<MqttJs> {
  const js = await MqttJs.connect(roost.mqttPort, options)
  cleanUp.push(() => js.client.endAsync(true))
  return js
}

async function openSensor(roost: StartedProcess): Promise<RawSensor> {
  const sensor = await RawSensor.open(roost.snPort)
  cleanUp.push(() => sensor.close())
  return sensor
}

function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'roost-interop-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  return dir
}

describe('SIGTERM', () => {
  test('MQTT 5 clients get DISCONNECT 0x8B, 3.1.1 are closed, a sleeping sensor hears nothing and its will stays, exit code 0', async () => {
    const roost = await start('--memory')
    const five = await connect(roost, { protocolVersion: 5 })
    const four = await connect(roost, { protocolVersion: 4 })
    await five.client.subscribeAsync('will/#')
    const sensor = await openSensor(roost)
    expect(await sensor.ask('connect, keep alive 60 s, lasting session, with a will')).toBe('0206')
    expect(await sensor.ask('will topic will/s1')).toBe('0208')
    expect(await sensor.ask('will message gone')).toBe('030500')
    expect(await sensor.ask('sleep 600 s')).toBe('0218')
    const told = five.event('disconnect')
    const closed = Promise.all([five.event('close'), four.event('close')])
    expect(await roost.stop()).toBe(0)
    const [packet] = (await told) as [{ reasonCode: number }]
    expect(packet.reasonCode).toBe(0x8b)
    await closed
    expect(five.unread).toEqual([])
    expect(sensor.unread).toEqual([])
    expect(roost.log.at(-1)).toBe('stopped')
  })

  test('the will of an MQTT client is published before the others are told', async () => {
    const roost = await start('--memory')
    const watcher = await connect(roost, { protocolVersion: 5 })
    await watcher.client.subscribeAsync('will', { qos: 1 })
    await connect(roost, {
      protocolVersion: 4,
      will: { topic: 'will', payload: Buffer.from('server went'), qos: 1, retain: false },
    })
    expect(await roost.stop()).toBe(0)
    expect((await watcher.next()).text).toBe('server went')
  })
})

describe.each(['SIGTERM', 'SIGKILL'] as const)('after %s and a start on the same --data-dir', (signal) => {
  test('what was acknowledged is there: session, queue, retained message, topic ids, sleep', async () => {
    const dir = temporaryDirectory()
    const lasting: IClientOptions = {
      protocolVersion: 5,
      clientId: 'lasting',
      clean: false,
      properties: { sessionExpiryInterval: 3600 },
    }
    const before = await start('--data-dir', dir)
    const reader = await connect(before, lasting)
    await reader.client.subscribeAsync('queue', { qos: 2 })
    await reader.client.endAsync(true)
    const sensor = await openSensor(before)
    expect(await sensor.ask('connect, keep alive 60 s, lasting session')).toBe('030500')
    expect(await sensor.ask('register sensors/s1')).toBe('070b0401000100')
    expect(await sensor.ask('subscribe commands/s1, QoS 1')).toBe('0813200402000500')
    expect(await sensor.ask('sleep 600 s')).toBe('0218')
    const { client: writer } = await connect(before, { protocolVersion: 4 })
    await writer.publishAsync('queue', 'one', { qos: 1 })
    await writer.publishAsync('queue', 'two', { qos: 2 })
    await writer.publishAsync('kept', 'state', { qos: 1, retain: true })
    await writer.publishAsync('commands/s1', 'open', { qos: 1 })
    await before.stop(signal)

    const after = await start('--data-dir', dir)
    const again = await connect(after, lasting)
    expect((await again.next()).text).toBe('one')
    expect((await again.next()).text).toBe('two')
    await again.client.subscribeAsync('kept', { qos: 1 })
    expect((await again.next()).text).toBe('state')
    // The same sensor at another address, as after a change of its NAT binding.
    const moved = await openSensor(after)
    expect(await moved.ask('wake')).toBe('0b0c20040200406f70656e')
    moved.sendHex('070d0402004000')
    expect(await moved.next()).toBe('0217')
    expect(await moved.ask('connect, keep alive 60 s, lasting session')).toBe('030500')
    expect(await moved.ask('register sensors/s1')).toBe('070b0401000100')
  })

  test('a QoS 2 publish in the middle of its exchange is delivered once', async () => {
    const dir = temporaryDirectory()
    const before = await start('--data-dir', dir)
    const sensor = await openSensor(before)
    await sensor.ask('connect, keep alive 60 s, lasting session')
    await sensor.ask('register sensors/s1')
    expect(await sensor.ask('publish 21.7 on id 0401, QoS 2')).toBe('040f0003')
    await before.stop(signal)
    const after = await start('--data-dir', dir)
    const watcher = await connect(after, { protocolVersion: 4 })
    await watcher.client.subscribeAsync('sensors/#')
    const moved = await openSensor(after)
    expect(await moved.ask('connect, keep alive 60 s, lasting session')).toBe('030500')
    expect(await moved.ask('publish 21.7 on id 0401, QoS 2')).toBe('040f0003')
    expect(await moved.ask('release 3')).toBe('040e0003')
    await watcher.client.publishAsync('sensors/end', 'end', { qos: 1 })
    expect((await watcher.next()).text).toBe('end')
  })
})

test('a second process on the same --data-dir is refused', async () => {
  const dir = temporaryDirectory()
  await start('--data-dir', dir)
  await expect(StartedProcess.start('--data-dir', dir)).rejects.toThrow('ended with 2 before it listened')
})
