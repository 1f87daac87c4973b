import type { Instant } from '../base/machine.ts'
import { DEFAULT_LINK_SETTINGS } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { bridgeOfStateTopic, exceedsBytes, exceedsLevels, isReservedTopic, topicNameError } from '../mqtt/topics.ts'
import { willBytes } from '../mqtt/wills.ts'
import type { Lsn } from '../store/store.ts'
import { mayBeBridge, mayHaveWill } from './access.ts'
import type { AskedMessages } from './asked-messages.ts'
import { type Refusal, refusal } from './authentication.ts'
import type { ClientLink } from './client-link.ts'
import { misfitWords } from './content-check.ts'
import type { BrokerContext } from './context.ts'
import { willGrowth } from './holdings.ts'
import type { Publisher } from './publisher.ts'
import type { Session } from './session.ts'
import { postpone } from './session-clocks.ts'
import { storedWill } from './stored.ts'

/** Deliveries, levels and subscriptions examined, that wills may lead to in one turn; one will may exceed it. */
const WORK_PER_TURN = 4096
/** What a will counts for without receivers. */
const WILL_WORK = 16

/** The wills of sessions: which are accepted, how they change, and their publication [5.0 section 3.1.2.5]. */
export class SessionWills {
  readonly #context: BrokerContext
  readonly #publisher: Publisher
  readonly #asked: AskedMessages | undefined
  /** Work that wills have led to in this turn. */
  #work = 0

  constructor(context: BrokerContext, publisher: Publisher, asked: AskedMessages | undefined) {
    this.#context = context
    this.#publisher = publisher
    this.#asked = asked
  }

  /** Whether wills have led to as much work as a turn may take: further ones wait, unless a client waits for them. */
  get isSpent(): boolean {
    return this.#work >= WORK_PER_TURN
  }

  /** The turn is over. */
  endTurn(): void {
    this.#work = 0
  }

