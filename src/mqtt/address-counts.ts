import { addressOf, networkOf } from '../base/networks.ts'

/** How many connections each address has: an IPv4 address, or one /64 of IPv6 (`networkOf`). */
export class AddressCounts {
  readonly #counts = new Map<string, number>()

  of(peer: string): number {
    return this.#counts.get(countedAs(peer)) ?? 0
  }

  add(peer: string, more: 1 | -1): void {
    const address = countedAs(peer)
    const count = (this.#counts.get(address) ?? 0) + more
    if (count === 0) this.#counts.delete(address)
    else this.#counts.set(address, count)
  }
}

const countedAs = (peer: string): string => networkOf(peer) ?? addressOf(peer)
