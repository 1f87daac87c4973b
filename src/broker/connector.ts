import type { Instant } from '../base/machine.ts'
import { memoryWords, type OverMemory } from '../base/memory.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { networkOf } from '../base/networks.ts'
import { ownerBytes, verifiedUser } from '../mqtt/author.ts'
import { BRIDGE_LISTENER, DEFAULT_LINK_SETTINGS, isOwnListener, type LinkSettings } from '../mqtt/link.ts'
import { type Connect, PacketType, type Will } from '../mqtt/packets.ts'
import type { Properties } from '../mqtt/properties.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { isSameWill } from '../mqtt/wills.ts'
import type { StoredOwner } from '../store/store.ts'
import { type ClientIdUse, type Identity, mayBeBridge, mayHaveWill } from './access.ts'
import { type Admitted, type Refusal, refusal } from './authentication.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import { willGrowth } from './holdings.ts'
import type { Session } from './session.ts'
import type { SessionWills } from './session-wills.ts'
import type { Sessions } from './sessions.ts'

/** CONNECT: which clients are accepted, with which session, and what CONNACK says [5.0 sections 3.1, 3.2]. */
export class Connector {
  readonly #context: BrokerContext
  readonly #sessions: Sessions
  readonly #wills: SessionWills

  constructor(context: BrokerContext, sessions: Sessions, wills: SessionWills) {
    this.#context = context
    this.#sessions = sessions
    this.#wills = wills
  }

  /** Checks that need no knowledge of who the client is. */
  check(link: ClientLink, packet: Connect): Refusal | undefined {
    const { info } = link
    const { clientIdPrefix, autoIdPrefix, allowZeroLengthClientid } = info.settings ?? DEFAULT_LINK_SETTINGS
    const { clientId, will } = packet
    if (clientId === '' && (!mayBeNameless(packet) || !allowZeroLengthClientid)) {
      return refusal(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 'a client id is needed here (allow_zero_length_clientid)')
    }
    // An assigned id gives access to nothing that an id of the client's own would not.
    // [MQTT-3.1.3-5]
    if (!hasUserName(clientIdPrefix) && !(clientId === '' ? autoIdPrefix : clientId).startsWith(clientIdPrefix)) {
      return refusal(
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
        'the client id has another prefix than this listener wants (clientid_prefixes)',
      )
    }
    return will === undefined ? undefined : this.#wills.unsupported(link, will)
  }

  /**
   * Accepts a client and pushes CONNACK, or says why not. `takeOver` ends the link that has the session now. 'ending': the
   * previous session takes several turns to end, after which this is called again with `hasWaited`.
   */
  admit(
    now: Instant,
    link: ClientLink,
    connect: Connect,
    who: Admitted,
    takeOver: (old: ClientLink) => void,
    hasWaited: boolean,
  ): Session | Refusal | 'ending' {
    const { access } = this.#context
    const { info } = link
    const { kind, listener } = info
    // After a restart the session has its current will; the gateway's copy may have been published since.
    const will = info.isRestored === true ? this.#restoredWill(connect) : connect.will
    const packet = will === connect.will ? connect : { ...connect, will }
    const clientId = packet.clientId === '' ? this.#assignedId(info.settings ?? DEFAULT_LINK_SETTINGS, who) : packet.clientId
    const use = this.#useOf(link, clientId, who)
    if (use === 'foreign')
      return refusal(
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
        'the client id is not for this user (clientid_file, clientid_prefixes)',
      )
    const identity: Identity = {
      kind,
      clientId,
      username: who.username,
      listener,
      grant: who.grant,
      certified: info.identity !== undefined,
      verified: who.verified,
    }
    // The rules may have changed during authentication.
    const standing = access.remains(identity, info.peer)
    if (standing !== 0) return refusal(standing, 'the rules have changed')
    const mayTell = mayBeBridge(packet.bridge, packet.protocolVersion)
    if (packet.will !== undefined && !mayHaveWill(access, identity, packet.will.topic, mayTell, packet.will)) {
      return refusal(ReasonCode.NOT_AUTHORIZED, 'the will topic is not allowed')
    }
    // That of a session from before a restart was accepted.
    const isNew = packet.will !== undefined && info.isRestored !== true
    const misfit = isNew ? this.#wills.contentRefusal(packet.protocolVersion, packet.will) : undefined
    if (misfit !== undefined) return misfit
    return this.#enter(now, link, packet, who, identity, use, takeOver, hasWaited)
  }

