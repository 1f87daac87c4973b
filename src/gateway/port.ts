import type { AirtimeLimits } from './airtime.ts'
import type { RetryProfile } from './retry-profile.ts'

/** One way to sensors, as the core sees it: a UDP socket, or a radio at a serial line. */
export interface Port {
  readonly name: string
  /** Octets of the largest frame, a forwarder's envelope included. Nothing is split. */
  readonly maxFrame: number
  readonly retry: RetryProfile
  /** None: frames leave at once. */
  readonly airtime?: AirtimeLimits | undefined
  /** Frames that may wait for airtime: this many messages, and as many acknowledgements. */
  readonly maxQueued: number
  /**
   * Whom a broadcast reaches: nobody, the multicast group of a network whose members can also be answered one by one, or everybody,
   * because all that is sent is heard by all.
   */
  readonly broadcast: 'none' | 'multicast' | 'medium'
  /** Seconds between two ADVERTISEs (T_adv); 0 is none. */
  readonly tAdvSeconds: number
}
