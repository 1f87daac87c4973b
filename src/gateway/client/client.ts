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
import { tellIgnored, tellRefusal, tellWakeFull, tellWindowFull } from './client-notices.ts'
import { recordOf } from './client-record.ts'
import { ConnectionSetup } from './connection-setup.ts'
import type { Awaiting } from './exchange.ts'
import { Inbound } from './inbound.ts'
import { disconnected, lost } from './leaving.ts'
import { Outbound } from './outbound.ts'
import { Replies } from './replies.ts'
import { ACTIVE_ONLY, type Reaction, STATE_TABLE, type State } from './state-table.ts'
import { Supervision, sleepGraceMs } from './supervision.ts'
import { updateWillMessage, updateWillTopic } from './will-update.ts'

/** A sensor: the state table in motion, over one link to the broker. */
export class GatewayClient {
  readonly clientId: string
  readonly host: ClientHost
  readonly registry: TopicRegistry
  readonly topicIds = new TopicAssignment(this)
  readonly outbound = new Outbound(this)
  readonly awakePeriod = new AwakePeriod(this)
  readonly inbound = new Inbound(this)
  route: RouteKey
  /** Where it was heard last, if somebody else has that address now. */
  formerRoute: RouteKey = ''
  state: State = 'disconnected'
  /** Keep alive, seconds; 0 is no supervision. */
  durationSeconds = 0
  sleepSeconds = 0
  cleanSession = true
  lastHeard: Instant = 0
  /** End of the last awake period. */
  sleepsSince: Instant = 0
  /** The store knows of this client, and has to be told when it is forgotten. */
  recorded = false
  /** When that was. */
  recordedAt: WallTime = 0
  /** The last record. */
  #recordedAs: Recorded = 0
  /** On the gateway's list of those that wait for the store. */
  awaitsDurable = false
  /** The user that the link is open as. */
  username: string | undefined = undefined
  #windowTold = false
  #link: Link | undefined = undefined
  #will: Will | undefined = undefined
  /** Bytes by which its will is in the account. */
  #counted = 0
  readonly replies = new Replies(this)
  readonly supervision = new Supervision(this)
  readonly setup = new ConnectionSetup(this)

  constructor(clientId: string, route: RouteKey, host: ClientHost) {
    this.clientId = clientId
    this.route = route
    this.host = host
    this.registry = new TopicRegistry(host.options.lastTopicId, host.topicIdBytes)
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

  /** It outlives the conversation: without another one, CONNECT keeps it [1.2 section 6.3]. */
  get will(): Will | undefined {
    return this.#will
  }

  set will(will: Will | undefined) {
    this.#will = will
    this.#countWill()
  }

  /** While there is a conversation, the broker has the same will, and counts it. */
  #countWill(): void {
    const bytes = this.#link === undefined ? willBytes(this.#will) : 0
    this.host.wills.kept += bytes - this.#counted
    this.#counted = bytes
  }

  /** It listens: what is sent now is heard. */
  get isReachable(): boolean {
    return this.state === 'active' || this.state === 'awake'
  }

  /** True while the broker takes no more requests. Asked of the link each time, because the link does not report when that ends. */
  get isPaused(): boolean {
    return this.link !== undefined && this.link.state !== 'open'
  }

  /** How what it does not answer is repeated. */
  get retryProfile(): RetryProfile {
    return this.host.ports.of(this.route).retry
  }

  // --- From the sensor

  handle(now: Instant, message: Message): void {
    this.react(now, message)
    if (this.outbound.busy) this.outbound.heard(now)
    this.#reconsider(now)
  }

  /** What the state table says to this message in this state. */
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
        if (this.setup.wasCrossed) tellIgnored(this, `${typeName(message.type)} for a CONNECT that has come to nothing`)
        else this.send({ type: MsgType.CONNACK, returnCode: ReturnCode.ACCEPTED })
        break
      case 'register':
        this.inbound.register(message as never)
        break
      case 'publish':
        this.inbound.publish(now, message as never)
        break
      case 'release':
        if (!this.#tellsHeld(message)) this.inbound.release(now, (message as { msgId: number }).msgId)
        break
      case 'subscribe':
        this.inbound.subscribe(now, message as never)
        break
      case 'unsubscribe':
        if (!this.#tellsHeld(message)) this.inbound.unsubscribe(now, message as never)
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
      case 'goodbye':
        // Within the budget for strangers, or two gateways could say goodbye to each other for ever.
        this.host.tellStranger(now, this.route, 'told goodbye again')
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
      case 'stranger':
        this.outbound.poison.heard(false)
        this.host.tellStranger(now, this.route, 'told to connect')
        break
      case 'ignore':
        tellIgnored(this, `${typeName(message.type)} out of turn (${this.state})`)
        break
    }
  }

