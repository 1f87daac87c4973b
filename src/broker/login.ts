import type { Instant } from '../base/machine.ts'
import { NameMap } from '../base/name-map.ts'
import type { ClientKind } from '../mqtt/link.ts'
import { type Connect, type Packet, PacketType } from '../mqtt/packets.ts'
import type { ProtocolVersion } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { refusalWords } from './access.ts'
import { type Admitted, Authentication, type AuthenticationOwner, type Refusal } from './authentication.ts'
import { tellConnected } from './client-facts.ts'
import type { ClientLink } from './client-link.ts'
import { Connector } from './connector.ts'
import type { BrokerContext } from './context.ts'
import type { Requests } from './requests.ts'
import { type Session, sessionKey } from './session.ts'
import type { SessionWills } from './session-wills.ts'
import type { Sessions } from './sessions.ts'

/** What a login needs of the broker behind it. */
export interface LoginOwner {
  close(now: Instant, link: ClientLink, reasonCode: number, disconnect?: boolean): void
  fail(now: Instant, link: ClientLink, reasonCode: number, reason: string, limit?: string, detail?: string): void
  /** The rights of a connected client have changed. */
  rightsChanged(now: Instant, session: Session): void
  /** The session has not been checked against the rules under which its client has connected. */
  checkRights(now: Instant, session: Session): void
}

/**
 * From CONNECT to CONNACK: checks, authentication where the rules ask for it, and the answer. Also applies what a
 * re-authentication has changed.
 */
export class Login implements AuthenticationOwner {
  readonly authentication: Authentication
  readonly #context: BrokerContext
  readonly #sessions: Sessions
  readonly #requests: Requests
  readonly #connector: Connector
  readonly #owner: LoginOwner
  /** Links whose CONNECT waits until the previous session of that client id has ended: one for each. */
  readonly #awaitingEnd = new NameMap<ClientLink>()

  constructor(context: BrokerContext, sessions: Sessions, wills: SessionWills, requests: Requests, owner: LoginOwner) {
    this.#context = context
    this.#sessions = sessions
    this.#requests = requests
    this.#connector = new Connector(context, sessions, wills)
    this.authentication = new Authentication(this, context.memory, context.notice)
    this.#owner = owner
  }

  /** MQTT-3.1.0-1: nothing comes before CONNECT; MQTT-4.12.0-6: nothing but AUTH and DISCONNECT before authentication is over. */
  received(now: Instant, link: ClientLink, packet: Packet): void {
    // Only a stream that has ended still delivers packets now, and it needs no answer.
    if (link.state === 'verifying' || link.busy !== '') return
    if (packet.type === PacketType.CONNECT && link.authenticating === undefined) this.#connect(now, link, packet)
    else if (packet.type === PacketType.AUTH) this.authentication.received(now, link, undefined, packet)
    else if (packet.type === PacketType.DISCONNECT) link.close(0, false)
    else this.#owner.fail(now, link, ReasonCode.PROTOCOL_ERROR, 'packet before CONNACK')
  }

