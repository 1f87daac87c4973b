import type { Notice } from '../../src/base/notice.ts'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import type { ServerOptions } from '../../src/server.ts'
import type { SensorUpstreamOptions } from '../../src/upstream/sensors/options.ts'
import type { Target } from '../../src/upstream/target.ts'
import { messageOf } from './checkers/checker.ts'
import { dropsTold } from './drops-told.ts'
import { LOSSY, PERFECT } from './network.ts'
import { RoamChecker } from './roam-checker.ts'
import { RoamClaims, type RoamMessage, type RoamReceiver } from './roam-claims.ts'
import { ROAM_WILLS, RoamNode } from './roam-node.ts'
import { AREAS, type Area, LEAVES, NODES, PLACES, PLAIN_ROAM, type Place, type RoamSetup, type RoamStep } from './roam-step.ts'
import { Schedule } from './schedule.ts'
import type { TcpClient } from './tcp-client.ts'
import { bytes, textOf } from './texts.ts'
import { Trunk } from './trunk.ts'
import { COMMIT_MS, World } from './world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const SESSION_SECONDS = 7 * 24 * 3600
/** Between two steps: less than an exchange takes, so that things happen in the middle of it. */
const STEP_MS = 15
const RECONNECT_MS = 500
/** Until what a sensor has sent is at its gateway, or beyond it. */
const ON_ITS_WAY_MS = 250
const ROUND_MS = 10 * MINUTE
const UPSTREAM_KEEP_ALIVE_SECONDS = 900
/** Until a stream that has gone silent is taken for dead, by either end, and its gateway dials again. */
const SILENCE_MS = 2 * UPSTREAM_KEEP_ALIVE_SECONDS * SECOND
const ROUNDS = 12

/** An application at the cluster with a lasting session, which comes back by itself. */
class RoamApp {
  readonly tcp: TcpClient
  readonly receiver: RoamReceiver
  readonly #site: RoamSite
  readonly #waiting = new Map<number, RoamMessage>()

  constructor(site: RoamSite, index: number) {
    this.#site = site
    const id = `app${index}`
    this.receiver = site.claims.receiver(id, 'up', -1, index === 0 ? 2 : 1)
    this.tcp = site.worlds.cluster.addTcpClient({
      clientId: id,
      cleanStart: false,
      keepAliveSeconds: 60,
      properties: { sessionExpiryInterval: SESSION_SECONDS },
    })
    this.tcp.onEvent = (event) => {
      const { schedule } = site
      if (event.event === 'disconnected') schedule.after(RECONNECT_MS, () => this.tcp.connect())
      else if (event.event === 'connected' && !event.sessionPresent) this.#subscribe()
      else if (event.event === 'subscribed') this.receiver.since = Math.min(this.receiver.since, schedule.now)
      else if (event.event === 'published') this.#published(event.packetId, event.reasonCode)
      else if (event.event === 'message') this.#got(event.message.topic, textOf(event.message.payload))
    }
  }

  #subscribe(): void {
    const { qos } = this.receiver
    this.tcp.act((mqtt, now) => mqtt.subscribe(now, [{ filter: 'up/#', qos }]))
    this.tcp.act((mqtt, now) => mqtt.subscribe(now, [{ filter: ROAM_WILLS, qos }]))
  }

  #published(packetId: number, reasonCode: number): void {
    const one = this.#waiting.get(packetId)
    this.#waiting.delete(packetId)
    // Nobody was there: a sensor is, or it has a session.
    if (one !== undefined && reasonCode < 0x80) one.acknowledgedAt = this.#site.schedule.now
  }

  #got(topic: string, text: string): void {
    if (topic === ROAM_WILLS) this.#site.heardWill(text)
    else if (text !== '') this.receiver.got.push({ text, topic })
  }

  send(node: number, leaf: number, qos: 0 | 1 | 2): void {
    if (this.tcp.client.state !== 'connected') return
    const { claims, schedule } = this.#site
    const topic = `down/n${node}/${LEAVES[leaf]}`
    const one = claims.publish(this.receiver.id, 'down', node, topic, qos, schedule.now)
    this.tcp.act((mqtt, now) => {
      const packetId = mqtt.publish(now, { topic, payload: bytes(one.text), qos, retain: false })
      if (qos > 0 && packetId !== undefined) this.#waiting.set(packetId, one)
    })
  }
}

