import { createHash, createHmac, randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadPasswords, loginOptions, readText, warnIfOpen } from '../../access/io/access-files.ts'
import { decoyHash, PasswordChecker, type Verdict } from '../../access/io/password-hash.ts'
import { keyOf, Logins } from '../../access/logins.ts'
import type { PasswordEntry } from '../../access/password-file.ts'
import type { NoticeSink } from '../../base/notice.ts'
import { StartError } from '../../base/start-error.ts'
import type { Config } from '../../config/config.ts'
import type { Role } from '../exchange.ts'
import { parseTokens } from '../token-file.ts'
import { BrowserSessions } from './browser-sessions.ts'

/** Passwords that are being hashed, or wait for it, at most: hashing takes a tenth of a second of a thread. */
const HASHING_MAX = 8
/** Logins of one address at most that are being checked, or whose refusal is delayed. */
const PLACES_MAX = 2
/** Requests at most that wait for the same check, as those do that a browser sends at once for a page. */
const SHARED_MAX = 16

/** Who sends a request, or why it is refused: by the status 401 or 429. */
export type Caller = KnownCaller | { readonly kind: 'refused'; readonly status: 401 | 429; readonly reason: string }

export interface KnownCaller {
  readonly kind: 'known'
  readonly role: Role
  /** Undefined for a token, and where no login is needed. */
  readonly user: string | undefined
  /** The request itself carries a bearer token. */
  readonly byToken: boolean
  /** For this user, as long as the process runs. */
  readonly csrfToken: string
  /** The token, or the user's lines of the password file; undefined where no login is needed. */
  readonly proof: string | undefined
  /** The browser session that the request belongs to. */
  readonly sessionId: string | undefined
}

/** A login that is being checked, or whose refusal is delayed. */
interface Check {
  readonly caller: Promise<Caller>
  waiting: number
}

interface Contents {
  readonly passwords: ReadonlyMap<string, PasswordEntry> | undefined
  readonly tokens: ReadonlyMap<string, Role> | undefined
}

/** The users of the HTTP service: passwords, tokens, and what each of them may do. */
export class HttpUsers {
  readonly #config: Config
  readonly #notice: NoticeSink
  readonly #logins: Logins
  readonly #checker = new PasswordChecker()
  readonly #managers: ReadonlySet<string>
  /** What anyone may do where there are no users. */
  readonly #openRole: Role
  readonly #csrfSecret = randomBytes(32)
  readonly #sessions = new BrowserSessions()
  #contents: Contents
  readonly #delay: (ms: number) => Promise<unknown>
  /** By address and credentials. */
  readonly #checks = new Map<string, Check>()
  /** Number of checks by address. */
  readonly #places = new Map<string, number>()
  #hashing = 0
  #turn: Promise<unknown> = Promise.resolve()
  /** About the files that are in force. */
  warnings: readonly string[] = []

  /**
   * `openRole`: what anyone may do where no users are configured. `delay` resolves after so many milliseconds.
   * @throws StartError for the first invalid file
   */
  constructor(
    config: Config,
    openRole: Role,
    notice: NoticeSink = () => {},
    delay: (ms: number) => Promise<unknown> = (ms) => sleep(ms, undefined, { ref: false }),
  ) {
    this.#delay = delay
    this.#config = config
    this.#openRole = openRole
    this.#notice = notice
    this.#logins = new Logins(loginOptions(config), notice)
    this.#managers = new Set(config.httpManagers)
    const { contents, warnings } = this.#load('start')
    this.#contents = contents
    this.warnings = warnings
  }

  /** No login is needed. */
  get isOpen(): boolean {
    const { passwords, tokens } = this.#contents
    return passwords === undefined && tokens === undefined
  }

  /** Reads the files again; the function it returns applies them. @throws StartError for the first error */
  prepareReload(): () => void {
    const { contents, warnings } = this.#load('reload')
    this.#refuseExcludingAll(contents)
    return () => {
      this.#contents = contents
      this.warnings = warnings
      this.#checker.forget()
    }
  }

