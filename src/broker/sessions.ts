import type { Instant } from '../base/machine.ts'
import type { Timers } from '../base/timers.ts'
import { Author, isSameOwner, verifiedUser } from '../mqtt/author.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { realFilter } from '../mqtt/topics.ts'
import { isSameWill, willBytes } from '../mqtt/wills.ts'
import { NO_ROOM_RETRY_MS } from '../store/pace.ts'
import { type Lsn, type SessionKey, type StoredOwner, wallTime } from '../store/store.ts'
import { type Identity, readsAll } from './access.ts'
import type { Admitted } from './authentication.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Publisher } from './publisher.ts'
import { TURN_LOOKS, type Work } from './requests.ts'
import { messageOf, Session, type SessionClock, type SessionTimer, type Subscription, sessionKey } from './session.ts'
import { type Holder, isUnused, SessionShares } from './session-shares.ts'
import { storedSubscription, storedWill } from './stored.ts'
import { bridgeOptions } from './subscriber.ts'

/** Milliseconds until a session that has much to pass on goes on with that, where nobody waits for its end. */
const PASS_ON_MS = 1

/** What became of the end of a session: 'more': it takes more turns, and has to be asked for again; 'full': it waits for room in the store. */
export type Ending = 'done' | 'more' | 'full'

/** Milliseconds until a will or an end is tried again that a full disk has refused. */
const FULL_RETRY_MS = 10_000

/** Seconds that the will of a session waits after its conversation: for its delay, or for the end of the session if that is sooner. */
export const willDelaySeconds = ({ will, expirySeconds }: Session): number =>
  Math.min(will?.properties.willDelayInterval ?? 0, expirySeconds)

