import type { Instant } from '../../base/machine.ts'
import { isWithin, type Network } from '../../base/networks.ts'
import type { NoticeSink } from '../../base/notice.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { RouteKey } from './route.ts'
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
/** Message ids, which begin at 1. */
const MESSAGE_IDS = 0xffff
/**
 * Message ids that prove an address, the last that were sent there. Behind a forwarder several nodes are asked at once; each of these ids makes a guess
 * as much likelier.
 */
export const CHALLENGES_MAX = 4
/**
 * Octets that an address may be sent for one proof, beside what it earns. A guess takes 7 octets (PUBACK, REGACK), is right four times in 65,535, and so
 * is worth 4 octets on average: guessing costs more than it brings, whatever else a guesser does.
 */
export const PROOF_OCTETS = 65_536
/** Wrong message ids from an address without proof, after which nothing proves it for a while. Late and repeated answers of a sensor are fewer. */
export const GUESSES_MAX = 8
/** That while, twice as long each time until the address is proven. */
const FIRST_BLOCK_MS = 60_000
const LAST_BLOCK_MS = 86_400_000
/** Routes whose network was looked up. */
const LOOKED_UP_MAX = 10_000

interface Account {
  /** Octets that may be sent there. */
  left: number
  /** One message may go out whatever its size: so a sleeper can prove itself by its acknowledgement. */
  mayExceed: boolean
  /** Message ids that were chosen at random for it, the oldest first, and whether they have been sent there. */
  challenges: Map<number, boolean>
  /** Wrong message ids that came from there. */
  guesses: number
  blockMs: number
  blockedUntil: Instant
}

/**
 * UDP senders can be forged, so that our answers hit somebody else. Until an address outside the trusted networks has repeated a message id that was
 * chosen at random and sent to that address, it is sent no more than three times what came from it; excepted is one REGISTER or PUBLISH with QoS 1
 * that carries such an id, once a wake (ruling A20).
 */
export class AddressProof {
  readonly #options: AddressProofOptions
  readonly #notice: NoticeSink
  readonly #chance: () => number
  readonly #large: TokenBucket
  /** By carrier, the one that was heard last at the end. */
  readonly #unproven = new Map<RouteKey, Account>()
  /** A map of its own, which no flood of new addresses can push anybody out of. */
  readonly #proven = new Map<RouteKey, Account>()
  readonly #isTrusted = new Map<RouteKey, boolean>()

  /** `chance`: in [0, 1); nobody outside may be able to predict it. */
  constructor(options: AddressProofOptions, notice: NoticeSink, chance: () => number) {
    this.#options = options
    this.#notice = notice
    this.#chance = chance
    this.#large = new TokenBucket(options.largePerSecond)
  }

  /** Addresses that are remembered, with proof and without. */
  get size(): number {
    return this.#unproven.size + this.#proven.size
  }

  /** Whether it is in the trusted networks: what it has proven does not count. */
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
   * A message id for a message that the client there has to acknowledge, which proves the address when it comes back. `undefined` if no proof is
   * wanted, or none is taken at the moment: then any id will do. `octets`: the size of the message; `before`: its id when it was sent before.
   */
  challenge(now: Instant, route: RouteKey, octets: number, before: number, isTaken: (id: number) => boolean): number | undefined {
    const carrier = carrierOf(route)
    if (this.#trusts(carrier)) return undefined
    const proven = this.#proven.get(carrier)
    // A proof is renewed before it is used up.
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

  /** PUBACK or REGACK with this message id has come from there. True if that proves the address. */
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

  /** PUBACK or REGACK has come from there with a message id that nothing was sent with. */
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

  /** The client there wakes or connects. */
  woke(route: RouteKey): void {
    const account = this.#unproven.get(carrierOf(route))
    if (account !== undefined) account.mayExceed = true
  }

  /** Whether a message of so many octets, not an answer, is more than the address may be sent, and a challenge can change that. */
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
   * Whether so much may be sent there now, and if so counts it as sent. `msgId`: that of a REGISTER or of a PUBLISH with QoS 1, which may prove the
   * address; else 0.
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

  /** Whether the address is trusted or proven, with so much left, which then counts as sent. */
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

  /** The address has to prove itself again. */
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
