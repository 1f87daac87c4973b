import type { Instant } from '../base/machine.ts'
import type { OverMemory } from '../base/memory.ts'
import { WAITING_BYTES } from '../base/memory-costs.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import { Held, Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { isReservedTopic } from '../mqtt/topics.ts'
import type { Lsn, StoredDelivery } from '../store/store.ts'
import { mayPublish } from './access.ts'
import type { BrokerContext } from './context.ts'
import { exceedsLevels, isTooLong, queueBound } from './limits.ts'
import { fits, fullOf, hasRoom, isFuller, isWorthWaitingFor, waits } from './queue-room.ts'
import { fitsRetained, overRetainedMemory } from './retained-room.ts'
import type { Route, Target } from './router.ts'
import { messageOf, Queued, qosOf, type Session } from './session.ts'
import type { Room } from './share-group.ts'
import { storedMessage } from './stored.ts'
import type { Looked } from './topic-tree.ts'

/** Part of a full queue above which its publishers are slowed down, as long as its client keeps reading. */
const HIGH_WATER = 0.75

/** Sessions for which a message cannot wait, and why. */
type Crowded = ReadonlyMap<Session, OverMemory>

const ENCODER = new TextEncoder()

/** Who gets a message, and who of them another copy of it. */
interface Receivers {
  readonly targets: readonly Target[]
  readonly again?: readonly Target[]
}

/** A message is taken in from a client (or from a will), recorded where that is owed, and put before everybody who subscribed. */
export class Publisher {
  /** The receiver of the last accepted message whose queue is nearly full and moves: whoever fills it had better wait. */
  pressed: Session | undefined = undefined
  /** Why memory had no room for the last message, where `refusal` or `accept` says so. */
  over: OverMemory | undefined = undefined
  /** Whether the last message that was accepted had any receivers, for reason code 0x10. */
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

  /** Messages queued since the last `takeQueued`: says when it is time to write before reading on. */
  get queued(): number {
    return this.work - this.#taken
  }

  /** A name for a message in the store, never given before. */
  nextMessageId(): number {
    return this.#nextMessageId++
  }

  /** After a restart: ids go on above everything that the store names. */
  skipMessageIds(upTo: number): void {
    this.#nextMessageId = Math.max(this.#nextMessageId, upTo + 1)
  }

