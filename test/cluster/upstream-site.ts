import { setTimeout as sleep } from 'node:timers/promises'
import { type Disorder, Ledger } from '../../fuzz/sim/ledger.ts'
import { Random } from '../../fuzz/sim/random.ts'
import { until } from '../bridge/bridged-site.ts'
import { RoostEnd } from '../bridge/ends.ts'
import { traceTo } from '../bridge/trace.ts'
import type { Cluster } from './cluster.ts'
import { ClusterClient } from './cluster-client.ts'
import { gatewayYaml, topicIdsOf } from './gateway-yaml.ts'
import { type Field, Met, RoamingSensor, type SensorHabits } from './roaming-sensor.ts'

/** Messages of the publisher on their way at the same time. */
const WINDOW = 8
/** In which nothing more comes before a round is judged, ms: what would come twice has a chance to. */
const QUIET_MS = 300
/** What is wrong with a round is told up to so many times. */
const FOUND_MAX = 10
/** Every so many sensors, one never sleeps. */
const ACTIVE_EVERY = 5

export interface UpstreamSiteOptions {
  readonly cluster: Cluster
  readonly gateways: number
  readonly sensors: number
  readonly seed: number
  /** How likely a sensor is at another gateway when it wakes. */
  readonly roams: number
  readonly sleepMs: number
  /** How long everything that is owed may take to arrive after a fault, ms. */
  readonly drainMs: number
  readonly startGateway?: typeof gateway
  /** The highest QoS with which sensors publish; 2 if not given. */
  readonly publishQos?: 1 | 2
  /** More lines of the section `upstream`. */
  readonly upstream?: readonly string[]
}

/** In all rounds that were judged. */
export interface Totals {
  /** Acknowledged to sensors. */
  readonly up: number
  /** Acknowledged to the publisher. */
  readonly down: number
  /** Of QoS 1. */
  readonly copies: number
  /** First deliveries that newer ones had overtaken. */
  readonly overtaken: number
  /** Those by the cluster itself, and how: see `Overtaking`. */
  readonly takenOver: number
  readonly reconnected: number
  readonly neverSent: number
}

const trace = traceTo('overtaken')

/**
 * Gateways in front of a cluster, sensors that wake, sleep and roam, and two programs at the cluster: a publisher of commands, and a subscriber to
 * what sensors publish. The ledger knows what each of them was told is acknowledged, and what arrived.
 */
export class UpstreamSite implements Field {
  ledger = new Ledger()
  readonly random: Random
  readonly violations: string[] = []
  readonly gateways: RoostEnd[] = []
  readonly sensors: RoamingSensor[] = []
  readonly options: UpstreamSiteOptions
  readonly publisher: ClusterClient
  readonly station: ClusterClient
  isBusy = false
  /** With QoS 1, of all rounds: a copy may come late, when others were published and judged since. */
  readonly #mayComeAgain = new Set<string>()
  readonly #totals = { up: 0, down: 0, copies: 0, overtaken: 0, takenOver: 0, reconnected: 0, neverSent: 0 }
  /** Of the last round, of which copies may still arrive. */
  #judged: Ledger | undefined

  private constructor(options: UpstreamSiteOptions) {
    this.options = options
    this.random = new Random(options.seed)
    const { nodes, version, maximumQos, sessionsNeedSubscription: hasNoSession = false } = options.cluster
    // The subscriber is somewhere else than the first gateway.
    const ports = nodes.map(({ port }) => port)
    const others = [...ports.slice(1), ...ports.slice(0, 1)]
    this.publisher = new ClusterClient(this, { clientId: 'publisher', version, ports, hasNoSession })
    const subscribes = { filter: 'up/#', qos: maximumQos }
    this.station = new ClusterClient(this, { clientId: 'station', version, ports: others, subscribes })
  }