  /** The client may use its id: gives it its session, unless that is another user's or there is no room. */
  #enter(
    now: Instant,
    link: ClientLink,
    packet: Connect,
    who: Admitted,
    identity: Identity,
    use: ClientIdUse,
    takeOver: (old: ClientLink) => void,
    hasWaited: boolean,
  ): Session | Refusal | 'ending' {
    const { limits, notice, stats } = this.#context
    const { info } = link
    const { kind, clientId } = identity
    const old = this.#sessions.get(kind, clientId)
    // A session of an unverified user has no owner: devices find their sessions again when a site introduces passwords.
    const isOwners = who.verified && old?.username === who.username
    const isOthers = old?.owner.verified === true && limits.sessionOwnership && !isOwners
    if (isOthers && use === 'free')
      return refusal(ReasonCode.NOT_AUTHORIZED, 'the session belongs to another user (session_ownership)')
    const isBridge = info.listener === BRIDGE_LISTENER
    const previous = old?.owner.listener ?? ''
    if (isOwnListener(previous) && previous !== info.listener) {
      const whose = previous === BRIDGE_LISTENER ? 'a bridge' : 'the program that the broker is part of'
      return refusal(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, `the client id is that of ${whose}`)
    }
    // The session is that of a user who may not use the id any more: it is not for the owner of the id.
    const isSquatted = isOthers && this.#useOf(link, clientId, { username: old.username, verified: true }) !== 'own'
    const owner = this.#ownerOf(identity, info.peer)
    // A client that has waited for the end of its session had a place before. Bridges are part of the configuration.
    const noRoom =
      isBridge || (old === undefined && hasWaited) ? undefined : this.#noRoom(now, link, old, packet, identity, owner)
    if (noRoom !== undefined) return noRoom
    if (old?.link !== undefined) {
      stats.takeovers++
      const reason = `taken over from ${info.peer}`
      // A sensor that wakes to publish, or is rebooted, sends CONNECT while it is still connected: nobody else took its place.
      const isItself = kind === 'sn' && old.link.info.peer === info.peer
      notice({ code: 'client-takeover', level: isItself ? 'debug' : 'info', client: old.key, peer: old.link.info.peer, reason })
      // The gateway replaces the connection of a sensor that is connected. It has deleted the will, unless the store was full.
      if (kind === 'sn') old.will = undefined
      // [MQTT-3.1.4-3]
      takeOver(old.link)
    }
    const expirySeconds = isOwnListener(info.listener) ? expiryOf(packet) : this.#expirySeconds(packet)
    if (isSquatted) {
      const reason = 'its session ends: the client id is not for its user any more (clientid_file, clientid_prefixes)'
      notice({ code: 'client-revoked', level: 'warn', client: old.key, peer: info.peer, reason })
    }
    const begun = this.#sessions.begin(now, kind, clientId, {
      cleanStart: packet.cleanStart || isSquatted,
      expirySeconds,
      will: packet.will,
      identity,
      owner,
      mountPoint: (info.settings ?? DEFAULT_LINK_SETTINGS).mountPoint,
      bridge: packet.bridge,
    })
    if (begun === 'full') return refusal(ReasonCode.QUOTA_EXCEEDED, 'the store is full')
    if (begun === 'more') return 'ending'
    const { session, present, lsn } = begun
    this.#attach(now, session, link, packet, who)
    link.resumed = present
    const properties = this.#properties(link, packet, clientId, expirySeconds, who)
    // [MQTT-3.1.4-5]
    link.push({ type: PacketType.CONNACK, sessionPresent: present, reasonCode: ReasonCode.SUCCESS, properties }, lsn)
    return session
  }

  /** Why there is no place for one more session, or no memory for what this client wants to keep in its own. */
  #noRoom(
    now: Instant,
    { info }: ClientLink,
    old: Session | undefined,
    packet: Connect,
    { kind, clientId }: Identity,
    owner: StoredOwner,
  ): Refusal | undefined {
    if (old === undefined) {
      const limit = this.#sessions.makeRoom(now, { kind, address: owner.address, user: verifiedUser(owner) })
      if (limit !== undefined) {
        this.#context.notice({ code: 'limit-reached', level: 'warn', peer: info.peer, limit })
        // [MQTT-3.2.2-8]
        return refusal(ReasonCode.QUOTA_EXCEEDED, `too many sessions (${limit})`)
      }
    }
    const over = this.#overMemory(old, packet, clientId, owner)
    if (over === undefined) return undefined
    const { reason: detail, limit } = over
    return { reasonCode: ReasonCode.QUOTA_EXCEEDED, reason: memoryWords(over), detail, limit }
  }

  /** The same object as the gateway's, if it is the same will. */
  #restoredWill({ clientId, will }: Connect): Will | undefined {
    const known = this.#sessions.get('sn', clientId)?.will
    return isSameWill(known, will) ? will : known
  }

  #ownerOf({ kind, username, listener, grant, verified }: Identity, peer: string): StoredOwner {
    const rights = this.#context.access.stored(grant)
    const address = networkOf(peer)
    const named: StoredOwner =
      address === undefined ? { username, listener, verified } : { username, listener, verified, address }
    return this.#sessions.sharedOwner(kind, rights === undefined ? named : { ...named, rights })
  }

  /** A client may resume its session, even with a will and names that are a little longer. */
  #overMemory(old: Session | undefined, { will }: Connect, clientId: string, owner: StoredOwner): OverMemory | undefined {
    const { memory, retained } = this.#context
    const wanted = willGrowth(will, retained) + ownerBytes(owner)
    if (old === undefined) {
      const newcomer = memory.shares.newcomer(verifiedUser(owner), owner.address)
      return memory.refusal(newcomer, COST.session + COST.author + COST.link + 2 * stringBytes(clientId) + wanted)
    }
    const more = wanted - Math.max(FREE_BYTES, willGrowth(old.will, retained) + ownerBytes(old.owner))
    return more > 0 ? memory.refusal(old, more) : undefined
  }

  #attach(now: Instant, session: Session, link: ClientLink, packet: Connect, who: Admitted): void {
    const { limits } = this.#context
    this.#sessions.attach(session, link)
    link.client = session
    link.version = packet.protocolVersion
    link.bridge = packet.bridge
    link.authMethod = packet.properties.authenticationMethod
    const { receiveMaximum = 0xffff } = packet.properties
    // A bridge has a limit of its own (receive_maximum).
    const most = link.info.listener === BRIDGE_LISTENER ? receiveMaximum : limits.maxInflightMessages
    // [MQTT-4.9.0-1]
    link.window = Math.min(receiveMaximum, most)
    link.windowBytes = limits.maxInflightBytes
    this.#sessions.granted(now, session, who)
  }

  /** The properties of CONNACK: where this server differs from the defaults of [5.0 section 3.2.2.3]. */
  #properties({ info }: ClientLink, packet: Connect, clientId: string, expirySeconds: number, who: Admitted): Properties {
    const { limits } = this.#context
    const { maximumQos } = info.settings ?? DEFAULT_LINK_SETTINGS
    const properties: Properties = {}
    // [MQTT-3.1.3-7]
    if (packet.clientId === '') properties.assignedClientIdentifier = clientId
    if (limits.receiveMaximum < 0xffff) properties.receiveMaximum = limits.receiveMaximum
    // [MQTT-3.2.2-9]
    if (maximumQos < 2) properties.maximumQoS = maximumQos as 0 | 1
    if (!limits.retainAvailable) properties.retainAvailable = false
    if (expirySeconds < expiryOf(packet)) properties.sessionExpiryInterval = expirySeconds
    // [MQTT-4.12.0-6]
    const { authenticationMethod } = packet.properties
    if (authenticationMethod !== undefined) {
      // MQTT-4.12.0-5
      properties.authenticationMethod = authenticationMethod
      if (who.data !== undefined) properties.authenticationData = who.data
    }
    return properties
  }

  #expirySeconds(packet: Connect): number {
    const { persistentClientExpiration } = this.#context.limits
    if (packet.protocolVersion === 5) return Math.min(expiryOf(packet), persistentClientExpiration)
    // [3.1.1 MQTT-3.1.2-4] [3.1.1 MQTT-3.1.2-6]
    return packet.cleanStart ? 0 : persistentClientExpiration
  }

  /** To whom the id belongs, by the rules and by a prefix with the user name in it. */
  #useOf({ info }: ClientLink, clientId: string, { username, verified }: Pick<Admitted, 'username' | 'verified'>): ClientIdUse {
    const { clientIdPrefix } = info.settings ?? DEFAULT_LINK_SETTINGS
    const user = verified ? username : undefined
    if (isOwnListener(info.listener)) return 'own'
    const use = this.#context.access.clientIdUse?.(info.kind, clientId, user) ?? 'free'
    if (use === 'foreign' || !hasUserName(clientIdPrefix)) return use
    const prefix = prefixOf(clientIdPrefix, user)
    return prefix !== undefined && clientId.startsWith(prefix) ? 'own' : 'foreign'
  }

  #assignedId({ autoIdPrefix: usual, clientIdPrefix }: LinkSettings, { username, verified }: Admitted): string {
    const ofUser = hasUserName(clientIdPrefix) ? prefixOf(clientIdPrefix, verified ? username : undefined) : ''
    const autoIdPrefix = (ofUser ?? '') + usual
    // 96 bits: a client that knows the id can take the session over.
    const part = (): string => Math.floor(this.#context.random() * 2 ** 48).toString(36)
    const random = part() + part()
    for (let id = `${autoIdPrefix}${random}`, count = 2; ; id = `${autoIdPrefix}${random}-${count++}`) {
      // [MQTT-3.1.3-6] [MQTT-3.2.2-16]
      if (this.#sessions.get('mqtt', id) === undefined && this.#sessions.get('sn', id) === undefined) return id
    }
  }
}

