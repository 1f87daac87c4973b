import { availableParallelism } from 'node:os'
import type { AuthAnswer, AuthRequest } from '../../broker/access.ts'
import type { LinkId } from '../../mqtt/link.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { Acl, type AclRule, type RuleSet } from '../acl.ts'
import { isRefused, type PasswordEntry } from '../password-file.ts'
import { Grant, type Proof } from '../policy.ts'
import type { CalloutAnswer, HttpCallout } from './http-callout.ts'
import { type AdmissionOptions, defaultAdmissionOptions, LoginAdmission, type NotAdmitted } from './login-admission.ts'
import { decoyHash, type PasswordChecker, type Verdict } from './password-hash.ts'
import { SCRAM_SHA_256, ScramExchange } from './scram.ts'
import type { TokenVerifier } from './token-verifier.ts'

/**
 * Asks the program that Roost is part of whether a client may connect: with reason code 0, as `username` or as the user it has named.
 * Rejects if that is not known.
 */
export type LoginHook = (request: AuthRequest) => Promise<{ readonly reasonCode: number; readonly username: string | undefined }>

/** The ways to verify the clients of one listener. */
export interface Verifiers {
  readonly passwords: Passwords | undefined
  readonly tokens: TokenVerifier | undefined
  readonly callout: HttpCallout | undefined
}

type Passwords = ReadonlyMap<string, PasswordEntry>
type Others = Pick<Verifiers, 'tokens' | 'callout'>

/**
 * Limits of hashing, which shares its threads with other work of the process. One core should stay free for connected
 * clients.
 */
const HASHES = { running: Math.max(1, Math.min(2, availableParallelism() - 1)), reserved: 0 }
/** Limits of requests to one service. */
const SERVICE = { running: 50, reserved: 10 }
/** Limits of token verification. It is cheap, but a token may have to wait for keys from a URL. */
const TOKENS = { running: 500, reserved: 100 }

/** A client whose authentication is in progress. */
interface Pending {
  readonly gone: AbortController
  /** The client presented wrong credentials, whatever the answer to it is. */
  hasGuessed: boolean
  scram: { readonly exchange: ScramExchange; readonly lines: string } | undefined
}

/**
 * Verifies the identity of clients: by a hook if there is one, otherwise by the password file if it contains the user, then by token, then by the HTTP
 * service; or in several steps by SCRAM-SHA-256. Never rejects, and never accepts a client because something failed.
 */
export class Authenticator {
  #secret: Uint8Array | undefined
  readonly #checker: PasswordChecker
  readonly #verifiersOf: (listener: string) => Verifiers
  /** At most one per connection that waits for CONNACK. */
  readonly #pending = new Map<LinkId, Pending>()
  readonly #options: AdmissionOptions
  readonly #hashes: LoginAdmission
  readonly #tokens: LoginAdmission
  readonly #asked: LoginAdmission
  readonly #hook: LoginHook | undefined
  /** By URL; at most as many as the configuration contains. */
  readonly #services = new Map<string, LoginAdmission>()

  constructor(
    checker: PasswordChecker,
    verifiersOf: (listener: string) => Verifiers,
    options: AdmissionOptions = defaultAdmissionOptions(),
    hook?: LoginHook | undefined,
  ) {
    this.#hook = hook
    this.#asked = new LoginAdmission(options, SERVICE)
    this.#checker = checker
    this.#verifiersOf = verifiersOf
    this.#options = options
    this.#hashes = new LoginAdmission(options, HASHES)
    this.#tokens = new LoginAdmission(options, TOKENS)
  }

  /** Sets the secret from which challenges for unknown users are derived from now on. */
  keepSecret(secret: Uint8Array): void {
    this.#secret = secret
  }

  async authenticate(request: AuthRequest): Promise<AuthAnswer> {
    const { link, method } = request
    const pending = this.#pending.get(link) ?? { gone: new AbortController(), hasGuessed: false, scram: undefined }
    this.#pending.set(link, pending)
    let answer: AuthAnswer
    try {
      answer = method === undefined ? await this.#verify(request, pending) : await this.#scram(request, pending)
    } catch (error) {
      answer = this.#unavailable((error as Error).message)
    }
    if (answer.kind === 'refused') await this.#refused(request, answer.reasonCode, pending)
    if (answer.kind !== 'continue') this.#pending.delete(link)
    return answer
  }

