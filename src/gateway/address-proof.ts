import type { Instant } from '../base/machine.ts'
import { isWithin, type Network } from '../base/networks.ts'
import type { NoticeSink } from '../base/notice.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { RouteKey } from './client-host.ts'
import { carrierOf, ipOf } from './route.ts'

export interface AddressProofOptions {
  /** Whose addresses nobody forges, everybody's if it is not there; what is no IP address is trusted as well. */
  readonly trusted: readonly Network[] | undefined
  /** Addresses without proof that are remembered. */
  readonly maxUnproven: number
  /** Addresses with proof that are remembered. */
  readonly maxProven: number
  /** Messages to addresses without proof that may be larger than these have earned, all of them together. */
  readonly largePerSecond: number
}

/** Octets sent for each octet received. */
const FACTOR = 3
/** What messages leave free for acknowledgements and PINGRESP, of which SUBACK is the longest. */
const RESERVED = 8
/** Routes whose network was looked up. */
const LOOKED_UP_MAX = 10_000

interface Account {
  received: number
  sent: number
  /** One message may go out whatever its size: so a sleeper can prove itself by its acknowledgement. */
  mayExceed: boolean
}

/**
 * UDP senders can be forged, so that our answers hit somebody else. Until an address outside the trusted networks has repeated a
 * message id that the gateway chose, it is sent no more than three times what came from it; excepted is one REGISTER or PUBLISH with
 * QoS 1 or 2 a wake (ruling A20).
 */
export class AddressProof {
  readonly #options: AddressProofOptions
  readonly #notice: NoticeSink
  readonly #large: TokenBucket
  /** By carrier, the one that was heard last at the end. */
  readonly #accounts = new Map<RouteKey, Account>()
  /** A set of its own, which no flood of new addresses can push anybody out of. */
  readonly #proven = new Set<RouteKey>()
  readonly #isTrusted = new Map<RouteKey, boolean>()

  constructor(options: AddressProofOptions, notice: NoticeSink) {
    this.#options = options
    this.#notice = notice
    this.#large = new TokenBucket(options.largePerSecond)
  }

  /** Addresses that are remembered, with proof and without. */
  get size(): number {
    return this.#accounts.size + this.#proven.size
  }

  isProven(route: RouteKey): boolean {
    const carrier = carrierOf(route)
    return this.#trusts(carrier) || this.#proven.has(carrier)
  }

  received(carrier: RouteKey, octets: number): void {
    if (this.#trusts(carrier) || this.#proven.has(carrier)) return
    const account = this.#account(carrier)
    account.received += octets
    this.#accounts.delete(carrier)
    this.#accounts.set(carrier, account)
  }

  /** The address has repeated an id that it can only know from us. */
  proved(route: RouteKey): void {
    const carrier = carrierOf(route)
    if (this.#trusts(carrier)) return
    this.#accounts.delete(carrier)
    this.#proven.delete(carrier)
    if (this.#proven.size >= this.#options.maxProven) this.#proven.delete(this.#proven.values().next().value!)
    this.#proven.add(carrier)
  }

  /** The client there wakes or connects. */
  woke(route: RouteKey): void {
    const account = this.#accounts.get(carrierOf(route))
    if (account !== undefined) account.mayExceed = true
  }

  /** Whether a message of so many octets, not an answer, is within what the address has earned. Counts nothing. */
  hasEarned(route: RouteKey, octets: number): boolean {
    const carrier = carrierOf(route)
    return this.isProven(carrier) || octets <= this.#left(this.#account(carrier), RESERVED)
  }

  /** Whether so much may be sent there now, and if so counts it as sent. `canProve`: a REGISTER, or a PUBLISH with QoS 1 or 2. */
  admits(now: Instant, route: RouteKey, octets: number, urgent: boolean, canProve: boolean): boolean {
    const carrier = carrierOf(route)
    if (this.#trusts(carrier) || this.#proven.has(carrier)) return true
    const account = this.#account(carrier)
    if (octets <= this.#left(account, urgent ? 0 : RESERVED)) {
      account.sent += octets
      return true
    }
    if (!canProve || !account.mayExceed || !this.#large.take(now)) return false
    account.mayExceed = false
    return true
  }

  #left({ received, sent }: Account, reserved: number): number {
    return received * FACTOR - sent - reserved
  }

  #account(carrier: RouteKey): Account {
    let account = this.#accounts.get(carrier)
    if (account === undefined) {
      const { maxUnproven } = this.#options
      if (this.#accounts.size >= maxUnproven) {
        this.#accounts.delete(this.#accounts.keys().next().value!)
        const reason = 'the address without proof that was silent longest is forgotten'
        this.#notice({ code: 'limit-reached', level: 'warn', peer: carrier, reason, limit: 'max_sn_unproven_addresses' })
      }
      account = { received: 0, sent: 0, mayExceed: true }
      this.#accounts.set(carrier, account)
    }
    return account
  }

  #trusts(carrier: RouteKey): boolean {
    const { trusted: networks } = this.#options
    if (networks === undefined) return true
    const known = this.#isTrusted.get(carrier)
    if (known !== undefined) return known
    const ip = ipOf(carrier)
    const trusted = ip === undefined || isWithin(ip, networks)
    if (this.#isTrusted.size >= LOOKED_UP_MAX) this.#isTrusted.clear()
    this.#isTrusted.set(carrier, trusted)
    return trusted
  }
}
