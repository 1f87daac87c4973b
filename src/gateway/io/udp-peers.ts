import type { RemoteInfo } from 'node:dgram'
import { addressOfRoute, type RouteKey, routeAt } from '../ports/route.ts'

/** A peer of a UDP socket. */
export interface UdpPeer {
  readonly host: string
  readonly port: number
  readonly route: RouteKey
}

/** Peers that are remembered in each direction, 150 bytes each. */
const PEERS_MAX = 1024

/**
 * The last peers of a UDP port. A forwarder's route is made, hashed and taken apart once, and not for each datagram, which takes
 * 0.5 us to receive and to send one. With more peers than fit it is as without.
 */
export class UdpPeers {
  /** Name of the port. */
  readonly #name: string
  /** Where datagrams came from, by the low bits of the UDP port. */
  readonly #senders = new Array<UdpPeer | undefined>(PEERS_MAX).fill(undefined)
  readonly #receivers = new Map<RouteKey, UdpPeer>()

  constructor(name: string) {
    this.#name = name
  }

  routeOf({ address, port, family }: Pick<RemoteInfo, 'address' | 'port' | 'family'>): RouteKey {
    const slot = port % PEERS_MAX
    const known = this.#senders[slot]
    if (known?.port === port && known.host === address) return known.route
    const route = routeAt(family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`, this.#name)
    this.#senders[slot] = { host: address, port, route }
    return route
  }

  /** Where to send what is for a route. */
  at(route: RouteKey): UdpPeer {
    const known = this.#receivers.get(route)
    if (known !== undefined) return known
    const address = addressOfRoute(route)
    const colon = address.lastIndexOf(':')
    const host = address.startsWith('[') ? address.slice(1, colon - 1) : address.slice(0, colon)
    const peer = { host, port: Number(address.slice(colon + 1)), route }
    if (this.#receivers.size >= PEERS_MAX) this.#receivers.clear()
    this.#receivers.set(route, peer)
    return peer
  }
}