/** Two gateways in front of a server that stands for a cluster, on one clock, with sensors that move between them. */
export class RoamSite {
  readonly setup: RoamSetup
  readonly schedule = new Schedule()
  readonly claims: RoamClaims
  readonly checker: RoamChecker
  readonly worlds: Readonly<Record<Place, World>>
  readonly trunks: Readonly<Record<Area, Trunk>>
  readonly apps: readonly RoamApp[]
  readonly nodes: readonly RoamNode[]
  readonly notices: Notice[] = []

  constructor(scarce: Partial<RoamSetup>) {
    const setup = { ...PLAIN_ROAM, ...scarce }
    this.setup = setup
    this.claims = new RoamClaims(setup.maximumQos)
    this.checker = new RoamChecker(this)
    const { schedule } = this
    const limits = { persistentClientExpiration: SESSION_SECONDS, maxQueuedMessages: 100_000 }
    const world = (seed: number, gateway: object, server: Partial<ServerOptions>): World =>
      new World(seed, gateway, limits, {}, undefined, 'none', undefined, undefined, { schedule, server })
    const inFront = (gatewayId: number): World => {
      const from = 0x1000 * gatewayId
      const gateway = { gatewayId, topicIds: { from, to: from + 0xfff } }
      return world(gatewayId, gateway, { sensors: sensorsAt(gatewayId, setup) })
    }
    const limit = { ...DEFAULT_LISTENER_LIMITS, maximumQos: setup.maximumQos }
    const connections = { listeners: new Map([['cluster', limit]]) }
    this.worlds = { a: inFront(1), b: inFront(2), cluster: world(3, {}, { connections }) }
    for (const place of PLACES) this.worlds[place].observers.push({ notice: (notice) => this.#noticed(place, notice) })
    for (const area of AREAS)
      this.worlds[area].observers.push({
        datagramIn: (_, datagram) => this.#carried(datagram, 'arrived'),
        datagramOut: (_, datagram) => this.#carried(datagram, 'handed'),
      })
    const { a, b, cluster } = this.worlds
    this.trunks = { a: new Trunk(a, cluster, 'cluster'), b: new Trunk(b, cluster, 'cluster') }
    for (const area of AREAS) this.worlds[area].network.faults = PERFECT
    this.apps = [0, 1].map((i) => new RoamApp(this, i))
    for (const { tcp } of this.apps) tcp.connect()
    this.run(SECOND)
    this.nodes = Array.from({ length: NODES }, (_, i) => new RoamNode(this, i))
    for (const node of this.nodes) node.connect()
    this.run(10 * SECOND)
    if (setup.lossy) for (const area of AREAS) this.worlds[area].network.faults = LOSSY
  }

  get trace(): readonly string[] {
    return PLACES.flatMap((place) => this.worlds[place].trace)
  }

  #noticed(_place: Place, notice: Notice): void {
    this.notices.push(notice)
    this.claims.dropped += dropsTold(notice)
  }

  #carried(datagram: Uint8Array, how: 'arrived' | 'handed'): void {
    const message = messageOf(datagram)
    const one = message?.type === MsgType.PUBLISH ? this.claims.published.get(textOf(message.data)) : undefined
    if (one !== undefined) one[how]++
  }

  heardWill(text: string): void {
    const node = this.nodes.find(({ id }) => id === text)
    if (node !== undefined) this.checker.willOf(node)
  }

  /** No fault lasts. */
  get isSound(): boolean {
    return (
      AREAS.every((area) => !this.trunks[area].silent && !this.trunks[area].refuses) &&
      PLACES.every((place) => {
        const { store, runsAt } = this.worlds[place]
        return !store.stalled && !store.refuse && store.delayMs === COMMIT_MS && runsAt <= this.schedule.now
      }) &&
      !this.setup.lossy
    )
  }

  run(ms: number): void {
    this.schedule.runUntil(this.schedule.now + ms)
  }

