import type { Instant } from '../../base/machine.ts'
import type { Holder } from '../../base/shares.ts'
import { type Link, type Outgoing, OutgoingType } from '../../mqtt/link.ts'
import { type Packet, PacketType, type Will } from '../../mqtt/packets.ts'
import { willBytes } from '../../mqtt/wills.ts'
import { typeName } from '../../mqttsn/describe.ts'
import {
  type Message,
  MsgType,
  ReturnCode,
  type SnConnect,
  type SnDisconnect,
  type WillMsg,
  type WillTopic,
} from '../../mqttsn/messages.ts'
import { type Lsn, type SessionKey, type WallTime, wallTime } from '../../store/store.ts'
import type { RetryProfile } from '../ports/retry-profile.ts'
import type { RouteKey } from '../ports/route.ts'
import { TopicAssignment } from '../topics/assignment.ts'
import { TopicRegistry } from '../topics/registry.ts'
import { OWN_REQUEST } from '../translate.ts'
import { AwakePeriod } from './awake-period.ts'
import type { ClientHost, ClientTimer, Recorded } from './client-host.ts'
import { reportIgnored, reportRefusal, reportWakeFull, reportWindowFull, whilePaused } from './client-notices.ts'
import { recordOf } from './client-record.ts'
import { ConnectionSetup } from './connection-setup.ts'
import { Inbound } from './inbound.ts'
import { disconnected, recordEnd } from './leaving.ts'
import { Outbound } from './outbound.ts'
import { Replies } from './replies.ts'
import { ACTIVE_ONLY, type Reaction, type SensorState, STATE_TABLE, type State } from './state-table.ts'
import { Supervision, sleepGraceMs } from './supervision.ts'
import { updateWillMessage, updateWillTopic } from './will-update.ts'

/** An MQTT-SN client: runs the state table over one link to the broker. */
export class GatewayClient {
  readonly clientId: string
  readonly host: ClientHost
  readonly registry: TopicRegistry
  readonly topicIds = new TopicAssignment(this)
  readonly outbound = new Outbound(this)
  readonly awakePeriod = new AwakePeriod(this)
  readonly inbound = new Inbound(this)
  route: RouteKey
  /** The route at which the client was last heard, if another client has that route now. */
  formerRoute: RouteKey = ''
  /** Written by `SensorStates`. */
  state: State = 'disconnected'
  /** The state as it is reported, and when the client entered it; `undefined` before its first accepted CONNECT. */
  reported: SensorState | undefined = undefined
  since: Instant = 0
  /** Keep alive in seconds; 0 disables supervision. */
  durationSeconds = 0
  sleepSeconds = 0
  cleanSession = true
  lastHeard: Instant = 0
  /** When the last awake period ended. */
  sleepsSince: Instant = 0
  /** The store has a record of this client, which must be removed when the client is forgotten. */
  recorded = false
  /** Time of the last record. */
  recordedAt: WallTime = 0
  /** The result of the last attempt to record the client. */
  recordedAs: Recorded = 0
  /** True while the gateway has still to record the client's current state, because the store was full. */
  awaitsRecord = false
  /** The client's number in the table of clients; -1 while it is not there. */
  seat = -1
  /** For the table: the client is on its list of those that may rest; it is one of the few that never rest. */
  maySettle = false
  staysObject = false
  /** True while the client is on the gateway's list of clients that wait for durable records. */
  awaitsDurable = false
  /** The user as whom the link was opened. */
  username: string | undefined = undefined
  windowReported = false
  #link: Link | undefined = undefined
  #will: Will | undefined = undefined
  /** Bytes of the will that are included in `host.wills.kept`. */
  #counted = 0
  readonly replies = new Replies(this)
  readonly supervision = new Supervision(this)
  readonly setup = new ConnectionSetup(this)

  constructor(clientId: string, route: RouteKey, host: ClientHost) {
    this.clientId = clientId
    this.route = route
    this.host = host
    this.registry = new TopicRegistry(host.options.topicIds, host.topicIdTotals)
  }

  get key(): SessionKey {
    return `sn:${this.clientId}`
  }

  get link(): Link | undefined {
    return this.#link
  }

  set link(link: Link | undefined) {
    this.#link = link
    this.#countWill()
  }

  /** The will outlives the link: a CONNECT without the Will flag keeps it [1.2 section 6.3]. */
  get will(): Will | undefined {
    return this.#will
  }

  set will(will: Will | undefined) {
    this.#will = will
    this.#countWill()
  }

