import type { Notice } from '../../src/base/notice.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import { messageOf } from './checkers/checker.ts'
import { Claims, CONDITION, type Published } from './claims.ts'
import { dropsTold } from './drops-told.ts'
import { contentCheck } from './kinds.ts'
import { Namesakes } from './namesakes.ts'
import { Node } from './node.ts'
import { Operator } from './operator.ts'
import { brokerLimits, gatewayOptions, isConditional, memoryLimits, PLAIN, type Scarce, type Setup } from './setup.ts'
import { BRIDGE, SHORT_SECONDS, Station } from './station.ts'
import {
  type Cut,
  FILTERS,
  isOperatorStep,
  type OperatorStep,
  STATE_FILTER,
  type Step,
  stateTopic,
  TOPICS,
  WILL_TOPIC,
} from './step.ts'
import { TapeNetwork } from './tape-network.ts'
import { Wire } from './wire.ts'
import { COMMIT_MS, World } from './world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const HOUR_SECONDS = 3600
/** For which the gateway keeps the session of a sensor that is gone. */
export const SESSION_SECONDS = 7 * 24 * 3600
/** Between two steps: less than an exchange takes, so that things happen in the middle of it. */
const STEP_MS = 30

/** In which everybody comes back when faults have ended. */
const LAST_ROUNDS = 12

/** Sensors and TCP clients around the production server, to which steps happen. */
export class Site {
  readonly setup: Setup
  readonly world: World
  readonly network: TapeNetwork
  readonly claims = new Claims()
  readonly nodes: readonly Node[]
  readonly stations: readonly Station[]
  /** Subscribes to everything with QoS 2 and never goes away for long: sees the wills. */
  readonly collector: Station
  readonly namesakes = new Namesakes(this)
  readonly operator = new Operator(this)

  constructor(scarce: Scarce = {}) {
    this.setup = { ...PLAIN, ...scarce }
    this.world = worldOf(this.setup)
    this.world.store.maxBytes = this.setup.storeBytes
    this.network = new TapeNetwork(this.world.schedule, this.setup)
    this.world.carrier = this.network
    this.world.observers.push(new Wire(this), {
      notice: (notice) => {
        const receiver = this.claims.receivers.get(this.clientOf(notice) ?? '')
        if (receiver === undefined) return
        receiver.dropped += dropsTold(notice)
        if (notice.code === 'session-expired') this.claims.expired(receiver)
        if (notice.code === 'publish-refused') this.#mqtt3(receiver.id)?.refusedSilently('publish')
        if (notice.code === 'subscribe-refused') this.#mqtt3(receiver.id)?.refusedSilently('subscribe')
        // A late copy of its CONNECT takes the subscriptions of a clean session away, and the sensor knows nothing of that.
        if (notice.code === 'client-takeover' && !receiver.lasting) this.claims.forfeit(receiver)
        receiver.overflowed ||= notice.limit === 'sn_max_queued_frames'
        receiver.revives ||= dropsTold(notice) > 0 && this.world.store.refusals > 0
      },
      unwanted: (text) => {
        const one = this.claims.published.get(text)
        if (one !== undefined) one.refused = true
      },
      datagramIn: (sensor, datagram) => {
        // What the sensor has subscribed to since it sent this, a late copy ends too.
        const node = this.nodes.find((each) => each.sensor === sensor)
        if (messageOf(datagram)?.type === MsgType.UNSUBSCRIBE && node !== undefined) this.claims.forfeit(node.receiver)
      },
    })
    this.nodes = [
      new Node(this, 's0', true, 2, 1, { qos: 0, retain: false }),
      new Node(this, 's1', true, this.setup.qosWithoutWill, 1.003),
      new Node(this, 's2', false, 2, 0.997, this.setup.cleanWill ? { qos: 1, retain: false } : undefined),
    ]
    if (this.setup.ignoresRegister) this.nodes[0]!.sensor.ignores = (topicName) => topicName === TOPICS[1]
    this.nodes[2]!.sensor.hearsAfterMs = this.setup.hearsAfterMs
    if (this.setup.choosy) this.nodes[1]!.sensor.refuses = (topicName) => topicName === TOPICS[1]
    this.collector = new Station(this, 'collector', SESSION_SECONDS, 2)
    const isBridge = this.setup.bridge !== 'none'
    const will = { qos: 1, retain: false, delaySeconds: 20 } as const
    this.stations = [
      this.collector,
      isBridge
        ? new Station(this, BRIDGE, SESSION_SECONDS, 2, undefined, this.setup.bridge)
        : new Station(this, 'm1', HOUR_SECONDS, 1, will),
      // Its session ends before its will would be due.
      new Station(this, 'm2', SHORT_SECONDS, 2, { qos: 2, retain: true, delaySeconds: 60 }),
    ]
    this.collector.connect()
    this.run(SECOND)
    this.collector.subscribe('#')
    this.run(SECOND)
    if (!isBridge) return
    this.collector.subscribe(STATE_FILTER)
    this.run(SECOND)
  }

