import type { Instant } from '../base/machine.ts'
import { memoryWords, type OverMemory } from '../base/memory.ts'
import { COST } from '../base/memory-costs.ts'
import { PacketType } from '../mqtt/packets.ts'
import type { Publish } from '../mqtt/publish.ts'
import { beyondLimit, ReasonCode } from '../mqtt/reason-codes.ts'
import { mayBeBridge } from './access.ts'
import type { Refusal } from './authentication.ts'
import { type ClientLink, settingsOf } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import { response } from './exchanges.ts'
import { PATIENCE_MS, PATIENCE_PER_MESSAGE_MS } from './limits.ts'
import { forwardedProperties, type Publisher } from './publisher.ts'
import type { Receipts } from './receipts.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** QoS 2 packet ids that a client may leave unreleased before each more is asked for: there is no limit on them in MQTT 3. */
const FREE_RECEIPTS = 100

const OWN_TOPIC = 'only the broker publishes here'

/** What happens to the connection when a message cannot be accepted. */
export interface IntakeOwner {
  fail(now: Instant, link: ClientLink, reasonCode: number, reason: string, limit?: string): void
  /** Reports that the store is full, and ends the connection. */
  storeFull(now: Instant, link: ClientLink, what: string): void
  noticeFull(link: ClientLink, what: string): void
  close(now: Instant, link: ClientLink, reasonCode: number): void
}

/** PUBLISH from a client: accepted and acknowledged, or refused [5.0 sections 3.3, 4.3]. */
export class Intake {
  readonly #context: BrokerContext
  readonly #publisher: Publisher
  readonly #sessions: Sessions
  readonly #owner: IntakeOwner

  constructor(context: BrokerContext, publisher: Publisher, sessions: Sessions, owner: IntakeOwner) {
    this.#context = context
    this.#publisher = publisher
    this.#sessions = sessions
    this.#owner = owner
  }

  publish(now: Instant, link: ClientLink, session: Session, message: Publish): void {
    this.#context.stats.publishReceived++
    const { packetId, qos } = message
    if (qos > 0 || message.retain) {
      const wrong = this.#unsupported(link, session, message)
      if (wrong !== undefined) {
        this.#owner.fail(now, link, wrong.reasonCode, wrong.reason, wrong.limit)
        return
      }
    }
    // [MQTT-4.3.2-5]
    const receipt = qos === 2 ? session.receipts?.get(packetId) : undefined
    // [MQTT-4.3.3-10]
    if (receipt !== undefined) {
      // A retransmission: acknowledged again, delivered once (MQTT-4.3.3-10).
      session.receipts!.repeated(packetId)
      link.push(response(PacketType.PUBREC, packetId, 0), receipt)
      return
    }
    const over = qos === 2 && session.receipts !== undefined ? this.#receiptRefusal(session, session.receipts) : undefined
    if (over !== undefined) {
      this.#overMemory(now, link, qos, packetId, over)
      return
    }
    forwardedProperties(message)
    const refusal = this.#publisher.refusal(now, session, message, mayBeBridge(link.bridge, link.version))
    if (refusal !== 0) {
      this.#refuse(now, link, session, message, refusal)
      return
    }
    const lsn = this.#publisher.accept(now, session, message, qos === 2 ? packetId : 0)
    if (lsn === 'full') {
      this.#full(now, link, qos, packetId)
      return
    }
    const { pressed } = this.#publisher
    if (pressed !== undefined) this.#sessions.hold(now, pressed, link)
    else if (link.patienceMs < PATIENCE_MS) link.patienceMs += PATIENCE_PER_MESSAGE_MS
    if (qos === 0) return
    const reasonCode = this.#publisher.reached ? ReasonCode.SUCCESS : ReasonCode.NO_MATCHING_SUBSCRIBERS
    // [MQTT-3.3.4-1]
    if (qos === 1) {
      link.unacknowledged++
      // [MQTT-2.2.1-5] [MQTT-4.3.2-4]
      link.push(response(PacketType.PUBACK, packetId, reasonCode), lsn)
      return
    }
    session.receive(packetId, lsn)
    // [MQTT-4.3.3-8]
    link.push(response(PacketType.PUBREC, packetId, reasonCode), lsn)
  }

