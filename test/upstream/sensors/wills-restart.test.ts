import { describe, expect, test } from 'vitest'
import { PacketType } from '../../../src/mqtt/packets.ts'
import type { SensorUpstreamOptions } from '../../../src/upstream/sensors/options.ts'
import { say } from '../../gateway/harness.ts'
import { ScriptedFar } from '../scripted-far.ts'
import { SENSORS } from './options.ts'
import { connected, R, type SensorWorld } from './sensor-world.ts'

const FAR = 'mqtt://far:1883'
/** Where the gateway publishes wills. */
const GATEWAYS: readonly (readonly [string, Partial<SensorUpstreamOptions>])[] = [
  ['3.1.1', { targets: { ...SENSORS.targets, version: 4 } }],
  ['5.0, wills: gateway', { wills: 'gateway' }],
  ['5.0, sleepers: park', { sleepers: 'park' }],
]

const wills = (...fars: ScriptedFar[]): string[] =>
  fars.flatMap(({ got }) =>
    got.flatMap((packet) => (packet.type === PacketType.PUBLISH ? Buffer.from(packet.payload).toString() : [])),
  )

/** A new process, and a cluster that has kept the sessions. */
function restarted(world: SensorWorld): { world: SensorWorld; far: ScriptedFar } {
  const again = world.crashed()
  const far = new ScriptedFar(again)
  far.sessionPresent = true
  return { world: again, far }
}

const MINUTE = 60_000

describe.each(GATEWAYS)('the will of a sensor across a restart of the gateway that publishes it: %s', (_, options) => {
  test.each([
    ['active', undefined],
    ['asleep', 100],
  ] as const)(
    'it was lost, and the will waits for the cluster: it is published when both are back, once (%s)',
    (_state, sleep) => {
      const before = connected(options, { will: true })
      if (sleep !== undefined) before.world.send(R, say.disconnect(sleep))
      before.far.away.add(FAR)
      before.world.breakAll()
      before.world.advance(5 * MINUTE)
      expect(before.world.server.gateway.sensors.get('valve')?.state).toBe('lost')
      const { world, far } = restarted(before.world)
      far.away.add(FAR)
      world.run()
      world.advance(5 * MINUTE)
      far.away.clear()
      world.advance(5 * MINUTE)
      expect(wills(before.far, far)).toEqual(['gone'])
      expect(world.server.gateway.sensors.get('valve')?.state).toBe('lost')
      // Nor in the process after that.
      const last = restarted(world)
      last.world.run()
      last.world.advance(10 * MINUTE)
      expect(wills(last.far)).toEqual([])
      expect(last.world.server.gateway.sensors.get('valve')?.state).toBe('lost')
    },
  )

  test('it was lost, and the cluster has not acknowledged the will', () => {
    const before = connected(options, { will: true })
    before.far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
    before.world.advance(5 * MINUTE)
    expect(wills(before.far)).toEqual(['gone'])
    const { world, far } = restarted(before.world)
    world.run()
    world.advance(5 * MINUTE)
    expect(wills(far)).toEqual(['gone'])
  })

  test('it was lost, and the will is published: not again', () => {
    const before = connected(options, { will: true })
    before.world.advance(5 * MINUTE)
    expect(wills(before.far)).toEqual(['gone'])
    const { world, far } = restarted(before.world)
    world.run()
    world.advance(10 * MINUTE)
    expect(wills(far)).toEqual([])
    expect(world.server.gateway.sensors.get('valve')?.state).toBe('lost')
  })

  test('it says nothing while the gateway is away, nor afterwards: it is lost then', () => {
    const before = connected(options, { will: true })
    const { world, far } = restarted(before.world)
    world.run()
    world.advance(80_000)
    expect(wills(far)).toEqual([])
    world.advance(20_000)
    expect(wills(far)).toEqual(['gone'])
    expect(world.server.gateway.sensors.get('valve')?.state).toBe('lost')
  })

  test('it is back before the will was published, before or after the restart: none', () => {
    for (const isBefore of [true, false]) {
      const before = connected(options, { will: true })
      before.far.away.add(FAR)
      before.world.breakAll()
      before.world.advance(5 * MINUTE)
      const back = (world: SensorWorld, far: ScriptedFar): void => {
        far.away.clear()
        world.send(R, say.connect('valve', { clean: false }))
        world.advance(MINUTE)
        world.send(R, say.connect('valve', { clean: false }))
        world.advance(0)
      }
      if (isBefore) back(before.world, before.far)
      const { world, far } = restarted(before.world)
      if (!isBefore) far.away.add(FAR)
      world.run()
      if (!isBefore) back(world, far)
      for (let i = 0; i < 10; i++) {
        world.send(R, say.ping())
        world.advance(30_000)
      }
      expect(wills(before.far, far)).toEqual([])
      expect(world.server.gateway.sensors.get('valve')?.state).toBe('active')
    }
  })

  test('a clean session, which the gateway would have forgotten by then', () => {
    const before = connected(options, { clean: true, will: true })
    before.far.away.add(FAR)
    before.world.breakAll()
    before.world.advance(60 * MINUTE)
    const { world, far } = restarted(before.world)
    world.run()
    world.advance(60 * MINUTE)
    expect(wills(before.far, far)).toEqual(['gone'])
    expect(world.server.gateway.client('valve')).toBeUndefined()
  })

  test('it was disconnected by its DISCONNECT: none', () => {
    const before = connected(options, { will: true })
    before.far.away.add(FAR)
    before.world.breakAll()
    before.world.send(R, say.disconnect())
    const { world, far } = restarted(before.world)
    world.run()
    world.advance(10 * MINUTE)
    expect(wills(before.far, far)).toEqual([])
  })
})
