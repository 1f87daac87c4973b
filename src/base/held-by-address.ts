import { networkOf } from './networks.ts'

/** What one address holds. */
interface Address<T> {
  readonly name: string
  bytes: number
  /** With their bytes, in the order in which they came. */
  readonly items: Map<T, number>
}

/** Binary orders of magnitude in which addresses are kept: up to 2 GiB of one. */
const ORDERS = 32

/**
 * Things that peers send and that wait for something, with the memory that they use. Where there is too much of it, the address
 * that uses most gives up its oldest: a single one of the usual size is safe as long as another address uses more.
 */
export class HeldByAddress<T> {
  bytes = 0
  readonly #addresses = new Map<string, Address<T>>()
  readonly #addressOf = new Map<T, Address<T>>()
  /** Addresses by the order of magnitude of their memory, so that the largest is found without a search. */
  readonly #orders = Array.from({ length: ORDERS }, () => new Set<Address<T>>())

  get size(): number {
    return this.#addressOf.size
  }

  /** What this item takes from now on. `peer` as for `networkOf`, always the same for an item. */
  set(item: T, peer: string, bytes: number): void {
    const address = this.#addressOf.get(item) ?? this.#add(item, peer)
    const more = bytes - (address.items.get(item) ?? 0)
    address.items.set(item, bytes)
    this.#grow(address, more)
  }

  /** It waits no more. */
  remove(item: T): void {
    const address = this.#addressOf.get(item)
    if (address === undefined) return
    const bytes = address.items.get(item)!
    this.#addressOf.delete(item)
    address.items.delete(item)
    this.#grow(address, -bytes)
    if (address.items.size > 0) return
    this.#addresses.delete(address.name)
    this.#orders[orderOf(address.bytes)]!.delete(address)
  }

  /** The item to give up, and what its address holds, give or take a factor of two the most of all. */
  largest(): { readonly item: T; readonly bytes: number } | undefined {
    const [address] = this.#orders.findLast(({ size }) => size > 0) ?? []
    if (address === undefined) return undefined
    const [item] = address.items.keys()
    return { item: item!, bytes: address.bytes }
  }

  #add(item: T, peer: string): Address<T> {
    // Programs that come by a Unix socket are one address.
    const name = networkOf(peer) ?? peer
    const address = this.#addresses.get(name) ?? { name, bytes: 0, items: new Map<T, number>() }
    this.#addresses.set(name, address)
    this.#addressOf.set(item, address)
    return address
  }

  #grow(address: Address<T>, more: number): void {
    const before = orderOf(address.bytes)
    address.bytes += more
    this.bytes += more
    const after = orderOf(address.bytes)
    if (before !== after) this.#orders[before]!.delete(address)
    this.#orders[after]!.add(address)
  }
}

const orderOf = (bytes: number): number => Math.min(ORDERS - 1, 32 - Math.clz32(bytes))
