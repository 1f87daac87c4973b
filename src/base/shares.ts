/** What all clients of one user, or of one address, hold together. */
export class Tally {
  readonly name: string
  bytes = 0
  holders = 0

  constructor(name: string) {
    this.name = name
  }
}

/** Something whose bytes count for a user and for an address. */
export interface Holder {
  /** Bytes that it holds now. */
  readonly heldBytes: number
  /** Of these, what the tallies know of. */
  tallied: number
  user: Tally | undefined
  address: Tally | undefined
}

/**
 * What each user and each address holds, as the sum over its clients. A client counts what it holds for itself, and the tallies hear of it when it is
 * `settled`: before they are asked, and when it holds much less than they know of.
 */
export class Shares {
  readonly #users = new Map<string, Tally>()
  readonly #addresses = new Map<string, Tally>()

  /** As somebody who holds nothing yet would count. */
  newcomer(username: string | undefined, address: string | undefined): Holder {
    const user = username === undefined ? undefined : this.#users.get(username)
    const tally = address === undefined ? undefined : this.#addresses.get(address)
    return { heldBytes: 0, tallied: 0, user, address: tally }
  }

  /** Who it is and where, from now on; `undefined` counts for nobody. */
  assign(holder: Holder, username: string | undefined, address: string | undefined): void {
    holder.user = this.#move(this.#users, holder, holder.user, username)
    holder.address = this.#move(this.#addresses, holder, holder.address, address)
  }

  settle(holder: Holder): void {
    this.grow(holder, holder.heldBytes - holder.tallied)
  }

  /** It holds so many bytes more than when it was settled, which was a moment ago. */
  grow(holder: Holder, more: number): void {
    if (more === 0) return
    holder.tallied += more
    if (holder.user !== undefined) holder.user.bytes += more
    if (holder.address !== undefined) holder.address.bytes += more
  }

  /** It is no more. */
  forget(holder: Holder): void {
    this.assign(holder, undefined, undefined)
    holder.tallied = 0
  }

  #move(tallies: Map<string, Tally>, { tallied }: Holder, old: Tally | undefined, name: string | undefined): Tally | undefined {
    const next = name === undefined ? undefined : (tallies.get(name) ?? new Tally(name))
    if (next === old) return old
    if (old !== undefined) {
      old.bytes -= tallied
      if (--old.holders === 0) tallies.delete(old.name)
    }
    if (next === undefined) return undefined
    tallies.set(next.name, next)
    next.bytes += tallied
    next.holders++
    return next
  }
}
