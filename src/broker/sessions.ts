import type { Instant } from '../base/machine.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import { Publish } from '../mqtt/publish.ts'
import { realFilter } from '../mqtt/topics.ts'
import { type Lsn, type SessionKey, wallTime } from '../store/store.ts'
import type { Identity } from './access.ts'
import type { Admitted } from './authentication.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Publisher } from './publisher.ts'
import { messageOf, Session, type Subscription, sessionKey } from './session.ts'
import { storedSubscription, storedWill } from './stored.ts'
import { bridgeOptions } from './subscriber.ts'

/** Seconds that the will of a session waits after its conversation: for its delay, or for the end of the session if that is sooner. */
export const willDelaySeconds = ({ will, expirySeconds }: Session): number =>
  Math.min(will?.properties.willDelayInterval ?? 0, expirySeconds)

/** What CONNECT asks of its session. */
export interface SessionRequest {
  readonly cleanStart: boolean
  readonly expirySeconds: number
  readonly will: Will | undefined
  readonly identity: Identity
  /** Somebody vouches for the user name. */
  readonly verified: boolean
  /** Where the topics of this conversation begin: the client names none outside, and is shown none. */
  readonly mountPoint: string
  readonly bridge: boolean
}

/** The sessions by key: their beginning, their wills, the clocks that run while nobody is connected, and their end. */
export class Sessions {
  readonly #context: BrokerContext
  readonly #publisher: Publisher
  readonly #byKey = new Map<SessionKey, Session>()
  /** Sessions whose end the store had no room for: a new one under the same key must not find what they have left there. */
  readonly #untold = new Set<SessionKey>()
  #connected = 0
  #mostConnected = 0

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context
    this.#publisher = publisher
  }

  get size(): number {
    return this.#byKey.size
  }

  /** Sessions with somebody connected. */
  get connected(): number {
    return this.#connected
  }

  /** The most that were ever connected at the same time. */
  get mostConnected(): number {
    return this.#mostConnected
  }

  get(kind: ClientKind, clientId: string): Session | undefined {
    return this.#byKey.get(sessionKey(kind, clientId))
  }

  byKey(key: SessionKey): Session | undefined {
    return this.#byKey.get(key)
  }

  [Symbol.iterator](): Iterator<Session> {
    return this.#byKey.values()
  }

  /** For the replay: a session that the store knows. */
  restore(session: Session): void {
    this.#byKey.set(session.key, session)
  }

  /**
   * Begins or resumes the session of an accepted CONNECT [5.0 section 3.1.2.4]. 'full': the store cannot record it and nothing
   * changed, except that a clean start has ended the session before.
   */
  begin(
    now: Instant,
    kind: ClientKind,
    clientId: string,
    request: SessionRequest,
  ): { session: Session; present: boolean; lsn: Lsn } | 'full' {
    const old = this.get(kind, clientId)
    if (old !== undefined && request.cleanStart) this.end(now, old)
    const present = old !== undefined && !request.cleanStart
    const session = present ? old : new Session(kind, clientId)
    // A sensor sleeps with its conversation open, and a will has to fire even if the process dies: both outlast the process.
    const persistent = kind === 'sn' || request.expirySeconds > 0 || request.will !== undefined
    this.#tellEnds()
    if (this.#untold.has(session.key) && (persistent || !present)) return 'full'
    const { username, listener, grant, certified } = request.identity
    const rights = this.#context.access.stored(grant)
    const owner = { username, listener, verified: request.verified, ...(rights !== undefined && { rights }) }
    let lsn: Lsn | 'full' = 0
    if (persistent) {
      const will = request.will === undefined ? null : storedWill(request.will)
      lsn = this.#context.store.append({ type: 'session', key: session.key, expirySeconds: request.expirySeconds, will, owner })
      if (lsn === 'full') return 'full'
    } else if (session.persistent) this.#recordEnd(session.key)
    const isSameIdentity =
      session.username === username && session.listener === listener && session.certified === certified && session.grant === grant
    session.persistent = persistent
    session.expirySeconds = request.expirySeconds
    session.will = request.will
    session.username = username
    session.listener = listener
    session.grant = grant
    session.certified = certified
    session.owner = owner
    this.#disarm(session)
    this.#byKey.set(session.key, session)
    // A client that only comes back may read what it did: nothing in the routes depends on its connection.
    if (present && !isSameIdentity) this.#context.router.invalidateOf(session)
    if (present) this.recheck(session, request.mountPoint)
    if (request.bridge) lsn = Math.max(lsn, this.#subscribeAsBridge(session))
    return { session, present, lsn }
  }

  /** What was subscribed to before the client said that it is a bridge, or by a version of Roost that did not know the bit; returns the last record. */
  #subscribeAsBridge(session: Session): Lsn {
    const { router, store } = this.#context
    let last: Lsn = 0
    for (const before of session.subscriptions?.values() ?? []) {
      const subscription: Subscription = { ...before, ...bridgeOptions(before.filter) }
      if (before.noLocal === subscription.noLocal && before.retainAsPublished) continue
      router.subscribe(session, subscription)
      if (!session.persistent) continue
      const { filter } = subscription
      const lsn = store.append({ type: 'subscribe', key: session.key, filter, options: storedSubscription(subscription) })
      // A full store is told when the bridge connects again.
      if (lsn !== 'full') last = lsn
    }
    return last
  }

  /** Authentication brought this, now or again. */
  granted(now: Instant, session: Session, { grant, validSeconds }: Admitted): void {
    session.grant = grant
    const { timers } = this.#context
    const running = session.timers.find(({ owner }) => owner.about === 'grant')
    if (running !== undefined) timers.disarm(running)
    if (validSeconds !== undefined) timers.arm(session.timer('grant'), now + validSeconds * 1000)
  }

  /**
   * Rights, or the user of the session, may have changed: messages in its queue that may not be read any more are dropped, and forbidden
   * subscriptions end, unless they are filtered: then deliveries stop, and resume when the right returns.
   */
  recheck(session: Session, mountPoint = ''): void {
    const { access, router, store, stats, notice } = this.#context
    const keeps = access.keepsSubscriptions?.(session) === true
    for (const filter of session.subscriptions?.keys() ?? []) {
      const real = realFilter(filter)
      if (real.startsWith(mountPoint) && (keeps || access.subscribe(session, real))) continue
      router.unsubscribe(session, filter)
      if (session.persistent) store.append({ type: 'unsubscribe', key: session.key, filter })
      notice({ code: 'subscription-ended', level: 'warn', client: session.key, reason: `${filter} is not allowed any more` })
    }
    const readable = ({ topic }: Publish): boolean => topic.startsWith(mountPoint) && access.read(session, topic)
    let count = session.filterQueue((entry) => {
      const message = messageOf(entry)
      if (readable(message)) return true
      if (session.persistent && message.id !== 0) store.append({ type: 'done', key: session.key, id: message.id })
      return false
    })
    for (const { queued, packetId, released } of session.inflight?.values() ?? []) {
      // After PUBREC the message is the client's already; only the exchange is left to end.
      if (released || readable(queued.message)) continue
      session.settle(packetId)
      if (session.persistent && queued.message.id !== 0) store.append({ type: 'done', key: session.key, id: queued.message.id })
      count++
    }
    if (count === 0) return
    stats.publishDropped += count
    notice({ code: 'message-dropped', level: 'info', client: session.key, reason: 'not allowed to be read any more', count })
  }

  /** A conversation begins, in a session that has none. */
  attach(session: Session, link: ClientLink): void {
    session.link = link
    this.#connected++
    this.#mostConnected = Math.max(this.#mostConnected, this.#connected)
  }

  /** The conversation of a session is over; `will` says whether its end calls for the will [5.0 section 3.1.2.5]. */
  detach(now: Instant, session: Session, will: boolean): void {
    session.link = undefined
    this.#connected--
    this.#disarm(session)
    this.letGo(now, session)
    this.#publisher.detach(session)
    if (!will) session.will = undefined
    if (session.persistent) {
      const at = wallTime(this.#context.clock, now)
      const { key, expirySeconds } = session
      this.#context.store.append({ type: 'detached', key, at, expirySeconds, will: session.will !== undefined })
    }
    this.runDown(now, session, 0)
  }

  /** Starts the clocks of a session that nobody is connected to, `elapsedMs` after its conversation ended. */
  runDown(now: Instant, session: Session, elapsedMs: number): void {
    const { timers } = this.#context
    if (session.will !== undefined) {
      const left = willDelaySeconds(session) * 1000 - elapsedMs
      if (left <= 0) this.fireWill(now, session)
      else timers.arm(session.timer('will'), now + left)
    }
    const left = session.expirySeconds * 1000 - elapsedMs
    if (left <= 0) this.end(now, session)
    else if (left !== Number.POSITIVE_INFINITY) timers.arm(session.timer('expiry'), now + left)
  }

  setWill(session: Session, will: Will | undefined): Lsn | 'full' {
    const lsn = this.#context.store.append({ type: 'will', key: session.key, will: will === undefined ? null : storedWill(will) })
    if (lsn !== 'full') session.will = will
    return lsn
  }

  /** Publishes the will and forgets it (MQTT-3.1.2-8, MQTT-3.1.2-10); access is asked again, because rules may have changed. */
  fireWill(now: Instant, session: Session): void {
    const { will } = session
    if (will === undefined) return
    session.will = undefined
    const { willDelayInterval: _delay, ...properties } = will.properties
    const message = Publish.of(will.topic, will.payload, will.qos, will.retain, 0, properties)
    // That a bridge may have its will there was asked when it connected.
    const refusal = this.#publisher.refusal(now, session, message, true)
    const lsn = refusal === 0 ? this.#publisher.accept(now, session, message, 0) : 0
    const { notice, stats, store } = this.#context
    if (session.persistent) store.append({ type: 'will', key: session.key, will: null })
    if (refusal !== 0 || lsn === 'full') {
      const limit = refusal === 0 ? undefined : this.#publisher.refusedBy(message, refusal)
      const why = limit === undefined ? `not allowed on ${will.topic}` : `a bound is reached on ${will.topic}`
      const reason = refusal === 0 ? 'the store is full' : why
      notice({ code: 'will-refused', level: 'warn', client: session.key, reason, ...(limit !== undefined && { limit }) })
      return
    }
    stats.willsPublished++
    notice({ code: 'will-published', level: 'info', client: session.key, reason: `on ${will.topic}` })
  }

  /** The session ends, with a will that still waited for its delay (MQTT-3.1.3-9 leaves it no later chance). */
  end(now: Instant, session: Session): void {
    if (session.ended) return
    session.ended = true
    this.fireWill(now, session)
    const { router, expiry } = this.#context
    this.#disarm(session)
    expiry.forget(session)
    router.unsubscribeAll(session)
    this.#publisher.passOn(now, session)
    if (session.persistent) this.#recordEnd(session.key)
    this.#byKey.delete(session.key)
  }

  #recordEnd(key: SessionKey): void {
    this.#untold.add(key)
    this.#tellEnds()
  }

  #tellEnds(): void {
    for (const key of this.#untold) {
      if (this.#context.store.append({ type: 'session-end', key }) === 'full') return
      this.#untold.delete(key)
    }
  }

  /** A publisher fills this session's queue faster than its client drains it: the publisher is not read until that is better. */
  hold(now: Instant, session: Session, publisher: ClientLink): void {
    publisher.hold(now, session)
    const timer = session.timer('held')
    if (session.held !== undefined && !timer.armed) this.#context.timers.arm(timer, now + session.patienceMs)
  }

  /** Reads the publishers that wait for this session's queue again. */
  letGo(now: Instant, session: Session): void {
    const { held } = session
    if (held === undefined) return
    session.held = undefined
    session.patienceMs = Math.max(0, session.patienceMs - Math.ceil(now - held.since))
    this.#context.timers.disarm(session.timer('held'))
    for (const link of held.links) link.letGo()
  }

  /** A clock of a session has come to its end; that of its grant is the broker's matter. */
  timedOut(now: Instant, session: Session, about: 'expiry' | 'will' | 'held'): void {
    if (about === 'will') {
      this.fireWill(now, session)
      return
    }
    if (about === 'held') {
      this.letGo(now, session)
      return
    }
    this.#context.stats.sessionsExpired++
    this.#context.notice({ code: 'session-expired', level: 'info', client: session.key })
    this.end(now, session)
  }

  #disarm(session: Session): void {
    for (const timer of session.timers) this.#context.timers.disarm(timer)
  }
}