  /** Penalizes the address for a failure: its next refusal is delayed longer, and its checks get a lower priority. */
  async #refused({ info: { peer } }: AuthRequest, reasonCode: number, { gone, hasGuessed }: Pending): Promise<void> {
    const { logins, now, delay } = this.#options
    const ms = logins.delayMs(now(), peer)
    if (hasGuessed || GUESSES.has(reasonCode)) logins.failed(now(), peer)
    if (ms > 0 && reasonCode !== ReasonCode.BANNED) await delay(ms, gone.signal)
  }

  /** Runs `work` when it is this client's turn. `isRight` returns whether the result authenticates the client. */
  async #inTurn<R>(
    admission: LoginAdmission,
    request: AuthRequest,
    signal: AbortSignal,
    work: () => Promise<R>,
    isRight: (result: R) => boolean,
  ): Promise<R | NotAdmitted> {
    const result = await admission.run(request, signal, work)
    const { logins, now } = this.#options
    if (!isNotAdmitted(result) && isRight(result)) logins.succeeded(now(), request.info.peer)
    return result
  }

  abandon(link: LinkId): void {
    this.#pending.get(link)?.gone.abort()
    this.#pending.delete(link)
  }

  async #verify(request: AuthRequest, pending: Pending): Promise<AuthAnswer> {
    const { signal } = pending.gone
    const { username, password, info } = request
    if (this.#hook !== undefined) return this.#byHook(request, this.#hook, signal)
    const { passwords, tokens, callout } = this.#verifiersOf(info.listener)
    const entry = username === undefined ? undefined : passwords?.get(username)
    if (isOurs(entry) || (passwords !== undefined && tokens === undefined && callout === undefined)) {
      const decoy = decoyHash(passwords)
      const hash = entry?.password ?? decoy
      const inTurn = (work: () => Promise<Verdict>): Promise<Verdict | NotAdmitted> =>
        this.#inTurn(this.#hashes, request, signal, work, (result) => result === 'right')
      const verdict = await this.#checker.check(hash, password ?? NOTHING, inTurn, decoy)
      if (isNotAdmitted(verdict)) return notAdmitted(verdict)
      if (verdict === 'wrong' || entry?.password === undefined) return WRONG
      return { kind: 'accepted', username, grant: new Grant({ kind: 'password', lines: entry.text }, undefined) }
    }
    const answer = await this.#elsewhere(request, { tokens, callout }, signal)
    // A refused user in the password file has cost a hash, so a refusal of any other user name must cost one too.
    const isWrong = answer.kind === 'refused' && answer.reasonCode === ReasonCode.BAD_USER_NAME_OR_PASSWORD
    return isWrong && passwords !== undefined && username !== undefined
      ? this.#asWrong(request, passwords, answer, pending)
      : answer
  }

  /**
   * Returns the answer to a wrong password after a hash without a purpose, for which the address is not charged: the
   * response takes as long as if the user were in the file.
   */
  async #asWrong(request: AuthRequest, passwords: Passwords, wrong: AuthAnswer, pending: Pending): Promise<AuthAnswer> {
    const { password } = request
    const verdict = await this.#checker.check(decoyHash(passwords), password ?? NOTHING, (work) =>
      this.#inTurn(this.#hashes, request, pending.gone.signal, work, () => true),
    )
    if (!isNotAdmitted(verdict)) return wrong
    // A client that disconnects before the answer has made a guess too.
    pending.hasGuessed = true
    return notAdmitted(verdict)
  }

  async #byHook(request: AuthRequest, hook: LoginHook, signal: AbortSignal): Promise<AuthAnswer> {
    const answer = await this.#inTurn(
      this.#asked,
      request,
      signal,
      () => hook(request),
      ({ reasonCode }) => reasonCode === 0,
    )
    if (isNotAdmitted(answer)) return notAdmitted(answer)
    const { reasonCode, username = request.info.identity ?? request.username } = answer
    if (reasonCode !== 0) return refused(reasonCode, 'by the hook authenticate')
    return { kind: 'accepted', username, grant: new Grant({ kind: 'service' }, undefined) }
  }

  /** Verifies a user who is not in the password file, by token or by the HTTP service. */
  async #elsewhere(request: AuthRequest, { tokens, callout }: Others, signal: AbortSignal): Promise<AuthAnswer> {
    const { username, password } = request
    if (tokens !== undefined && (callout === undefined || looksLikeToken(password))) {
      return this.#byToken(request, tokens, signal)
    }
    if (callout === undefined) return WRONG
    const question = (): Promise<CalloutAnswer> => callout.ask(request, signal)
    const answer = await this.#inTurn(this.#serviceAt(callout.url), request, signal, question, ({ kind }) => kind === 'allow')
    if (isNotAdmitted(answer)) return notAdmitted(answer)
    if (answer.kind === 'deny') return WRONG
    if (answer.kind === 'failed')
      return signal.aborted ? refused(ReasonCode.SERVER_UNAVAILABLE, answer.reason) : this.#unavailable(answer.reason)
    return granted(request, username, { kind: 'service' }, answer)
  }

  /**
   * Refuses a client because authentication is unavailable, and reports it: it concerns the operator more than the
   * client.
   */
  #unavailable(reason: string): AuthAnswer {
    this.#options.notice({ code: 'authentication-failed', level: 'warn', reason })
    return refused(ReasonCode.SERVER_UNAVAILABLE, reason)
  }

  #serviceAt(url: string): LoginAdmission {
    const known = this.#services.get(url) ?? new LoginAdmission(this.#options, SERVICE)
    this.#services.set(url, known)
    return known
  }

  async #byToken(request: AuthRequest, tokens: TokenVerifier, signal: AbortSignal): Promise<AuthAnswer> {
    const verify = (): ReturnType<TokenVerifier['verify']> => tokens.verify(Buffer.from(request.password ?? NOTHING).toString())
    const token = await this.#inTurn(this.#tokens, request, signal, verify, (result) => typeof result !== 'string')
    if (isNotAdmitted(token)) return notAdmitted(token)
    if (typeof token === 'string') return refused(ReasonCode.BAD_USER_NAME_OR_PASSWORD, `token: ${token}`)
    const { username } = request
    // The token must belong to the user name in CONNECT.
    if (username !== undefined && username !== '' && username !== token.username) return WRONG
    // Without a user name in CONNECT, a token cannot stand for a user in the password file either: that user needs the
    // password.
    if (isOurs(this.#verifiersOf(request.info.listener).passwords?.get(token.username)))
      return refused(ReasonCode.BAD_USER_NAME_OR_PASSWORD, `token: user ${token.username} has a password`)
    return granted(request, token.username, { kind: 'token', key: token.key }, token)
  }

  async #scram(request: AuthRequest, pending: Pending): Promise<AuthAnswer> {
    const { info, step, data, method } = request
    const { passwords } = this.#verifiersOf(info.listener)
    if (method !== SCRAM_SHA_256 || passwords === undefined) {
      return refused(ReasonCode.BAD_AUTHENTICATION_METHOD, `no authentication by ${method}`)
    }
    if (step === 1) {
      const exchange = ScramExchange.begin(data ?? NOTHING, passwords, undefined, this.#secret)
      if (exchange === undefined) return refused(ReasonCode.NOT_AUTHORIZED, 'no SCRAM client-first-message')
      // The lines at this time, because the proof refers to them.
      pending.scram = { exchange, lines: passwords.get(exchange.username)?.text ?? '' }
      return { kind: 'continue', data: Buffer.from(exchange.serverFirst) }
    }
    const { scram } = pending
    if (scram === undefined) return refused(ReasonCode.NOT_AUTHORIZED, 'the proof is wrong')
    const { exchange, lines } = scram
    const { username } = exchange
    const serverFinal = exchange.finish(data ?? NOTHING)
    if (serverFinal === undefined) return { ...refused(ReasonCode.NOT_AUTHORIZED, 'the proof is wrong'), username }
    const isEmpty = exchange.needsHash
      ? await this.#inTurn(
          this.#hashes,
          request,
          pending.gone.signal,
          () => exchange.hasEmptyPassword(),
          (result) => !result,
        )
      : await exchange.hasEmptyPassword()
    if (isNotAdmitted(isEmpty)) return notAdmitted(isEmpty)
    if (isEmpty) return { ...refused(ReasonCode.NOT_AUTHORIZED, 'the password is empty'), username }
    const grant = new Grant({ kind: 'password', lines }, undefined)
    return { kind: 'accepted', username, grant, data: Buffer.from(serverFinal) }
  }
}

