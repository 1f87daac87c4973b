import { networkOf } from '../base/networks.ts'
import type { ClientLink } from './client-link.ts'

/** What waits from one address. */
interface Waiting {
  readonly name: string
  bytes: number
  /** With their bytes, in the order in which they came. */
  readonly links: Map<ClientLink, number>
}

/** Binary orders of magnitude in which addresses are kept: up to 2 GiB of one. */
const ORDERS = 32

/**
 * Pending logins and the memory that they use. Above the limit, the address that uses most loses its oldest login: the newest are
 * answered first, so the oldest is the least likely to be answered in time. A single login of the usual size is safe as long as
 * another address uses more.
 */
export class PendingLogins {
  bytes = 0
  readonly #addresses = new Map<string, Waiting>()
  /** Addresses by the order of magnitude of their memory, so that the largest is found without a search. */
  readonly #orders = Array.from({ length: ORDERS }, () => new Set<Waiting>())

  /** What the login of this link takes from now on. */
  set(link: ClientLink, bytes: number): void {
    const name = addressKey(link)
    const waiting = this.#addresses.get(name) ?? { name, bytes: 0, links: new Map<ClientLink, number>() }
    this.#addresses.set(name, waiting)
    const more = bytes - (waiting.links.get(link) ?? 0)
    waiting.links.set(link, bytes)
    this.#grow(waiting, more)
  }

  /** It waits no more. */
  remove(link: ClientLink): void {
    const waiting = this.#addresses.get(addressKey(link))
    const bytes = waiting?.links.get(link)
    if (waiting === undefined || bytes === undefined) return
    waiting.links.delete(link)
    this.#grow(waiting, -bytes)
    if (waiting.links.size > 0) return
    this.#addresses.delete(waiting.name)
    this.#orders[orderOf(waiting)]!.delete(waiting)
  }

  /** The login to give up, and what its address holds, give or take a factor of two the most of all. */
  largest(): { readonly link: ClientLink; readonly bytes: number } | undefined {
    const [waiting] = this.#orders.findLast(({ size }) => size > 0) ?? []
    if (waiting === undefined) return undefined
    const [link] = waiting.links.keys()
    return { link: link!, bytes: waiting.bytes }
  }

  #grow(waiting: Waiting, more: number): void {
    this.#orders[orderOf(waiting)]!.delete(waiting)
    waiting.bytes += more
    this.bytes += more
    this.#orders[orderOf(waiting)]!.add(waiting)
  }
}

const orderOf = ({ bytes }: Waiting): number => Math.min(ORDERS - 1, 32 - Math.clz32(bytes))

/** Programs that come by a Unix socket are one address. */
const addressKey = ({ info: { peer } }: ClientLink): string => networkOf(peer) ?? peer
