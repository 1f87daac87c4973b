import type { NoticeSink } from '../../base/notice.ts'
import type { AuthAnswer, AuthRequest } from '../../broker/access.ts'
import type { LinkId } from '../../mqtt/link.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { Acl, type AclRule, type RuleSet } from '../acl.ts'
import { isRefused, type PasswordEntry } from '../password-file.ts'
import { Grant, type Proof } from '../policy.ts'
import type { HttpCallout } from './http-callout.ts'
import { nobodyAmong, type PasswordChecker } from './password-hash.ts'
import { SCRAM_SHA_256, ScramExchange } from './scram.ts'
import type { TokenVerifier } from './token-verifier.ts'

/** Who can be asked about the clients of one listener. */
export interface Verifiers {
  readonly passwords: ReadonlyMap<string, PasswordEntry> | undefined
  readonly tokens: TokenVerifier | undefined
  readonly callout: HttpCallout | undefined
}

type Others = Pick<Verifiers, 'tokens' | 'callout'>

/** One client whose authentication is under way. */
interface Pending {
  readonly gone: AbortController
  scram: { readonly exchange: ScramExchange; readonly lines: string } | undefined
}

/**
 * Finds out who clients are: by the password file if it knows the user, then by token, then by the HTTP service; or step by step with
 * SCRAM-SHA-256. Never rejects, and never lets anybody in because something failed.
 */
export class Authenticator {
  readonly #notice: NoticeSink
  #secret: Uint8Array | undefined
  readonly #checker: PasswordChecker
  readonly #verifiersOf: (listener: string) => Verifiers
  /** As many as there are connections before CONNACK. */
  readonly #pending = new Map<LinkId, Pending>()

  constructor(checker: PasswordChecker, verifiersOf: (listener: string) => Verifiers, notice: NoticeSink = () => {}) {
    this.#notice = notice
    this.#checker = checker
    this.#verifiersOf = verifiersOf
  }

  /** Made-up challenges go by it from now on. */
  keepSecret(secret: Uint8Array): void {
    this.#secret = secret
  }

  async authenticate(request: AuthRequest): Promise<AuthAnswer> {
    const { link, method } = request
    const pending = this.#pending.get(link) ?? { gone: new AbortController(), scram: undefined }
    this.#pending.set(link, pending)
    let answer: AuthAnswer
    try {
      answer = method === undefined ? await this.#verify(request, pending.gone.signal) : await this.#scram(request, pending)
    } catch (error) {
      answer = this.#unavailable((error as Error).message)
    }
    if (answer.kind !== 'continue') this.#pending.delete(link)
    return answer
  }

  abandon(link: LinkId): void {
    this.#pending.get(link)?.gone.abort()
    this.#pending.delete(link)
  }

