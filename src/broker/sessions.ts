import { NO_FIGURES } from '../base/client-figures.ts'
import { LargeMap } from '../base/large-map.ts'
import type { Instant } from '../base/machine.ts'
import { Seats } from '../base/seats.ts'
import { Author, isSameOwner, verifiedUser } from '../mqtt/author.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import { isSameWill } from '../mqtt/wills.ts'
import { type Lsn, type SessionKey, type StoredOwner, wallTime } from '../store/store.ts'
import type { Identity } from './access.ts'
import type { Admitted } from './authentication.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import { letGo } from './publisher-pace.ts'
import { giveUpRoom } from './queue-room.ts'
import { TURN_LOOKS, type Work } from './requests.ts'
import { RestoredOrder } from './restored-order.ts'
import { Session, sessionKey } from './session.ts'
import { postpone, retryLater, type SessionClock, startClocks, stopTimers } from './session-clocks.ts'
import { SessionEnds } from './session-ends.ts'
import { isUnused, SessionShares, type ShareOwner } from './session-shares.ts'
import type { SessionWills } from './session-wills.ts'
import type { ShareHandover } from './share-handover.ts'
import { storedSubscription, storedWill } from './stored.ts'
import { bridgeOptions } from './subscriber.ts'
import type { Subscription } from './subscription.ts'

/** When the end of a session takes more than a turn and no client waits for it: milliseconds until it continues. */
const PASS_ON_MS = 1

/** Result of ending a session. 'more': it takes more turns, and must be called again; 'full': it waits for room in the store. */
export type Ending = 'done' | 'more' | 'full'

/** The session that a CONNECT asks for. */
export interface SessionRequest {
  readonly cleanStart: boolean
  readonly expirySeconds: number
  readonly will: Will | undefined
  readonly identity: Identity
  /** The identity as stored with everything that outlives the connection. */
  readonly owner: StoredOwner
  /** Prefix of all topics of this connection (mount point): the client neither sees it nor reaches topics outside it. */
  readonly mountPoint: string
  readonly bridge: boolean
}

/** The sessions by key: how they begin and end, and what happens while no client is connected. */
export class Sessions {
  readonly #context: BrokerContext
  readonly #wills: SessionWills
  readonly #handover: ShareHandover
  readonly #byKey = new LargeMap<Session>()
  /** For lists: 16 bytes a session. */
  readonly #seats = new Seats<Session>()
  readonly #ends: SessionEnds
  readonly #order = new RestoredOrder()
  /** Subscriptions with the options of a bridge that the store had no room to record as such. */
  readonly #unrecorded = new WeakSet<Subscription>()
  readonly #shares: SessionShares
  readonly #connected: Record<ClientKind, number> = { mqtt: 0, sn: 0 }
  #mostConnected = 0

  constructor(context: BrokerContext, wills: SessionWills, handover: ShareHandover) {
    this.#context = context
    this.#wills = wills
    this.#handover = handover
    this.#shares = new SessionShares(context.limits)
    this.#ends = new SessionEnds(context.store)
  }

  get size(): number {
    return this.#byKey.size
  }

  /** The number of sessions of this kind. */
  count(kind: ClientKind): number {
    return this.#shares.count(kind)
  }

  /** The number of sessions whose client is connected. */
  get connected(): number {
    return this.#connected.mqtt + this.#connected.sn
  }

  connectedOf(kind: ClientKind): number {
    return this.#connected[kind]
  }

  /** The largest number of clients that were connected at the same time. */
  get mostConnected(): number {
    return this.#mostConnected
  }

  /** As in `Holdings`: $SYS asks every few seconds, and a million sessions are too many to visit. */
  waiting(): { messages: number; bytes: number } {
    return this.#context.holdings.waiting
  }

  get(kind: ClientKind, clientId: string): Session | undefined {
    const expected = kind === 'sn' ? this.#order.find(clientId) : undefined
    // [MQTT-3.1.3-2]
    return expected ?? this.#byKey.get(sessionKey(kind, clientId))
  }

  byKey(key: SessionKey): Session | undefined {
    return this.#byKey.get(key)
  }

  [Symbol.iterator](): Iterator<Session> {
    return this.#byKey.values()
  }

  /** To list all sessions in parts. */
  get seats(): Pick<Seats<Session>, 'at' | 'end'> {
    return this.#seats
  }

  /** The last record of the end of a session; 'full' while ends wait for room in the store. */
  get lastEnd(): Lsn | 'full' {
    return this.#ends.last
  }

  /** During the replay: adds a session of the store. */
  restore(session: Session): void {
    session.unchecked = true
    this.#enter(session)
    if (session.kind === 'sn') this.#order.add(session)
  }

  /** During the replay: removes a session that ended later. */
  unrestore(session: Session): void {
    session.ended = true
    this.#leave(session)
  }

  /** After the restart: all clients of the store have resumed their sessions. */
  resumed(): void {
    this.#order.clear()
  }

