import type { Instant } from '../base/machine.ts'
import type { Holder } from '../base/shares.ts'
import type { SessionKey } from '../store/store.ts'
import type { Packet, Will } from './packets.ts'
import type { Publish, QoS } from './publish.ts'

export type LinkId = number

/** What sort of client is behind a link: sessions of different kinds never meet (ruling A32). */
export type ClientKind = 'mqtt' | 'sn'

export interface LinkInfo {
  readonly kind: ClientKind
  /** For Notices: `127.0.0.1:51234`. */
  readonly peer: string
  /** Name of the listener, for rules that differ between listeners. */
  readonly listener: string
  /** Who the transport says it is: the subject of a TLS client certificate (`use_identity_as_username`). */
  readonly identity?: string
  /** The client was connected when the process before this one ended, and knows nothing of it. */
  readonly isRestored?: true
  /** What the listener asks of its clients; the defaults if absent. */
  readonly settings?: LinkSettings
}

/** Bounds that may differ from listener to listener. */
export interface LinkSettings {
  /** Highest QoS of PUBLISH, and highest that SUBSCRIBE is granted. */
  readonly maximumQos: QoS
  /** What every client id has to begin with. */
  readonly clientIdPrefix: string
  /** What the ids begin with that the broker assigns. */
  readonly autoIdPrefix: string
  /** Clients without an id are given one. */
  readonly allowZeroLengthClientid: boolean
  /** Put before every topic of its clients; '' for none. */
  readonly mountPoint: string
}

export const DEFAULT_LINK_SETTINGS: LinkSettings = {
  maximumQos: 2,
  clientIdPrefix: '',
  autoIdPrefix: 'auto-',
  allowZeroLengthClientid: true,
  mountPoint: '',
}

/** One message for one receiver. The object is reused: it is valid until the next `poll` of the same link. */
export interface Delivery {
  readonly type: typeof OutgoingType.DELIVERY
  readonly message: Publish
  /** The effective QoS: the lower of published and granted. */
  readonly qos: QoS
  /** 0 for QoS 0. */
  readonly packetId: number
  readonly retain: boolean
  readonly dup: boolean
  readonly subscriptionIdentifiers: readonly number[] | undefined
}

/** The conversation is over: MQTT 5 peers get DISCONNECT with this code (unless CONNACK refused them), then the link is gone. */
export interface Close {
  readonly type: typeof OutgoingType.CLOSE
  readonly reasonCode: number
  /** False when nothing may be sent any more, as after a refusing CONNACK or before any CONNACK. */
  readonly disconnect: boolean
  /** For people, as Reason String. */
  readonly reason: string | undefined
}

/** Told apart from packets by `type`: 0 and 16 are no packet types. */
export const OutgoingType = { DELIVERY: 0, CLOSE: 16 } as const

export type Outgoing = Delivery | Packet | Close

/**
 * One client's conversation in typed MQTT packets: the one seam between broker and everything that speaks for clients.
 *
 * Everybody pulls: the broker never pushes into a link, it puts it on the ready list (`Uplink.nextReadyLink`), and whoever can
 * write polls it. A full socket and a sleeping sensor are the same thing: a link that does not listen, whose messages wait in
 * the session's bounded queue. Keep alive belongs to whoever opened the link.
 */
export interface Link {
  readonly id: LinkId
  /** `undefined` until CONNECT was accepted. */
  readonly session: SessionKey | undefined
  /** Deliveries that wait for this client, in the queue or behind the release gate. 0 and `poll` empty: it has everything. */
  readonly backlog: number
  /**
   * Not 'open': hand in nothing until the link is ready again, because a receiver is slower, too many answers wait for the store, or the client is
   * being authenticated.
   */
  readonly state: 'open' | 'held' | 'verifying'
  /** Whose shares of the memory count what is kept for the client; `undefined` until CONNECT was accepted. */
  readonly holder: Holder | undefined
  /** Whoever opened the link keeps so many bytes for its client from now on. */
  keeps(bytes: number): void
  /** Client to broker. 'pause': hand in nothing more until the link is ready again. */
  send(now: Instant, packet: Packet): 'go' | 'pause'
  /** Off: no deliveries, and the link counts as offline for shared subscriptions; control packets flow all the same. */
  listen(now: Instant, on: boolean): void
  poll(now: Instant): Outgoing | undefined
  /**
   * The one verb that MQTT lacks: MQTT-SN's WILLTOPICUPD and WILLMSGUPD. `undefined` deletes. Gives 0, or the MQTT 5 reason code of a refusal, by
   * which nothing has changed.
   */
  setWill(now: Instant, will: Will | undefined): number
  /** Vanished without DISCONNECT: the will fires by its rules, the session stays by its expiry. Idempotent. */
  lost(now: Instant, reason: string): void
}

export interface Uplink {
  /** Deliveries queued so far, and levels and subscriptions looked at to find them: what a packet has cost beyond itself. */
  readonly work: number
  /** As `Store.hasRoom`: while false, clients that have been silent for too long are not given up yet. */
  readonly hasRoom: boolean
  open(now: Instant, info: LinkInfo): Link
  /** Ends a session that nobody has ever used, to make room for another. False if there is one that is not like that, or that cannot be ended. */
  endUnused(now: Instant, key: SessionKey): boolean
  /** The next link with something to poll, each once until it is polled empty. */
  nextReadyLink(): LinkId | undefined
}
