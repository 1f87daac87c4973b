import type { Notice } from '../../src/base/notice.ts'
import { ReasonCode } from '../../src/mqtt/reason-codes.ts'
import type { ServerOptions } from '../../src/server.ts'
import { dropsTold } from './drops-told.ts'
import { ServerChecker, type Watched } from './pair-checkers.ts'
import { type Kept, PairClaims, type PairMessage, type PairReceiver } from './pair-claims.ts'
import { KEPT_TOPICS, PAIR_TOPICS, type PairSetup, type PairStep, PLAIN_PAIR, SIDES, type Side } from './pair-step.ts'
import { Schedule } from './schedule.ts'
import type { TcpClient } from './tcp-client.ts'
import { bytes, textOf } from './texts.ts'
import { Trunk } from './trunk.ts'
import { TrunkChecker } from './trunk-checker.ts'
import { COMMIT_MS, World } from './world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY_SECONDS = 24 * 3600
/** For which sessions of applications outlive their streams. */
export const SESSION_SECONDS = 7 * DAY_SECONDS
/** Between two steps: less than an exchange takes, so that things happen in the middle of it. */
const STEP_MS = 15
const RECONNECT_MS = 500
/** In which the bridge is back after the last fault: its longest backoff, the keep alive of a silent stream, and what that leads to. */
const ROUND_MS = 5 * MINUTE
const ROUNDS = 12
/** Of `PAIR_TOPICS`: one that goes both ways. */
const PROBED = 2
/** Client ids of the bridge, here and there. */
export const LOCAL_ID = 'bridge-local'
export const REMOTE_ID = 'bridge-remote'

/** An application with a lasting session, which comes back by itself. */
class App implements Watched {
  readonly id: string
  readonly tcp: TcpClient
  readonly receiver: PairReceiver
  readonly #site: PairSite
  readonly #side: Side
  readonly #waiting = new Map<number, PairMessage | Kept>()
  #leaving = false

  constructor(site: PairSite, side: Side, index: number) {
    this.#site = site
    this.#side = side
    const world = site.worlds[side]
    const id = `${side}${index}`
    this.id = id
    this.receiver = site.claims.receiver(id, side, index === 0 ? 2 : 1)
    this.tcp = world.addTcpClient({
      clientId: id,
      cleanStart: false,
      keepAliveSeconds: 60,
      properties: { sessionExpiryInterval: SESSION_SECONDS },
    })
    this.tcp.onEvent = (event) => {
      if (event.event === 'disconnected') this.#lost()
      else if (event.event === 'connected' && !event.sessionPresent)
        this.tcp.act((mqtt, now) => mqtt.subscribe(now, [{ filter: '#', qos: this.receiver.qos }]))
      else if (event.event === 'published') this.#published(event.packetId, event.reasonCode)
      else if (event.event === 'message') this.#got(textOf(event.message.payload))
    }
  }

  #lost(): void {
    const { schedule } = this.#site
    for (const one of this.#waiting.values()) if ('isAgain' in one) one.isAgain = true
    if (!this.#leaving) schedule.after(RECONNECT_MS, () => this.tcp.connect())
  }

  #published(packetId: number, reasonCode: number): void {
    const one = this.#waiting.get(packetId)
    this.#waiting.delete(packetId)
    if (one === undefined) return
    if ('refused' in one) one.refused = reasonCode >= 0x80
    else one.acknowledged = reasonCode < 0x80
  }

