import type { Instant } from '../base/machine.ts'
import type { Holder } from '../base/shares.ts'
import type { SessionKey } from '../store/store.ts'
import type { Packet, Will } from './packets.ts'
import type { Publish, QoS } from './publish.ts'

export type LinkId = number

/** The kind of client behind a link: sessions of different kinds are separate (ruling A32). */
export type ClientKind = 'mqtt' | 'sn'

/** Listener of links that the process opens for itself. No configured listener can have this name, and no access rule applies. */
export const LOCAL_LISTENER = '(local)'

/** As `LOCAL_LISTENER`, of the local sessions of bridges, whose client ids no other client may use. */
export const BRIDGE_LISTENER = '(bridge)'

/** Whether a listener stands for links of the process itself: no configured listener has such a name. */
export const isOwnListener = (listener: string): boolean => listener.startsWith('(')

export interface LinkInfo {
  readonly kind: ClientKind
  /** For Notices: `127.0.0.1:51234`. */
  readonly peer: string
  /** Name of the listener, for rules that depend on it. */
  readonly listener: string
  /** Identity from the transport: the subject of a TLS client certificate (`use_identity_as_username`). */
  readonly identity?: string
  /** The client was connected when the last process ended, and does not know that it has. */
  readonly isRestored?: true
  /** Messages that may wait for this client, in place of max_queued_messages; only of local links. */
  readonly maxQueued?: number
  /** The link of the gateway itself, for senders that have no connection: nobody is behind it who could be verified. */
  readonly isShared?: true
  /** Settings of the listener; defaults if absent. */
  readonly settings?: LinkSettings
}

/** Settings of one listener. */
export interface LinkSettings {
  /** Maximum QoS of PUBLISH, and maximum QoS granted to SUBSCRIBE. */
  readonly maximumQos: QoS
  /** Prefix that every client id must have. */
  readonly clientIdPrefix: string
  /** Prefix of ids that the broker assigns. */
  readonly autoIdPrefix: string
  /** Clients without an id are assigned one. */
  readonly allowZeroLengthClientid: boolean
  /** Prefix added to every topic of its clients; '' for none. */
  readonly mountPoint: string
}

export const DEFAULT_LINK_SETTINGS: LinkSettings = {
  maximumQos: 2,
  clientIdPrefix: '',
  autoIdPrefix: 'auto-',
  allowZeroLengthClientid: true,
  mountPoint: '',
}

/** One message for one receiver. The object is reused: it is valid until the next `poll` of any link. */
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

/** The connection ends: MQTT 5 clients get DISCONNECT with this code (unless CONNACK refused them), then the link is gone. */
export interface Close {
  readonly type: typeof OutgoingType.CLOSE
  readonly reasonCode: number
  /** False when nothing may be sent any more, as after a refusing CONNACK or before any CONNACK. */
  readonly disconnect: boolean
  /** The Reason String. */
  readonly reason: string | undefined
}

/** Distinguished from packets by `type`: 0 and 16 are no packet types. */
export const OutgoingType = { DELIVERY: 0, CLOSE: 16 } as const

export type Outgoing = Delivery | Packet | Close

/**
 * One client's connection in typed MQTT packets: the one interface between the broker and everything that speaks for clients.
 *
 * Data is always pulled: the broker never pushes into a link, but puts it on the ready list (`Uplink.nextReadyLink`), and the
 * owner polls it when it can write. A full socket and a sleeping sensor are the same: a link that does not listen, whose messages
 * are queued in the session up to its limit. Keep alive is up to the owner of the link.
 */
