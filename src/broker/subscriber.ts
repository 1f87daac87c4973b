import type { Instant } from '../base/machine.ts'
import { memoryWords, type OverMemory } from '../base/memory.ts'
import { WAITING_BYTES } from '../base/memory-costs.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { Author } from '../mqtt/author.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Subscribe, SubscriptionRequest, Unsubscribe } from '../mqtt/packets.ts'
import { type ProtocolVersion, Publish, type QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { exceedsLevels, hasWildcard, isSysTopic, realFilter, sharedFilter, topicFilterError } from '../mqtt/topics.ts'
import type { Lsn, SessionKey, StoredOwner } from '../store/store.ts'
import { type Identity, mayPublish } from './access.ts'
import { beginClient, Condition, type Conditions } from './conditions.ts'
import type { BrokerContext } from './context.ts'
import { isTooLong } from './limits.ts'
import { FoundLive } from './live-topics.ts'
import type { Publisher } from './publisher.ts'
import type { Work } from './requests.ts'
import { type CrowdedLimit, conditionBytes, filterBytes } from './router.ts'
import type { Session } from './session.ts'
import { storedSubscription } from './stored.ts'
import type { Subscription } from './subscription.ts'

/** The result of a SUBSCRIBE or UNSUBSCRIBE: a code per filter, in order, and the Lsn that the acknowledgement must wait for. */
export interface RequestResult {
  readonly reasonCodes: number[]
  readonly lsn: Lsn
  /** For people: why something was refused. */
  readonly reason?: string | undefined
}

/** What depends on the connection of a SUBSCRIBE. */
export interface SubscribeTerms {
  /** Highest QoS that is granted. */
  readonly maximumQos: QoS
  readonly link: SubscribingLink
}

interface SubscribingLink {
  readonly version: ProtocolVersion
  /** The client is a bridge of Mosquitto's kind. */
  readonly bridge: boolean
  /** Limits what its wildcards may examine among the retained messages; created when needed. */
  lookups: TokenBucket | undefined
}

/** Cost of a filter, and of a retained message that is queued, in levels examined. */
const FILTER_LOOKS = 16
const DELIVERY_LOOKS = 4
/** The same of a retained message that is found in the state of something else, and of making it: 2 us and 20 us at most. */
const LIVE_LOOKS = 2
const MAKE_LOOKS = 16
/** Of compiling a condition: 7 us for each character. */
const COMPILE_LOOKS = 8
/** Characters of the longest condition that is compiled. */
const COMPILED_MOST = 1024
/** Retained messages examined between two checks of what is left of the turn. */
const STEP_LOOKS = 64

/** A search for retained messages in progress. */
interface Search {
  readonly found: Iterator<Publish | FoundLive | undefined>
  readonly session: Session
  readonly subscription: Subscription
  /** What its connection may still examine. */
  readonly lookups: TokenBucket
  /** Of the current step. */
  cost: number
  /** The last record of what was queued; 'full': the store has no room for more. */
  lsn: Lsn | 'full'
  /** The first message that found no room, how many there were, and the limit of memory behind it. */
  lost: { readonly topic: string; count: number; readonly over: OverMemory | undefined } | undefined
}

/** Why a filter is refused, with the limit that it has reached. */
interface Refused {
  readonly reasonCode: number
  /** For SUBACK. */
  readonly reason: string
  /** For the log, which may say more. */
  readonly detail?: string
  readonly limit?: string
}

const INVALID: Refused = {
  reasonCode: ReasonCode.TOPIC_FILTER_INVALID,
  reason: 'the topic filter is not valid, or too long (max_topic_levels)',
}
const TOO_DEEP: Refused = { ...INVALID, limit: 'max_topic_levels' }
const TOO_MANY: Refused = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reason: 'too many subscriptions (max_subscriptions_per_session)',
  limit: 'max_subscriptions_per_session',
}
const TOO_COSTLY: Refused = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reason: 'too many retained messages to look through (max_retained_lookups_per_second)',
  limit: 'max_retained_lookups_per_second',
}
const TOO_MANY_CONDITIONS: Refused = {
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reason: 'too many subscriptions with a filter (max_conditions_per_session)',
  limit: 'max_conditions_per_session',
}
const refusedBy = (limit: CrowdedLimit): Refused => ({
  reasonCode: ReasonCode.QUOTA_EXCEEDED,
  reason: `too many filters that may match the same topic (${limit})`,
  limit,
})
// [MQTT-3.9.3-2]
const FORBIDDEN: Refused = { reasonCode: ReasonCode.NOT_AUTHORIZED, reason: 'not allowed' }

