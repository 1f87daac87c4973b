import { ipOfPeer, type Network, NetworkSet, parseNetwork } from '../base/networks.ts'

/** The networks and client ids of a `ban_file`. */
export class BanList {
  readonly #networks: NetworkSet
  readonly #ids: ReadonlySet<string>

  constructor(networks: readonly Network[] = [], ids: ReadonlySet<string> = new Set()) {
    this.#networks = new NetworkSet(networks)
    this.#ids = ids
  }

  /** Returns whether the peer's address is banned. `peer` as in `networkOf`. */
  hasPeer(peer: string): boolean {
    if (this.#networks.isEmpty) return false
    const ip = ipOfPeer(peer)
    return ip !== undefined && this.#networks.has(ip)
  }

  hasId(clientId: string): boolean {
    return this.#ids.has(clientId)
  }
}

/**
 * Parses a `ban_file`: one network (`192.0.2.0/24`, `2001:db8::/32`, `192.0.2.7`) or `id:CLIENT_ID` per line. A line
 * that begins with `#` is a comment. In the line of a network, `#` begins a comment as well; in a client id it is an
 * ordinary character.
 */
export function parseBans(text: string): BanList | { readonly line: number; readonly reason: string } {
  const networks: Network[] = []
  const ids = new Set<string>()
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const wrong = (reason: string): { line: number; reason: string } => ({ line: i + 1, reason })
    if (line.startsWith('id:')) {
      if (line === 'id:') return wrong('id: needs a client id')
      ids.add(line.slice('id:'.length))
      continue
    }
    const network = parseNetwork(line.replace(/\s*#.*$/, ''))
    if (network === undefined) return wrong('expected a network like 192.0.2.0/24 or fe80::/10, or id:CLIENT_ID')
    networks.push(network)
  }
  return new BanList(networks, ids)
}
