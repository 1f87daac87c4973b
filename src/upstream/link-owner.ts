import type { Instant } from '../base/machine.ts'
import type { SubscriptionRequest, Will } from '../mqtt/packets.ts'
import type { ProtocolVersion } from '../mqtt/publish.ts'
import type { HeldLimits } from './inbound.ts'
import type { UpstreamLink } from './upstream-link.ts'

export interface UpstreamLinkSettings {
  /** For people, and unique: the name of the bridge. Unused where links share their settings: `UpstreamLinkOwner.linkName`. */
  readonly name: string
  /**
   * The link is a sensor's, one of many to the same targets: what concerns a target is told once; a session that another client takes
   * over is left to it; what is here when the far side has lost the session is still handed out. Limits of what is held for it.
   */
  readonly ofSensor?: HeldLimits
  /** Unanswered messages of QoS 1 and 2 to the far side at most, and as Receive Maximum from it. */
  readonly window: number
  /** Bytes of a packet from the far side at most. */
  readonly maxPacketSize: number
}

/** Who has a link: a bridge, or the session of a sensor. */
export interface UpstreamLinkOwner {
  /** The link has something to poll, takes messages again, or its status has changed. Called between inputs, from `Server.poll`. */
  upstreamReady(now: Instant, link: UpstreamLink): void
  /** The name of the link, in place of that of its settings. */
  readonly linkName?: string
  /** Its subscriptions, if the owner keeps them: then the link does not. */
  subscriptions?(): Iterable<SubscriptionRequest>
  /** The will that a CONNECT of this version is to have; that of the owner's CONNECT if absent. */
  willFor?(will: Will | undefined, version: ProtocolVersion): Will | undefined
}