  /**
   * Why this client may not publish this, as an MQTT 5 reason code; 0 if it may. `isBridge`: its CONNECT said so. `freed`: bytes that it gives back with
   * that, because the message is its will.
   */
  refusal(now: Instant, from: Session, message: Publish, isBridge: boolean, freed = 0): number {
    const { limits, access } = this.#context
    const { topic } = message
    const isReserved = isReservedTopic(topic)
    if (isReserved && !mayPublish(access, from, topic, isBridge)) return ReasonCode.NOT_AUTHORIZED
    if (isTooLong(topic, limits.maxTopicLevels)) return ReasonCode.TOPIC_NAME_INVALID
    if (message.payloadLength > limits.messageSizeLimit) return ReasonCode.QUOTA_EXCEEDED
    if (message.retain && message.payloadLength > 0 && !this.#hasRoomToRetain(now, from, message, freed))
      return ReasonCode.QUOTA_EXCEEDED
    return isReserved || access.publish(from, topic) ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  /** The bound behind a refusal of this message, by its key; none if it is not allowed for other reasons. */
  refusedBy(message: Publish, reasonCode: number): string | undefined {
    const { limits, retained } = this.#context
    if (reasonCode === ReasonCode.TOPIC_NAME_INVALID) {
      return exceedsLevels(message.topic, limits.maxTopicLevels) ? 'max_topic_levels' : undefined
    }
    if (reasonCode !== ReasonCode.QUOTA_EXCEEDED) return undefined
    if (message.payloadLength > limits.messageSizeLimit) return 'message_size_limit'
    if (this.over !== undefined) return this.over.limit
    const isNew = retained.get(message.topic) === undefined
    return isNew && retained.count >= limits.maxRetainedMessages ? 'max_retained_messages' : 'max_retained_bytes'
  }

  /**
   * Takes a message in. The Lsn is what its acknowledgement has to wait for; 'full' means that nothing happened, because the
   * store cannot record it, or because of `over`. `receipt` is the packet id of a QoS 2 publisher.
   */
  accept(now: Instant, from: Session, message: Publish, receipt: number, isWill = false): Lsn | 'full' {
    this.pressed = undefined
    this.over = undefined
    message.author = from.author
    const expiry = message.properties.messageExpiryInterval
    // 0 is for whoever listens now: nothing lives for less than the second that it is counted in.
    if (expiry !== undefined) message.expiresAt = now + Math.max(1, expiry) * 1000
    const route = this.#context.router.route(message.topic)
    if (message.qos > 0) this.reached = route.targets.length > 0 || route.shared.some(({ members }) => members.length > 0)
    const { targets, again } = this.#receivers(route, message)
    const mayCrowd = message.qos > 0 && this.#anyWaits(now, targets)
    const crowded = mayCrowd ? this.#crowded(now, from, message, targets, isWill) : undefined
    if (crowded === 'all') return 'full'
    const isKept = message.qos > 0 || message.retain || isWill
    const lsn = isKept ? this.#record(now, from, message, targets, receipt, crowded, isWill) : 0
    if (lsn === 'full') return 'full'
    // A receipt that a crash forgets makes the publisher send again: nobody may have seen the message by then.
    if (message.qos === 2) message.receiptLsn = lsn
    if (message.retain) this.#retain(message)
    this.#deliver(now, from, message, targets, crowded)
    if (again === undefined) return lsn
    return again.reduce((last, target) => Math.max(last, this.#deliverAgain(now, target, message)), lsn)
  }

  /**
   * Those with whom the message would have to wait, and for whom there is no memory; 'all' if nobody else gets it, and it is not retained: then it is
   * refused, and whoever sent it keeps it. For the others their queue is full. Nobody is there to keep a will.
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
      const over = waits(this.#context, now, session) ? memory.refusal(session, message.weight + WAITING_BYTES) : undefined
      if (over === undefined) any = true
      else {
        crowded ??= new Map()
        crowded.set(session, over)
        this.over = over
      }
    }
    return crowded === undefined || any ? crowded : 'all'
  }

  #anyWaits(now: Instant, targets: readonly Target[]): boolean {
    for (let i = 0; i < targets.length; i++) if (waits(this.#context, now, targets[i]!.session)) return true
    return false
  }

  #deliverAgain(now: Instant, target: Target, message: Publish): Lsn {
    const lsn = this.deliverCopy(now, target, message)
    if (lsn !== 'full') return lsn
    this.dropNewest(target.session, message)
    return 0
  }

  /**
   * A topic of the broker's own: QoS 0, because the next value replaces this one. It is retained apart from what clients retain, goes to no
   * store, and whoever is away misses it.
   */
  publishSys(now: Instant, topic: string, value: string): void {
    const { router, sysRetained } = this.#context
    const message = Publish.of(topic, ENCODER.encode(value), 0, true)
    message.owned = true
    sysRetained.set(topic, message)
    const route = router.route(topic)
    const { targets } = this.#receivers(route, message)
    this.#deliver(now, undefined, message, targets)
  }

  /** All retained messages at once may exceed what else may wait, but not again and again for a client that does not read. */
  hasRoomForRetained({ kind, queueLength, queuedBytes }: Session): boolean {
    const { limits } = this.#context
    const { maxRetainedMessages, maxQueuedBytes, maxRetainedBytes } = limits
    return queueLength < queueBound(limits, kind) + maxRetainedMessages && queuedBytes <= maxQueuedBytes + maxRetainedBytes
  }

  /** Queues a retained message for a new subscription; as its own stored message, so that SUBACK can vouch for it. */
  deliverRetained(session: Session, message: Publish, qos: QoS, identifiers: readonly number[] | undefined): Lsn | 'full' {
    return this.#queueAlone(session, message, qos, true, identifiers, undefined, true)
  }

  /** One more copy of a message, with a record of its own; returns what its acknowledgement waits for. */
  deliverCopy(now: Instant, target: Target, message: Publish): Lsn | 'full' {
    const { session, retainAsPublished, subscriptionIdentifiers, share } = target
    const qos = this.effectiveQos(target, message)
    if (hasRoom(this.#context, now, session, message, qos)) {
      message.own()
      const retain = message.retain && retainAsPublished
      return this.#queueAlone(session, message, qos, retain, subscriptionIdentifiers, share)
    }
    this.dropNewest(session, message)
    return 0
  }

  /** Queues a message for one session, recorded under a name of its own. */
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
    if (qos > 0 && session.persistent) {
      // Both are in one buffer.
      message.held ??= new Held()
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
    if (isRetained) session.enqueueRetained(entry)
    else session.enqueue(entry, waits)
    if (waits) this.#keptWaiting(session, own)
    this.#context.expiry.queued(session, own.expiresAt)
    this.work++
    this.#markReady(session)
    return lsn
  }

  /**
   * All receivers of a topic, with the chosen member of each shared subscription. `again`: those who get a copy by another subscription
   * already; the store tells the copies of one session apart by their names, so each needs its own.
   */
  #receivers(route: Route, message: Publish): Receivers {
    if (route.shared.length === 0) return route
    const all = [...route.targets]
    const again: Target[] = []
    for (const { group, members } of route.shared) {
      const member = group.pick(members, message, this.room)
      if (member === undefined) continue
      const recorded = member.session.persistent && this.effectiveQos(member, message) > 0
      if (recorded && all.some(({ session }) => session === member.session)) again.push(member)
      else all.push(member)
    }
    return { targets: all, again }
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
      ...(kept && { receipt: { key: from.key, packetId: receipt } }),
      ...(isNoted && { willOf: from.key }),
    })
  }

  #retain(message: Publish): void {
    const { retained } = this.#context
    // An empty payload clears the topic and is itself not kept (MQTT-3.3.1-6, -7).
    if (message.payloadLength === 0) {
      retained.delete(message.topic)
      return
    }
    message.own()
    retained.set(message.topic, message)
  }

  #hasRoomToRetain(now: Instant, from: Session, message: Publish, freed: number): boolean {
    const fits = fitsRetained(this.#context, now, message)
    this.over = fits ? overRetainedMemory(this.#context, from, message, freed) : undefined
    return fits && this.over === undefined
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
      const retain = message.retain && target.retainAsPublished
      if (qos === 0 && session.link === undefined && (!limits.queueQos0Messages || from === undefined)) {
        // QoS 0 is not kept for those who are away, as Mosquitto's queue_qos0_messages false; counted, and no surprise worth a Notice.
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
      if (qos > 0 || waits) message.own()
      const plain = qos === 0 && !retain && target.subscriptionIdentifiers === undefined
      session.enqueue(plain ? message : new Queued(message, qos, retain, target.subscriptionIdentifiers, target.share), waits)
      if (waits) this.#keptWaiting(session, message)
      if (message.expiresAt !== undefined) this.#context.expiry.queued(session, message.expiresAt)
      this.work++
      if (qos > 0 && isFuller(limits, session, HIGH_WATER) && isWorthWaitingFor(now, session)) this.pressed = session
      this.#markReady(session)
    }
  }

  /** The shares know at once of what waits for those who are away. */
  #keptWaiting(session: Session, message: Publish): void {
    session.waited = true
    this.#context.memory.shares.grow(session, message.weight + WAITING_BYTES)
  }

  /** The QoS with which a message goes to who was granted `qos`; what the broker tells of itself is from nobody, and stays QoS 0. */
  effectiveQos({ qos }: { readonly qos: QoS }, message: Publish): QoS {
    return qos > message.qos && (!this.#context.limits.upgradeOutgoingQos || message.from === '') ? message.qos : qos
  }

  /** What cannot wait, and so many in all. */
  dropNewest(session: Session, message: Publish, count = 1, over?: OverMemory): void {
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

  /** The conversation ended: QoS 0 that was on its way goes with it, the rest must not hold read buffers in memory. */
  detach(session: Session): void {
    const { queueQos0Messages } = this.#context.limits
    this.#context.stats.publishDropped += session.filterQueue((entry) => {
      if (qosOf(entry) === 0 && !queueQos0Messages) return false
      const message = messageOf(entry)
      if (message.owned) return true
      message.own()
      this.#context.holdings.recount(message)
      return true
    })
  }
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

/** What of an incoming PUBLISH's properties travels on (MQTT-3.3.2-5 ff.): not those of this one hop. */
export function forwardedProperties(message: Publish): void {
  if (message.properties === NO_PROPERTIES) return
  const { topicAlias: _alias, ...travelling } = message.properties
  message.properties = travelling
}
