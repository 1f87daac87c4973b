import type { ClientKind, LinkId, LinkInfo } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'
import type { ProtocolVersion, Publish, QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { bridgeOfStateTopic, isReservedTopic } from '../mqtt/topics.ts'

/** The client: what an access rule may depend on. */
export interface Identity {
  readonly kind: ClientKind
  readonly clientId: string
  readonly username: string | undefined
  /** Name of the listener that the client last connected to; '' while unknown, as after a restart. */
  readonly listener: string
  /** The result of authentication: opaque to the broker, passed along with every question. */
  readonly grant: object | undefined
  /** The transport vouches for the user name: a verified TLS certificate. */
  readonly certified: boolean
  /** The user name is verified: by the transport, a password or a token, now or before a restart. */
  readonly verified: boolean
}

export type Published = Pick<Publish, 'qos' | 'retain'>

/** To whom a client id belongs: to the user who asks, to no one, or to another user. */
export type ClientIdUse = 'own' | 'free' | 'foreign'

/** Access rules. Answers are immediate, from memory; only authentication may take time. */
export interface Access {
  /**
   * Whether CONNECT is accepted: 0, the MQTT 5 reason code of a refusal, or 'ask' if the client has to be verified first
   * (`AuthRequest`).
   */
  connect(info: LinkInfo, connect: Connect): number | 'ask'
  /** To whom the rules assign a client id; `username` is `undefined` if it is not verified. Absent: all ids are free. */
  clientIdUse?(kind: ClientKind, clientId: string, username: string | undefined): ClientIdUse
  /**
   * After a change of the rules: 0 if a connected client may stay, or the reason code for its DISCONNECT. `peer`: its address.
   */
  remains(who: Identity, peer: string): number
  /** Whether it may publish there; `message`: what is known of the message. */
  publish(who: Identity, topic: string, message?: Published): boolean
  /** The same for a will. Absent: as `publish`. */
  will?(who: Identity, topic: string, message?: Published): boolean
  /** What the rules say about publishing on this topic; `undefined` if no rule names it, or there are none. */
  publishRule?(who: Identity, topic: string): boolean | undefined
  /**
   * Whether the filter may be subscribed to: because everything that it matches may be read (`#` is not granted by `a/#`), or,
   * where subscriptions are filtered, because some of it may.
   */
  subscribe(who: Identity, filter: string, qos?: QoS): boolean
  /** Whether a subscription stays when the rules revoke its rights, because each delivery is checked. Absent: it does not. */
  keepsSubscriptions?(who: Identity): boolean
  /** Whether a message on this topic may be delivered. */
  read(who: Identity, topic: string): boolean
  /** Whether no rule restricts what the client reads. Absent: unknown. */
  readsAll?(who: Identity): boolean
  /** The rights in a grant, as text for the store; `undefined` if there are none. */
  stored(grant: object | undefined): string | undefined
  /** A grant with the rights of such a text: for absent clients, and for messages that outlive the connection. */
  restored(rights: string): object
  /** The cache of the rules, if they have one. */
  readonly remembered?: AccessCache | undefined
}

export interface AccessCache {
  readonly bytes: number
  /** Maximum size. */
  most: number
  clear(): void
}

/**
 * Asks the shell to verify a client: a password, a token, one step of enhanced authentication [5.0 section 4.12]. The link is not
 * read meanwhile.
 */
export interface AuthRequest {
  readonly link: LinkId
  /** Number of the question of this link; an answer to an older one is ignored. */
  readonly step: number
  readonly info: LinkInfo
  /** From CONNECT; '' if the broker is to assign one. */
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  /** Enhanced authentication; `step` above 1 or `again` carries on with AUTH. */
  readonly method: string | undefined
  readonly data: Uint8Array | undefined
  /** First step of the re-authentication of a client that is connected as `username`. */
  readonly again: boolean
}

export type AuthAnswer =
  | {
      readonly kind: 'accepted'
      readonly username: string | undefined
      readonly grant: object | undefined
      /** Authentication Data for CONNACK or AUTH. */
      readonly data?: Uint8Array
      /** Seconds after which the client has to authenticate again, and is closed if it does not; none if absent. */
      readonly validSeconds?: number
    }
  /** Data for the next step of enhanced authentication. */
  | { readonly kind: 'continue'; readonly data: Uint8Array | undefined }
  | {
      readonly kind: 'refused'
      readonly reasonCode: number
      /** For notices only, in full detail: clients see the words for the code (`refusalWords`). */
      readonly reason: string
      /** For Notices: the user that enhanced authentication was about. */
      readonly username?: string
    }

/**
 * Returns the Reason String for a refused client. It depends on the reason code alone: details may name addresses, files and
 * services, and any client that reaches the port can read it.
 */
export function refusalWords(reasonCode: number): string {
  switch (reasonCode) {
    case ReasonCode.BAD_USER_NAME_OR_PASSWORD:
      return 'user name or password'
    case ReasonCode.SERVER_UNAVAILABLE:
      return 'nobody can be authenticated at the moment'
    case ReasonCode.SERVER_BUSY:
      return 'too many clients log in'
    case ReasonCode.BANNED:
      return 'banned'
    case ReasonCode.BAD_AUTHENTICATION_METHOD:
      return 'no such authentication method'
    default:
      return 'not allowed'
  }
}

/**
 * Whether a client may publish on this topic, or have its will there. Of the broker's own topics only the state of bridges is
 * open to clients: its own to what may be a bridge (`mayBeBridge`), unless a rule denies it, and to others where a rule allows it.
 */
export function mayPublish(access: Access, who: Identity, topic: string, isBridge: boolean, message?: Published): boolean {
  return isReservedTopic(topic) ? mayPublishState(access, who, topic, isBridge) : access.publish(who, topic, message)
}

/** The same for a will. */
export function mayHaveWill(access: Access, who: Identity, topic: string, isBridge: boolean, message?: Published): boolean {
  if (isReservedTopic(topic)) return mayPublishState(access, who, topic, isBridge)
  return access.will === undefined ? access.publish(who, topic, message) : access.will(who, topic, message)
}

function mayPublishState(access: Access, who: Identity, topic: string, isBridge: boolean): boolean {
  const bridge = bridgeOfStateTopic(topic)
  return (
    bridge !== undefined && (access.publishRule?.(who, topic) ?? (isBridge && who.kind === 'mqtt' && bridge === who.clientId))
  )
}

/** Whether a client may be a bridge: before MQTT 5 it says so with a bit in CONNECT; 5.0 has none, so any client may be one. */
export const mayBeBridge = (hasBit: boolean, version: ProtocolVersion): boolean => hasBit || version === 5

/** Anonymous mode: every client may do everything. */
export const OPEN_ACCESS: Access = {
  // MQTT-4.12.0-1: no method is supported.
  connect: (_info, { properties }) => (properties.authenticationMethod === undefined ? 0 : ReasonCode.BAD_AUTHENTICATION_METHOD),
  remains: () => 0,
  publish: () => true,
  subscribe: () => true,
  read: () => true,
  stored: () => undefined,
  restored: () => ({}),
}

/** Whether this client may read every topic, so that none has to be checked. */
export const readsAll = (access: Access, who: Identity): boolean => access === OPEN_ACCESS || access.readsAll?.(who) === true
