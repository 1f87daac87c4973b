import type { Instant } from '../base/machine.ts'
import { memoryWords, type OverMemory } from '../base/memory.ts'
import { COST } from '../base/memory-costs.ts'
import { BRIDGE_LISTENER, isOwnListener } from '../mqtt/link.ts'
import { PacketType } from '../mqtt/packets.ts'
import type { Publish } from '../mqtt/publish.ts'
import { beyondLimit, ReasonCode } from '../mqtt/reason-codes.ts'
import { exceedsBytes, topicNameError } from '../mqtt/topics.ts'
import type { Lsn } from '../store/store.ts'
import { mayBeBridge } from './access.ts'
import type { Asked, AskedMessages } from './asked-messages.ts'
import type { Refusal } from './authentication.ts'
import { type ClientLink, settingsOf } from './client-link.ts'
import { misfitWords } from './content-check.ts'
import type { BrokerContext } from './context.ts'
import { response } from './exchanges.ts'
import type { PublishAnswer } from './hooks.ts'
import { forwardedProperties, type Publisher } from './publisher.ts'
import { pacePublisher } from './publisher-pace.ts'
import type { Receipts } from './receipts.ts'
import type { Session } from './session.ts'

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
  readonly #owner: IntakeOwner
  /** Messages that wait for the hook `onPublish`; undefined if there is none. */
  readonly #asked: AskedMessages | undefined

  constructor(context: BrokerContext, publisher: Publisher, asked: AskedMessages | undefined, owner: IntakeOwner) {
    this.#context = context
    this.#asked = asked
    if (asked !== undefined) asked.answer = (now, message, answer) => this.#answered(now, message, answer)
    this.#publisher = publisher
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
    if (this.#isRepeated(link, session, message)) return
    const over = qos === 2 && session.receipts !== undefined ? this.#receiptRefusal(session, session.receipts) : undefined
    if (over !== undefined) {
      this.#overMemory(now, link, qos, packetId, over)
      return
    }
    forwardedProperties(message)
    const isAsked = this.#asked !== undefined && !isOwnListener(link.info.listener)
    // A hook may make of a message what its type asks for.
    const refusal =
      this.#publisher.refusal(now, session, message, mayBeBridge(link.bridge, link.version)) ||
      (isAsked ? 0 : this.#publisher.contentRefusal(now, session, message))
    if (refusal !== 0) {
      this.#refuse(now, link, session, message, refusal)
      return
    }
    if (this.#asked === undefined || !isAsked) {
      this.#accept(now, link, session, message)
      return
    }
    const tooMuch = this.#asked.ask(link, session, message)
    if (tooMuch !== undefined) this.#overMemory(now, link, qos, packetId, tooMuch)
  }

  /** A retransmission is acknowledged again, and delivered once (MQTT-4.3.3-10). */
  #isRepeated(link: ClientLink, session: Session, { qos, packetId }: Publish): boolean {
    // [MQTT-4.3.2-5]
    const receipt = qos === 2 ? session.receipts?.get(packetId) : undefined
    // [MQTT-4.3.3-10]
    if (receipt === undefined) return false
    session.receipts!.repeated(packetId)
    if (isHere(link)) link.push(response(PacketType.PUBREC, packetId, 0), receipt)
    return true
  }

  /**
   * The hook `onPublish` has answered. What it has changed is checked like a message of the client. If that has left in the
   * meantime, nobody is told: it sends again what was not acknowledged, and by then a QoS 2 message is known.
   */
  #answered(now: Instant, { link, session, message }: Asked, answer: PublishAnswer): void {
    if (this.#isRepeated(link, session, message)) return
    if (answer.kind === 'refused') {
      this.#refuse(now, link, session, message, answer.reasonCode, answer.reason)
      return
    }
    const { change } = answer
    if (change !== undefined) {
      const { topic = message.topic, payload = message.payload, properties = message.properties } = change
      message.change(topic, payload, properties)
    }
    const refusal =
      this.#refusalOfChanged(now, link, session, message, change?.topic !== undefined) ||
      this.#publisher.contentRefusal(now, session, message)
    if (refusal === 0) this.#accept(now, link, session, message)
    else this.#refuse(now, link, session, message, refusal, change && 'changed by the hook onPublish')
  }

  /** The message was allowed when it came; a topic that the hook has put in place of its own has to be, too. */
  #refusalOfChanged(now: Instant, link: ClientLink, session: Session, message: Publish, isMoved: boolean): number {
    if (!isMoved) return this.#publisher.limitRefusal(now, session, message)
    const isValid = topicNameError(message.topic) === '' && !exceedsBytes(message.topic)
    return isValid
      ? this.#publisher.refusal(now, session, message, mayBeBridge(link.bridge, link.version))
      : ReasonCode.TOPIC_NAME_INVALID
  }

  #accept(now: Instant, link: ClientLink, session: Session, message: Publish): void {
    const { packetId, qos } = message
    const isForgotten = qos === 1 && session.receipts?.isCarried(packetId) === true
    const forgotten = isForgotten ? this.#forgotten(session, packetId) : 0
    if (forgotten === 'full') {
      this.#storeFull(now, link, qos, packetId)
      return
    }
    const accepted = this.#publisher.accept(now, session, message, qos === 2 && !session.ended ? packetId : 0)
    if (accepted === 'full') {
      this.#full(now, link, qos, packetId)
      return
    }
    // A crash after PUBACK must not bring back the receipt.
    const lsn = Math.max(accepted, forgotten)
    if (!isHere(link)) {
      if (qos === 2 && !session.ended) session.receive(packetId, lsn)
      return
    }
    pacePublisher(this.#context, now, this.#publisher, link)
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

  /**
   * The client uses a packet id for QoS 1 that it has not released since an earlier connection: it does not know that exchange any more
   * (MQTT-2.2.1-3), as Mosquitto after a crash. The receipt would swallow its next message with QoS 2. Returns the record of that.
   */
  #forgotten(session: Session, packetId: number): Lsn | 'full' {
    const { store, memory } = this.#context
    const lsn = session.persistent ? store.append({ type: 'released', key: session.key, packetId }) : 0
    if (lsn === 'full') return lsn
    session.unreceive(packetId)
    memory.shares.shrunk(session)
    return lsn
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
    // What a bridge has from a remote broker is that broker's number: Mosquitto exceeds any Receive Maximum when it connects again.
    // [MQTT-3.3.4-7]
    if (pending < limits.receiveMaximum || link.info.listener === BRIDGE_LISTENER) return undefined
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
    if (over === undefined) this.#storeFull(now, link, qos, packetId)
    else this.#overMemory(now, link, qos, packetId, over)
  }

  #storeFull(now: Instant, link: ClientLink, qos: number, packetId: number): void {
    if (qos === 0 || link.version < 5 || !isHere(link)) {
      if (qos > 0 && isHere(link)) this.#owner.storeFull(now, link, 'PUBLISH')
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
    if (qos === 0 || !isHere(link)) return
    if (link.version < 5) {
      this.#owner.close(now, link, ReasonCode.QUOTA_EXCEEDED)
      return
    }
    if (qos === 1) link.unacknowledged++
    const type = qos === 1 ? PacketType.PUBACK : PacketType.PUBREC
    link.push(response(type, packetId, ReasonCode.QUOTA_EXCEEDED, { reasonString: memoryWords(over) }), 0)
  }

  /** `byHook`: why, in place of what is known of the reason code. */
  #refuse(now: Instant, link: ClientLink, session: Session, message: Publish, reasonCode: number, byHook?: string): void {
    const limit = this.#publisher.refusedBy(message, reasonCode)
    const { over, full, misfit } = this.#publisher
    const known = over ?? full
    const isOwn = this.#context.live.owns(message.topic)
    // A hook may refuse with the same reason code.
    const content = misfit?.message === message ? misfitWords(misfit) : undefined
    const byLimit = known?.limit === limit && known !== undefined ? known.reason : undefined
    const detail = content ?? byHook ?? byLimit ?? (isOwn ? OWN_TOPIC : undefined)
    const why = detail === undefined ? message.topic : `${detail}: ${message.topic}`
    const reason = `${why}: reason code 0x${reasonCode.toString(16)}`
    const what = { reason, ...(limit !== undefined && { limit }) }
    this.#context.notice({ code: 'publish-refused', level: 'info', client: session.key, peer: link.info.peer, ...what })
    const told = { reasonString: content ?? (limit === undefined ? (isOwn ? OWN_TOPIC : 'not allowed') : beyondLimit(limit)) }
    if (!isHere(link)) return
    // No acknowledgement of MQTT 3 says that a message was refused. By default it is told that it arrived, as with access rules.
    if (content !== undefined && misfit!.closes && link.version < 5 && message.qos > 0) {
      this.#owner.close(now, link, reasonCode)
      return
    }
    // [MQTT-3.5.2-1] [MQTT-4.3.3-9]
    if (message.qos === 1) {
      link.unacknowledged++
      // [MQTT-3.4.2-1] [3.1.1 MQTT-3.3.5-2]
      link.push(response(PacketType.PUBACK, message.packetId, reasonCode, told), 0)
    } else if (message.qos === 2) link.push(response(PacketType.PUBREC, message.packetId, reasonCode, told), 0)
    else if (reasonCode === ReasonCode.TOPIC_NAME_INVALID && byHook === undefined)
      this.#owner.fail(now, link, reasonCode, 'the topic name is too long (max_topic_levels)')
  }
}

/** Whether the client can be answered: it may have left while its message waited for a hook. */
const isHere = (link: ClientLink): boolean => link.client !== undefined