  #connect(now: Instant, link: ClientLink, packet: Connect): void {
    const wrong = this.#connector.check(link, packet)
    if (wrong !== undefined) {
      this.refuse(link, packet, wrong)
      return
    }
    const admitted = this.#context.access.connect(link.info, packet)
    // [MQTT-3.1.4-2]
    if (admitted === 'ask') this.authentication.begin(now, link, packet)
    else if (admitted === ReasonCode.BANNED) {
      this.refuse(link, packet, { reasonCode: admitted, reason: refusalWords(admitted), limit: 'ban_file' })
    } else if (admitted !== 0) this.refuse(link, packet, { reasonCode: admitted, reason: 'not allowed' })
    else {
      const { identity } = link.info
      const username = identity ?? packet.username
      this.admit(now, link, packet, { username, grant: undefined, verified: identity !== undefined })
    }
  }

  /** `hasWaited`: this is the second attempt, after the previous session has ended. */
  admit(now: Instant, link: ClientLink, packet: Connect, who: Admitted, hasWaited = false): void {
    const takeOver = (old: ClientLink): void => this.#owner.close(now, old, ReasonCode.SESSION_TAKEN_OVER)
    const admitted = this.#connector.admit(now, link, packet, who, takeOver, hasWaited)
    // A link that already waits for this session is taken over.
    const key = sessionKey(link.info.kind, packet.clientId)
    const earlier = this.#awaitingEnd.size === 0 ? undefined : this.#awaitingEnd.get(key)
    if (earlier !== undefined) this.#awaitingEnd.delete(key)
    if (earlier !== undefined && earlier !== link) this.#owner.close(now, earlier, ReasonCode.SESSION_TAKEN_OVER, false)
    if (admitted === 'ending') {
      const before = this.#sessions.get(link.info.kind, packet.clientId)!
      this.#awaitingEnd.set(key, link)
      this.#requests.begin(now, link, 0, this.#sessions.ending(before), (then) => this.admit(then, link, packet, who, true))
    } else if ('reasonCode' in admitted) this.refuse(link, packet, admitted)
    else {
      this.#context.stats.connected++
      if (link.info.isRestored !== true) this.#reportConnected(link, packet, admitted)
      // [MQTT-4.4.0-1]
      link.resume(admitted)
      if (admitted.unchecked) this.#owner.checkRights(now, admitted)
    }
  }

  #reportConnected(link: ClientLink, packet: Connect, session: Session): void {
    const { key, username } = session
    const { kind, peer } = link.info
    tellConnected(this.#context, session, link, packet)
    const notice = { code: 'client-connected', level: 'info', client: key, peer, reason: requested(packet, kind) } as const
    this.#context.notice(username === undefined ? notice : { ...notice, user: username })
  }

  refuse(link: ClientLink, packet: Connect, { reasonCode, reason, detail = reason, limit }: Refusal, username?: string): void {
    this.#context.stats.refused++
    const { kind, peer, identity } = link.info
    const user = username ?? identity ?? packet.username
    const told = {
      reason: `${detail} (reason code 0x${reasonCode.toString(16)})`,
      ...(limit !== undefined && { limit }),
      ...(user !== undefined && { user }),
    }
    this.#context.notice({ code: 'client-refused', level: 'info', client: `${kind}:${packet.clientId}`, peer, ...told })
    // The connection ends after a refusal (MQTT-3.2.2-7), and no session is present (MQTT-3.2.2-6).
    // [MQTT-3.2.2-6]
    link.refuse({ type: PacketType.CONNACK, sessionPresent: false, reasonCode, properties: { reasonString: reason } })
  }

  renew(now: Instant, session: Session, who: Admitted): number {
    const { access } = this.#context
    const { kind, clientId, username, listener, certified } = session
    const identity = { kind, clientId, username, listener, grant: who.grant, certified, verified: who.verified }
    const standing = access.remains(identity, session.link?.info.peer ?? '')
    if (standing !== 0) return standing
    // Each login brings a new grant object, usually with the same rights; the user and the listener are the same.
    const isSame = session.grant === who.grant || access.stored(session.grant) === access.stored(who.grant)
    this.#sessions.granted(now, session, who)
    if (!isSame) this.#owner.rightsChanged(now, session)
    return 0
  }

  fail(now: Instant, link: ClientLink, reasonCode: number, reason: string, limit?: string, detail?: string): void {
    this.#owner.fail(now, link, reasonCode, reason, limit, detail)
  }

  /** The link is closed and no longer waits for the end of a session. */
  abandon(link: ClientLink): void {
    for (const [key, waiting] of this.#awaitingEnd) if (waiting === link) this.#awaitingEnd.delete(key)
  }
}

const VERSIONS: Readonly<Record<ProtocolVersion, string>> = { 3: 'MQTT 3.1', 4: 'MQTT 3.1.1', 5: 'MQTT 5.0' }

/** What a client has asked for in CONNECT, for people: `MQTT 3.1.1, keep alive 60 s, clean session`. */
function requested({ protocolVersion, keepAlive, cleanStart, properties }: Connect, kind: ClientKind): string {
  const version = kind === 'sn' ? 'MQTT-SN 1.2' : VERSIONS[protocolVersion]
  const alive = keepAlive === 0 ? 'no keep alive' : `keep alive ${keepAlive} s`
  if (kind === 'sn' || protocolVersion < 5) return `${version}, ${alive}, ${cleanStart ? 'clean' : 'persistent'} session`
  const { sessionExpiryInterval: expiry = 0 } = properties
  const lasts = expiry === NEVER ? 'session without expiry' : `session expiry ${expiry} s`
  return `${version}, ${alive}, ${cleanStart ? 'clean start, ' : ''}${lasts}`
}

/** The Session Expiry Interval of a session that does not expire [5.0 section 3.1.2.11.2]. */
const NEVER = 0xffff_ffff
