import { plainName } from '../base/describe.ts'
import type { Instant } from '../base/machine.ts'
import type { OverMemory } from '../base/memory.ts'
import { WAITING_BYTES } from '../base/memory-costs.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import { MessageMemory, Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { exceedsLevels, isReservedTopic } from '../mqtt/topics.ts'
import type { Lsn, StoredDelivery } from '../store/store.ts'
import { mayHaveWill, mayPublish } from './access.ts'
import { type Misfit, refusedMisfit } from './content-check.ts'
import type { BrokerContext } from './context.ts'
import { isTooLong, queueBound } from './limits.ts'
import { fits, fullOf, hasRoom, isFuller, isHeavy, isWorthWaitingFor, replacesLast, waits } from './queue-room.ts'
import { type Receivers, receiversOf } from './receivers.ts'
import { overRetainedMemory, type RetainedFull, retainedFull } from './retained-room.ts'
import type { Session } from './session.ts'
import { Queued } from './session-queue.ts'
import type { Room } from './share-group.ts'
import { storedMessage, storedReceipt } from './stored.ts'
import type { Target } from './targets.ts'
import type { Looked } from './topic-tree.ts'

/** Part of a full queue above which its publishers are paused, as long as its client keeps reading. */
const HIGH_WATER = 0.75

/** Sessions that have no memory left to queue a message, and why. */
type Crowded = ReadonlyMap<Session, OverMemory>

const ENCODER = new TextEncoder()

/** Accepts a message from a client or a will, records it if necessary, and queues it for all subscribers. */
export class Publisher {
  /** Set when a receiver's queue is above HIGH_WATER but draining; the publisher should be paused. */
  pressed: Session | undefined = undefined
  /** The memory limit behind the last result of `refusal` or `accept`, if there is one. */
  over: OverMemory | undefined = undefined
  /** The limit on retained messages behind the last result of `refusal`, if there is one. */
  full: RetainedFull | undefined = undefined
  /** What is wrong with the content of the message that `contentRefusal` has refused last. */
  misfit: Misfit | undefined = undefined
  /** Whether the last accepted message had any receivers, for reason code 0x10. */
  reached = false
  /** Messages queued so far. */
  work = 0
  /** Chooses the members of shared subscriptions. */
  readonly room: Room
  #taken = 0
  #nextMessageId = 1
  readonly #context: BrokerContext
  readonly #markReady: (session: Session) => void

  constructor(context: BrokerContext, looked: Looked, markReady: (session: Session) => void) {
    this.#context = context
    this.room = {
      looked,
      keepsQos0: context.limits.queueQos0Messages,
      fits: (session, message, qos) => fits(context, session, message, qos),
    }
    this.#markReady = markReady
  }

  takeQueued(): number {
    const { queued } = this
    this.#taken = this.work
    return queued
  }

  /** Messages queued since the last `takeQueued`: tells when to write before reading more. */
  get queued(): number {
    return this.work - this.#taken
  }

  /** A new id for a message in the store. */
  nextMessageId(): number {
    return this.#nextMessageId++
  }

  /** After a restart: continues above all ids in the store. */
  skipMessageIds(upTo: number): void {
    this.#nextMessageId = Math.max(this.#nextMessageId, upTo + 1)
  }

