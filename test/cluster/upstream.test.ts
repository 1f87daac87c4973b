import { afterAll, beforeAll, expect, test } from 'vitest'
import { RoostEnd } from '../bridge/ends.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { RawSensor } from '../interop/raw-sensor.ts'
import type { Cluster } from './cluster.ts'
import { gatewayYaml, topicIdsOf } from './gateway-yaml.ts'
import { ScriptedSensor } from './scripted-sensor.ts'
import { UPSTREAMS } from './upstreams.ts'

/** Three nodes that were killed together take their time to serve anybody. */
const OUTAGE_MS = process.env.FULL === '1' ? 300_000 : 30_000
const ACCEPTED = 0
const CONGESTION = 1
const INVALID_TOPIC_ID = 2

for (const { name, describe, protocolVersion, start } of UPSTREAMS) {
  describe(`gateways in front of ${name}`, () => {
    let cluster: Cluster
    const gateways: RoostEnd[] = []
    let station: MqttJs
    const ends: (() => unknown)[] = []
    beforeAll(async () => {
      cluster = await start()
      ends.push(() => cluster.stop())
      for (const i of [0, 1]) gateways.push(await gateway(i))
      station = await MqttJs.connect(cluster.nodes.at(-1)!.port, { clientId: 'station', protocolVersion: cluster.version })
      ends.push(() => station.client.endAsync(true))
    }, 120_000)
    afterAll(async () => {
      for (const end of ends.splice(0).reverse()) await end()
    })

    async function gateway(i: number, ...lines: string[]): Promise<RoostEnd> {
      const ports = cluster.nodes.map(({ port }) => port)
      const yaml = gatewayYaml(ports, ['restart_timeout: 1 2', `protocol_version: ${protocolVersion}`, ...lines])
      const flags = ['--gateway-id', `${i + 1}`, '--gateway-topic-ids', topicIdsOf(i, 4), '--t-retry', '1']
      const started = await RoostEnd.start(yaml, ...flags)
      ends.push(() => started.stop())
      return started
    }

    async function sensor(clientId: string, at = gateways[0]!, options: object = {}): Promise<ScriptedSensor> {
      const opened = await ScriptedSensor.open(at.snPort, { clientId, ...options })
      ends.push(() => opened.close())
      return opened
    }

    const arrives = async (topic: string): Promise<string> => {
      for (;;) {
        const found = await station.next()
        if (found.topic === topic) return found.text
      }
    }

    test('messages of each QoS come through, both ways', async () => {
      await station.client.subscribeAsync('up/each/#', { qos: cluster.maximumQos })
      const one = await sensor('each')
      await one.connect()
      expect((await one.subscribe('down/each', 2)).returnCode).toBe(ACCEPTED)
      for (const qos of [1, 2] as const) {
        expect(await one.publish('up/each/a', `qos ${qos}`, qos)).toBe(ACCEPTED)
        expect(await arrives('up/each/a')).toBe(`qos ${qos}`)
      }
      one.sensor.act((client, now) => client.publish(now, 'up/each/a', Buffer.from('qos 0'), 0))
      expect(await arrives('up/each/a')).toBe('qos 0')
      for (const qos of [0, 1, 2] as const) {
        if (qos > cluster.maximumQos) continue
        await station.client.publishAsync('down/each', `qos ${qos}`, { qos })
        await one.until('message')
      }
      expect(one.messages).toEqual(['down/each qos 0', 'down/each qos 1', 'down/each qos 2'].slice(0, cluster.maximumQos + 1))
      // Once: what comes again would have come before the answer to this.
      expect(await one.publish('up/each/a', 'last', 1)).toBe(ACCEPTED)
      expect(await arrives('up/each/a')).toBe('last')
      expect(one.messages).toHaveLength(cluster.maximumQos + 1)
    })

    test.for(['keep', 'park'])('a sensor that sleeps gets all that waits before PINGRESP: %s', async (sleepers) => {
      const at = await gateway(2, `sleepers: ${sleepers}`)
      const one = await sensor(`sleeper-${sleepers}`, at)
      await one.connect()
      await one.subscribe(`down/${sleepers}`, 1)
      await one.sleep()
      const texts = ['1', '2', '3', '4', '5']
      for (const text of texts) await station.client.publishAsync(`down/${sleepers}`, text, { qos: 1 })
      expect(await one.wake()).toEqual(texts.map((text) => `down/${sleepers} ${text}`))
      expect(await one.wake()).toEqual([])
      await station.client.publishAsync(`down/${sleepers}`, 'again', { qos: 1 })
      // A parked session is dialled first, and a slow cluster may begin later than the quiet time: then it is the next wake.
      while (one.messages.length === texts.length) await one.wake()
      expect(one.messages.slice(texts.length)).toEqual([`down/${sleepers} again`])
      await at.stop()
    })

    test('a sensor continues at another gateway, with its session and with topic ids of that gateway', async () => {
      await station.client.subscribeAsync('up/roamer', { qos: 1 })
      const here = await sensor('roamer')
      await here.connect()
      await here.subscribe('down/roamer', 1)
      await here.publish('up/roamer', 'here', 1)
      expect(await arrives('up/roamer')).toBe('here')
      const foreign = here.sensor.client.topicId('up/roamer')!
      await here.sleep()
      await station.client.publishAsync('down/roamer', 'while it roams', { qos: 1 })
      const there = await RawSensor.open(gateways[1]!.snPort)
      ends.push(() => there.close())
      there.send({ type: 0x04, will: false, cleanSession: false, protocolId: 1, duration: 600, clientId: 'roamer' })
      expect(await there.hear()).toMatchObject({ type: 0x05, returnCode: ACCEPTED })
      // The gateway has to say which topic it is, by an id of its own.
      const register = await there.hear()
      expect(register).toMatchObject({ type: 0x0a, topicName: 'down/roamer' })
      const { topicId, msgId } = register as { topicId: number; msgId: number }
      expect(topicId).not.toBe(foreign)
      there.send({ type: 0x0b, topicId, msgId, returnCode: ACCEPTED })
      const publish = await there.hear()
      expect(publish).toMatchObject({ type: 0x0c, topicId, qos: 1, data: Buffer.from('while it roams') })
      there.send({ type: 0x0d, topicId, msgId: (publish as { msgId: number }).msgId, returnCode: ACCEPTED })
      const data = Buffer.from('astray')
      there.send({ type: 0x0c, dup: false, qos: 1, retain: false, topicIdType: 'normal', topicId: foreign, msgId: 77, data })
      expect(await there.hear()).toMatchObject({ type: 0x0d, msgId: 77, returnCode: INVALID_TOPIC_ID })
      // Back at the first gateway, which has been told to forget it, or finds out.
      await here.connect()
      expect(await here.publish('up/roamer', 'back', 1)).toBe(ACCEPTED)
      expect(await arrives('up/roamer')).toBe('back')
    })

    test('a gateway that is killed and comes back fires no will, and goes on', async () => {
      await station.client.subscribeAsync('wills/#', { qos: 1 })
      const will = { topic: 'wills/one', message: Buffer.from('gone'), qos: 1 as const, retain: false }
      const at = gateways[1]!
      const one = await sensor('mortal', at, { will })
      const other = await sensor('sleeping-mortal', at, { will: { ...will, topic: 'wills/two' } })
      await one.connect()
      await other.connect()
      await one.subscribe('down/mortal', 1)
      await other.subscribe('down/sleeping', 1)
      await other.sleep()
      await at.kill()
      await station.client.publishAsync('down/mortal', 'meanwhile', { qos: 1 })
      await station.client.publishAsync('down/sleeping', 'meanwhile', { qos: 1 })
      await at.restart()
      // NATS keeps a client away for a second whose connections follow each other fast.
      while ((await one.publish('wills/not', 'alive', 1)) !== ACCEPTED) {}
      while (other.messages.length === 0) await other.wake()
      expect(other.messages).toEqual(['down/sleeping meanwhile'])
      if (one.messages.length === 0) await one.until('message')
      expect(one.messages).toEqual(['down/mortal meanwhile'])
      // The first thing that is heard below wills/ is no will.
      expect(await arrives('wills/not')).toBe('alive')
      expect(station.unread.filter(({ topic }) => topic.startsWith('wills/'))).toEqual([])
      await one.until('disconnected', (client, now) => client.disconnect(now))
    })

    test('in an outage who is awake is told congestion, sleepers sleep on, and nobody is dropped', {
      timeout: OUTAGE_MS,
    }, async () => {
      await station.client.subscribeAsync('up/patient', { qos: 1 })
      const awake = await sensor('patient')
      const asleep = await sensor('patient-sleeper')
      await awake.connect()
      await awake.publish('up/patient', 'before', 1)
      expect(await arrives('up/patient')).toBe('before')
      await asleep.connect()
      await asleep.subscribe('down/patient', 1)
      await asleep.sleep()
      await Promise.all(cluster.nodes.map((node) => node.kill()))
      const codes = new Set<number>()
      while (!codes.has(CONGESTION)) codes.add(await awake.publish('up/patient', 'into the void', 1))
      expect(await asleep.wake()).toEqual([])
      const newcomer = await sensor('newcomer')
      expect(await newcomer.until('refused', (client, now) => client.connect(now))).toMatchObject({ returnCode: CONGESTION })
      for (const node of cluster.nodes.slice(0, -1)) void node.restart().catch(() => {})
      await cluster.nodes.at(-1)!.restart()
      const again = await MqttJs.connect(cluster.nodes.at(-1)!.port, { clientId: 'again', protocolVersion: cluster.version })
      ends.push(() => again.client.endAsync(true))
      await again.client.subscribeAsync('up/patient', { qos: 1 })
      await again.client.publishAsync('down/patient', 'after', { qos: 1 })
      while ((await awake.publish('up/patient', 'after', 1)) !== ACCEPTED) {}
      for (let text = ''; text !== 'after'; ) text = (await again.next()).text
      while (asleep.messages.length === 0) await asleep.wake()
      expect(asleep.messages).toEqual(['down/patient after'])
      expect(new Set([...awake.events, ...asleep.events])).not.toContain('disconnected')
    })
  })
}
