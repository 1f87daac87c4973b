import type { Instant } from '../../base/machine.ts'
import { fingerprint } from '../../mqtt/fingerprint.ts'
import { PacketType, type PublishResponse, type Suback } from '../../mqtt/packets.ts'
import type { Properties } from '../../mqtt/properties.ts'
import type { QoS } from '../../mqtt/publish.ts'
import { Publish } from '../../mqtt/publish.ts'
import { exceedsLevels, realFilter, topicFilterError, topicNameError } from '../../mqtt/topics.ts'
import { MsgType, type Register, ReturnCode, type SnPublish, type TopicIdType, type TopicRequest } from '../../mqttsn/messages.ts'
import type { Lsn } from '../../store/store.ts'
import { responsePacket, returnCodeOf, shortTopic, subscribePacket, unsubscribePacket } from '../translate.ts'
import type { GatewayClient } from './client.ts'
import { tellRegistered } from './client-events.ts'
import { reportIgnored, reportTooDeep, whilePaused } from './client-notices.ts'
import { Qos2Exchanges } from './qos2-exchanges.ts'

/** SUBSCRIBEs of one client that may wait for the broker's answer. The specification allows a client only one. */
const SUBSCRIBING_MAX = 16
/** PUBLISHes of one client that may wait for the broker's answer, including those sent before the client reconnected. */
const PUBLISHING_MAX = 64
/** Default for the number of QoS 1 and 2 messages that a client may have in flight. */
const UPLINK_MESSAGES = 16

/** Assumed until CONNACK says otherwise. */
const EVERYTHING: Allowed = { retain: true, qos: 2, receiveMaximum: 0xffff }
let last = EVERYTHING

/** What the broker supports. */
export interface Allowed {
  readonly retain: boolean
  readonly qos: number
  readonly receiveMaximum: number
}

/** What a CONNACK with these properties says that the broker supports; undefined for everything. */
export function allowedBy(properties: Properties): Allowed | undefined {
  const { retainAvailable: retain = true, maximumQoS: qos = 2, receiveMaximum = 0xffff } = properties
  const isAll = retain && qos === EVERYTHING.qos && receiveMaximum === EVERYTHING.receiveMaximum
  return isAll ? undefined : allowed(retain, qos, receiveMaximum)
}

/** The broker says the same to all clients: they share one object. */
export function allowed(retain: boolean, qos: number, receiveMaximum: number): Allowed {
  const isSame = last.retain === retain && last.qos === qos && last.receiveMaximum === receiveMaximum
  if (!isSame) last = { retain, qos, receiveMaximum }
  return last
}

/** A SUBSCRIBE that waits for the broker's answer: the topic id for its SUBACK, and the record of that id. */
interface Subscribing {
  readonly msgId: number
  readonly topicId: number
  readonly lsn: Lsn
  /** The topic had no id before this SUBSCRIBE. */
  readonly isNew: boolean
  readonly normal: boolean
}

/** A PUBLISH that waits for the broker's answer. Its PUBACK repeats the topic id. */
interface Publishing {
  readonly msgId: number
  readonly topicId: number
  readonly message: Publish
}

/** A QoS 1 or 2 message in flight from the client. */
interface Uplinked {
  heardAt: Instant
  /** PUBREC was sent, and the client has to send PUBREL. */
  answered: boolean
}

/** The requests of a client (REGISTER, PUBLISH, SUBSCRIBE, UNSUBSCRIBE) and the broker's answers to them. */
export class Inbound {
  readonly #client: GatewayClient
  /** In the order in which the broker answers. The same message id may occur twice, because clients retransmit. */
  #publishing: Publishing[] = []
  #subscribing: Subscribing[] = []
  readonly qos2: Qos2Exchanges
  /** QoS 1 and 2 messages that are not fully acknowledged, by `keyOf`; at most the broker's receive maximum. */
  #open: Map<number, Uplinked> | undefined = undefined
  /** QoS 2 messages that the client has abandoned; their PUBCOMP is not forwarded. */
  #left: Set<number> | undefined = undefined
  #allowed: Allowed = EVERYTHING

  constructor(client: GatewayClient) {
    this.#client = client
    this.qos2 = new Qos2Exchanges(client)
  }

