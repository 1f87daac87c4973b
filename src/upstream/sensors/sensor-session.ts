import type { Instant } from '../../base/machine.ts'
import { Timer, type Timers } from '../../base/timers.ts'
import { type Outgoing, OutgoingType } from '../../mqtt/link.ts'
import { type Connack, type Connect, type Packet, PacketType, type SubscriptionRequest, type Will } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import type { ProtocolVersion } from '../../mqtt/publish.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import type { SessionKey, Store } from '../../store/store.ts'
import { GOODBYE, isOwnFault } from '../endings.ts'
import type { Targets } from '../targets.ts'
import type { Upstream } from '../upstream.ts'
import type { UpstreamLink, UpstreamLinkOwner, UpstreamLinkSettings } from '../upstream-link.ts'
import { Handed } from './handed.ts'
import { filledIn } from './naming.ts'
import type { SensorUpstreamOptions } from './options.ts'
import type { SensorLink } from './sensor-link.ts'
import { SensorSubscriptions } from './sensor-subscriptions.ts'

/** What the sessions of sensors share. */
export interface SessionHost {
  readonly options: SensorUpstreamOptions
  readonly settings: UpstreamLinkSettings
  readonly targets: Targets
  readonly upstream: Upstream
  readonly store: Store
  readonly timers: Timers<SensorSession>
  markReady(link: SensorLink): void
}

/** Unanswered messages of the cluster from which on more may wait there: RabbitMQ hands out no more than ten. */
const WINDOW_SUSPECTED = 10

/** Session Expiry Interval of a session that does not expire. */
const NEVER = 0xffffffff

/** The session of one sensor at the cluster, as long as the gateway knows the sensor. */
export class SensorSession implements UpstreamLinkOwner {
  readonly clientId: string
  readonly filters = new SensorSubscriptions()
  link: SensorLink | undefined = undefined
  upstream: UpstreamLink | undefined = undefined
  /** The sensor has been told that it is connected, or believes it since before a restart. */
  isAccepted = false
  /** The sensor wants the session to end when it leaves. */
  #isClean = false
  #username: string | undefined = undefined
  #will: Will | undefined = undefined
  readonly #handed = new Handed()
  readonly #host: SessionHost
  #listening = true
  /** More of the backlog may be on its way, until `#quietAt` without a message. */
  #settles = false
  #mayHaveMore = false
  #quietAt: Instant = 0
  /** When the sensor is told that the cluster is away. */
  #connectBy: Instant | undefined = undefined
  /** Counts of the link, as they were seen last. */
  #connects = 0
  #received = 0
  #timer: Timer<SensorSession> | undefined = undefined

  constructor(clientId: string, host: SessionHost) {
    this.clientId = clientId
    this.#host = host
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
    const { wills, willDelaySeconds } = this.#host.options
    if (will === undefined || wills === 'gateway' || (wills === 'auto' && version < 5)) return undefined
    return { ...will, properties: { willDelayInterval: willDelaySeconds } }
  }

