import type { RouteKey } from '../ports/route.ts'

/** What carries datagrams to and from sensors: whole, each by itself, and without any promise that they arrive. */
export interface DatagramPort {
  readonly name: string
  /** `udp://127.0.0.1:1884`, `serial:/dev/ttyUSB0`. */
  readonly url: string
  /** UDP port; 0 for others. */
  readonly port: number
  /** Octets of the largest datagram that it can carry at all. */
  readonly mtu: number
  /** Where ADVERTISE goes, in words (`in multicast group 225.1.1.1 port 1884`); undefined if nowhere. */
  readonly broadcasts: string | undefined
  /** Not awaited: what the network loses is repeated by the protocol, whatever the port says of it. */
  send(route: RouteKey, bytes: Uint8Array): void
  close(): Promise<void>
}

/** Takes what a port has heard; `bytes` are the receiver's from then on. */
export type Receive = (route: RouteKey, bytes: Uint8Array) => void