  /** While the link is open, the broker holds the same will and counts its memory. */
  #countWill(): void {
    const bytes = this.#link === undefined ? willBytes(this.#will) : 0
    this.host.wills.kept += bytes - this.#counted
    this.#counted = bytes
  }

  /** True while the client listens, so that a message sent now is received. */
  get isReachable(): boolean {
    return this.state === 'active' || this.state === 'awake'
  }

  /** True while the broker accepts no requests. Asked each time, because the link does not report the end of such a pause. */
  get isPaused(): boolean {
    return this.link !== undefined && this.link.state !== 'open'
  }

  /** How unanswered messages to this client are retransmitted. */
  get retryProfile(): RetryProfile {
    return this.host.ports.of(this.route).retry
  }

  // --- From the client

  handle(now: Instant, message: Message): void {
    this.host.sensorStates.figures?.received(this.seat, message)
    this.react(now, message)
    if (this.outbound.busy) this.outbound.heard(now)
    this.#reconsider(now)
  }

  /** Handles the message as the state table demands in the current state. */
  react(now: Instant, message: Message): void {
    this.lastHeard = now
    if (this.state === 'asleep') this.#recordHeard(now)
    switch (this.#reaction(message)) {
      case 'connect':
        this.outbound.poison.heard(true)
        this.setup.connected(now, message as SnConnect)
        break
      case 'willTopic':
        this.setup.willTopic(now, message as WillTopic)
        break
      case 'willMsg':
        this.setup.willMsg(now, message as WillMsg)
        break
      case 'connackAgain':
        if (this.setup.wasBrokenOff) reportIgnored(this, `${typeName(message.type)} for a CONNECT that has come to nothing`)
        else this.send({ type: MsgType.CONNACK, returnCode: ReturnCode.ACCEPTED })
        break
      case 'register':
        this.inbound.register(message as never)
        break
      case 'publish':
        this.inbound.publish(now, message as never)
        break
      case 'release':
        if (!this.#isIgnoredWhilePaused(message)) this.inbound.release(now, (message as { msgId: number }).msgId)
        break
      case 'subscribe':
        this.inbound.subscribe(now, message as never)
        break
      case 'unsubscribe':
        if (!this.#isIgnoredWhilePaused(message)) this.inbound.unsubscribe(now, message as never)
        break
      case 'answer':
        this.outbound.answered(now, message as never)
        break
      case 'ping':
        this.send({ type: MsgType.PINGRESP })
        break
      case 'wake':
        this.#wake(now)
        break
      case 'disconnect':
        disconnected(this, now, message as SnDisconnect)
        break
      case 'confirm':
        // Rate-limited, or two gateways could answer each other's DISCONNECT without end.
        this.host.answerUnknownSender(now, this.route, 'told goodbye again')
        break
      case 'willTopicUpdate':
        updateWillTopic(this, now, message as WillTopic)
        break
      case 'willMsgUpdate':
        updateWillMessage(this, now, message as WillMsg)
        break
      case 'crossed':
        this.setup.crossed(now, message)
        break
      case 'reject':
        this.outbound.poison.heard(false)
        this.host.answerUnknownSender(now, this.route, 'told to connect')
        break
      case 'ignore':
        reportIgnored(this, `${typeName(message.type)} out of turn (${this.state})`)
        break
    }
  }

  /** True while the broker accepts no requests. This message has no reply that could say so; the client will retransmit it. */
  #isIgnoredWhilePaused({ type }: Message): boolean {
    if (this.isPaused) reportIgnored(this, `${typeName(type)} is not answered ${whilePaused(this)}`)
    return this.isPaused
  }

  /** A restart counts sleep from the last record: keeps that record no older than the grace period. */
  #recordHeard(now: Instant): void {
    if (this.recorded && wallTime(this.host.clock, now) - this.recordedAt >= sleepGraceMs(this.sleepSeconds)) this.record(now)
  }

  #reaction(message: Message): Reaction {
    const { state, host } = this
    const asleep = state === 'asleep' || state === 'awake'
    const usual = STATE_TABLE[message.type][state]
    const reaction = asleep && host.options.strictSleep && ACTIVE_ONLY.has(usual) ? 'reject' : usual
    if (this.setup.isUnderWay) {
      // The client's CONNECT is being processed: only an explicit DISCONNECT ends it.
      if (reaction === 'confirm') return 'disconnect'
      if (reaction === 'reject') return 'ignore'
    }
    if (reaction !== 'confirm' && reaction !== 'reject') return reaction
    // The reply to DISCONNECT waits for the store: it promises that the client may sleep, or that its will never fires.
    const recordedAs = state === 'disconnected' ? this.recordedAs : 0
    if (recordedAs === 'full' && reaction === 'confirm') return 'disconnect'
    const isUnrecorded = recordedAs === 'full' || recordedAs > host.store.durable
    return isUnrecorded || this.awaitsStore ? 'ignore' : reaction
  }

  /** Removes messages that still wait for the store or the port: the client sleeps or is gone, and would not receive them. */
  withdraw(): void {
    this.replies.withdraw()
    this.host.ports.withdraw(this.route)
  }

  /** PINGREQ from a sleeping client: sends what is queued, then PINGRESP, which ends the awake period [1.2 section 6.14]. */
  #wake(now: Instant): void {
    if (this.replies.hasQueued(MsgType.PINGRESP)) {
      // The PINGRESP of the previous period is still queued. It answers this PINGREQ too, or has to follow what is still to be
      // sent.
      if (!this.outbound.busy && (this.link?.backlog ?? 0) === 0) return
      this.replies.cancel(MsgType.PINGRESP)
    }
    this.host.sensorStates.enter(now, this, 'awake')
    this.awakePeriod.begin(now)
    this.supervision.arm(now)
    this.outbound.resume(now)
  }

  // --- To and from the broker

  toBroker(now: Instant, packet: Packet): void {
    this.link?.send(now, packet)
  }

  /** The link has output for this client, or accepts requests again. */
  linkReady(now: Instant): void {
    this.#takeFromBroker(now)
    this.#reconsider(now)
  }

  #takeFromBroker(now: Instant): void {
    const link = this.link
    for (let out = link?.poll(now); out !== undefined; out = link?.poll(now)) {
      this.fromBroker(now, out)
      if (this.link !== link) return
      // This delivery may have filled the window: leave the next one in the session's queue.
      link?.listen(now, this.#listens, this.isReachable)
    }
  }

  fromBroker(now: Instant, out: Outgoing): void {
    switch (out.type) {
      case OutgoingType.DELIVERY:
        this.outbound.begin(now, out)
        return
      case PacketType.CONNACK:
        this.setup.connacked(now, out)
        return
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.inbound.responded(now, out)
        return
      case PacketType.PUBREL:
        // With a reason code if the broker has withdrawn the message: the exchange ends with PUBCOMP all the same.
        if (out.reasonCode === 0 || this.outbound.exchanges.ofQos2(out.packetId) !== undefined)
          this.outbound.release(now, out.packetId)
        // The broker's answer to a PUBREC that matched no open exchange: forward it if the client is reachable.
        else if (this.isReachable) this.send({ type: MsgType.PUBREL, msgId: out.packetId })
        return
      case PacketType.SUBACK:
        this.inbound.subscribeAnswered(out)
        return
      case PacketType.UNSUBACK:
        if (out.packetId !== OWN_REQUEST) this.send({ type: MsgType.UNSUBACK, msgId: out.packetId })
        return
      case OutgoingType.CLOSE:
        this.#closedByBroker(now)
        return
      default:
    }
  }

  #closedByBroker(now: Instant): void {
    const wasListening = this.isReachable
    this.host.closeLink(this)
    this.link = undefined
    this.end(now, 'disconnected')
    if (this.recorded) recordEnd(this, now)
    if (wasListening) this.send({ type: MsgType.DISCONNECT, duration: undefined })
  }

  /**
   * Re-evaluates what follows from the state: which exchanges may start, whether the link listens, whether an awake period is
   * over. The last step of every entry point, and called from nowhere else; code inside an entry point only changes the state.
   */
  #reconsider(now: Instant): void {
    this.outbound.advance(now)
    this.link?.listen(now, this.#listens, this.isReachable)
    if (this.state === 'awake') {
      // The client listens only for a moment: send what the broker has queued for it now.
      this.#takeFromBroker(now)
      this.#endAwakePeriod(now)
    }
    if (this.state === 'asleep') this.host.settle(this)
  }

  /**
   * True while the client can accept a delivery: reachable, with room in its window and awake period, and nothing queued ahead.
   */
  get #listens(): boolean {
    const { state, outbound } = this
    const open = state === 'active' || (state === 'awake' && this.awakePeriod.limit === undefined)
    if (!open) return false
    if (outbound.windowFull) this.#reportWindowFull()
    // Behind a reply that waits for the store or a message queued at the port it would wait too: the session's queue is safer.
    return this.route !== '' && !outbound.full && !this.replies.blocked && !this.host.ports.isWaiting(this.route)
  }

  /** Reports a full window once, and again only after the backlog has been empty. */
  #reportWindowFull(): void {
    const isFull = (this.link?.backlog ?? 0) > 0
    if (isFull && !this.windowReported) reportWindowFull(this)
    this.windowReported = isFull
  }

  /** Sends PINGRESP after the last message of this awake period, or because the period was closed early (ruling A4). */
  #endAwakePeriod(now: Instant): void {
    if (this.state !== 'awake') return
    const { awakePeriod, outbound, host, link } = this
    if (!awakePeriod.isClosed) {
      const hasMore = link !== undefined && link.backlog > 0 && awakePeriod.limit === undefined
      if (outbound.busy || host.ports.isWaiting(this.route) || hasMore) {
        outbound.retries.watch(now)
        return
      }
      reportWakeFull(this)
    }
    host.sensorStates.enter(now, this, 'asleep')
    this.sleepsSince = now
    awakePeriod.end(now)
    outbound.suspend()
    link?.listen(now, false)
    this.withdraw()
    this.send({ type: MsgType.PINGRESP })
    this.supervision.arm(now)
  }

  /**
   * The last queued message has left the port, or the route is held until its address is validated. The latter closes an awake
   * period: nothing else would.
   */
  portChanged(now: Instant): void {
    const { ports } = this.host
    if (ports.isHeld(this.route)) this.awakePeriod.close()
    else if (!ports.isWaiting(this.route)) this.outbound.left(now)
    this.#reconsider(now)
  }

  timedOut(now: Instant, about: ClientTimer['about']): void {
    if (about === 'retry') this.outbound.retries.timedOut(now)
    else if (about === 'ids') this.inbound.qos2.timedOut(now)
    else this.setup.timedOut(now)
    this.#reconsider(now)
  }

  /** Another client now uses this client's address. */
  routeTaken(now: Instant): void {
    this.formerRoute = this.route
    this.route = ''
    this.#reconsider(now)
  }

  /** Ends the link to the broker and everything in progress on it. */
  end(now: Instant, state: 'disconnected' | 'lost'): void {
    this.host.sensorStates.enter(now, this, state)
    this.setup.abandon(now)
    this.outbound.abandon()
    this.inbound.abandon()
    this.withdraw()
    if (this.link !== undefined) {
      this.link.lost(now, state)
      this.host.closeLink(this)
      this.link = undefined
    }
    // A clean session is forgotten once no retransmitted DISCONNECT can follow, any other when it expires.
    this.supervision.arm(now)
  }

  // --- Replies, ids, records, supervision

  /** Sends a message after all earlier ones, once `lsn` is durable. `why` explains a refusal that the broker has not reported. */
  send(message: Message, lsn: Lsn = 0, why?: string): void {
    if ('returnCode' in message && message.returnCode !== ReturnCode.ACCEPTED) reportRefusal(this, message, why)
    this.replies.send(message, lsn)
  }

  /** More records are durable: sends the replies that waited for them, after which deliveries may follow. */
  durable(now: Instant): void {
    if (this.replies.release()) this.outbound.left(now)
    if (this.replies.takeOrphaned() && this.isReachable) this.outbound.resume(now)
    this.#reconsider(now)
  }

  /**
   * Disconnected, and the gateway keeps nothing for it: no topic id, message id or will. The broker has the rest of the session.
   */
  get isUnused(): boolean {
    const isGone = this.state === 'disconnected' || this.state === 'lost'
    const isIdle = this.link === undefined && !this.setup.isUnderWay && this.will === undefined
    return isGone && isIdle && this.registry.size === 0 && this.inbound.qos2.size === 0
  }

  /** Discards everything the gateway keeps for the client's session. */
  clear(): void {
    this.registry.clear()
    this.inbound.qos2.clear()
    this.will = undefined
  }

  /** Bytes of memory taken by the client's topic ids and QoS 2 message ids. */
  get keptBytes(): number {
    return this.registry.bytes + this.inbound.qos2.bytes
  }

  reportKept(): void {
    this.link?.keeps(this.keptBytes)
  }

  /** The session whose memory share includes this client. */
  get holder(): Holder | undefined {
    return this.link?.holder
  }

  topicIdsInUse(inPublishes: boolean): ReadonlySet<number> {
    return this.outbound.topicIdsInUse(inPublishes)
  }

  /** True while replies wait for the store; a message sent now would queue behind them. */
  get awaitsStore(): boolean {
    return this.replies.blocked
  }

  /** Records state, route and will, so that they survive a restart. */
  record(now: Instant): Recorded {
    const at = wallTime(this.host.clock, now)
    const lsn = this.host.store.append(recordOf(this, at))
    this.recordedAs = lsn
    if (lsn === 'full') this.host.recordLater(this)
    else {
      this.recorded = true
      this.recordedAt = at
    }
    return lsn
  }

  /** Session Expiry Interval in seconds: how long the session outlives the link. */
  get expirySeconds(): number {
    return this.cleanSession ? 0 : this.host.options.sessionExpirySeconds
  }
}
