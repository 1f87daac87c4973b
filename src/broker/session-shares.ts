import { NameMap } from '../base/name-map.ts'
import { isSameOwner } from '../mqtt/author.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { StoredOwner } from '../store/store.ts'
import { type BrokerLimits, sessionBound, shareBound } from './limits.ts'
import type { Session } from './session.ts'

/** Counts sessions against a limit: those of one address, of one user, or all of one kind. */
export class Share {
  /**
   * The address or user, and the table that has this share while its count is above 0; the share of all sessions has no table.
   */
  readonly name: string
  readonly table: Map<string, Share> | undefined
  /** Key of the limit in the configuration. */
  readonly limit: string
  readonly bound: number
  count = 0
  /** An owner in the share of an address: anonymous clients of one address have the same, and share the object. */
  owner: StoredOwner | undefined = undefined
  /** Sessions that were unused when their connection ended, oldest first. Some may have been used since. */
  #unused: Set<Session> | undefined = undefined
  /** The shares of a session that counts in this one and in the pot only; one array for all of them. */
  readonly alone: readonly Share[]

  constructor(limit: string, bound: number, name = '', table?: Map<string, Share>, pot?: Share) {
    this.name = name
    this.table = table
    this.limit = limit
    this.bound = bound
    this.alone = pot === undefined ? [this] : [this, pot]
  }

  get isFull(): boolean {
    return this.count >= this.bound
  }

  /** The session that may be ended to make room: unused, and disconnected before all others. */
  oldestUnused(): Session | undefined {
    for (const session of this.#unused ?? []) {
      if (isUnused(session)) return session
      // Once used, a session never becomes unused again.
      this.#unused!.delete(session)
    }
    return undefined
  }

  addUnused(session: Session): void {
    this.#unused ??= new Set()
    this.#unused.add(session)
  }

  deleteUnused(session: Session): void {
    this.#unused?.delete(session)
  }
}

/** The owner of a session, or of one to be created. */
export interface ShareOwner {
  readonly kind: ClientKind
  /** As `networkOf`; `undefined` has no share of its own. */
  readonly address: string | undefined
  /** Verified; `undefined` has no share of its own. */
  readonly user: string | undefined
}

/**
 * The number of sessions by owner. Sensors and MQTT clients have a pot each, of which no single address or user may use more than
 * its share. Users of sensors have no shares, because the site's rules say which user a sensor is.
 */
export class SessionShares {
  readonly #limits: BrokerLimits
  readonly #pots: Readonly<Record<ClientKind, Share>>
  readonly #byAddress: Readonly<Record<ClientKind, Map<string, Share>>> = { mqtt: new NameMap(), sn: new NameMap() }
  /** Of MQTT clients. */
  readonly #byUser = new NameMap<Share>()

  constructor(limits: BrokerLimits) {
    this.#limits = limits
    const isApart = limits.maxSnSessions !== Number.POSITIVE_INFINITY
    this.#pots = {
      mqtt: new Share('max_sessions', sessionBound(limits, 'mqtt')),
      sn: new Share(isApart ? 'max_sn_sessions' : 'max_sessions', sessionBound(limits, 'sn')),
    }
  }

  count(kind: ClientKind): number {
    return this.#pots[kind].count
  }

  /** The shares in which a session of this holder counts, smallest first. */
  of({ kind, address, user }: ShareOwner): readonly Share[] {
    const { maxSessionsPerAddress, maxSessionsPerUser } = this.#limits
    const pot = this.#pots[kind]
    const ofAddress =
      address === undefined
        ? undefined
        : shareIn(this.#byAddress[kind], address, 'max_sessions_per_address', maxSessionsPerAddress, pot)
    const ofUser =
      user === undefined || kind === 'sn'
        ? undefined
        : shareIn(this.#byUser, user, 'max_sessions_per_user', maxSessionsPerUser, pot)
    if (ofAddress !== undefined && ofUser !== undefined) return [ofAddress, ofUser, pot]
    return (ofAddress ?? ofUser ?? pot).alone
  }

  /** Returns the same owner: the object that another session of its address has, if there is one. */
  sharedOwner(kind: ClientKind, owner: StoredOwner): StoredOwner {
    const share = owner.address === undefined ? undefined : this.#byAddress[kind].get(owner.address)
    if (share === undefined) return owner
    if (!isSameOwner(share.owner, owner)) share.owner = owner
    return share.owner!
  }

  /** Counts a session that is new, or has changed its owner. */
  hold(session: Session, holder: ShareOwner): void {
    const shares = this.of(holder)
    const before = session.shares
    if (before.length === shares.length && before.every((share, i) => share === shares[i])) return
    this.release(session)
    session.shares = shares
    for (const share of shares) {
      share.count++
      if (share.count === 1) share.table?.set(share.name, share)
    }
  }

  /** Uncounts a session that has ended. */
  release(session: Session): void {
    this.used(session)
    for (const share of session.shares) if (--share.count === 0) share.table?.delete(share.name)
    session.shares = NO_SHARES
  }

  /**
   * The client is disconnected: notes the session if it is unused. Sensors' sessions are left to the gateway, which knows more
   * about them.
   */
  detached(session: Session): void {
    if (session.kind === 'sn' || !isUnused(session)) return
    for (const share of session.shares) share.addUnused(session)
  }

  used(session: Session): void {
    for (const share of session.shares) share.deleteUnused(session)
  }
}

/** The share of this address or user; it is added to the table with its first session. */
const shareIn = (table: Map<string, Share>, name: string, limit: string, most: number, pot: Share): Share =>
  table.get(name) ?? new Share(limit, shareBound(most, pot.bound), name, table, pot)

export const NO_SHARES: readonly Share[] = []

/**
 * Whether ending the session would lose nothing: no client is connected or has ever resumed it, and it has no subscription,
 * message, exchange or will.
 */
export const isUnused = (session: Session): boolean =>
  session.link === undefined &&
  !session.ended &&
  !session.resumed &&
  session.will === undefined &&
  session.refused === undefined &&
  isEmpty(session.subscriptions) &&
  isEmpty(session.inflight) &&
  isEmpty(session.receipts) &&
  session.queueLength === 0

const isEmpty = (map: { readonly size: number } | undefined): boolean => map === undefined || map.size === 0