  #enter(session: Session): void {
    const { holdings } = this.#context
    this.#byKey.set(session.key, session)
    session.seat = this.#seats.add(session)
    if (session.kind === 'mqtt') session.figuresAt = holdings.figures?.add() ?? NO_FIGURES
    holdings.sessions += session.ownBytes
    holdings.keep(session.author)
  }

  #leave(session: Session): void {
    const { holdings } = this.#context
    this.#byKey.delete(session.key)
    this.#seats.delete(session.seat)
    holdings.figures?.remove(session.figuresAt)
    session.figuresAt = NO_FIGURES
    holdings.sessions -= session.ownBytes
    holdings.drop(session.author)
  }

  /** As `SessionShares.sharedOwner`. */
  sharedOwner(kind: ClientKind, owner: StoredOwner): StoredOwner {
    return this.#shares.sharedOwner(kind, owner)
  }

  /** Changes the owner of a session. */
  own(session: Session, author: Author): void {
    const { holdings } = this.#context
    holdings.keep(author)
    holdings.drop(session.author)
    session.author = author
  }

  /** After the replay: owners and contents of all sessions are known, and are counted. */
  restored(): void {
    for (const session of this.#byKey.values()) {
      this.#share(session, session.owner)
      if (session.recordedAs !== 'connected') this.#shares.detached(session)
    }
  }

  /**
   * Makes room for one more session of this holder: where a limit on its address, its user or all sessions is reached, a session
   * that was never used is ended. If there is none, returns the limit, by its key in the configuration.
   */
  makeRoom(now: Instant, holder: ShareOwner): string | undefined {
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

  /** Ends a session that was never used, to make room for another. False if it has been used. */
  endUnused(now: Instant, key: SessionKey): boolean {
    const session = this.#byKey.get(key)
    return session === undefined || (isUnused(session) && this.end(now, session) === 'done')
  }

  /**
   * Begins or resumes the session of an accepted CONNECT [5.0 section 3.1.2.4]. 'full': the store cannot record it and nothing
   * changed, except that a clean start may have ended the previous session. 'more': ending that session takes more turns
   * (`ending`), and nothing has changed yet. The session may be `unchecked`: then the caller has it checked.
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
      // [MQTT-3.1.2-4]
      const ended = request.cleanStart ? this.end(now, known) : 'done'
      if (ended !== 'done') return ended
    }
    // `#catchUp` may have ended it.
    // [MQTT-3.2.2-2]
    const old = known?.ended === true ? undefined : known
    // [MQTT-3.2.2-3]
    const present = old !== undefined
    // [MQTT-3.1.2-5]
    const session = present ? old : new Session(kind, clientId, this.#context.holdings, owner)
    // A sleeping sensor stays connected across a restart, and a will must be published even if the process dies.
    const persistent = kind === 'sn' || request.expirySeconds > 0 || request.will !== undefined
    if (this.#ends.isUnrecorded(session.key) && (persistent || !present)) return 'full'
    let lsn: Lsn | 'full' = 0
    if (persistent && !(present && isRecorded(session, request, owner))) {
      const will = request.will === undefined ? null : storedWill(request.will)
      lsn = this.#context.store.append({ type: 'session', key: session.key, expirySeconds: request.expirySeconds, will, owner })
      if (lsn === 'full') return 'full'
    } else if (!persistent && session.persistent) this.#ends.record(session.key)
    session.recordedAs = undefined
    session.persistent = persistent
    const isSameIdentity = this.#set(session, request)
    // [MQTT-4.1.0-1]
    stopTimers(this.#context, session)
    // [MQTT-3.1.2-6]
    if (!present) session.createdAt = Math.floor(now / 1000)
    if (!present) this.#enter(session)
    if (!isSameOwner(session.owner, owner)) this.own(session, new Author(session.key, owner))
    session.resumed ||= present
    this.#share(session, owner)
    this.#shares.used(session)
    // Without a change of identity its rights are the same: no route depends on the connection.
    if (present && !isSameIdentity) {
      this.#context.router.invalidateOf(session)
      session.unchecked = true
    }
    if (request.bridge) lsn = Math.max(lsn, this.#subscribeAsBridge(session))
    return { session, present, lsn }
  }

  /** Sets what this CONNECT says of the session. False if the user, the listener or the rights may have changed. */
  #set(session: Session, { identity, owner, mountPoint, expirySeconds, will }: SessionRequest): boolean {
    const { username, listener, grant, certified } = identity
    // Each login brings a new grant object, usually with the same rights.
    const isSameIdentity =
      session.username === username &&
      session.listener === listener &&
      session.mountPoint === mountPoint &&
      session.certified === certified &&
      session.verified === owner.verified &&
      (session.grant === grant || this.#context.access.stored(session.grant) === owner.rights)
    session.expirySeconds = expirySeconds
    // [MQTT-3.1.2-7] [MQTT-3.1.3-9]
    session.will = will
    session.username = username
    session.listener = listener
    session.mountPoint = mountPoint
    session.grant = grant
    session.certified = certified
    return isSameIdentity
  }

  /** Counts the session, and its memory, among those of its user and its address. */
  #share(session: Session, owner: StoredOwner): void {
    const { shares } = this.#context.memory
    this.#shares.hold(session, holderOf(session.kind, owner))
    shares.assign(session, verifiedUser(owner), owner.address)
    shares.recount(session)
  }

  /** Gives subscriptions made before the client said that it is a bridge the options of a bridge. Returns the last record. */
  #subscribeAsBridge(session: Session): Lsn {
    const { router, store, conditions } = this.#context
    let last: Lsn = 0
    for (const before of session.subscriptions?.values() ?? []) {
      const subscription: Subscription = { ...before, ...bridgeOptions(before.filter) }
      const isSame = before.noLocal === subscription.noLocal && before.retainAsPublished
      if (isSame && !this.#unrecorded.has(before)) continue
      router.subscribe(session, subscription)
      if (!session.persistent) continue
      const options = storedSubscription(subscription, conditions.ownOf(session, subscription))
      const lsn = store.append({ type: 'subscribe', key: session.key, filter: subscription.filter, options })
      // Tried again when the bridge reconnects.
      if (lsn === 'full') this.#unrecorded.add(subscription)
      else {
        this.#unrecorded.delete(before)
        last = lsn
      }
    }
    return last
  }

  /** Sets the rights that an authentication or re-authentication has granted. */
  granted(now: Instant, session: Session, { grant, validSeconds }: Admitted): void {
    session.grant = grant
    const { timers } = this.#context
    const running = session.timers.find(({ owner }) => owner.about === 'grant')
    if (running !== undefined) timers.disarm(running)
    if (validSeconds !== undefined) timers.arm(session.timer('grant'), now + validSeconds * 1000)
  }

  /** A client connects to a session that has none connected. */
  attach(session: Session, link: ClientLink): void {
    session.link = link
    this.#connected[session.kind]++
    this.#mostConnected = Math.max(this.#mostConnected, this.connected)
  }

  /** The client of a session is disconnected; `will` says whether its will has to be published [5.0 section 3.1.2.5]. */
  detach(now: Instant, session: Session, will: boolean): void {
    session.link = undefined
    this.#connected[session.kind]--
    stopTimers(this.#context, session)
    letGo(this.#context, now, session)
    this.#dropQos0(now, session)
    giveUpRoom(this.#context, session)
    // [MQTT-3.1.2-10]
    if (!will) session.will = undefined
    this.#context.memory.shares.recount(session)
    this.#recordDetached(now, session)
    const willWaits = session.will !== undefined && this.#wills.isSpent
    // [MQTT-3.1.2-23]
    if (session.expirySeconds === 0 && (!session.persistent || this.#context.store.hasRoom) && !willWaits) this.end(now, session)
    else {
      startClocks(this.#context, now, session, 0)
      if (this.#context.store.hasRoom && !willWaits) this.#catchUp(now, session)
      this.#shares.detached(session)
    }
  }

  /** Unless QoS 0 is queued for absent clients, it is dropped: by the end of the session, if that is due, otherwise now. */
  #dropQos0(now: Instant, session: Session): void {
    const { limits, stats, sweeps } = this.#context
    if (session.expirySeconds > 0) sweeps.left(now, session)
    else if (!limits.queueQos0Messages) stats.publishDropped += session.queuedQos0
  }

  /** No client has resumed the session after a restart: it counts as disconnected from now on. */
  abandoned(now: Instant, session: Session): void {
    this.#context.clocks.arm(session.timer('detached'), now)
    startClocks(this.#context, now, session, 0)
    this.#shares.detached(session)
  }

  /** Does what is due for a session without a client. What the store has no room for, or what takes more turns, stays due. */
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
   * Ends the session, and publishes a will whose delay is still running (MQTT-3.1.3-9 leaves it no later chance). Where the store
   * has no room, or more has to be handed over than fits into a turn, the rest follows without another call.
   */
  end(now: Instant, session: Session): Ending {
    if (session.ended) return 'done'
    if (!this.#wills.fire(now, session)) {
      postpone(this.#context, now, session, 'end')
      return 'full'
    }
    const { router, expiry, sweeps, clocks } = this.#context
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
    sweeps.forget(session)
    session.closeQueue()
    if (session.persistent) this.#ends.record(session.key)
    this.#leave(session)
    this.#shares.release(session)
    return 'done'
  }

  /** The end of a session in steps, for a CONNECT that waits for it. */
  *ending(session: Session): Work<void> {
    let now = yield TURN_LOOKS
    while (this.end(now, session) === 'more') now = yield TURN_LOOKS
  }

  /** A clock of a session without a client has expired. */
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

const holderOf = (kind: ClientKind, owner: StoredOwner): ShareOwner => ({
  kind,
  address: owner.address,
  user: verifiedUser(owner),
})

/** Whether the store already has what this CONNECT would record, as it has for every sensor after a restart. */
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