  /** Users of `http_password_file`, if it is configured. */
  get passwords(): ReadonlyMap<string, PasswordEntry> | undefined {
    return this.#contents.passwords
  }

  /** Puts new users of `http_password_file` into force. */
  replacePasswords(passwords: ReadonlyMap<string, PasswordEntry>): void {
    this.#contents = { ...this.#contents, passwords }
    this.#checker.forget()
  }

  /**
   * `authorization`: the header of that name; it counts before `sessionId`, the id of a browser session. `peer`: `127.0.0.1:51234`.
   * Never rejects.
   */
  async callerOf(authorization: string | undefined, peer: string, sessionId?: string): Promise<Caller> {
    if (this.isOpen) return this.#known(this.#openRole, undefined)
    const inSession = authorization === undefined && sessionId !== undefined ? this.#bySession(sessionId) : undefined
    if (inSession !== undefined) return inSession
    if (this.#logins.isBanned(performance.now(), peer)) return refused(429, 'too many failed logins (ban_after)')
    const [scheme = '', credentials = ''] = authorization?.split(' ') ?? []
    if (scheme.toLowerCase() === 'bearer')
      return this.#byToken(credentials) ?? this.#inPlace(credentials, peer, () => this.#wrong(peer, undefined))
    if (scheme.toLowerCase() === 'basic') return this.#byPassword(credentials, peer)
    return refused(401, 'a user name and password, or a bearer token, is needed')
  }

  /** Begins a browser session of this caller, and returns its id; undefined where no login is needed. */
  beginSession({ user, proof }: KnownCaller): string | undefined {
    return this.isOpen || proof === undefined ? undefined : this.#sessions.begin(performance.now(), { user, proof })
  }

  endSession(sessionId: string): void {
    this.#sessions.end(sessionId)
  }

  /** A session ends when its password is changed, or its user or token removed. */
  #bySession(sessionId: string): Caller | undefined {
    const login = this.#sessions.find(performance.now(), sessionId)
    if (login === undefined) return undefined
    const { user, proof } = login
    const { passwords, tokens } = this.#contents
    if (user !== undefined)
      return passwords?.get(user)?.text === proof ? this.#known(this.#roleOf(user), user, { proof, sessionId }) : undefined
    const role = tokens?.get(proof)
    return role === undefined ? undefined : this.#known(role, undefined, { proof, sessionId })
  }

