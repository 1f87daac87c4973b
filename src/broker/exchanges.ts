import type { Instant } from '../base/machine.ts'
import { PacketType, type PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { Lsn } from '../store/store.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Inflight, Session } from './session.ts'

/** What follows a PUBLISH with QoS 1 or 2, in both directions [5.0 section 4.3]. */
export class Exchanges {
  readonly #context: BrokerContext
  /** The store is full: nothing was recorded, and nothing may be acknowledged. */
  readonly #full: (now: Instant, link: ClientLink, what: string) => void

  constructor(context: BrokerContext, full: (now: Instant, link: ClientLink, what: string) => void) {
    this.#context = context
    this.#full = full
  }

  /** PUBACK, PUBREC or PUBCOMP for what we sent; of the wrong kind, or for an id that is not in flight, it is ignored (PUBREC: answered). */
  acknowledged(now: Instant, link: ClientLink, session: Session, packet: PublishResponse): void {
    const { type, packetId, reasonCode } = packet
    const inflight = session.inflight?.get(packetId)
    const qos = inflight?.queued.qos
    // MQTT-4.4.0-2: a PUBREC that refuses ends the exchange, and is not answered.
    if (type === PacketType.PUBREC && reasonCode < 0x80) {
      if (qos === 2) this.#received(now, link, session, inflight!)
      else link.push(response(PacketType.PUBREL, packetId, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), 0)
      return
    }
    if (inflight === undefined || qos !== (type === PacketType.PUBACK ? 1 : 2)) return
    if (type === PacketType.PUBCOMP && !inflight.released) return
    session.settle(packetId)
    this.recordDone(session, inflight.queued.message)
    link.wake()
  }

  #received(now: Instant, link: ClientLink, session: Session, inflight: Inflight): void {
    const { packetId, queued, released } = inflight
    if (!released) {
      const lsn = this.#recordReceived(session, queued.message, packetId)
      if (lsn === 'full') {
        this.#full(now, link, 'PUBREC')
        return
      }
      session.release(inflight, lsn)
    }
    link.push(response(PacketType.PUBREL, packetId, 0), inflight.lsn)
  }

  /** PUBREL: the publisher knows that its message arrived, and its packet id is free again. */
  released(now: Instant, link: ClientLink, session: Session, packet: PublishResponse): void {
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
    link.carried?.delete(packetId)
    // After a reconnect it is no error: our PUBCOMP was lost [5.0 section 3.7.2.1], and clients would report a message as failed that was delivered.
    const isMismatch = !known && !link.resumed
    link.push(response(PacketType.PUBCOMP, packetId, isMismatch ? ReasonCode.PACKET_IDENTIFIER_NOT_FOUND : 0), lsn)
  }

  /** If the store is full the record is missing, and the message comes again after a restart: allowed for QoS 1, and a late PUBCOMP for QoS 2. */
  recordDone(session: Session, message: Publish): void {
    if (session.persistent && message.id !== 0) this.#context.store.append({ type: 'done', key: session.key, id: message.id })
  }

  #recordReceived(session: Session, message: Publish, packetId: number): Lsn | 'full' {
    if (!session.persistent || message.id === 0) return 0
    return this.#context.store.append({ type: 'received', key: session.key, id: message.id, packetId })
  }
}

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
