import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, type TestContext, test } from 'vitest'
import { describeWithMosquittoBroker } from '../interop/mosquitto-broker.ts'
import { bridgeYaml } from './bridge-yaml.ts'
import { BridgedSite } from './bridged-site.ts'
import { type End, MosquittoEnd, RoostEnd } from './ends.ts'
import { Line } from './line.ts'
import { LineLedger } from './line-ledger.ts'
import { traceTo } from './trace.ts'

/** In each of the four arrangements: 10 altogether in `npm test`, and 200 each in `npm run test:full`. */
const KILLS = Number(process.env.BRIDGE_KILLS ?? 2)
const KILLS_OF_ROOSTS = Number(process.env.BRIDGE_KILLS ?? 4)
/** Kills after which a long run says how far it is. */
const WORD_EVERY = 20
const SEED = Number(process.env.BRIDGE_SEED ?? Date.now() % 2 ** 31)
/** For one kill, ms: a process may take half a minute to start on a machine that is busy, and a round that does not settle has to say so. */
const KILL_MS = 240_000

async function built({ onTestFinished }: TestContext, far: End, near: (port: number) => Promise<End>): Promise<BridgedSite> {
  const ledger = new LineLedger(traceTo(`line to ${far.name} ${far.port}`))
  const line = await Line.open(far.port, ledger)
  const site = new BridgedSite({ near: await near(line.port), far, line, ledger, seed: SEED })
  onTestFinished(() => site.stop())
  await site.ready()
  return site
}

/** Kills the one end, the other or both under load, at random instants, and judges each round when all is quiet again. */
async function survives(site: BridgedSite, kills: number): Promise<void> {
  const { random, near, far } = site
  let nextWord = WORD_EVERY
  let killed = 0
  const tell = () => {
    const { published, again, lostByOthers, doubledByOthers } = site
    const ofOthers = `${lostByOthers} lost and ${doubledByOthers} with QoS 2 sent twice by Mosquitto`
    const figures = `${killed} kills, ${published} messages, ${again} again with QoS 1, ${ofOthers}`
    process.stdout.write(`${near.end.name} to ${far.end.name}, MQTT ${site.options.ledger.version}: ${figures}\n`)
    nextWord += WORD_EVERY
  }
  while (killed < kills) {
    const stop = new AbortController()
    const traffic = site.traffic(stop.signal)
    await sleep(random.between(100, 600))
    const victims = random.chance(0.2) ? [near, far] : [random.chance(0.5) ? near : far]
    await Promise.all(victims.map((victim) => site.kill(victim)))
    killed += victims.length
    // Some go on publishing to a process that is gone.
    await sleep(random.between(0, 200))
    await Promise.all(victims.map((victim) => site.restart(victim)))
    await sleep(random.between(0, 500))
    stop.abort()
    await traffic
    expect(await site.settle(), `${killed} kills, BRIDGE_SEED=${SEED}`).toEqual([])
    if (killed >= nextWord) tell()
  }
  if (kills >= WORD_EVERY) tell()
}

const roostTo = (version: string) => (port: number) =>
  RoostEnd.start(bridgeYaml(`mqtt://127.0.0.1:${port}`, ['up/# out 2', 'down/# in 2'], [`protocol_version: ${version}`, ...SOON]))
/** As short as a bridge may be made to wait before it dials again. */
const SOON = ['restart_timeout: 1 2']

describeWithMosquittoBroker('a bridge to or from Mosquitto', () => {
  test.concurrent(`Mosquitto to Roost loses nothing in ${KILLS} kills of either end`, {
    timeout: KILLS * KILL_MS,
  }, async (context) => {
    const bridge = [
      'connection b1',
      'remote_clientid house.b1',
      'cleansession false',
      'restart_timeout 1',
      'bridge_protocol_version mqttv311',
      'topic up/# out 2',
      'topic down/# in 2',
    ]
    await survives(
      await built(context, await RoostEnd.start(), (port) => MosquittoEnd.start(...bridge, `address 127.0.0.1:${port}`)),
      KILLS,
    )
  })

  test.concurrent.for(['mqttv50', 'mqttv311'])(
    `Roost to Mosquitto, %s, loses nothing in ${KILLS} kills of either end`,
    { timeout: KILLS * KILL_MS },
    async (version, context) => {
      await survives(await built(context, await MosquittoEnd.start(), roostTo(version)), KILLS)
    },
  )
})

describe.concurrent('a bridge from Roost to Roost', () => {
  test(`loses nothing in ${KILLS_OF_ROOSTS} kills of either end`, { timeout: KILLS_OF_ROOSTS * KILL_MS }, async (context) => {
    await survives(await built(context, await RoostEnd.start(), roostTo('mqttv50')), KILLS_OF_ROOSTS)
  })
})
