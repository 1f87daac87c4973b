// Part of `npm run test:full`. By hand: CLUSTER_MINUTES=30 npx vitest run --config test/full.config.ts test/cluster/roaming.test.ts
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { describeWithNats, NatsCluster } from './nats-cluster.ts'
import { UpstreamSite } from './upstream-site.ts'

const MINUTES = Number(process.env.CLUSTER_MINUTES ?? 30)
const SEED = Number(process.env.CLUSTER_SEED ?? Date.now() % 2 ** 31)
const SENSORS = 40
/** The highest QoS with which they publish. */
const QOS = process.env.CLUSTER_QOS === '1' ? 1 : 2
const GATEWAYS = 3
/** A minute, without the time until everything has arrived, ms. */
const BUSY_MS = Number(process.env.CLUSTER_BUSY_MS ?? 45_000)

describeWithNats('forty sensors that roam between three gateways, in front of a NATS cluster of three', () => {
  test(`a gateway and a node are killed each minute for ${MINUTES} minutes: all counts agree`, {
    timeout: (MINUTES * 3 + 5) * 60_000,
  }, async ({ onTestFinished }) => {
    const cluster = await NatsCluster.start({ nodes: 3, ackWaitSeconds: 10, witnessed: true })
    onTestFinished(() => cluster.stop())
    const options = {
      gateways: GATEWAYS,
      sensors: SENSORS,
      seed: SEED,
      roams: 0.2,
      sleepMs: 2_000,
      drainMs: 120_000,
      publishQos: QOS,
      // As docs/scale-out.md has it: NATS 2.10 completes messages with QoS 2 that it has not stored.
      ...(process.env.CLUSTER_NATS_QOS2 !== '1' && { upstream: ['maximum_qos: 1'] }),
    } as const
    const site = await UpstreamSite.start({ cluster, ...options })
    onTestFinished(() => site.stop())
    for (let minute = 1; minute <= MINUTES; minute++) {
      const stop = new AbortController()
      const traffic = site.traffic(stop.signal)
      for (const victim of [site.random.pick(site.gateways), site.random.pick(cluster.nodes)]) {
        await sleep(site.random.between(BUSY_MS / 8, BUSY_MS / 4))
        await victim.kill()
        await sleep(site.random.between(500, 3_000))
        await victim.restart()
      }
      await sleep(BUSY_MS / 4)
      stop.abort()
      await traffic
      const found = await site.settle()
      process.stdout.write(`minute ${minute}: ${JSON.stringify(site.seen())}\n`)
      expect(found, `CLUSTER_SEED=${SEED}`).toEqual([])
    }
    // What sensors were told, and what the ledger saw arrive.
    expect(site.met.acknowledged).toBe(site.totals.up)
    expect(site.met.roamed).toBeGreaterThan(MINUTES)
  })
})
