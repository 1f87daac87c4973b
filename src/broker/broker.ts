import { Fifo } from '../base/fifo.ts'
import { earliest, type Instant } from '../base/machine.ts'
import { Memory, memoryWords } from '../base/memory.ts'
import { Pauses } from '../base/pauses.ts'
import { Timers } from '../base/timers.ts'
import type { LinkId, LinkInfo, SensorUplink } from '../mqtt/link.ts'
import { type Disconnect, type Packet, PacketType, type Subscribe, type Unsubscribe, type Will } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { Pace, STEPS_PER_TURN } from '../store/pace.ts'
import type { BrokerRecord, Lsn, SessionKey } from '../store/store.ts'
import { type AuthAnswer, type AuthRequest, OPEN_ACCESS } from './access.ts'
import { AskedMessages } from './asked-messages.ts'
import type { BrokerOptions } from './broker-options.ts'
import { tellDisconnected } from './client-facts.ts'
import { ClientLink, type LinkOwner, settingsOf } from './client-link.ts'
import { Conditions } from './conditions.ts'
import { type BrokerContext, Stats } from './context.ts'
import { DeliveryHook } from './delivery-hook.ts'
import { Exchanges } from './exchanges.ts'
import { Expiry } from './expiry.ts'
import { countMemory, Holdings, ROUTES_MAX } from './holdings.ts'
import { Intake, type IntakeOwner } from './intake.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { LiveTopics } from './live-topics.ts'
import { Login, type LoginOwner } from './login.ts'
import { OldestWaiting } from './oldest-waiting.ts'
import { OperatorActions } from './operator-actions.ts'
import { Publisher } from './publisher.ts'
import { heldLongEnough, letGo } from './publisher-pace.ts'
import { isFuller } from './queue-room.ts'
import { QueueSweeps } from './queue-sweeps.ts'
import { Recovery } from './recovery.ts'
import { bytesOf, Requests, type Work } from './requests.ts'
import { RestingClients } from './resting-links.ts'
import { Retained } from './retained.ts'
import { Router } from './router.ts'
import { RuleCheck } from './rule-check.ts'
import type { Session } from './session.ts'
import { applyExpiry, type SessionClock, type SessionTimer } from './session-clocks.ts'
import { SessionWills } from './session-wills.ts'
import { Sessions } from './sessions.ts'
import { ShareHandover } from './share-handover.ts'
import { Shutdown } from './shutdown.ts'
import { StoreWaiters } from './store-waiters.ts'
import { type RequestResult, Subscriber } from './subscriber.ts'
import { Looked } from './topic-tree.ts'

/**
 * The broker: sessions, subscriptions, retained messages and wills, behind the `Uplink` interface. It handles packets and links,
 * neither bytes nor sockets, and never times out a connection: keep alive is up to whatever opened the link.
 */
