import type { Instant } from '../../base/machine.ts'
import { type Network, PeerNetworks } from '../../base/networks.ts'
import type { NoticeSink } from '../../base/notice.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { GatewayOptions } from '../gateway-options.ts'
import type { RouteKey } from './route.ts'
import { carrierOf, ipOf } from './route.ts'

export interface AddressProofOptions {
  /**
   * Networks whose source addresses need no validation. Undefined trusts every address. Routes without an IP address
   * (serial) are always trusted.
   */
  readonly trusted: readonly Network[] | undefined
  /** Maximum number of addresses without validation that are remembered. */
  readonly maxUnproven: number
  /** Maximum number of validated addresses that are remembered. */
  readonly maxProven: number
  /**
   * Maximum number of messages per second that may exceed the budget of their address, for all addresses without
   * validation together.
   */
  readonly largePerSecond: number
}

/** Defaults: addresses remembered without validation, and large messages to such addresses per second. */
const MAX_UNPROVEN = 10_000
const UNPROVEN_PER_SECOND = 10

export const addressProofOptions = (options: GatewayOptions): AddressProofOptions => ({
  trusted: options.trustedNetworks,
  maxUnproven: options.maxUnprovenAddresses ?? MAX_UNPROVEN,
  maxProven: options.maxSessions,
  largePerSecond: options.unprovenPerSecond ?? UNPROVEN_PER_SECOND,
})

/** Octets that may be sent for each octet received. */
const FACTOR = 3
/** Octets of the budget that messages leave for acknowledgements and PINGRESP. The longest is SUBACK, with 8 octets. */
const RESERVED = 8
/** Number of message ids, which start at 1. */
const MESSAGE_IDS = 0xffff
/**
 * Number of message ids that validate an address: the last ones sent to it. Behind a forwarder several nodes have open
 * messages at a time. Each additional id makes a correct guess proportionally more likely.
 */
export const CHALLENGES_MAX = 4
/**
 * Octets that may be sent to an address for one validation, in addition to its budget. Guessing does not pay: a guess
 * costs 7 octets (PUBACK, REGACK) and is correct four times in 65,535, so it gains 4 octets on average.
 */
export const PROOF_OCTETS = 65_536
/**
 * Number of wrong message ids from an address without validation after which none validates it for a while. Delayed and
 * repeated acknowledgements of a client are fewer.
 */
export const GUESSES_MAX = 8
/** Duration of that block, doubled each time until the address is validated. */
const FIRST_BLOCK_MS = 60_000
const LAST_BLOCK_MS = 86_400_000
/** Maximum number of routes for which the result of the network lookup is cached. */
const LOOKED_UP_MAX = 10_000

interface Account {
  /** Octets that may be sent to the address. */
  left: number
  /** One message may exceed the budget, so that a sleeping client can validate its address by acknowledging it. */
  mayExceed: boolean
  /** Message ids chosen at random for this address, oldest first, and whether they have been sent to it. */
  challenges: Map<number, boolean>
  /** Number of wrong message ids received from the address. */
  guesses: number
  blockMs: number
  blockedUntil: Instant
}

/**
 * UDP source addresses can be forged to direct our replies at a third party. Until an address outside the trusted
 * networks has returned a message id that was chosen at random and sent to it, it is sent at most three times the octets
 * received from it. The exception is one REGISTER or QoS 1 PUBLISH with such an id per wake-up (ruling A20).
 */
export class AddressProof {
  readonly #options: AddressProofOptions
  readonly #notice: NoticeSink
  readonly #chance: () => number
  readonly #large: TokenBucket
  /** By carrier, the most recently heard last. */
  readonly #unproven = new Map<RouteKey, Account>()
  /** Kept separately, so that a flood of new addresses cannot displace validated ones. */
  readonly #proven = new Map<RouteKey, Account>()
  /** Undefined: all addresses. */
  readonly #networks: PeerNetworks | undefined
  /** Results for addresses other than plain IPv4. */
  readonly #isTrusted = new Map<RouteKey, boolean>()

  /** `chance`: random number in [0, 1), not predictable by peers. */
  constructor(options: AddressProofOptions, notice: NoticeSink, chance: () => number) {
    this.#options = options
    this.#networks = options.trusted === undefined ? undefined : new PeerNetworks(options.trusted)
    this.#notice = notice
    this.#chance = chance
    this.#large = new TokenBucket(options.largePerSecond)
  }

  /** Number of addresses that are remembered, validated or not. */
  get size(): number {
    return this.#unproven.size + this.#proven.size
  }

  /** True if the address is in the trusted networks, validated or not. */
  isTrusted(route: RouteKey): boolean {
    return this.#trusts(carrierOf(route))
  }

  isProven(route: RouteKey): boolean {
    const carrier = carrierOf(route)
    return this.#trusts(carrier) || this.#proven.has(carrier)
  }

