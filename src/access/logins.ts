import type { Instant } from '../base/machine.ts'
import { ipOfPeer, isWithin, type Network, networkOf } from '../base/networks.ts'
import type { NoticeSink } from '../base/notice.ts'

export interface LoginOptions {
  /** Number of failures of one address within `banMs` after which it is banned; Infinity for never. */
  readonly banAfter: number
  readonly banMs: number
  /** Networks whose addresses are never banned. */
  readonly trusted: readonly Network[]
  /** Maximum number of addresses remembered for their checks, and of banned addresses. */
  readonly maxAddresses: number
}

export const DEFAULT_LOGIN_OPTIONS: LoginOptions = { banAfter: 20, banMs: 600_000, trusted: [], maxAddresses: 50_000 }

/** Debt in milliseconds that a check adds to its address. It is subtracted again if the check succeeds. */
const ASK_MS = 60_000
/** Debt in milliseconds that a wrong password adds to that. */
const FAILURE_MS = 600_000
/** Maximum debt in milliseconds: an hour without checks clears any debt. */
const DEBT_MAX_MS = 3_600_000

/** The highest level that `Logins.asked` returns. */
export const LEVEL_MAX = DEBT_MAX_MS / ASK_MS

/** Delay in milliseconds of a refusal, per level of its address. */
const DELAY_MS = 20

interface Account {
  /** Time at which the debt of the address has been paid off. */
  paidAt: Instant
  failures: number
  /** Time of the first of those failures. */
  failingSince: Instant
}

/**
 * The history of logins of each address (`networkOf`), which determines the priority of its next check, and whether it
 * is banned. Only peers that have completed a TCP handshake log in, so no address is banned for packets with a forged
 * source.
 */
export class Logins {
  readonly #options: LoginOptions
  readonly #notice: NoticeSink
  /** In order of their last login, most recent last. */
  readonly #accounts = new Map<string, Account>()
  /** End of each ban, in this order. A separate map, so that a flood of new addresses lifts no ban. */
  readonly #banned = new Map<string, Instant>()

  constructor(options: Partial<LoginOptions> = {}, notice: NoticeSink = () => {}) {
    this.#options = { ...DEFAULT_LOGIN_OPTIONS, ...options }
    this.#notice = notice
  }

  /** Number of remembered addresses. */
  get size(): number {
    return this.#accounts.size + this.#banned.size
  }

  /**
   * Records a check of a client at this address. Returns its level: 0 if there was none recently, at most `LEVEL_MAX`.
   */
  asked(now: Instant, peer: string): number {
    const account = this.#account(now, keyOf(peer))
    const level = levelOf(now, account)
    account.paidAt = now + Math.min(DEBT_MAX_MS, Math.max(0, account.paidAt - now) + ASK_MS)
    return level
  }

  /**
   * Returns the delay of a refusal in milliseconds: 0 for a first login, so that only repeated attempts are slowed
   * down.
   */
  delayMs(now: Instant, peer: string): number {
    const account = this.#accounts.get(keyOf(peer))
    // One level is due to the check that is refused now.
    return account === undefined ? 0 : Math.max(0, levelOf(now, account) - 1) * DELAY_MS
  }

  /** Records that the client of an `asked` check was authenticated. Earlier failures still count. */
  succeeded(now: Instant, peer: string): void {
    const address = keyOf(peer)
    const account = this.#account(now, address)
    account.paidAt -= ASK_MS
    if (account.failures === 0 && account.paidAt <= now) this.#accounts.delete(address)
  }

  /** Records a wrong password, token or proof from this address. */
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
    // Programs on this machine share a Unix socket, which has no address to ban.
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

/** Returns the key of a peer's address for priorities. A Unix socket counts as an address here. */
export const keyOf = (peer: string): string => networkOf(peer) ?? peer