  take(step: RoamStep): void {
    if ('node' in step) this.#takeNode(step, this.nodes[step.node]!)
    else if ('area' in step) this.#takeTrunk(step, this.trunks[step.area])
    else if ('place' in step) this.#takePlace(step, this.worlds[step.place])
    else if (step.do === 'break') this.#fault(step, () => this.apps[0]!.tcp.breakStream())
    this.run(step.do === 'advance' ? step.ms : STEP_MS)
  }

  #fault(step: RoamStep, what: () => void): void {
    const { now } = this.schedule
    this.checker.faultAt = now
    // A gateway that is killed, and a stream that breaks, are back before the cluster publishes a will.
    const isShort = step.do === 'cut' || (step.do === 'crash' && step.place !== 'cluster')
    if (!isShort) this.checker.longFaultAt = now
    if (step.do === 'silence') this.checker.silentUntil[step.area] = now + SILENCE_MS
    what()
  }

  #takeNode(step: Extract<RoamStep, { node: number }>, node: RoamNode): void {
    if (step.do === 'publish') for (let time = 0; time < step.times; time++) node.publish(step.leaf, step.qos)
    else if (step.do === 'send') for (let time = 0; time < step.times; time++) this.apps[0]!.send(step.node, step.leaf, step.qos)
    else if (step.do === 'sleep') node.sleep(step.seconds)
    else if (step.do === 'wake') node.wake()
    else if (step.do === 'roam') node.roam()
    else if (step.do === 'move') this.#move(step, node)
    else if (step.do === 'connect') node.stay()
    else if (step.do === 'leave') node.leave()
    else if (step.do === 'forget') this.#forget(node)
  }

  #move(step: Extract<RoamStep, { do: 'move' }>, node: RoamNode): void {
    const { leaf, qos, loses } = step
    const trunk = this.trunks[node.area]
    this.#fault(step, () => {
      const answer = qos === 1 ? 'PUBACK' : 'PUBREC'
      trunk.loses = loses === 'message' ? { way: 'up', type: 'PUBLISH' } : { way: 'down', type: answer }
    })
    node.publish(leaf, qos)
    this.run(ON_ITS_WAY_MS)
    trunk.loses = undefined
    node.roam()
    node.stay()
    // The first is perhaps refused: the other gateway gives other ids to topics.
    for (let time = 0; time < 2; time++) {
      this.run(ON_ITS_WAY_MS)
      node.publish(leaf, qos)
    }
  }

  #takeTrunk(step: Extract<RoamStep, { area: Area }>, trunk: Trunk): void {
    this.#fault(step, () => {
      if (step.do === 'cut') trunk.cut()
      else if (step.do === 'silence') trunk.silence()
      else if (step.do === 'refuse') trunk.refuses = true
      else trunk.heal()
    })
  }

  #takePlace(step: Extract<RoamStep, { place: Place }>, world: World): void {
    this.#fault(step, () => {
      if (step.do === 'crash') this.#crash(step, world)
      else if (step.do === 'restart') this.#restart(step.place, world)
      else if (step.do === 'stall') world.store.stalled = true
      else if (step.do === 'unstall') this.#unstall(world)
      else if (step.do === 'fill') world.store.refuse = true
      else if (step.do === 'empty') world.store.refuse = false
      else if (step.do === 'slow') world.store.delayMs = step.ms
      else if (step.do === 'pause') world.pause(step.ms)
    })
  }

  #crash(step: { readonly survivors: number; readonly torn: boolean }, world: World): void {
    world.crash({ survivors: step.survivors, torn: step.torn })
  }

  #restart(place: Place, world: World): void {
    // Who is connected is told that the gateway goes.
    for (const node of this.nodes) if (node.area === place) node.mayBeUnknown = true
    world.stopAndStart()
  }

  #unstall(world: World): void {
    if (!world.store.stalled) return
    world.store.stalled = false
    world.wakeStore()
  }

  #forget(node: RoamNode): void {
    // A gateway at which it has not subscribed cannot do that for it (docs/configuration.md, In front of a cluster).
    if (node.subscribedAt !== node.area || node.mayBeUnknown) return
    this.checker.faultAt = this.schedule.now
    this.checker.longFaultAt = this.schedule.now
    this.claims.forget(node.number)
    node.mayBeUnknown = true
    node.isForgotten = true
    node.isBeingForgotten = true
    const usurper = this.worlds.cluster.addTcpClient({ clientId: node.id, version: 4, cleanStart: true }, 'unobserved')
    usurper.onEvent = (event) => {
      // The cluster may have forgotten it just before the stream broke.
      node.isBeingForgotten = false
      if (event.event !== 'connected') return
      this.claims.forget(node.number)
      usurper.act((mqtt, now) => mqtt.disconnect(now))
    }
    usurper.connect()
    this.run(SECOND)
    this.claims.forget(node.number)
  }

  /** The cluster knows what the sensor is subscribed to. */
  hasSubscription({ id }: RoamNode): boolean {
    return [...this.worlds.cluster.server.broker.sessions].some(
      ({ key, subscriptions }) => key === `mqtt:${id}` && (subscriptions?.size ?? 0) > 0,
    )
  }

  /** Faults end, every sensor is there, and everything that is owed gets the time that it may take. */
  settle(): void {
    for (const area of AREAS) {
      this.trunks[area].heal()
      this.worlds[area].network.faults = PERFECT
    }
    for (const place of PLACES) {
      const world = this.worlds[place]
      world.store.refuse = false
      world.store.delayMs = COMMIT_MS
      this.#unstall(world)
      world.store.commit()
      world.input({ kind: 'durable' })
    }
    const { a, b } = this.checker.silentUntil
    this.run(Math.max(MINUTE, Math.max(a, b) - this.schedule.now))
    for (const node of this.nodes) node.stay()
    for (let round = 0; round < ROUNDS && (round === 0 || this.pending.length > 0 || this.claims.lost().length > 0); round++)
      this.run(ROUND_MS)
  }

  get dials(): number {
    return this.trunks.a.dials + this.trunks.b.dials
  }

  /** Dials of both gateways in half an hour in which nothing happens: nobody fights for a session. */
  idleDials(): number {
    const before = this.dials
    this.run(30 * MINUTE)
    return this.dials - before
  }

  /** Whatever has happened, every sensor is there again: a message of each gets to the applications, and one for it to the sensor. */
  probe(): void {
    this.claims.remember()
    for (const node of this.nodes) {
      node.publish(0, 1)
      this.apps[0]!.send(node.number, 0, 1)
    }
    this.run(10 * MINUTE)
  }

  /** What is under way although nothing stands in its way any more. */
  get pending(): string[] {
    return [
      ...this.apps.flatMap(({ tcp, receiver }) => (tcp.client.idle ? [] : [`${receiver.id} waits for an acknowledgement`])),
      ...this.nodes.flatMap(({ id, idle, client }) => (idle ? [] : [`${id} is ${client.state}, and waits`])),
      ...[...this.worlds.cluster.server.broker.sessions].flatMap(({ key, inflight }) =>
        inflight === undefined || inflight.size === 0 ? [] : [`${key} has ${inflight.size} messages in flight`],
      ),
    ]
  }
}

const TARGET: Target = { url: 'mqtt://cluster', transport: 'mqtt', host: 'cluster', port: 1883, path: '', tls: undefined }

const sensorsAt = (gatewayId: number, { version, sleepers, window }: RoamSetup): SensorUpstreamOptions => ({
  targets: {
    addresses: [TARGET],
    roundRobin: false,
    version,
    backoff: { baseMs: 1000, maxMs: 60_000 },
    connectTimeoutMs: 10_000,
  },
  gatewayId,
  clientId: '%c',
  username: undefined,
  password: undefined,
  keepAliveSeconds: UPSTREAM_KEEP_ALIVE_SECONDS,
  sleepers,
  quietMs: 100,
  window,
  maxPacketSize: 1 << 20,
  wills: 'auto',
  willDelaySeconds: 60,
  heldMessages: 100,
  heldBytes: 65_536,
  sessionExpirySeconds: SESSION_SECONDS,
  dialsPerSecond: 50,
})