  /**
   * Why this client may not publish this message, as an MQTT 5 reason code; 0 if it may. `isBridge`: its CONNECT has the bridge
   * bit. `freed`: bytes of the will that this message replaces, if it is one.
   */
  refusal(now: Instant, from: Session, message: Publish, isBridge: boolean, freed?: number): number {
    const { access } = this.#context
    const { topic } = message
    if (this.#context.live.owns(topic)) return ReasonCode.NOT_AUTHORIZED
    const may = freed === undefined ? mayPublish : mayHaveWill
    const isReserved = isReservedTopic(topic)
    if (isReserved && !may(access, from, topic, isBridge, message)) return ReasonCode.NOT_AUTHORIZED
    const beyond = this.limitRefusal(now, from, message, freed)
    if (beyond !== 0) return beyond
    return isReserved || may(access, from, topic, isBridge, message) ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  /** The part of `refusal` that does not depend on access rules. */
  limitRefusal(now: Instant, from: Session, message: Publish, freed = 0): number {
    const { limits } = this.#context
    if (isTooLong(message.topic, limits.maxTopicLevels)) return ReasonCode.TOPIC_NAME_INVALID
    if (message.payloadLength > limits.messageSizeLimit) return ReasonCode.QUOTA_EXCEEDED
    const isKept = message.retain && message.payloadLength > 0
    return isKept && !this.#hasRoomToRetain(now, from, message, freed) ? ReasonCode.QUOTA_EXCEEDED : 0
  }

  /**
   * The last question before `accept`: why the content of this message is refused, as an MQTT 5 reason code; 0 if it is not. Content
   * type and mark count towards the limits.
   */
  contentRefusal(now: Instant, from: Session, message: Publish, freed = 0): number {
    if (this.#context.content === undefined) return 0
    const { properties } = message
    this.misfit = refusedMisfit(this.#context, message, from.key)
    if (this.misfit !== undefined) return ReasonCode.PAYLOAD_FORMAT_INVALID
    return message.properties === properties ? 0 : this.limitRefusal(now, from, message, freed)
  }

  /** The limit behind a refusal of this message, by its configuration key; undefined if it was refused for another reason. */
  refusedBy(message: Publish, reasonCode: number): string | undefined {
    const { limits } = this.#context
    if (reasonCode === ReasonCode.TOPIC_NAME_INVALID) {
      return exceedsLevels(message.topic, limits.maxTopicLevels) ? 'max_topic_levels' : undefined
    }
    if (reasonCode !== ReasonCode.QUOTA_EXCEEDED) return undefined
    if (message.payloadLength > limits.messageSizeLimit) return 'message_size_limit'
    return this.over?.limit ?? this.full?.limit
  }

  /**
   * Accepts a message. Its acknowledgement must wait for the returned Lsn; 'full' means that nothing happened, because the store
   * has no room or because of `over`. `receipt` is the packet id of a QoS 2 publisher.
   */
  accept(now: Instant, from: Session, message: Publish, receipt: number, isWill = false): Lsn | 'full' {
    this.pressed = undefined
    this.over = undefined
    message.author = from.author
    const expiry = message.properties.messageExpiryInterval
    // An interval of 0 counts as one second, so that connected subscribers still get the message.
    if (expiry !== undefined) message.expiresAt = now + Math.max(1, expiry) * 1000
    const { targets, again } = this.#receivers(now, message)
    this.reached = targets.length > 0
    const mayCrowd = (message.qos > 0 || this.#context.limits.upgradeOutgoingQos) && this.#anyWaits(now, targets, message)
    const crowded = mayCrowd ? this.#crowded(now, from, message, targets, isWill) : undefined
    if (crowded === 'all') return 'full'
    const isKept = message.qos > 0 || message.retain || isWill
    const lsn = isKept ? this.#record(now, from, message, targets, receipt, crowded, isWill) : 0
    if (lsn === 'full') return 'full'
    // If a crash loses the receipt, the publisher sends the message again: no subscriber may have seen it before.
    if (message.qos === 2) message.receiptLsn = lsn
    // [MQTT-3.3.1-8] [3.1.1 MQTT-3.3.1-7]
    if (message.retain) this.#retain(now, message)
    this.#deliver(now, from, message, targets, crowded)
    if (again === undefined) return lsn
    return again.reduce((last, target) => Math.max(last, this.#deliverAgain(now, target, message, crowded)), lsn)
  }

  /**
   * The sessions that would have to queue the message and have no memory for it; to them it counts as a full queue. 'all' if
   * there is no other recipient and the message is not retained: then it is refused, and its publisher keeps it. A will is never
   * refused that way, because its client is gone.
   */
  #crowded(
    now: Instant,
    from: Session,
    message: Publish,
    targets: readonly Target[],
    isWill: boolean,
  ): Crowded | 'all' | undefined {
    const { memory } = this.#context
    let crowded: Map<Session, OverMemory> | undefined
    let any = message.retain || isWill
    for (const all of targets) {
      const target = all.session === from ? all.own : all
      if (target === undefined) continue
      const { session } = target
      if (this.effectiveQos(target, message) === 0) {
        any ||= session.link !== undefined
        continue
      }
      const over = waits(this.#context, now, session, message)
        ? memory.refusal(session, message.weight + WAITING_BYTES)
        : undefined
      if (over === undefined) any = true
      else {
        crowded ??= new Map()
        crowded.set(session, over)
      }
    }
    if (crowded === undefined || any) return crowded
    this.over = refusalFor(crowded)
    return 'all'
  }

  #anyWaits(now: Instant, targets: readonly Target[], message: Publish): boolean {
    for (let i = 0; i < targets.length; i++) if (waits(this.#context, now, targets[i]!.session, message)) return true
    return false
  }

  #deliverAgain(now: Instant, target: Target, message: Publish, crowded: Crowded | undefined): Lsn {
    const over = crowded?.get(target.session)
    if (over !== undefined) {
      this.dropNewest(target.session, message, 1, over)
      return 0
    }
    const lsn = this.deliverCopy(now, target, message)
    if (lsn !== 'full') return lsn
    this.dropNewest(target.session, message)
    return 0
  }

  /**
   * Publishes a $SYS message with QoS 0, because the next value replaces it. It is retained separately from those of clients and
   * not stored; absent clients miss it.
   */
  publishSys(now: Instant, topic: string, value: string): void {
    const message = Publish.of(topic, ENCODER.encode(value), 0, true)
    message.owned = true
    this.#context.sysRetained.set(topic, message)
    this.sendOwn(now, message)
  }

  /** Sends a message of the broker itself to those who are connected. */
  sendOwn(now: Instant, message: Publish): void {
    this.#deliver(now, undefined, message, this.#receivers(now, message).targets)
  }

  /** The same for a message that replaces the last one on its topic, also where that still waits. Returns the number of recipients. */
  sendLatest(now: Instant, message: Publish): number {
    const { targets } = this.#receivers(now, message)
    const open = targets.filter(({ session }) => replacesLast(this.#context, session, message))
    this.#deliver(now, undefined, message, open)
    return targets.length
  }

  /** A queue may exceed its limit by all retained messages once, but not repeatedly for a client that does not read. */
  hasRoomForRetained(session: Session): boolean {
    const { queueLength, queuedBytes } = session
    const { limits } = this.#context
    const { maxRetainedMessages, maxQueuedBytes, maxRetainedBytes } = limits
    return queueLength < queueBound(limits, session) + maxRetainedMessages && queuedBytes <= maxQueuedBytes + maxRetainedBytes
  }

  /** Queues a retained message for a new subscription, recorded as a message of its own, on which SUBACK waits. */
  deliverRetained(session: Session, message: Publish, qos: QoS, identifiers: readonly number[] | undefined): Lsn | 'full' {
    // [3.1.1 MQTT-3.3.1-8]
    return this.#queueAlone(session, message, qos, true, identifiers, undefined, true)
  }

  /** Queues one more copy of a message, with a record of its own; returns the Lsn that its acknowledgement must wait for. */
  deliverCopy(now: Instant, target: Target, message: Publish): Lsn | 'full' {
    const { session, retainAsPublished, subscriptionIdentifiers, share } = target
    const qos = this.effectiveQos(target, message)
    if (hasRoom(this.#context, now, session, message, qos)) {
      message.own()
      message.acceptedAt = Math.floor(now / 1000)
      const retain = message.retain && retainAsPublished
      return this.#queueAlone(session, message, qos, retain, subscriptionIdentifiers, share)
    }
    this.dropNewest(session, message)
    return 0
  }

  /** Queues a message for one session, recorded under an id of its own. */
  #queueAlone(
    session: Session,
    message: Publish,
    qos: QoS,
    retain: boolean,
    identifiers: readonly number[] | undefined,
    share: string | undefined,
    isRetained = false,
  ): Lsn | 'full' {
    let own = message
    let lsn: Lsn | 'full' = 0
    if (qos > 0 && session.persistent && this.#context.store.isMemory !== true) {
      // The copy shares the buffer of the original.
      message.held ??= new MessageMemory()
      own = message.copy()
      own.receiptLsn = message.receiptLsn
      own.id = this.nextMessageId()
      lsn = this.#context.store.append({
        type: 'message',
        id: own.id,
        message: storedMessage(this.#context.clock, own),
        deliveries: [storedDelivery(session, qos, retain, identifiers, share)],
      })
      if (lsn === 'full') return 'full'
    }
    const entry = new Queued(own, qos, retain, identifiers, share)
    const waits = session.link?.listening !== true
    const queue = session.openQueue()
    if (isRetained) queue.pushRetained(entry)
    else queue.push(entry, waits)
    if (waits) this.#keptWaiting(session, own)
    this.#context.expiry.queued(session, own.expiresAt)
    this.work++
    this.#markReady(session)
    return lsn
  }

  #receivers(now: Instant, message: Publish): Receivers {
    const route = this.#context.router.route(message.topic)
    if (route.shared.length === 0 && route.conditional === undefined) return route
    return receiversOf(this.#context, route, this.room, now, message, (target) => this.effectiveQos(target, message) > 0)
  }

  #record(
    now: Instant,
    from: Session,
    message: Publish,
    targets: readonly Target[],
    receipt: number,
    crowded: Crowded | undefined,
    isWill: boolean,
  ): Lsn | 'full' {
    const { store, clock } = this.#context
    if (store.isMemory === true) return 0
    const deliveries: StoredDelivery[] = []
    for (const all of targets) {
      const target = all.session === from ? all.own : all
      if (target === undefined || !target.session.persistent) continue
      const { session, retainAsPublished, subscriptionIdentifiers, share } = target
      const qos = this.effectiveQos(target, message)
      if (qos === 0 || crowded?.has(session) === true || !hasRoom(this.#context, now, session, message, qos)) continue
      deliveries.push(storedDelivery(session, qos, message.retain && retainAsPublished, subscriptionIdentifiers, share))
    }
    const kept = receipt > 0 && from.persistent
    const isNoted = isWill && from.persistent
    if (deliveries.length === 0 && !kept && !message.retain)
      return isNoted ? store.append({ type: 'will', key: from.key, will: null }) : 0
    message.id = this.nextMessageId()
    return store.append({
      type: 'message',
      id: message.id,
      message: storedMessage(clock, message),
      deliveries,
      ...(message.retain && { retains: true }),
      ...(kept && { receipt: storedReceipt(from, receipt, message) }),
      ...(isNoted && { willOf: from.key }),
    })
  }

  #retain(now: Instant, message: Publish): void {
    const { retained } = this.#context
    // An empty payload deletes the retained message, and is not retained itself (MQTT-3.3.1-6, -7).
    // [MQTT-3.3.1-7]
    if (message.payloadLength === 0) {
      // [MQTT-3.3.1-6]
      retained.delete(message.topic)
      return
    }
    message.own()
    message.acceptedAt = Math.floor(now / 1000)
    // [MQTT-3.3.1-5] [3.1.1 MQTT-3.3.1-5]
    retained.set(message.topic, message)
  }

  #hasRoomToRetain(now: Instant, from: Session, message: Publish, freed: number): boolean {
    this.full = retainedFull(this.#context, now, from, message)
    this.over = this.full === undefined ? overRetainedMemory(this.#context, from, message, freed) : undefined
    return this.full === undefined && this.over === undefined
  }

  #deliver(
    now: Instant,
    from: Session | undefined,
    message: Publish,
    targets: readonly Target[],
    crowded?: Crowded | undefined,
  ): void {
    const { limits, stats, memory } = this.#context
    for (let i = 0; i < targets.length; i++) {
      const all = targets[i]!
      const target = all.session === from ? all.own : all
      if (target === undefined) continue
      const { session } = target
      const qos = this.effectiveQos(target, message)
      // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
      const retain = message.retain && target.retainAsPublished
      // [MQTT-4.5.0-1] [3.1.1 MQTT-3.1.2-5]
      if (qos === 0 && session.link === undefined && (!limits.queueQos0Messages || from === undefined)) {
        // QoS 0 is not queued for absent clients, as with Mosquitto's queue_qos0_messages false. It is counted, but
        // expected, so there is no notice.
        if (from !== undefined) stats.publishDropped++
        continue
      }
      if (!hasRoom(this.#context, now, session, message, qos)) {
        this.dropNewest(session, message)
        continue
      }
      const waits = session.link?.listening !== true
      if (crowded !== undefined || (waits && qos === 0)) {
        const over = qos === 0 ? memory.refusal(session, message.weight + WAITING_BYTES) : crowded?.get(session)
        if (over !== undefined) {
          this.dropNewest(session, message, 1, over)
          continue
        }
      }
      if (qos > 0 || waits) {
        message.own()
        message.acceptedAt = Math.floor(now / 1000)
      }
      const plain = qos === 0 && !retain && target.subscriptionIdentifiers === undefined
      session
        .openQueue()
        .push(plain ? message : new Queued(message, qos, retain, target.subscriptionIdentifiers, target.share), waits)
      if (waits || (qos > 0 && isHeavy(session, 0))) this.#keptWaiting(session, message)
      if (message.expiresAt !== undefined) this.#context.expiry.queued(session, message.expiresAt)
      this.work++
      if (qos > 0 && isFuller(limits, session, HIGH_WATER) && isWorthWaitingFor(this.#context, now, session))
        this.pressed = session
      this.#markReady(session)
    }
  }

  /**
   * Counts the message of a client that does not read, or acknowledge, towards the shares immediately. A message of the broker is
   * no news about a sensor: presence that waits for a sleeper would lead to more presence, without end.
   */
  #keptWaiting(session: Session, message: Publish): void {
    session.queue!.waited = true
    if (session.kind === 'sn' && message.from !== '') this.#context.live.waits?.(session.clientId)
    this.#context.memory.shares.grow(session, message.weight + WAITING_BYTES)
  }

  /**
   * The QoS of a delivery: the lower of published and granted, unless upgrade_outgoing_qos is set. $SYS messages always have QoS
   * 0.
   */
  effectiveQos({ qos }: { readonly qos: QoS }, message: Publish): QoS {
    // [MQTT-3.8.4-8]
    return qos > message.qos && (!this.#context.limits.upgradeOutgoingQos || message.from === '') ? message.qos : qos
  }

  /** Counts and reports `count` messages that found no room in a queue. */
  dropNewest(session: Session, message: Pick<Publish, 'topic'>, count = 1, over?: OverMemory): void {
    this.#context.stats.publishDropped += count
    this.#context.notice({
      code: 'queue-full',
      level: 'warn',
      client: session.key,
      reason: `message on ${message.topic} dropped: ${over?.reason ?? `${session.queueLength} messages, ${session.queuedBytes} bytes wait`}`,
      count,
      limit: over?.limit ?? fullOf(this.#context.limits, session),
    })
  }
}

/** Why a message is refused for want of memory of its receivers. The notice is about the publisher, so the first receiver is named. */
function refusalFor(crowded: Crowded): OverMemory {
  const [{ key }, over] = crowded.entries().next().value!
  if (over.limit === 'memory_limit') return over
  const others = crowded.size === 1 ? '' : ` and ${crowded.size - 1} more`
  return { ...over, reason: `receiver ${plainName(key)}${others}: ${over.reason}` }
}

function storedDelivery(
  session: Session,
  qos: QoS,
  retain: boolean,
  identifiers: readonly number[] | undefined,
  share: string | undefined,
): StoredDelivery {
  return {
    key: session.key,
    qos,
    retain,
    ...(identifiers !== undefined && { subscriptionIdentifiers: identifiers }),
    ...(share !== undefined && { share }),
  }
}

/** Removes the properties of an incoming PUBLISH that are not forwarded (MQTT-3.3.2-5 ff.). */
export function forwardedProperties(message: Publish): void {
  if (message.properties === NO_PROPERTIES) return
  // [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]
  const { topicAlias: _alias, ...travelling } = message.properties
  message.properties = travelling
}