  #got(text: string): void {
    if (text !== '' && !text.startsWith('kept ')) this.receiver.got.push(text)
  }

  publish(topic: number, qos: 0 | 1 | 2): void {
    if (this.tcp.client.state !== 'connected') return
    const where = PAIR_TOPICS[topic]!
    const isStranded = this.#side === 'near' && this.#site.isUnsubscribed
    const one = this.#site.claims.publish(this.receiver.id, this.#side, where, qos, isStranded)
    this.#send(where[this.#side], one.text, qos, false, one)
  }

  retain(topic: (typeof KEPT_TOPICS)[number], text: string): void {
    if (this.tcp.client.state !== 'connected') return
    this.#send(topic[this.#side], text, topic.with, true, this.#site.claims.keep(topic, text))
  }

  #send(topic: string, text: string, qos: 0 | 1 | 2, retain: boolean, one: PairMessage | Kept): void {
    this.tcp.act((mqtt, now) => {
      const packetId = mqtt.publish(now, { topic, payload: bytes(text), qos, retain })
      if (qos > 0 && packetId !== undefined) this.#waiting.set(packetId, one)
    })
  }

  publishedAs(packetId: number): string | undefined {
    return this.#waiting.get(packetId)?.text
  }

  leave(): void {
    this.#leaving = true
    this.tcp.act((mqtt, now) => mqtt.disconnect(now, 0, { sessionExpiryInterval: 0 }))
  }
}

/** Two servers on one clock, the near one of which has a bridge to the far one, with two applications each, to which steps happen. */
export class PairSite {
  readonly setup: PairSetup
  readonly schedule = new Schedule()
  readonly claims = new PairClaims()
  readonly worlds: Readonly<Record<Side, World>>
  readonly trunk: Trunk
  readonly checker: TrunkChecker
  readonly servers: readonly ServerChecker[]
  readonly apps: Readonly<Record<Side, readonly App[]>>
  readonly stuck: string[] = []
  #kept = 0
  #isProbed = false
  /** Of the bridge at the near server. */
  readonly #subscriptions: number

  constructor(scarce: Partial<PairSetup>, nearOptions: (setup: PairSetup) => Partial<ServerOptions>) {
    const setup = { ...PLAIN_PAIR, ...scarce }
    this.setup = setup
    const { schedule } = this
    const { maxQueuedMessages, farReceives } = setup
    const limits = { persistentClientExpiration: SESSION_SECONDS, maxQueuedMessages }
    const gateway = { sessionExpirySeconds: SESSION_SECONDS }
    const near = new World(1, gateway, limits, {}, undefined, 'none', undefined, undefined, {
      schedule,
      server: nearOptions(setup),
    })
    const far = new World(2, gateway, { ...limits, receiveMaximum: farReceives }, {}, undefined, 'none', undefined, undefined, {
      schedule,
    })
    this.worlds = { near, far }
    for (const side of SIDES) {
      this.worlds[side].observers.push({ notice: (notice) => this.#noticed(side, notice) })
      this.worlds[side].store.refused = (record) => {
        if (record.type === 'message') this.claims.refused(side, textOf(record.message.payload))
      }
    }
    this.trunk = new Trunk(near, far)
    this.checker = new TrunkChecker(this.claims, this.worlds)
    this.trunk.observers.push(this.checker)
    this.apps = { near: [0, 1].map((i) => new App(this, 'near', i)), far: [0, 1].map((i) => new App(this, 'far', i)) }
    this.servers = SIDES.map((side) => new ServerChecker(side, this.worlds[side], this.claims, setup, this.apps[side]))
    for (const [i, side] of SIDES.entries()) this.worlds[side].observers.push(this.servers[i]!)
    // A lazy one subscribes at the far side when it connects for the first time.
    if (setup.startType === 'lazy') this.claims.forget()
    for (const app of this.#everybody) app.tcp.connect()
    this.run(10 * SECOND)
    this.#subscriptions = this.#subscribed
  }

  /** Without what says that the far session has not begun. */
  get #subscribed(): number {
    const filters = [...(this.worlds.near.server.broker.sessions.get('mqtt', LOCAL_ID)?.subscriptions?.keys() ?? [])]
    return filters.filter((filter) => filter !== '$bridge/new').length
  }

  get #everybody(): readonly App[] {
    return [...this.apps.near, ...this.apps.far]
  }

  get trace(): readonly string[] {
    return [...this.worlds.near.trace, ...this.worlds.far.trace]
  }

  #noticed(side: Side, notice: Notice): void {
    const isKnown = side === 'near' && this.checker.givesUp(notice)
    if (!isKnown) this.claims.dropped[side] += dropsTold(notice)
  }

