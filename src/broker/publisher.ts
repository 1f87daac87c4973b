import type { Instant } from '../base/machine.ts'
import type { Lsn, StoredDelivery } from '../base/store.ts'
import type { QoS } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import { exceedsLevels } from './limits.ts'
import type { Target } from './router.ts'
import { messageBytes, Queued, qosOf, type Session } from './session.ts'
import { storedMessage } from './stored.ts'

/** A message is taken in from a client (or from a will), recorded where that is owed, and put before everybody who subscribed. */
export class Publisher {
  /** Messages queued since the last `takeQueued`: says when it is time to write before reading on. */
  #queued = 0
  #nextMessageId = 1
  readonly #context: BrokerContext
  readonly #markReady: (session: Session) => void

  constructor(context: BrokerContext, markReady: (session: Session) => void) {
    this.#context = context
    this.#markReady = markReady
  }

  takeQueued(): number {
    const queued = this.#queued
    this.#queued = 0
    return queued
  }

  get queued(): number {
    return this.#queued
  }

  /** A name for a message in the store, never given before. */
  nextMessageId(): number {
    return this.#nextMessageId++
  }

  /** After a restart: ids go on above everything that the store names. */
  skipMessageIds(upTo: number): void {
    this.#nextMessageId = Math.max(this.#nextMessageId, upTo + 1)
  }

