import { afterEach, expect, test } from 'vitest'
import { RoostEnd } from '../bridge/ends.ts'
import { describeWithMosquittoBroker } from '../interop/mosquitto-broker.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { gatewayYaml } from './gateway-yaml.ts'
import { MosquittoCluster } from './mosquitto-cluster.ts'
import { ScriptedSensor } from './scripted-sensor.ts'

const ends: { stop: () => unknown }[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end.stop()
})

describeWithMosquittoBroker('an operator of a gateway in front of Mosquitto', () => {
  test.each([5, 4] as const)(
    'disconnects sensors, and ends their sessions there: version %s',
    { timeout: 120_000 },
    async (version) => {
      const cluster = await MosquittoCluster.start(version)
      ends.push(cluster)
      const { port } = cluster.nodes[0]!
      // With MQTT 5 Mosquitto has wills, and publishes them after the delay even if the session ends.
      const lines = ['will_delay_interval: 1', `protocol_version: ${version === 5 ? 'mqttv50' : 'mqttv311'}`]
      const yaml = gatewayYaml([port], lines)
      const gateway = await RoostEnd.start(yaml, '--http', 'true', '--http-port', '0')
      ends.push(gateway)
      const api = `http://127.0.0.1:${gateway.process!.httpPort}/api/v1`
      const { csrf_token: token } = (await (await fetch(`${api}/session`)).json()) as { csrf_token: string }
      const ask = async (method: string, path: string): Promise<number> =>
        (await fetch(`${api}/clients/${path}`, { method, headers: { 'x-csrf-token': token } })).status
      const station = await MqttJs.connect(port, { clientId: 'station', protocolVersion: version })
      ends.push({ stop: () => station.client.endAsync(true) })
      await station.client.subscribeAsync('wills/#', { qos: 1 })
      const will = { topic: 'wills/active', message: Buffer.from('gone'), qos: 1 as const, retain: false }
      const sensor = async (clientId: string, options: object = {}): Promise<ScriptedSensor> => {
        const opened = await ScriptedSensor.open(gateway.snPort, { clientId, ...options })
        ends.push({ stop: () => opened.close() })
        await opened.connect()
        expect((await opened.subscribe(`down/${clientId}`, 1)).returnCode).toBe(0)
        return opened
      }
      const publish = (clientId: string, text: string) => station.client.publishAsync(`down/${clientId}`, text, { qos: 1 })
      /** Connects in place of the sensor: what its session had waiting, before a message to a new subscription. */
      const waitsFor = async (clientId: string): Promise<string[]> => {
        const options = { clean: false, properties: { sessionExpiryInterval: 600 } }
        const js = await MqttJs.connect(port, { clientId, protocolVersion: version, ...options })
        const texts: string[] = []
        await js.client.subscribeAsync('last', { qos: 1 })
        await station.client.publishAsync('last', 'last', { qos: 1 })
        for (let text = (await js.next()).text; text !== 'last'; text = (await js.next()).text) texts.push(text)
        await js.client.unsubscribeAsync('last')
        await js.client.endAsync(true)
        return texts
      }

      const active = await sensor('active', { will })
      const asleep = await sensor('asleep')
      await asleep.sleep()
      expect(await ask('POST', 'active/disconnect')).toBe(204)
      await active.until('disconnected')
      expect(await ask('POST', 'active/disconnect')).toBe(409)
      expect(await station.next()).toMatchObject({ topic: 'wills/active', text: 'gone' })
      expect(await ask('POST', 'asleep/disconnect')).toBe(204)
      for (const each of ['active', 'asleep']) await publish(each, 'while it was away')
      for (const each of [active, asleep]) {
        await each.connect()
        await each.until('message')
        expect(each.messages.splice(0)).toEqual([expect.stringContaining('while it was away')])
      }

      const gone = await sensor('gone')
      await gone.until('disconnected', (client, now) => client.disconnect(now))
      await asleep.sleep()
      for (const each of ['active', 'asleep', 'gone']) {
        expect(await ask('DELETE', each), each).toBe(204)
        expect(await ask('GET', each), each).toBe(404)
        if (each === 'active') expect(await station.next()).toMatchObject({ topic: 'wills/active', text: 'gone' })
        await publish(each, 'nobody wants it')
        expect(await waitsFor(each), each).toEqual([])
      }
      await active.until('disconnected')
      await active.connect()
      expect((await active.subscribe('down/active', 1)).returnCode).toBe(0)
      await publish('active', 'again')
      await active.until('message')
      expect(active.messages).toEqual(['down/active again'])
    },
  )
})
