import type { Instant } from '../base/machine.ts'
import { PacketType, type PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { Lsn } from '../store/store.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Inflight, Session } from './session.ts'

/** What the exchanges need of the broker. */
export interface ExchangesOwner {
  fail(now: Instant, link: ClientLink, reasonCode: number, reason: string): void
  /** The store is full: nothing was recorded, and nothing may be acknowledged. */
  storeFull(now: Instant, link: ClientLink, what: string): void
  /** The store is full: a message that waits for a record is looked at again later. */
  noRoom(now: Instant): void
}

/** The packets that follow a QoS 1 or 2 PUBLISH, in both directions [5.0 section 4.3]. */
export class Exchanges {
  readonly #context: BrokerContext
  readonly #owner: ExchangesOwner
  /**
   * Lsn of the last record, of all sessions, that a receiver has refused a QoS 2 message. A late PUBREC may say that the receiver
   * has it after all, and must not be answered before that record is durable: after a crash the message would be delivered twice.
   */
  #refusedLsn: Lsn = 0

  constructor(context: BrokerContext, owner: ExchangesOwner) {
    this.#context = context
    this.#owner = owner
  }

  /**
   * PUBACK, PUBREC or PUBCOMP for a message that was sent. One of the wrong kind ends the connection, and the message stays in
   * flight; one for a packet id that is not in flight is ignored (PUBREC: answered), because the message may have been withdrawn.
   */
  acknowledged(now: Instant, link: ClientLink, session: Session, packet: PublishResponse): void {
    const { type, packetId, reasonCode } = packet
    const known = session.inflight?.get(packetId)
    // One that still waits for its record has not been sent: this is a guess, or a late copy from an earlier exchange.
    const inflight = known?.departed === true ? known : undefined
    const qos = inflight?.queued.qos
    if (inflight !== undefined && isWrongKind(inflight, type)) {
      const reason = `${nameOf(type)} for packet id ${packetId}, in flight with QoS ${qos}${inflight.released ? ' and released' : ''}`
      // A datagram may be a late duplicate, of an earlier exchange with the same message id.
      if (link.info.kind === 'mqtt') this.#owner.fail(now, link, ReasonCode.PROTOCOL_ERROR, `${reason} (MQTT-4.13.1-1)`)
      else this.#context.notice({ code: 'protocol-error', level: 'debug', client: session.key, peer: link.info.peer, reason })
      return
    }
    // MQTT-4.4.0-2: a PUBREC that refuses ends the exchange, and is not answered.
    // [MQTT-4.4.0-2] [MQTT-4.8.2-6]
    if (type === PacketType.PUBREC && reasonCode < 0x80) {
      // [MQTT-3.6.2-1]
      if (inflight !== undefined) this.#received(now, link, session, inflight)
      else link.push(response(PacketType.PUBREL, packetId, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), this.#refusedLsn)
      return
    }
    if (inflight === undefined) return
    const lsn = this.recordDone(session, inflight.queued.message)
    if (type === PacketType.PUBREC) {
      if (lsn === 'full') {
        this.#owner.storeFull(now, link, 'PUBREC')
        return
      }
      this.#refusedLsn = Math.max(this.#refusedLsn, lsn)
    }
    session.complete(inflight)
    this.#context.memory.shares.shrunk(session)
    if (link.backlog > 0) link.wake()
  }

  #received(now: Instant, link: ClientLink, session: Session, inflight: Inflight): void {
    const { packetId, queued, released } = inflight
    if (!released) {
      const lsn = this.#recordReceived(session, queued.message, packetId)
      if (lsn === 'full') {
        this.#owner.storeFull(now, link, 'PUBREC')
        return
      }
      session.release(inflight, lsn)
    }
    // [MQTT-3.10.4-3] [MQTT-4.3.3-4]
    link.push(response(PacketType.PUBREL, packetId, 0), inflight.lsn)
  }

  /** PUBREL: the publisher knows that its message arrived, and its packet id is free again. */
  released(now: Instant, link: ClientLink, session: Session, packet: PublishResponse): void {
    const { packetId } = packet
    let lsn: Lsn | 'full' = 0
    const known = session.receipts?.get(packetId) !== undefined
    if (known && session.persistent) {
      lsn = this.#context.store.append({ type: 'released', key: session.key, packetId })
      if (lsn === 'full') {
        this.#owner.storeFull(now, link, 'PUBREL')
        return
      }
    }
    // [MQTT-4.3.3-12]
    session.unreceive(packetId)
    this.#context.memory.shares.shrunk(session)
    // Not an error after a reconnect: the PUBCOMP was lost [5.0 section 3.7.2.1], and clients would report a delivered
    // message as failed.
    const isMismatch = !known && !link.resumed
    // [MQTT-3.7.2-1] [MQTT-4.3.3-11] [MQTT-4.3.3-13]
    link.push(response(PacketType.PUBCOMP, packetId, isMismatch ? ReasonCode.PACKET_IDENTIFIER_NOT_FOUND : 0), lsn)
  }

  /**
   * If the store is full the record is missing, and the message is sent again after a restart: allowed for QoS 1, and like a late
   * PUBCOMP for QoS 2 that was received.
   */
  recordDone(session: Session, message: Publish): Lsn | 'full' {
    if (!session.persistent || message.id === 0) return 0
    return this.#context.store.append({ type: 'done', key: session.key, id: message.id })
  }

  /** Records the packet id under which a QoS 2 message is sent to a session. */
  recordSent(now: Instant, session: Session, message: Publish, packetId: number): Lsn | 'full' {
    if (!session.persistent || message.id === 0) return 0
    return this.#appendSent(now, session, message.id, packetId)
  }

  /** Whether the next QoS 1 message of this session can have a packet id; if not, a record must become durable first. */
  mayTakePacketId(now: Instant, session: Session): boolean {
    if (session.kind !== 'sn' || !session.persistent) return true
    return session.mayTakePacketId(this.#context.store.durable, (packetId) => this.#appendSent(now, session, 0, packetId))
  }

  #appendSent(now: Instant, { key }: Session, id: number, packetId: number): Lsn | 'full' {
    const lsn = this.#context.store.append({ type: 'sent', key, id, packetId })
    if (lsn === 'full') this.#owner.noRoom(now)
    return lsn
  }

  /** The in-flight window is full, and messages are queued: reports it. */
  windowFull(link: ClientLink, session: Session): void {
    const { maxInflightMessages } = this.#context.limits
    const isCount = (session.inflight?.size ?? 0) >= link.window
    // A Receive Maximum that the client chose is not a limit of this server.
    if (isCount && link.window < maxInflightMessages) return
    const limit = isCount ? 'max_inflight_messages' : 'max_inflight_bytes'
    const reason = 'the rest waits for acknowledgements'
    this.#context.notice({ code: 'limit-reached', level: 'debug', client: session.key, peer: link.info.peer, reason, limit })
  }

  #recordReceived(session: Session, message: Publish, packetId: number): Lsn | 'full' {
    if (!session.persistent || message.id === 0) return 0
    return this.#context.store.append({ type: 'received', key: session.key, id: message.id, packetId })
  }
}

/** PUBACK answers QoS 1 alone, PUBREC and PUBCOMP answer QoS 2, and PUBCOMP answers PUBREL. */
function isWrongKind({ queued, released }: Inflight, type: PublishResponse['type']): boolean {
  if (queued.qos === 1) return type !== PacketType.PUBACK
  return type === PacketType.PUBACK || (type === PacketType.PUBCOMP && !released)
}

const nameOf = (type: PublishResponse['type']): string =>
  type === PacketType.PUBACK ? 'PUBACK' : type === PacketType.PUBREC ? 'PUBREC' : 'PUBCOMP'

export const response = (
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
