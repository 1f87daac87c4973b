import { Fifo } from '../base/fifo.ts'
import { HeldByAddress } from '../base/held-by-address.ts'
import type { Instant } from '../base/machine.ts'
import { LOGINS_PART, type Memory } from '../base/memory.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { LinkId } from '../mqtt/link.ts'
import { type Auth, type Connect, PacketType } from '../mqtt/packets.ts'
import type { Properties } from '../mqtt/properties.ts'
import { propertyMemory } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { willBytes } from '../mqtt/wills.ts'
import { type AuthAnswer, type AuthRequest, refusalWords } from './access.ts'
import type { ClientLink } from './client-link.ts'
import type { Session } from './session.ts'

/** The result of a successful authentication. */
export interface Admitted {
  readonly username: string | undefined
  readonly grant: object | undefined
  /** The user name is verified, not only claimed. */
  readonly verified: boolean
  /** For CONNACK. */
  readonly data?: Uint8Array
  readonly validSeconds?: number
}

/** Why a CONNECT is refused. */
export interface Refusal {
  readonly reasonCode: number
  /** Reason String of CONNACK: any client may read it. */
  readonly reason: string
  /** The same for the log, where that may say more. */
  readonly detail?: string
  /** The limit that was reached, by its configuration key. */
  readonly limit?: string
}

/** A refusal that names the limit in its reason. */
export const refusal = (reasonCode: number, reason: string, limit?: string): Refusal => ({
  reasonCode,
  reason: limit === undefined ? reason : `${reason} (${limit})`,
  ...(limit !== undefined && { limit }),
})

/** State of the authentication of one link [5.0 section 4.12]. */
export interface Authenticating {
  /** The CONNECT to be answered; `undefined` in a re-authentication. */
  readonly connect: Connect | undefined
  readonly method: string | undefined
  step: number
  /** Whose turn it is. */
  awaits: 'shell' | 'client'
}

/** Acts on the results of authentications. */
export interface AuthenticationOwner {
  admit(now: Instant, link: ClientLink, connect: Connect, who: Admitted): void
  refuse(link: ClientLink, connect: Connect, refusal: Refusal, username?: string): void
  /** Returns 0, or the reason code with which the client has to be disconnected after all. */
  renew(now: Instant, session: Session, who: Admitted): number
  fail(now: Instant, link: ClientLink, reasonCode: number, reason: string, limit?: string, detail?: string): void
}

/**
 * Authentication that takes several turns: a question to the shell, an answer later, and for enhanced authentication AUTH packets
 * to and from the client in between. Before CONNACK a link that waits for the shell is not read; other links are not affected.
 */
export class Authentication {
  readonly #owner: AuthenticationOwner
  readonly #requests = new Fifo<AuthRequest>()
  readonly #abandoned = new Fifo<LinkId>()
  /** The newest are answered first, so of an address the oldest is the least likely to be answered in time. */
  readonly #pending = new HeldByAddress<ClientLink>()
  /** Limit on the bytes of pending logins. */
  readonly #bytesMax: number
  readonly #notice: NoticeSink

  constructor(owner: AuthenticationOwner, { limits: { memoryLimit } }: Memory, notice: NoticeSink) {
    this.#owner = owner
    this.#bytesMax = memoryLimit * LOGINS_PART
    this.#notice = notice
  }

  /** Bytes of the CONNECT and AUTH packets that wait for an answer. */
  get bytes(): number {
    return this.#pending.bytes
  }

  /** The next question for the shell. */
  nextRequest(): AuthRequest | undefined {
    return this.#requests.shift()
  }

  /** The next link whose question no longer needs an answer. */
  nextAbandoned(): LinkId | undefined {
    return this.#abandoned.shift()
  }

  /** The link is gone: its verification can stop. */
  abandon(link: ClientLink): void {
    if (link.authenticating === undefined) return
    this.#over(link)
    this.#abandoned.push(link.id)
  }

  /** CONNECT waits until the client is verified. */
  begin(now: Instant, link: ClientLink, connect: Connect): void {
    const { authenticationMethod: method, authenticationData: data } = connect.properties
    link.authenticating = { connect, method, step: 0, awaits: 'shell' }
    this.#ask(now, link, connect.clientId, connect, method, data, false)
  }

  /** AUTH from a client, before CONNACK or for re-authentication. */
  received(now: Instant, link: ClientLink, session: Session | undefined, packet: Auth): void {
    const { authenticationMethod: method, authenticationData: data } = packet.properties
    const going = link.authenticating
    if (going === undefined) {
      // [MQTT-4.12.0-7]
      if (session === undefined || link.authMethod === undefined || packet.reasonCode !== ReasonCode.RE_AUTHENTICATE) {
        this.#owner.fail(now, link, ReasonCode.PROTOCOL_ERROR, 'AUTH without an authentication')
        return
      }
      // [MQTT-4.12.1-1]
      if (method !== link.authMethod) {
        this.#owner.fail(now, link, ReasonCode.PROTOCOL_ERROR, 'AUTH with another method than CONNECT (MQTT-4.12.1-1)')
        return
      }
      link.authenticating = { connect: undefined, method, step: 0, awaits: 'shell' }
      this.#ask(now, link, session.clientId, session, method, data, true)
      return
    }
    // [MQTT-4.12.0-3]
    if (going.awaits !== 'client' || packet.reasonCode !== ReasonCode.CONTINUE_AUTHENTICATION || method !== going.method) {
      this.#owner.fail(now, link, ReasonCode.PROTOCOL_ERROR, 'AUTH out of turn or with another method (MQTT-4.12.0-3, -5)')
      return
    }
    going.awaits = 'shell'
    this.#ask(now, link, going.connect?.clientId ?? session!.clientId, going.connect ?? session!, method, data, false)
  }