  /** True if no request is under way, and no QoS 2 message id is remembered. */
  get isIdle(): boolean {
    const isAnswered = this.#publishing.length === 0 && this.#subscribing.length === 0 && (this.#left?.size ?? 0) === 0
    return isAnswered && (this.#open?.size ?? 0) === 0 && this.qos2.isIdle
  }

  /** What the broker supports, unless it is everything. */
  get restrictions(): Allowed | undefined {
    return this.#allowed === EVERYTHING ? undefined : this.#allowed
  }

  /** Sets what the broker supports; undefined for everything. */
  allow(allowed: Allowed | undefined): void {
    this.#allowed = allowed ?? EVERYTHING
  }

  /** The session continues on a new link: the broker still counts the messages that the client has not released. */
  resumed(now: Instant): void {
    for (const msgId of this.qos2.opened) {
      this.#open ??= new Map()
      this.#open.set(keyOf(msgId, 2), { heardAt: Number.NEGATIVE_INFINITY, answered: true })
    }
    // Release at the broker, too, what the client has released: that PUBREL may have been lost with the previous link.
    for (const msgId of this.qos2.unconfirmed) this.#leave(now, msgId)
  }

  /** The link to the broker has ended: no more answers follow. */
  abandon(): void {
    this.#publishing = []
    this.#subscribing = []
    this.#open = undefined
    this.#left = undefined
  }

  /** The client has a new connection and has abandoned everything that was in flight. */
  reconnected(): void {
    for (const uplinked of this.#open?.values() ?? []) uplinked.heardAt = Number.NEGATIVE_INFINITY
  }

  register(message: Register): void {
    const { topicName, msgId } = message
    const answer = (topicId: number, returnCode: number, lsn = 0, why = ''): void =>
      this.#client.send({ type: MsgType.REGACK, topicId, msgId, returnCode }, lsn, `REGISTER of ${topicName}, ${why}`)
    const wrong = topicNameError(topicName)
    if (wrong !== '') {
      answer(0, ReturnCode.NOT_SUPPORTED, 0, wrong)
      return
    }
    // The id would be kept for a topic to which every PUBLISH is refused.
    if (this.#isTooDeep(topicName)) {
      reportTooDeep(this.#client, topicName)
      answer(0, ReturnCode.NOT_SUPPORTED, 0, 'which has too many levels (max_topic_levels)')
      return
    }
    const assigned = this.#client.topicIds.asked(topicName)
    if (typeof assigned === 'string') answer(0, codeOf(assigned), 0, NO_ID[assigned])
    else {
      const { registry } = this.#client
      registry.markKnown(assigned.topicId)
      registry.markWanted(topicName)
      answer(assigned.topicId, ReturnCode.ACCEPTED, assigned.lsn)
      if (this.#client.host.options.events !== undefined) tellRegistered(this.#client, topicName, assigned.topicId)
    }
  }

  publish(now: Instant, message: SnPublish): void {
    const { topicId, msgId, qos, topicIdType, data } = message
    const refuse = (returnCode: number, why: string): void => {
      const about = `PUBLISH with QoS ${qos} to ${topicKind(topicIdType)}, ${why}`
      this.#client.send({ type: MsgType.PUBACK, topicId, msgId, returnCode }, 0, about)
    }
    const topic = this.topicOf(topicIdType, topicId)
    if (topic === undefined || topicNameError(topic) !== '') {
      refuse(ReturnCode.INVALID_TOPIC_ID, topic === undefined ? 'which stands for no topic here' : 'which is no topic name')
      return
    }
    if (qos > 0 && topicIdType === 'normal' && this.#mayMeanEarlierTopic(now, message)) {
      refuse(ReturnCode.INVALID_TOPIC_ID, 'which meant another topic when this may have been sent')
      return
    }
    if (qos > 0 && this.#client.isPaused) {
      refuse(ReturnCode.CONGESTION, whilePaused(this.#client))
      return
    }
    const wrong = this.#publishError(message)
    if (wrong !== '') {
      refuse(ReturnCode.NOT_SUPPORTED, wrong)
      return
    }
    // Retransmitted before the broker has answered the first copy: one answer is enough.
    if (qos > 0 && message.dup && this.#publishing.some((open) => open.msgId === msgId && open.topicId === topicId)) {
      this.#client.link?.repeated?.()
      return
    }
    const print = qos === 2 ? fingerprint(topic, data) : 0
    if (qos === 2 && this.#isRepeated(now, msgId, print)) return
    if (qos > 0 && this.#isFull(now, msgId, qos)) {
      // Section 6.6 allows a client one message in flight; many clients have several (ruling A15).
      refuse(ReturnCode.CONGESTION, 'too many are on their way (sn_uplink_messages)')
      return
    }
    if (qos > 0 && this.#publishing.length >= PUBLISHING_MAX) {
      refuse(ReturnCode.CONGESTION, this.#tooMany('PUBLISH', PUBLISHING_MAX))
      return
    }
    if (qos > 0) {
      const full = qos === 2 ? this.qos2.open(now, msgId, print) : ''
      if (full !== '') {
        refuse(ReturnCode.CONGESTION, full)
        return
      }
      this.#open ??= new Map()
      this.#open.set(keyOf(msgId, qos), { heardAt: now, answered: false })
    }
    // The datagram's buffer belongs to this message alone, so a view is enough.
    const publish = Publish.of(topic, data, qos as QoS, message.retain, msgId)
    publish.dup = message.dup
    if (qos > 0) this.#publishing.push({ msgId, topicId, message: publish })
    this.#client.toBroker(now, publish)
  }

  /**
   * True for what may be a copy of a message that was sent before the client learned another topic for its id (ruling A27). The
   * client registers the topic that it means, and retransmits the message under the right id.
   */
  #mayMeanEarlierTopic(now: Instant, { topicId, msgId, qos, dup }: SnPublish): boolean {
    const { registry, host } = this.#client
    const since = registry.meantSince(topicId)
    if (host.pauses.earliestArrival(now) > since + host.options.qos2HoldDownMs) return false
    const firstHeard = this.#open?.get(keyOf(msgId, qos))?.heardAt
    if (firstHeard !== undefined && firstHeard > since) return false
    return dup || firstHeard !== undefined || (qos === 2 && this.qos2.knows(msgId))
  }

  /**
   * Returns true if a QoS 2 PUBLISH must not be published. If the client has abandoned an earlier message and reuses its id, the
   * earlier one is released at the broker first, which would otherwise take the new message for a copy of it.
   */
  #isRepeated(now: Instant, msgId: number, print: number): boolean {
    const client = this.#client
    const repetition = this.qos2.repetitionOf(now, msgId, print)
    const isOpen = this.#open?.has(keyOf(msgId, 2)) === true
    if (repetition === 'late copy') {
      const { host, key, route: peer } = client
      host.notice({ code: 'message-dropped', level: 'debug', client: key, peer, reason: `late copy of QoS 2 message ${msgId}` })
      // While another message uses this id, PUBREC would be taken for that message's.
      if (!isOpen) client.send({ type: MsgType.PUBREC, msgId })
      return true
    }
    if (repetition !== 'instead') return false
    if (this.#publishing.some((open) => open.msgId === msgId && open.message.qos === 2)) {
      reportIgnored(
        client,
        `PUBLISH with QoS 2 and message id ${msgId}, which is that of a message that ${client.host.uplink.place} has still to answer`,
      )
      return true
    }
    reportIgnored(client, `PUBLISH with QoS 2 and message id ${msgId}, whose message before was never released: that is done now`)
    this.#leave(now, msgId)
    return false
  }

  /** Releases a message at the broker that the client will not release, because it counts against the receive maximum. */
  #leave(now: Instant, msgId: number): void {
    this.release(now, msgId)
    this.#left ??= new Set()
    this.#left.add(msgId)
  }

  #publishError({ qos, msgId, retain }: SnPublish): string {
    if (qos > 0 && msgId === 0) return 'without a message id'
    if (qos > this.#allowed.qos) return 'more than may be published here (maximum_qos)'
    return retain && !this.#allowed.retain ? 'retained, which is not kept here (retain_available)' : ''
  }

  /** Handles PUBREL. From now on the id may be reused, although a copy of the old PUBLISH may still be in the network. */
  release(now: Instant, msgId: number): void {
    if (!this.qos2.knows(msgId)) reportIgnored(this.#client, `PUBREL with message id ${msgId}, which is that of no message`)
    this.#open?.delete(keyOf(msgId, 2))
    this.qos2.release(now, msgId)
    this.#client.toBroker(now, responsePacket(PacketType.PUBREL, msgId))
  }

  subscribe(now: Instant, message: TopicRequest): void {
    const { msgId, qos, topicIdType } = message
    const filter = this.#filterOf(message)
    const refuse = (returnCode: number, why: string): void => {
      const about = `SUBSCRIBE to ${filter ?? `${topicKind(topicIdType)} ${message.topicId}`}, ${why}`
      this.#client.send({ type: MsgType.SUBACK, qos: 0, topicId: 0, msgId, returnCode }, 0, about)
    }
    if (filter === undefined) {
      refuse(ReturnCode.INVALID_TOPIC_ID, 'which stands for no topic here')
      return
    }
    if (this.#client.isPaused) {
      refuse(ReturnCode.CONGESTION, whilePaused(this.#client))
      return
    }
    if (qos === -1 || topicFilterError(filter) !== '') {
      refuse(ReturnCode.NOT_SUPPORTED, qos === -1 ? 'with QoS -1' : topicFilterError(filter))
      return
    }
    if (this.#subscribing.length >= SUBSCRIBING_MAX) {
      refuse(ReturnCode.CONGESTION, this.#tooMany('SUBSCRIBE', SUBSCRIBING_MAX))
      return
    }
    // A topic name gets an id, so that its messages need no REGISTER. A short name is its own id; a wildcard has none (ruling
    // A13).
    let topicId = topicIdType === 'normal' ? 0 : message.topicId
    let lsn = 0
    let isNew = false
    // Messages of a shared subscription carry the topic without `$share/<group>/`.
    const name = realFilter(filter)
    // One that is too deep gets none: the broker refuses it, and reports that.
    if (topicIdType === 'normal' && topicNameError(name) === '' && !this.#isTooDeep(name)) {
      const assigned = this.#client.topicIds.asked(name)
      if (typeof assigned === 'string') {
        refuse(codeOf(assigned), NO_ID[assigned])
        return
      }
      ;({ topicId, lsn, isNew } = assigned)
      this.#client.registry.markWanted(name)
    }
    this.#subscribing.push({ msgId, topicId, lsn, isNew, normal: topicIdType === 'normal' })
    this.#client.toBroker(now, subscribePacket(msgId, filter, qos, message.dup))
  }

  #isTooDeep(topicName: string): boolean {
    return exceedsLevels(topicName, this.#client.host.options.maxTopicLevels ?? Number.POSITIVE_INFINITY)
  }

  unsubscribe(now: Instant, message: TopicRequest): void {
    const filter = this.#filterOf(message)
    // UNSUBACK has no return code: a filter that stands for no topic was never subscribed, so it counts as unsubscribed.
    if (filter === undefined || topicFilterError(filter) !== '')
      this.#client.send({ type: MsgType.UNSUBACK, msgId: message.msgId })
    else this.#client.toBroker(now, unsubscribePacket(message.msgId, filter))
  }

  /** Handles the broker's answer to a PUBLISH or PUBREL of this client. */
  responded(now: Instant, { type, packetId: msgId, reasonCode }: PublishResponse): void {
    const client = this.#client
    if (type === PacketType.PUBCOMP) {
      this.qos2.confirmed(msgId)
      if (this.#left?.delete(msgId) === true) return
      client.send({ type: MsgType.PUBCOMP, msgId })
      return
    }
    const topicId = takeFirst(this.#publishing, msgId)?.topicId ?? 0
    const returnCode = returnCodeOf(reasonCode)
    if (type === PacketType.PUBREC && returnCode === ReturnCode.ACCEPTED) {
      const uplinked = this.#open?.get(keyOf(msgId, 2))
      if (uplinked !== undefined) uplinked.answered = true
      client.send({ type: MsgType.PUBREC, msgId })
    } else {
      const qos = type === PacketType.PUBREC ? 2 : 1
      this.#open?.delete(keyOf(msgId, qos))
      // A refused QoS 2 message is answered with PUBACK too: PUBREC has no return code [1.2 section 5.4.13].
      if (qos === 2) this.qos2.refused(now, msgId)
      client.send({ type: MsgType.PUBACK, topicId, msgId, returnCode })
    }
  }

  /**
   * True for the client's own message while its PUBACK or PUBREC is outstanding: it must not be delivered to the client before
   * that.
   */
  isUnanswered(message: Publish): boolean {
    return this.#publishing.some((open) => open.message === message)
  }

  subscribeAnswered({ packetId: msgId, reasonCodes }: Suback): void {
    const granted = reasonCodes[0] ?? 0x80
    const subscribing = takeFirst(this.#subscribing, msgId)
    if (subscribing === undefined) return
    const { topicId, lsn, normal, isNew } = subscribing
    const returnCode = returnCodeOf(granted)
    const { registry } = this.#client
    if (returnCode !== ReturnCode.ACCEPTED) {
      if (isNew && !this.#subscribing.some((open) => open.topicId === topicId)) this.#client.topicIds.takeBack(topicId)
      this.#client.send({ type: MsgType.SUBACK, qos: 0, topicId: 0, msgId, returnCode })
      return
    }
    // Predefined ids are a separate number space (ruling A11).
    if (normal && registry.nameOf(topicId) !== undefined) registry.markKnown(topicId)
    this.#client.send({ type: MsgType.SUBACK, qos: granted as QoS, topicId, msgId, returnCode }, lsn)
  }

  #tooMany(what: string, most: number): string {
    const { host, key, route: peer } = this.#client
    const reason = `${most} ${what}s wait for ${host.uplink.place}`
    host.notice({ code: 'limit-reached', level: 'warn', client: key, peer, reason })
    return reason
  }

  /** Returns the topic that a client's topic id stands for, or `undefined` if the id is unknown. */
  topicOf(topicIdType: TopicIdType, topicId: number): string | undefined {
    const { registry, host, clientId } = this.#client
    if (topicIdType === 'normal') return registry.topicOf(topicId)
    return topicIdType === 'predefined' ? host.predefined.nameOf(clientId, topicId) : shortTopic(topicId)
  }

  #filterOf({ topicIdType, topicName, topicId }: TopicRequest): string | undefined {
    return topicIdType === 'normal' ? topicName : this.topicOf(topicIdType, topicId)
  }

  /**
   * True if the client has as many messages in flight as it may. A retransmission counts once. A QoS 2 message whose PUBREL has
   * been missing for T_retry does not count: the client has abandoned it, but may still resume it. The broker does count it, so
   * it is released there if another message needs its place.
   */
  #isFull(now: Instant, msgId: number, qos: number): boolean {
    const open = this.#open
    if (open === undefined || open.size === 0 || open.has(keyOf(msgId, qos))) return false
    const { host, retryProfile } = this.#client
    const hasLeft = ({ answered, heardAt }: Uplinked): boolean => answered && heardAt <= now - retryProfile.tRetryMs
    let count = 0
    for (const uplinked of open.values()) if (!hasLeft(uplinked)) count++
    if (count >= (host.options.uplinkMessages ?? UPLINK_MESSAGES)) return true
    if (open.size < this.#allowed.receiveMaximum) return false
    for (const [key, uplinked] of open) {
      if (!hasLeft(uplinked)) continue
      this.#leave(now, key - QOS_2)
      return false
    }
    return true
  }
}

/** A QoS 1 and a QoS 2 message may have the same message id. */
const QOS_2 = 0x10000
const keyOf = (msgId: number, qos: number): number => (qos === 2 ? QOS_2 + msgId : msgId)

/**
 * Retrying helps if the store is full, memory is short or all ids are in use, but not if the client has requested all the ids
 * that it may have.
 */
const codeOf = (refusal: 'too many' | 'in use' | 'store full' | 'no memory'): number =>
  refusal === 'too many' ? ReturnCode.NOT_SUPPORTED : ReturnCode.CONGESTION

const NO_ID = {
  'too many': 'which has no id, and no more are given (max_sn_topics_per_client)',
  'in use': 'which has no id, and all of them are in use',
  'store full': 'whose id cannot be stored',
  'no memory': 'for which there is no memory (memory_limit, max_memory_per_client)',
}

const topicKind = (type: TopicIdType): string =>
  ({ normal: 'a topic id', predefined: 'a predefined topic id', short: 'a short topic name' })[type]

/** Removes and returns the oldest request with this message id: the broker answers in order. */
function takeFirst<T extends { readonly msgId: number }>(requests: T[], msgId: number): T | undefined {
  const at = requests.findIndex((request) => request.msgId === msgId)
  return at < 0 ? undefined : requests.splice(at, 1)[0]
}
