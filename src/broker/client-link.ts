import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { TokenBucket } from '../base/token-bucket.ts'
import {
  DEFAULT_LINK_SETTINGS,
  type Delivery,
  type Link,
  type LinkId,
  type LinkInfo,
  type LinkSettings,
  type Outgoing,
  OutgoingType,
} from '../mqtt/link.ts'
import { type Connack, type Packet, PacketType, type Will } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { ProtocolVersion, Publish, QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { Lsn, SessionKey } from '../store/store.ts'
import type { Authenticating } from './authentication.ts'
import { ControlLane } from './control-lane.ts'
import type { DeliveryHook } from './delivery-hook.ts'
import { PATIENCE_MS, PATIENCE_PER_MESSAGE_MS } from './limits.ts'
import { Inflight, type Session } from './session.ts'
import { Queued } from './session-queue.ts'

/** What a link needs of the broker behind it. */
export interface LinkOwner {
  /** The hook `onDeliver`; undefined if there is none. */
  readonly deliveryHook: DeliveryHook | undefined
  receive(now: Instant, link: ClientLink, packet: Packet): void
  lost(now: Instant, link: ClientLink, reason: string): void
  setWill(link: ClientLink, session: Session, will: Will | undefined): number
  /** The link has something to poll. */
  markReady(link: ClientLink): void
  /** The next item waits for the store: mark the link ready when more is durable, or when there may be room for its record. */
  awaitDurable(link: ClientLink): void
  durable(): Lsn
  /** Records the packet id under which a message is sent to a session. */
  recordSent(now: Instant, session: Session, message: Publish, packetId: number): Lsn | 'full'
  /** Whether the next QoS 1 message of this session can have a packet id; if not, a record must become durable first. */
  mayTakePacketId(now: Instant, session: Session): boolean
  /** A message has left a queue for which publishers are paused. */
  drained(now: Instant, session: Session): void
  /** The memory of the session has changed: for example, nothing is queued any more. */
  holds(session: Session): void
  /** The in-flight window is full, and messages are queued. */
  windowFull(link: ClientLink, session: Session): void
  /**
   * Drops and counts the message if it must not be sent any more; `departed`: it was sent before, and does not expire. 'last': it
   * was dropped, and nothing is sent before the link is woken.
   */
  dropIfVoid(now: Instant, session: Session, message: Publish, departed?: boolean): 'valid' | 'dropped' | 'last'
}

/** Queued control packets above which the client is not read. */
const CONTROL_MAX = 1000

/** QoS 2 deliveries whose packet ids are recorded ahead, so that they share a commit. */
const GATED_MAX = 64

class LinkDelivery implements Delivery {
  readonly type = OutgoingType.DELIVERY
  message!: Publish
  qos: QoS = 0
  packetId = 0
  retain = false
  dup = false
  subscriptionIdentifiers: readonly number[] | undefined = undefined
}

/** The delivery that was polled last: one for all links, because each idle one would take 88 bytes for its own. */
const delivery = new LinkDelivery()

/**
 * The broker's side of one connection. It has two lanes: control packets, each waiting for the Lsn it depends on, and deliveries
 * from the session's queue. Each lane is in order of arrival. A control packet that waits for the disk does not delay deliveries
 * (telemetry would stall behind every PUBACK), except CONNACK and SUBACK, which clients expect before the messages that follow
 * from them (ruling A29).
 */
export class ClientLink implements Link {
  readonly id: LinkId
  readonly info: LinkInfo
  /** Set when CONNECT is accepted; unset when the connection ends. */
  client: Session | undefined = undefined
  /** On the broker's ready list. */
  ready = false
  /** On the broker's list of links that wait for the store. */
  waiting = false
  closed = false
  /**
   * Why it is not read, if not '': a SUBSCRIBE or UNSUBSCRIBE, or a CONNECT that ends the previous session, is taking several
   * turns, or a message waits for a hook.
   */
  busy: '' | 'request' | 'hook' = ''
  /** In-flight window: the lower of the client's Receive Maximum and max_inflight_messages. */
  window = 1
  /** In-flight payload bytes above which nothing more is sent. */
  windowBytes = 0
  /** The authentication in progress. */
  authenticating: Authenticating | undefined = undefined
  /** The session existed before this connection. */
  resumed = false
  /** Authentication method of the accepted CONNECT; re-authentication has to use the same (MQTT-4.12.1-1). */
  authMethod: string | undefined = undefined
  /** QoS 1 messages accepted whose PUBACK has not been sent. */
  unacknowledged = 0
  /** Retained messages that its wildcards may still examine; created with the first of them. */
  lookups: TokenBucket | undefined = undefined
  /** The session whose full queue pauses this client. */
  #pressed: Session | undefined = undefined
  #pressedAt: Instant = 0
  /** What is left of `PATIENCE_MS`: however many queues are full, they pause this client for so long. */
  patienceMs = PATIENCE_MS
  listening = true
  /** Its CONNECT has the bridge bit, as Mosquitto's bridges set it. */
  bridge = false
  /** Protocol version of the accepted CONNECT. */
  version: ProtocolVersion = 5
  readonly #owner: LinkOwner
  readonly #control = new ControlLane()
  /** QoS 2 deliveries that have a packet id and wait for its record. */
  #gated: Fifo<Inflight> | undefined = undefined
  /** Messages that were in flight when the session was resumed, in order (MQTT-4.4.0-1, MQTT-4.6.0-1). */
  #resend: Fifo<Inflight> | undefined = undefined
  /** Those that await PUBCOMP: a full window does not delay PUBREL (MQTT-3.3.4-10). */
  #releases: Fifo<Inflight> | undefined = undefined
  /** A full window was reported, and not everything queued has been sent since. */
  windowTold = false

  constructor(id: LinkId, info: LinkInfo, owner: LinkOwner) {
    this.id = id
    this.info = info
    this.#owner = owner
  }

  get session(): SessionKey | undefined {
    return this.client?.key
  }

  get state(): 'open' | 'held' | 'verifying' {
    // Only before CONNACK: during re-authentication the client continues.
    if (this.client === undefined && this.authenticating?.awaits === 'shell') return 'verifying'
    return this.#pressed === undefined && this.busy === '' && this.#control.length < CONTROL_MAX ? 'open' : 'held'
  }

  get backlog(): number {
    const again = (this.#resend?.length ?? 0) + (this.#releases?.length ?? 0)
    return (this.client?.queueLength ?? 0) + (this.#gated?.length ?? 0) + again
  }

  /** True if nothing is under way and the client does not listen: what the link still knows is in `RestingLink`. */
  get isIdle(): boolean {
    const isQuiet = !this.listening && !this.ready && !this.waiting && !this.closed && this.busy === ''
    const isPlain = this.authenticating === undefined && this.authMethod === undefined && !this.bridge && this.version === 5
    const isDone = this.unacknowledged === 0 && this.#control.length === 0 && this.#gated === undefined
    const isSent = this.#resend === undefined && this.#releases === undefined && (this.client?.inflight?.size ?? 0) === 0
    return isQuiet && isPlain && isDone && isSent && this.#pressed === undefined
  }

  get holder(): Session | undefined {
    return this.client
  }

  get figuresAt(): number {
    return this.client?.figuresAt ?? -1
  }

  keeps(bytes: number): void {
    if (this.client === undefined || this.client.keptBytes === bytes) return
    this.client.keptBytes = bytes
    this.#owner.holds(this.client)
  }

  send(now: Instant, packet: Packet): 'go' | 'pause' {
    // [MQTT-3.1.4-6]
    if (!this.closed) this.#owner.receive(now, this, packet)
    return this.state === 'open' ? 'go' : 'pause'
  }

  /** There may be something to poll. */
  wake(): void {
    this.#owner.markReady(this)
  }

  /**
   * Pauses this client until the queue of `session` is shorter, or no longer drains: its messages would be dropped. False if it
   * does not wait for that.
   */
  hold(now: Instant, session: Session): boolean {
    if (this.#pressed !== undefined || session.link === this) return false
    this.#pressed = session
    this.#pressedAt = now
    const queue = session.openQueue()
    queue.pausedPublishers ??= { since: now, links: [] }
    queue.pausedPublishers.links.push(this)
    return true
  }

  /** When its patience with the queue that it is paused for ends. */
  get pausedUntil(): Instant {
    return this.#pressedAt + this.patienceMs
  }

  /** The queue that this client is paused for is shorter, or gone, or has paused it long enough. */
  letGo(now: Instant): void {
    this.#pressed = undefined
    this.patienceMs = Math.max(0, this.patienceMs - Math.ceil(now - this.#pressedAt))
    if (!this.closed) this.#owner.markReady(this)
  }

  listen(_now: Instant, on: boolean): void {
    if (this.listening === on) return
    this.listening = on
    if (on) this.#owner.markReady(this)
    else this.client?.queue?.stops()
  }

  setWill(_now: Instant, will: Will | undefined): number {
    return this.client === undefined ? ReasonCode.UNSPECIFIED_ERROR : this.#owner.setWill(this, this.client, will)
  }

  lost(now: Instant, reason: string): void {
    if (!this.closed) this.#owner.lost(now, this, reason)
  }

  /** Queues a control packet that may leave once `lsn` is durable. */
  push(packet: Outgoing, lsn: Lsn): void {
    this.#control.push(packet, lsn)
    this.#owner.markReady(this)
  }

  /** Ends the connection. What may be sent now is sent first; what waits for the store is never sent. */
  close(reasonCode: number, disconnect: boolean, reason?: string): void {
    if (this.closed) return
    this.closed = true
    const durable = this.#owner.durable()
    const sendable: Outgoing[] = []
    for (let { gate } = this.#control; gate !== undefined && gate <= durable; gate = this.#control.gate) {
      sendable.push(this.#control.shift()!)
    }
    this.#control.clear()
    for (const packet of sendable) this.push(packet, 0)
    // [MQTT-4.13.2-1]
    this.push({ type: OutgoingType.CLOSE, reasonCode, disconnect, reason }, 0)
  }

  /** Refuses CONNECT: nothing follows CONNACK. */
  refuse(connack: Connack): void {
    this.push(connack, 0)
    this.closed = true
    // [MQTT-3.1.3-8] [MQTT-3.2.2-7] [MQTT-4.12.0-4]
    this.push({ type: OutgoingType.CLOSE, reasonCode: connack.reasonCode, disconnect: false, reason: undefined }, 0)
  }

  /** Resumes a session: everything unacknowledged is sent again first. */
  resume(session: Session): void {
    session.receipts?.carry()
    session.outstanding = 0
    for (const inflight of session.inflight?.values() ?? []) {
      inflight.counts = false
      if (inflight.released) {
        this.#releases ??= new Fifo()
        // [MQTT-4.3.3-5]
        this.#releases.push(inflight)
      } else {
        this.#resend ??= new Fifo()
        // [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.8.2-4]
        this.#resend.push(inflight)
      }
    }
  }

  poll(now: Instant): Outgoing | undefined {
    const { gate } = this.#control
    // [MQTT-3.3.4-10] [MQTT-4.9.0-3]
    if (gate !== undefined) {
      if (gate <= this.#owner.durable()) {
        const packet = this.#control.shift()!
        if (packet.type === PacketType.PUBACK) this.unacknowledged--
        return packet
      }
      this.#owner.awaitDurable(this)
      const { type } = this.#control.first!
      // [MQTT-3.2.0-1]
      if (type === PacketType.CONNACK || type === PacketType.SUBACK) return undefined
    }
    const session = this.client
    // Retained messages follow the SUBACK.
    if (session === undefined || !this.listening || this.busy === 'request') return undefined
    if (this.#resend !== undefined) {
      const again = this.#pollResend(now, session)
      if (again !== undefined) return again
    }
    if (this.#releases !== undefined) {
      const again = this.#pollReleases(session)
      if (again !== undefined) return again
    }
    return this.#resend === undefined ? this.#pollQueue(now, session) : undefined
  }

  #pollReleases(session: Session): Outgoing | undefined {
    const releases = this.#releases!
    for (let inflight = releases.peek(); inflight !== undefined; inflight = releases.peek()) {
      const { packetId } = inflight
      const over = session.inflight?.get(packetId) !== inflight
      if (!over && this.#blocked(inflight)) return undefined
      releases.shift()
      if (!over) return { type: PacketType.PUBREL, packetId, reasonCode: 0, properties: NO_PROPERTIES }
    }
    this.#releases = undefined
    return undefined
  }

  #pollResend(now: Instant, session: Session): Outgoing | undefined {
    const resend = this.#resend!
    for (let inflight = resend.peek(); inflight !== undefined; inflight = resend.peek()) {
      // Acknowledged in the meantime, out of order.
      // [MQTT-4.3.3-7]
      const answered = session.inflight?.get(inflight.packetId) !== inflight || inflight.released
      if (!answered && this.#owner.dropIfVoid(now, session, inflight.queued.message, inflight.departed) !== 'valid') {
        session.complete(inflight)
        continue
      }
      if (!answered && (session.outstanding >= this.window || this.#blocked(inflight))) return undefined
      resend.shift()
      if (answered) continue
      if (resend.length === 0) this.#resend = undefined
      const hook = this.#owner.deliveryHook
      const sent = hook === undefined ? inflight : hook.resent(session, inflight)
      if (sent === undefined) continue
      session.takePlace(sent)
      return this.#deliverInflight(sent)
    }
    this.#resend = undefined
    return undefined
  }

  #pollQueue(now: Instant, session: Session): Outgoing | undefined {
    const hook = this.#owner.deliveryHook
    for (;;) {
      // [MQTT-4.6.0-6]
      if (this.#gated !== undefined) {
        this.#gateAhead(now, session)
        const gated = this.#pollGated(now, session)
        if (gated !== undefined || this.#gated !== undefined) return gated
        continue
      }
      const { queue } = session
      const entry = queue?.peek()
      if (entry === undefined) {
        this.windowTold = false
        if (queue?.waited === true) {
          queue.waited = false
          this.#owner.holds(session)
        }
        return undefined
      }
      if (!(entry instanceof Queued)) {
        if (entry.receiptLsn > this.#owner.durable()) return this.#wait()
        this.#dequeue(now, session)
        const fate = this.#owner.dropIfVoid(now, session, entry)
        if (fate === 'last') return undefined
        if (fate === 'dropped') continue
        const message = hook === undefined ? entry : hook.plain(session, entry)
        if (message === undefined) continue
        return this.#deliverPlain(message)
      }
      // [MQTT-4.9.0-2]
      if (entry.qos > 0 && !this.windowOpen(session)) return this.#windowFull(session)
      if (entry.message.receiptLsn > this.#owner.durable()) return this.#wait()
      if (entry.qos === 2) {
        if (!this.#gateAhead(now, session)) return this.#wait()
        continue
      }
      if (entry.qos === 1 && !this.#owner.mayTakePacketId(now, session)) return this.#wait()
      this.#dequeue(now, session)
      const fate = this.#owner.dropIfVoid(now, session, entry.message)
      if (fate === 'last') return undefined
      if (fate === 'dropped') continue
      const sent = hook === undefined ? entry : hook.queued(session, entry)
      if (sent === undefined) continue
      if (sent.qos === 0) return this.#deliver(sent, 0, false)
      const inflight = new Inflight(sent, session.freePacketId(), 0)
      session.depart(inflight)
      return this.#deliverInflight(inflight)
    }
  }

  /**
   * Assigns packet ids to the QoS 2 messages at the head of the queue, so that their records share a commit; false if the store
   * is full, or the queue has to be examined first.
   */
  #gateAhead(now: Instant, session: Session): boolean {
    while ((this.#gated?.length ?? 0) < GATED_MAX && this.windowOpen(session)) {
      const entry = session.queue?.peek()
      if (!(entry instanceof Queued) || entry.qos !== 2) return true
      const fate = this.#owner.dropIfVoid(now, session, entry.message)
      const hook = this.#owner.deliveryHook
      const sent = fate !== 'valid' || hook === undefined ? entry : hook.queued(session, entry)
      if (fate === 'valid' && sent !== undefined) {
        const packetId = session.freePacketId()
        const lsn = this.#owner.recordSent(now, session, sent.message, packetId)
        if (lsn === 'full') return false
        const inflight = new Inflight(sent, packetId, lsn)
        session.depart(inflight)
        this.#gated ??= new Fifo()
        this.#gated.push(inflight)
      }
      this.#dequeue(now, session)
      if (fate === 'last') return false
    }
    return true
  }

  /** Whether both limits allow another message; one is sent however large it is (MQTT-4.9.0-2). */
  windowOpen(session: Session): boolean {
    const count = session.inflight?.size ?? 0
    // [MQTT-3.3.4-9]
    return count < this.window && (count === 0 || session.inflightBytes < this.windowBytes)
  }

  /** Reported once, until everything queued has been sent. */
  #windowFull(session: Session): undefined {
    if (this.windowTold) return
    this.windowTold = true
    this.#owner.windowFull(this, session)
  }

  #dequeue(now: Instant, session: Session): void {
    session.queue!.shift()
    // Each new value is an object on the heap, because the field may be undefined: one per turn, not one per message.
    if (session.drainedAt !== now) session.drainedAt = now
    if (session.patienceMs < PATIENCE_MS) session.patienceMs += PATIENCE_PER_MESSAGE_MS
    if (session.queue!.pausedPublishers !== undefined) this.#owner.drained(now, session)
  }

  #pollGated(now: Instant, session: Session): Outgoing | undefined {
    const gated = this.#gated!
    for (let inflight = gated.peek(); inflight !== undefined; inflight = gated.peek()) {
      // Removed in the meantime, because it may no longer be read.
      const gone = session.inflight?.get(inflight.packetId) !== inflight
      if (!gone && this.#blocked(inflight)) return undefined
      gated.shift()
      if (gone) continue
      if (this.#owner.dropIfVoid(now, session, inflight.queued.message) !== 'valid') {
        session.complete(inflight)
        continue
      }
      if (gated.length === 0) this.#gated = undefined
      return this.#deliverInflight(inflight)
    }
    this.#gated = undefined
    return undefined
  }

  /** An outgoing QoS 2 PUBLISH waits until its packet id and the publisher's receipt are durable. */
  #blocked(inflight: Inflight): boolean {
    const gate = Math.max(inflight.lsn, inflight.queued.message.receiptLsn)
    if (gate <= this.#owner.durable()) return false
    this.#owner.awaitDurable(this)
    return true
  }

  #wait(): undefined {
    this.#owner.awaitDurable(this)
  }

  /** DUP marks a repetition, and nothing else (MQTT-3.3.1-1, -3). */
  #deliverInflight(inflight: Inflight): Delivery {
    // [MQTT-4.3.2-2] [MQTT-4.3.3-2]
    const dup = inflight.departed
    // [MQTT-3.3.1-1]
    inflight.departed = true
    // [3.1.1 MQTT-2.3.1-4]
    return this.#deliver(inflight.queued, inflight.packetId, dup)
  }

  #deliver(queued: Queued, packetId: number, dup: boolean): Delivery {
    delivery.message = queued.message
    delivery.qos = queued.qos
    delivery.packetId = packetId
    delivery.retain = queued.retain
    delivery.dup = dup
    delivery.subscriptionIdentifiers = queued.subscriptionIdentifiers
    return delivery
  }

  #deliverPlain(message: Publish): Delivery {
    delivery.message = message
    delivery.qos = 0
    delivery.packetId = 0
    delivery.retain = false
    // [MQTT-4.3.1-1]
    delivery.dup = false
    delivery.subscriptionIdentifiers = undefined
    return delivery
  }
}

export const settingsOf = ({ info }: ClientLink): LinkSettings => info.settings ?? DEFAULT_LINK_SETTINGS
