import { earliest, type Instant } from '../base/machine.ts'
import type { Disconnect } from '../mqtt/packets.ts'
import type { ByteCount } from '../mqtt/topic-names.ts'
import type { UpstreamLink } from './upstream-link.ts'
import type { UpstreamNotices } from './upstream-notices.ts'

/** What a link shows of itself. Times are of the machine's clock. */
export interface UpstreamStatus {
  /** 'off': no CONNECT yet, or ended by its owner. 'waiting': for the time of the next attempt, or for the dial budget. */
  state: 'off' | 'waiting' | 'dialling' | 'connecting' | 'up'
  since: Instant
  /** URL of the target of the stream, or of the last one. */
  target: string
  version: number
  /** Attempts to connect, and those that led to CONNACK with success. */
  dials: number
  connects: number
  /** Why the last stream ended, the last attempt failed, or a message waits; '' if nothing of that has happened. */
  lastError: string
  /** Milliseconds of the last PINGREQ or PUBLISH until its answer; undefined before the first. */
  roundTripMs: number | undefined
  /** The far side had no session although there had been one. */
  sessionsLost: number
  sent: number
  received: number
  resent: number
  /** Messages that the far side will not have, or that were lost with QoS 0; each also raises a notice. */
  givenUp: number
}

/** Not put together from parts: V8 would keep a shape of its own for each link, 400 bytes. */
export const newStatus = (now: Instant, target: string): UpstreamStatus => ({
  state: 'off',
  since: now,
  target,
  version: 0,
  dials: 0,
  connects: 0,
  lastError: '',
  roundTripMs: undefined,
  sessionsLost: 0,
  sent: 0,
  received: 0,
  resent: 0,
  givenUp: 0,
})

/** What a link needs of `Upstream`. */
export interface LinkHost {
  /** What all links hold counts here. */
  readonly held: ByteCount
  readonly notices: UpstreamNotices
  /** The owner of the link has something to poll, or its status has changed. */
  markReady(link: UpstreamLink): void
  /** The stream has something to write. */
  markDirty(link: UpstreamLink): void
  /** Dial when it is time. */
  wantStream(now: Instant, link: UpstreamLink): void
  /** Dial it before others. */
  urge(link: UpstreamLink): void
  /** Ends the stream after what was written to it; without `goodbye` the far side publishes the will. */
  end(now: Instant, link: UpstreamLink, goodbye: Disconnect | undefined): void
  /** Ends the stream, and dials again after the backoff. */
  reconnect(now: Instant, link: UpstreamLink, reasonCode: number, reason: string): void
  /** Milliseconds of the backoff after so many failures. */
  backoff(link: UpstreamLink, failures: number): number
}

/** When to write again what the far side has refused for now. */
export const nextLook = ({ outbound, subscriptions }: UpstreamLink): Instant | undefined =>
  earliest(outbound.heldUntil, subscriptions.againAt)
