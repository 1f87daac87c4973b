import type { Instant } from '../base/machine.ts'
import { SmallFifo } from '../base/small-fifo.ts'
import { Timer } from '../base/timers.ts'
import { packetTypeName, reasonCodeName } from '../mqtt/describe.ts'
import type { Delivery, Link, LinkId, Outgoing } from '../mqtt/link.ts'
import {
  type Connack,
  type Connect,
  type Disconnect,
  type Packet,
  PacketType,
  type PublishResponse,
  type Will,
} from '../mqtt/packets.ts'
import type { ProtocolVersion, Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { StreamOutput } from '../mqtt/stream-output.ts'
import type { SessionKey } from '../store/store.ts'
import { connectFor, isBrief, needsPurge } from './connect-packet.ts'
import { GOODBYE } from './endings.ts'
import { freeId } from './free-id.ts'
import { Inbound } from './inbound.ts'
import { type LinkHost, newStatus, type UpstreamStatus } from './link-host.ts'
import type { UpstreamLinkOwner, UpstreamLinkSettings } from './link-owner.ts'
import { Outbound, responseOf } from './outbound.ts'
import { OutboundEvents } from './outbound-events.ts'
import { OutgoingMessage } from './outgoing-message.ts'
import { learnQos, QOS_FILTER, QOS_REQUESTS } from './qos-question.ts'
import { type Answered, Subscriptions } from './subscriptions.ts'
import type { Targets } from './targets.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/**
 * One MQTT client session at a far side, which survives its streams.
 *
 * **For its owner** (a bridge, or the session of a sensor) it is a `Link`, as if the broker were behind it:
 * - `Upstream.open` makes it. `send` a CONNECT once; it is the template of the CONNECT on every stream. Of it count client id, Clean
 *   Start, keep alive, will, user name, password, the bridge bit (before 5.0) and, of the properties, Session Expiry Interval and
 *   User Properties; version, Receive Maximum, Maximum Packet Size and Topic Alias Maximum are the link's own. Without Clean Start
 *   on a first CONNECT, or with a Session Expiry Interval above 0, the session is continued on each stream. `poll` gives CONNACK:
 *   once when the first stream is up, and before that one for each new reason for which the far side refused. The link goes on
 *   trying until its owner ends it.
 * - Whenever `UpstreamLinkOwner.upstreamReady` is called, `poll` the link until `undefined`, and look at `status.state` and
 *   `status.connects`: they tell when a stream is up and lost.
 * - `send` SUBSCRIBE and UNSUBSCRIBE, with packet ids of the owner's own, at any time after CONNECT. The link keeps subscriptions, and
 *   makes them again when the far side has lost the session. `poll` gives SUBACK and UNSUBACK.
 * - `send` or (without a copy) `deliver` a message with the packet id that the owner has for it; the far side gets the same id. The
 *   link keeps it until it is answered, and sends it again over the next stream. `poll` gives PUBACK, PUBREC and PUBCOMP; with the
 *   error code 0x83, or of a bridge with 0x10 if the far side may have it, it is given up, and that was said. The owner sends PUBREL, also
 *   after a restart of the process, when the link does not know the message any more. QoS 0 while no stream is up is dropped, with a
 *   notice: do not poll the other side while `state` is not 'open'. A message that the far side refuses because of a quota waits, and
 *   those behind it with it; what it refuses otherwise, what is too large for it, and what it closed the stream after twice is given up.
 * - 'pause', or a `state` other than 'open': send no more messages until the link is ready again. What was sent nevertheless is kept.
 * - `poll` gives a `Delivery` for each message of the far side, with its packet id, and PUBREL. Its message has no topic alias and no
 *   subscription identifiers; `send` it to the other side with another topic as a copy (`Publish.copy`). The owner answers with `send` of PUBACK,
 *   PUBREC and PUBCOMP under this id, when it has stored them; each exactly once for each `Delivery` or PUBREL. It keeps
 *   the receipts of QoS 2 (the local broker does). At most `window` messages are unanswered with 5.0. While `listen` is off no
 *   message is given, and the socket is not read once 1,000 wait.
 * - After a restart of the process, `restoreReceipts` before CONNECT: packet ids of QoS 2 messages that were answered with PUBREC and
 *   not released. They are released by PUBREL of the link itself if the far side has lost the session, or means another message.
 * - `decline` a `Delivery` instead of answering it, when it cannot be stored now: the stream ends, and the far side sends it again
 *   over the next one.
 * - `forget` everything before CONNECT, when the owner has lost what it knows: packet ids begin anew, and Clean Start counts.
 * - `send` DISCONNECT to say goodbye: the session stays, and another CONNECT continues it. `lost` ends the stream without goodbye.
 */
export class UpstreamLink implements Link {
  readonly id: LinkId
  readonly settings: UpstreamLinkSettings
  readonly targets: Targets
  readonly status: UpstreamStatus
  readonly inbound: Inbound
  readonly outbound: Outbound
  readonly subscriptions: Subscriptions
  /** The stream, or the attempt to get one. */
  stream: UpstreamStream | undefined = undefined
  /** The owner's CONNECT; undefined while it wants no stream. */
  connect: Connect | undefined = undefined
  readonly holder = undefined
  readonly figuresAt = -1
  /** On the list of links whose owner has something to do, and of those that have something to write. */
  ready = false
  dirty = false
  /** On the list of links that wait for the dial budget. */
  wanting: false | 'later' | 'urgent' = false
  /** Its owner needs no stream until `unpark`: one that is lost is not replaced. One that is up stays. */
  parked = false
  /** Not dialled before. */
  retryAt: Instant = 0
  /** Another client has the session: why that is thought; '' if not. Not dialled any more. */
  yieldedTo = ''
  /** The next attempt; the end of the time for CONNACK; keep alive. */
  readonly timer: Timer<UpstreamLink> = new Timer<UpstreamLink>(this)
  /** Attempts in a row that were refused, or after which the stream did not last. */
  failures = 0
  /** Streams in a row that the far side closed soon, and no message explains that. */
  unexplained = 0
  /** What was said once: of the far side, and of attempts that failed since the last stream. */
  told: Set<string> | undefined = undefined
  failedWith: Set<string> | undefined = undefined
  /** An attempt to reach the first address, while the stream goes to another. */
  probe: UpstreamStream | undefined = undefined
  owner: UpstreamLinkOwner
  readonly #host: LinkHost
  readonly #events: OutboundEvents
  /** For the owner, besides what is in `inbound`. */
  readonly #answers = new SmallFifo<Packet>()
  /** For the far side. */
  readonly #control = new SmallFifo<Packet>()
  #listening = true
  /** The first CONNACK with success has come since the owner's CONNECT. */
  #isAccepted = false
  /** The far side has a session of ours, which the next stream continues. */
  #keepsSession = false
  /** CONNECT packets since the last CONNACK with success. Set by the owner: another link with the same client id has sent some. */
  asked = 0
  /** Client id that the far side has assigned. */
  #assignedId: string | undefined = undefined
  #refusedWith = 0
  /** The last packet id of its own (`freeId`). */
  ownId = 0
  #isPausing = false

  constructor(
    id: LinkId,
    settings: UpstreamLinkSettings,
    targets: Targets,
    owner: UpstreamLinkOwner,
    now: Instant,
    host: LinkHost,
  ) {
    this.id = id
    this.settings = settings
    this.targets = targets
    this.owner = owner
    this.#host = host
    this.status = newStatus(now, targets.all[0]!.target.url)
    this.inbound = new Inbound(host.held, settings.ofSensor)
    this.#events = new OutboundEvents(this, host)
    this.outbound = new Outbound(this.#events, this.status, host.held, settings.ofSensor !== undefined)
    this.subscriptions = new Subscriptions(owner.subscriptions === undefined)
  }

  /** For people. */
  get name(): string {
    return this.owner.linkName ?? this.settings.name
  }

  get isUp(): boolean {
    return this.stream?.state === 'up'
  }

  get session(): SessionKey | undefined {
    return this.#isAccepted ? `mqtt:${this.connect?.clientId}` : undefined
  }

  /** Messages for the owner; one more while that cannot be known, because no stream is up. */
  get backlog(): number {
    return this.inbound.waiting + (this.connect !== undefined && !this.isUp && !this.targets.isOpen ? 1 : 0)
  }

  get state(): 'open' | 'held' | 'verifying' {
    const { stream, outbound, settings } = this
    if (!this.#isAccepted) return 'verifying'
    return stream?.state === 'up' && !stream.congested && outbound.queued < settings.window ? 'open' : 'held'
  }

  /** Messages of QoS 1 and 2 that are not answered completely. */
  get inFlight(): number {
    return this.outbound.size
  }

  keeps(): void {}

  listen(_now: Instant, on: boolean): void {
    if (this.#listening === on) return
    this.#listening = on
    if (on && this.inbound.waiting > 0) this.#host.markReady(this)
    if (on && this.wanting === 'later') this.#host.urge(this)
  }

  /** Packet ids of QoS 2 messages that the owner has answered with PUBREC, and that are not released. */
  restoreReceipts(packetIds: Iterable<number>, isCopy: (message: Publish) => boolean): void {
    this.inbound.restore(packetIds, isCopy)
  }

  /** The owner cannot store this message now, and does not answer it: it comes again over another stream, with those behind it. */
  decline(now: Instant, packetId: number, reason: string): void {
    this.inbound.decline(packetId)
    this.#host.reconnect(now, this, ReasonCode.QUOTA_EXCEEDED, reason)
  }

  unpark(now: Instant): void {
    if (!this.parked) return
    this.parked = false
    if (this.connect !== undefined && this.stream === undefined) this.#host.wantStream(now, this)
  }

  /** Says goodbye, and needs no stream until `unpark`. What has come and is not polled comes again then. */
  rest(now: Instant): void {
    this.parked = true
    this.inbound.forgetWaiting()
    this.#host.end(now, this, GOODBYE)
  }

  /** Its owner waits for it: it is dialled before others. */
  get isUrgent(): boolean {
    return this.#listening || this.settings.ofSensor === undefined
  }

  /** The far side may have lost the session without its having been subscribed again. */
  get isUnsure(): boolean {
    return this.asked > 0 || !this.subscriptions.isIdle
  }

  /** The owner begins anew: nothing of what is unanswered or kept there counts any more. While no stream is wanted. */
  forget(): void {
    this.#keepsSession = false
    this.inbound.clear()
    this.outbound.clear()
    this.#answers.clear()
  }

  send(now: Instant, packet: Packet): 'go' | 'pause' {
    switch (packet.type) {
      case PacketType.CONNECT:
        this.#connecting(now, packet)
        break
      case PacketType.PUBLISH:
        return this.#deliver(new OutgoingMessage(packet, packet.qos, packet.packetId, packet.retain, false))
      case PacketType.PUBREL:
        if (this.outbound.release(packet.packetId, this.isUp)) this.write(responseOf(PacketType.PUBREL, packet.packetId))
        else this.#host.markDirty(this)
        break
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        if (this.inbound.answer(packet, this.isUp)) this.write(packet)
        // A message may have waited for the packet id.
        else this.#host.markReady(this)
        break
      case PacketType.SUBSCRIBE:
      case PacketType.UNSUBSCRIBE:
        this.subscriptions.add(packet)
        this.#host.markDirty(this)
        break
      case PacketType.DISCONNECT:
        this.#off(now, packet)
        break
      default:
    }
    return this.#flow()
  }

  /** As `send` of a PUBLISH, for a message that others may share. It is referred to until it is answered. */
  deliver(
    _now: Instant,
    { message, qos, packetId, retain, dup }: Omit<Delivery, 'type' | 'subscriptionIdentifiers'>,
  ): 'go' | 'pause' {
    return this.#deliver(new OutgoingMessage(message, qos, packetId, retain, dup))
  }

  #deliver(message: OutgoingMessage): 'go' | 'pause' {
    if (message.qos === 0 && (!this.isUp || this.outbound.queued >= QUEUED_MAX)) {
      this.dropped(`message on ${message.message.topic} with QoS 0: ${this.isUp ? 'too many wait' : 'not connected'}`)
      return this.#flow()
    }
    // It stays beyond the turn.
    if (message.qos > 0 || this.state !== 'open') message.message.own()
    this.outbound.add(message)
    this.#host.markDirty(this)
    return this.#flow()
  }

  dropped(reason: string, count = 1): void {
    this.status.givenUp += count
    this.#host.notices.dropped(this, reason, count)
  }

  #flow(): 'go' | 'pause' {
    this.#isPausing = this.state !== 'open'
    return this.#isPausing ? 'pause' : 'go'
  }

  poll(_now: Instant): Outgoing | undefined {
    const answer = this.#answers.shift()
    if (answer !== undefined) return answer as Outgoing
    const next = this.inbound.poll(this.#listening)
    if (this.stream?.paused === true && this.inbound.isDrained) this.#host.markDirty(this)
    return next
  }

  /** The will of the next stream: MQTT can change it by a new CONNECT only, so the one that is up is replaced. */
  setWill(now: Instant, will: Will | undefined): number {
    if (this.connect === undefined) return ReasonCode.UNSPECIFIED_ERROR
    this.connect = { ...this.connect, will }
    if (this.stream !== undefined) this.#host.end(now, this, GOODBYE)
    return 0
  }

  lost(now: Instant, _reason: string): void {
    this.#off(now, undefined)
  }

  #connecting(now: Instant, packet: Connect): void {
    this.connect = packet
    this.#isAccepted = false
    this.#refusedWith = 0
    this.#host.wantStream(now, this)
  }

  #off(now: Instant, goodbye: Disconnect | undefined): void {
    this.connect = undefined
    this.#host.end(now, this, goodbye)
    this.changed(now, 'off')
  }

  write(packet: Packet): void {
    this.#control.push(packet)
    this.#host.markDirty(this)
  }

  answer(packet: Packet): void {
    this.#answers.push(packet)
    this.#host.markReady(this)
  }

  // --- For Upstream

  changed(now: Instant, state: UpstreamStatus['state']): void {
    if (this.status.state === state) return
    this.status.state = state
    this.status.since = now
    this.#host.markReady(this)
  }

  /** The CONNECT for a stream that has just been opened. */
  connectFor({ dialect }: UpstreamStream): Connect {
    const connect = this.connect!
    const { window, maxPacketSize } = this.settings
    const state = { window, maxPacketSize, keepsSession: this.#keepsSession, assignedId: this.#assignedId ?? '' }
    const { owner } = this
    const will = owner.willFor === undefined ? connect.will : owner.willFor(connect.will, dialect.version)
    return connectFor(connect, state, dialect, will)
  }

  needsPurge(version: ProtocolVersion): boolean {
    return needsPurge(this.connect!, this.#keepsSession, version)
  }

  /** That first CONNECT was accepted. */
  purged(): void {
    this.#keepsSession = true
  }

  /** CONNECT is written. If its CONNACK does not arrive, that may have been the one to say that the far side has lost the session. */
  connecting(stream: UpstreamStream): Connect {
    this.asked++
    return this.connectFor(stream)
  }

  /** CONNACK with success. */
  accepted(now: Instant, connack: Connack): void {
    // CONNACK of 3.1 does not say it: a session that was not to begin clean is taken to be present, and subscribed again.
    const is31 = this.stream!.version === 3
    const sessionPresent = connack.sessionPresent || (is31 && (this.#keepsSession || !this.connect!.cleanStart))
    if (!sessionPresent && this.#keepsSession) this.status.sessionsLost++
    this.#keepsSession = !isBrief(this.connect!)
    this.#control.clear()
    this.inbound.resume(sessionPresent)
    this.subscriptions.resume(sessionPresent && !is31 && this.asked === 1, this.owner.subscriptions?.())
    this.asked = 0
    for (const packetId of this.outbound.resume(sessionPresent)) this.write(responseOf(PacketType.PUBREL, packetId))
    this.status.connects++
    this.status.version = this.stream!.version
    this.#refusedWith = 0
    this.#assignedId = connack.properties.assignedClientIdentifier ?? this.#assignedId
    if (!this.#isAccepted) this.answer(connack)
    this.#isAccepted = true
    this.changed(now, 'up')
    this.#host.markReady(this)
    this.#host.markDirty(this)
  }

  /** CONNACK with an error: the owner hears of each code once. */
  refused(connack: Connack): void {
    if (this.#refusedWith === connack.reasonCode) return
    this.#refusedWith = connack.reasonCode
    if (!this.#isAccepted || this.settings.ofSensor !== undefined) this.answer(connack)
  }

  /** The stream is gone. */
  streamLost(now: Instant, reason: string): void {
    if (this.stream?.asksForQos) this.stream.known.questionLost(now)
    this.subscriptions.withdraw(QOS_FILTER)
    this.stream = undefined
    if (reason !== '') this.status.lastError = reason
    const dropped = this.outbound.lost()
    if (dropped > 0) this.dropped('messages with QoS 0: the connection was lost before they were sent', dropped)
    this.changed(now, this.connect === undefined ? 'off' : 'waiting')
  }

  /** A packet of the far side after CONNACK. Returns what is wrong with it, if anything: then the stream must end. */
  received(now: Instant, packet: Packet): string | undefined {
    switch (packet.type) {
      case PacketType.PUBLISH: {
        this.status.received++
        const answer = this.inbound.message(packet)
        if (answer !== undefined) this.write(answer)
        else if (this.#listening) this.#host.markReady(this)
        const dropped = this.inbound.takeDropped()
        if (dropped > 0)
          this.dropped(
            'messages with QoS 0 for a sensor that sleeps: too many are held (max_held_messages, max_held_bytes)',
            dropped,
          )
        return undefined
      }
      case PacketType.PUBREL: {
        const answer = this.inbound.release(packet.packetId)
        if (answer !== undefined) this.write(answer)
        else this.#host.markReady(this)
        return undefined
      }
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#responded(now, packet)
        return undefined
      case PacketType.SUBACK:
      case PacketType.UNSUBACK: {
        const answered = this.subscriptions.answered(packet)
        if (answered === undefined) {
          this.#events.limited(`${packetTypeName(packet.type)} for a packet id that no request has: ignored`)
          return undefined
        }
        this.#subscribed(now, answered)
        // A message may wait for the packet id.
        this.#host.markDirty(this)
        return undefined
      }
      case PacketType.AUTH:
        return 'AUTH: enhanced authentication is not supported'
      default:
        return `${packetTypeName(packet.type)} out of turn`
    }
  }

  #subscribed(now: Instant, answered: Answered): void {
    const { refused, forOwner } = answered
    const qos = this.stream === undefined || this.settings.ofSensor === undefined ? undefined : learnQos(this.stream, answered)
    if (qos !== undefined) this.#events.limited(`takes messages with QoS ${qos} at most`)
    for (const [filter, code] of refused)
      this.#host.notices.limited(this, 'upstream-refused', `subscription to ${filter}: ${reasonCodeName(code)}`)
    this.subscriptions.postpone((refusals) => now + this.#host.backoff(this, refusals - 1))
    if (forOwner !== undefined) this.answer(forOwner)
  }

  /** True if a message with QoS 2 has to wait until it is known whether the far side serves that. */
  awaitsQos(stream: UpstreamStream): boolean {
    if (this.settings.ofSensor === undefined || stream.version === 5 || stream.known.isQosKnown) return false
    if (stream.asksForQos) return true
    stream.asksForQos = true
    for (const request of QOS_REQUESTS) this.subscriptions.ask(request)
    this.#host.markDirty(this)
    return true
  }

  #responded(now: Instant, packet: PublishResponse): void {
    const isFirst = this.outbound.get(packet.packetId)?.phase === 'sent'
    const wrong = this.outbound.answered(now, packet)
    if (isFirst) this.stream!.known.roundTripMs = this.status.roundTripMs
    if (wrong === undefined) this.#host.markDirty(this)
    // Not with the packet id: each would be a reason of its own.
    else this.#events.limited(`${packetTypeName(packet.type)} for a packet id ${wrong}: ignored`)
  }

  /** Writes what there is for the far side. */
  writeAll(now: Instant, output: StreamOutput): void {
    const { stream, outbound, subscriptions } = this
    if (stream?.state !== 'up') return
    for (let packet = this.#control.shift(); packet !== undefined; packet = this.#control.shift()) output.write(packet, stream)
    subscriptions.askAgain(now)
    if (subscriptions.hasUnsent) {
      const { send, done } = subscriptions.unsent(now, stream.features, () => freeId(this))
      for (const request of send) output.write(request, stream)
      for (const answered of done) this.#subscribed(now, answered)
    }
    if (!stream.congested) outbound.write(now, stream, output, this.settings.window)
    stream.lastSent = now
    output.flush(stream)
    if (this.#isPausing && this.state === 'open') {
      this.#isPausing = false
      this.#host.markReady(this)
    }
  }
}

/** Messages that may wait to be written before those with QoS 0 are dropped: the owner does not heed 'pause'. */
const QUEUED_MAX = 1000