/**
 * Subscription options of a bridge that speaks MQTT 3: what it publishes does not come back to it, and what is retained stays so.
 * No Local has no meaning for a shared subscription (MQTT-3.8.3-4).
 */
export const bridgeOptions = (filter: string): { noLocal: boolean; retainAsPublished: true } => ({
  noLocal: sharedFilter(filter) === undefined,
  retainAsPublished: true,
})

/** The user property of SUBSCRIBE that carries a condition. */
export const FILTER_PROPERTY = 'filter'

/** The condition that a SUBSCRIBE asks for, held for the caller; or why every one of its filters is refused. */
function wantedCondition(conditions: Conditions, { properties }: Subscribe): Condition | Refused | undefined {
  const { userProperties } = properties
  if (userProperties === undefined) return undefined
  const texts = userProperties.filter(([name]) => name === FILTER_PROPERTY)
  if (texts.length === 0) return undefined
  if (texts.length > 1) return invalidCondition('a SUBSCRIBE can have one user property filter')
  const [, text] = texts[0]!
  const condition = conditions.acquire(text)
  if (condition === 'full')
    return { ...TOO_MANY_CONDITIONS, reason: 'too many different filters (max_conditions)', limit: 'max_conditions' }
  return 'error' in condition ? invalidCondition(`the user property filter is not valid: ${condition.error}`) : condition
}

/** Of compiling what a SUBSCRIBE asks for, also if it is refused: an error may be at the end. What is too long is not read. */
const compilingLooks = ({ properties }: Subscribe): number =>
  COMPILE_LOOKS * Math.min(COMPILED_MOST, properties.userProperties?.find(([name]) => name === FILTER_PROPERTY)?.[1].length ?? 0)

const invalidCondition = (reason: string): Refused => ({ reasonCode: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, reason })

