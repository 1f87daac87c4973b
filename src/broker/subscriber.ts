import type { Instant } from '../base/machine.ts'
import type { Lsn } from '../base/store.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { QoS, Subscribe, SubscriptionRequest, Unsubscribe } from '../mqtt/packets.ts'
import type { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { isSysTopic, realFilter, sharedFilter, topicFilterError } from '../mqtt/topics.ts'
import type { BrokerContext } from './context.ts'
import { exceedsLevels } from './limits.ts'
import type { Publisher } from './publisher.ts'
import type { Session, Subscription } from './session.ts'
import { storedSubscription } from './stored.ts'

/** What became of a SUBSCRIBE or UNSUBSCRIBE: a code per filter, in order, and what the acknowledgement waits for. */
export interface Answer {
  readonly reasonCodes: number[]
  readonly lsn: Lsn
}

/** SUBSCRIBE and UNSUBSCRIBE [5.0 sections 3.8, 3.10]. */
export class Subscriber {
  readonly #context: BrokerContext
  readonly #publisher: Publisher

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context
    this.#publisher = publisher
  }

  subscribe(now: Instant, session: Session, packet: Subscribe, maximumQos: QoS): Answer {
    const identifier = packet.properties.subscriptionIdentifiers?.[0]
    const reasonCodes: number[] = []
    let lsn = 0
    for (const asked of packet.subscriptions) {
      const request = asked.qos > maximumQos ? { ...asked, qos: maximumQos } : asked
      const refusal = this.#refusal(session, request)
      if (refusal !== 0) {
        reasonCodes.push(refusal)
        this.#context.notice({
          code: 'subscribe-refused',
          level: 'info',
          client: session.key,
          reason: `${request.filter}: reason code 0x${refusal.toString(16)}`,
          ...refusedBy(refusal, request.filter, this.#context.limits.maxTopicLevels),
        })
        continue
      }
      const done = this.#subscribe(now, session, request, identifier)
      if (done === 'full') {
        reasonCodes.push(ReasonCode.QUOTA_EXCEEDED)
        continue
      }
      lsn = Math.max(lsn, done)
      // The granted QoS [5.0 section 3.9.3].
      reasonCodes.push(request.qos)
    }
    return { reasonCodes, lsn }
  }

  unsubscribe(session: Session, packet: Unsubscribe): Answer | 'full' {
    const reasonCodes: number[] = []
    let lsn = 0
    for (const filter of packet.filters) {
      if (!session.subscriptions?.has(filter)) {
        reasonCodes.push(ReasonCode.NO_SUBSCRIPTION_EXISTED)
        continue
      }
      if (session.persistent) {
        const appended = this.#context.store.append({ type: 'unsubscribe', key: session.key, filter })
        if (appended === 'full') return 'full'
        lsn = appended
      }
      this.#context.router.unsubscribe(session, filter)
      reasonCodes.push(ReasonCode.SUCCESS)
    }
    return { reasonCodes, lsn }
  }

  #refusal(session: Session, { filter }: SubscriptionRequest): number {
    const { limits, access } = this.#context
    if (topicFilterError(filter) !== '' || exceedsLevels(filter, limits.maxTopicLevels)) return ReasonCode.TOPIC_FILTER_INVALID
    // MQTT-4.8.2-1, -2
    if (sharedFilter(filter) === 'invalid') return ReasonCode.TOPIC_FILTER_INVALID
    const { subscriptions } = session
    if (subscriptions !== undefined && subscriptions.size >= limits.maxSubscriptionsPerSession && !subscriptions.has(filter)) {
      return ReasonCode.QUOTA_EXCEEDED
    }
    return access.subscribe(session, realFilter(filter)) ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  #subscribe(now: Instant, session: Session, request: SubscriptionRequest, identifier: number | undefined): Lsn | 'full' {
    const { access, retained, sysRetained } = this.#context
    const subscription: Subscription = { ...request, subscriptionIdentifier: identifier }
    let lsn: Lsn | 'full' = 0
    if (session.persistent) {
      const { filter } = request
      lsn = this.#context.store.append({ type: 'subscribe', key: session.key, filter, options: storedSubscription(subscription) })
      if (lsn === 'full') return 'full'
    }
    const isNew = this.#context.router.subscribe(session, subscription)
    // Retained messages are not for shared subscriptions [5.0 section 4.8.2].
    if (request.retainHandling === 2 || (request.retainHandling === 1 && !isNew) || sharedFilter(request.filter) !== undefined)
      return lsn
    const identifiers = identifier === undefined ? undefined : [identifier]
    for (const message of (isSysTopic(request.filter) ? sysRetained : retained).match(request.filter)) {
      if (message.expiresAt !== undefined && message.expiresAt <= now) {
        retained.delete(message.topic)
        continue
      }
      if (request.noLocal && message.from === session.key) continue
      if (!access.read(session, message.topic) || !this.#mayStillRetain(message)) continue
      const qos = this.#publisher.effectiveQos(request, message)
      const delivered = this.#publisher.deliverRetained(session, message, qos, identifiers)
      if (delivered === 'full') return 'full'
      lsn = Math.max(lsn, delivered)
    }
    return lsn
  }

  /** A retained message may outlive its publisher's right to publish it (`check_retain_source`). */
  #mayStillRetain({ topic, from, source }: Publish): boolean {
    const { access, limits } = this.#context
    if (!limits.checkRetainSource || source === undefined) return true
    const colon = from.indexOf(':')
    const { username, listener, rights } = source
    const who = {
      kind: from.slice(0, colon) as ClientKind,
      clientId: from.slice(colon + 1),
      username,
      listener,
      grant: rights === undefined ? undefined : access.restored(rights),
      certified: false,
    }
    return access.publish(who, topic)
  }
}

/** The bound behind a refusal, if there is one. */
function refusedBy(reasonCode: number, filter: string, maxTopicLevels: number): { limit?: string } {
  if (reasonCode === ReasonCode.QUOTA_EXCEEDED) return { limit: 'max_subscriptions_per_session' }
  const isTooDeep = reasonCode === ReasonCode.TOPIC_FILTER_INVALID && exceedsLevels(filter, maxTopicLevels)
  return isTooDeep ? { limit: 'max_topic_levels' } : {}
}