  /** A station whose version has no word for refusals. */
  #mqtt3(id: string): Station | undefined {
    return this.stations.find((station) => station.id === id && station.tcp.version < 5)
  }

  /** Whoever is there at the beginning comes. */
  begin(): void {
    const everybody = [...this.nodes, ...this.stations.slice(1)]
    const { begins } = this.setup
    if (begins === 'alone') return
    for (const each of everybody) each.connect()
    this.run(2 * SECOND)
    if (begins === 'connected') return
    for (const filter of ['room/#', 'xy']) for (const each of everybody) each.subscribe(filter)
    this.run(2 * SECOND)
  }

  /** Id of the client that a Notice is about, which may only say where it is. */
  clientOf({ client, peer }: Notice): string | undefined {
    if (client !== undefined) return client.slice(client.indexOf(':') + 1)
    return this.nodes.find(({ sensor }) => sensor.route === peer || sensor.formerRoutes.has(peer ?? ''))?.id
  }

  /** What a station has published under this packet id and waits to be told of. */
  stationPublished(id: string, packetId: number): Published | undefined {
    return this.stations.find((station) => station.id === id)?.published(packetId)
  }

  stationSubscribing(id: string, packetId: number): string | undefined {
    return this.stations.find((station) => station.id === id)?.subscribing(packetId)
  }

  /** Time passes. The collector comes back by itself. */
  run(ms: number): void {
    const { schedule } = this.world
    const until = schedule.now + ms
    while (schedule.now < until) {
      if (this.collector.tcp.client.state === 'closed') this.collector.connect()
      schedule.runUntil(Math.min(until, schedule.now + 10 * SECOND))
    }
  }

  /** Whether the step means anything now. */
  allows(step: Step): boolean {
    return !('who' in step) || isOperatorStep(step) || step.who < this.nodes.length || SPOKEN_BY_STATIONS.has(step.do)
  }

  take(step: Step): void {
    const times = step.do === 'publish' || step.do === 'guess' ? (step.times ?? 1) : 1
    for (let time = 0; time < times; time++) {
      if (isOperatorStep(step)) this.operator.take(step)
      else if (step.do === 'join') this.#join(step.who, FILTERS[step.filter]!)
      else if ('who' in step) this.#takeOf(step)
      else this.#takeOfServer(step)
    }
    this.run(step.do === 'advance' ? step.ms : STEP_MS)
  }

  #takeOf(step: Exclude<Extract<Step, { who: number }>, OperatorStep>): void {
    const node = this.nodes[step.who]
    if (node === undefined) this.#takeOfStation(step, this.stations[step.who - this.nodes.length]!)
    else this.#takeOfNode(step, node)
  }

  #join(who: number, filter: string): void {
    const node = this.nodes[who]
    const station = this.stations[who - this.nodes.length]
    if (station === this.collector) return
    if (node !== undefined && !node.known) node.connect()
    station?.connect()
    this.run(SECOND)
    node?.subscribe(filter)
    station?.subscribe(filter)
    this.run(SECOND)
  }

  #takeOfStation(step: Exclude<Extract<Step, { who: number }>, OperatorStep>, station: Station): void {
    if (step.do === 'connect') station.connect()
    else if (step.do === 'break') station.tcp.breakStream()
    else if (step.do === 'publish')
      station.publish(TOPICS[step.topic]!, Math.max(0, step.qos) as 0 | 1 | 2, step.retain, step.long, step.expires, step.unfit)
    else if (step.do === 'cut') this.#cut(step, station)
    else if (step.do === 'forge') station.forge(step.packetId)
    else if (step.do === 'look-away') station.tcp.lookAway()
    else if (step.do === 'look-back') station.tcp.lookBack()
    else if (station === this.collector) return
    else if (step.do === 'disconnect') station.disconnect()
    else if (step.do === 'disconnect-with-will') station.disconnect(true)
    else if (step.do === 'subscribe') station.subscribe(FILTERS[step.filter]!)
    else if (step.do === 'unsubscribe') station.unsubscribe(FILTERS[step.filter]!)
  }

  #takeOfNode(step: Exclude<Extract<Step, { who: number }>, OperatorStep>, node: Node): void {
    const { sensor, id } = node
    const { state } = sensor.client
    const active = state === 'active'
    if (step.do === 'connect') node.connect()
    else if (step.do === 'disconnect') node.disconnect()
    else if (step.do === 'publish') node.publish(TOPICS[step.topic]!, step.qos, step.retain, step.long, step.unfit)
    else if (step.do === 'burst') node.burst(step.times)
    else if (step.do === 'keep') node.keep()
    else if (step.do === 'cut') this.#cut(step, node)
    else if (step.do === 'subscribe') node.subscribe(FILTERS[step.filter]!)
    else if (step.do === 'unsubscribe') node.unsubscribe(FILTERS[step.filter]!)
    else if (step.do === 'reboot') node.reboot()
    else if (step.do === 'roam') this.world.move(sensor)
    else if (step.do === 'tape') this.network.wind(`${id} ${step.up ? 'up' : 'down'}`, step.fates)
    else if (step.do === 'partition') for (const way of ['up', 'down']) this.network.cut.add(`${id} ${way}`)
    else if (step.do === 'wake') sensor.act((sn, now) => sn.wake(now))
    else if (step.do === 'sleep') {
      if (active || state === 'asleep') sensor.act((sn, now) => sn.sleep(now, step.seconds))
    } else if (active && step.do === 'ping') sensor.act((sn, now) => sn.ping(now))
    else if (active && step.do === 'register') sensor.act((sn, now) => sn.register(now, TOPICS[step.topic]!))
    else if (active && step.do === 'will') node.updateWill()
    else if (step.do === 'congest') sensor.congested = true
    else if (step.do === 'guess') sensor.forge(step)
    else if (step.do === 'namesake') this.namesakes.comeOrGo(id)
  }

  /** Begins the message: one from this client if it is its PUBLISH or PUBREL, or an answer to these, that is cut; otherwise one for whoever has subscribed. */
  #cut(cut: Cut, whom: Node | Station): void {
    whom.cut = cut
    const wayOfSender = cut.behind === 'PUBLISH' || cut.behind === 'PUBREL' ? 'up' : 'down'
    if (cut.way !== wayOfSender) this.collector.publish('xy', 2, false)
    else if (whom instanceof Node) whom.keep()
    else whom.publish('xy', 2, false)
  }

  #takeOfServer(step: Exclude<Step, { who: number } | OperatorStep>): void {
    const { world } = this
    if (step.do === 'heal') this.network.heal()
    else if (step.do === 'set-clock') world.setClock(step.by)
    else if (step.do === 'pause') this.#pause(step.ms)
    else if (step.do === 'break-all') for (const { tcp } of this.stations) tcp.breakStream()
    else if (step.do === 'stall') world.store.stalled = true
    else if (step.do === 'unstall') this.#unstall()
    else if (step.do === 'slow') world.store.delayMs = step.ms
    else if (step.do === 'fill') world.store.refuse = true
    else if (step.do === 'empty') world.store.refuse = false
    else if (step.do === 'restart') world.stopAndStart()
    else if (step.do === 'crash') world.crash({ survivors: step.survivors, torn: step.torn })
  }

  /** Time passes, and the process does not run. */
  #pause(ms: number): void {
    this.world.pause(ms)
    this.run(ms)
  }

  /** The disk has room, and is as fast as ever. */
  mendStore(): void {
    const { world } = this
    world.store.refuse = false
    world.store.delayMs = COMMIT_MS
    this.#unstall()
  }

  #unstall(): void {
    const { world } = this
    if (!world.store.stalled) return
    world.store.stalled = false
    world.wakeStore()
  }

  /** Faults end, everybody comes back, and gets the time that what is owed may take. */
  settle(): void {
    this.network.heal()
    this.mendStore()
    this.world.enoughMemory()
    // Where airtime is scarce, what waits for it may wait for hours.
    const roundMs = (this.setup.airtime?.dutyCycle ?? 1) < 1 ? 31 * MINUTE : MINUTE
    for (const { sensor } of this.nodes) sensor.congested = false
    for (const each of [...this.nodes, ...this.stations]) each.cut = undefined
    for (let round = 0; round < LAST_ROUNDS || (round < 1000 && this.#waits); round++) {
      for (const { tcp } of this.stations) tcp.lookBack()
      for (const station of this.stations) station.connect()
      for (const { sensor } of this.nodes) {
        const { state } = sensor.client
        if (state === 'asleep') sensor.act((sn, now) => sn.wake(now))
        else if (state === 'active') sensor.act((sn, now) => sn.ping(now))
      }
      for (const node of this.nodes) if (node.sensor.client.state === 'disconnected') node.connect()
      // What is retained there comes with the subscription.
      if (this.setup.bridge !== 'none' && round === LAST_ROUNDS - 2) this.collector.subscribe(STATE_FILTER)
      this.run(roundMs)
    }
  }

  /** An awake period may bring little; and what is not answered is repeated for a while, later where the sensor was congested or its address is unproven. */
  get #waits(): boolean {
    const { broker, gateway } = this.world.server
    return this.nodes.some(({ id, sensor }) => {
      const client = gateway.client(id)
      if (!sensor.client.idle) return true
      // One that is lost over a message again and again is sent nothing at all between two of its conversations.
      const isInflight = (broker.sessions.get('sn', id)?.inflight?.size ?? 0) > 0
      return isInflight || (client?.link?.backlog ?? 0) > 0 || client?.outbound.busy === true
    })
  }

  /** Everybody goes, and nobody comes back before their sessions are forgotten. */
  abandon(): void {
    this.collector.unsubscribe('#')
    for (const topic of [...TOPICS, WILL_TOPIC, stateTopic(BRIDGE)]) this.collector.clear(topic)
    this.run(MINUTE)
    for (const node of this.nodes) node.disconnect()
    for (const station of this.stations) station.disconnect()
    this.namesakes.leave()
    this.outliveSessions()
  }

  /** The time passes for which anybody's session is kept. */
  outliveSessions(): void {
    this.world.schedule.runUntil(this.world.schedule.now + 2 * SESSION_SECONDS * SECOND)
  }
}

/** With nobody in it. */
export function worldOf(setup: Setup): World {
  const always = { sessionExpirySeconds: SESSION_SECONDS, maxIdleMs: HOUR, predefinedTopics: [PREDEFINED] }
  const limits = { persistentClientExpiration: SESSION_SECONDS, ...brokerLimits(setup) }
  return new World(
    1,
    { ...always, ...gatewayOptions(setup) },
    limits,
    memoryLimits(setup),
    undefined,
    setup.hook,
    contentCheck(setup),
    { conditionFor: (clientId) => (isConditional(setup, clientId) ? CONDITION : undefined) },
  )
}

const PREDEFINED = { pattern: '*', topics: new Map([[1, 'pre/one']]) }
const SPOKEN_BY_STATIONS = new Set([
  'connect',
  'join',
  'disconnect',
  'disconnect-with-will',
  'break',
  'publish',
  'subscribe',
  'unsubscribe',
  'forge',
  'cut',
  'look-away',
  'look-back',
])