export interface Link {
  readonly id: LinkId
  /** `undefined` until CONNECT is accepted. */
  readonly session: SessionKey | undefined
  /** Deliveries for this client that are queued or wait for the store. With 0 and `poll` empty, it has everything. */
  readonly backlog: number
  /**
   * Unless 'open', send nothing until the link is ready again: a receiver is slower, too many answers wait for the store, or the
   * client is being authenticated.
   */
  readonly state: 'open' | 'held' | 'verifying'
  /** The session is elsewhere, and cannot be reached now: whether it can is known by another CONNECT. Absent where that cannot be. */
  readonly isAway?: boolean
  /** The holder in whose memory shares the client counts; `undefined` until CONNECT is accepted. */
  readonly holder: Holder | undefined
  /** Place of its session among the figures of clients; -1 if it has none. */
  readonly figuresAt: number
  /** Sets the number of bytes that the owner of the link keeps for its client. */
  keeps(bytes: number): void
  /** A packet from client to broker. 'pause': send nothing more until the link is ready again. */
  send(now: Instant, packet: Packet): 'go' | 'pause'
  /** The client has retransmitted an unacknowledged message. Only for links that resend on demand. */
  repeated?(): void
  /**
   * Off: no deliveries, and the link counts as offline for shared subscriptions; control packets are still sent. `isThere`: the client
   * is reachable, although no delivery may be sent to it now.
   */
  listen(now: Instant, on: boolean, isThere?: boolean): void
  poll(now: Instant): Outgoing | undefined
  /**
   * The one operation that MQTT lacks: MQTT-SN's WILLTOPICUPD and WILLMSGUPD. `undefined` deletes the will. Returns 0, or the
   * MQTT 5 reason code of a refusal, which has changed nothing.
   */
  setWill(now: Instant, will: Will | undefined): number
  /**
   * The connection was lost without DISCONNECT: the will is published by its rules, the session stays until its expiry.
   * Idempotent.
   */
  lost(now: Instant, reason: string): void
}

export interface Uplink {
  /**
   * Deliveries queued, and levels and subscriptions examined to find receivers, so far: the cost of packets beyond themselves.
   */
  readonly work: number
  /** As `Store.hasRoom`: while false, silent clients are not disconnected yet. */
  readonly hasRoom: boolean
  open(now: Instant, info: LinkInfo): Link
  /** Ends a session that was never used, to make room for another. False if it has been used, or cannot be ended. */
  endUnused(now: Instant, key: SessionKey): boolean
  /** The next link with something to poll. Poll it until it is empty; it is not returned again before. */
  nextReadyLink(): LinkId | undefined
}

/** The session of a link that rests, as its owner refers to it. */
export interface RestingSession {
  readonly key: SessionKey
  readonly clientId: string
  readonly will: Will | undefined
}

export interface Waiting {
  readonly messages: number
  /** Of topics, payloads and properties. */
  readonly bytes: number
}

/** The state that a link has while nothing is under way. Its owner keeps it while the link rests. */
export interface RestingLink {
  readonly id: LinkId
  readonly info: LinkInfo
  /** In-flight window. */
  readonly window: number
  /** The session existed before this connection. */
  readonly resumed: boolean
  /** A full window was reported, and not everything queued has been sent since. */
  readonly windowTold: boolean
  /** What is left of the time for which slower receivers may pause this client. */
  readonly patienceMs: number
  /** What is left of the retained messages that its subscriptions may examine. */
  readonly lookups: { readonly tokens: number; readonly filledAt: Instant } | undefined
}

/**
 * Links at rest. A million sleeping clients are connected, but nothing is under way for them: the broker keeps the session alone,
 * and its client counts as connected.
 */
export interface RestingLinks {
  /** Called when the broker needs the link of this session: the owner resumes it before it returns. */
  needed: (session: RestingSession) => void
  /**
   * Returns the state of the link if nothing is under way on it, it does not listen, and the will of its session is this one.
   * Otherwise it cannot rest now.
   */
  stateOf(id: LinkId, will: Will | undefined): RestingLink | undefined
  /**
   * Drops a link whose state the owner keeps. Neither this nor `resume` has any effect beyond that: no record, no timer, no
   * notice.
   */
  rest(id: LinkId): RestingSession
  /**
   * What waits for a client, with what was delivered and is not acknowledged yet; `undefined` if there is no such session. A session
   * that rests needs no look-up by its key.
   */
  waiting(session: SessionKey | RestingSession): Waiting | undefined
  /** Restores the link of a session. */
  resume(session: RestingSession, link: RestingLink): Link
}

export interface SensorUplink extends Uplink {
  /** Where the sessions of sensors are, for people. */
  readonly place: 'the broker' | 'the cluster'
  readonly resting: RestingLinks
  /** The will of a client without a link is not yet published, and would be lost with the process. */
  owesWill?(clientId: string): boolean
  /** Called when the will of a client without a link has been published, or it has none. */
  settled?: (now: Instant, clientId: string) => void
  /** The gateway has forgotten a client, and everything of it in the store. */
  forgotten?(clientId: string): void
}
