import { isSameSubnet, isWithin, type Network } from '../../base/networks.ts'

/** Where a client was last heard. Opaque: only the code that carries datagrams builds and parses routes. */
export type RouteKey = string

/**
 * `192.0.2.7:51234@field/node:0a1b` is the node 0a1b behind the forwarder at that address, heard at the port `field`.
 * Without `@` it is the default port. Routes are stored with sessions, so the format must not change.
 */
const PORT = '@'
const NODE = '/node:'

/** Name of the port of --sn-host and --sn-port, which routes omit. */
export const DEFAULT_PORT = 'sn'

export const routeAt = (address: string, port: string): RouteKey => (port === DEFAULT_PORT ? address : `${address}${PORT}${port}`)

/** The route of a port's broadcasts. */
export const broadcastRoute = (port: string): RouteKey => routeAt('*', port)

/** The route of a node behind a forwarder. */
export function nodeRoute(forwarder: RouteKey, nodeId: Uint8Array): RouteKey {
  let digits = ''
  for (let i = 0; i < nodeId.length; i++) digits += OCTETS[nodeId[i]!]!
  node.route = forwarder + NODE + digits
  node.carrier = forwarder
  node.at = forwarder.length + NODE.length
  return node.route
}

/** `00` to `ff`. */
const OCTETS = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, '0'))

/**
 * The parts of the route that was asked for last, and of its carrier. A route is asked for some ten times for each datagram, and
 * these searches were 6 % of what connecting takes; `lastIndexOf` alone takes 150 ns. A carrier is the same string as long as one
 * forwarder is asked for, so that comparing it and looking it up do not read it again.
 */
const node = { route: '', carrier: '', at: 0 }
const carrier = { route: '', at: -1 }

/** Where datagrams for the route are sent: the forwarder's route, or the route itself. */
export function carrierOf(route: RouteKey): RouteKey {
  if (route === node.route) return node.carrier
  if (route === carrier.route) return route
  const at = route.indexOf(NODE)
  if (at < 0) return route
  const forwarder = route.slice(0, at)
  node.route = route
  node.carrier = forwarder === node.carrier ? node.carrier : forwarder
  node.at = at + NODE.length
  return node.carrier
}

/** Place of `PORT` in a carrier; -1 at the default port. */
function portAt(route: RouteKey): number {
  if (route !== carrier.route) {
    carrier.at = route.lastIndexOf(PORT)
    carrier.route = route
  }
  return carrier.at
}

/** Place of the node id in a route; -1 if it is not behind a forwarder. */
const nodeAt = (route: RouteKey): number => (carrierOf(route) === route ? -1 : node.at)

/** Number of octets of the node id; 0 for a client that is not behind a forwarder. */
export function nodeIdLength(route: RouteKey): number {
  const at = nodeAt(route)
  return at < 0 ? 0 : (route.length - at) >> 1
}

/** Digit by digit: with a regular expression this was a fifth of the time that it takes to drain a client behind a forwarder. */
export function nodeIdOf(route: RouteKey): Uint8Array | undefined {
  const from = nodeAt(route)
  if (from < 0) return undefined
  const nodeId = new Uint8Array((route.length - from) >> 1)
  for (let i = 0; i < nodeId.length; i++)
    nodeId[i] = digitOf(route.charCodeAt(from + 2 * i)) * 16 + digitOf(route.charCodeAt(from + 2 * i + 1))
  return nodeId
}

/** The node id as `nodeRoute` writes it: hexadecimal digits. */
export function nodeTextOf(route: RouteKey): string | undefined {
  const from = nodeAt(route)
  return from < 0 ? undefined : route.slice(from)
}

/** `0` to `9` and `a` to `f`, as `nodeRoute` writes them. */
const digitOf = (code: number): number => (code <= 0x39 ? code - 0x30 : code - 0x57)

export function portNameOf(route: RouteKey): string {
  const forwarder = carrierOf(route)
  const at = portAt(forwarder)
  return at < 0 ? DEFAULT_PORT : forwarder.slice(at + 1)
}

/** The peer's address in the notation of its port: `192.0.2.7:51234`, `[::1]:51234`. */
export function addressOfRoute(route: RouteKey): string {
  const forwarder = carrierOf(route)
  const at = portAt(forwarder)
  return at < 0 ? forwarder : forwarder.slice(0, at)
}

/** The IP address of the route; undefined for a serial line. */
export function ipOf(route: RouteKey): string | undefined {
  const address = addressOfRoute(route)
  const colon = address.lastIndexOf(':')
  if (colon < 0 || !/^\d+$/.test(address.slice(colon + 1))) return undefined
  if (address.startsWith('[')) return address[colon - 1] === ']' ? address.slice(1, colon - 1) : undefined
  const host = address.slice(0, colon)
  return /^[\d.]+$/.test(host) ? host : undefined
}

/**
 * True if both IP addresses are in the same subnet, or, without IP addresses, both routes are on the same port (one radio
 * or line).
 */
export function isSameNetwork(one: RouteKey, other: RouteKey): boolean {
  const [ip, otherIp] = [ipOf(one), ipOf(other)]
  if (ip === undefined || otherIp === undefined) return ip === otherIp && portNameOf(one) === portNameOf(other)
  return isSameSubnet(ip, otherIp)
}

/** True if both are the same host, whatever its UDP port. */
export const isSameHost = (one: RouteKey, other: RouteKey): boolean =>
  one === other || (ipOf(one) !== undefined && ipOf(one) === ipOf(other) && portNameOf(one) === portNameOf(other))

/** True for any route if `networks` is undefined. A route without an IP address (serial) is in no network. */
export function isWithinAny(route: RouteKey, networks: readonly Network[] | undefined): boolean {
  const ip = ipOf(route)
  return networks === undefined || (ip !== undefined && isWithin(ip, networks))
}
