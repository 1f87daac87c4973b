import { NameMap } from './name-map.ts'

/** Bytes that a holder has released, and that are still counted until its next `recount`. */
const STALE_BYTES = 1024

/** What all clients of one user, or of one address, hold together. */
export class Tally {
  readonly name: string
  bytes = 0
  holders = 0

  constructor(name: string) {
    this.name = name
  }
}

/** Something whose memory counts towards a user and an address. */
export interface Holder {
  /** Bytes that it holds now. */
  readonly heldBytes: number
  /** The part of these that the tallies include. */
  tallied: number
  user: Tally | undefined
  address: Tally | undefined
}

/**
 * Memory held by each user and each address: the sum over their clients. A client maintains its own sum, and the tallies
 * are updated by `recount`: before they are read, and when it holds much less than they include.
 */
export class Shares {
  readonly #users = new NameMap<Tally>()
  readonly #addresses = new Map<string, Tally>()

  /** Returns a holder that holds nothing yet, with the tallies of its user and address. */
  newcomer(username: string | undefined, address: string | undefined): Holder {
    const user = username === undefined ? undefined : this.#users.get(username)
    const tally = address === undefined ? undefined : this.#addresses.get(address)
    return { heldBytes: 0, tallied: 0, user, address: tally }
  }

  /** Sets the user and the address that the holder counts towards; `undefined` for none. */
  assign(holder: Holder, username: string | undefined, address: string | undefined): void {
    holder.user = this.#move(this.#users, holder, holder.user, username)
    holder.address = this.#move(this.#addresses, holder, holder.address, address)
  }

  recount(holder: Holder): void {
    this.grow(holder, holder.heldBytes - holder.tallied)
  }

  /** The holder has released something. The tallies may include `STALE_BYTES` more than it holds. */
  shrunk(holder: Holder): void {
    if (holder.tallied - holder.heldBytes > STALE_BYTES) this.recount(holder)
  }

  /** Adds `more` bytes to a holder whose tallies are up to date. */
  grow(holder: Holder, more: number): void {
    if (more === 0) return
    holder.tallied += more
    if (holder.user !== undefined) holder.user.bytes += more
    if (holder.address !== undefined) holder.address.bytes += more
  }

  /** The holder no longer exists. */
  forget(holder: Holder): void {
    this.assign(holder, undefined, undefined)
    holder.tallied = 0
  }

  #move(tallies: Map<string, Tally>, { tallied }: Holder, old: Tally | undefined, name: string | undefined): Tally | undefined {
    const known = name === undefined ? undefined : tallies.get(name)
    if (known === old && (known !== undefined || name === undefined)) return old
    if (old !== undefined) {
      old.bytes -= tallied
      if (--old.holders === 0) tallies.delete(old.name)
    }
    if (name === undefined) return undefined
    const next = known ?? new Tally(name)
    if (known === undefined) tallies.set(name, next)
    next.bytes += tallied
    next.holders++
    return next
  }
}