  /** The client releases no packet ids, and there is no memory for more. */
  #receiptRefusal(session: Session, { size }: Receipts): OverMemory | undefined {
    return size < FREE_RECEIPTS ? undefined : this.#context.memory.refusal(session, COST.receipt)
  }

  /** Refuses what CONNACK has excluded. */
  #unsupported(link: ClientLink, session: Session, { qos, retain, packetId }: Publish): Refusal | undefined {
    const { limits } = this.#context
    // [MQTT-3.2.2-11]
    if (qos > settingsOf(link).maximumQos) return { reasonCode: ReasonCode.QOS_NOT_SUPPORTED, reason: `QoS ${qos} (maximum_qos)` }
    // [MQTT-3.2.2-14]
    if (retain && !limits.retainAvailable) {
      return { reasonCode: ReasonCode.RETAIN_NOT_SUPPORTED, reason: 'nothing is retained here (retain_available)' }
    }
    // MQTT-3.3.4-7, -8: unacknowledged messages count, and a retransmission counts once. 3.x clients do not know the
    // limit.
    if (qos === 0 || link.version < 5) return undefined
    if (qos === 2 && session.receipts?.isOpen(packetId) === true) return undefined
    const pending = link.unacknowledged + (session.receipts?.open ?? 0)
    // [MQTT-3.3.4-7]
    if (pending < limits.receiveMaximum) return undefined
    return {
      reasonCode: ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
      reason: `more than ${limits.receiveMaximum} messages (receive_maximum)`,
      limit: 'receive_maximum',
    }
  }

  /**
   * The message was not accepted. 5.0 has a reason code for that; a 3.x client is disconnected, because any acknowledgement would
   * mean that it was.
   */
  #full(now: Instant, link: ClientLink, qos: number, packetId: number): void {
    const { over } = this.#publisher
    if (over !== undefined) {
      this.#overMemory(now, link, qos, packetId, over)
      return
    }
    if (qos === 0 || link.version < 5) {
      if (qos > 0) this.#owner.storeFull(now, link, 'PUBLISH')
      else this.#owner.noticeFull(link, 'PUBLISH')
      return
    }
    this.#owner.noticeFull(link, 'PUBLISH')
    if (qos === 1) link.unacknowledged++
    const type = qos === 1 ? PacketType.PUBACK : PacketType.PUBREC
    link.push(response(type, packetId, ReasonCode.QUOTA_EXCEEDED, { reasonString: 'the store is full' }), 0)
  }

  #overMemory(now: Instant, link: ClientLink, qos: number, packetId: number, over: OverMemory): void {
    const { reason, limit } = over
    const who = { ...(link.client !== undefined && { client: link.client.key }), peer: link.info.peer }
    this.#context.notice({ code: 'publish-refused', level: 'warn', ...who, reason, limit })
    if (link.version < 5) {
      this.#owner.close(now, link, ReasonCode.QUOTA_EXCEEDED)
      return
    }
    if (qos === 1) link.unacknowledged++
    const type = qos === 1 ? PacketType.PUBACK : PacketType.PUBREC
    link.push(response(type, packetId, ReasonCode.QUOTA_EXCEEDED, { reasonString: memoryWords(over) }), 0)
  }

  #refuse(now: Instant, link: ClientLink, session: Session, message: Publish, reasonCode: number): void {
    const limit = this.#publisher.refusedBy(message, reasonCode)
    const { over, full } = this.#publisher
    const known = over ?? full
    const isOwn = this.#context.live.owns(message.topic)
    const detail = known?.limit === limit && known !== undefined ? known.reason : isOwn ? OWN_TOPIC : undefined
    const why = detail === undefined ? message.topic : `${detail}: ${message.topic}`
    const reason = `${why}: reason code 0x${reasonCode.toString(16)}`
    const what = { reason, ...(limit !== undefined && { limit }) }
    this.#context.notice({ code: 'publish-refused', level: 'info', client: session.key, peer: link.info.peer, ...what })
    const told = { reasonString: limit === undefined ? (isOwn ? OWN_TOPIC : 'not allowed') : beyondLimit(limit) }
    // [MQTT-3.5.2-1] [MQTT-4.3.3-9]
    if (message.qos === 1) {
      link.unacknowledged++
      // [MQTT-3.4.2-1] [3.1.1 MQTT-3.3.5-2]
      link.push(response(PacketType.PUBACK, message.packetId, reasonCode, told), 0)
    } else if (message.qos === 2) link.push(response(PacketType.PUBREC, message.packetId, reasonCode, told), 0)
    else if (reasonCode === ReasonCode.TOPIC_NAME_INVALID)
      this.#owner.fail(now, link, reasonCode, 'the topic name is too long (max_topic_levels)')
  }
}