/** What CONNECT asks of its session. */
export interface SessionRequest {
  readonly cleanStart: boolean
  readonly expirySeconds: number
  readonly will: Will | undefined
  readonly identity: Identity
  /** The same for what outlives the conversation. */
  readonly owner: StoredOwner
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
  /** Subscriptions of bridges that a store had no room for as such. */
  readonly #unrecorded = new WeakSet<Subscription>()
  readonly #shares: SessionShares
  #connected = 0
  #mostConnected = 0

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context
    this.#publisher = publisher
    this.#shares = new SessionShares(context.limits)
  }

  get size(): number {
    return this.#byKey.size
  }

  /** Sessions of this kind. */
  count(kind: ClientKind): number {
    return this.#shares.count(kind)
  }

  /** Sessions with somebody connected. */
  get connected(): number {
    return this.#connected
  }

  /** The most that were ever connected at the same time. */
  get mostConnected(): number {
    return this.#mostConnected
  }

  /** What waits in all sessions, or was sent and is not acknowledged; each receiver's copy counts. Asks every session. */
  waiting(): { messages: number; bytes: number } {
    let messages = 0
    let bytes = 0
    for (const session of this.#byKey.values()) {
      messages += session.queueLength + (session.inflight?.size ?? 0)
      bytes += session.queuedBytes
      for (const { queued } of session.inflight?.values() ?? []) bytes += queued.message.weight
    }
    return { messages, bytes }
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
    session.unchecked = true
    this.#enter(session)
  }

  /** For the replay: it came to its end after all. */
  unrestore(session: Session): void {
    this.#leave(session)
  }

  #enter(session: Session): void {
    const { holdings } = this.#context
    this.#byKey.set(session.key, session)
    holdings.sessions += session.ownBytes
    holdings.keep(session.author)
  }

  #leave(session: Session): void {
    const { holdings } = this.#context
    this.#byKey.delete(session.key)
    holdings.sessions -= session.ownBytes
    holdings.drop(session.author)
  }

  /** Whose one of the sessions is, from now on. */
  own(session: Session, author: Author): void {
    const { holdings } = this.#context
    holdings.keep(author)
    holdings.drop(session.author)
    session.author = author
  }

  /** After the replay: whose the sessions are, and what they hold, is known. */
  restored(): void {
    const { memory } = this.#context
    for (const session of this.#byKey.values()) {
      this.#shares.hold(session, holderOf(session.kind, session.owner))
      memory.shares.assign(session, verifiedUser(session.owner), session.owner.address)
      memory.shares.settle(session)
      if (session.recordedAs !== 'connected') this.#shares.detached(session)
    }
  }

  /**
   * Makes room for one more session of this holder: where its address, its user or everybody has as many as they may, a session goes that was never
   * used. Gives the bound, by its key in the configuration, if there is none.
   */
  makeRoom(now: Instant, holder: Holder): string | undefined {
    const shares = this.#shares.of(holder)
    const tooFull = shares.find((share) => share.isFull && share.oldestUnused() === undefined)
    if (tooFull !== undefined) return tooFull.limit
    for (const share of shares) {
      const unused = share.isFull ? share.oldestUnused() : undefined
      if (unused === undefined) continue
      if (this.end(now, unused) !== 'done') return share.limit
      const reason = 'its session, which was never used, makes room for another'
      this.#context.notice({ code: 'session-expired', level: 'warn', client: unused.key, reason, limit: share.limit })
    }
    return undefined
  }

  /** Ends a session that nobody has ever used, to make room for another. False if there is one that is not like that. */
  endUnused(now: Instant, key: SessionKey): boolean {
    const session = this.#byKey.get(key)
    return session === undefined || (isUnused(session) && this.end(now, session) === 'done')
  }

  /**
   * Begins or resumes the session of an accepted CONNECT [5.0 section 3.1.2.4]. 'full': the store cannot record it and nothing
   * changed, except that a clean start may have ended the session before. 'more': the end of that takes more turns (`ending`), and nothing changed yet.
   */
  begin(
    now: Instant,
    kind: ClientKind,
    clientId: string,
    request: SessionRequest,
  ): { session: Session; present: boolean; lsn: Lsn } | 'full' | 'more' {
    const { owner } = request
    const known = this.get(kind, clientId)
    if (known !== undefined) {
      const caughtUp = this.#catchUp(now, known)
      if (caughtUp !== 'done') return caughtUp
      const ended = request.cleanStart ? this.end(now, known) : 'done'
      if (ended !== 'done') return ended
    }
    // Its end may have been due.
    const old = known?.ended === true ? undefined : known
    const present = old !== undefined
    const session = present ? old : new Session(kind, clientId, this.#context.holdings, owner)
    // A sensor sleeps with its conversation open, and a will has to fire even if the process dies: both outlast the process.
    const persistent = kind === 'sn' || request.expirySeconds > 0 || request.will !== undefined
    this.#tellEnds()
    if (this.#untold.has(session.key) && (persistent || !present)) return 'full'
    const { username, listener, grant, certified } = request.identity
    let lsn: Lsn | 'full' = 0
    if (persistent && !(present && isRecorded(session, request, owner))) {
      const will = request.will === undefined ? null : storedWill(request.will)
      lsn = this.#context.store.append({ type: 'session', key: session.key, expirySeconds: request.expirySeconds, will, owner })
      if (lsn === 'full') return 'full'
    } else if (!persistent && session.persistent) this.#recordEnd(session.key)
    session.recordedAs = undefined
    // Each login brings another grant, mostly with the same rights.
    const isSameIdentity =
      session.username === username &&
      session.listener === listener &&
      session.certified === certified &&
      session.verified === owner.verified &&
      (session.grant === grant || this.#context.access.stored(session.grant) === owner.rights)
    session.persistent = persistent
    session.expirySeconds = request.expirySeconds
    session.will = request.will
    session.username = username
    session.listener = listener
    session.grant = grant
    session.certified = certified
    this.#disarm(session)
    if (!present) this.#enter(session)
    if (!isSameOwner(session.owner, owner)) this.own(session, new Author(session.key, owner))
    session.resumed ||= present
    this.#shares.hold(session, holderOf(kind, owner))
    this.#shares.used(session)
    this.#context.memory.shares.assign(session, verifiedUser(owner), owner.address)
    this.#context.memory.shares.settle(session)
    // A client that only comes back may read what it did: nothing in the routes depends on its connection.
    if (present && !isSameIdentity) this.#context.router.invalidateOf(session)
    if (present && (!isSameIdentity || session.unchecked)) this.recheck(session, request.mountPoint)
    if (request.bridge) lsn = Math.max(lsn, this.#subscribeAsBridge(session))
    return { session, present, lsn }
  }

  /** What was subscribed to before the client said that it is a bridge, or by a version of Roost that did not know the bit; returns the last record. */
  #subscribeAsBridge(session: Session): Lsn {
    const { router, store } = this.#context
    let last: Lsn = 0
    for (const before of session.subscriptions?.values() ?? []) {
      const subscription: Subscription = { ...before, ...bridgeOptions(before.filter) }
      const isSame = before.noLocal === subscription.noLocal && before.retainAsPublished
      if (isSame && !this.#unrecorded.has(before)) continue
      router.subscribe(session, subscription)
      if (!session.persistent) continue
      const { filter } = subscription
      const lsn = store.append({ type: 'subscribe', key: session.key, filter, options: storedSubscription(subscription) })
      // A full store is told when the bridge connects again.
      if (lsn === 'full') this.#unrecorded.add(subscription)
      else {
        this.#unrecorded.delete(before)
        last = lsn
      }
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
    session.unchecked = false
    // Any number of messages may wait, and ten thousand filters be there.
    if (mountPoint === '' && readsAll(access, session)) return
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
    this.#context.memory.shares.settle(session)
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
    this.#context.memory.shares.settle(session)
    this.#recordDetached(now, session)
    if (session.expirySeconds === 0 && (!session.persistent || this.#context.store.hasRoom)) this.end(now, session)
    else {
      this.runDown(now, session, 0)
      if (this.#context.store.hasRoom) this.#catchUp(now, session)
      this.#shares.detached(session)
    }
  }

  /** Nobody has resumed the session after a restart: it counts as disconnected now. */
  abandoned(now: Instant, session: Session): void {
    this.#context.clocks.arm(session.timer('detached'), now)
    this.runDown(now, session, 0)
    this.#shares.detached(session)
  }

  /**
   * Starts the clocks of a session that nobody is connected to, `elapsedMs` after its conversation ended. What is due already follows in its turn: there
   * may be any number of such sessions.
   */
  runDown(now: Instant, session: Session, elapsedMs: number): void {
    const { clocks } = this.#context
    const arm = (clock: SessionClock, seconds: number): void => {
      const left = Math.max(0, seconds * 1000 - elapsedMs)
      if (left !== Number.POSITIVE_INFINITY) clocks.arm(session.timer(clock), now + left)
    }
    if (session.will !== undefined) arm('will', willDelaySeconds(session))
    arm('expiry', session.expirySeconds)
  }

  /** Does what is due of a session that nobody is connected to; what it has no room for, or what takes more turns, stays due. */
  #catchUp(now: Instant, session: Session): Ending {
    if (session.refused === 'end') return this.#expire(now, session)
    if (session.refused === 'will' && !this.fireWill(now, session)) return 'full'
    for (const { armed, deadline, owner } of [...session.timers]) {
      const { about } = owner
      if (!armed || deadline > now || about === 'grant' || about === 'held' || about === 'detached') continue
      if (about === 'will') {
        if (!this.fireWill(now, session)) return 'full'
        continue
      }
      const expired = this.#expire(now, session)
      if (expired !== 'done') return expired
    }
    return 'done'
  }

  #recordDetached(now: Instant, session: Session): boolean {
    session.recordedAs = undefined
    if (!session.persistent) return true
    const { key, expirySeconds, will } = session
    const at = wallTime(this.#context.clock, now)
    const { store } = this.#context
    if (store.append({ type: 'detached', key, at, expirySeconds, will: will !== undefined }) !== 'full') return true
    this.#retry(now, session, 'detached')
    return false
  }

  /** The store has no room for what was due. */
  #retry(now: Instant, session: Session, clock: SessionClock): void {
    const { clocks, store } = this.#context
    clocks.arm(session.timer(clock), now + (store.hasRoom ? FULL_RETRY_MS : NO_ROOM_RETRY_MS))
  }

  #refuse(now: Instant, session: Session, what: 'will' | 'end'): false {
    session.refused = what
    if (session.link === undefined) this.#retry(now, session, what === 'will' ? 'will' : 'expiry')
    return false
  }

  setWill(session: Session, will: Will | undefined): Lsn | 'full' {
    const lsn = this.#context.store.append({ type: 'will', key: session.key, will: will === undefined ? null : storedWill(will) })
    if (lsn !== 'full') session.will = will
    this.#context.memory.shares.settle(session)
    return lsn
  }

  /**
   * Publishes the will and forgets it (MQTT-3.1.2-8, MQTT-3.1.2-10); access is asked again, because rules may have changed. False if the store has no
   * room for it: it stays due, and is tried again.
   */
  fireWill(now: Instant, session: Session): boolean {
    const { will } = session
    if (will === undefined) return true
    const { willDelayInterval: _delay, ...properties } = will.properties
    const message = Publish.of(will.topic, will.payload, will.qos, will.retain, 0, properties)
    const refusal = this.#willRefusal(now, session, message)
    const { notice, stats, store } = this.#context
    if (refusal === 0 && this.#publisher.accept(now, session, message, 0, true) === 'full') {
      if (session.refused === undefined)
        notice({ code: 'store-full', level: 'error', client: session.key, reason: 'its will waits for room' })
      return this.#refuse(now, session, 'will')
    }
    session.will = undefined
    if (session.refused === 'will') session.refused = undefined
    this.#context.memory.shares.settle(session)
    if (refusal !== 0) {
      if (session.persistent) store.append({ type: 'will', key: session.key, will: null })
      const limit = this.#publisher.refusedBy(message, refusal)
      const reason = limit === undefined ? `not allowed on ${will.topic}` : `a bound is reached on ${will.topic}`
      notice({ code: 'will-refused', level: 'warn', client: session.key, reason, ...(limit !== undefined && { limit }) })
      return true
    }
    stats.willsPublished++
    notice({ code: 'will-published', level: 'info', client: session.key, reason: `on ${will.topic}` })
    return true
  }

  /** A will that memory has no room to retain goes to those who have subscribed to it. */
  #willRefusal(now: Instant, session: Session, message: Publish): number {
    // That a bridge may have its will there was asked when it connected.
    const refusal = this.#publisher.refusal(now, session, message, true, willBytes(session.will))
    const { over } = this.#publisher
    if (refusal !== ReasonCode.QUOTA_EXCEEDED || !message.retain || over === undefined) return refusal
    message.retain = false
    if (session.refused === undefined) {
      const reason = `it is not retained on ${message.topic}: ${over.reason}`
      this.#context.notice({ code: 'will-refused', level: 'warn', client: session.key, reason, limit: over.limit })
    }
    return this.#publisher.refusal(now, session, message, true)
  }

  /**
   * The session ends, with a will that still waited for its delay (MQTT-3.1.3-9 leaves it no later chance). Where the store has no room for what that
   * leads to, or it has more to pass on than fits into a turn, that follows by itself.
   */
  end(now: Instant, session: Session): Ending {
    if (session.ended) return 'done'
    if (!this.fireWill(now, session)) {
      this.#refuse(now, session, 'end')
      return 'full'
    }
    const { router, expiry, clocks } = this.#context
    router.unsubscribeAll(session)
    const passed = this.#publisher.passOn(now, session)
    if (passed === 'full') this.#refuse(now, session, 'end')
    else if (passed === 'more') {
      session.refused = 'end'
      clocks.arm(session.timer('expiry'), now + PASS_ON_MS)
    }
    if (passed !== 'done') return passed
    session.ended = true
    session.clear()
    this.#context.memory.shares.forget(session)
    this.#disarm(session)
    expiry.forget(session)
    if (session.persistent) this.#recordEnd(session.key)
    this.#leave(session)
    this.#shares.release(session)
    return 'done'
  }

  /** For whoever waits for the end of a session that takes more than a turn: it goes on in each. */
  *ending(session: Session): Work<void> {
    let now = yield TURN_LOOKS
    while (this.end(now, session) === 'more') now = yield TURN_LOOKS
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

  /** A clock of a session that nobody is connected to has come to its end. */
  timedOut(now: Instant, session: Session, about: SessionClock): void {
    if (about === 'detached') this.#recordDetached(now, session)
    else if (about === 'will') this.fireWill(now, session)
    else this.#expire(now, session)
  }

  #expire(now: Instant, session: Session): Ending {
    const ended = this.end(now, session)
    if (ended !== 'done' || session.expirySeconds === 0) return ended
    this.#context.stats.sessionsExpired++
    this.#context.notice({ code: 'session-expired', level: 'info', client: session.key })
    return 'done'
  }

  #disarm(session: Session): void {
    for (const timer of session.timers) heapOf(this.#context, timer.owner.about).disarm(timer)
  }
}

const holderOf = (kind: ClientKind, owner: StoredOwner): Holder => ({ kind, address: owner.address, user: verifiedUser(owner) })

const heapOf = ({ timers, clocks }: BrokerContext, about: SessionTimer['about']): Timers<SessionTimer> =>
  about === 'grant' || about === 'held' ? timers : clocks

/** Whether the store has what this CONNECT would record, as it has for each sensor after a restart: then nothing has to be written. */
function isRecorded(session: Session, { expirySeconds, will }: SessionRequest, owner: StoredOwner): boolean {
  const { username, listener, verified, rights } = session.owner
  return (
    session.recordedAs === 'connected' &&
    session.expirySeconds === expirySeconds &&
    isSameWill(session.will, will) &&
    username === owner.username &&
    listener === owner.listener &&
    verified === owner.verified &&
    rights === owner.rights
  )
}
