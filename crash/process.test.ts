import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Ledger } from '../fuzz/sim/ledger.ts'
import { Random } from '../fuzz/sim/random.ts'
import { StartedProcess } from '../test/interop/started-process.ts'
import { LiveClient, LiveSensor, type Run } from './live-clients.ts'

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 20)
const SEED = Number(process.env.CRASH_SEED ?? Date.now() % 2 ** 31)
/** Messages of one publisher on their way at the same time. */
const WINDOW = 8
/** How long everything that is owed may take to arrive after a restart, ms. */
const DRAIN_MS = 30_000
/** How long a round waits for a moment at which a kill counts, ms. */
const COUNTS_MS = 1000
/** Rounds that do not count, because nothing was on its way or nobody slept, for each that does. */
const SPARE = 3

class Site implements Run {
  ledger = new Ledger()
  ports = { mqtt: 0, sn: 0 }
  readonly violations: string[] = []
  readonly random = new Random(SEED)
  readonly dir = mkdtempSync(join(tmpdir(), 'roost-crash-'))
  roost: StartedProcess | undefined
  publishers: LiveClient[] = []
  subscribers: LiveClient[] = []
  sensors: LiveSensor[] = []
  sleepers: LiveSensor[] = []

  violated(what: string): void {
    this.violations.push(what)
  }

  /** On the same ports every time, so that sensors need not know. */
  async start(): Promise<void> {
    const { mqtt, sn } = this.ports
    this.roost = await StartedProcess.startWith(
      '--data-dir',
      this.dir,
      '--port',
      `${mqtt}`,
      '--sn-port',
      `${sn}`,
      '--log-level',
      'info',
    )
    this.ports = { mqtt: this.roost.mqttPort, sn: this.roost.snPort }
  }

  async join(): Promise<void> {
    this.subscribers = ['s1', 's2'].map((clientId) => new LiveClient(this, { clientId }, ['up/#', 'tcp/#']))
    this.publishers = [5, 4, 5].map((version, i) => new LiveClient(this, { clientId: `p${i}`, version: version as 4 | 5 }))
    this.sensors = await Promise.all(['n1', 'n2'].map((clientId) => LiveSensor.open(this, { clientId })))
    this.sleepers = await Promise.all(
      ['z1', 'z2', 'z3'].map((clientId, i) => LiveSensor.open(this, { clientId }, 'down/#', 200 * (i + 1))),
    )
  }

  get clients(): readonly (LiveClient | LiveSensor)[] {
    return [...this.subscribers, ...this.publishers, ...this.sensors, ...this.sleepers]
  }

  get openCount(): number {
    return this.clients.reduce((sum, { open }) => sum + open.size, 0)
  }

  /** Something is on its way, and somebody sleeps. */
  get counts(): boolean {
    return this.openCount > 0 && this.sleepers.some(({ isAsleep }) => isAsleep)
  }

  /** Publishes until it is told to stop, as much as the windows take. */
  async traffic(stop: AbortSignal): Promise<void> {
    const { random } = this
    const tcp = ['s1', 's2']
    const sleepers = ['z1', 'z2', 'z3']
    // One of the subscribers is away half of the time, so that its queue is in the store.
    this.subscribers[1]!.away = random.chance(0.5)
    for (; !stop.aborted; await sleep(random.between(1, 8))) {
      for (const [i, publisher] of this.publishers.entries()) {
        if (publisher.open.size >= WINDOW) continue
        if (random.chance(0.1)) publisher.publish(`down/${i}`, random.chance(0.5) ? 1 : 2, sleepers)
        else publisher.publish(`tcp/${i}`, random.chance(0.5) ? 1 : 2, tcp)
      }
      for (const sensor of this.sensors) {
        if (sensor.open.size === 0) sensor.publish(`up/${sensor.client.clientId}`, random.chance(0.5) ? 1 : 2, tcp)
      }
    }
  }

  /** Waits until everybody has what is owed, and judges. */
  async settle(round: number): Promise<void> {
    for (const subscriber of this.subscribers) subscriber.away = false
    const until = Date.now() + DRAIN_MS
    while (Date.now() < until && (this.openCount > 0 || this.ledger.missing().length > 0)) await sleep(20)
    // What would come twice has a chance to come.
    const { wakes } = this.sleepers[0]!
    while (Date.now() < until && this.sleepers[0]!.wakes < wakes + 2) await sleep(20)
    if (this.openCount > 0) this.violated(`${this.openCount} messages were never acknowledged`)
    const { ledger } = this
    for (const what of [...ledger.missing(), ...ledger.repeated(1), ...ledger.disordered()]) this.violated(what)
    expect(this.violations, `round ${round}, CRASH_SEED=${SEED}`).toEqual([])
    // A message with QoS 1 of this round may come again in the next one.
    this.ledger = new Ledger(this.ledger)
  }

  async end(): Promise<void> {
    for (const client of this.clients) client.stop()
    await this.roost?.stop('SIGKILL')
    rmSync(this.dir, { recursive: true })
  }
}

test(`nothing acknowledged is lost in ${ROUNDS} kills at random instants`, { timeout: ROUNDS * 60_000 }, async () => {
  const site = new Site()
  let counted = 0
  try {
    await site.start()
    await site.join()
    while (!site.clients.every((client) => client.ready)) await sleep(20)
    for (let round = 1; counted < ROUNDS; round++) {
      expect(round, 'rounds in which something was on its way and somebody slept').toBeLessThanOrEqual(ROUNDS * SPARE)
      const stop = new AbortController()
      const traffic = site.traffic(stop.signal)
      await sleep(site.random.between(60, 650))
      // A moment that counts, if there is one soon; and no turn of the loop between that and the kill.
      for (const until = Date.now() + COUNTS_MS; !site.counts && Date.now() < until; ) await sleep(1)
      const { counts } = site
      const killed = site.roost!.stop('SIGKILL')
      // Some go on publishing to a process that is gone.
      await Promise.all([killed, sleep(site.random.between(0, 50))])
      stop.abort()
      await traffic
      await site.start()
      await site.settle(round)
      if (counts) counted++
    }
  } finally {
    await site.end()
  }
})
