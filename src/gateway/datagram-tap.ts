import type { RouteKey } from './ports/route.ts'

/** Sees every datagram from and to sensors, while a trace is on. Must not keep the bytes, nor change them. */
export interface DatagramTap {
  /** A datagram has arrived, and nothing has been done with it yet. `route`: its sender, or the forwarder that sent it. */
  datagramReceived(route: RouteKey, bytes: Uint8Array): void
  /** A datagram leaves now. What waits for airtime, or is never sent, is not seen. */
  datagramSent(route: RouteKey, bytes: Uint8Array): void
}
