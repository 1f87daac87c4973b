import { setTimeout as sleep } from 'node:timers/promises'
import { LiveClient, type Run } from '../../crash/live-clients.ts'
import { Ledger, type Sent } from '../../fuzz/sim/ledger.ts'
import { Random } from '../../fuzz/sim/random.ts'
import { type Copier, type Delivery, doubled } from './copies.ts'
import type { End } from './ends.ts'
import type { Line, Way } from './line.ts'
import type { Carried, LineLedger } from './line-ledger.ts'
import { type Backwards, deliveredBackwards, sentBackwards } from './orders.ts'

/** Messages of one publisher on their way at the same time. */
const WINDOW = 8
/** How long nothing may come while something is owed, ms: on a busy machine a backlog takes minutes. */
const DRAIN_MS = 60_000
/** In which nothing more comes before a round is judged, ms: what would come twice has a chance to. */
const QUIET_MS = 150
/** Of each end's log, when something is wrong. */
const LOG_LINES = 20
const RECEIVERS: readonly string[] = ['up-receiver', 'down-receiver']
/** What is wrong with a round is told up to so many times. */
const FOUND_MAX = 10

/** One end of the bridge: its broker, two publishers and a subscriber with lasting sessions. */
class Side implements Run {
  readonly publishers: readonly LiveClient[]
  readonly subscriber: LiveClient
  readonly end: End
  /** The last round in which it was killed and may have forgotten what it had acknowledged; -1 before that. */
  forgotIn = -1
  readonly #site: BridgedSite

  constructor(site: BridgedSite, end: End, sends: Way) {
    this.#site = site
    this.end = end
    const receives = sends === 'up' ? 'down' : 'up'
    this.subscriber = new LiveClient(this, { clientId: `${receives}-receiver` }, [`${receives}/#`])
    this.publishers = ([5, 4] as const).map((version) => new LiveClient(this, { clientId: `${sends}-${version}`, version }))
  }

  get ledger(): Ledger {
    return this.#site.ledger
  }

  get ports(): { mqtt: number; sn: number } {
    return { mqtt: this.end.port, sn: 0 }
  }

  acknowledged({ text }: Sent, reasonCode: number): void {
    this.#site.acknowledgedBy(this, text, reasonCode)
  }

  /** Killed in this round, and may have forgotten what it had acknowledged. */
  get mayForget(): boolean {
    return this.forgotIn === this.#site.round
  }

  get copier(): Copier {
    return { name: this.end.name, keepsItsWord: this.end.keepsItsWord, forgotIn: this.forgotIn }
  }

  violated(what: string): void {
    if (!this.mayForget) this.#site.violations.push(what)
  }

  get clients(): readonly LiveClient[] {
    return [this.subscriber, ...this.publishers]
  }
}

export interface SiteOptions {
  /** The one that dials, and has the bridge. */
  readonly near: End
  readonly far: End
  readonly line: Line
  readonly ledger: LineLedger
  readonly seed: number
}

/**
 * Two brokers with a bridge between them over a line that the test owns, and publishers and subscribers at both ends. `up/#` goes from the one that
 * dials to the other, `down/#` back.
 *
 * What may be asked of a message depends on who could have forgotten it. An end that keeps its word, or was not killed, has either delivered what it
 * has acknowledged, or the line has seen the other end take it over; what the line has seen taken reaches the subscriber of such an end.
 */
export class BridgedSite {
  ledger: Ledger
  readonly violations: string[] = []
  readonly random: Random
  readonly options: SiteOptions
  readonly near: Side
  readonly far: Side
  /** When this round's messages were acknowledged to their publishers, and came to their receivers, for people. */
  readonly #atEnds = new Map<string, string[]>()
  /** How many PUBLISH packets of its way the line had seen when a message of this round was first delivered. */
  readonly #seenAt = new Map<string, number>()
  /** Messages that were published in all rounds. */
  published = 0
  /** How many rounds have been judged. */
  round = 0
  /** Those that an end has lost that was killed, and had not saved what it had acknowledged: not ours. */
  lostByOthers = 0
  /** Deliveries behind the first ones, by QoS, of the rounds before the last one. */
  readonly #again = { 1: 0, 2: 0 }
  /** Of the last round, of which copies may still arrive. */
  #judged: Ledger | undefined
  /** Those with QoS 2 of the rounds before it: an end that is killed twice may have forgotten the same exchange both times. */
  readonly #older = new Map<string, Delivery>()

