import type { Instant } from '../base/machine.ts'
import type { Lsn } from '../base/store.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { ProtocolVersion, QoS, Subscribe, SubscriptionRequest, Unsubscribe } from '../mqtt/packets.ts'
import type { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { isSysTopic, realFilter, sharedFilter, topicFilterError } from '../mqtt/topics.ts'
import type { BrokerContext } from './context.ts'
import { exceedsLevels, isTooLong } from './limits.ts'
import type { Publisher } from './publisher.ts'
import type { Session, Subscription } from './session.ts'
import { storedSubscription } from './stored.ts'

/** What became of a SUBSCRIBE or UNSUBSCRIBE: a code per filter, in order, and what the acknowledgement waits for. */
export interface Answer {
  readonly reasonCodes: number[]
  readonly lsn: Lsn
  /** For people: why something was refused. */
  readonly reason?: string | undefined
}

/** What the conversation says about a SUBSCRIBE. */
export interface SubscribeTerms {
  /** Highest QoS that is granted. */
  readonly maximumQos: QoS
  readonly version: ProtocolVersion
}

const REFUSALS: ReadonlyMap<number, string> = new Map([
  [ReasonCode.TOPIC_FILTER_INVALID, 'the topic filter is not valid, or too long (max_topic_levels)'],
  [ReasonCode.QUOTA_EXCEEDED, 'too many subscriptions (max_subscriptions_per_session)'],
  [ReasonCode.NOT_AUTHORIZED, 'not allowed'],
])

/** SUBSCRIBE and UNSUBSCRIBE [5.0 sections 3.8, 3.10]. */
export class Subscriber {
  readonly #context: BrokerContext
  readonly #publisher: Publisher

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context
    this.#publisher = publisher
  }

  /** 'full': the store cannot record what the acknowledgement would vouch for. */
  subscribe(now: Instant, session: Session, packet: Subscribe, { maximumQos, version }: SubscribeTerms): Answer | 'full' {
    const identifier = packet.properties.subscriptionIdentifiers?.[0]
    const reasonCodes: number[] = []
    let lsn = 0
    let reason: string | undefined
    for (const asked of packet.subscriptions) {
      const request = asked.qos > maximumQos ? { ...asked, qos: maximumQos } : asked
      const refusal = this.#refusal(session, request)
      if (refusal !== 0) {
        // 3.1 cannot say no: what is refused is acknowledged as if it were granted, and nothing ever comes of it [3.1 section 3.8].
        reasonCodes.push(version === 3 ? request.qos : refusal)
        reason ??= REFUSALS.get(refusal)
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
      if (done === 'unrecorded' && version > 3) {
        reasonCodes.push(ReasonCode.QUOTA_EXCEEDED)
        reason ??= 'the store is full'
        continue
      }
      if (done === 'unrecorded' || done === 'full') return 'full'
      lsn = Math.max(lsn, done)
      // The granted QoS [5.0 section 3.9.3].
      reasonCodes.push(request.qos)
    }
    return { reasonCodes, lsn, reason }
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
    if (topicFilterError(filter) !== '' || isTooLong(filter, limits.maxTopicLevels)) return ReasonCode.TOPIC_FILTER_INVALID
    // MQTT-4.8.2-1, -2
    if (sharedFilter(filter) === 'invalid') return ReasonCode.TOPIC_FILTER_INVALID
    const { subscriptions } = session
    if (subscriptions !== undefined && subscriptions.size >= limits.maxSubscriptionsPerSession && !subscriptions.has(filter)) {
      return ReasonCode.QUOTA_EXCEEDED
    }
    return access.subscribe(session, realFilter(filter)) ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  /** 'unrecorded': nothing has happened; 'full': it has, but not all retained messages could be recorded. */
  #subscribe(
    now: Instant,
    session: Session,
    request: SubscriptionRequest,
    identifier: number | undefined,
  ): Lsn | 'unrecorded' | 'full' {
    const { access, retained, sysRetained } = this.#context
    const subscription: Subscription = { ...request, subscriptionIdentifier: identifier }
    let lsn: Lsn | 'full' = 0
    if (session.persistent) {
      const { filter } = request
      lsn = this.#context.store.append({ type: 'subscribe', key: session.key, filter, options: storedSubscription(subscription) })
      if (lsn === 'full') return 'unrecorded'
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