  upstreamReady(now: Instant, upstream: UpstreamLink): void {
    if (upstream !== this.upstream) return
    const { connects, received } = upstream.status
    const isNew = connects !== this.#connects
    if (isNew || (this.#settles && received !== this.#received)) this.#settle(now)
    this.#connects = connects
    this.#received = received
    this.#renewWill(now, upstream)
    // A sensor that sleeps may be at another gateway by now: it is not taken away from there.
    if (!upstream.isUp && !this.#listening && this.isAccepted && connects > 0) upstream.park()
    if (this.link !== undefined) this.#host.markReady(this.link)
  }

  // --- For the gateway

  get state(): 'open' | 'held' | 'verifying' {
    if (!this.isAccepted) return 'verifying'
    return this.upstream?.state === 'open' ? 'open' : 'held'
  }

  /** Messages for the sensor; one more while some may be on their way. */
  get backlog(): number {
    const { upstream } = this
    if (upstream === undefined) return 0
    const waiting = upstream.inbound.waiting + this.#handed.waiting
    if (waiting > 0) return waiting
    if (upstream.isUp) return this.#settles ? 1 : 0
    return upstream.parked || this.#host.targets.isOpen ? 0 : 1
  }

  connect(now: Instant, link: SensorLink, packet: Connect): void {
    const { options, targets, timers } = this.#host
    if (this.link !== undefined) this.link.attached = undefined
    this.link = link
    link.attached = this
    const { cleanStart, will } = packet
    const isClean = (packet.properties.sessionExpiryInterval ?? 0) === 0
    const { isRestored = false, identity: username } = link.info
    const goesOn = this.isAccepted && this.upstream !== undefined && !cleanStart && !this.#isClean && username === this.#username
    this.filters.abandon()
    if (goesOn) {
      this.#isClean = isClean
      this.setWill(now, will)
      this.#handed.restart()
      this.upstream!.unpark(now)
      link.answer(connack(0, true))
      return
    }
    const begins = cleanStart || (this.#isClean && !isRestored)
    if (begins && !this.#forgetSubscriptions()) {
      this.#refuse(now, ReasonCode.QUOTA_EXCEEDED)
      return
    }
    this.#isClean = isClean
    this.#username = username
    this.#will = will
    this.isAccepted = isRestored
    this.#open(now, packet, begins)
    if (isRestored) link.answer(connack(0, true))
    else if (targets.isOpen) this.#refuse(now, ReasonCode.SERVER_UNAVAILABLE)
    else {
      this.#connectBy = now + options.targets.connectTimeoutMs
      this.#timer ??= new Timer<SensorSession>(this)
      timers.arm(this.#timer, this.#connectBy)
    }
  }

  #open(now: Instant, packet: Connect, cleanStart: boolean): void {
    this.#end(now, GOODBYE)
    const { options, upstream, settings, targets } = this.#host
    const values = { c: this.clientId, g: options.gatewayId, u: this.#username }
    const { username, password } = options
    this.#connects = 0
    this.#received = 0
    this.upstream = upstream.open(now, settings, targets, this)
    this.upstream.listen(now, this.#listening)
    this.upstream.send(now, {
      ...packet,
      clientId: filledIn(options.clientId, values),
      cleanStart,
      keepAlive: options.keepAliveSeconds,
      username: username === undefined ? undefined : filledIn(username, values),
      password: password === undefined ? undefined : new TextEncoder().encode(filledIn(password, values)),
      properties: { sessionExpiryInterval: Math.min(options.sessionExpirySeconds, NEVER) },
    })
  }

  send(now: Instant, packet: Packet): void {
    const { upstream } = this
    if (upstream === undefined) return
    switch (packet.type) {
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
        this.#leave(now)
        return
      default:
    }
    upstream.send(now, packet)
    upstream.unpark(now)
  }

  listen(now: Instant, on: boolean): void {
    if (this.#listening === on) return
    this.#listening = on
    const { upstream, link } = this
    if (upstream === undefined) return
    upstream.listen(now, on)
    if (!on) return
    upstream.unpark(now)
    this.#mayHaveMore ||= upstream.inbound.unanswered >= Math.min(WINDOW_SUSPECTED, this.#host.options.window)
    if (link !== undefined && this.#handed.waiting > 0) this.#host.markReady(link)
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

  /** The sensor is lost: its will is published. */
  lost(now: Instant, _reason: string): void {
    this.#end(now, undefined)
    this.#detach()
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
        return this.#connacked(now, out)
      case PacketType.SUBACK:
      case PacketType.UNSUBACK: {
        const lsn = this.filters.answered(this.#host.store, this.clientId, out)
        if (lsn !== 'full') this.link?.answer(out, lsn)
        else if (out.type === PacketType.SUBACK) return { ...out, reasonCodes: [ReasonCode.QUOTA_EXCEEDED] }
        return undefined
      }
      default:
        return out
    }
  }

  #connacked(now: Instant, { reasonCode, sessionPresent, properties }: Connack): Connack | undefined {
    if (this.isAccepted) return undefined
    if (reasonCode >= 0x80) {
      this.#refuse(now, isOwnFault(reasonCode) ? reasonCode : ReasonCode.SERVER_UNAVAILABLE)
      return undefined
    }
    this.isAccepted = true
    this.#connectBy = undefined
    // QoS is lowered by the link, and messages beyond the window wait there.
    const { retainAvailable } = properties
    return connack(0, sessionPresent || this.filters.size > 0, retainAvailable)
  }

  // --- Ends

  #refuse(now: Instant, reasonCode: number): void {
    const { link } = this
    this.#end(now, GOODBYE)
    this.#detach()
    link?.answer(connack(reasonCode, false))
  }

  #leave(now: Instant): void {
    this.#end(now, GOODBYE)
    this.#detach()
  }

  #end(now: Instant, goodbye: Packet | undefined): void {
    const { upstream } = this
    this.upstream = undefined
    this.#handed.clear()
    this.#connectBy = undefined
    this.#settles = false
    this.#mayHaveMore = false
    if (this.#timer !== undefined) this.#host.timers.disarm(this.#timer)
    if (upstream === undefined) return
    if (goodbye === undefined) upstream.lost(now, '')
    else upstream.send(now, goodbye)
    this.#host.upstream.remove(upstream)
  }

  #detach(): void {
    if (this.link !== undefined) this.link.attached = undefined
    this.link = undefined
    this.isAccepted = false
    this.#listening = true
  }

  #forgetSubscriptions(): boolean {
    const { store } = this.#host
    if (this.filters.size > 0 && store.append({ type: 'sn-end', clientId: this.clientId }) === 'full') return false
    this.filters.clear()
    return true
  }

  // --- Time

  #settle(now: Instant): void {
    const { options, timers } = this.#host
    this.#settles = true
    this.#quietAt = now + options.quietMs
    this.#timer ??= new Timer<SensorSession>(this)
    if (!this.#timer.armed || this.#timer.deadline > this.#quietAt) timers.arm(this.#timer, this.#quietAt)
  }

  timedOut(now: Instant): void {
    if (this.#connectBy !== undefined && now >= this.#connectBy) {
      this.#refuse(now, ReasonCode.SERVER_UNAVAILABLE)
      return
    }
    if (this.#settles && now >= this.#quietAt) {
      this.#settles = false
      this.#mayHaveMore = false
      if (this.link !== undefined) this.#host.markReady(this.link)
    }
    const next = this.#settles ? this.#quietAt : this.#connectBy
    if (next !== undefined) this.#host.timers.arm(this.#timer!, next)
  }
}

const isSameWill = (a: Will | undefined, b: Will | undefined): boolean =>
  a === b ||
  (a !== undefined &&
    b !== undefined &&
    a.topic === b.topic &&
    a.qos === b.qos &&
    a.retain === b.retain &&
    isEqual(a.payload, b.payload))

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i])

const connack = (reasonCode: number, sessionPresent: boolean, retainAvailable?: boolean): Connack => ({
  type: PacketType.CONNACK,
  sessionPresent,
  reasonCode,
  properties: retainAvailable === undefined ? NO_PROPERTIES : { retainAvailable },
})
