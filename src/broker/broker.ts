import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { BrokerRecord, Lsn, Store, WallClock } from '../base/store.ts'
import { Timers } from '../base/timers.ts'
import type { LinkId, LinkInfo, Uplink } from '../mqtt/link.ts'
import { type Connect, type Disconnect, type Packet, PacketType, type PublishResponse, type Will } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { type Access, OPEN_ACCESS } from './access.ts'
import { ClientLink, type LinkOwner } from './client-link.ts'
import { Connector } from './connector.ts'
import type { BrokerContext } from './context.ts'
import { type BrokerLimits, DEFAULT_LIMITS } from './limits.ts'
import { forwardedProperties, Publisher } from './publisher.ts'
import { Recovery } from './recovery.ts'
import { Retained } from './retained.ts'
import { Router } from './router.ts'
import type { Session, SessionTimer } from './session.ts'
import { Sessions } from './sessions.ts'
import { Stats } from './stats.ts'
import { Subscriber } from './subscriber.ts'

export interface BrokerOptions {
  readonly limits?: Partial<BrokerLimits>
  readonly access?: Access
  readonly store: Store
  readonly clock: WallClock
  readonly notice: NoticeSink
  readonly random: () => number
}

/**
 * The broker: sessions, subscriptions, retained messages and wills behind the `Uplink` seam. It knows packets and links, neither bytes nor
 * sockets, and never times out a connection: keep alive belongs to whoever opened the link.
 */
export class Broker implements Uplink, LinkOwner {
  readonly stats = new Stats()
  readonly sessions: Sessions
  readonly retained = new Retained()
  readonly #context: BrokerContext
  readonly #publisher: Publisher
  readonly #subscriber: Subscriber
  readonly #connector: Connector
  readonly #timers = new Timers<SessionTimer>()
  readonly #links = new Map<LinkId, ClientLink>()
  readonly #ready = new Fifo<ClientLink>()
  #waiting: ClientLink[] = []
  #recovery: Recovery | undefined
  #nextLinkId = 1