  run(ms: number): void {
    this.schedule.runUntil(this.schedule.now + ms)
  }

  take(step: PairStep): void {
    if ('side' in step) this.#takeAt(step, this.worlds[step.side])
    else if (step.do === 'retain' || step.do === 'clear') {
      const topic = KEPT_TOPICS[step.topic]!
      const text = step.do === 'retain' ? `kept ${++this.#kept}` : ''
      this.apps[topic.writer][0]!.retain(topic, text)
    } else if (step.do === 'cut') this.trunk.cut()
    else if (step.do === 'silence') this.trunk.silence()
    else if (step.do === 'refuse') this.trunk.refuses = true
    else if (step.do === 'heal') this.trunk.heal()
    else if (step.do === 'lose') this.trunk.loses = step
    else if (step.do === 'forget') this.#forget(step.unheard)
    else if (step.do === 'end') this.#end(step.away)
    this.run(step.do === 'advance' ? step.ms : STEP_MS)
  }

  #takeAt(step: Extract<PairStep, { side: Side }>, world: World): void {
    const { side } = step
    if (step.do === 'publish')
      for (let time = 0; time < step.times; time++) this.apps[side][step.app]!.publish(step.topic, step.qos)
    else if (step.do === 'break') this.apps[side][step.app]!.tcp.breakStream()
    else if (step.do === 'crash') world.crash({ survivors: step.survivors, torn: step.torn })
    else if (step.do === 'restart') world.stopAndStart()
    else if (step.do === 'stall') world.store.stalled = true
    else if (step.do === 'unstall') this.#unstall(world)
    else if (step.do === 'fill') world.store.refuse = true
    else if (step.do === 'fill-sent') world.store.refusesSent = true
    else if (step.do === 'empty') this.#empty(world)
    else if (step.do === 'slow') world.store.delayMs = step.ms
    else if (step.do === 'pause') world.pause(step.ms)
  }

  #empty({ store }: World): void {
    store.refuse = false
    store.refusesSent = false
  }

  #unstall(world: World): void {
    if (!world.store.stalled) return
    world.store.stalled = false
    world.wakeStore()
  }

  /** A client that begins anew under the name of the bridge ends its session at the far server. */
  #forget(unheard = false): void {
    // CONNACK of 3.1 cannot say that a session is lost, so nothing can be promised.
    if (this.setup.version === 3) return
    this.claims.forget()
    if (unheard) this.trunk.loses = { way: 'down', type: 'CONNACK' }
    const usurper = this.worlds.far.addTcpClient({ clientId: REMOTE_ID, version: 4, cleanStart: true })
    this.checker.usurpers.add(usurper)
    usurper.onEvent = (event) => {
      if ((event.event === 'connected' || event.event === 'disconnected') && this.checker.usurpers.delete(usurper))
        this.checker.mayBeReplaced = true
      if (event.event !== 'connected') return
      this.claims.forget()
      this.checker.forget()
      usurper.act((mqtt, now) => mqtt.disconnect(now))
    }
    usurper.connect()
    this.run(SECOND)
  }

  /** An operator ends the session of the bridge here, as `DELETE /api/v1/clients/{id}` does. */
  #end(away = false): void {
    const { near } = this.worlds
    const session = near.server.broker.sessions.get('mqtt', LOCAL_ID)
    const isPaused = near.runsAt > this.schedule.now
    const isHindered = isPaused || SIDES.some((side) => this.worlds[side].store.refuse || this.worlds[side].store.stalled)
    if (session === undefined || isHindered || this.trunk.silent || this.trunk.refuses || this.setup.startType !== 'automatic')
      return
    this.claims.end()
    this.checker.hasToBeginAnew = true
    if (away) {
      this.trunk.refuses = true
      this.trunk.cut()
    }
    near.run(() => {
      const { broker } = near.server
      const { now } = this.schedule
      if (session.link !== undefined) broker.close(now, session.link, ReasonCode.ADMINISTRATIVE_ACTION)
    })
    near.run(() => near.server.broker.sessions.end(this.schedule.now, session))
    // Until 'heal'.
    if (away) this.run(2 * SECOND)
  }

  /** The bridge has no session here, or not all of its subscriptions: what is published does not wait for it. */
  get isUnsubscribed(): boolean {
    return this.#subscribed < this.#subscriptions
  }

  /** Faults end, and everything that is owed gets the time that it may take. */
  settle(): void {
    this.trunk.heal()
    for (const side of SIDES) {
      const world = this.worlds[side]
      this.#empty(world)
      world.store.delayMs = COMMIT_MS
      this.#unstall(world)
    }
    this.run(10 * SECOND)
    this.#noteStuck()
    for (let round = 0; round < ROUNDS && (round === 0 || this.pending.length > 0 || this.lost().length > 0); round++)
      this.run(ROUND_MS)
  }

  /** Who is connected, has nothing in flight, and is not sent what waits: the next PINGREQ would remind its server. */
  #noteStuck(): void {
    const { now } = this.schedule
    for (const side of SIDES) {
      const { server, runsAt } = this.worlds[side]
      if (runsAt > now - 5 * SECOND) continue
      for (const { id, tcp } of this.apps[side]) {
        const { queueLength = 0, inflight } = server.broker.sessions.get('mqtt', id) ?? {}
        if (tcp.client.state === 'connected' && queueLength > 0 && (inflight?.size ?? 0) === 0)
          this.stuck.push(`${queueLength} messages wait for ${id}, and nothing is in their way`)
      }
    }
  }

  /** Whatever has happened, the bridge is there again: a message of each side gets to the other. One that is lazy connects for the first. */
  probe(): void {
    this.#isProbed = true
    this.claims.remember()
    for (const side of SIDES) {
      this.apps[side][0]!.publish(PROBED, 1)
      this.run(10 * SECOND)
    }
    this.run(MINUTE)
  }

  /** It was to connect once, and has lost its connection: nothing goes over any more. */
  get hasEnded(): boolean {
    return this.worlds.near.server.bridges!.all[0]!.state === 'ended'
  }

  /** What is owed and has not come. What waits at the far side for a lazy bridge comes when that has something to send itself. */
  lost(): string[] {
    const { startType } = this.setup
    return this.claims.lost((one, side) => one.side === side || (startType !== 'lazy' && !this.hasEnded))
  }

  /**
   * A lazy bridge is not connected, because nothing has moved for its idle timeout: after a pause of its process, what is in its socket
   * by then does not count. What is in flight at the far server goes on when it connects, which `probe` makes it do.
   */
  get #isIdle(): boolean {
    const { state } = this.worlds.near.server.bridges!.all[0]!
    return !this.#isProbed && this.setup.startType === 'lazy' && state === 'idle'
  }

  /** What is under way although nothing stands in its way any more. */
  get pending(): string[] {
    const unanswered = this.#everybody.filter(({ tcp }) => !tcp.client.idle).map(({ id }) => `${id} waits for an acknowledgement`)
    if (this.hasEnded) return [...this.stuck, ...unanswered]
    const waits = (side: Side, key: string): boolean => this.#isIdle && side === 'far' && key === `mqtt:${REMOTE_ID}`
    return [
      ...this.stuck,
      ...unanswered,
      ...SIDES.flatMap((side) =>
        [...this.worlds[side].server.broker.sessions].flatMap(({ key, inflight }) =>
          inflight === undefined || inflight.size === 0 || waits(side, key)
            ? []
            : [`${side} ${key} has ${inflight.size} messages in flight`],
        ),
      ),
      ...this.checker.pending('up'),
      ...(this.#isIdle ? [] : this.checker.pending('down')),
    ]
  }

  retained(side: Side, topic: string): string {
    const message = this.worlds[side].server.broker.retained.get(topic)
    return message === undefined ? '' : textOf(message.payload)
  }

  /** Everybody goes for good but the bridge, and nothing stays retained. */
  abandon(): void {
    for (const topic of KEPT_TOPICS) this.apps[topic.writer][0]!.retain(topic, '')
    this.run(ROUND_MS)
    for (const app of this.#everybody) app.leave()
    this.run(ROUND_MS)
  }
}
