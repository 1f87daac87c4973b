import { isIPv4, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'

/** Where the gateway advertises itself and receives SEARCHGW. */
export interface MulticastOptions {
  /** An IPv4 or IPv6 group, or 'none'; undefined for the default group of the Paho gateway. */
  readonly group: string | undefined
  /** UDP port of the group; 0 for that of the socket. */
  readonly port: number
  /** For IPv4 an address of the interface, for IPv6 its name. */
  readonly interface: string | undefined
  /** Maximum number of hops. */
  readonly ttl: number
}

const DEFAULT_GROUPS = { udp4: '225.1.1.1', udp6: 'ff1e:feed:caca:dead::feed:caca:dead' } as const

/**
 * Returns the group for a socket bound to `host` and the interface to join it on, or undefined for 'none'.
 * @throws Error that names the option
 */
export function groupFor(
  host: string,
  { group, interface: given }: MulticastOptions,
): { group: string; via: string | undefined } | undefined {
  const type = isIPv6(host) ? 'udp6' : 'udp4'
  // Linux has no IPv6 multicast on the loopback interface.
  const wanted = group ?? (host === '::1' ? 'none' : DEFAULT_GROUPS[type])
  if (wanted === 'none') return undefined
  const fits =
    type === 'udp6' ? isIPv6(wanted) && /^ff/i.test(wanted) : isIPv4(wanted) && (Number.parseInt(wanted, 10) & 0xf0) === 224
  if (!fits) throw new Error(`${wanted} is no ${type === 'udp6' ? 'IPv6' : 'IPv4'} multicast address (multicast_group)`)
  if (type === 'udp4') return { group: wanted, via: given ?? (isWildcard(host) ? undefined : ipv4Of(host)) }
  const name = given ?? interfaceWith(host)
  return { group: wanted, via: name === undefined ? undefined : `::%${name}` }
}

export const isWildcard = (host: string): boolean => host === '0.0.0.0' || /^[0:]+$/.test(host)

const ipv4Of = (host: string): string | undefined => (isIPv4(host) ? host : host === 'localhost' ? '127.0.0.1' : undefined)

/** Returns the name of the interface with this address. */
function interfaceWith(host: string): string | undefined {
  const [address, zone] = host.split('%')
  if (zone !== undefined) return zone
  const found = Object.entries(networkInterfaces()).find(([, addresses]) => addresses?.some((each) => each.address === address))
  return found?.[0]
}
