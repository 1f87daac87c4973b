import type { RouteKey } from '../ports/route.ts'

/** Carries datagrams to and from clients. Each is delivered whole or not at all, and delivery is not guaranteed. */
export interface DatagramPort {
  readonly name: string
  /** `udp://127.0.0.1:1884`, `serial:/dev/ttyUSB0`. */
  readonly url: string
  /** UDP port; 0 for other kinds. */
  readonly port: number
  /** Maximum size of a datagram that it can carry, in octets. */
  readonly mtu: number
  /** Where ADVERTISE is sent, in words (`in multicast group 225.1.1.1 port 1884`); undefined if nowhere. */
  readonly broadcasts: string | undefined
  /** Not awaited: the protocol retransmits what is lost, whatever the port reports. */
  send(route: RouteKey, bytes: Uint8Array): void
  close(): Promise<void>
}

/** Receives a datagram from a port and takes ownership of `bytes`. */
export type Receive = (route: RouteKey, bytes: Uint8Array) => void
