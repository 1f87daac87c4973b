import type { Instant } from '../base/machine.ts'
import { ipOfPeer, isWithin, type Network, networkOf } from '../base/networks.ts'
import type { NoticeSink } from '../base/notice.ts'

export interface LoginOptions {
  /** Failures of one address within `banMs`, after which it is banned; Infinity is never. */
  readonly banAfter: number
  readonly banMs: number
  /** Addresses that are never banned. */
  readonly trusted: readonly Network[]
  /** Addresses that are remembered for what they have asked, and as many for being banned. */
  readonly maxAddresses: number
}

export const DEFAULT_LOGIN_OPTIONS: LoginOptions = { banAfter: 20, banMs: 600_000, trusted: [], maxAddresses: 50_000 }

/** What a question that waits for an answer costs its address, and gives back if the answer is yes (ms). */
const ASK_MS = 60_000
/** What a wrong password costs beside it. */
const FAILURE_MS = 600_000
/** What an address may owe at most: an hour without questions makes up for everything. */
const DEBT_MAX_MS = 3_600_000

/** The highest level: as `Logins.asked`. */
export const LEVEL_MAX = DEBT_MAX_MS / ASK_MS

/** For how long each level of an address keeps its refusals back (ms). */
const DELAY_MS = 20

interface Account {
  /** When time has paid for what this address has asked. */
  paidAt: Instant
  failures: number
  /** The first of those failures. */
  failingSince: Instant
}

/**
 * What became of the logins of each address (`networkOf`): in which turn its next question is, and whether it is banned. Only peers that have
 * completed a TCP handshake log in, so no address is banned for packets with a forged source.
 */
export class Logins {
  readonly #options: LoginOptions
  readonly #notice: NoticeSink
  /** The one that was heard last at the end. */
  readonly #accounts = new Map<string, Account>()
  /** When the ban ends; in that order. A map of its own, so that a flood of new addresses lifts no ban. */
  readonly #banned = new Map<string, Instant>()

  constructor(options: Partial<LoginOptions> = {}, notice: NoticeSink = () => {}) {
    this.#options = { ...DEFAULT_LOGIN_OPTIONS, ...options }
    this.#notice = notice
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#accounts.size + this.#banned.size
  }

  /** A question about a client there has to wait. Gives its level: 0 if nothing was asked there lately, at most `LEVEL_MAX`. */
  asked(now: Instant, peer: string): number {
    const account = this.#account(now, keyOf(peer))
    const level = levelOf(now, account)
    account.paidAt = now + Math.min(DEBT_MAX_MS, Math.max(0, account.paidAt - now) + ASK_MS)
    return level
  }

  /** Milliseconds by which a refusal is delayed: none for a first login, so that only repeated attempts are slowed down. */
  delayMs(now: Instant, peer: string): number {
    const account = this.#accounts.get(keyOf(peer))
    // What is refused now was asked itself.
    return account === undefined ? 0 : Math.max(0, levelOf(now, account) - 1) * DELAY_MS
  }

  /** The answer to what was `asked`: it is who it says. Failures before that still count. */
  succeeded(now: Instant, peer: string): void {
    const address = keyOf(peer)
    const account = this.#account(now, address)
    account.paidAt -= ASK_MS
    if (account.failures === 0 && account.paidAt <= now) this.#accounts.delete(address)
  }

  /** The client there has shown a wrong password, token or proof. */
  failed(now: Instant, peer: string): void {
    const { banAfter, banMs } = this.#options
    const account = this.#account(now, keyOf(peer))
    account.paidAt = now + Math.min(DEBT_MAX_MS, Math.max(0, account.paidAt - now) + FAILURE_MS)
    if (account.failures === 0 || now - account.failingSince > banMs) {
      account.failures = 0
      account.failingSince = now
    }
    account.failures++
    if (account.failures >= banAfter) this.#ban(now, peer, account)
  }

  isBanned(now: Instant, peer: string): boolean {
    if (this.#banned.size === 0) return false
    const address = networkOf(peer)
    const until = address === undefined ? undefined : this.#banned.get(address)
    return until !== undefined && until > now
  }

  #ban(now: Instant, peer: string, account: Account): void {
    const { banMs, trusted, maxAddresses } = this.#options
    const address = networkOf(peer)
    // Programs of this machine share a Unix socket, and none of them is an address.
    if (address === undefined || isWithin(ipOfPeer(peer)!, trusted)) return
    for (const [other, until] of this.#banned) {
      if (until > now && this.#banned.size < maxAddresses) break
      this.#banned.delete(other)
      if (until > now) this.#forgets('a ban ends early')
    }
    const { failures } = account
    account.failures = 0
    this.#banned.delete(address)
    this.#banned.set(address, now + banMs)
    const reason = `${address} is banned for ${banMs / 1000} s after ${failures} failed logins`
    this.#notice({ code: 'address-banned', level: 'warn', peer, reason, limit: 'ban_after' })
  }

  #account(now: Instant, address: string): Account {
    const account = this.#accounts.get(address) ?? { paidAt: now, failures: 0, failingSince: now }
    this.#accounts.delete(address)
    this.#accounts.set(address, account)
    if (this.#accounts.size > this.#options.maxAddresses) {
      const [oldest, { paidAt }] = this.#accounts.entries().next().value!
      this.#accounts.delete(oldest)
      if (paidAt > now) this.#forgets('failed logins of an address are forgotten')
    }
    return account
  }

  #forgets(reason: string): void {
    this.#notice({ code: 'limit-reached', level: 'warn', reason, limit: 'max_login_addresses' })
  }
}

const levelOf = (now: Instant, { paidAt }: Account): number => Math.min(LEVEL_MAX, Math.ceil(Math.max(0, paidAt - now) / ASK_MS))

/** For turns a Unix socket is an address too. */
export const keyOf = (peer: string): string => networkOf(peer) ?? peer