/** SUBSCRIBE and UNSUBSCRIBE [5.0 sections 3.8, 3.10]. */
export class Subscriber {
  readonly #context: BrokerContext
  readonly #publisher: Publisher
  /** The authors of retained messages: rules are prepared for each. Clients may share an owner, so it is by author. */
  readonly #publishers = new WeakMap<Author, Identity>()

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context
    this.#publisher = publisher
  }

  /** 'full': the store has no room for what the acknowledgement would confirm. */
  *subscribe(began: Instant, session: Session, packet: Subscribe, terms: SubscribeTerms): Work<RequestResult | 'full'> {
    const condition = wantedCondition(this.#context.conditions, packet)
    if (condition === undefined) return yield* this.#subscribeAll(began, session, packet, terms, undefined)
    try {
      const now = yield compilingLooks(packet)
      return yield* this.#subscribeAll(now, session, packet, terms, condition)
    } finally {
      if (condition instanceof Condition) condition.release()
    }
  }

  /** `wanted`: the condition of all filters, or why there is none that is valid. */
  *#subscribeAll(
    began: Instant,
    session: Session,
    packet: Subscribe,
    { maximumQos, link }: SubscribeTerms,
    condition: Condition | Refused | undefined,
  ): Work<RequestResult | 'full'> {
    let now = began
    const { version, bridge } = link
    const identifier = packet.properties.subscriptionIdentifiers?.[0]
    const reasonCodes: number[] = []
    let lsn = 0
    let reason: string | undefined
    // [MQTT-3.8.4-5]
    for (const wanted of packet.subscriptions) {
      const asked = bridge ? { ...wanted, ...bridgeOptions(wanted.filter) } : wanted
      // [MQTT-3.2.2-10] [MQTT-3.8.4-7]
      const request = asked.qos > maximumQos ? { ...asked, qos: maximumQos } : asked
      now = yield FILTER_LOOKS
      const refused = this.#refused(now, session, request, link, condition)
      if (refused !== undefined) {
        // 3.1 has no way to refuse: a forbidden filter is acknowledged as granted, and never matches [3.1 section 3.8].
        // [MQTT-3.9.3-1]
        reasonCodes.push(version === 3 ? request.qos : refused.reasonCode)
        reason ??= refused.reason
        this.#context.notice({
          code: 'subscribe-refused',
          level: 'info',
          client: session.key,
          reason: `reason code 0x${refused.reasonCode.toString(16)}, ${refused.detail ?? refused.reason}: ${request.filter}`,
          ...(refused.limit !== undefined && { limit: refused.limit }),
        })
        continue
      }
      const own = condition instanceof Condition ? condition : undefined
      const done = yield* this.#subscribe(now, session, request, identifier, link, own)
      if (done === 'unrecorded' && version > 3) {
        reasonCodes.push(ReasonCode.QUOTA_EXCEEDED)
        reason ??= 'the store is full'
        continue
      }
      if (done === 'unrecorded' || done === 'full') return 'full'
      lsn = Math.max(lsn, done)
      // The granted QoS [5.0 section 3.9.3].
      // [MQTT-3.8.4-6]
      reasonCodes.push(request.qos)
    }
    return { reasonCodes, lsn, reason }
  }

  *unsubscribe(session: Session, packet: Unsubscribe): Work<RequestResult | 'full'> {
    const reasonCodes: number[] = []
    let lsn = 0
    // [MQTT-3.10.4-6]
    for (const filter of packet.filters) {
      yield FILTER_LOOKS
      if (!session.subscriptions?.has(filter)) {
        // [MQTT-3.11.3-1]
        reasonCodes.push(ReasonCode.NO_SUBSCRIPTION_EXISTED)
        continue
      }
      if (session.persistent) {
        const appended = this.#context.store.append({ type: 'unsubscribe', key: session.key, filter })
        if (appended === 'full') return 'full'
        lsn = appended
      }
      const { router } = this.#context
      const before = router.looked
      // [MQTT-3.10.4-1]
      router.unsubscribe(session, filter)
      yield router.looked - before
      // [MQTT-3.11.3-2]
      reasonCodes.push(ReasonCode.SUCCESS)
    }
    return { reasonCodes, lsn }
  }

  #refused(
    now: Instant,
    session: Session,
    request: SubscriptionRequest,
    link: SubscribingLink,
    condition: Condition | Refused | undefined,
  ): Refused | undefined {
    const { limits, access, router, memory } = this.#context
    if (condition !== undefined && !(condition instanceof Condition)) return condition
    const { filter } = request
    if (exceedsLevels(filter, limits.maxTopicLevels)) return TOO_DEEP
    // MQTT-4.8.2-1, -2
    if (topicFilterError(filter) !== '' || isTooLong(filter, limits.maxTopicLevels) || sharedFilter(filter) === 'invalid')
      return INVALID
    const { subscriptions } = session
    if (subscriptions !== undefined && subscriptions.size >= limits.maxSubscriptionsPerSession && !subscriptions.has(filter)) {
      return TOO_MANY
    }
    if (!access.subscribe(session, realFilter(filter), request.qos)) return FORBIDDEN
    const crowded = router.crowded(session, filter, limits)
    if (crowded !== undefined) return refusedBy(crowded)
    const before = subscriptions?.get(filter)
    if (
      condition !== undefined &&
      before?.condition === undefined &&
      router.conditionsOf(session) >= limits.maxConditionsPerSession
    )
      return TOO_MANY_CONDITIONS
    const more = (before === undefined ? filterBytes(filter) : 0) + conditionBytes(condition) - conditionBytes(before?.condition)
    const over = more <= 0 ? undefined : memory.refusal(session, more)
    if (over !== undefined) {
      const { reason: detail, limit } = over
      return { reasonCode: ReasonCode.QUOTA_EXCEEDED, reason: memoryWords(over), detail, limit }
    }
    const mayFind = request.retainHandling !== 2 && sharedFilter(filter) === undefined
    const isSearch = mayFind && (hasWildcard(filter) || this.#context.live.isSearch(filter))
    return isSearch && !this.#lookupsOf(link).has(now) ? TOO_COSTLY : undefined
  }

  /** Made for the first search: a client with filters of single topics needs none. */
  #lookupsOf(link: SubscribingLink): TokenBucket {
    link.lookups ??= new TokenBucket(this.#context.limits.maxRetainedLookupsPerSecond)
    return link.lookups
  }

  /** 'unrecorded': nothing has happened; 'full': subscribed, but not all retained messages could be recorded. */
  *#subscribe(
    now: Instant,
    session: Session,
    request: SubscriptionRequest,
    identifier: number | undefined,
    link: SubscribingLink,
    own: Condition | undefined,
  ): Work<Lsn | 'unrecorded' | 'full'> {
    const { router, conditions } = this.#context
    const { filter, qos, noLocal, retainAsPublished, retainHandling } = request
    // Not by spreading: V8 would give each object a hidden class of its own, six times as large.
    const plain: Subscription = { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier: identifier }
    let lsn: Lsn | 'full' = 0
    if (session.persistent) {
      lsn = this.#context.store.append({ type: 'subscribe', key: session.key, filter, options: storedSubscription(plain, own) })
      if (lsn === 'full') return 'unrecorded'
    }
    const configured = own === undefined ? conditions.configuredFor(session, filter) : undefined
    const condition = configured === undefined ? own : conditions.restore(configured)
    const subscription = condition === undefined ? plain : { ...plain, condition }
    const before = router.looked
    const isNew = router.subscribe(session, subscription)
    if (configured !== undefined) condition!.release()
    const looked = router.looked - before
    // Retained messages are not for shared subscriptions [5.0 section 4.8.2].
    // [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4] [3.1.1 MQTT-3.8.4-3]
    if (request.retainHandling === 2 || (request.retainHandling === 1 && !isNew) || sharedFilter(request.filter) !== undefined)
      return lsn
    session.openQueue().beginRetained()
    try {
      const last = yield* this.#queueRetained(now, session, subscription, link, looked)
      return last === 'full' ? 'full' : Math.max(lsn, last)
    } finally {
      session.queue?.endRetained()
      session.tidyQueue()
    }
  }

  /** Returns the last record of what was queued. Messages that do not fit are dropped, and counted. */
  *#queueRetained(
    began: Instant,
    session: Session,
    subscription: Subscription,
    link: SubscribingLink,
    looked: number,
  ): Work<Lsn | 'full'> {
    const { retained, sysRetained, live } = this.#context
    const { filter } = subscription
    // [MQTT-3.3.1-9] [3.1.1 MQTT-3.3.1-6]
    const stored = isSysTopic(filter) ? both(retained.search(filter), sysRetained.search(filter)) : retained.search(filter)
    const found = live.search(filter, stored)[Symbol.iterator]()
    const search: Search = { found, session, subscription, lookups: this.#lookupsOf(link), cost: looked, lsn: 0, lost: undefined }
    for (let now = began; this.#queueSome(now, search); search.cost = 0) now = yield search.cost
    const { lsn, lost } = search
    if (lost !== undefined) this.#publisher.dropNewest(session, { topic: lost.topic }, lost.count, lost.over)
    return lsn
  }

  /**
   * One step of a search; false at its end. Not part of the generator, whose loop took V8's optimizing compiler so long that five
   * readers of 10,000 messages took 8.1 us a message in a new process, and 7.4 now.
   */
  #queueSome(now: Instant, search: Search): boolean {
    const { found, session, subscription, lookups } = search
    const { subscriptionIdentifier: identifier, noLocal } = subscription
    const identifiers = identifier === undefined ? undefined : [identifier]
    for (let next = found.next(); next.done !== true; next = found.next()) {
      const each = next.value
      lookups.spend(1)
      search.cost += each instanceof FoundLive ? LIVE_LOOKS : 1
      if (each !== undefined && this.#isFor(now, session, noLocal, each)) this.#queueFound(now, search, each, identifiers)
      if (search.lsn === 'full') return false
      if (search.cost >= STEP_LOOKS) return true
    }
    return false
  }

  #queueFound(now: Instant, search: Search, found: Publish | FoundLive, identifiers: readonly number[] | undefined): void {
    const { session, subscription, lost } = search
    const each = subscription.condition === undefined ? found : this.#wanted(now, search, subscription.condition, found)
    if (each === undefined) return
    if (lost !== undefined || !this.#publisher.hasRoomForRetained(session)) {
      if (lost === undefined) search.lost = { topic: each.topic, count: 1, over: undefined }
      else lost.count++
      return
    }
    const message = each instanceof FoundLive ? each.make() : each
    // A retained message is in memory already, and counts in the client's share only when it is queued; one made now is not.
    const more = message.held === undefined ? message.weight : 0
    const over = this.#context.memory.refusal(undefined, WAITING_BYTES + more)
    if (over !== undefined) {
      search.lost = { topic: message.topic, count: 1, over }
      return
    }
    const qos = this.#publisher.effectiveQos(subscription, message)
    const delivered = this.#publisher.deliverRetained(session, message, qos, identifiers)
    search.lsn = delivered === 'full' || search.lsn === 'full' ? 'full' : Math.max(search.lsn, delivered)
    search.cost += DELIVERY_LOOKS + (message === each ? 0 : MAKE_LOOKS)
  }

  /** The message, if the condition lets it through. */
  #wanted(now: Instant, search: Search, condition: Condition, found: Publish | FoundLive): Publish | undefined {
    const { conditions, router } = this.#context
    const message = found instanceof FoundLive ? found.make() : found
    const before = router.looked
    const facts = conditions.factsOf(message, now)
    beginClient(facts)
    const passes = condition.matches(facts)
    const cost = router.looked - before + (message === found ? 0 : MAKE_LOOKS)
    search.cost += cost
    search.lookups.spend(cost)
    return passes ? message : undefined
  }

  /** Whether a retained message is for this subscriber. What is made from the state of something else has neither publisher nor expiry. */
  #isFor(now: Instant, session: Session, noLocal: boolean, message: Publish | FoundLive): boolean {
    if (message instanceof Publish) {
      if (message.expiresAt !== undefined && message.expiresAt <= now) return false
      if (noLocal && message.from === session.key) return false
    }
    const { topic } = message
    if (!session.reaches(topic) || !this.#context.access.read(session, topic)) return false
    return message instanceof FoundLive || this.#mayStillRetain(message)
  }

  /** A retained message may outlive its publisher's right to publish it (`check_retain_source`). */
  #mayStillRetain({ topic, retain, author }: Publish): boolean {
    const { access, limits } = this.#context
    if (!limits.checkRetainSource || !retain || author.owner === undefined) return true
    let publisher = this.#publishers.get(author)
    if (publisher === undefined) {
      publisher = this.#identityOf(author.key, author.owner)
      this.#publishers.set(author, publisher)
    }
    // Of the broker's topics only a bridge's own state is retained by it.
    return mayPublish(access, publisher, topic, true)
  }

  #identityOf(from: SessionKey, { username, listener, rights, verified }: StoredOwner): Identity {
    const colon = from.indexOf(':')
    return {
      kind: from.slice(0, colon) as ClientKind,
      clientId: from.slice(colon + 1),
      username,
      listener,
      grant: rights === undefined ? undefined : this.#context.access.restored(rights),
      certified: false,
      verified,
    }
  }
}

function* both<T>(first: Iterable<T>, second: Iterable<T>): Generator<T, void> {
  yield* first
  yield* second
}
