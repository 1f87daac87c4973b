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

const PATIENCE = { timeout: 30_000, interval: 100 }

describeWithMosquittoBroker('a gateway in front of Mosquitto that publishes wills', () => {
  test('is killed while Mosquitto is away, with the will of a lost sensor: it comes when both are back', {
    timeout: 120_000,
  }, async () => {
    const cluster = await MosquittoCluster.start(4)
    ends.push(cluster)
    const [node] = cluster.nodes
    const yaml = gatewayYaml([node!.port], ['restart_timeout: 1 2', 'protocol_version: mqttv311'])
    const gateway = await RoostEnd.start(yaml, '--http', 'true', '--http-port', '0')
    ends.push(gateway)
    const stateOf = async (clientId: string): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${gateway.process!.httpPort}/api/v1/clients/${clientId}`)
      return ((await answer.json()) as { state: string }).state
    }
    const will = { topic: 'wills/valve', message: Buffer.from('gone'), qos: 1 as const, retain: false }
    const sensor = await ScriptedSensor.open(gateway.snPort, { clientId: 'valve', keepAliveSeconds: 2, will })
    await sensor.connect()
    sensor.close()
    await node!.kill()
    await expect.poll(() => stateOf('valve'), PATIENCE).toBe('lost')
    await gateway.kill()
    await node!.restart()
    const station = await MqttJs.connect(node!.port, { clientId: 'station', protocolVersion: 4 })
    ends.push({ stop: () => station.client.endAsync(true) })
    await station.client.subscribeAsync('wills/#', { qos: 1 })
    await gateway.restart()
    expect(await station.next()).toMatchObject({ topic: 'wills/valve', text: 'gone' })
    await expect.poll(() => stateOf('valve'), PATIENCE).toBe('lost')
    expect(station.unread).toEqual([])
  })
})
