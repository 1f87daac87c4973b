// A soak over real sockets: the started process with a durable store, and hundreds of MQTT and MQTT-SN clients that come, go,
// flap one client id, read slowly, break off in the middle of a packet, sleep and wake. A ledger of what was acknowledged is
// compared with what arrived and with what the broker counts; memory, file handles and timers have to stay flat.
// npm run soak:real -- [--minutes <number>] [--seed <number>] [--clients <number>] [--interval <seconds>]
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Broker } from './broker.mjs'
import { Random } from './random.mjs'
import { Soak } from './soak.mjs'
import { Verdict } from './verdict.mjs'

/** Beyond the time that was asked for: the last round, with all its patience. */
const OVERTIME_MS = 300_000

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    clients: { type: 'string', default: '300' },
    interval: { type: 'string', default: '20' },
  },
})
const number = (name, least) => {
  const value = Number(values[name])
  if (Number.isFinite(value) && value >= least) return value
  process.stderr.write(`--${name}: expected a number of at least ${least}, got ${values[name]}\n`)
  process.exit(2)
}
const minutes = number('minutes', 0.1)
const seed = number('seed', 0)
const clients = number('clients', 10)
const interval = number('interval', 1)
const tell = (line) => process.stdout.write(`${line}\n`)

async function round(soak, verdict, began) {
  const { ledger, broker } = soak
  const problems = ledger.problems
  await soak.bustle(interval * 1000)
  const settled = await soak.settle()
  await soak.checkRetained()
  const before = await soak.counts()
  await soak.calmRound()
  const after = await soak.counts()
  const census = await broker.census()
  // The gateway remembers of up to 10,000 addresses, ports included, whether they are trusted.
  census['entries of Map'] -= soak.roams
  const figures = await broker.figures()
  const seconds = (Date.now() - began) / 1000
  verdict.counters(before)
  verdict.differences(before, after)
  verdict.ledger(ledger, problems)
  verdict.sample(seconds, figures, census)
  for (const what of broker.complaints.splice(0)) verdict.check(false, what)
  const { resident, heap, store, cpuSeconds } = figures
  const said = (name) => `${after[name].broker}${after[name].doubt > 0 ? ` (in doubt ${after[name].doubt})` : ''}`
  tell(
    `${seconds.toFixed(0)} s: resident ${resident.toFixed(1)} MB, heap ${heap.toFixed(1)} MB, store ${store.toFixed(1)} MB, CPU ${cpuSeconds.toFixed(0)} s; ` +
      `handles ${said('handles')}, timers ${said('timers')}, clients ${said('clients connected')}, sessions ${said('sessions')}, subscriptions ${said('subscriptions')}, retained ${said('retained messages')}; ` +
      `publishes in ${said('publishes received')}, out ${said('publishes sent')}, dropped ${said('publishes dropped')}; ` +
      `acknowledged ${ledger.acknowledged}, received ${ledger.receipts}, ${ledger.repeats} of QoS 1 again; ` +
      `connects ${soak.connects}, refused ${soak.refusals}, broken off ${soak.breaks}, roams ${soak.roams}, sensors timed out ${soak.timeouts}, told to wait ${soak.congestions}; ` +
      `settled in ${settled.toFixed(1)} s`,
  )
}

tell(`soak:real: --seed ${seed} --clients ${clients} --minutes ${minutes} --interval ${interval}`)
const verdict = new Verdict(tell)
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => {
    if (interrupted) process.exit(1)
    tell(`${signal}: this round is the last`)
    interrupted = true
  })
const broker = await Broker.start()
const soak = new Soak(broker, new Random(seed), clients)

async function rounds() {
  await soak.begin()
  const began = Date.now()
  do await round(soak, verdict, began)
  while (!interrupted && Date.now() - began < minutes * 60_000 && verdict.failed === 0)
  verdict.trend()
  for (const [name, count] of soak.notices()) tell(`${name}: ${count}`)
  // Who was promised something and did not get it may wait for ever.
  if (verdict.failed === 0) await soak.end()
}

async function noEnd() {
  await sleep(minutes * 60_000 + OVERTIME_MS, undefined, { ref: false })
  verdict.check(false, 'the soak comes to no end: somebody waits for an answer')
}

try {
  await Promise.race([rounds(), noEnd()])
} finally {
  await broker.stop()
}
for (const what of broker.complaints) verdict.check(false, what)
tell(`${verdict.passed} passed, ${verdict.failed} failed`)
process.exit(verdict.failed === 0 ? 0 : 1)