export class Broker implements SensorUplink, LinkOwner, IntakeOwner, LoginOwner {
  readonly place = 'the broker'
  readonly stats = new Stats()
  readonly sessions: Sessions
  readonly retained: Retained
  readonly shutdown: Shutdown
  readonly resting: RestingClients
  readonly operator: OperatorActions
  readonly oldestWaiting: OldestWaiting
  readonly conditions: Conditions
  readonly pauses = new Pauses()
  /** Messages that wait for the hook `onPublish`; undefined if there is none. */
  readonly asked: AskedMessages | undefined
  readonly deliveryHook: DeliveryHook | undefined
  readonly live = new LiveTopics((now, message) => this.#publisher.sendLatest(now, message))
  readonly #context: BrokerContext
  readonly #publisher: Publisher
  readonly #subscriber: Subscriber
  readonly #wills: SessionWills
  readonly #handover: ShareHandover
  readonly #login: Login
  readonly #exchanges: Exchanges
  readonly #intake: Intake
  readonly #requests: Requests
  readonly #looked = new Looked()
  readonly #timers = new Timers<SessionTimer>()
  readonly #clocks = new Timers<SessionTimer>()
  readonly #pace: Pace
  readonly #ruleCheck: RuleCheck
  readonly #links = new Map<LinkId, ClientLink>()
  readonly #ready = new Fifo<ClientLink>()
  readonly #waiters = new StoreWaiters((link) => this.markReady(link))
  #recovery: Recovery | undefined
  #nextLinkId = 1

  constructor(options: BrokerOptions) {
    const { store, clock, notice, memory = new Memory(), access = OPEN_ACCESS, hooks = {}, content } = options
    this.#pace = new Pace(store, () => this.#wills.isSpent)
    const holdings = new Holdings(options.figures)
    this.retained = new Retained(this.#looked, holdings, memory.shares)
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.conditions = new Conditions(options.conditions, limits, clock, notice, this.#looked)
    const parts = { limits, access, hooks, content, store, notice, stats: this.stats, memory, holdings, live: this.live }
    const sweeps = new QueueSweeps(parts, (session, expiresAt) => this.#context.expiry.queued(session, expiresAt))
    this.deliveryHook = hooks.onDeliver === undefined ? undefined : new DeliveryHook(parts, hooks.onDeliver)
    this.#context = {
      ...parts,
      deliveryHook: this.deliveryHook,
      clock: options.clock,
      random: options.random,
      router: new Router(access, this.#looked, memory.limits.memoryLimit * ROUTES_MAX, this.live),
      retained: this.retained,
      sysRetained: new Retained(this.#looked),
      conditions: this.conditions,
      timers: this.#timers,
      clocks: this.#clocks,
      pauses: this.pauses,
      expiry: new Expiry({ store, clock, retained: this.retained, sweeps }, () => this.#publisher.nextMessageId()),
      sweeps,
    }
    this.asked = hooks.asksAboutMessages === true ? new AskedMessages(memory) : undefined
    this.#publisher = new Publisher(this.#context, this.#looked, (session) => {
      if (session.link !== undefined) this.markReady(session.link)
    })
    this.operator = new OperatorActions(this.#context, this.#publisher)
    this.#wills = new SessionWills(this.#context, this.#publisher, this.asked)
    this.#handover = new ShareHandover(this.#context, this.#publisher)
    this.sessions = new Sessions(this.#context, this.#wills, this.#handover)
    this.oldestWaiting = new OldestWaiting(this.sessions.seats)
    this.#subscriber = new Subscriber(this.#context, this.#publisher)
    this.#exchanges = new Exchanges(this.#context, this)
    this.#intake = new Intake(this.#context, this.#publisher, this.asked, this)
    this.#requests = new Requests(memory)
    this.#login = new Login(this.#context, this.sessions, this.#wills, this.#requests, this)
    this.resting = new RestingClients(this, this.#context, this.sessions, this.#links)
    this.#ruleCheck = new RuleCheck(this.#context, this.sessions, this.#pace, this)
    this.shutdown = new Shutdown(this.#links, this.#pace, this.#wills, this)
    countMemory(this.#context, this.resting, this.#login.authentication)
  }

  open(_now: Instant, info: LinkInfo): ClientLink {
    const link = new ClientLink(this.#nextLinkId++, info, this)
    this.#links.set(link.id, link)
    return link
  }

  nextReadyLink(): LinkId | undefined {
    const link = this.#ready.shift()
    if (link === undefined) return undefined
    link.ready = false
    if (link.closed) {
      this.#links.delete(link.id)
      // Its verification can stop, however the link ended.
      this.#login.authentication.abandon(link)
    }
    return link.id
  }

  /** Deliveries queued since the last call. If there are many, it is time to write. */
  takeQueued(): number {
    return this.#publisher.takeQueued()
  }

  get work(): number {
    return this.#publisher.work + this.#looked.sum
  }

  /** Deliveries queued since `takeQueued`. */
  get queued(): number {
    return this.#publisher.queued
  }

  /** As `Store.hasRoom`. */
  get hasRoom(): boolean {
    return this.#context.store.hasRoom
  }

  get linkCount(): number {
    return this.#links.size
  }

  get subscriptionCount(): number {
    return this.#context.router.subscriptionCount
  }

  get sharedSubscriptionCount(): number {
    return this.#context.router.sharedSubscriptionCount
  }

  /** Publishes a retained message of the broker itself, on a topic under `$SYS`. */
  publishSys(now: Instant, topic: string, value: string): void {
    this.#publisher.publishSys(now, topic, value)
  }

  endUnused(now: Instant, key: SessionKey): boolean {
    return this.sessions.endUnused(now, key)
  }

  // --- Time and the store

  handleTimeout(now: Instant): void {
    for (let left = STEPS_PER_TURN; left > 0; left--) {
      const timer = this.#timers.expired(now)
      if (timer === undefined) break
      const { session, about } = timer.owner
      const link = about === 'held' ? undefined : this.resting.linkOf(session)
      if (about === 'held') heldLongEnough(this.#context, now, session)
      else if (link !== undefined) this.close(now, link, ReasonCode.MAXIMUM_CONNECT_TIME)
    }
    this.#pace.run(now, () => {
      const timer = this.#clocks.expired(now)
      if (timer === undefined) return false
      const { session, about } = timer.owner
      this.sessions.timedOut(now, session, about as SessionClock)
      return true
    })
    this.#ruleCheck.goOn(now)
    this.#context.expiry.handleTimeout(now)
    this.#context.sweeps.handleTimeout(now)
    this.#requests.handleTimeout(now)
    this.#waiters.handleTimeout(now)
    this.#context.router.sweep()
  }

  nextTimeout(): Instant | undefined {
    const clocks = this.#ruleCheck.isOver ? this.#clocks.next() : OVERDUE
    const { router, sweeps } = this.#context
    const waits = earliest(this.#requests.next(), this.#waiters.nextTimeout())
    const requests = router.isSweeping || !sweeps.isOver ? OVERDUE : waits
    return earliest(earliest(this.#timers.next(), this.#pace.after(clocks)), earliest(this.#context.expiry.next(), requests))
  }

  /** The turn is over, and everything that could be written has been written. */
  endTurn(): void {
    this.#requests.endTurn()
    this.#ruleCheck.endTurn()
    this.#context.router.endTurn()
    this.#context.sweeps.endTurn()
    this.#handover.endTurn()
    this.#wills.endTurn()
    this.conditions.endTurn()
  }

  /** More records are durable: links that waited for them may have something to send. */
  handleDurable(): void {
    this.#waiters.wake()
  }

  /** One record of the replay; before `recover`. */
  apply(record: BrokerRecord): void {
    this.#recovery ??= new Recovery(this.#context, this.sessions)
    this.#recovery.apply(record)
  }

  /**
   * Ends the replay: everything in the store has been restored. `runDownRecovered` follows once the gateway has restored its
   * sensors.
   */
  recover(now: Instant): void {
    this.#recovery?.finish(now, this.#publisher)
  }

  /**
   * Sessions that were connected when the last process ended, and have not been resumed, count as disconnected from now on.
   * `isLost`: the gateway knows this sensor, and has not reconnected it.
   */
  runDownRecovered(now: Instant, isLost: (clientId: string) => boolean = () => false): void {
    this.#recovery?.runDown(now, isLost)
    this.#recovery = undefined
    this.handleTimeout(now)
  }

  // --- What links ask

  markReady(link: ClientLink): void {
    if (link.ready) return
    link.ready = true
    this.#ready.push(link)
  }

  awaitDurable(link: ClientLink): void {
    this.#waiters.add(link)
  }

  noRoom(now: Instant): void {
    this.#waiters.noRoom(now)
  }

  durable(): Lsn {
    return this.#context.store.durable
  }

  recordSent(now: Instant, session: Session, message: Publish, packetId: number): Lsn | 'full' {
    return this.#exchanges.recordSent(now, session, message, packetId)
  }

  mayTakePacketId(now: Instant, session: Session): boolean {
    return this.#exchanges.mayTakePacketId(now, session)
  }

  dropIfVoid(now: Instant, session: Session, message: Publish, departed = false): 'valid' | 'dropped' | 'last' {
    return this.#context.sweeps.dropIfVoid(now, session, message, departed)
  }

  drained(now: Instant, session: Session): void {
    if (!isFuller(this.#context.limits, session, LOW_WATER)) letGo(this.#context, now, session)
  }

  holds(session: Session): void {
    this.#context.memory.shares.recount(session)
  }

  windowFull(link: ClientLink, session: Session): void {
    this.#exchanges.windowFull(link, session)
  }

  setWill(link: ClientLink, session: Session, will: Will | undefined): number {
    return this.#wills.update(link, session, will)
  }

  lost(now: Instant, link: ClientLink, reason: string): void {
    const session = link.client
    this.#links.delete(link.id)
    this.#login.authentication.abandon(link)
    this.#abandonRequests(link)
    link.closed = true
    link.client = undefined
    if (session === undefined) return
    this.#context.notice({ code: 'client-lost', level: 'info', client: session.key, peer: link.info.peer, reason })
    tellDisconnected(this.#context, session, link, reason)
    this.sessions.detach(now, session, true)
  }

  receive(now: Instant, link: ClientLink, packet: Packet): void {
    const session = link.client
    if (session === undefined) {
      this.#login.received(now, link, packet)
      return
    }
    switch (packet.type) {
      case PacketType.PUBLISH:
        this.#intake.publish(now, link, session, packet)
        return
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#exchanges.acknowledged(now, link, session, packet)
        return
      case PacketType.PUBREL:
        this.#exchanges.released(now, link, session, packet)
        return
      case PacketType.SUBSCRIBE: {
        const { maximumQos } = settingsOf(link)
        this.#request(now, link, packet, this.#subscriber.subscribe(now, session, packet, { maximumQos, link }))
        return
      }
      case PacketType.UNSUBSCRIBE:
        this.#request(now, link, packet, this.#subscriber.unsubscribe(session, packet))
        return
      case PacketType.PINGREQ:
        // [MQTT-3.12.4-1]
        link.push(PINGRESP, 0)
        return
      case PacketType.DISCONNECT:
        this.#disconnect(now, link, session, packet)
        return
      case PacketType.AUTH:
        this.#login.authentication.received(now, link, session, packet)
        return
      case PacketType.CONNECT:
        this.fail(now, link, ReasonCode.PROTOCOL_ERROR, 'second CONNECT (MQTT-3.1.0-2)')
        return
      default:
        this.fail(now, link, ReasonCode.PROTOCOL_ERROR, `packet type ${packet.type} is not for clients to send`)
    }
  }

  #request(now: Instant, link: ClientLink, packet: Subscribe | Unsubscribe, work: Work<RequestResult | 'full'>): void {
    const { type, packetId } = packet
    const isSubscribe = type === PacketType.SUBSCRIBE
    // UNSUBSCRIBE frees memory.
    const bytes = isSubscribe ? bytesOf(packet) : 0
    const over = this.#requests.begin(now, link, bytes, work, (then, answer) => {
      if (answer === 'full') {
        this.storeFull(then, link, isSubscribe ? 'SUBSCRIBE' : 'UNSUBSCRIBE')
        return
      }
      const { reasonCodes, lsn, reason } = answer
      const properties = reason === undefined ? NO_PROPERTIES : { reasonString: reason }
      // [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [3.1.1 MQTT-3.10.4-5]
      link.push({ type: isSubscribe ? PacketType.SUBACK : PacketType.UNSUBACK, packetId, reasonCodes, properties }, lsn)
    })
    if (over !== undefined) this.fail(now, link, ReasonCode.QUOTA_EXCEEDED, memoryWords(over), over.limit, over.reason)
  }

  /**
   * The client broke the protocol, or is no longer allowed: its will is published, its session stays. `detail` is what the log
   * says in place of `reason`, which the client sees.
   */
  fail(now: Instant, link: ClientLink, reasonCode: number, reason: string, limit?: string, detail = reason): void {
    const connect = link.authenticating?.connect
    if (connect !== undefined) {
      this.#login.refuse(link, connect, { reasonCode, reason })
      return
    }
    const who = { ...(link.client !== undefined && { client: link.client.key }), ...(limit !== undefined && { limit }) }
    this.#context.notice({ code: 'protocol-error', level: 'info', ...who, peer: link.info.peer, reason: detail })
    this.close(now, link, reasonCode, link.client !== undefined, reason)
  }

  /** The next client to verify; answer with `authenticated`. */
  nextAuthRequest(): AuthRequest | undefined {
    return this.#login.authentication.nextRequest()
  }

  /** The next link whose authentication ended before it was answered. */
  nextAbandonedAuth(): LinkId | undefined {
    return this.#login.authentication.nextAbandoned()
  }

  /** The answer to one step of a link's authentication; ignored if it comes too late. */
  authenticated(now: Instant, id: LinkId, step: number, answer: AuthAnswer): void {
    const link = this.#links.get(id)
    if (link !== undefined) this.#login.authentication.answered(now, link, step, answer)
  }

  /**
   * The access rules have changed: clients that are no longer allowed are disconnected, and forbidden subscriptions end, those of
   * absent clients too. Many sessions take several turns; until a session is checked, each of its messages is, before it is sent.
   */
  accessChanged(now: Instant): void {
    // The wills of clients that are disconnected now must only reach those who may still read them.
    this.#context.router.invalidate()
    this.#ruleCheck.begin(now)
  }

  rightsChanged(now: Instant, session: Session): void {
    this.#context.router.invalidateOf(session)
    this.checkRights(now, session)
  }

  checkRights(now: Instant, session: Session): void {
    this.#ruleCheck.renewed(now, session)
  }

  #disconnect(now: Instant, link: ClientLink, session: Session, packet: Disconnect): void {
    if (!applyExpiry(session, packet, this.#context.limits.persistentClientExpiration)) {
      this.fail(now, link, ReasonCode.PROTOCOL_ERROR, 'DISCONNECT raises Session Expiry Interval from 0')
      return
    }
    this.#context.notice({ code: 'client-disconnected', level: 'info', client: session.key, peer: link.info.peer })
    tellDisconnected(this.#context, session, link)
    this.#requests.abandon(link)
    link.client = undefined
    link.close(0, false)
    // Only reason code 0 deletes the will (MQTT-3.14.4-3).
    // [MQTT-3.14.4-3] [3.1.1 MQTT-3.14.4-3]
    this.sessions.detach(now, session, packet.reasonCode !== ReasonCode.SUCCESS)
  }

  /** The store is full: nothing was acknowledged, so the client keeps its message and may try again later. */
  storeFull(now: Instant, link: ClientLink, what: string): void {
    this.noticeFull(link, what)
    // [3.1.1 MQTT-4.8.0-2]
    this.close(now, link, ReasonCode.QUOTA_EXCEEDED)
  }

  noticeFull(link: ClientLink, what: string): void {
    const who = link.client === undefined ? {} : { client: link.client.key }
    this.#context.notice({ code: 'store-full', level: 'error', ...who, peer: link.info.peer, reason: `${what} refused` })
  }

  close(now: Instant, link: ClientLink, reasonCode: number, disconnect = true, reason?: string): void {
    if (link.closed) return
    const session = link.client
    this.#abandonRequests(link)
    link.client = undefined
    link.close(reasonCode, disconnect, reason)
    if (session === undefined) return
    tellDisconnected(this.#context, session, link, reason ?? `closed with reason code 0x${reasonCode.toString(16)}`)
    this.sessions.detach(now, session, true)
  }

  #abandonRequests(link: ClientLink): void {
    this.#requests.abandon(link)
    if (link.busy !== '') this.#login.abandon(link)
  }
}

/** Part of a full queue below which paused publishers continue. */
const LOW_WATER = 0.5

/** Before any instant: work that continues once everything else has had its turn. */
const OVERDUE = 0

const PINGRESP = { type: PacketType.PINGRESP } as const
