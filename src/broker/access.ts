import type { ClientKind } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'

/** Who is asking: what an access rule may look at. */
export interface Identity {
  readonly kind: ClientKind
  readonly clientId: string
  readonly username: string | undefined
}

/** Who may do what. Decided in memory and at once: only authentication may wait, and it is asked elsewhere. */
export interface Access {
  /** An MQTT 5 reason code; 0 lets the client in. */
  connect(kind: ClientKind, connect: Connect): number
  publish(who: Identity, topic: string): boolean
  subscribe(who: Identity, filter: string): boolean
}

/** Anonymous mode: who reaches the port may do everything. */
export const OPEN_ACCESS: Access = {
  connect: () => 0,
  publish: () => true,
  subscribe: () => true,
}