  /** The shell's answer; ignored if it comes too late. */
  answered(now: Instant, link: ClientLink, step: number, answer: AuthAnswer): void {
    const going = link.authenticating
    if (link.closed || going === undefined || going.step !== step || going.awaits !== 'shell') return
    const { connect, method } = going
    if (answer.kind === 'continue') {
      going.awaits = 'client'
      // [MQTT-3.15.2-1] [MQTT-4.12.0-2]
      link.push(authPacket(ReasonCode.CONTINUE_AUTHENTICATION, method, answer.data), 0)
      return
    }
    this.#over(link)
    if (answer.kind === 'refused') {
      const { reasonCode, reason: detail, username } = answer
      const reason = refusalWords(reasonCode)
      // [MQTT-4.12.1-2]
      if (connect === undefined) this.#owner.fail(now, link, reasonCode, reason, undefined, detail)
      else this.#owner.refuse(link, connect, { reasonCode, reason, detail }, username)
      return
    }
    const { kind: _, ...rest } = answer
    const who: Admitted = { ...rest, verified: true }
    if (connect !== undefined) {
      this.#owner.admit(now, link, connect, who)
      return
    }
    const session = link.client!
    if (answer.username !== session.username) {
      this.#owner.fail(now, link, ReasonCode.NOT_AUTHORIZED, 're-authentication as another user')
      return
    }
    const standing = this.#owner.renew(now, session, who)
    if (standing !== 0) {
      this.#owner.fail(now, link, standing, 'the rules have changed')
      return
    }
    link.push(authPacket(ReasonCode.SUCCESS, method, answer.data), 0)
  }

  /** Refuses logins of the address with the most pending bytes until the rest fits. */
  #boundPending(now: Instant): void {
    while (this.#pending.bytes > this.#bytesMax) {
      const { item: link, bytes } = this.#pending.largest()!
      const { connect } = link.authenticating!
      this.abandon(link)
      const limit = 'memory_limit'
      const reason = `too many logins wait, ${kib(bytes)} from this address: one of them is refused`
      this.#notice({ code: 'limit-reached', level: 'warn', peer: link.info.peer, reason, limit })
      const reasonCode = ReasonCode.SERVER_BUSY
      const words = refusalWords(reasonCode)
      if (connect === undefined) this.#owner.fail(now, link, reasonCode, words)
      else this.#owner.refuse(link, connect, { reasonCode, reason: words })
    }
  }

  #over(link: ClientLink): void {
    this.#pending.remove(link)
    link.authenticating = undefined
  }

  #ask(
    now: Instant,
    link: ClientLink,
    clientId: string,
    { username, password }: { username: string | undefined; password?: Uint8Array | undefined },
    method: string | undefined,
    data: Uint8Array | undefined,
    again: boolean,
  ): void {
    const going = link.authenticating!
    const step = ++going.step
    const { connect } = going
    const bytes = connect === undefined || step > 1 ? authBytes(connect, data) : connectBytes(connect)
    this.#pending.set(link, link.info.peer, bytes)
    this.#boundPending(now)
    if (link.authenticating === undefined) return
    this.#requests.push({ link: link.id, step, info: link.info, clientId, username, password, method, data, again })
  }
}

/** Bytes of a pending AUTH packet, with its CONNECT. */
const authBytes = (connect: Connect | undefined, data: Uint8Array | undefined): number =>
  (connect === undefined ? COST.login : connectBytes(connect)) + (data?.buffer.byteLength ?? 0)

/** Bytes of a pending CONNECT: its password keeps the buffer that it was read into. */
const connectBytes = ({ clientId, username = '', password, will, properties }: Connect): number =>
  COST.login +
  stringBytes(clientId) +
  stringBytes(username) +
  (password?.buffer.byteLength ?? 0) +
  willBytes(will) +
  propertyMemory(properties)

const kib = (bytes: number): string => `${Math.ceil(bytes / 1024)} KiB`

function authPacket(reasonCode: number, method: string | undefined, data: Uint8Array | undefined): Auth {
  const properties: Properties = {
    // [MQTT-4.12.0-5]
    ...(method !== undefined && { authenticationMethod: method }),
    ...(data !== undefined && { authenticationData: data }),
  }
  return { type: PacketType.AUTH, reasonCode, properties }
}