  constructor(options: SiteOptions) {
    this.options = options
    this.random = new Random(options.seed)
    this.ledger = this.#newLedger()
    this.near = new Side(this, options.near, 'up')
    this.far = new Side(this, options.far, 'down')
  }

  get #clients(): readonly LiveClient[] {
    return [...this.near.clients, ...this.far.clients]
  }

  get openCount(): number {
    return this.#clients.reduce((sum, { open }) => sum + open.size, 0)
  }

  /** Everybody is there, and the bridge has its subscription at the far end: what is published there before that is not its business. */
  async ready(): Promise<void> {
    const { ledger } = this.options
    const isReady = await until(() => ledger.counted('down', 'suback') > 0 && this.#clients.every(({ ready }) => ready))
    if (!isReady) throw new Error(`not everybody is connected: ${this.#seen()}`)
  }

  /** Publishes at both ends until it is told to stop. */
  async traffic(stop: AbortSignal): Promise<void> {
    const { random } = this
    for (; !stop.aborted; await sleep(random.between(1, 8)))
      for (const way of ['up', 'down'] as const)
        for (const [index, { open }] of this.#sender(way).publishers.entries())
          if (open.size < WINDOW) this.publish(way, index, random.chance(0.5) ? 1 : 2)
  }

  #sender(way: Way): Side {
    return way === 'up' ? this.near : this.far
  }

  publish(way: Way, index: number, qos: 1 | 2): void {
    const publisher = this.#sender(way).publishers[index]!
    publisher.publish(`${way}/${publisher.client.clientId}`, qos, [`${way}-receiver`])
    this.published++
  }

  acknowledgedBy(side: Side, text: string, reasonCode: number): void {
    this.#noteOf(text, `${side.end.name} acknowledged it to its publisher with code ${reasonCode}`)
  }

  #noteOf(text: string, what: string): void {
    const history = this.#atEnds.get(text) ?? []
    this.#atEnds.set(text, history)
    this.options.ledger.trace(`"${text}": ${what}`)
    this.options.ledger.note(what, history)
  }

  /** How often one with QoS 1 has come again, as it may. */
  get again(): number {
    return this.#again[1] + againIn(this.#judged, 1)
  }

  /**
   * Those with QoS 2 that came twice because an end sent them twice: it was killed and had forgotten, or published after its PUBREL. A bridge of
   * Mosquitto does that when a dial fails: each one takes what waits for PUBCOMP a step back, to PUBREL and then to PUBLISH.
   */
  get doubledByOthers(): number {
    return this.#again[2] + againIn(this.#judged, 2)
  }

  async kill(side: Side): Promise<void> {
    if (!side.end.keepsItsWord) side.forgotIn = this.round
    this.#note(side, 'is killed')
    await side.end.kill()
    this.#note(side, 'is gone')
    if (!side.end.keepsItsWord) this.options.ledger.forgotten(side === this.near ? 'up' : 'down')
  }

  async restart(side: Side): Promise<void> {
    await side.end.restart()
    this.#note(side, 'is back')
  }

  #note(side: Side, what: string): void {
    const said = `${side.end.name} at the ${side === this.near ? 'near' : 'far'} end ${what}`
    this.options.ledger.trace(said)
    this.options.ledger.note(said)
  }

  /** Waits until everything owed has arrived, and judges the round. */
  async settle(): Promise<string[]> {
    let arrived = false
    // What an end may have forgotten is owed from the moment on at which the other one takes it, and that may be while all seems quiet.
    do {
      arrived = false
      for (let before = -1; !arrived && before !== this.ledger.deliveries; ) {
        before = this.ledger.deliveries
        arrived = await until(() => this.openCount === 0 && this.#missing().length === 0, DRAIN_MS)
      }
      await this.#quiet()
    } while (arrived && this.#missing().length > 0)
    const { violations } = this
    if (!arrived && this.openCount > 0) violations.push(`${this.openCount} messages were never acknowledged`)
    const found = [...violations, ...this.#missing(), ...this.#allDoubled(), ...this.#disordered()]
    this.lostByOthers += this.ledger.missing().length
    for (const qos of [1, 2] as const) this.#again[qos] += againIn(this.#judged, qos)
    for (const delivery of deliveriesOf(this.#judged, this.round - 1)) this.#older.set(delivery.sent.text, delivery)
    this.#judged = this.ledger
    // A message of this round may come again in the next one.
    this.ledger = this.#newLedger(this.ledger)
    this.#atEnds.clear()
    this.#seenAt.clear()
    violations.length = 0
    this.round++
    return found.length === 0 ? [] : [...found.slice(0, FOUND_MAX), this.#seen()]
  }

  /** What the line has seen, to begin with when something is wrong. */
  #seen(): string {
    const { ledger, line } = this.options
    const { connects, sessionPresent, sessionsLost, packets, history } = ledger
    const seen = { dials: line.dials, isUp: line.isUp, connects, sessionPresent, sessionsLost, packets: [...packets] }
    const logs = [this.near, this.far].flatMap(({ end }) => end.log.slice(-LOG_LINES).map((text) => `${end.name}: ${text}`))
    return [JSON.stringify(seen), ...history, ...logs].join('\n')
  }

  #newLedger(before?: Ledger): Ledger {
    return new ToldLedger((receiver, text) => this.#came(receiver, text), before)
  }

  #came(receiver: string, text: string): void {
    this.#noteOf(text, `came to ${receiver}`)
    const { up, down } = this.options.ledger
    if (!this.#seenAt.has(text)) this.#seenAt.set(text, (receiver === 'up-receiver' ? up : down).published)
  }

  /** What happened to a message, and when. */
  #historyOf(text: string, carried: Carried | undefined): string {
    const lines = [...(this.#atEnds.get(text) ?? []), ...(carried?.history ?? ['the line has not seen it'])]
    return lines.map((line) => `\n    ${line}`).join('')
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.stop()
    await this.options.line.close()
    await this.near.end.stop()
    await this.far.end.stop()
  }

  async #quiet(): Promise<void> {
    for (let before = -1; before !== this.ledger.deliveries; await sleep(QUIET_MS)) before = this.ledger.deliveries
  }

  /** From where it was published, to where it goes, and what the line has seen of it. */
  #wayOf({ topic, text }: Sent): { from: Side; to: Side; carried: Carried | undefined; way: Way } {
    const way = topic.startsWith('up/') ? 'up' : 'down'
    const [from, to] = way === 'up' ? [this.near, this.far] : [this.far, this.near]
    return { from, to, carried: this.options.ledger[way].messages.get(text), way }
  }

  #missing(): string[] {
    const problems: string[] = []
    const got = { up: new Set(this.ledger.received('up-receiver')), down: new Set(this.ledger.received('down-receiver')) }
    for (const one of this.ledger.sent.values()) {
      const { from, to, carried, way } = this.#wayOf(one)
      if (got[way].has(one.text)) continue
      const taken = carried?.taken === true
      const history = this.#historyOf(one.text, carried)
      if (one.acknowledged && !from.mayForget && !taken)
        problems.push(`${from.end.name} has lost "${one.text}" (${one.topic})${history}`)
      if (taken && !to.mayForget && carried?.collides !== true)
        problems.push(`${to.end.name} took "${one.text}" (${one.topic}), and has not delivered it${history}`)
    }
    return problems
  }

  /** Of this round, of the last one, and copies of those before. */
  #allDoubled(): string[] {
    const copied = new Set<Delivery>()
    for (const text of RECEIVERS.flatMap((receiver) => this.ledger.received(receiver))) {
      const delivery = this.#older.get(text)
      if (delivery === undefined) continue
      delivery.count++
      this.#again[2]++
      copied.add(delivery)
    }
    const recent = [...deliveriesOf(this.#judged, this.round - 1), ...deliveriesOf(this.ledger, this.round)]
    return [...copied, ...recent].flatMap((delivery) => {
      const { from, to, carried } = this.#wayOf(delivery.sent)
      const problem = doubled(delivery, carried, from.copier, to.copier)
      return problem === undefined ? [] : [`${problem}${this.#historyOf(delivery.sent.text, carried)}`]
    })
  }

  /**
   * In order per publisher, topic and QoS. Roost sends in the order of publication, and every end delivers in an order in which the line carried.
   * Mosquitto does not always send in order: after a reconnection its new messages may overtake those that waited there.
   */
  #disordered(): string[] {
    const problems: string[] = []
    for (const way of ['up', 'down'] as const) {
      const { from, to } = way === 'up' ? { from: this.near, to: this.far } : { from: this.far, to: this.near }
      const { messages } = this.options.ledger[way]
      if (from.end.keepsItsWord)
        problems.push(...sentBackwards([...messages.values()]).map((found) => `${from.end.name} sent ${this.#inWords(found)}`))
      if (to.mayForget) continue
      const delivered = [...new Set(this.ledger.received(`${way}-receiver`))].flatMap((text) => {
        const [carried, seen] = [messages.get(text), this.#seenAt.get(text)]
        // A copy of a message from before the last round is none of this one.
        return carried === undefined || seen === undefined ? [] : [{ carried, seen }]
      })
      for (const found of deliveredBackwards(delivered))
        problems.push(`${to.end.name} delivered, unlike on the line, ${this.#inWords(found)}`)
    }
    return problems
  }

  #inWords({ line, one, before }: Backwards): string {
    const histories = [one, before].map((carried) => `"${carried.text}"${this.#historyOf(carried.text, carried)}`)
    return `of ${line} ${histories.join('\n  behind the later one ')}`
  }
}

/** Of all those with QoS 2, of one round. */
function deliveriesOf(ledger: Ledger | undefined, round: number): Delivery[] {
  if (ledger === undefined) return []
  const times = new Map<string, number>()
  for (const receiver of RECEIVERS) for (const text of ledger.received(receiver)) times.set(text, (times.get(text) ?? 0) + 1)
  return [...ledger.sent.values()].flatMap((sent) => (sent.qos === 2 ? [{ sent, round, count: times.get(sent.text) ?? 0 }] : []))
}

/** Deliveries of messages with this QoS behind the first ones. */
function againIn(ledger: Ledger | undefined, qos: 1 | 2): number {
  if (ledger === undefined) return 0
  const texts = RECEIVERS.flatMap((receiver) => ledger.received(receiver)).filter((text) => ledger.sent.get(text)?.qos === qos)
  return texts.length - new Set(texts).size
}

/** Says when something comes to a receiver. */
class ToldLedger extends Ledger {
  readonly #tell: (receiver: string, text: string) => void

  constructor(tell: (receiver: string, text: string) => void, before?: Ledger) {
    super(before)
    this.#tell = tell
  }

  override receive(receiver: string, text: string): void {
    if (this.sent.has(text)) this.#tell(receiver, text)
    super.receive(receiver, text)
  }
}

/** Waits for a condition; false if it does not come true in time. */
export async function until(condition: () => boolean, ms = 60_000): Promise<boolean> {
  for (const end = Date.now() + ms; !condition(); await sleep(10)) if (Date.now() > end) return false
  return true
}