  static async start(options: UpstreamSiteOptions): Promise<UpstreamSite> {
    const site = new UpstreamSite(options)
    try {
      for (let i = 0; i < options.gateways; i++) site.gateways.push(await (options.startGateway ?? gateway)(options, i))
      for (let i = 0; i < options.sensors; i++) site.sensors.push(await RoamingSensor.open(site, site.#habits(i)))
      const isReady = await until(
        () => site.station.isSubscribed && site.publisher.isReady && site.sensors.every(({ isSubscribed }) => isSubscribed),
        options.drainMs,
      )
      if (!isReady) throw new Error(`not everybody is connected: ${JSON.stringify(site.seen())}`)
    } catch (error) {
      await site.stop()
      throw error
    }
    return site
  }

  #habits(i: number): SensorHabits {
    const clientId = `sensor-${i}`
    const { cluster, gateways, sleepMs, roams, publishQos = 2 } = this.options
    const qos = i % 2 === 0 ? 1 : publishQos
    return {
      clientId,
      publishes: { topic: `up/${clientId}`, qos, owed: ['station'] },
      subscribes: { filter: `down/${clientId}`, qos: cluster.maximumQos },
      at: i % gateways,
      roams,
      ...(i % ACTIVE_EVERY > 0 && { sleepMs }),
    }
  }

  get snPorts(): readonly number[] {
    return this.gateways.map(({ snPort }) => snPort)
  }

  violated(what: string): void {
    this.violations.push(what)
  }

  /** Publishes in both directions until it is told to stop. */
  async traffic(stop: AbortSignal): Promise<void> {
    const { random, publisher, options } = this
    this.isBusy = true
    for (; !stop.aborted; await sleep(random.between(1, 20))) {
      if (publisher.open >= WINDOW) continue
      const { clientId } = random.pick(this.sensors)
      publisher.publish(`down/${clientId}`, random.chance(0.5) ? 1 : options.cluster.maximumQos, [clientId])
    }
    this.isBusy = false
  }

  /** Waits until everything owed has arrived; false if it has not in time. */
  #drained(ms: number): Promise<boolean> {
    return until(() => this.#openCount === 0 && this.ledger.missing().length === 0, ms)
  }

  /** Waits until everything owed has arrived, and judges what was published since the last time. */
  async settle(): Promise<string[]> {
    const { drainMs, cluster } = this.options
    // Asked before the rest of the patience: the messages of consumers that have stopped are no gateway's fault.
    const stalled = (await this.#drained(drainMs / 2)) ? [] : ((await cluster.stalled?.()) ?? [])
    await this.#drained(drainMs / 2)
    await this.#quiet()
    const { ledger, violations } = this
    const totals = this.#totals
    if (this.#openCount > 0) violations.push(`${this.#openCount} messages were never acknowledged`)
    const disorders = ledger.disorders()
    totals.overtaken += disorders.length
    const disordered = cluster.keepsOrder ? disorders.flatMap((disorder) => this.#unexplained(disorder)) : []
    const found = [...violations, ...ledger.missing(), ...this.#doubled(), ...disordered]
    cluster.wire?.forget()
    totals.copies += this.#judged?.copies ?? 0
    this.#judged = ledger
    for (const { publisher, acknowledged, qos, text } of ledger.sent.values()) {
      if (acknowledged) totals[publisher === 'publisher' ? 'down' : 'up']++
      if (qos === 1 || cluster.maximumQos === 1) this.#mayComeAgain.add(text)
    }
    this.ledger = new Ledger(ledger)
    violations.length = 0
    const told = found.slice(0, FOUND_MAX)
    const traces = cluster.traces?.(told.map(missed)) ?? []
    if (found.length === 0) return []
    return [...stalled, ...told, ...traces, ...(await this.#explained(told)), JSON.stringify(this.seen())]
  }

  /** What each gateway says of the sensors that are short of messages. */
  async #explained(found: readonly string[]): Promise<string[]> {
    const short = this.sensors.filter(({ clientId }) => found.some((text) => text.startsWith(`${clientId} never got`)))
    const told = short.flatMap(({ clientId, at }) =>
      this.gateways.map(async ({ process }, i) => {
        const answer = await fetch(`http://127.0.0.1:${process!.httpPort}/api/v1/clients/sn:${clientId}`)
        return `${clientId}, which is at gateway ${at}, at gateway ${i}: ${await answer.text()}`
      }),
    )
    return Promise.all(told)
  }

  /** Counts a message that the cluster itself has sent behind each of those that it came behind; anything else is wrong. */
  #unexplained({ receiver, text, line, newer }: Disorder): string[] {
    const { wire } = this.options.cluster
    const problem = `${receiver} got "${text}" after a later one of ${line}`
    if (wire === undefined) return [problem]
    const overtakings = newer.map((each) => wire.overtaking(receiver, text, each))
    const course = wire.course(receiver, [text, ...newer])
    if (overtakings.includes(undefined)) return [problem, course.join('\n')]
    const totals = this.#totals
    // By the first of the newer ones that came.
    const [how] = overtakings
    if (how === 'taken over') totals.takenOver++
    else if (how === 'reconnected') totals.reconnected++
    else totals.neverSent++
    trace?.([problem, how, ...course, ''].join('\n'))
    return []
  }

  /** QoS 2 from a sensor that the cluster does not have is QoS 1 behind its gateway, and may come twice. */
  #doubled(): string[] {
    const problems = this.ledger.repeated(1).filter((problem) => !this.#mayComeAgain.has(strange(problem)))
    return this.options.cluster.maximumQos === 2 ? problems : problems.filter((each) => !isQos2(each))
  }

  get totals(): Totals {
    return { ...this.#totals, copies: this.#totals.copies + (this.#judged?.copies ?? 0) }
  }

  get #openCount(): number {
    return this.publisher.open + this.sensors.filter(({ isOpen }) => isOpen).length
  }

  async #quiet(): Promise<void> {
    for (let before = -1; before !== this.ledger.deliveries; await sleep(QUIET_MS)) before = this.ledger.deliveries
  }

  /** What sensors have met, all together. */
  get met(): Met {
    const sum = new Met()
    for (const { met } of this.sensors) for (const key of Object.keys(sum) as (keyof Met)[]) sum[key] += met[key]
    return sum
  }

  /** What to begin with when something is wrong. */
  seen(): object {
    const states: Record<string, number> = {}
    for (const { state } of this.sensors) states[state] = (states[state] ?? 0) + 1
    const subscribed = this.sensors.filter(({ isSubscribed }) => isSubscribed).length
    return {
      ...this.met,
      ...states,
      subscribed,
      ...this.totals,
      station: this.station.isReady,
      publisher: this.publisher.isReady,
    }
  }

  async stop(): Promise<void> {
    for (const sensor of this.sensors) sensor.stop()
    this.publisher.stop()
    this.station.stop()
    await Promise.all(this.gateways.map((each) => each.stop()))
  }
}

/** The message that nobody has sent in the last two rounds, if that is the problem. */
const strange = (problem: string): string => / got "(.*)", which nobody sent$/.exec(problem)?.[1] ?? ''

/** The message that did not arrive, if that is the problem. */
const missed = (problem: string): string => / never got "(.*)" \(/.exec(problem)?.[1] ?? ''

const isQos2 = (problem: string): boolean => problem.includes('(QoS 2)')

/** Each begins with another node of the cluster, and gives topic ids of its own. */
function gateway({ cluster, gateways, upstream = [] }: UpstreamSiteOptions, i: number): Promise<RoostEnd> {
  const ports = cluster.nodes.map(({ port }) => port)
  const first = i % ports.length
  const yaml = gatewayYaml([...ports.slice(first), ...ports.slice(0, first)], ['restart_timeout: 1 2', ...upstream])
  const ids = ['--gateway-id', `${i + 1}`, '--gateway-topic-ids', topicIdsOf(i, gateways)]
  return RoostEnd.start(yaml, ...ids, '--t-retry', '1', '--http', 'true', '--http-port', '0')
}
