import type { ClientKind, LinkId, LinkInfo } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { bridgeOfStateTopic, isReservedTopic } from '../mqtt/topics.ts'

/** Who is asking: what an access rule may look at. */
export interface Identity {
  readonly kind: ClientKind
  readonly clientId: string
  readonly username: string | undefined
  /** Name of the listener that the client came by last; '' while nobody knows, as after a restart. */
  readonly listener: string
  /** What authentication brought: opaque to the broker, handed back with every question. */
  readonly grant: object | undefined
  /** The transport vouches for the user name: a verified TLS certificate. */
  readonly certified: boolean
  /** Somebody vouches for the user name: the transport, or whoever verified a password or a token, now or before a restart. */
  readonly verified: boolean
}

/** Whose a client id is: the user's who asks, nobody's, or somebody else's. */
export type ClientIdUse = 'own' | 'free' | 'foreign'

/** Who may do what. Decided in memory and at once: only authentication may wait. */
export interface Access {
  /** Whether CONNECT is let in: 0, an MQTT 5 reason code that refuses, or 'ask' where somebody has to verify first (`AuthRequest`). */
  connect(info: LinkInfo, connect: Connect): number | 'ask'
  /** Whose the rules say that a client id is; `username` is `undefined` where nobody has vouched for it. All are free if it is not there. */
  clientIdUse?(kind: ClientKind, clientId: string, username: string | undefined): ClientIdUse
  /** After the rules have changed: 0 if a connected client may stay, or the reason code that ends its connection. `peer`: where it is. */
  remains(who: Identity, peer: string): number
  publish(who: Identity, topic: string): boolean
  /** What the rules themselves say about publishing on this topic; `undefined` where none names it, or there are none. */
  publishRule?(who: Identity, topic: string): boolean | undefined
  /**
   * Whether the filter may be subscribed to: because everything that it matches may be read (covering, not matching, so that `#` is not
   * granted by `a/#`), or, where subscriptions are filtered, because some of it may.
   */
  subscribe(who: Identity, filter: string): boolean
  /** Whether a subscription stays when the rules take its rights away, because each delivery is checked. Not if it is not there. */
  keepsSubscriptions?(who: Identity): boolean
  /** Whether a message on this topic may be delivered. */
  read(who: Identity, topic: string): boolean
  /** Whether no rule restricts what it reads. Not known if it is not there. */
  readsAll?(who: Identity): boolean
  /** The rights that came with a grant, as text for the store; `undefined` if none did. */
  stored(grant: object | undefined): string | undefined
  /** A grant with the rights of such a text: for who is away, and for messages that outlive the conversation. */
  restored(rights: string): object
  /** What the rules keep to answer faster, if they do. */
  readonly remembered?: AccessCache
}

export interface AccessCache {
  readonly bytes: number
  /** What it may come to. */
  most: number
  clear(): void
}

/**
 * Asks the shell to verify who is there: a password, a token, one step of enhanced authentication [5.0 section 4.12]. The link is
 * not read meanwhile.
 */
export interface AuthRequest {
  readonly link: LinkId
  /** Counts the questions of one link; an answer to an older one is late, and falls flat. */
  readonly step: number
  readonly info: LinkInfo
  /** As CONNECT said it; '' where the broker is to assign one. */
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Uint8Array | undefined
  /** Enhanced authentication; `step` above 1 or `again` carries on with AUTH. */
  readonly method: string | undefined
  readonly data: Uint8Array | undefined
  /** First step of a re-authentication of a client that is connected as `username`. */
  readonly again: boolean
}

export type AuthAnswer =
  | {
      readonly kind: 'accepted'
      readonly username: string | undefined
      readonly grant: object | undefined
      /** Of enhanced authentication, for CONNACK or AUTH. */
      readonly data?: Uint8Array
      /** Seconds after which the client has to authenticate again, and is closed if it does not; none if absent. */
      readonly validSeconds?: number
    }
  /** Enhanced authentication goes on with this for the client. */
  | { readonly kind: 'continue'; readonly data: Uint8Array | undefined }
  | {
      readonly kind: 'refused'
      readonly reasonCode: number
      /** For Notices alone, in as much detail as helps the operator: clients are told what goes with the code (`refusalWords`). */
      readonly reason: string
      /** For Notices: the user that enhanced authentication was about. */
      readonly username?: string
    }

/**
 * What a client that is not let in is told. Nothing that depends on who verifies: that may name addresses, files and services, and whoever reaches the
 * port can read it.
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
 * Whether a client may publish on this topic, or have its will there. Of the broker's own topics only the state of bridges is open to clients: to a
 * bridge its own, unless a rule denies it, and to others where a rule allows it.
 */
export function mayPublish(access: Access, who: Identity, topic: string, isBridge: boolean): boolean {
  if (!isReservedTopic(topic)) return access.publish(who, topic)
  const bridge = bridgeOfStateTopic(topic)
  return bridge !== undefined && (access.publishRule?.(who, topic) ?? (isBridge && bridge === who.clientId))
}

/** Anonymous mode: who reaches the port may do everything. */
export const OPEN_ACCESS: Access = {
  // MQTT-4.12.0-1: there is nobody who could carry on such an authentication.
  connect: (_info, { properties }) => (properties.authenticationMethod === undefined ? 0 : ReasonCode.BAD_AUTHENTICATION_METHOD),
  remains: () => 0,
  publish: () => true,
  subscribe: () => true,
  read: () => true,
  stored: () => undefined,
  restored: () => ({}),
}

/** Whether nothing has to be asked, topic by topic, about what this client reads. */
export const readsAll = (access: Access, who: Identity): boolean => access === OPEN_ACCESS || access.readsAll?.(who) === true
