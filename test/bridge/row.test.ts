import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { describeWithMosquittoBroker } from '../interop/mosquitto-broker.ts'
import { bridgeYaml } from './bridge-yaml.ts'
import { BridgedSite, until } from './bridged-site.ts'
import { MosquittoEnd, RoostEnd } from './ends.ts'
import { Line } from './line.ts'
import { LineLedger } from './line-ledger.ts'

/** Part of `npm run test:full`, with an hour; less than a minute is to try the test. */
const MINUTES = Number(process.env.BRIDGE_MINUTES ?? 0.1)
/** Each way. */
const MESSAGES = Number(process.env.BRIDGE_MESSAGES ?? (MINUTES < 1 ? 100 : 1000))
const CUT_EVERY_MS = MINUTES < 1 ? 2_000 : 10_000
const SEED = 1

const ends: { stop: () => unknown }[] = []
let site: BridgedSite | undefined
afterEach(async () => {
  await site?.stop()
  for (const end of ends.splice(0).reverse()) await end.stop()
})

describeWithMosquittoBroker('two Roosts and a Mosquitto in a row', () => {
  test(`${MESSAGES} messages each way in ${MINUTES} minutes over lines that are cut every ${CUT_EVERY_MS / 1000} s`, {
    timeout: MINUTES * 60_000 + 120_000,
  }, async () => {
    const far = await MosquittoEnd.start()
    const [first, second] = [new LineLedger(), new LineLedger()]
    const farLine = await Line.open(far.port, second)
    const topics = ['up/# out 2', 'down/# in 2']
    const soon = ['restart_timeout: 1 5']
    const middle = await RoostEnd.start(bridgeYaml(`mqtt://127.0.0.1:${farLine.port}`, topics, soon))
    ends.push(middle, { stop: () => farLine.close() })
    const line = await Line.open(middle.port, first)
    const near = await RoostEnd.start(bridgeYaml(`mqtt://127.0.0.1:${line.port}`, topics, soon))
    site = new BridgedSite({ near, far, line, ledger: first, seed: SEED })
    await site.ready()
    await until(() => second.counted('down', 'suback') > 0)
    line.cutEvery(CUT_EVERY_MS)
    await sleep(CUT_EVERY_MS / 2)
    farLine.cutEvery(CUT_EVERY_MS)
    const began = Date.now()
    for (let i = 0; i < MESSAGES; i++) {
      site.publish('up', i % 2, i % 3 === 0 ? 1 : 2)
      site.publish('down', i % 2, i % 3 === 0 ? 1 : 2)
      await sleep(Math.max(0, began + ((i + 1) * MINUTES * 60_000) / MESSAGES - Date.now()))
    }
    line.cutEvery(0)
    farLine.cutEvery(0)
    const { ledger } = site
    expect(await site.settle()).toEqual([])
    // Counted at both ends: each message is there, those with QoS 2 once.
    for (const way of ['up', 'down'] as const) {
      const got = ledger.received(`${way}-receiver`)
      expect(new Set(got).size).toBe(MESSAGES)
      const again = got.length - MESSAGES
      process.stdout.write(`${way}: ${MESSAGES} messages, ${again} again (QoS 1), ${line.dials} and ${farLine.dials} dials\n`)
    }
    expect(line.dials).toBeGreaterThan(1)
    expect(farLine.dials).toBeGreaterThan(1)
  })
})
