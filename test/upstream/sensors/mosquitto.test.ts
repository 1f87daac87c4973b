import { afterEach, expect, test } from 'vitest'
import { say } from '../../gateway/harness.ts'
import { MosquittoSub, mosquittoPub } from '../../interop/mosquitto.ts'
import { describeWithMosquittoBroker, MosquittoBroker } from '../../interop/mosquitto-broker.ts'
import { SENSORS } from './options.ts'
import { RealSensors } from './real-sensors.ts'

const ends: { stop: () => unknown }[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end.stop()
})

const ROUTE = '127.0.0.1:1'

async function hears(gateway: RealSensors, ...lines: string[]): Promise<void> {
  const heard: string[] = []
  await expect
    .poll(() => {
      heard.push(...gateway.sent(ROUTE))
      return heard
    })
    .toEqual(lines)
}

describeWithMosquittoBroker('sensors with sessions at Mosquitto', () => {
  test.each([5, 4, 'auto'] as const)('the day of a sensor, with version %s', async (version) => {
    const broker = await MosquittoBroker.start('allow_anonymous true')
    ends.push(broker)
    const gateway = new RealSensors([`mqtt://127.0.0.1:${broker.port}`], { targets: { ...SENSORS.targets, version } })
    ends.push(gateway)
    const sub = await MosquittoSub.start(broker.port, '-t', 'up/#', '-q', '2')
    ends.push(sub)
    gateway.send(ROUTE, say.connect('valve', { clean: false }))
    await hears(gateway, 'CONNACK')
    gateway.send(ROUTE, say.subscribe('down/#', 2))
    await hears(gateway, 'SUBACK 0000 #9 q2')
    gateway.send(ROUTE, say.register('up/a', 1))
    await hears(gateway, 'REGACK 0401 #1')
    gateway.send(ROUTE, say.publish(0x401, 'zero'), say.publish(0x401, 'one', 1, 2))
    await hears(gateway, 'PUBACK 0401 #2')
    gateway.send(ROUTE, say.publish(0x401, 'two', 2, 3))
    await hears(gateway, 'PUBREC #3')
    gateway.send(ROUTE, say.pubrel(3))
    await hears(gateway, 'PUBCOMP #3')
    for (const text of ['zero', 'one', 'two']) expect(await sub.next()).toBe(`up/a ${text}`)
    await mosquittoPub(broker.port, '-t', 'down/x', '-m', 'awake', '-q', '1')
    await hears(gateway, 'REGISTER 0402=down/x #2')
    gateway.send(ROUTE, say.regack(0x402, 2))
    await hears(gateway, 'PUBLISH 0402=awake #1 q1')
    gateway.send(ROUTE, say.puback(0x402, 1))
    gateway.send(ROUTE, say.disconnect(60))
    await hears(gateway, 'DISCONNECT')
    await mosquittoPub(broker.port, '-t', 'down/x', '-m', 'one', '-q', '1')
    await mosquittoPub(broker.port, '-t', 'down/x', '-m', 'two', '-q', '2')
    await new Promise((resolve) => setTimeout(resolve, 100))
    await hears(gateway)
    gateway.send(ROUTE, say.ping('valve'))
    await hears(gateway, 'PUBLISH 0402=one #2 q1')
    gateway.send(ROUTE, say.puback(0x402, 2))
    await hears(gateway, 'PUBLISH 0402=two #3 q2')
    gateway.send(ROUTE, say.pubrec(3))
    await hears(gateway, 'PUBREL #3')
    gateway.send(ROUTE, say.pubcomp(3))
    await hears(gateway, 'PINGRESP')
    expect(gateway.notices.filter(({ level }) => level === 'warn')).toEqual([])
  })
})