  async #verify(request: AuthRequest, signal: AbortSignal): Promise<AuthAnswer> {
    const { username, password, info } = request
    const { passwords, tokens, callout } = this.#verifiersOf(info.listener)
    const entry = username === undefined ? undefined : passwords?.get(username)
    if (isOurs(entry) || (passwords !== undefined && tokens === undefined && callout === undefined)) {
      const nobody = nobodyAmong(passwords)
      const verdict = await this.#checker.check(entry?.password ?? nobody, password ?? NOTHING, signal, nobody)
      if (verdict === 'busy' || verdict === 'abandoned') return refused(ReasonCode.SERVER_BUSY, 'too many clients log in')
      if (verdict === 'wrong' || entry?.password === undefined) return WRONG
      return { kind: 'accepted', username, grant: new Grant({ kind: 'password', lines: entry.text }, undefined) }
    }
    const answer = await this.#elsewhere(request, { tokens, callout }, signal)
    // A user of the password file who is refused has cost a hash: so do others, where they say a name.
    const isWrong = answer.kind === 'refused' && answer.reasonCode === ReasonCode.BAD_USER_NAME_OR_PASSWORD
    if (isWrong && passwords !== undefined && username !== undefined)
      await this.#checker.check(nobodyAmong(passwords), password ?? NOTHING, signal)
    return answer
  }

  /** By those who know users that the password file does not. */
  async #elsewhere(request: AuthRequest, { tokens, callout }: Others, signal: AbortSignal): Promise<AuthAnswer> {
    const { username, password } = request
    if (tokens !== undefined && (callout === undefined || looksLikeToken(password))) {
      return this.#byToken(request, tokens)
    }
    if (callout === undefined) return WRONG
    const answer = await callout.ask(request, signal)
    if (answer.kind === 'deny') return WRONG
    if (answer.kind === 'failed')
      return signal.aborted ? refused(ReasonCode.SERVER_UNAVAILABLE, answer.reason) : this.#unavailable(answer.reason)
    return granted(request, username, { kind: 'service' }, answer)
  }

  /** Nobody can be verified: that concerns the operator more than the client that met with it. */
  #unavailable(reason: string): AuthAnswer {
    this.#notice({ code: 'authentication-failed', level: 'warn', reason })
    return refused(ReasonCode.SERVER_UNAVAILABLE, reason)
  }

  async #byToken(request: AuthRequest, tokens: TokenVerifier): Promise<AuthAnswer> {
    const token = await tokens.verify(Buffer.from(request.password ?? NOTHING).toString())
    if (typeof token === 'string') return refused(ReasonCode.BAD_USER_NAME_OR_PASSWORD, `token: ${token}`)
    const { username } = request
    // Whoever claims a name has to be its bearer.
    if (username !== undefined && username !== '' && username !== token.username) return WRONG
    // Nor is one who says no name a user of the password file: that is a question for the password alone.
    if (isOurs(this.#verifiersOf(request.info.listener).passwords?.get(token.username)))
      return refused(ReasonCode.BAD_USER_NAME_OR_PASSWORD, `token: user ${token.username} has a password`)
    return granted(request, token.username, { kind: 'token', key: token.key }, token)
  }

  async #scram({ info, step, data, method }: AuthRequest, pending: Pending): Promise<AuthAnswer> {
    const { passwords } = this.#verifiersOf(info.listener)
    if (method !== SCRAM_SHA_256 || passwords === undefined) {
      return refused(ReasonCode.BAD_AUTHENTICATION_METHOD, `no authentication by ${method}`)
    }
    if (step === 1) {
      const exchange = ScramExchange.begin(data ?? NOTHING, passwords, undefined, this.#secret)
      if (exchange === undefined) return refused(ReasonCode.NOT_AUTHORIZED, 'no SCRAM client-first-message')
      // As they are now: the proof is made with them.
      pending.scram = { exchange, lines: passwords.get(exchange.username)?.text ?? '' }
      return { kind: 'continue', data: Buffer.from(exchange.serverFirst) }
    }
    const { scram } = pending
    if (scram === undefined) return refused(ReasonCode.NOT_AUTHORIZED, 'the proof is wrong')
    const { exchange, lines } = scram
    const { username } = exchange
    const serverFinal = exchange.finish(data ?? NOTHING)
    if (serverFinal === undefined) return { ...refused(ReasonCode.NOT_AUTHORIZED, 'the proof is wrong'), username }
    if (await exchange.hasEmptyPassword()) return { ...refused(ReasonCode.NOT_AUTHORIZED, 'the password is empty'), username }
    const grant = new Grant({ kind: 'password', lines }, undefined)
    return { kind: 'accepted', username, grant, data: Buffer.from(serverFinal) }
  }
}

const NOTHING = new Uint8Array(0)

/** A user about whom nobody but the password file is asked, because there is a hash, or a line that should have been one. */
const isOurs = (entry: PasswordEntry | undefined): boolean =>
  entry !== undefined && (entry.password !== undefined || isRefused(entry))

const refused = (reasonCode: number, reason: string): AuthAnswer & { kind: 'refused' } => ({
  kind: 'refused',
  reasonCode,
  reason,
})

/** The same for an unknown user and a wrong password. */
const WRONG = refused(ReasonCode.BAD_USER_NAME_OR_PASSWORD, 'user name or password')

/** Three parts of base64url with dots between: worth verifying as a token before the service is asked. */
const looksLikeToken = (password: Uint8Array | undefined): boolean =>
  password !== undefined && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(Buffer.from(password).toString('latin1'))

interface Rights {
  readonly publish: readonly string[] | undefined
  readonly subscribe: readonly string[] | undefined
  readonly validSeconds: number | undefined
}

function granted({ clientId }: AuthRequest, username: string | undefined, proof: Proof, rights: Rights): AuthAnswer {
  const grant = new Grant(proof, rulesOf(rights, { clientId, username }))
  const { validSeconds } = rights
  return { kind: 'accepted', username, grant, ...(validSeconds !== undefined && { validSeconds }) }
}

/** Rules that came with the proof; one list without the other leaves the other empty. */
function rulesOf({ publish, subscribe }: Rights, who: { clientId: string; username: string | undefined }): RuleSet | undefined {
  if (publish === undefined && subscribe === undefined) return undefined
  const rules: AclRule[] = [
    ...(publish ?? []).map((filter) => ({ permission: 'write' as const, filter })),
    ...(subscribe ?? []).map((filter) => ({ permission: 'read' as const, filter })),
  ]
  return new Acl([], new Map(), rules).rulesFor(who)
}
