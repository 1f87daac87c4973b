import { isSameSubnet, isWithin, type Network } from '../../base/networks.ts'

/** Where a client was last heard. Opaque: only the code that carries datagrams builds and parses one. */
export type RouteKey = string

/**
 * Routes as ports write them: `192.0.2.7:51234@field/node:0a1b` is the node 0a1b behind the forwarder at that address, heard at the port
 * `field`. Without `@` it is the default port. Stored with sessions, so the form stays.
 */
const PORT = '@'
const NODE = '/node:'

/** Name of the port of --sn-host and --sn-port, which routes do not spell out. */
export const DEFAULT_PORT = 'sn'

export const routeAt = (address: string, port: string): RouteKey => (port === DEFAULT_PORT ? address : `${address}${PORT}${port}`)

/** Everybody that a port's broadcasts reach. */
export const everybodyAt = (port: string): RouteKey => routeAt('*', port)

/** The route of a node behind a forwarder. */
export const nodeRoute = (forwarder: RouteKey, nodeId: Uint8Array): RouteKey =>
  `${forwarder}${NODE}${Array.from(nodeId, (byte) => byte.toString(16).padStart(2, '0')).join('')}`

/** Where datagrams for the route go: the forwarder's route, or the route itself. */
export function carrierOf(route: RouteKey): RouteKey {
  const node = route.indexOf(NODE)
  return node < 0 ? route : route.slice(0, node)
}

export function nodeIdOf(route: RouteKey): Uint8Array | undefined {
  const node = route.indexOf(NODE)
  if (node < 0) return undefined
  const digits = route.slice(node + NODE.length)
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

export function portNameOf(route: RouteKey): string {
  const carrier = carrierOf(route)
  const at = carrier.lastIndexOf(PORT)
  return at < 0 ? DEFAULT_PORT : carrier.slice(at + 1)
}

/** What the port itself calls its peer: `192.0.2.7:51234`, `[::1]:51234`. */
export function addressOf(route: RouteKey): string {
  const carrier = carrierOf(route)
  const at = carrier.lastIndexOf(PORT)
  return at < 0 ? carrier : carrier.slice(0, at)
}

/** The IP address in it: of a serial line there is none. */
export function ipOf(route: RouteKey): string | undefined {
  const address = addressOf(route)
  const colon = address.lastIndexOf(':')
  if (colon < 0 || !/^\d+$/.test(address.slice(colon + 1))) return undefined
  if (address.startsWith('[')) return address[colon - 1] === ']' ? address.slice(1, colon - 1) : undefined
  const host = address.slice(0, colon)
  return /^[\d.]+$/.test(host) ? host : undefined
}

/** Whether the two are near each other: by IP address in the same subnet, without one at the same port, which is one radio or line. */
export function isSameNetwork(one: RouteKey, other: RouteKey): boolean {
  const [ip, otherIp] = [ipOf(one), ipOf(other)]
  if (ip === undefined || otherIp === undefined) return ip === otherIp && portNameOf(one) === portNameOf(other)
  return isSameSubnet(ip, otherIp)
}

/** Whether the two are one host, whatever its port. */
export const isSameHost = (one: RouteKey, other: RouteKey): boolean =>
  one === other || (ipOf(one) !== undefined && ipOf(one) === ipOf(other) && portNameOf(one) === portNameOf(other))

/** No networks are everywhere; what has no IP address, as at a serial line, is in none. */
export function isWithinAny(route: RouteKey, networks: readonly Network[] | undefined): boolean {
  const ip = ipOf(route)
  return networks === undefined || (ip !== undefined && isWithin(ip, networks))
}