const NOTHING = new Uint8Array(0)

/** True for a user whom only the password file can verify, because it has a hash, or an invalid line, for the name. */
const isOurs = (entry: PasswordEntry | undefined): boolean =>
  entry !== undefined && (entry.password !== undefined || isRefused(entry))

/** Reason codes for wrong credentials, which may be a guess. */
const GUESSES = new Set<number>([ReasonCode.BAD_USER_NAME_OR_PASSWORD, ReasonCode.NOT_AUTHORIZED])

const isNotAdmitted = (result: unknown): result is NotAdmitted =>
  result === 'busy' || result === 'abandoned' || result === 'banned'

/** Converts to an answer; one for an abandoned client is never sent. */
const notAdmitted = (why: NotAdmitted): AuthAnswer =>
  why === 'banned'
    ? refused(ReasonCode.BANNED, 'the address is banned')
    : refused(ReasonCode.SERVER_BUSY, 'too many clients log in')

const refused = (reasonCode: number, reason: string): AuthAnswer & { kind: 'refused' } => ({
  kind: 'refused',
  reasonCode,
  reason,
})

/** The same answer for an unknown user and a wrong password. */
const WRONG = refused(ReasonCode.BAD_USER_NAME_OR_PASSWORD, 'user name or password')

/**
 * Returns whether a password has the form of a token, three parts of base64url separated by dots: then it is verified
 * as one, rather than by the service.
 */
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

/** Returns the rules that came with the proof. If only one of the lists is present, the other one is empty. */
function rulesOf({ publish, subscribe }: Rights, who: { clientId: string; username: string | undefined }): RuleSet | undefined {
  if (publish === undefined && subscribe === undefined) return undefined
  const rules: AclRule[] = [
    ...(publish ?? []).map((filter) => ({ permission: 'write' as const, filter })),
    ...(subscribe ?? []).map((filter) => ({ permission: 'read' as const, filter })),
  ]
  return new Acl([], new Map(), rules).rulesFor(who)
}
