import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { describeWithMosquittoBroker } from '../interop/mosquitto-broker.ts'
import { bridgeYaml } from './bridge-yaml.ts'
import { BridgedSite, until } from './bridged-site.ts'
import { MosquittoEnd, RoostEnd } from './ends.ts'
import { Line } from './line.ts'
import { LineLedger } from './line-ledger.ts'

const SEED = Number(process.env.BRIDGE_SEED ?? Date.now() % 2 ** 31)
/** Faults of each test; by default each once, and the one that takes ten seconds in a test of its own, with 5.0 alone. */
const ROUNDS = process.env.BRIDGE_PARTITIONS
const HALF_OPEN = 3
/** The keep alive of the bridge, in seconds: the shortest that is allowed. */
const KEEP_ALIVE = 5

describeWithMosquittoBroker('a bridge from Roost to Mosquitto over a bad line', () => {
  // Mostly they wait, so they run at the same time.
  test.concurrent.for([
    ['mqttv50', 0, 3],
    ['mqttv311', 0, 3],
    ['mqttv50', HALF_OPEN, 1],
  ] as const)(
    'loses nothing, and doubles nothing (%s, from fault %i on)',
    { timeout: 3_600_000 },
    async ([version, first, once], { onTestFinished }) => {
      const rounds = Number(ROUNDS ?? once)
      const far = await MosquittoEnd.start()
      const ledger = new LineLedger()
      const line = await Line.open(far.port, ledger)
      const lines = [`protocol_version: ${version}`, 'restart_timeout: 1 2', `keepalive_interval: ${KEEP_ALIVE}`]
      const near = await RoostEnd.start(bridgeYaml(`mqtt://127.0.0.1:${line.port}`, ['up/# out 2', 'down/# in 2'], lines))
      const site = new BridgedSite({ near, far, line, ledger, seed: SEED })
      onTestFinished(() => site.stop())
      await site.ready()
      const { random } = site
      /** In turn, so that few rounds have them all. */
      const faults: ((stop: AbortController) => Promise<void> | void)[] = [
        // In the middle of a packet.
        () => line.cutAfter(random.between(1, 4000), random.chance(0.5) ? 'up' : 'down'),
        // Refused for a while.
        async () => {
          line.refuses = true
          line.cut()
          await sleep(random.between(100, 1000))
          line.heal()
        },
        // Slow, and cut with much on its way.
        async () => {
          line.delayMs = 150
          await sleep(600)
          line.cut()
          line.delayMs = 0
        },
        // Half-open: only the keep alive can tell.
        async (stop) => {
          line.silence()
          await sleep(random.between(100, 1500))
          // What would be published until it is found out only takes time to carry.
          stop.abort()
          const { dials } = line
          line.healAround()
          expect(await until(() => line.dials > dials, 3_000 * KEEP_ALIVE), 'half-open, and not noticed').toBe(true)
        },
      ]
      for (let round = first; round < first + rounds; round++) {
        const stop = new AbortController()
        const traffic = site.traffic(stop.signal)
        await sleep(random.between(50, 300))
        await faults[round % faults.length]!(stop)
        await sleep(random.between(0, 300))
        stop.abort()
        await traffic
        expect(await site.settle(), `round ${round}, BRIDGE_SEED=${SEED}`).toEqual([])
      }
    },
  )
})
