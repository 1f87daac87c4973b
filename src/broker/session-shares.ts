import type { ClientKind } from '../mqtt/link.ts'
import { type BrokerLimits, sessionBound, shareBound } from './limits.ts'
import type { Session } from './session.ts'

/** Of all sessions of one kind, those of one address or of one user; or all of them. */
export class Share {
  /** The address or user, and where it stands by that as long as it has a session; a pot stands nowhere. */
  readonly name: string
  readonly table: Map<string, Share> | undefined
  /** Of the configuration. */
  readonly limit: string
  readonly bound: number
  count = 0
  /** Sessions that were unused when their connection ended, in that order. Some may have been used since. */
  readonly unused = new Set<Session>()
  /** This one and the pot: of sessions that have no other share. There are many with the same. */
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

  /** The session that may make room for another: unused since its connection ended, which was before that of all others. */
  oldestUnused(): Session | undefined {
    for (const session of this.unused) {
      if (isUnused(session)) return session
      // A connection, or a message for a subscription, makes a session used once and for all.
      this.unused.delete(session)
    }
    return undefined
  }
}

/** Whose a session is, or is to be. */
export interface Holder {
  readonly kind: ClientKind
  /** As `networkOf`; `undefined` has no share of its own. */
  readonly address: string | undefined
  /** Verified; `undefined` has no share of its own. */
  readonly user: string | undefined
}

/**
 * Who holds how many sessions. Sensors and MQTT clients have a pot each, and nobody has more of it than a share: neither one address nor one user. Of
 * sensors the users are no holders, because a rule of the site says which user they are.
 */
export class SessionShares {
  readonly #limits: BrokerLimits
  readonly #pots: Readonly<Record<ClientKind, Share>>
  readonly #byAddress: Readonly<Record<ClientKind, Map<string, Share>>> = { mqtt: new Map(), sn: new Map() }
  /** Of MQTT clients. */
  readonly #byUser = new Map<string, Share>()

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

  /** The shares of one more session of this holder: the smaller ones first. */
  of({ kind, address, user }: Holder): readonly Share[] {
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

  /** A session is there, or has another holder than before. */
  hold(session: Session, holder: Holder): void {
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

  /** It has ended. */
  release(session: Session): void {
    this.used(session)
    for (const share of session.shares) if (--share.count === 0) share.table?.delete(share.name)
    session.shares = NO_SHARES
  }

  /** Its connection has ended. Sensors' sessions are looked after by the gateway, which knows what else there is of them. */
  detached(session: Session): void {
    if (session.kind === 'sn' || !isUnused(session)) return
    for (const share of session.shares) share.unused.add(session)
  }

  used(session: Session): void {
    for (const share of session.shares) share.unused.delete(session)
  }
}

/** Of this address or user; a new one enters the table with its first session. */
const shareIn = (table: Map<string, Share>, name: string, limit: string, most: number, pot: Share): Share =>
  table.get(name) ?? new Share(limit, shareBound(most, pot.bound), name, table, pot)

export const NO_SHARES: readonly Share[] = []

/**
 * Whether nothing is lost with a session but that it was there: nobody is connected to it or has ever come back to it, and it has no subscription, no
 * message or exchange that was begun, and no will.
 */
export const isUnused = (session: Session): boolean =>
  session.link === undefined &&
  !session.ended &&
  !session.resumed &&
  session.will === undefined &&
  session.refused === undefined &&
  isEmpty(session.subscriptions) &&
  isEmpty(session.inflight) &&
  isEmpty(session.received) &&
  session.queueLength === 0

const isEmpty = (map: { readonly size: number } | undefined): boolean => map === undefined || map.size === 0
