import { earliest, type Instant } from '../../base/machine.ts'
import { Timer } from '../../base/timers.ts'
import { type Outgoing, OutgoingType, type Waiting } from '../../mqtt/link.ts'
import { type Connack, type Connect, type Packet, PacketType, type SubscriptionRequest, type Will } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import type { ProtocolVersion, Publish } from '../../mqtt/publish.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { isSameWill } from '../../mqtt/wills.ts'
import type { SessionKey } from '../../store/store.ts'
import { BY_OPERATOR, GOODBYE, isOwnFault } from '../endings.ts'
import type { UpstreamLinkOwner } from '../link-owner.ts'
import type { UpstreamLink } from '../upstream-link.ts'
import { connack } from './connack.ts'
import { EarlyMessages } from './early-messages.ts'
import type { LastDeeds } from './farewell.ts'
import { Handed } from './handed.ts'
import { clusterConnect, willAtCluster } from './naming.ts'
import type { SensorLink } from './sensor-link.ts'
import { SensorSubscriptions } from './sensor-subscriptions.ts'
import type { SessionHost } from './session-host.ts'
import { Uplinked } from './uplinked.ts'

/** Unanswered messages of the cluster from which on more may wait there: RabbitMQ hands out no more than ten. */
const WINDOW_SUSPECTED = 10
/** Milliseconds after which a sensor that does not listen is taken to sleep: a full window lasts less, or something is unanswered. */
const PARK_AFTER_MS = 1_000
/** A stream that was lost sooner than this, in milliseconds, may be in the hands of another gateway. */
const LASTING_MS = 10_000

const NOTHING: Waiting = { messages: 0, bytes: 0 }

/** The session of one sensor at the cluster, as long as the gateway knows the sensor. */
export class SensorSession implements UpstreamLinkOwner {
  readonly clientId: string
  readonly filters: SensorSubscriptions
  link: SensorLink | undefined = undefined
  upstream: UpstreamLink | undefined = undefined
  /** The sensor has been told that it is connected, or believes it since before a restart. */
  isAccepted = false
  readonly #host: SessionHost
  /** The sensor wants the session to end when it leaves. */
  #isClean = false
  /** The CONNECT that waits for the cluster begins clean. */
  #begins = false
  #username: string | undefined = undefined
  #will: Will | undefined = undefined
  readonly #handed = new Handed()
  readonly #uplinked = new Uplinked()
  /** Of the link for messages with QoS -1, which are sent before it is connected. */
  #early: EarlyMessages | undefined = undefined
  #listening = true
  /** It is awake, whether it listens now or has to answer first. */
  #isThere = true
  /** The backlog may not be through yet: until then without a message. */
  #quietAt: Instant | undefined = undefined
  /** So much was unanswered that more may wait at the cluster. */
  #mayHaveMore = false
  /** When the sensor is told that the cluster is away; when a sleeper's stream ends. */
  #connectBy: Instant | undefined = undefined
  #parkAt: Instant | undefined = undefined
  /** As they were seen last: streams and messages of the link, sessions lost, and since when the stream is up. */
  #seen = { connects: 0, received: 0, lost: 0, upSince: undefined as Instant | undefined }
  #timer: Timer<SensorSession> | undefined = undefined

  constructor(clientId: string, host: SessionHost) {
    this.clientId = clientId
    this.#host = host
    this.filters = new SensorSubscriptions(host)
  }

  get key(): SessionKey {
    return `sn:${this.clientId}`
  }

  // --- UpstreamLinkOwner

  get linkName(): string {
    return this.key
  }

  subscriptions(): Iterable<SubscriptionRequest> {
    return this.filters.all()
  }