  /** Why this client may not publish this, as an MQTT 5 reason code; 0 if it may. */
  refusal(from: Session, message: Publish): number {
    if (exceedsLevels(message.topic, this.#context.limits.maxTopicLevels)) return 0x90
    if (message.retain && message.payloadLength > 0 && !this.#hasRoomToRetain(message)) return 0x97
    return this.#context.access.publish(from, message.topic) ? 0 : 0x87
  }

  /**
   * Takes a message in. The Lsn is what its acknowledgement has to wait for; 'full' means that nothing happened, because the
   * store cannot record it. `receipt` is the packet id of a QoS 2 publisher.
   */
  accept(now: Instant, from: Session, message: Publish, receipt: number): Lsn | 'full' {
    message.from = from.key
    const expiry = message.properties.messageExpiryInterval
    if (expiry !== undefined) message.expiresAt = now + expiry * 1000
    const targets = this.#context.router.route(message.topic)
    const lsn = message.qos === 0 && !message.retain ? 0 : this.#record(from, message, targets, receipt)
    if (lsn === 'full') return 'full'
    // A receipt that a crash forgets makes the publisher send again: nobody may have seen the message by then.
    if (message.qos === 2) message.receiptLsn = lsn
    if (message.retain) this.#retain(message)
    this.#deliver(from, message, targets)
    return lsn
  }

  /** How many sessions the last accepted topic reaches, for reason code 0x10. */
  reaches(topic: string): boolean {
    return this.#context.router.route(topic).length > 0
  }

  /** Queues a retained message for a new subscription; as its own stored message, so that SUBACK can vouch for it. */
  deliverRetained(session: Session, message: Publish, qos: QoS, identifiers: readonly number[] | undefined): Lsn | 'full' {
    // All retained messages at once may exceed what else may wait, but not again and again for a client that does not read.
    const { maxQueuedMessages, maxRetainedMessages } = this.#context.limits
    if (session.queueLength >= maxQueuedMessages + maxRetainedMessages) {
      this.#dropNewest(session, message)
      return 0
    }
    let own = message
    let lsn: Lsn | 'full' = 0
    if (qos > 0 && session.persistent) {
      own = message.copy()
      own.id = this.nextMessageId()
      lsn = this.#context.store.append({
        type: 'message',
        id: own.id,
        message: storedMessage(this.#context.clock, own),
        deliveries: [storedDelivery(session, qos, true, identifiers)],
      })
      if (lsn === 'full') return 'full'
    }
    session.enqueue(new Queued(own, qos, true, identifiers))
    this.#queued++
    this.#markReady(session)
    return lsn
  }

  #record(from: Session, message: Publish, targets: readonly Target[], receipt: number): Lsn | 'full' {
    const { store, clock } = this.#context
    const deliveries: StoredDelivery[] = []
    for (const all of targets) {
      const target = all.session === from ? all.own : all
      if (target === undefined || !target.session.persistent) continue
      const { session, qos, retainAsPublished, subscriptionIdentifiers } = target
      const effective = Math.min(qos, message.qos) as QoS
      if (effective === 0 || this.#isOverBound(session, message)) continue
      deliveries.push(storedDelivery(session, effective, message.retain && retainAsPublished, subscriptionIdentifiers))
    }
    const kept = receipt > 0 && from.persistent
    if (deliveries.length === 0 && !kept && !message.retain) return 0
    message.id = this.nextMessageId()
    return store.append({
      type: 'message',
      id: message.id,
      message: storedMessage(clock, message),
      deliveries,
      ...(message.retain && { retains: true }),
      ...(kept && { receipt: { key: from.key, packetId: receipt } }),
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

  #hasRoomToRetain(message: Publish): boolean {
    const { retained, limits } = this.#context
    const old = retained.get(message.topic)
    const count = retained.count + (old === undefined ? 1 : 0)
    const bytes = retained.bytes + messageBytes(message) - (old === undefined ? 0 : messageBytes(old))
    return count <= limits.maxRetainedMessages && bytes <= limits.maxRetainedBytes
  }

  #deliver(from: Session, message: Publish, targets: readonly Target[]): void {
    for (let i = 0; i < targets.length; i++) {
      const all = targets[i]!
      const target = all.session === from ? all.own : all
      if (target === undefined) continue
      const { session } = target
      const qos = Math.min(target.qos, message.qos) as QoS
      const retain = message.retain && target.retainAsPublished
      if (qos === 0 && session.link === undefined) {
        // QoS 0 is not kept for those who are away, as Mosquitto's queue_qos0_messages false; counted, and no surprise worth a Notice.
        this.#context.stats.publishDropped++
        continue
      }
      if (this.#isOverBound(session, message, qos)) {
        this.#dropNewest(session, message)
        continue
      }
      if (qos > 0 || !session.link!.listening) message.own()
      const plain = qos === 0 && !retain && target.subscriptionIdentifiers === undefined
      session.enqueue(plain ? message : new Queued(message, qos, retain, target.subscriptionIdentifiers))
      this.#queued++
      this.#markReady(session)
    }
  }

  /** A client that takes QoS 0 as it comes is bounded by bytes alone: its queue is emptied at the end of the turn. */
  #isOverBound(session: Session, message: Publish, qos: QoS = 1): boolean {
    const { maxQueuedMessages, maxQueuedBytes } = this.#context.limits
    if (session.queuedBytes + messageBytes(message) > maxQueuedBytes && session.queueLength > 0) return true
    return session.queueLength >= maxQueuedMessages && (qos > 0 || session.link?.listening !== true)
  }

  #dropNewest(session: Session, message: Publish): void {
    this.#context.stats.publishDropped++
    this.#context.notice({
      code: 'queue-full',
      level: 'warn',
      client: session.key,
      reason: `message on ${message.topic} dropped: ${session.queueLength} messages, ${session.queuedBytes} bytes wait (max_queued_messages, max_queued_bytes)`,
      count: 1,
    })
  }

  /** The conversation ended: QoS 0 that was on its way goes with it, the rest must not hold read buffers in memory. */
  detach(session: Session): void {
    this.#context.stats.publishDropped += session.filterQueue((entry) => {
      if (qosOf(entry) === 0) return false
      if (entry instanceof Queued) entry.message.own()
      return true
    })
  }
}

function storedDelivery(session: Session, qos: QoS, retain: boolean, identifiers: readonly number[] | undefined): StoredDelivery {
  return { key: session.key, qos, retain, ...(identifiers !== undefined && { subscriptionIdentifiers: identifiers }) }
}

/** What of an incoming PUBLISH's properties travels on (MQTT-3.3.2-5 ff.): not those of this one hop. */
export function forwardedProperties(message: Publish): void {
  if (message.properties === NO_PROPERTIES) return
  const { topicAlias: _alias, subscriptionIdentifiers: _identifiers, ...travelling } = message.properties
  message.properties = travelling
}