/** Bytes of will and names that a client may have when it resumes a session, whatever the memory. */
const FREE_BYTES = 2048

/**
 * 5.0 assigns an id, whatever Clean Start says (MQTT-3.1.3-6); in 3.1.1 a session without an id cannot be resumed
 * (3.1.1 MQTT-3.1.3-8), and 3.1 requires an id.
 */
function mayBeNameless({ protocolVersion, cleanStart }: Connect): boolean {
  // [3.1.1 MQTT-3.1.3-8]
  return protocolVersion === 5 || (protocolVersion === 4 && cleanStart)
}

/** The Session Expiry Interval of a 5.0 client, in seconds. */
function expiryOf({ properties: { sessionExpiryInterval: interval = 0 } }: Connect): number {
  return interval === 0xffffffff ? Number.POSITIVE_INFINITY : interval
}

/**
 * The prefix of the client ids of one user, by a `clientid_prefixes` with `%u` in it. `undefined` without a user, and for a user
 * name that contains the text after `%u`: with `%u-` the ids of `a-b` would be among those of `a`.
 */
function prefixOf(prefixes: string, username: string | undefined): string | undefined {
  const [before, separator] = prefixes.split('%u') as [string, string]
  return username === undefined || username === '' || username.includes(separator) ? undefined : before + username + separator
}

const hasUserName = (prefixes: string): boolean => prefixes.includes('%u')