  constructor(options: BrokerOptions) {
    this.#context = {
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      access: options.access ?? OPEN_ACCESS,
      store: options.store,
      clock: options.clock,
      notice: options.notice,
      random: options.random,
      stats: this.stats,
      router: new Router(),
      retained: this.retained,
      timers: this.#timers,
    }
    this.#publisher = new Publisher(this.#context, (session) => {
      if (session.link !== undefined) this.markReady(session.link)
    })
    this.sessions = new Sessions(this.#context, this.#publisher)
    this.#subscriber = new Subscriber(this.#context, this.#publisher)
    this.#connector = new Connector(this.#context, this.sessions)
  }

  // --- Uplink

  open(_now: Instant, info: LinkInfo): ClientLink {
    const link = new ClientLink(this.#nextLinkId++, info, this)
    this.#links.set(link.id, link)
    return link
  }

  nextReadyLink(): LinkId | undefined {
    const link = this.#ready.shift()
    if (link === undefined) return undefined
    link.ready = false
    if (link.closed) this.#links.delete(link.id)
    return link.id
  }

  /** Deliveries queued since this was asked last: many of them mean that it is time to write. */
  takeQueued(): number {
    return this.#publisher.takeQueued()
  }

  /** Deliveries queued since `takeQueued`. */
  get queued(): number {
    return this.#publisher.queued
  }

  get linkCount(): number {
    return this.#links.size
  }

  get subscriptionCount(): number {
    return this.#context.router.subscriptionCount
  }

  // --- Time and the store

  handleTimeout(now: Instant): void {
    for (let timer = this.#timers.expired(now); timer !== undefined; timer = this.#timers.expired(now)) {
      this.sessions.timedOut(now, timer.owner.session, timer.owner.about)
    }
  }

  nextTimeout(): Instant | undefined {
    return this.#timers.next()
  }

  /** More became durable: links that waited for it may have something to say. */
  handleDurable(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const link of waiting) {
      link.waiting = false
      this.markReady(link)
    }
  }

  /** One record of the replay; before `recover`. */
  apply(record: BrokerRecord): void {
    this.#recovery ??= new Recovery(this.#context)
    this.#recovery.apply(record)
  }

  /** Ends the replay: what the store knew is there again. Conversations are taken up by `recovered`. */
  recover(now: Instant): void {
    this.#recovery?.finish(now, this.sessions, this.#publisher)
  }

  /** Sessions whose conversation the process took with it count as disconnected now, unless somebody has resumed them. */
  runDownRecovered(now: Instant): void {
    this.#recovery?.runDown(now, this.sessions)
    this.#recovery = undefined
  }

  /**
   * The process ends. Wills of MQTT clients are published, because their connections are closed by us [5.0 section 3.1.2.5]; sensors
   * stay what they are, and go on after the restart.
   */
  publishWills(now: Instant): void {
    for (const link of this.#links.values()) {
      const session = link.client
      if (session !== undefined && link.info.kind === 'mqtt' && (session.will?.properties.willDelayInterval ?? 0) === 0) {
        this.sessions.fireWill(now, session)
      }
    }
  }

  /** Second half of the end: MQTT 5 clients are told why, 3.x connections are closed. */
  closeAll(now: Instant, reasonCode: number): void {
    for (const link of [...this.#links.values()]) {
      if (link.info.kind === 'mqtt') this.#close(now, link, reasonCode, true)
    }
  }

  // --- What links ask

  markReady(link: ClientLink): void {
    if (link.ready) return
    link.ready = true
    this.#ready.push(link)
  }

  awaitDurable(link: ClientLink): void {
    if (link.waiting) return
    link.waiting = true
    this.#waiting.push(link)
  }

  durable(): Lsn {
    return this.#context.store.durable
  }

  recordSent(session: Session, message: Publish, packetId: number): Lsn | 'full' {
    if (!session.persistent || message.id === 0) return 0
    return this.#context.store.append({ type: 'sent', key: session.key, id: message.id, packetId })
  }

  dropIfExpired(now: Instant, session: Session, message: Publish): boolean {
    if (message.expiresAt === undefined || message.expiresAt > now) return false
    this.stats.publishDropped++
    this.#recordDone(session, message)
    this.#context.notice({ code: 'message-dropped', level: 'debug', client: session.key, reason: `expired on ${message.topic}` })
    return true
  }

  setWill(_now: Instant, link: ClientLink, will: Will | undefined): void {
    if (this.sessions.setWill(link.client!, will) === 'full') this.#noticeFull(link, 'will update')
  }

  lost(now: Instant, link: ClientLink, reason: string): void {
    const session = link.client
    this.#links.delete(link.id)
    link.closed = true
    link.client = undefined
    if (session === undefined) return
    this.#context.notice({ code: 'client-lost', level: 'info', client: session.key, peer: link.info.peer, reason })
    this.sessions.detach(now, session, true)
  }

  receive(now: Instant, link: ClientLink, packet: Packet): void {
    const session = link.client
    if (session === undefined) {
      // MQTT-3.1.0-1: nothing comes before CONNECT.
      if (packet.type === PacketType.CONNECT) this.#connect(now, link, packet)
      else this.#fail(now, link, ReasonCode.PROTOCOL_ERROR, 'packet before CONNECT')
      return
    }
    switch (packet.type) {
      case PacketType.PUBLISH:
        this.#publish(now, link, session, packet)
        return
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#acknowledged(now, link, session, packet)
        return
      case PacketType.PUBREL:
        this.#released(now, link, session, packet)
        return
      case PacketType.SUBSCRIBE: {
        const { reasonCodes, lsn } = this.#subscriber.subscribe(now, session, packet)
        link.push({ type: PacketType.SUBACK, packetId: packet.packetId, reasonCodes, properties: NO_PROPERTIES }, lsn)
        return
      }
      case PacketType.UNSUBSCRIBE: {
        const answer = this.#subscriber.unsubscribe(session, packet)
        if (answer === 'full') this.#full(now, link, 'UNSUBSCRIBE')
        else {
          const { reasonCodes, lsn } = answer
          link.push({ type: PacketType.UNSUBACK, packetId: packet.packetId, reasonCodes, properties: NO_PROPERTIES }, lsn)
        }
        return
      }
      case PacketType.PINGREQ:
        link.push(PINGRESP, 0)
        return
      case PacketType.DISCONNECT:
        this.#disconnect(now, link, session, packet)
        return
      case PacketType.CONNECT:
        this.#fail(now, link, ReasonCode.PROTOCOL_ERROR, 'second CONNECT (MQTT-3.1.0-2)')
        return
      default:
        this.#fail(now, link, ReasonCode.PROTOCOL_ERROR, `packet type ${packet.type} is not for clients to send`)
    }
  }

  #connect(now: Instant, link: ClientLink, packet: Connect): void {
    const accepted = this.#connector.connect(now, link, packet, (old) =>
      this.#close(now, old, ReasonCode.SESSION_TAKEN_OVER, true),
    )
    if (typeof accepted === 'number') {
      this.stats.refused++
      const reason = `reason code 0x${accepted.toString(16)}`
      this.#context.notice({
        code: 'client-refused',
        level: 'info',
        client: `${link.info.kind}:${packet.clientId}`,
        peer: link.info.peer,
        reason,
      })
      // A refusal is the last word (MQTT-3.2.2-7), and no session is present (MQTT-3.2.2-6).
      link.refuse({ type: PacketType.CONNACK, sessionPresent: false, reasonCode: accepted, properties: NO_PROPERTIES })
      return
    }
    this.stats.connected++
    this.#context.notice({ code: 'client-connected', level: 'info', client: accepted.key, peer: link.info.peer })
    link.resume(accepted)
  }

  #publish(now: Instant, link: ClientLink, session: Session, message: Publish): void {
    this.stats.publishReceived++
    const { packetId, qos } = message
    if (qos === 2) {
      const receipt = session.received?.get(packetId)
      if (receipt !== undefined) {
        // The same message again: acknowledged again, delivered once (MQTT-4.3.3-10).
        link.push(response(PacketType.PUBREC, packetId, 0), receipt)
        return
      }
    }
    forwardedProperties(message)
    const refusal = this.#publisher.refusal(session, message)
    if (refusal !== 0) {
      this.#refusePublish(now, link, session, message, refusal)
      return
    }
    const lsn = this.#publisher.accept(now, session, message, qos === 2 ? packetId : 0)
    if (lsn === 'full') {
      this.#publishFull(now, link, qos, packetId)
      return
    }
    if (qos === 0) return
    const reasonCode = this.#publisher.reaches(message.topic) ? ReasonCode.SUCCESS : ReasonCode.NO_MATCHING_SUBSCRIBERS
    if (qos === 1) {
      link.push(response(PacketType.PUBACK, packetId, reasonCode), lsn)
      return
    }
    session.received ??= new Map()
    session.received.set(packetId, lsn)
    link.push(response(PacketType.PUBREC, packetId, reasonCode), lsn)
  }

  /** Nothing was taken in. 5.0 has a reason code for that; a 3.x client is closed, because any acknowledgement would say that it was. */
  #publishFull(now: Instant, link: ClientLink, qos: number, packetId: number): void {
    if (qos === 0 || link.version < 5) {
      if (qos > 0) this.#full(now, link, 'PUBLISH')
      else this.#noticeFull(link, 'PUBLISH')
      return
    }
    this.#noticeFull(link, 'PUBLISH')
    link.push(response(qos === 1 ? PacketType.PUBACK : PacketType.PUBREC, packetId, ReasonCode.QUOTA_EXCEEDED), 0)
  }

  #refusePublish(now: Instant, link: ClientLink, session: Session, message: Publish, reasonCode: number): void {
    const reason = `${message.topic}: reason code 0x${reasonCode.toString(16)}`
    this.#context.notice({ code: 'publish-refused', level: 'info', client: session.key, peer: link.info.peer, reason })
    if (message.qos === 1) link.push(response(PacketType.PUBACK, message.packetId, reasonCode), 0)
    else if (message.qos === 2) link.push(response(PacketType.PUBREC, message.packetId, reasonCode), 0)
    else if (reasonCode === ReasonCode.TOPIC_NAME_INVALID) this.#fail(now, link, reasonCode, reason)
  }

  /** PUBACK, PUBREC or PUBCOMP for what we sent; for an id that is not in flight it is ignored (PUBREC: answered). */
  #acknowledged(now: Instant, link: ClientLink, session: Session, packet: PublishResponse): void {
    const { type, packetId, reasonCode } = packet
    const inflight = session.inflight?.get(packetId)
    const { qos, message } = inflight?.queued ?? { qos: 0, message: undefined }
    if (type === PacketType.PUBREC) {
      if (qos !== 2) {
        link.push(response(PacketType.PUBREL, packetId, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), 0)
        return
      }
      // MQTT-4.4.0-2: a PUBREC that refuses ends the exchange.
      if (reasonCode < 0x80) {
        if (!inflight!.released) {
          const lsn = this.#recordReceived(session, message!, packetId)
          if (lsn === 'full') {
            this.#full(now, link, 'PUBREC')
            return
          }
          inflight!.released = true
          inflight!.lsn = lsn
        }
        link.push(response(PacketType.PUBREL, packetId, 0), inflight!.lsn)
        return
      }
    } else if (qos !== (type === PacketType.PUBACK ? 1 : 2)) return
    if (inflight === undefined || (type === PacketType.PUBCOMP && !inflight.released)) return
    session.inflight!.delete(packetId)
    this.#recordDone(session, inflight.queued.message)
    this.markReady(link)
  }

  #released(now: Instant, link: ClientLink, session: Session, packet: PublishResponse): void {
    const { packetId } = packet
    let lsn: Lsn | 'full' = 0
    const known = session.received?.has(packetId) === true
    if (known && session.persistent) {
      lsn = this.#context.store.append({ type: 'released', key: session.key, packetId })
      if (lsn === 'full') {
        this.#full(now, link, 'PUBREL')
        return
      }
    }
    session.received?.delete(packetId)
    link.push(response(PacketType.PUBCOMP, packetId, known ? 0 : ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), lsn)
  }

  #disconnect(now: Instant, link: ClientLink, session: Session, packet: Disconnect): void {
    const expiry = packet.properties.sessionExpiryInterval
    if (expiry !== undefined) {
      // What CONNECT set to 0 cannot be raised at the end [5.0 section 3.14.2.2.2].
      if (session.expirySeconds === 0 && expiry > 0) {
        this.#fail(now, link, ReasonCode.PROTOCOL_ERROR, 'DISCONNECT raises Session Expiry Interval from 0')
        return
      }
      session.expirySeconds = expiry === 0xffffffff ? Number.POSITIVE_INFINITY : expiry
    }
    this.#context.notice({ code: 'client-disconnected', level: 'info', client: session.key, peer: link.info.peer })
    link.client = undefined
    link.close(0, false)
    // Only reason code 0 takes the will away (MQTT-3.14.4-3).
    this.sessions.detach(now, session, packet.reasonCode !== ReasonCode.SUCCESS)
  }

  /** The client broke the protocol: its will fires, its session stays. */
  #fail(now: Instant, link: ClientLink, reasonCode: number, reason: string): void {
    const who = link.client === undefined ? {} : { client: link.client.key }
    this.#context.notice({ code: 'protocol-error', level: 'info', ...who, peer: link.info.peer, reason })
    this.#close(now, link, reasonCode, link.client !== undefined)
  }

  /** The store is full: nothing was acknowledged, so the client keeps what it sent and may try again later. */
  #full(now: Instant, link: ClientLink, what: string): void {
    this.#noticeFull(link, what)
    this.#close(now, link, ReasonCode.QUOTA_EXCEEDED, true)
  }

  #noticeFull(link: ClientLink, what: string): void {
    const who = link.client === undefined ? {} : { client: link.client.key }
    this.#context.notice({ code: 'store-full', level: 'error', ...who, peer: link.info.peer, reason: `${what} refused` })
  }

  #close(now: Instant, link: ClientLink, reasonCode: number, disconnect: boolean): void {
    if (link.closed) return
    const session = link.client
    link.client = undefined
    link.close(reasonCode, disconnect)
    if (session !== undefined) this.sessions.detach(now, session, true)
  }

  #recordReceived(session: Session, message: Publish, packetId: number): Lsn | 'full' {
    if (!session.persistent || message.id === 0) return 0
    return this.#context.store.append({ type: 'received', key: session.key, packetId })
  }

  /** If the store is full the record is missing, and the message comes again after a restart: allowed for QoS 1, and a late PUBCOMP for QoS 2. */
  #recordDone(session: Session, message: Publish): void {
    if (session.persistent && message.id !== 0) this.#context.store.append({ type: 'done', key: session.key, id: message.id })
  }
}

const PINGRESP = { type: PacketType.PINGRESP } as const

const response = (
  type: PublishResponse['type'],
  packetId: number,
  reasonCode: number,
  properties: Properties = NO_PROPERTIES,
): PublishResponse => ({
  type,
  packetId,
  reasonCode,
  properties,
})
