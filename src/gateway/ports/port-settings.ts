import type { AirtimeLimits } from './airtime.ts'
import type { RetryProfile } from './retry-profile.ts'

/** A port to clients, as the core sees it: a UDP socket, or a radio on a serial line. */
export interface PortSettings {
  readonly name: string
  /** Maximum size of a frame in octets, with the forwarder encapsulation. Messages are never split. */
  readonly maxFrame: number
  readonly retry: RetryProfile
  /** Client id of a client that sends none, on a line with a single client (ruling A22). */
  readonly defaultClientId?: string | undefined
  /** Undefined: frames are sent immediately. */
  readonly airtime?: AirtimeLimits | undefined
  /** Maximum number of messages that wait for airtime, and of acknowledgements. */
  readonly maxQueued: number
  /** Undefined: the gateway does not advertise itself here, but answers SEARCHGW. */
  readonly discovery?: DiscoverySettings | undefined
}

/** How a gateway can be discovered [1.2 section 6.1]. */
export interface DiscoverySettings {
  /**
   * Whom a broadcast reaches: the members of a multicast group, who can also be answered individually, or everyone on the
   * medium, because everything sent there is heard by all.
   */
  readonly broadcast: 'multicast' | 'medium'
  /** Seconds between two ADVERTISEs (T_adv), at most 65,535; 0 for none. */
  readonly tAdvSeconds: number
  /** Number of ADVERTISEs of another gateway that may be missed before it is considered gone (N_adv). */
  readonly nAdv: number
  /** Maximum random delay before GWINFO on a medium, in milliseconds (T_gwinfo). */
  readonly tGwinfoMs: number
  /** Send no ADVERTISE while another gateway is heard. */
  readonly standby: boolean
  /** Broadcast radius of an ADVERTISE behind a forwarder, 0 to 3; 0 reaches all nodes. */
  readonly radius: number
}