  /** True while the broker takes no more: there is no answer that would say so to this message, which comes again. */
  #tellsHeld({ type }: Message): boolean {
    if (this.isPaused) tellIgnored(this, `${typeName(type)} is not answered while the broker takes no more`)
    return this.isPaused
  }

  /** A restart counts the sleep from the last record, which is therefore never older than its grace period. */
  #recordHeard(now: Instant): void {
    if (this.recorded && wallTime(this.host.clock, now) - this.recordedAt >= sleepGraceMs(this.sleepSeconds)) this.record(now)
  }

  #reaction(message: Message): Reaction {
    const { state, host } = this
    const asleep = state === 'asleep' || state === 'awake'
    const usual = STATE_TABLE[message.type][state]
    const reaction = asleep && host.options.strictSleep && ACTIVE_ONLY.has(usual) ? 'stranger' : usual
    if (this.setup.isUnderWay) {
      // Its CONNECT has been heard, and is not answered yet: it is gone only if it says so.
      if (reaction === 'goodbye') return 'disconnect'
      if (reaction === 'stranger') return 'ignore'
    }
    if (reaction !== 'goodbye' && reaction !== 'stranger') return reaction
    // The answer to its DISCONNECT waits for the store: to say it now would promise that it may sleep, or that its will never fires.
    const recordedAs = state === 'disconnected' ? this.#recordedAs : 0
    if (recordedAs === 'full' && reaction === 'goodbye') return 'disconnect'
    const isUnrecorded = recordedAs === 'full' || recordedAs > host.store.durable
    return isUnrecorded || this.awaitsStore ? 'ignore' : reaction
  }

  /** It sleeps, or is gone: messages that still wait for the store, or for their port, would reach nobody. */
  withdraw(): void {
    this.replies.withdraw()
    this.host.ports.withdraw(this.route)
  }

  /** PINGREQ from sleep: everything that waits goes out now, and PINGRESP closes the window [1.2 section 6.14]. */
  #wake(now: Instant): void {
    if (this.replies.owes(MsgType.PINGRESP)) {
      // The awake period before has ended, and the sensor does not know: that PINGRESP is its answer, or follows what is still to come.
      if (!this.outbound.busy && (this.link?.backlog ?? 0) === 0) return
      this.replies.unsay(MsgType.PINGRESP)
    }
    this.state = 'awake'
    this.awakePeriod.begin()
    if (this.link === undefined) this.awakePeriod.close()
    this.supervision.arm(now)
    this.outbound.resume(now)
  }

  // --- To and from the broker

  toBroker(now: Instant, packet: Packet): void {
    this.link?.send(now, packet)
  }

  /** The broker has something to say, or listens to us again. */
  linkReady(now: Instant): void {
    this.#takeFromBroker(now)
    this.#reconsider(now)
  }

  #takeFromBroker(now: Instant): void {
    const link = this.link
    for (let out = link?.poll(now); out !== undefined; out = link?.poll(now)) {
      this.#fromBroker(now, out)
      if (this.link !== link) return
      // One delivery may fill the window: the next one stays in its queue.
      link?.listen(now, this.#listens)
    }
  }

  #fromBroker(now: Instant, out: Outgoing): void {
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
        if (out.reasonCode === 0) this.outbound.release(now, out.packetId)
        // A PUBREC that answers nothing of ours ends like this, whether the client hears it or not.
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
    if (this.recorded) this.record(now)
    if (wasListening) this.send({ type: MsgType.DISCONNECT, duration: undefined })
  }

  /**
   * Works out what follows from the state as it is: which exchanges may begin, whether the link listens, and whether an awake period is over. The last
   * step of every entry point, and called from nowhere else: what happens inside one only changes the state.
   */
  #reconsider(now: Instant): void {
    this.outbound.advance(now)
    this.link?.listen(now, this.#listens)
    if (this.state !== 'awake') return
    // The sensor listens for a moment only: what the broker has for it leaves now.
    this.#takeFromBroker(now)
    this.#endAwakePeriod(now)
  }

  /** True while the client can take a delivery: it is reachable, its window and its awake period have room, and nothing waits ahead of it. */
  get #listens(): boolean {
    const { state, outbound } = this
    const open = state === 'active' || (state === 'awake' && this.awakePeriod.limit === undefined)
    if (!open) return false
    if (outbound.windowFull) this.#tellWindowFull()
    // A delivery behind a reply that waits for the store, or behind a message that waits for its port, would wait with it: it is safer in its queue.
    return this.route !== '' && !outbound.full && !this.replies.blocked && !this.host.ports.isWaiting(this.route)
  }

  /** Reported once, until everything that waits has left. */
  #tellWindowFull(): void {
    const isFull = (this.link?.backlog ?? 0) > 0
    if (isFull && !this.#windowTold) tellWindowFull(this)
    this.#windowTold = isFull
  }

  /** PINGRESP follows the last message that this awake period may bring, or ends a period that was closed (ruling A4). */
  #endAwakePeriod(now: Instant): void {
    if (this.state !== 'awake') return
    const { awakePeriod, outbound, host, link } = this
    if (!awakePeriod.isClosed) {
      const hasMore = link !== undefined && link.backlog > 0 && awakePeriod.limit === undefined
      if (outbound.busy || host.ports.isWaiting(this.route) || hasMore) {
        outbound.watch(now)
        return
      }
      tellWakeFull(this)
    }
    this.state = 'asleep'
    this.sleepsSince = now
    outbound.suspend()
    link?.listen(now, false)
    this.withdraw()
    this.send({ type: MsgType.PINGRESP })
    this.supervision.arm(now)
  }

  /** Its last message has left the port, or has to wait for its address to prove itself: that ends an awake period, or nothing would. */
  portChanged(now: Instant): void {
    const { ports } = this.host
    if (ports.isHeld(this.route)) this.awakePeriod.close()
    else if (!ports.isWaiting(this.route)) this.outbound.left(now)
    this.#reconsider(now)
  }

  timedOut(now: Instant, about: ClientTimer['about']): void {
    if (about === 'retry') this.outbound.timedOut(now)
    else if (about === 'ids') this.inbound.qos2.timedOut(now)
    else this.setup.timedOut(now)
    this.#reconsider(now)
  }

  /** Another client is at its address now. */
  routeTaken(now: Instant): void {
    this.formerRoute = this.route
    this.route = ''
    this.#reconsider(now)
  }

  /** N_retry is used up in silence: an active client is lost, a sleeper is left to its sleep, with its message (ruling A28). */
  retriesExhausted(now: Instant, awaiting: Awaiting): void {
    const reason = `no ${awaiting} after ${this.retryProfile.nRetry} retries`
    this.host.notice({ code: 'retries-exhausted', level: 'info', client: this.key, peer: this.route, reason })
    if (this.state === 'awake') this.awakePeriod.close()
    else lost(this, now, reason)
  }

  /** The conversation is over, and nothing of it is left to do. */
  end(now: Instant, state: 'disconnected' | 'lost'): void {
    this.state = state
    this.setup.abandon(now)
    this.outbound.abandon()
    this.inbound.abandon()
    this.withdraw()
    if (this.link !== undefined) {
      this.link.lost(now, state)
      this.host.closeLink(this)
      this.link = undefined
    }
    // A clean session is forgotten when a repeated DISCONNECT can no longer come, any other when it expires.
    this.supervision.arm(now)
  }

  // --- Replies, ids, records, supervision

  /** Sends a message when everything before it has gone and `lsn` is durable. `why` says what a refusal is about, unless the broker has told it. */
  send(message: Message, lsn: Lsn = 0, why?: string): void {
    if ('returnCode' in message && message.returnCode !== ReturnCode.ACCEPTED) tellRefusal(this, message, why)
    this.replies.send(message, lsn)
  }

  /** More is durable: what waited for it leaves, and deliveries may follow. */
  durable(now: Instant): void {
    if (this.replies.release()) this.outbound.left(now)
    if (this.replies.takeReliedOn() && this.isReachable) this.outbound.resume(now)
    this.#reconsider(now)
  }

  /** It is gone and the gateway has nothing to remember for it: no topic id, no message id, no will. The broker knows the rest. */
  get isUnused(): boolean {
    const isGone = this.state === 'disconnected' || this.state === 'lost'
    const isIdle = this.link === undefined && !this.setup.isUnderWay && this.will === undefined
    return isGone && isIdle && this.registry.size === 0 && this.inbound.qos2.size === 0
  }

  /** Nothing is left of its session. */
  clear(): void {
    this.registry.clear()
    this.inbound.qos2.clear()
    this.will = undefined
  }

  /** Bytes that the gateway keeps of what it has said. */
  get keptBytes(): number {
    return this.registry.bytes + this.inbound.qos2.bytes
  }

  tellKept(): void {
    this.link?.keeps(this.keptBytes)
  }

  /** Whose share of memory it counts for. */
  get holder(): Holder | undefined {
    return this.link?.holder
  }

  topicIdsInUse(inPublishes: boolean): ReadonlySet<number> {
    return this.outbound.topicIdsInUse(inPublishes)
  }

  /** What is said to it now waits for the store. */
  get awaitsStore(): boolean {
    return this.replies.blocked
  }

  /** Records state, route and will, so that a restart finds them. */
  record(now: Instant): Recorded {
    const at = wallTime(this.host.clock, now)
    const lsn = this.host.store.append(recordOf(this, at))
    this.#recordedAs = lsn
    if (lsn === 'full') this.host.recordLater(this)
    else {
      this.recorded = true
      this.recordedAt = at
    }
    return lsn
  }

  /** How long its session outlives the conversation. */
  get expirySeconds(): number {
    return this.cleanSession ? 0 : this.host.options.sessionExpirySeconds
  }
}
