import { setTimeout as sleep } from 'node:timers/promises'
import { expect, type TestContext, test } from 'vitest'
import { describeWithMosquittoBroker } from '../interop/mosquitto-broker.ts'
import type { Cluster } from './cluster.ts'
import { MosquittoCluster } from './mosquitto-cluster.ts'
import { describeWithNats, NatsCluster } from './nats-cluster.ts'
import { describeWithRabbitMq, RabbitMqCluster } from './rabbitmq-cluster.ts'
import { UpstreamSite } from './upstream-site.ts'

/** In `npm test`: 7 altogether, without RabbitMQ, which takes half a minute to start. */
const isFull = process.env.FULL === '1'
const SEED = Number(process.env.CLUSTER_SEED ?? Date.now() % 2 ** 31)
/** For one kill, ms; and for a cluster to start. */
const KILL_MS = isFull ? 150_000 : 90_000
const START_MS = 180_000
/** NATS repeats what is not acknowledged by then: on a busy machine a sensor needs seconds for a hundred messages. */
const ACK_WAIT_SECONDS = isFull ? 10 : 2

/** Rounds after which a long run says how far it is. */
const WORD_EVERY = 10

interface Victim {
  kill(): Promise<unknown>
  restart(): Promise<void>
}

interface Kills {
  readonly gateways: number
  readonly nodes: number
}

const scaled = (kills: Kills, few: Kills): Kills => {
  const share = Number(process.env.CLUSTER_KILLS ?? 200) / 200
  return isFull ? { gateways: Math.ceil(kills.gateways * share), nodes: Math.ceil(kills.nodes * share) } : few
}

async function site(
  { onTestFinished }: TestContext,
  cluster: Cluster,
  upstream: readonly string[] = [],
  sleepMs = isFull ? 500 : 200,
): Promise<UpstreamSite> {
  onTestFinished(() => cluster.stop())
  const options = { gateways: 2, sensors: isFull ? 20 : 8, seed: SEED, roams: 0.4, sleepMs, drainMs: isFull ? 120_000 : 60_000 }
  const started = await UpstreamSite.start({ cluster, ...options, upstream })
  onTestFinished(() => started.stop())
  return started
}

/** Kills gateways and nodes under load, at random instants, now and then both, and judges each round when all is quiet again. */
async function survives(on: UpstreamSite, kills: Kills): Promise<void> {
  const { random, options } = on
  const tell = (killed: string): void => {
    const { copies, overtaken, takenOver, reconnected, neverSent, up, down } = on.totals
    const how = options.cluster.wire
      ? ` by the cluster: ${takenOver} taken over, ${reconnected} reconnected, ${neverSent} never sent`
      : ''
    const what = `${up} messages up, ${down} down, ${copies} copies of QoS 1, ${overtaken} overtaken${how}`
    if (isFull) process.stdout.write(`${options.cluster.name}, MQTT ${options.cluster.version}: ${killed}: ${what}\n`)
  }
  let round = 0
  for (let { gateways, nodes } = kills; gateways + nodes > 0; ) {
    const isNode = random.chance(nodes / (gateways + nodes))
    const isBoth = gateways > 0 && nodes > 0 && random.chance(0.2)
    const victims: Victim[] = []
    if (isBoth || !isNode) victims.push(random.pick(on.gateways))
    if (isBoth || isNode) victims.push(random.pick(options.cluster.nodes))
    if (isBoth || !isNode) gateways--
    if (isBoth || isNode) nodes--
    const stop = new AbortController()
    const traffic = on.traffic(stop.signal)
    await sleep(random.between(100, 600))
    await Promise.all(victims.map((victim) => victim.kill()))
    // Whoever is left goes on.
    await sleep(random.between(0, 500))
    await Promise.all(victims.map((victim) => victim.restart()))
    await sleep(random.between(0, 500))
    stop.abort()
    await traffic
    const killed = isBoth ? 'of both' : isNode ? 'of a node' : 'of a gateway'
    expect(await on.settle(), `kill ${killed}, before the last ${gateways + nodes}, CLUSTER_SEED=${SEED}`).toEqual([])
    if (++round % WORD_EVERY === 0) tell(`${kills.gateways + kills.nodes - gateways - nodes} kills`)
  }
  tell(named(kills))
}

const timeoutOf = ({ gateways, nodes }: Kills): number => START_MS + (gateways + nodes) * KILL_MS
const named = ({ gateways, nodes }: Kills): string => `${gateways} kills of gateways and ${nodes} of nodes`

describeWithMosquittoBroker.concurrent('gateways in front of Mosquitto', () => {
  const kills = scaled({ gateways: 30, nodes: 10 }, { gateways: 1, nodes: 1 })
  test.for([
    ['mqttv50', 5],
    ['mqttv311', 4],
  ] as const)(`lose nothing in ${named(kills)}: %s`, { timeout: timeoutOf(kills) }, async ([version, level], context) => {
    await survives(await site(context, await MosquittoCluster.start(level), [`protocol_version: ${version}`]), kills)
  })
})

describeWithNats.concurrent('gateways in front of a NATS cluster of three', () => {
  const kills = scaled({ gateways: 50, nodes: 20 }, { gateways: 2, nodes: 1 })
  test(`lose nothing in ${named(kills)}`, { timeout: timeoutOf(kills) }, async (context) => {
    await survives(
      await site(context, await NatsCluster.start({ nodes: 3, ackWaitSeconds: ACK_WAIT_SECONDS, witnessed: true }), [
        'maximum_qos: 1',
      ]),
      kills,
    )
  })
})

if (isFull)
  describeWithRabbitMq('gateways in front of a RabbitMQ cluster of three with quorum queues', () => {
    const kills = scaled({ gateways: 35, nodes: 15 }, { gateways: 0, nodes: 0 })
    test(`lose nothing in ${named(kills)}`, { timeout: timeoutOf(kills) }, async (context) => {
      // As docs/scale-out.md has it. A gateway needs a second to see that a sensor sleeps.
      await survives(await site(context, await RabbitMqCluster.start(), ['sleepers: park'], 3_000), kills)
    })
  })
