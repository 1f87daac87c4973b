// Part of `npm run test:full`: about ten minutes, in which NATS sets up the sessions. Sleepers and the gateway need 10,000 open files each.
import { expect, test } from 'vitest'
import { Random } from '../../fuzz/sim/random.ts'
import { RoostEnd } from '../bridge/ends.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { gatewayYaml } from './gateway-yaml.ts'
import { describeWithNats, NatsCluster, residentBytes } from './nats-cluster.ts'
import { ScriptedSensor } from './scripted-sensor.ts'

const COUNT = Number(process.env.CLUSTER_SLEEPERS ?? 10_000)
/** Of the gateway's process. */
const RESIDENT_MAX = 250 * 2 ** 20
/** Sensors that connect, or wake, at the same time. */
const WIDTH = 20
const SEED = Number(process.env.CLUSTER_SEED ?? 1)

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

/** Does this for all of them, so many at a time. */
async function each<T>(of: readonly T[], what: (one: T) => Promise<unknown>): Promise<void> {
  const left = of.values()
  const worker = async (): Promise<void> => {
    for (const one of left) await what(one)
  }
  await Promise.all(Array.from({ length: WIDTH }, worker))
}

describeWithNats(`${COUNT} sensors that sleep, in front of a NATS cluster of three`, () => {
  test(`fit into a gateway of ${mib(RESIDENT_MAX)}, and get what waits for them`, { timeout: 3_600_000 }, async ({
    onTestFinished,
  }) => {
    const cluster = await NatsCluster.start({ nodes: 3, ackWaitSeconds: 30 })
    onTestFinished(() => cluster.stop())
    const ports = cluster.nodes.map(({ port }) => port)
    const gateway = await RoostEnd.start(
      gatewayYaml(ports, ['round_robin: true', 'connect_timeout_seconds: 60']),
      '--max-sessions',
      '20000',
      '--t-retry',
      '5',
    )
    onTestFinished(() => gateway.stop())
    const resident = (): number => residentBytes(gateway.process!.child.pid!)
    const publisher = await MqttJs.connect(ports[1]!, { clientId: 'publisher', protocolVersion: 4 })
    onTestFinished(() => publisher.client.endAsync(true))
    const empty = resident()

    const sensors: ScriptedSensor[] = []
    onTestFinished(() => {
      for (const sensor of sensors) sensor.close()
    })
    const begun = performance.now()
    await each(
      Array.from({ length: COUNT }, (_, i) => `sleeper-${i}`),
      async (clientId) => {
        const sensor = await ScriptedSensor.open(gateway.snPort, { clientId, tRetryMs: 2_000, nRetry: 60 }, 120_000)
        sensors.push(sensor)
        await sensor.connectAtLast()
        expect((await sensor.subscribe(`down/${clientId}`, 1)).returnCode).toBe(0)
        await sensor.sleep(36_000)
      },
    )
    const asleep = resident()
    const seconds = Math.round((performance.now() - begun) / 1000)
    process.stdout.write(
      `${COUNT} sleepers after ${seconds} s: gateway ${mib(empty)} -> ${mib(asleep)}, nodes ${cluster.residentBytes.map(mib).join(', ')}\n`,
    )

    const random = new Random(SEED)
    const told = Array.from({ length: Math.min(1_000, COUNT) }, () => random.pick(sensors))
    for (const [i, { sensor }] of told.entries())
      await publisher.client.publishAsync(`down/${sensor.client.clientId}`, `${i}`, { qos: 1 })
    const holding = resident()
    await each(sensors, (sensor) => sensor.wake())
    const awake = resident()
    process.stdout.write(`with ${told.length} messages: ${mib(holding)}, after everybody's wake: ${mib(awake)}\n`)
    const expected = new Map(sensors.map((one) => [one, [] as string[]]))
    for (const [i, one] of told.entries()) expected.get(one)!.push(`down/${one.sensor.client.clientId} ${i}`)
    const wrong = sensors.filter((one) => one.messages.join() !== expected.get(one)!.join())
    expect(wrong.map(({ sensor, messages }) => `${sensor.client.clientId}: ${messages.join()}`)).toEqual([])
    expect(Math.max(asleep, holding, awake)).toBeLessThan(RESIDENT_MAX)
  })
})
