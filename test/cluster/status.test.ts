import { afterEach, expect, test } from 'vitest'
import { RoostEnd } from '../bridge/ends.ts'
import { describeWithMosquittoBroker } from '../interop/mosquitto-broker.ts'
import { roost } from '../interop/roost-command.ts'
import { gatewayYaml } from './gateway-yaml.ts'
import { MosquittoCluster } from './mosquitto-cluster.ts'
import { ScriptedSensor } from './scripted-sensor.ts'

const ends: { stop: () => unknown }[] = []

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end.stop()
})

/** Until an attempt that is due has been made, on a loaded machine. */
const PATIENCE = { timeout: 30_000, interval: 100 }

describeWithMosquittoBroker('what a gateway in front of Mosquitto shows', () => {
  test('the cluster is there, is ended, and comes back', { timeout: 180_000 }, async () => {
    const cluster = await MosquittoCluster.start()
    ends.push(cluster)
    const [node] = cluster.nodes
    const target = `mqtt://127.0.0.1:${node!.port}`
    const yaml = gatewayYaml([node!.port], ['restart_timeout: 1 2'])
    const gateway = await RoostEnd.start(yaml, '--http', 'true', '--http-port', '0')
    ends.push(gateway)
    const { httpPort } = gateway.process!
    const ask = async () => (await fetch(`http://127.0.0.1:${httpPort}/api/v1/upstream`)).json()
    const clients = async () => (await fetch(`http://127.0.0.1:${httpPort}/api/v1/clients`)).json()
    const status = async () => (await roost('status', '--http-port', `${httpPort}`)).out
    const sensor = await ScriptedSensor.open(gateway.snPort, { clientId: 'valve' })
    ends.push({ stop: () => sensor.close() })

    expect(await ask()).toMatchObject({ targets: [{ target, state: 'idle', connections: 0, dials: 0 }] })
    await sensor.connect()
    expect(await sensor.publish('up/valve', 'open', 1)).toBe(0)
    expect(await ask()).toMatchObject({
      targets: [{ target, state: 'up', version: '5.0', connections: 1, connects: 1, failed_dials: 0 }],
      ...{ sessions: { connected: 1, connecting: 0, waiting: 0, parked: 0 }, unanswered: 0, dropped: 0 },
    })
    expect((await ask()).targets[0].round_trip_ms).toBeGreaterThan(0)
    expect(await clients()).toMatchObject({ clients: [{ id: 'sn:valve', upstream: { state: 'connected', target } }] })
    expect(await status()).toContain('  cluster       targets: 1 up; 1 connection of sensors\n')

    await node!.kill()
    await expect.poll(ask, PATIENCE).toMatchObject({
      targets: [{ state: 'away', connections: 0, connects: 1, last_error: expect.stringContaining('ECONNREFUSED') }],
      sessions: { connected: 0 },
    })
    const away = await status()
    expect(away).toContain('  cluster       targets: 1 away; 0 connections of sensors\n')
    expect(away).toMatch(new RegExp(`^${target} has been away for .*: .*ECONNREFUSED`, 'm'))

    const { out } = await roost('clients', 'valve', '--http-port', `${httpPort}`)
    expect(out).toMatch(/^ {2}its session has no connection to the cluster: .*ECONNREFUSED/m)
    expect(out).toMatch(new RegExp(`^ {2}target +${target}$`, 'm'))
    expect(out).toMatch(/^ {2}last error +.*ECONNREFUSED/m)

    await node!.restart()
    await expect.poll(ask, PATIENCE).toMatchObject({ targets: [{ state: 'up', connections: 1, connects: 2 }] })
    const back = await status()
    expect(back).toContain('  cluster       targets: 1 up; 1 connection of sensors\n')
    expect(back).not.toContain('has been away')
  })
})
