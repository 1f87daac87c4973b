import type { AirtimeLimits } from './airtime.ts'
import type { RetryProfile } from './retry-profile.ts'

/** One way to sensors, as the core sees it: a UDP socket, or a radio at a serial line. */
export interface Port {
  readonly name: string
  /** Octets of the largest frame, a forwarder's envelope included. Nothing is split. */
  readonly maxFrame: number
  readonly retry: RetryProfile
  /** Of a client that has none, at the end of a line with a single one (ruling A22). */
  readonly defaultClientId?: string | undefined
  /** None: frames leave at once. */
  readonly airtime?: AirtimeLimits | undefined
  /** Frames that may wait for airtime: this many messages, and as many acknowledgements. */
  readonly maxQueued: number
  /** None: nobody is told of this gateway, and SEARCHGW is answered all the same. */
  readonly discovery?: DiscoveryHabits | undefined
}

/** How a gateway lets itself be found [1.2 section 6.1]. */
export interface DiscoveryHabits {
  /**
   * Whom a broadcast reaches: the multicast group of a network whose members can also be answered one by one, or everybody, because all
   * that is sent is heard by all.
   */
  readonly broadcast: 'multicast' | 'medium'
  /** Seconds between two ADVERTISEs (T_adv), at most 65,535; 0 is none. */
  readonly tAdvSeconds: number
  /** ADVERTISEs that another gateway may miss before it counts as gone (N_adv). */
  readonly nAdv: number
  /** Longest random wait before GWINFO on a medium (T_gwinfo). */
  readonly tGwinfoMs: number
  /** No ADVERTISE as long as another gateway is heard. */
  readonly standby: boolean
  /** Of an ADVERTISE behind a forwarder, 0 to 3; 0 is all nodes. */
  readonly radius: number
}