  #roleOf(user: string): Role {
    return this.#managers.has(user) ? 'manage' : 'view'
  }

  #byToken(token: string): Caller | undefined {
    // Comparing hashes takes the same time however much of the token is right.
    const wanted = hashOf(token)
    for (const [known, role] of this.#contents.tokens ?? []) {
      if (hashOf(known) === wanted) return this.#known(role, undefined, { proof: known, byToken: true })
    }
    return undefined
  }

  async #byPassword(credentials: string, peer: string): Promise<Caller> {
    const text = Buffer.from(credentials, 'base64').toString()
    const colon = text.indexOf(':')
    const user = text.slice(0, Math.max(0, colon))
    const password = Buffer.from(text.slice(colon + 1))
    const { passwords } = this.#contents
    const hash = passwords?.get(user)?.password
    const decoy = decoyHash(passwords)
    const check = <R>(inTurn: (work: () => Promise<Verdict>) => Promise<Verdict | R>) =>
      this.#checker.check(hash ?? decoy, password, inTurn, decoy)
    const callerBy = async (verdict: Verdict): Promise<Caller> => {
      const entry = this.#contents.passwords?.get(user)
      if (verdict === 'wrong' || hash === undefined || entry?.password !== hash) return this.#wrong(peer, user)
      return this.#known(this.#roleOf(user), user, { proof: entry.text })
    }
    // One that was right a moment ago waits for nobody.
    if ((await check(async () => 'unknown' as const)) === 'right' && hash !== undefined) return callerBy('right')
    return this.#inPlace(credentials, peer, async () => {
      const verdict = await check((work) => this.#inTurn(work))
      return verdict === 'busy' ? BUSY : callerBy(verdict)
    })
  }

  /** Runs a check if its address has a place for it; a check of the same credentials is shared. */
  async #inPlace(credentials: string, peer: string, check: () => Promise<Caller>): Promise<Caller> {
    const address = keyOf(peer)
    const key = `${address} ${hashOf(credentials)}`
    const same = this.#checks.get(key)
    if (same !== undefined) return same.waiting++ < SHARED_MAX ? same.caller : BUSY
    const places = this.#places.get(address) ?? 0
    if (places >= PLACES_MAX) return BUSY
    this.#places.set(address, places + 1)
    const caller = check().finally(() => {
      this.#checks.delete(key)
      const left = this.#places.get(address)! - 1
      if (left > 0) this.#places.set(address, left)
      else this.#places.delete(address)
    })
    this.#checks.set(key, { caller, waiting: 1 })
    return caller
  }

  #known(role: Role, user: string | undefined, how: Partial<Pick<KnownCaller, 'byToken' | 'proof' | 'sessionId'>> = {}): Caller {
    const { byToken = false, proof, sessionId } = how
    const csrfToken = createHmac('sha256', this.#csrfSecret)
      .update(user ?? '')
      .digest('base64url')
    return { kind: 'known', role, user, byToken, csrfToken, proof, sessionId }
  }

  async #inTurn<R>(work: () => Promise<R>): Promise<R | 'busy'> {
    if (this.#hashing >= HASHING_MAX) return 'busy'
    this.#hashing++
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => {})
    try {
      return await done
    } finally {
      this.#hashing--
    }
  }

  /** Refuses as MQTT logins are refused: the more often an address has failed lately, the later. */
  async #wrong(peer: string, user: string | undefined): Promise<Caller> {
    const reason = user === undefined ? 'wrong token' : 'wrong password'
    this.#notice({ code: 'http-refused', level: 'info', peer, ...(user !== undefined && { user }), reason })
    const now = performance.now()
    this.#logins.asked(now, peer)
    const ms = this.#logins.delayMs(now, peer)
    this.#logins.failed(now, peer)
    if (ms > 0) await this.#delay(ms)
    return refused(401, 'wrong user name, password or token')
  }

  /** A file without entries is more likely being written than meant. */
  #refuseExcludingAll({ passwords, tokens }: Contents): void {
    const { httpPasswordFile, httpTokenFile } = this.#config
    if (passwords?.size === 0 && this.#contents.passwords?.size !== 0)
      throw new StartError(`${httpPasswordFile}: contains no user any more: all would be excluded (http_password_file)`)
    if (tokens?.size === 0 && this.#contents.tokens?.size !== 0)
      throw new StartError(`${httpTokenFile}: contains no token any more: all programs would be excluded (http_token_file)`)
  }

  #load(when: 'start' | 'reload'): { readonly contents: Contents; readonly warnings: readonly string[] } {
    const warnings = new Set<string>()
    const { httpPasswordFile, httpTokenFile } = this.#config
    const passwords =
      httpPasswordFile === undefined ? undefined : loadPasswords('http_password_file', httpPasswordFile, when, warnings)
    for (const manager of this.#managers)
      if (passwords?.has(manager) === false) warnings.add(`${httpPasswordFile} has no user ${manager} (http_managers)`)
    const tokens = httpTokenFile === undefined ? undefined : loadTokens(httpTokenFile, warnings)
    return { contents: { passwords, tokens }, warnings: [...warnings] }
  }
}

function loadTokens(path: string, warnings: Set<string>): ReadonlyMap<string, Role> {
  const tokens = parseTokens(readText(path, 'http_token_file'))
  if ('reason' in tokens) throw new StartError(`${path}:${tokens.line}: ${tokens.reason} (http_token_file)`)
  warnIfOpen('http_token_file', path, warnings)
  return tokens
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('base64')

const refused = (status: 401 | 429, reason: string): Caller => ({ kind: 'refused', status, reason })

const BUSY = refused(429, 'too many logins at the same time')