  /** Why no client of this listener may have this will. */
  unsupported({ info }: ClientLink, will: Will): Refusal | undefined {
    const { limits } = this.#context
    const { maximumQos } = info.settings ?? DEFAULT_LINK_SETTINGS
    if (topicNameError(will.topic) !== '' || exceedsBytes(will.topic)) {
      return refusal(ReasonCode.TOPIC_NAME_INVALID, 'the will topic is not valid')
    }
    if (exceedsLevels(will.topic, limits.maxTopicLevels)) {
      return refusal(ReasonCode.TOPIC_NAME_INVALID, 'the will topic has too many levels', 'max_topic_levels')
    }
    const isReserved = isReservedTopic(will.topic) && bridgeOfStateTopic(will.topic) === undefined
    if (isReserved || this.#context.live.owns(will.topic))
      return refusal(ReasonCode.NOT_AUTHORIZED, 'the will is on a topic of the broker')
    // [MQTT-3.2.2-12]
    if (will.qos > maximumQos) return refusal(ReasonCode.QOS_NOT_SUPPORTED, 'the will has a QoS above the maximum (maximum_qos)')
    // [MQTT-3.2.2-13]
    if (will.retain && !limits.retainAvailable) {
      return refusal(ReasonCode.RETAIN_NOT_SUPPORTED, 'the will is retained, and nothing is here (retain_available)')
    }
    if (will.payload.length > limits.messageSizeLimit) {
      return refusal(ReasonCode.PACKET_TOO_LARGE, 'the will is too large', 'message_size_limit')
    }
    return undefined
  }

  /**
   * Why a client may not have a will with this payload. A client of MQTT 3 may have it if it would not be disconnected for such a
   * message: it is dropped when it is due.
   */
  contentRefusal(version: number, will: Will): Refusal | undefined {
    const misfit = this.#context.content?.foresee(messageOf(will))
    if (misfit === undefined || (version < 5 && !misfit.closes)) return undefined
    return refusal(ReasonCode.PAYLOAD_FORMAT_INVALID, `the will is ${misfitWords(misfit)}`)
  }

  /** Sets the will of a client that is connected, as MQTT-SN does. Returns 0, or the reason code of a refusal. */
  update(link: ClientLink, session: Session, will: Will | undefined): number {
    const wrong = will === undefined ? undefined : this.unsupported(link, will)
    if (wrong !== undefined) return wrong.reasonCode
    // It is asked again when the will fires.
    const mayTell = mayBeBridge(link.bridge, link.version)
    if (will !== undefined && !mayHaveWill(this.#context.access, session, will.topic, mayTell, will))
      return ReasonCode.NOT_AUTHORIZED
    // Topic and message are updated one after the other, and the last message may not fit the new topic.
    const isNew = will !== undefined && will.payload !== session.will?.payload
    const misfit = isNew ? this.contentRefusal(link.version, will) : undefined
    if (misfit !== undefined) {
      const { reasonCode, reason } = misfit
      this.#context.notice({ code: 'will-refused', level: 'warn', client: session.key, peer: link.info.peer, reason })
      return reasonCode
    }
    const { retained, memory } = this.#context
    const more = willGrowth(will, retained) - willGrowth(session.will, retained)
    const over = more > 0 ? memory.refusal(session, more) : undefined
    if (over !== undefined) {
      const { reason, limit } = over
      this.#context.notice({ code: 'will-refused', level: 'warn', client: session.key, peer: link.info.peer, reason, limit })
      return ReasonCode.QUOTA_EXCEEDED
    }
    if (this.#set(session, will) !== 'full') return ReasonCode.SUCCESS
    const { peer } = link.info
    this.#context.notice({ code: 'store-full', level: 'error', client: session.key, peer, reason: 'will update refused' })
    return ReasonCode.QUOTA_EXCEEDED
  }

  #set(session: Session, will: Will | undefined): Lsn | 'full' {
    const lsn = this.#context.store.append({ type: 'will', key: session.key, will: will === undefined ? null : storedWill(will) })
    if (lsn !== 'full') session.will = will
    this.#context.memory.shares.recount(session)
    return lsn
  }

  /**
   * Publishes the will and forgets it (MQTT-3.1.2-8, MQTT-3.1.2-10); access is asked again, because rules may have changed. False
   * if the store has no room for it: it stays due, and is tried again.
   */
  fire(now: Instant, session: Session): boolean {
    const { will } = session
    // [3.1.1 MQTT-3.1.2-12]
    if (will === undefined) return true
    this.#dropAsked(session)
    const message = messageOf(will)
    const reasonCode = this.#refusal(now, session, message)
    const { notice, stats, store, router } = this.#context
    const before = this.#publisher.work + router.looked
    const accepted = reasonCode === 0 ? this.#publisher.accept(now, session, message, 0, true) : 0
    this.#work += WILL_WORK + this.#publisher.work + router.looked - before
    if (accepted === 'full') {
      if (session.refused === undefined)
        notice({ code: 'store-full', level: 'error', client: session.key, reason: 'its will waits for room' })
      postpone(this.#context, now, session, 'will')
      return false
    }
    session.will = undefined
    if (session.refused === 'will') session.refused = undefined
    this.#context.memory.shares.recount(session)
    if (reasonCode !== 0) {
      if (session.persistent) store.append({ type: 'will', key: session.key, will: null })
      const limit = this.#publisher.refusedBy(message, reasonCode)
      const { misfit } = this.#publisher
      const why = misfit?.message === message ? misfitWords(misfit) : limit === undefined ? 'not allowed' : 'a bound is reached'
      const reason = `${why} on ${will.topic}`
      notice({ code: 'will-refused', level: 'warn', client: session.key, reason, ...(limit !== undefined && { limit }) })
      return true
    }
    stats.willsPublished++
    notice({ code: 'will-published', level: 'info', client: session.key, reason: `on ${will.topic}` })
    return true
  }

  /**
   * What the client has sent and a hook has still to be asked about must not follow its will: an `online` would replace the
   * `offline`. QoS 1 and 2 is not acknowledged, and sent again.
   */
  #dropAsked({ key }: Session): void {
    const count = this.#asked?.drop(key) ?? 0
    if (count === 0) return
    const messages = count === 1 ? 'a message' : `${count} messages`
    const reason = `${messages}: the will of the client was published before the hook onPublish had answered`
    this.#context.notice({ code: 'publish-refused', level: 'info', client: key, reason })
  }

  /** A will that memory has no room to retain goes to those who have subscribed to it. */
  #refusal(now: Instant, session: Session, message: Publish): number {
    // That a bridge may have its will there was asked when it connected.
    const freed = willBytes(session.will)
    const publisher = this.#publisher
    const reasonCode =
      publisher.refusal(now, session, message, true, freed) || publisher.contentRefusal(now, session, message, freed)
    const { over } = publisher
    if (reasonCode !== ReasonCode.QUOTA_EXCEEDED || !message.retain || over === undefined) return reasonCode
    message.retain = false
    if (session.refused === undefined) {
      const reason = `it is not retained on ${message.topic}: ${over.reason}`
      this.#context.notice({ code: 'will-refused', level: 'warn', client: session.key, reason, limit: over.limit })
    }
    return publisher.refusal(now, session, message, true, 0) || publisher.contentRefusal(now, session, message)
  }
}

/** The message that a will leads to. */
function messageOf({ topic, payload, qos, retain, properties: all }: Will): Publish {
  const { willDelayInterval: _delay, ...properties } = all
  // [MQTT-3.1.2-14] [MQTT-3.1.2-15]
  return Publish.of(topic, payload, qos, retain, 0, properties)
}
