import type { Instant } from '../base/machine.ts'
import { Author, isSameOwner, verifiedUser } from '../mqtt/author.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import { isSameWill } from '../mqtt/wills.ts'
import { type Lsn, type SessionKey, type StoredOwner, wallTime } from '../store/store.ts'
import type { Identity } from './access.ts'
import type { Admitted } from './authentication.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Publisher } from './publisher.ts'
import { TURN_LOOKS, type Work } from './requests.ts'
import { Session, type SessionClock, type Subscription, sessionKey } from './session.ts'
import { postpone, retryLater, startClocks, stopTimers } from './session-clocks.ts'
import { dropForbidden } from './session-rights.ts'
import { type Holder, isUnused, SessionShares } from './session-shares.ts'
import type { SessionWills } from './session-wills.ts'
import type { ShareHandover } from './share-handover.ts'
import { storedSubscription, storedWill } from './stored.ts'
import { bridgeOptions } from './subscriber.ts'

/** Milliseconds until a session that has much to pass on goes on with that, where nobody waits for its end. */
const PASS_ON_MS = 1

/** What became of the end of a session: 'more': it takes more turns, and has to be asked for again; 'full': it waits for room in the store. */
export type Ending = 'done' | 'more' | 'full'

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
  readonly #wills: SessionWills
  readonly #handover: ShareHandover
  readonly #byKey = new Map<SessionKey, Session>()
  /** Sessions whose end the store had no room for: a new one under the same key must not find what they have left there. */
  readonly #untold = new Set<SessionKey>()
  /** Subscriptions of bridges that a store had no room for as such. */
  readonly #unrecorded = new WeakSet<Subscription>()
  readonly #shares: SessionShares
  #connected = 0
  #mostConnected = 0

  constructor(context: BrokerContext, publisher: Publisher, wills: SessionWills, handover: ShareHandover) {
    this.#context = context
    this.#publisher = publisher
    this.#wills = wills
    this.#handover = handover
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
    for (const session of this.#byKey.values()) {
      this.#share(session, session.owner)
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
    let lsn: Lsn | 'full' = 0
    if (persistent && !(present && isRecorded(session, request, owner))) {
      const will = request.will === undefined ? null : storedWill(request.will)
      lsn = this.#context.store.append({ type: 'session', key: session.key, expirySeconds: request.expirySeconds, will, owner })
      if (lsn === 'full') return 'full'
    } else if (!persistent && session.persistent) this.#recordEnd(session.key)
    session.recordedAs = undefined
    session.persistent = persistent
    const isSameIdentity = this.#set(session, request)
    stopTimers(this.#context, session)
    if (!present) this.#enter(session)
    if (!isSameOwner(session.owner, owner)) this.own(session, new Author(session.key, owner))
    session.resumed ||= present
    this.#share(session, owner)
    this.#shares.used(session)
    // A client that only comes back may read what it did: nothing in the routes depends on its connection.
    if (present && !isSameIdentity) this.#context.router.invalidateOf(session)
    if (present && (!isSameIdentity || session.unchecked)) dropForbidden(this.#context, session, request.mountPoint)
    if (request.bridge) lsn = Math.max(lsn, this.#subscribeAsBridge(session))
    return { session, present, lsn }
  }

  /** Sets what this CONNECT says of the session. False if the user, the listener or the rights may have changed. */
  #set(session: Session, { identity, owner, expirySeconds, will }: SessionRequest): boolean {
    const { username, listener, grant, certified } = identity
    // Each login brings another grant, mostly with the same rights.
    const isSameIdentity =
      session.username === username &&
      session.listener === listener &&
      session.certified === certified &&
      session.verified === owner.verified &&
      (session.grant === grant || this.#context.access.stored(session.grant) === owner.rights)
    session.expirySeconds = expirySeconds
    session.will = will
    session.username = username
    session.listener = listener
    session.grant = grant
    session.certified = certified
    return isSameIdentity
  }

  /** Counts the session, and its memory, among those of its user and its address. */
  #share(session: Session, owner: StoredOwner): void {
    const { shares } = this.#context.memory
    this.#shares.hold(session, holderOf(session.kind, owner))
    shares.assign(session, verifiedUser(owner), owner.address)
    shares.settle(session)
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
    stopTimers(this.#context, session)
    this.letGo(now, session)
    this.#publisher.detach(session)
    if (!will) session.will = undefined
    this.#context.memory.shares.settle(session)
    this.#recordDetached(now, session)
    if (session.expirySeconds === 0 && (!session.persistent || this.#context.store.hasRoom)) this.end(now, session)
    else {
      startClocks(this.#context, now, session, 0)
      if (this.#context.store.hasRoom) this.#catchUp(now, session)
      this.#shares.detached(session)
    }
  }

  /** Nobody has resumed the session after a restart: it counts as disconnected now. */
  abandoned(now: Instant, session: Session): void {
    this.#context.clocks.arm(session.timer('detached'), now)
    startClocks(this.#context, now, session, 0)
    this.#shares.detached(session)
  }

  /** Does what is due of a session that nobody is connected to; what it has no room for, or what takes more turns, stays due. */
  #catchUp(now: Instant, session: Session): Ending {
    if (session.refused === 'end') return this.#expire(now, session)
    if (session.refused === 'will' && !this.#wills.fire(now, session)) return 'full'
    for (const { armed, deadline, owner } of [...session.timers]) {
      const { about } = owner
      if (!armed || deadline > now || about === 'grant' || about === 'held' || about === 'detached') continue
      if (about === 'will') {
        if (!this.#wills.fire(now, session)) return 'full'
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
    retryLater(this.#context, now, session, 'detached')
    return false
  }

  /**
   * The session ends, with a will that still waited for its delay (MQTT-3.1.3-9 leaves it no later chance). Where the store has no room for what that
   * leads to, or it has more to pass on than fits into a turn, that follows by itself.
   */
  end(now: Instant, session: Session): Ending {
    if (session.ended) return 'done'
    if (!this.#wills.fire(now, session)) {
      postpone(this.#context, now, session, 'end')
      return 'full'
    }
    const { router, expiry, clocks } = this.#context
    router.unsubscribeAll(session)
    const passed = this.#handover.passOn(now, session)
    if (passed === 'full') postpone(this.#context, now, session, 'end')
    else if (passed === 'more') {
      session.refused = 'end'
      clocks.arm(session.timer('expiry'), now + PASS_ON_MS)
    }
    if (passed !== 'done') return passed
    session.ended = true
    session.clear()
    this.#context.memory.shares.forget(session)
    stopTimers(this.#context, session)
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
    else if (about === 'will') this.#wills.fire(now, session)
    else this.#expire(now, session)
  }

  #expire(now: Instant, session: Session): Ending {
    const ended = this.end(now, session)
    if (ended !== 'done' || session.expirySeconds === 0) return ended
    this.#context.stats.sessionsExpired++
    this.#context.notice({ code: 'session-expired', level: 'info', client: session.key })
    return 'done'
  }
}

const holderOf = (kind: ClientKind, owner: StoredOwner): Holder => ({ kind, address: owner.address, user: verifiedUser(owner) })

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
