import { ipOfPeer, parseIp } from '../base/networks.ts'

/** One end of a connection: an address of 4 or 16 octets, and a port. */
export interface Endpoint {
  readonly ip: readonly number[]
  readonly port: number
}

export const Protocol = { TCP: 6, UDP: 17 } as const

/** Returns an IP packet around a TCP segment or a UDP datagram, whose checksum, still 0, is at `checksumAt`. */
export function ipPacket(protocol: number, from: Endpoint, to: Endpoint, content: Uint8Array, checksumAt: number): Uint8Array {
  const pseudo = Uint8Array.of(...from.ip, ...to.ip, 0, protocol, content.length >> 8, content.length & 0xff)
  // 0 means none in UDP.
  new DataView(content.buffer).setUint16(checksumAt, checksum(sum(content, sum(pseudo))) || 0xffff)
  const isV4 = from.ip.length === 4
  const packet = new Uint8Array((isV4 ? 20 : 40) + content.length)
  const view = new DataView(packet.buffer)
  if (isV4) {
    packet[0] = 0x45
    view.setUint16(2, packet.length)
    packet[8] = HOPS
    packet[9] = protocol
    packet.set([...from.ip, ...to.ip], 12)
    view.setUint16(10, checksum(sum(packet.subarray(0, 20))))
  } else {
    packet[0] = 0x60
    view.setUint16(4, content.length)
    packet[6] = protocol
    packet[7] = HOPS
    packet.set([...from.ip, ...to.ip], 8)
  }
  packet.set(content, packet.length - content.length)
  return packet
}

const HOPS = 64

/** Adds up the 16-bit words of some bytes [RFC 1071]. */
function sum(bytes: Uint8Array, before = 0): number {
  let total = before
  for (let i = 0; i + 1 < bytes.length; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!
  return bytes.length % 2 === 0 ? total : total + (bytes.at(-1)! << 8)
}

function checksum(total: number): number {
  let folded = total
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000)
  return ~folded & 0xffff
}

/** Returns the address in `192.0.2.7:51234` or `[2001:db8::7]:51234`; for any other name one in 198.18.0.0/15, always the same. */
export function endpointOf(peer: string): Endpoint {
  const words = parseIp(ipOfPeer(peer) ?? '')
  if (words === undefined) return placeholder(peer)
  const octets = words.flatMap((word) => [word >> 8, word & 0xff])
  const isV4 = words[5] === 0xffff && words.slice(0, 5).every((word) => word === 0)
  const port = Number(/\d+$/.exec(peer)?.[0] ?? 0) & 0xffff
  return { ip: isV4 ? octets.slice(12) : octets, port }
}

/** The address in the route of a broadcast. */
const BROADCAST = '*'

function placeholder(name: string): Endpoint {
  if (name === BROADCAST) return { ip: [255, 255, 255, 255], port: 0xffff }
  let hash = 0
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) >>> 0
  return { ip: [198, 18 + (hash & 1), (hash >>> 1) & 0xff, (hash >>> 9) & 0xff], port: 1024 + ((hash >>> 17) & 0x3fff) }
}

const LOOPBACK_6 = endpointOf('[::1]:0').ip
/** Addresses for documentation [RFC 5737, RFC 3849]. */
const SOMEWHERE = endpointOf('192.0.2.1:0').ip
const SOMEWHERE_6 = endpointOf('[2001:db8::1]:0').ip

/**
 * Returns an address for this side of a connection with a peer. Which one the client has used is not known here, only that it could
 * reach it.
 */
export function ownEndFor({ ip }: Endpoint, port: number): Endpoint {
  if (ip.length === 4) return { ip: ip[0] === 127 ? [127, 0, 0, 1] : SOMEWHERE, port }
  return { ip: ip.every((octet, i) => octet === LOOPBACK_6[i]) ? LOOPBACK_6 : SOMEWHERE_6, port }
}
