import { afterEach, expect, test } from 'vitest'
import { describeWithNats, NatsCluster } from '../cluster/nats-cluster.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { bridgeYaml } from './bridge-yaml.ts'
import { RoostEnd } from './ends.ts'

const COUNT = 200
const texts = Array.from({ length: COUNT }, (_, i) => `${i}`)

describeWithNats('a bridge to nats-server', () => {
  const ends: (() => unknown)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  const client = async (port: number, clientId: string): Promise<MqttJs> => {
    const js = await MqttJs.connect(port, { clientId, clean: false, protocolVersion: 4, reconnectPeriod: 100 })
    ends.push(() => js.client.end(true))
    return js
  }

  test('which is killed on the way: everything that was acknowledged arrives, both ways, QoS 2 as QoS 1', async () => {
    const cluster = await NatsCluster.start({ nodes: 1, ackWaitSeconds: 1 })
    ends.push(() => cluster.stop())
    const [nats] = cluster.nodes as [(typeof cluster.nodes)[number]]
    const topics = ['up/# out 1 "" ""', 'down/# in 1 "" ""']
    const roost = await RoostEnd.start(
      bridgeYaml(`127.0.0.1:${nats.port}`, topics, ['notifications: false', 'restart_timeout: 1 1']),
    )
    ends.push(() => roost.stop())
    const here = await client(roost.port, 'here')
    const there = await client(nats.port, 'there')
    await here.client.subscribeAsync('down/#', { qos: 1 })
    await there.client.subscribeAsync('up/#', { qos: 1 })
    const arrived = { up: new Set<string>(), down: new Set<string>() }
    there.client.on('message', (_, payload) => arrived.up.add(payload.toString()))
    here.client.on('message', (_, payload) => arrived.down.add(payload.toString()))
    // What is published there before the bridge has subscribed is not its business.
    while (!arrived.down.has('first')) {
      await there.client.publishAsync('down/a', 'first', { qos: 1 })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const half = COUNT / 2
    const publish = (from: number, to: number): Promise<unknown>[] =>
      texts
        .slice(from, to)
        .flatMap((text, i) => [
          here.client.publishAsync('up/a', text, { qos: i % 2 === 0 ? 1 : 2 }),
          there.client.publishAsync('down/a', text, { qos: 1 }),
        ])
    await Promise.all(publish(0, half))
    const rest = publish(half, COUNT)
    await nats.kill()
    await nats.restart()
    await Promise.all(rest)
    await expect.poll(() => texts.filter((text) => !arrived.up.has(text)), { timeout: 20_000 }).toEqual([])
    await expect.poll(() => texts.filter((text) => !arrived.down.has(text)), { timeout: 20_000 }).toEqual([])
  }, 60_000)
})
