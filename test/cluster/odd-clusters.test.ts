import { expect, onTestFinished, test } from 'vitest'
import { RoostEnd } from '../bridge/ends.ts'
import { type Manners, OddBroker } from '../bridge/odd-broker.ts'
import { gatewayYaml } from './gateway-yaml.ts'
import { ScriptedSensor } from './scripted-sensor.ts'

const ACCEPTED = 0
const CONGESTION = 1
const NOT_SUPPORTED = 3

interface Odd {
  readonly cluster: OddBroker
  readonly gateway: RoostEnd
  sensor(clientId: string): Promise<ScriptedSensor>
}

async function behind(manners: Partial<Manners>, ...lines: string[]): Promise<Odd> {
  const cluster = await OddBroker.start(manners)
  onTestFinished(() => cluster.stop())
  const settings = ['restart_timeout: 1 2', ...lines]
  const gateway = await RoostEnd.start(gatewayYaml([cluster.port], settings), '--t-retry', '1')
  onTestFinished(() => gateway.stop())
  return {
    cluster,
    gateway,
    async sensor(clientId) {
      const sensor = await ScriptedSensor.open(gateway.snPort, { clientId })
      onTestFinished(() => sensor.close())
      return sensor
    },
  }
}

const refused = async (sensor: ScriptedSensor): Promise<number> =>
  (await sensor.until('refused', (client, now) => client.connect(now))).returnCode

test.for([
  ['mqttv50', { unauthorized: 0x87, 'over-quota': 0x97 }],
  ['mqttv311', { unauthorized: 5, 'over-quota': 3 }],
] as const)('a cluster that refuses sessions with %s refuses these sensors, and serves the others', async ([version, codes]) => {
  const connack = ({ clientId }: { clientId: string }) => {
    const code = codes[clientId as keyof typeof codes] ?? 0
    return { reasonCode: code, returnCode: code }
  }
  const { sensor, cluster } = await behind({ connack }, `protocol_version: ${version}`)
  expect(await refused(await sensor('unauthorized'))).toBe(NOT_SUPPORTED)
  expect(await refused(await sensor('over-quota'))).toBe(CONGESTION)
  const other = await sensor('other')
  await other.connect()
  expect(await other.publish('up/other', 'served', 1)).toBe(ACCEPTED)
  expect(cluster.taken).toEqual(['served'])
})

test('a cluster that does not answer CONNECT is congestion, soon', async () => {
  const { sensor } = await behind({ connack: () => 'silence' }, 'connect_timeout_seconds: 1')
  expect(await refused(await sensor('one'))).toBe(CONGESTION)
})

test('a cluster that answers QoS 2 with PUBACK gets each message once, and that is said once', async () => {
  const { sensor, cluster, gateway } = await behind({ maximumQos: 1 })
  const one = await sensor('one')
  await one.connect()
  expect((await one.subscribe('down/one', 2)).returnCode).toBe(ACCEPTED)
  const other = await sensor('other')
  await other.connect()
  for (const each of [one, other]) for (const text of ['a', 'b']) expect(await each.publish('up/x', text, 2)).toBe(ACCEPTED)
  expect(cluster.taken).toEqual(['a', 'b', 'a', 'b'])
  expect(gateway.process!.log.filter((line) => line.includes('QoS 1 at most'))).toHaveLength(1)
})

test('a cluster that ends the connection after a PUBLISH is no reason to lose the sensor', async () => {
  let isAngry = true
  const { sensor, cluster } = await behind({ publish: ({ qos }) => (isAngry && qos > 0 ? 'close' : 0) })
  const one = await sensor('one')
  await one.connect()
  expect(await one.publish('up/x', 'poison', 1)).toBeGreaterThan(ACCEPTED)
  isAngry = false
  for (let code = -1; code !== ACCEPTED; ) code = await one.publish('up/x', 'wholesome', 1)
  expect(cluster.taken).toContain('wholesome')
  expect(one.events).not.toContain('disconnected')
})