  received(carrier: RouteKey, octets: number): void {
    if (this.#trusts(carrier)) return
    const proven = this.#proven.get(carrier)
    if (proven !== undefined) {
      proven.left = Math.min(PROOF_OCTETS, proven.left + octets * FACTOR)
      return
    }
    const account = this.#account(carrier)
    account.left += octets * FACTOR
    this.#unproven.delete(carrier)
    this.#unproven.set(carrier, account)
  }

  /**
   * Returns a message id whose acknowledgement validates the address, or `undefined` if none is needed or accepted at the
   * moment, so that any id will do. `octets`: size of the message; `before`: the id under which it was sent previously.
   */
  challenge(now: Instant, route: RouteKey, octets: number, before: number, isTaken: (id: number) => boolean): number | undefined {
    const carrier = carrierOf(route)
    if (this.#trusts(carrier)) return undefined
    const proven = this.#proven.get(carrier)
    // Renew a validation before its budget is used up.
    if (proven !== undefined && proven.left - octets >= PROOF_OCTETS / 2) return undefined
    const { challenges, blockedUntil } = proven ?? this.#account(carrier)
    if (now < blockedUntil) return undefined
    if (challenges.has(before)) return before
    let msgId = 1 + Math.floor(this.#chance() * MESSAGE_IDS)
    while (isTaken(msgId) || challenges.has(msgId)) msgId = msgId === MESSAGE_IDS ? 1 : msgId + 1
    if (challenges.size >= CHALLENGES_MAX) challenges.delete(challenges.keys().next().value!)
    challenges.set(msgId, false)
    return msgId
  }

  /** PUBACK or REGACK with this message id was received from the address. Returns true if that validates it. */
  answered(route: RouteKey, msgId: number): boolean {
    const carrier = carrierOf(route)
    const account = this.#proven.get(carrier) ?? this.#unproven.get(carrier)
    if (account?.challenges.get(msgId) !== true) return false
    this.#unproven.delete(carrier)
    this.#proven.delete(carrier)
    if (this.#proven.size >= this.#options.maxProven) this.#proven.delete(this.#proven.keys().next().value!)
    this.#proven.set(carrier, { ...newAccount(), left: Math.max(account.left, PROOF_OCTETS) })
    return true
  }

  /** PUBACK or REGACK with a message id that was never sent was received from the address. */
  guessed(now: Instant, route: RouteKey): void {
    const carrier = carrierOf(route)
    const account = this.#unproven.get(carrier)
    if (account === undefined || now < account.blockedUntil || ++account.guesses < GUESSES_MAX) return
    account.guesses = 0
    account.challenges.clear()
    account.blockedUntil = now + account.blockMs
    const reason = `${GUESSES_MAX} acknowledgements of nothing: none proves the address for ${account.blockMs / 1000} s`
    this.#notice({ code: 'limit-reached', level: 'warn', peer: carrier, reason })
    account.blockMs = Math.min(2 * account.blockMs, LAST_BLOCK_MS)
  }

  /** The client at this address wakes or connects. */
  woke(route: RouteKey): void {
    const account = this.#unproven.get(carrierOf(route))
    if (account !== undefined) account.mayExceed = true
  }

  /**
   * Returns true if a message (not a reply) of `octets` octets exceeds the budget of the address, and validation could
   * change that.
   */
  needsProof(now: Instant, route: RouteKey, octets: number): boolean {
    const carrier = carrierOf(route)
    if (this.#trusts(carrier)) return false
    const proven = this.#proven.get(carrier)
    const { left, blockedUntil } = proven ?? this.#account(carrier)
    if (octets <= left - RESERVED || now < blockedUntil) return false
    if (proven !== undefined) this.#usedUp(carrier, proven)
    return true
  }

  /**
   * Returns true if `octets` may be sent now, and deducts them. `msgId`: that of a REGISTER or QoS 1 PUBLISH, which may
   * validate the address; otherwise 0.
   */
  admits(now: Instant, route: RouteKey, octets: number, urgent: boolean, msgId: number): boolean {
    const carrier = carrierOf(route)
    if (this.spends(carrier, octets, msgId)) return true
    const account = this.#account(carrier)
    const isEarned = octets <= account.left - (urgent ? 0 : RESERVED)
    if (!isEarned && !(account.mayExceed && account.challenges.has(msgId) && this.#large.take(now))) return false
    if (isEarned) account.left -= octets
    else account.mayExceed = false
    noteSent(account, msgId)
    return true
  }

  /** Returns true if the address is trusted, or validated with enough budget left, which is deducted. */
  spends(carrier: RouteKey, octets: number, msgId: number): boolean {
    if (this.#trusts(carrier)) return true
    const account = this.#proven.get(carrier)
    if (account === undefined) return false
    if (octets <= account.left) {
      account.left -= octets
      noteSent(account, msgId)
      return true
    }
    this.#usedUp(carrier, account)
    return false
  }

  /** The budget is used up: the address must be validated again. */
  #usedUp(carrier: RouteKey, account: Account): void {
    this.#proven.delete(carrier)
    this.#remember(carrier, account)
  }

  #account(carrier: RouteKey): Account {
    return this.#unproven.get(carrier) ?? this.#remember(carrier, newAccount())
  }

  #remember(carrier: RouteKey, account: Account): Account {
    if (this.#unproven.size >= this.#options.maxUnproven) {
      this.#unproven.delete(this.#unproven.keys().next().value!)
      const reason = 'the address without proof that was silent longest is forgotten'
      this.#notice({ code: 'limit-reached', level: 'warn', peer: carrier, reason, limit: 'max_sn_unproven_addresses' })
    }
    this.#unproven.set(carrier, account)
    return account
  }

  #trusts(carrier: RouteKey): boolean {
    if (this.#networks === undefined) return true
    const known = this.#networks.hasPlain(carrier) ?? this.#isTrusted.get(carrier)
    if (known !== undefined) return known
    const ip = ipOf(carrier)
    const trusted = ip === undefined || this.#networks.has(ip)
    if (this.#isTrusted.size >= LOOKED_UP_MAX) this.#isTrusted.clear()
    this.#isTrusted.set(carrier, trusted)
    return trusted
  }
}

function noteSent({ challenges }: Account, msgId: number): void {
  if (challenges.has(msgId)) challenges.set(msgId, true)
}

const newAccount = (): Account => ({
  left: 0,
  mayExceed: true,
  challenges: new Map(),
  guesses: 0,
  blockMs: FIRST_BLOCK_MS,
  blockedUntil: Number.NEGATIVE_INFINITY,
})