  willFor(will: Will | undefined, version: ProtocolVersion): Will | undefined {
    return willAtCluster(this.#host.options, will, version)
  }

  upstreamReady(now: Instant, upstream: UpstreamLink): void {
    if (upstream !== this.upstream) return
    if (upstream.yieldedTo !== '') {
      this.#takenOver(now, upstream.yieldedTo)
      return
    }
    const seen = this.#seen
    const { connects, received, sessionsLost } = upstream.status
    if (connects !== seen.connects) {
      this.#early?.send(now)
      if (this.isAccepted && this.#connectBy !== undefined) this.link?.answer(connack(0, true))
      if (this.isAccepted) this.#connectBy = undefined
      if (sessionsLost > seen.lost) this.#host.sessionLost(now)
    }
    if (connects !== seen.connects || (this.#quietAt !== undefined && received !== seen.received)) this.#settle(now)
    Object.assign(seen, { connects, received, lost: sessionsLost })
    this.#renewWill(now, upstream)
    if (!upstream.isUp && seen.upSince !== undefined) this.#streamLost(upstream, now - seen.upSince)
    seen.upSince = upstream.isUp ? (seen.upSince ?? now) : undefined
    if (this.link !== undefined) this.#host.markReady(this.link)
  }

  /**
   * A sensor that sleeps may be at another gateway by now: it is not taken away from there, unless the cluster would publish its will,
   * and the other gateway has not shown itself.
   */
  #streamLost(upstream: UpstreamLink, lastedMs: number): void {
    if (this.#isThere || this.#early !== undefined) return
    // It comes again over the next stream, unless another gateway has delivered it.
    upstream.inbound.forgetWaiting()
    const hasWill = this.willFor(this.#will, upstream.status.version as ProtocolVersion) !== undefined
    if (lastedMs < LASTING_MS || !hasWill) upstream.parked = true
  }

  // --- For the gateway

  get state(): 'open' | 'held' | 'verifying' {
    if (!this.isAccepted) return 'verifying'
    return this.#early !== undefined || this.upstream?.state === 'open' ? 'open' : 'held'
  }

  /** What waits here: messages of the cluster for the sensor, or with QoS -1 for the cluster. */
  get held(): Waiting {
    return this.#early?.held ?? this.upstream?.inbound.held ?? NOTHING
  }

  /** Messages for the sensor; one more while some may be on their way. */
  get backlog(): number {
    const { upstream } = this
    if (upstream === undefined) return 0
    const waiting = upstream.inbound.waiting + this.#handed.waiting
    if (waiting > 0) return waiting
    if (upstream.isUp) return this.#quietAt === undefined ? 0 : 1
    return upstream.parked || this.#host.targets.isOpen ? 0 : 1
  }

  connect(now: Instant, link: SensorLink, packet: Connect): void {
    if (this.link !== undefined) this.link.attached = undefined
    this.link = link
    link.attached = this
    const { cleanStart, will } = packet
    const isClean = (packet.properties.sessionExpiryInterval ?? 0) === 0
    const { isRestored = false, identity: username } = link.info
    const wasEnding = this.#host.farewells.get(this.clientId)?.cancel(now) === true
    const begins = cleanStart || wasEnding || (this.#isClean && !isRestored)
    const isSame = this.upstream !== undefined && username === this.#username
    this.filters.abandon()
    this.listen(now, link.listening, link.isThere)
    if (isSame && (this.isAccepted ? !begins : begins === this.#begins && isClean === this.#isClean)) {
      this.#isClean = isClean
      this.#goOn(now, link, will)
      return
    }
    const refusal = begins && !this.#forgetSubscriptions() ? ReasonCode.QUOTA_EXCEEDED : this.#refusal(now, isRestored)
    if (refusal !== undefined) {
      this.#refuse(now, refusal)
      return
    }
    this.#end(now)
    this.#isClean = isClean
    this.#begins = begins
    this.#username = username
    this.#will = will
    this.#open(now, link, packet)
  }

  /** The sensor connects again, and its session is connected, or is about to be. */
  #goOn(now: Instant, link: SensorLink, will: Will | undefined): void {
    this.setWill(now, will)
    const { upstream, isAccepted } = this
    if (upstream === undefined || !isAccepted) return
    upstream.inbound.forgetEarlier(upstream.isUp)
    this.#handed.restart((packetId) => upstream.inbound.knows(packetId))
    upstream.inbound.deliverBehind()
    upstream.outbound.leave(upstream.isUp)
    this.#uplinked.restart(upstream.outbound)
    upstream.unpark(now)
    if (upstream.isUp) link.answer(connack(0, true))
    else if (this.#host.targets.isAway(now)) this.#refuse(now, ReasonCode.SERVER_UNAVAILABLE)
    else this.#expectStream(now)
  }

  /** CONNACK waits for the stream, but not for ever. */
  #expectStream(now: Instant): void {
    this.#connectBy = now + this.#host.options.targets.connectTimeoutMs
    this.#arm()
  }

  #refusal(now: Instant, isRestored: boolean): number | undefined {
    if (isRestored) return undefined
    const { targets, memory, notice, sessionBytes } = this.#host
    if (targets.isAway(now)) return ReasonCode.SERVER_UNAVAILABLE
    const over = memory.refusal(undefined, sessionBytes)
    if (over === undefined) return undefined
    notice({ code: 'limit-reached', level: 'warn', client: this.key, ...over })
    return ReasonCode.QUOTA_EXCEEDED
  }

  #open(now: Instant, link: SensorLink, packet: Connect): void {
    const { options, upstream, settings, targets, lasting } = this.#host
    const { isRestored = false, isShared = false } = link.info
    this.upstream = upstream.open(now, settings, targets, this)
    this.upstream.listen(now, this.#listening)
    if (this.filters.takeUnsure()) this.upstream.asked = 1
    if (options.sleepers === 'park' && isRestored && !this.#listening) this.upstream.parked = true
    const connect = clusterConnect(options, this.clientId, this.#username)
    const properties = isShared ? NO_PROPERTIES : lasting
    this.upstream.send(now, { ...connect, cleanStart: this.#begins, will: packet.will, properties })
    if (isShared) this.#early = new EarlyMessages(options, this.upstream, upstream)
    this.isAccepted = isRestored || isShared
    if (this.isAccepted) link.answer(connack(0, isRestored))
    else this.#expectStream(now)
  }

  send(now: Instant, packet: Packet): void {
    const { upstream } = this
    if (upstream === undefined) return
    switch (packet.type) {
      case PacketType.PUBLISH:
        this.#publish(now, upstream, packet)
        return
      case PacketType.SUBSCRIBE:
      case PacketType.UNSUBSCRIBE:
        this.filters.asked(packet)
        break
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#handed.answered(packet)
        if (this.#mayHaveMore) this.#settle(now)
        break
      case PacketType.DISCONNECT:
        this.#part(now, { will: undefined, leavesWill: false, endsSession: this.#isClean })
        return
      default:
    }
    upstream.send(now, packet)
    upstream.unpark(now)
  }

  /** The sensor retransmits a message or publishes another, so it is at this gateway: unacknowledged messages are resent. */
  repeated(): void {
    const { upstream } = this
    if (upstream?.outbound.resend() === true) this.#host.upstream.markDirty(upstream)
  }

  #publish(now: Instant, upstream: UpstreamLink, message: Publish): void {
    this.repeated()
    const refusals = message.qos === 0 ? [] : this.#uplinked.refusals(upstream.outbound, message)
    for (const refusal of refusals) this.link?.answer(refusal)
    if (refusals.length > 0) return
    if (this.#early !== undefined && !upstream.isUp) this.#early.keep(message)
    else upstream.send(now, message)
    upstream.unpark(now)
  }

  listen(now: Instant, on: boolean, isThere: boolean): void {
    this.#isThere = isThere
    if (this.#listening === on) return
    this.#listening = on
    const { upstream, link } = this
    this.#parkAt = on || this.#host.options.sleepers === 'keep' ? undefined : now + PARK_AFTER_MS
    if (this.#parkAt !== undefined) this.#arm()
    if (upstream === undefined) return
    upstream.listen(now, on)
    if (!on) return
    upstream.unpark(now)
    this.#mayHaveMore ||= this.#isWindowFull
    if (link !== undefined && this.#handed.waiting > 0) this.#host.markReady(link)
  }

  /** More may wait at the cluster until something is answered. */
  get #isWindowFull(): boolean {
    const { upstream } = this
    return upstream !== undefined && upstream.inbound.unanswered >= Math.min(WINDOW_SUSPECTED, this.#host.options.window)
  }

  poll(now: Instant): Outgoing | undefined {
    const again = this.#listening ? this.#handed.next() : undefined
    if (again !== undefined) return again
    for (let out = this.upstream?.poll(now); out !== undefined; out = this.upstream?.poll(now)) {
      const passed = this.#passed(now, out)
      if (passed !== undefined) return passed
    }
    return undefined
  }

  /** The gateway also calls it, without a will, just before the next CONNECT: what becomes of it shows at the end of the turn. */
  setWill(_now: Instant, will: Will | undefined): number {
    this.#will = will
    if (this.upstream !== undefined) this.#host.upstream.markReady(this.upstream)
    return 0
  }

  /** MQTT can change the will of a session by another CONNECT only. */
  #renewWill(now: Instant, upstream: UpstreamLink): void {
    const { connect, status } = upstream
    if (connect === undefined || isSameWill(connect.will, this.#will)) return
    const version = status.version as ProtocolVersion
    const isThere = upstream.isUp && (this.willFor(connect.will, version) ?? this.willFor(this.#will, version)) !== undefined
    if (isThere) upstream.setWill(now, this.#will)
    else upstream.connect = { ...connect, will: this.#will }
  }

  /** The sensor is lost: its will is published, here or by the cluster. */
  lost(now: Instant, _reason: string): void {
    this.#lose(now, this.#isClean)
  }

  #lose(now: Instant, endsSession: boolean): void {
    const will = this.#will
    const isTheirs = this.willFor(will, this.upstream?.status.version as ProtocolVersion) !== undefined
    this.#part(now, { will: isTheirs ? undefined : will, leavesWill: isTheirs, endsSession })
  }

  /** Disconnects the sensor for an operator. It receives DISCONNECT, and its will is published as if it were lost. */
  disconnect(now: Instant, endsSession = this.#isClean): void {
    const { link } = this
    this.#lose(now, endsSession)
    link?.answer(BY_OPERATOR)
  }

  // --- From the cluster

  /** What the gateway gets of a packet of the link, if anything. */
  #passed(now: Instant, out: Outgoing): Outgoing | undefined {
    switch (out.type) {
      case OutgoingType.DELIVERY:
        // It is kept until the sensor has answered; the buffer of the socket is not.
        out.message.own()
        if (out.qos > 0) this.#handed.delivered(out.message)
        return out
      case PacketType.PUBREL:
        this.#handed.released(out.packetId)
        return out
      case PacketType.CONNACK:
        this.#connacked(now, out)
        return undefined
      case PacketType.SUBACK:
      case PacketType.UNSUBACK: {
        const lsn = this.filters.answered(this.clientId, out)
        if (lsn !== 'full') this.link?.answer(out, lsn)
        else if (out.type === PacketType.SUBACK) return { ...out, reasonCodes: [ReasonCode.QUOTA_EXCEEDED] }
        return undefined
      }
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        return this.#uplinked.passes(out) ? out : undefined
      default:
        return out
    }
  }

  #connacked(now: Instant, { reasonCode, sessionPresent, properties }: Connack): void {
    const { link, upstream } = this
    if (reasonCode >= 0x80) {
      const isLasting = isOwnFault(reasonCode) && reasonCode !== ReasonCode.QUOTA_EXCEEDED
      if (isLasting && upstream !== undefined)
        this.#host.upstream.notices.limited(upstream, 'upstream-refused', upstream.status.lastError)
      if (!this.isAccepted) {
        this.#refuse(now, isOwnFault(reasonCode) ? reasonCode : ReasonCode.SERVER_UNAVAILABLE)
      } else if (isLasting && this.#listening) this.#close(now, reasonCode, upstream?.status.lastError)
      else if (isLasting && upstream !== undefined) upstream.parked = true
      return
    }
    if (this.isAccepted) return
    this.isAccepted = true
    this.#connectBy = undefined
    // QoS is lowered by the link, and messages beyond the window wait there.
    const { retainAvailable } = properties
    link?.answer(connack(0, sessionPresent || this.filters.size > 0, retainAvailable))
  }

  /** Another gateway has the session now: the sensor is there, and here it is forgotten without a fight and without a will. */
  #takenOver(now: Instant, reason: string): void {
    this.#host.notice({ code: 'client-takeover', level: 'info', client: this.key, reason: `at the cluster: ${reason}` })
    this.#close(now, ReasonCode.SESSION_TAKEN_OVER, reason)
  }

  // --- Ends

  #close(now: Instant, reasonCode: number, reason: string | undefined): void {
    const { link } = this
    this.#end(now)
    this.#detach()
    link?.answer({ type: OutgoingType.CLOSE, reasonCode, disconnect: true, reason })
  }

  #refuse(now: Instant, reasonCode: number): void {
    const { link } = this
    this.#end(now)
    this.#detach()
    link?.answer(connack(reasonCode, false))
  }

  #part(now: Instant, deeds: LastDeeds): void {
    const left = this.upstream
    this.upstream = undefined
    this.#detach()
    this.#reset()
    if (left === undefined) return
    this.filters.areUnsure = left.isUnsure || !left.isUp
    left.outbound.leave(left.isUp)
    this.#host.partWith(now, this.clientId, left, deeds)
  }

  /** Ends the link; its session stays. */
  #end(now: Instant): void {
    const { upstream } = this
    this.upstream = undefined
    this.#reset()
    if (upstream === undefined) return
    this.filters.areUnsure = upstream.isUnsure
    upstream.send(now, GOODBYE)
    this.#host.upstream.remove(upstream)
  }

  #reset(): void {
    this.#handed.clear()
    this.#uplinked.clear()
    this.#early?.clear()
    this.#early = undefined
    this.#quietAt = undefined
    this.#mayHaveMore = false
    this.#connectBy = undefined
    this.#parkAt = undefined
    this.#seen = { connects: 0, received: 0, lost: 0, upSince: undefined }
    if (this.#timer !== undefined) this.#host.timers.disarm(this.#timer)
  }

  #detach(): void {
    if (this.link !== undefined) this.link.attached = undefined
    this.link = undefined
    this.isAccepted = false
  }

  #forgetSubscriptions(): boolean {
    const { store } = this.#host
    if (this.filters.size > 0 && store.append({ type: 'sn-end', clientId: this.clientId }) === 'full') return false
    this.filters.clear()
    return true
  }

  // --- Time

  #settle(now: Instant): void {
    this.#quietAt = now + this.#host.options.quietMs
    this.#arm()
  }

  #arm(): void {
    const next = earliest(this.#quietAt, earliest(this.#connectBy, this.#parkAt))
    if (next === undefined) {
      if (this.#timer?.armed === false) this.#timer = undefined
      return
    }
    this.#timer ??= new Timer<SensorSession>(this)
    // One that is too early is harmless, and moving it for each message costs more.
    if (!this.#timer.armed || this.#timer.deadline > next) this.#host.timers.arm(this.#timer, next)
  }

  timedOut(now: Instant): void {
    if (this.#connectBy !== undefined && now >= this.#connectBy) {
      this.#refuse(now, ReasonCode.SERVER_UNAVAILABLE)
      return
    }
    if (this.#quietAt !== undefined && now >= this.#quietAt) {
      this.#quietAt = undefined
      // The sensor may need longer than that for its answer, and the cluster sends the next message after it.
      this.#mayHaveMore = this.#isWindowFull
      // Unread data belongs to the backlog.
      if (this.upstream?.stream?.paused === true && this.#listening) this.#settle(now)
      else if (this.upstream?.isUp === true && !this.upstream.stream?.paused) this.upstream.inbound.endBacklog()
      if (this.link !== undefined) this.#host.markReady(this.link)
    }
    if (this.#parkAt !== undefined && now >= this.#parkAt) this.#park(now)
    this.#arm()
  }

  /** The sensor sleeps: its stream ends until it wakes, as soon as nothing is unanswered. */
  #park(now: Instant): void {
    const { upstream } = this
    this.#parkAt = undefined
    if (upstream === undefined || this.#early !== undefined) return
    const isQuiet =
      this.#quietAt === undefined && this.#handed.size === 0 && upstream.inFlight === 0 && upstream.subscriptions.isIdle
    if (upstream.isUp && isQuiet) upstream.rest(now)
    else if (!upstream.parked) this.#parkAt = now + PARK_AFTER_MS
  }
}
